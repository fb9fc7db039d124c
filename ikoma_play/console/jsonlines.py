"""A run as one JSON object a line, for programs.

Every line has `event`, `run` and `at` (seconds since the epoch):

    run_started    playbooks, check, steps
    play_started   play, hosts
    step_started   step, title, host, kind (step, handler, rollback), arguments
    step_progress  step, host, text, done, total
    undo_recorded  step, host: it is known how what the step changes is undone
    step_waits     step, title, host, question {number, text, role, until}: for a person
    step_retried   step, host, attempt, of, delay, outcome
    step_finished  step, title, host, kind, arguments, outcome
    warned         message, position
    run_finished   hosts (name → figures), seconds, interrupted, undone, stats

`step` is {name, tool, phase, position}; a position is {file, line, column}. `outcome` has `status` and
`seconds`, and where there is something to say: message, result, failure {code, message, remedy, evidence,
position}, diffs, warnings, items (outcomes with their `item`), ignored, attempts; `hidden` alone for no_log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from threading import Lock
from typing import Any, TextIO

from msgspec.structs import asdict

from ..events import (
    Event,
    PlayStarted,
    Question,
    Report,
    RunFinished,
    RunStarted,
    StepFinished,
    StepProgress,
    StepRetried,
    StepStarted,
    StepWaits,
    UndoRecorded,
    Warned,
)
from ..model import Outcome, Position, Step


class JsonLines:
    """Writes each event as it comes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = Lock()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._stream.write(json.dumps(as_data(event), ensure_ascii=False, default=str) + "\n")
            self._stream.flush()

    def close(self) -> None:
        """Nothing is held open."""


def as_data(event: Event) -> dict[str, Any]:
    """An event as plain data, with the keys listed above."""
    head = {"run": event.run, "at": round(event.at, 3)}
    match event:
        case RunStarted():
            about = {"playbooks": list(event.playbooks), "check": event.check, "steps": event.steps}
            return {"event": "run_started", **head, **about}
        case PlayStarted():
            return {"event": "play_started", **head, "play": event.play, "hosts": list(event.hosts)}
        case StepStarted():
            return {"event": "step_started", **head, **_step(event)}
        case StepProgress():
            return {
                "event": "step_progress",
                **head,
                "step": _about(event.step),
                "host": event.host,
                **asdict(event.progress),
            }
        case UndoRecorded():
            return {"event": "undo_recorded", **head, "step": _about(event.step), "host": event.host}
        case StepWaits(question=Question() as asked):
            question = {"number": asked.number, "text": asked.text, "role": asked.role.label, "until": asked.until}
            about = {"title": event.title, "host": event.host, "question": question}
            return {"event": "step_waits", **head, "step": _about(event.step), **about}
        case StepRetried():
            about = {"attempt": event.attempt, "of": event.of, "delay": event.delay}
            came = {"outcome": outcome(event.outcome)} if event.outcome else {}
            return {"event": "step_retried", **head, "step": _about(event.step), "host": event.host, **about, **came}
        case StepFinished():
            return {"event": "step_finished", **head, **_step(event), "outcome": outcome(event.outcome)}
        case Warned():
            return {"event": "warned", **head, "message": event.message, "position": _position(event.position)}
        case RunFinished(report=Report() as report):
            return {"event": "run_finished", **head, **_report(report)}
    return {"event": type(event).__name__.lower(), **head}


def outcome(of: Outcome) -> dict[str, Any]:
    """An outcome with what there is to say; nothing but its status where no_log hides it."""
    data: dict[str, Any] = {"status": of.status.value, "seconds": round(of.seconds, 3)}
    if of.hidden:
        return {**data, "hidden": True}
    failure = {**asdict(of.failure), "position": _position(of.failure.position)} if of.failure else None
    more = {
        "item": of.item,
        "message": of.message,
        "result": of.result,
        "failure": failure,
        "diffs": [asdict(diff) for diff in of.diffs],
        "warnings": list(of.warnings),
        "items": [outcome(one) for one in of.items],
        "ignored": of.ignored,
        "attempts": of.attempts if of.attempts > 1 else None,
    }
    return {**data, **{name: value for name, value in more.items() if value not in (None, "", [], False)}}


def _step(event: StepStarted | StepFinished) -> dict[str, Any]:
    hidden = isinstance(event, StepFinished) and event.outcome.hidden
    return {
        "step": _about(event.step),
        "title": event.title,
        "host": event.host,
        "kind": event.kind,
        "arguments": {} if hidden else _plain(event.arguments),
    }


def _about(step: Step | None) -> dict[str, Any] | None:
    if step is None:
        return None
    return {"name": step.name, "tool": step.tool, "phase": step.phase, "position": _position(step.position)}


def _position(of: Position | None) -> dict[str, Any] | None:
    return asdict(of) if of else None


def _report(report: Report) -> dict[str, Any]:
    return {
        "hosts": {name: asdict(recap) for name, recap in report.hosts.items()},
        "seconds": round(report.seconds, 3),
        "interrupted": report.interrupted,
        "undone": report.undone,
        "stats": _plain(report.stats),
    }


def _plain(of: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name): value for name, value in of.items()}
