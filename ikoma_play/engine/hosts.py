"""One host in a run: its variables and counts, what was notified there, what is to be undone."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from ..events import HostRecap, StepFinished
from ..language.templating import Layer
from ..language.variables import HostVariables
from ..model import Node, Position, RoleRef
from .facts import FactsOnDemand


class Tally(HostRecap):
    """A host's counts so far."""

    @property
    def ran(self) -> int:
        """How many steps were not skipped."""
        return self.ok + self.failed + self.rescued

    def recap(self) -> HostRecap:
        return HostRecap(**asdict(self))


class Frame(Struct, frozen=True):
    """Where in a run a step stands. `params` are layers that includes and rollbacks put around it.

    `kind` is step, handler or rollback; `rescued` says that a block around it has a rescue;
    `keep` are the results that a rollback sees: as they were when the step was done, and its own."""

    params: tuple[Layer, ...] = ()
    kind: str = "step"
    rescued: bool = False
    keep: dict[str, Any] | None = None
    depth: int = 0


class Undo(Struct):
    """Handlers that wait for the case that the play fails on a host; `touched`: there is something to undo.

    `play` is the one that they belong to, `files` are its vars_files as the host reads them."""

    play: Any  # a Stage, which knows of hosts
    nodes: tuple[Node, ...]
    frame: Frame
    position: Position
    title: str
    files: tuple[Layer, ...] = ()
    touched: bool = False
    last: bool = False  # after all others


class HostRun:
    """One host in a run."""

    def __init__(self, name: str, variables: HostVariables, facts: FactsOnDemand) -> None:
        self.name = name
        self.facts = facts
        self.variables = variables
        self.tally = Tally()
        self.failed = False  # a play failed here: no further steps in this run
        self.unreachable = False
        self.ended = False  # meta: end_host and its kin, until the play ends
        self.over = False  # the run is to be undone, and had come no further here
        self.ended_role: RoleRef | None = None  # meta: end_role, the use of a role that is over here
        self.roles: set[tuple[str, ...]] = set()  # uses of roles that are done here, until the play ends
        self.notified: dict[str, None] = {}  # names that call handlers
        self.due: set[int] = set()  # the numbers of handlers that they called
        self.undo: list[Undo] = []
        self.open: list[Undo] = []  # of blocks and roles that are being worked on
        self.failures: list[StepFinished] = []  # what no rescue has mended
        self.undone = False
        self.left = False  # something is not undone though it should be
        self._times: dict[str, int] = {}  # how often a step of this description was reached

    @property
    def going(self) -> bool:
        return not (self.unreachable or self.ended or self.failed or self.over)

    def occurrence(self, kind: str, step: str) -> str:
        """A name for the step that is reached now, the same whenever the run is walked through again."""
        name = self.next_occurrence(kind, step)
        described = f"{kind} {step}"
        self._times[described] = self._times.get(described, 0) + 1
        return name

    def next_occurrence(self, kind: str, step: str) -> str:
        """What `occurrence` will say of such a step the next time."""
        return f"{kind} {step} {self._times.get(f'{kind} {step}', 0) + 1}"
