"""What an earlier process did of a run, read from its rows: for going on with it, and for undoing it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from ..events import Memory
from ..model import EMPTY, Failure, Outcome, Position, Status
from ..tool import Toolbox
from .store import Row

REPEAT, SKIP = "repeat", "skip"
LATE = 2  # in the column `undoing`: what is undone had ended well; 1: it had not


class Recorded(Struct, frozen=True):
    """One step on one host. `outcome` is None where the step began and nothing is known of its end."""

    number: int
    host: str
    occurrence: str
    kind: str
    title: str
    tool: str
    position: str
    started: float
    arguments: Mapping[str, Any]
    outcome: Outcome | None
    memory: Memory
    undo: tuple[Any, ...]  # what tools wrote down to be undone by, the oldest first

    @property
    def unfinished(self) -> bool:
        return self.outcome is None


class Past:
    """The steps of a run by host and occurrence.

    `undo`: the run is to be undone, else it goes on. `orderly`: its process ended by itself, so a step that failed
    is tried again; what failed just before a process died is left to what the playbook says of failures.
    `answers` says of steps that may not be repeated unasked whether to `repeat` or to `skip` them, by number."""

    def __init__(
        self, run: Row, steps: Iterable[Row], undo: bool = False, answers: Mapping[int, str] | None = None
    ) -> None:
        self.row = run
        self.run = str(run["id"])
        self.undo = undo
        self.orderly = run["state"] != "running"
        self.late = undo and (run["state"] == "done" or run["undoing"] == LATE)
        self.answers = answers or {}
        self._steps: dict[tuple[str, str], Recorded] = {}
        self._undone: dict[str, int] = {}  # the last rollback handler of each host, by number
        for row in steps:
            step = self._steps[row["host"], row["occurrence"]] = recorded(row)
            if step.kind == "rollback":
                self._undone[step.host] = max(step.number, self._undone.get(step.host, 0))

    @property
    def undoing(self) -> int:
        """The column of that name; 0 for a run that goes on."""
        return 0 if not self.undo else LATE if self.late else 1

    def step(self, host: str, occurrence: str) -> Recorded | None:
        return self._steps.get((host, occurrence))

    @property
    def steps(self) -> list[Recorded]:
        """In the order in which they began."""
        return sorted(self._steps.values(), key=lambda step: step.number)

    def tries_again(self, step: Recorded) -> bool:
        """Whether a step that failed is to be run again: not where what its host did has been undone since."""
        return self.orderly and step.number > self._undone.get(step.host, 0)

    def questions(self, tools: Toolbox) -> list[Recorded]:
        """The steps for which `answers` must say what to do: those that would be run a second time and whose tool
        does not say that twice is as good as once."""
        return [step for step in self.steps if self._runs_twice(step) and not _repeatable(step, tools)]

    def _runs_twice(self, step: Recorded) -> bool:
        if self.undo and step.kind != "rollback":
            return False
        return step.unfinished or (step.memory.withheld and not self.undo)


def _repeatable(step: Recorded, tools: Toolbox) -> bool:
    tool = tools.find(step.tool)
    return tool is None or tool.twice(step.arguments) or not (step.unfinished or step.memory.changed)


def recorded(row: Row) -> Recorded:
    """A row as what it says."""
    facts = json.loads(row["facts"]) if row["facts"] else EMPTY
    memory = Memory(
        bool(row["changed"]),
        json.loads(row["extra"]) if row["extra"] else EMPTY,
        tuple(json.loads(row["notified"])) if row["notified"] else (),
        bool(row["withheld"]),
    )
    return Recorded(
        int(row["number"]),
        row["host"],
        row["occurrence"],
        row["kind"],
        row["title"],
        row["tool"],
        row["position"],
        row["started"],
        json.loads(row["arguments"]),
        outcome(json.loads(row["outcome"]), facts) if row["outcome"] else None,
        memory,
        tuple(json.loads(row["undo"])) if row["undo"] else (),
    )


def outcome(kept: Mapping[str, Any], facts: Mapping[str, Any] = EMPTY) -> Outcome:
    """An outcome from what the recorder kept of it; its diffs, which nobody asks for again, stay there."""
    failure = kept.get("failure")
    return Outcome(
        Status(kept["status"]),
        kept.get("result"),
        kept.get("message", ""),
        Failure(**{**failure, "position": _position(failure["position"])}) if failure else None,
        facts=facts,
        warnings=tuple(kept.get("warnings", ())),
        items=tuple(outcome(item) for item in kept.get("items", ())),
        item=kept.get("item"),
        ignored=kept.get("ignored", False),
        hidden=kept.get("hidden", False),
        attempts=kept.get("attempts", 1),
        seconds=kept["seconds"],
    )


def _position(written: str | None) -> Position | None:
    if not written:
        return None
    file, line, column = written.rsplit(":", 2)
    return Position(file, int(line), int(column))
