"""A run as plain lines, for files, pipes and logs: stable, easy to grep, each written as it comes."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import TextIO

from ..events import Event, Report, RunFinished, RunStarted
from ..model import Status
from . import words
from .narrator import Line, Narrator
from .recap import closing, columns, rows
from .terminal import Looks

STYLES = {
    Status.OK: "32",
    Status.CHANGED: "33",
    Status.SKIPPED: "36",
    Status.FAILED: "31",
    Status.UNREACHABLE: "31",
    Status.ROLLED_BACK: "35",
    Status.ROLLBACK_FAILED: "31",
    "play": "1",
    "phase": "1",
    "cause": "31",
    "remedy": "1",
    "warning": "33",
    "retry": "33",
    "waiting": "1;33",
    "added": "32",
    "removed": "31",
    "hunk": "36",
}


class PlainView:
    """Writes one line for each thing that happened, the status first: `changed: [web1] Write .env (1.2 s)`."""

    def __init__(self, stream: TextIO, looks: Looks, narrator: Narrator, again: Sequence[str] = ()) -> None:
        self._stream = stream
        self._colour = looks.colour
        self._narrator = narrator
        self._again = again
        self._check = False
        self._lock = Lock()

    def __call__(self, event: Event) -> None:
        self.many((event,))

    def many(self, events: Sequence[Event]) -> None:
        with self._lock:
            for event in events:
                self._tell(event)
            self._stream.flush()

    def _tell(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._check = event.check
        for line in self._narrator.tell(event):
            self._write(drawn(line), line.status or line.kind)
        if isinstance(event, RunFinished) and event.report:
            self._recap(event.report)

    def close(self) -> None:
        """Nothing is held open."""

    def _recap(self, report: Report) -> None:
        self._write("RECAP", "phase")
        names = columns(report)
        for row in rows(report):
            figures = "  ".join(f"{name}={getattr(row.recap, name)}" for name in names)
            style = Status.FAILED if row.bad else Status.CHANGED if row.recap.changed else Status.OK
            self._write(f"{row.title}: {figures}  time={row.recap.seconds:.1f}s", style)
        last = closing(report, self._check, self._again, self._narrator.last_message)
        self._write(last.sentence, Status.OK if last.good else Status.FAILED)
        for line in last.advice:
            self._write(f"  {line}", "")

    def _write(self, text: str, style: str) -> None:
        code = STYLES.get(style) if self._colour else None
        self._stream.write(f"\x1b[{code}m{text}\x1b[0m\n" if code else f"{text}\n")


def drawn(line: Line) -> str:
    """A line as plain text."""
    where = f"[{words.hosts(line.hosts, line.everyone)}] " if line.hosts else ""
    match line.kind:
        case "play":
            return f"PLAY {line.text} ({words.hosts(line.hosts, most=8) or 'no hosts'})"
        case "phase":
            return f"PHASE {line.text}"
        case "step":
            behind = [line.note] if line.note else []
            behind += [words.duration(line.seconds)] if line.seconds >= 1 else []
            note = f" ({', '.join(behind)})" if behind else ""
            return f"{(line.status or Status.OK).value}: {where}{line.text}{note}"
        case "retry":
            return f"retrying: {where}{line.text} ({line.note})"
        case "waiting":
            return f"waiting: {where}{line.text} ({line.note})"
        case "warning":
            return f"warning: {line.text}{f' ({line.note})' if line.note else ''}"
        case "evidence":
            return f"    | {line.text}"
    return f"    {line.text}"
