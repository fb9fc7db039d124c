"""Reading what a command works on: playbooks, inventory and variables, with every fault of all of them at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from .. import language
from ..errors import FaultsFound, UsageError
from ..language import Inventory
from ..model import Block, Fault, Node, Playbook, Schedule, Step
from ..spelling import did_you_mean, listed
from ..tools import TOOLS
from . import settings, sources


class Loaded(Struct, frozen=True):
    """Everything that was read, found right; `warnings` did not stop it."""

    playbooks: tuple[Playbook, ...]
    inventory: Inventory
    variables: Mapping[str, Any]
    warnings: tuple[Fault, ...]


def load(
    names: Sequence[str], inventories: Sequence[str], extra_vars: Sequence[str], schedule: str | None = None
) -> Loaded:
    """Read and check it all; of the plays only those of `schedule`, where it names one. Raises UsageError for what
    is not there, FaultsFound with every fault."""
    settings.refuse_left_out()
    paths = [sources.playbook(name) for name in names]
    variables = sources.extra_vars(extra_vars)
    faults: dict[Fault, None] = {}
    playbooks: list[Playbook] = []
    try:
        inventory: Inventory = language.load_inventory(sources.inventories(inventories))
    except FaultsFound as found:
        inventory = found.partial
        faults.update(dict.fromkeys(found.faults))
    of_inventory = tuple(faults)
    for path in paths:
        known = of_inventory
        try:
            playbook = language.load_playbook(path, TOOLS, sources.roles_path())
        except FaultsFound as found:
            playbook = found.partial
            known += found.faults
        found_here = (*playbook.warnings, *known)
        checked = language.check(playbook, inventory, TOOLS, variables, known)
        faults.update(dict.fromkeys(language.in_order((*found_here, *checked))))
        playbooks.append(playbook)
    if any(not fault.warning for fault in faults):
        raise FaultsFound(list(faults))
    if schedule is not None:
        playbooks = scheduled(playbooks, schedule)
    return Loaded(tuple(playbooks), inventory, variables, tuple(faults))


def scheduled(playbooks: Sequence[Playbook], name: str) -> list[Playbook]:
    """Of the plays those of a schedule. Raises UsageError where there is none of this name."""
    known = schedules(playbooks)
    if name not in known:
        raise UsageError(
            f"no play has a schedule called {name!r}",
            remedy=did_you_mean(
                name, known, f"There are {listed(known)}." if known else "Give one a name and schedule:."
            ),
        )
    plays = [[play for play in book.plays if play.schedule and play.schedule.name == name] for book in playbooks]
    return [replace(book, plays=tuple(chosen)) for book, chosen in zip(playbooks, plays, strict=True) if chosen]


def schedules(playbooks: Sequence[Playbook]) -> dict[str, Schedule]:
    """The schedules of plays, by name."""
    return {play.schedule.name: play.schedule for book in playbooks for play in book.plays if play.schedule}


def steps(nodes: Sequence[Node]) -> Iterator[Step]:
    """Every step in blocks, rescues and always parts; not the parser's own flushing of handlers."""
    for node in nodes:
        if isinstance(node, Block):
            yield from steps((*node.steps, *node.rescue, *node.always))
        elif node.tool != "meta":
            yield node
