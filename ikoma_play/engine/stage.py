"""What the parts of the engine ask of the play that is being run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ..language.templating import Layer
from ..language.variables import PlayVariables
from ..model import Node, Play, Step
from .hosts import Frame, HostRun
from .outcomes import Done
from .prepared import Prepared
from .state import RunState

Failed = dict[str, HostRun]
"""Hosts by name that failed and were not mended."""


class Notified(Protocol):
    """The handlers of a play."""

    def add(self, nodes: Sequence[Node], params: tuple[Layer, ...]) -> None:
        """Handlers of a role that was included, with the layers of the includes around it."""

    def notify(self, host: HostRun, name: str) -> bool:
        """Mark what this name calls on a host; False when nothing has the name."""

    def nearest(self, name: str) -> str | None: ...


class Brings(Protocol):
    """Dynamic includes, and the hosts and groups that steps add."""

    def bring(self, call: Any, done: Done) -> tuple[Done, list[Any]]:
        """The nodes that an include asks for; where they cannot be read the step has failed."""

    def regroup(self, step: Step, results: Sequence[tuple[HostRun, Done]]) -> None:
        """Take in the hosts and groups that a step added."""


class Stage(Protocol):
    """A play being run. `broken`: no further batch, no further play."""

    run: RunState
    play: Play
    variables: PlayVariables
    broken: bool

    @property
    def handlers(self) -> Notified: ...

    @property
    def includes(self) -> Brings: ...

    def prepared(self, step: Step) -> Prepared:
        """The step with its tool, worked out once."""

    def walk(self, nodes: Sequence[Node], hosts: Sequence[HostRun], frame: Frame, forced: bool = False) -> Failed:
        """Run nodes on hosts; `forced` goes on with hosts whose play has failed."""

    def meta(self, step: Step, hosts: list[HostRun], frame: Frame) -> Failed:
        """Carry out a `meta` step."""

    def too_many(self, failed: Failed) -> bool:
        """Whether more hosts have failed than max_fail_percentage lets pass."""
