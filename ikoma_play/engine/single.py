"""One tool, called once: a playbook of one step. `exec` and the server both come through here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..events import Event, Observer, Report, StepFinished
from ..model import Play, Playbook, Position, Step
from ..tool import Tool, Toolbox
from .locking import Locking
from .options import Options
from .roads import Connect
from .run import run
from .state import Inventory


def call(
    tool: Tool,
    arguments: Mapping[str, Any],
    hosts: str,
    inventory: Inventory,
    tools: Toolbox,
    options: Options,
    observers: Sequence[Observer],
    connect: Connect,
    locking: Locking | None,
    origin: Position,
) -> tuple[Report, list[StepFinished]]:
    """Call a tool on hosts; what it came to on each, in the order in which they ended. Raises as `run` does.

    `origin` says where the call came from; its file is the name of the playbook in the journal."""
    finished: list[StepFinished] = []

    def keep(event: Event) -> None:
        if isinstance(event, StepFinished):
            finished.append(event)

    step = Step(tool.name, arguments, origin)
    playbook = Playbook(origin.file, (Play(hosts, origin, (step,), gather_facts=False),))
    report = run((playbook,), inventory, tools, options, (*observers, keep), connect, locking)
    return report, finished
