"""What happens in a run: the events that its observers are told, the questions that it asks people, and the report of
what it came to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field

from .model import EMPTY, Access, Failure, Outcome, Position, Progress, Status, Step


class Event(Struct, frozen=True):
    """Something that happened in a run; `at` is seconds since the epoch."""

    run: str
    at: float


class RunStarted(Event, frozen=True):
    playbooks: tuple[str, ...] = ()
    check: bool = False
    steps: int = 0  # how many are known before the start, for a progress bar
    again: str = ""  # `resume`: goes on with a run that had ended; `undo`: undoes it


class PlayStarted(Event, frozen=True):
    play: str = ""
    hosts: tuple[str, ...] = ()


class StepStarted(Event, frozen=True):
    step: Step | None = None
    title: str = ""  # the step's name, rendered as far as it could be
    host: str = ""
    kind: str = "step"  # step, handler or rollback
    arguments: Mapping[str, Any] = EMPTY  # rendered, secrets masked
    occurrence: str = ""  # which step on this host it is, the same when the run is walked through again


class UndoRecorded(Event, frozen=True):
    """What a tool wrote down just before it changed something, so that the change can be undone, by another
    process too. Told before the host is touched; a step may tell several, the oldest is undone last."""

    step: Step | None = None
    host: str = ""
    occurrence: str = ""  # the step's, as in its StepStarted
    record: Any = None  # plain JSON without secrets


class StepProgress(Event, frozen=True):
    step: Step | None = None
    host: str = ""
    progress: Progress = Progress("")


class Question(Struct, frozen=True):
    """What a step asks a person before the run goes on. `until` is in seconds since the epoch, `role` what an answer
    needs, `occurrence` which step on the host it is; `number` counts the run's questions, 0 before it is asked."""

    run: str
    host: str
    occurrence: str
    text: str
    role: Access
    until: float
    number: int = 0


class Decision(Struct, frozen=True):
    """A person's answer to a question; `at` is in seconds since the epoch, `by` a key's name or `cli:` and a user."""

    approved: bool
    by: str
    reason: str
    at: float


class StepWaits(Event, frozen=True):
    """A step waits for a person to answer."""

    step: Step | None = None
    title: str = ""
    host: str = ""
    question: Question | None = None


class StepRetried(Event, frozen=True):
    step: Step | None = None
    host: str = ""
    attempt: int = 1
    of: int = 1
    delay: float = 0.0
    outcome: Outcome | None = None


class Memory(Struct, frozen=True):
    """What the rest of a run knows of a step besides its outcome; the journal keeps it for who goes on with the run."""

    changed: bool = False  # a failed step may have changed something too
    extra: Mapping[str, Any] = EMPTY  # further keys of the registered variable
    notified: tuple[str, ...] = ()  # the names of handlers that it called
    withheld: bool = False  # a secret was left out, or what JSON cannot hold: it cannot be given back
    touched: bool = False  # something may have been changed, so what was written down to undo it counts


class StepFinished(Event, frozen=True):
    step: Step | None = None
    title: str = ""
    host: str = ""
    kind: str = "step"
    arguments: Mapping[str, Any] = EMPTY
    outcome: Outcome = field(default_factory=lambda: Outcome(Status.OK))
    occurrence: str = ""
    memory: Memory = Memory()


class Warned(Event, frozen=True):
    message: str = ""
    position: Position | None = None
    at_once: bool = False  # for who looks on now; others are told at the end


class RunFinished(Event, frozen=True):
    report: Report | None = None


Observer = Callable[[Event], None]
"""Is told of one event at a time. One that has a method `settle` is asked for it after each StepStarted, by several
threads at once: it returns when what was told is where it has to be, such as on the disk."""


class HostRecap(Struct):
    """How many steps came to what on one host; a step counts once, however long its loop."""

    ok: int = 0  # includes changed, as Ansible counts
    changed: int = 0
    skipped: int = 0
    failed: int = 0
    unreachable: int = 0
    rescued: int = 0
    ignored: int = 0
    rolled_back: int = 0
    rollback_failed: int = 0
    seconds: float = 0.0


class Report(Struct, frozen=True):
    """What a run came to, host by host."""

    run: str
    hosts: Mapping[str, HostRecap]
    seconds: float = 0.0
    interrupted: bool = False
    undone: bool = False  # everything was rolled back: since a step failed, or since that was asked for
    again: str = ""  # as in RunStarted: `resume` or `undo`, where the run had begun before
    failures: tuple[StepFinished, ...] = ()
    stopped_by: Failure | None = None  # what ended the run outside of any step: a lock that another run holds
    stats: Mapping[str, Any] = EMPTY
