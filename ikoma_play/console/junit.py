"""A run as a JUnit XML file, for CI servers: a suite for each play and host, a case for each step."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from xml.etree import ElementTree as Xml

from ..errors import UsageError
from ..events import Event, PlayStarted, RunFinished, RunStarted, StepFinished
from ..model import Status
from . import narrator
from .terminal import printable

# What XML 1.0 cannot hold and `printable` lets through.
_FORBIDDEN = re.compile("[^\t\n\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class JUnitFile:
    """Collects the steps and writes the file when the run is over, or when it is closed before that."""

    def __init__(self, path: Path) -> None:
        if not path.parent.is_dir():
            raise UsageError(f"{path.parent} is no directory, so {path} cannot be written", remedy="Make it first.")
        self._path = path
        self._suites: dict[tuple[str, str], list[StepFinished]] = {}
        self._play = ""
        self._run = ""
        self._began = 0.0
        self._written = False
        self._lock = Lock()

    def __call__(self, event: Event) -> None:
        with self._lock:
            match event:
                case RunStarted():
                    self._run, self._began = event.run, event.at
                case PlayStarted():
                    self._play = event.play
                case StepFinished():
                    self._suites.setdefault((self._play, event.host), []).append(event)
                case RunFinished():
                    self._write()

    def close(self) -> None:
        if self._run and not self._written:
            self._write()

    def _write(self) -> None:
        root = Xml.Element("testsuites", name=_clean(self._run))
        for (play, host), events in self._suites.items():
            root.append(self._suite(play, host, events))
        for figure in ("tests", "failures", "errors", "skipped"):
            root.set(figure, str(sum(int(suite.get(figure, "0")) for suite in root)))
        root.set("time", f"{sum(event.outcome.seconds for events in self._suites.values() for event in events):.3f}")
        Xml.indent(root)
        self._put(Xml.tostring(root, "utf-8", xml_declaration=True) + b"\n")
        self._written = True

    def _put(self, data: bytes) -> None:
        """Into a file whole or not at all; straight into a pipe or a device, such as /dev/stdout."""
        if self._path.exists() and not self._path.is_file():
            self._path.write_bytes(data)
            return
        path = self._path.resolve()
        beside = path.with_name(f".{path.name[:200]}.{os.getpid()}")
        beside.write_bytes(data)
        beside.replace(path)

    def _suite(self, play: str, host: str, events: list[StepFinished]) -> Xml.Element:
        bad = [event.outcome for event in events if event.outcome.status.bad and not event.outcome.ignored]
        lost = sum(outcome.status is Status.UNREACHABLE for outcome in bad)
        suite = Xml.Element(
            "testsuite",
            name=_clean(f"{play} on {host}" if play else host),
            hostname=_clean(host),
            timestamp=datetime.fromtimestamp(self._began, UTC).isoformat(timespec="seconds"),
            tests=str(len(events)),
            failures=str(len(bad) - lost),
            errors=str(lost),
            skipped=str(sum(event.outcome.status is Status.SKIPPED for event in events)),
            time=f"{sum(event.outcome.seconds for event in events):.3f}",
        )
        suite.extend(_case(play, event) for event in events)
        return suite


def _case(play: str, event: StepFinished) -> Xml.Element:
    step, outcome = event.step, event.outcome
    phase = "rollback" if event.kind == "rollback" else (step.phase if step else "") or play or "steps"
    case = Xml.Element("testcase", classname=_clean(phase), name=_clean(event.title), time=f"{outcome.seconds:.3f}")
    if step is not None:
        case.set("file", _clean(step.position.file))
        case.set("line", str(step.position.line))
    if outcome.status is Status.SKIPPED:
        Xml.SubElement(case, "skipped")
    elif outcome.status.bad and not outcome.ignored:
        kind = "error" if outcome.status is Status.UNREACHABLE else "failure"
        why = outcome.failure
        message = "hidden by no_log" if outcome.hidden else why.message if why else outcome.message
        found = Xml.SubElement(case, kind, message=_clean(message), type=why.code if why else outcome.status.value)
        if step is not None:
            found.text = "\n".join(_clean(line.text) for line in narrator.failure(event, step))
    return case


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", printable(text))
