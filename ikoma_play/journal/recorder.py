"""A run's events as rows: a step is written as started before it touches its host, and as done after."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from .. import __version__
from ..errors import JournalError
from ..events import (
    Event,
    PlayStarted,
    Report,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    UndoRecorded,
    Warned,
)
from ..model import EMPTY, Outcome, Status
from ..tool import INTENDED
from .again import fingerprint, fingerprint_of_file
from .holder import Holder, this_process
from .past import Past
from .pulse import Pulse
from .store import Change, Store


class About(Struct, frozen=True):
    """What a run was asked for. `options` holds no secrets; of `variables` only hashes are kept; `files` are the
    texts that the playbooks were read from."""

    inventory: Sequence[str] = ()
    options: Mapping[str, Any] = EMPTY
    variables: Mapping[str, Any] = EMPTY
    files: Sequence[str] = ()
    past: Past | None = None  # what an earlier process did of the run
    who: str = ""  # on whose behalf it goes; "" is the user of the process


class Recorder:
    """An observer that writes to a store; events come masked and one at a time. Raises JournalError.

    A row that says that a step begins is on disk when `settle` returns. One that says what it came to, once it is
    told, is safe from the end of this process, and from the end of power when the next step begins."""

    def __init__(self, store: Store, about: About) -> None:
        self.store = store
        self.about = about
        self.holder: Holder = this_process(about.who)
        self._play = ""
        self._number = 0
        self._settle: Callable[[], None] | None = None
        self._pulse: Pulse | None = None
        self._open: dict[tuple[str, str], int] = {}  # steps under way: host and occurrence → number
        self._undo: dict[tuple[str, str], list[Any]] = {}  # what steps wrote down to be undone by
        self._known: dict[tuple[str, str], int] = {}  # an earlier process's steps by their numbers

    def __call__(self, event: Event) -> None:
        self.many((event,))

    def many(self, events: Sequence[Event]) -> None:
        """Write what several events say of steps at once, in their order."""
        changes: list[Change] = []
        begun = False
        for event in events:
            if isinstance(event, StepStarted):
                changes.append(self._begin_step(event))
                begun = True
            elif isinstance(event, StepFinished):
                changes.append(self._finish_step(event))
            else:
                self._write(changes, begun)
                changes, begun = [], False
                self._other(event)
        self._write(changes, begun)

    def _write(self, changes: Sequence[Change], begun: bool) -> None:
        if begun:
            self._settle = self.store.begin(*changes)
        elif changes:
            self.store.write(*changes, durable=False)

    def _other(self, event: Event) -> None:
        match event:
            case RunStarted() if self.about.past is not None:
                self._go_on(event, self.about.past)
            case RunStarted():
                self._begin(event)
            case PlayStarted():
                self._play = event.play
            case UndoRecorded():
                self._keep_undo(event)
            case Warned():
                self.store.write(("add_note", {"run": event.run, "at": event.at, "text": event.message}), durable=False)
            case RunFinished(report=Report() as report):
                values = {"id": event.run, "state": state_of(report), "ended": event.at, "report": text(_plain(report))}
                self.store.write(("end_run", values), ("give_back", {"run": event.run}))
                self.close()

    def close(self) -> None:
        """No more of the run is heard of."""
        if self._pulse is not None:
            self._pulse.end()
            self._pulse = None

    def settle(self) -> None:
        """Wait until the disk has the steps that have begun; threads may do so together, while others are told of."""
        if self._settle is not None:
            self._settle()

    def _begin(self, event: RunStarted) -> None:
        values = {
            "id": event.run,
            "state": "running",
            "started": event.at,
            "playbooks": text(event.playbooks),
            "inventory": text(self.about.inventory),
            "options": text({**self.about.options, "check": event.check}),
            "variables": text(
                {name: fingerprint(event.run, text(value)) for name, value in self.about.variables.items()}
            ),
            "files": text({path: fingerprint_of_file(path) for path in self.about.files}),
            "version": __version__,
        }
        self.store.write(("add_run", {**values, **self.holder.row}))
        self._pulse = Pulse(self.store, event.run, self.holder)

    def _go_on(self, event: RunStarted, past: Past) -> None:
        """Take the run over from the process that had it; only one can."""
        for step in past.steps:
            self._number = max(self._number, step.number)
            self._known[step.host, step.occurrence] = step.number
            self._undo[step.host, step.occurrence] = list(step.undo)
        before = {f"old_{name}": past.row[name] for name in ("pid", "process_start", "state")}
        mine = {"id": event.run, "undoing": past.undoing, **self.holder.row}
        if not self.store.write(("take_run", {**mine, **before})):
            raise JournalError(f"another process has taken run {event.run} up", remedy="See: ikoma-play runs list")
        self.store.write(("take_locks", mine))
        self._pulse = Pulse(self.store, event.run, self.holder)
        what = (
            "begins to undo the run" if past.undo else f"goes on with the run, {len(past.steps)} steps after its start"
        )
        self.note(event.run, f"{self.holder.who} on {self.holder.host} (process {self.holder.pid}) {what}")

    def _begin_step(self, event: StepStarted) -> Change:
        if self._pulse is not None:
            self._pulse.demand()
        key = (event.host, event.occurrence)
        if key in self._known:
            number = self._open[key] = self._known[key]
            values = {"run": event.run, "number": number, "started": event.at, "arguments": text(event.arguments)}
            return "begin_step_again", values
        self._number += 1
        self._open[key] = self._number
        about = {**self._about_step(event, self._number), "started": event.at}
        return "begin_step", about

    def _finish_step(self, event: StepFinished) -> Change:
        memory, facts = event.memory, event.outcome.facts
        came = {
            "state": event.outcome.status.value,
            "ended": event.at,
            "outcome": text(outcome(event.outcome)),
            "changed": int(memory.changed),
            "extra": text(memory.extra) if memory.extra else None,
            "facts": text(facts) if facts else None,
            "notified": text(memory.notified) if memory.notified else None,
            "withheld": int(memory.withheld),
            "touched": int(memory.touched),
        }
        key = (event.host, event.occurrence)
        number = self._open.pop(key, self._known.get(key))
        if number is not None:
            kept = [{**each, INTENDED: True} for each in self._undo.get(key, ())]
            came["unneeded"] = text(kept) if kept else None
            return "end_step", {"run": event.run, "number": number, **came}
        self._number += 1
        about = self._about_step(event, self._number)
        started = event.at - event.outcome.seconds
        return "add_step", {**about, "started": started, **came}

    def _keep_undo(self, event: UndoRecorded) -> None:
        key = (event.host, event.occurrence)
        records = self._undo.setdefault(key, [])
        if records and records[-1].get(INTENDED):
            records.pop()
        records.append(event.record)
        change = {"run": event.run, "number": self._open[key], "undo": text(records)}
        self.store.write(("keep_undo", change), durable=INTENDED not in event.record)

    def _about_step(self, event: StepStarted | StepFinished, number: int) -> dict[str, Any]:
        step = event.step
        return {
            "run": event.run,
            "number": number,
            "play": self._play,
            "host": event.host,
            "kind": event.kind,
            "title": event.title,
            "tool": step.tool if step else "",
            "phase": step.phase if step else "",
            "position": str(step.position) if step else "",
            "occurrence": event.occurrence,
            "arguments": text(event.arguments),
        }

    def note(self, run: str, said: str) -> None:
        """Write a line about the run."""
        self.store.write(("add_note", {"run": run, "at": time.time(), "text": said}))


def state_of(report: Report) -> str:
    """What became of a run in one word: done, failed, undone, rollback_failed, unreachable or interrupted."""
    hosts = report.hosts.values()
    if any(host.rollback_failed for host in hosts):
        return Status.ROLLBACK_FAILED.value
    if report.interrupted:
        return "interrupted"
    if report.undone:
        return "undone"
    if report.stopped_by is not None or any(host.failed for host in hosts):
        return "failed"
    return "unreachable" if any(host.unreachable for host in hosts) else "done"


def outcome(of: Outcome) -> dict[str, Any]:
    """An outcome as it is kept; nothing but its status where no_log hides it."""
    kept: dict[str, Any] = {"status": of.status.value, "seconds": round(of.seconds, 4)}
    if of.hidden:
        return {**kept, "hidden": True}
    failure = asdict(of.failure) if of.failure else None
    if failure and of.failure:
        failure["position"] = str(of.failure.position) if of.failure.position else None
    more = {
        "message": of.message,
        "failure": failure,
        "diffs": [asdict(diff) for diff in of.diffs],
        "warnings": list(of.warnings),
        "items": [outcome(item) for item in of.items],
        "item": of.item,
        "ignored": of.ignored,
        "attempts": of.attempts if of.attempts > 1 else None,
    }
    kept |= {name: value for name, value in more.items() if value not in (None, "", [], False)}
    return kept if of.result is None else {**kept, "result": of.result}


def text(value: Any) -> str:
    """JSON; what JSON does not know becomes text, and what PostgreSQL's text cannot hold is left out."""
    return _ENCODER.encode(value).replace("\\u0000", "")


def _known(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


_ENCODER = json.JSONEncoder(ensure_ascii=False, default=_known)


def _plain(report: Report) -> dict[str, Any]:
    return {
        "seconds": round(report.seconds, 3),
        "hosts": {name: asdict(recap) for name, recap in report.hosts.items()},
        "undone": report.undone,
        "interrupted": report.interrupted,
    }
