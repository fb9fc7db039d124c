"""The hosts of each play: patterns that choose nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import FaultsFound
from ..model import Host
from ..spelling import nearest
from . import left_out
from .contents import Contents
from .faults import Faults
from .inventory import Inventory
from .text import has_template, position_of

_MAKE_HOSTS = ("add_host", "group_by")


def check_hosts(plays: Sequence[Contents], inventory: Inventory, faults: Faults) -> list[list[Host]]:
    """The hosts of each play, all of the inventory where they cannot be known."""
    made = any(step.tool in _MAKE_HOSTS for contents in plays for step in contents.steps())
    made = made or not all(contents.closed for contents in plays)
    chosen = [_chosen(contents, inventory, faults) for contents in plays]
    nothing_runs = not any(hosts for hosts, _ in chosen)
    for contents, (hosts, unknown) in zip(plays, chosen, strict=True):
        for term in unknown:
            if term == "!":  # a pattern that makes no sense has had its fault
                continue
            name = term.lstrip("&!")
            near = nearest(name, [*inventory.groups, *inventory.hosts])
            certain = not made and term[0] not in "&!" and (bool(near) or nothing_runs)
            known = [group for group in inventory.groups if group not in ("all", "ungrouped")]
            remedy = f"Did you mean '{near}'?" if near else _known(known, inventory)
            text = f"'{name}' is neither a host nor a group of the inventory"
            faults.add("unknown-hosts", text, _place(contents.play.hosts, term), remedy,
                       otherwise=contents.play.position, warning=not certain)  # fmt: skip
        if not hosts and not unknown and contents.play.hosts and not has_template(contents.play.hosts):
            faults.add("no-hosts", "this play's hosts are none", contents.play.hosts, warning=True,
                       otherwise=contents.play.position)  # fmt: skip
    for hosts, _ in chosen:
        for host in hosts:
            _left_out(host, faults)
    every = list(inventory.hosts.values())
    return [hosts or every for hosts, _ in chosen]


def _left_out(host: Host, faults: Faults) -> None:
    for name in left_out.HOST_VARIABLES:
        value = host.vars.get(name)
        if value is not None and not has_template(value) and (out := left_out.host_variable(name, value)):
            faults.add(left_out.CODE, f"{host.name}: {out[0]}", value, out[1])


def _known(groups: list[str], inventory: Inventory) -> str:
    names = [*groups, *inventory.hosts][:8]
    return f"The inventory has {', '.join(names)}." if names else "The inventory has no hosts."


def _chosen(contents: Contents, inventory: Inventory, faults: Faults) -> tuple[list[Host], list[str]]:
    pattern = contents.play.hosts
    if not pattern or has_template(pattern):
        return [], []
    try:
        return inventory.match(pattern)
    except FaultsFound as found:
        for fault in found.faults:
            faults.add(fault.code, fault.message, fault.position or contents.play.position, fault.remedy)
        return [], ["!"]


def _place(pattern: Any, term: str) -> Any:
    if isinstance(pattern, list):
        return next((entry for entry in pattern if isinstance(entry, str) and term in entry), position_of(pattern))
    return pattern
