"""One tool, called once: a playbook of one step. `exec` and the server both come through here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from ..events import Event, Observer, Report, StepFinished
from ..model import Play, Playbook, Position, Step
from ..tool import Tool, Toolbox
from .locking import Locking
from .options import Options
from .prepared import digest
from .roads import Connect
from .running import run
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
    chosen = replace(options, single=True, rollback=False)
    report = run((_playbook(step, hosts),), inventory, tools, chosen, (*observers, keep), connect, locking)
    return report, finished


def recalled(
    tool: str, hosts: str, origin: Position, rows: Sequence[Mapping[str, Any]]
) -> tuple[Playbook, list[dict[str, Any]]]:
    """The playbook of a call that was made, to be undone, and its rows of the journal as they belong to that: the
    journal has the arguments without their secrets, so that the step reads otherwise than it did."""
    step = Step(tool, {}, origin)
    name = f"step {digest(step)} 1"
    return _playbook(step, hosts), [{**row, "occurrence": name} if row["kind"] == "step" else {**row} for row in rows]


def _playbook(step: Step, hosts: str) -> Playbook:
    return Playbook(step.position.file, (Play(hosts, step.position, (step,), gather_facts=False),))
