"""`ikoma-play inventory`: hosts and groups as the engine sees them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from .. import language
from ..console.columns import columns
from ..console.words import compact, count, value
from ..engine.masking import Secrets
from ..errors import UsageError
from ..language import Group, Inventory
from ..model import Host
from ..spelling import did_you_mean
from . import options, sources
from .roads import connection


@click.command("inventory")
@click.argument("host", metavar="[HOST]", required=False)
@options.inventory
@options.as_json
@click.option("--list", "listed", is_flag=True, hidden=True, help="The same as --json.")
@click.option("--host", "wanted", metavar="HOST", hidden=True, help="The variables of one host, as JSON.")
@click.option("--graph", is_flag=True, hidden=True, help="The tree of groups; this is the default.")
@click.option("-v", "--verbose", "verbosity", count=True, help="Show the variables of every host.")
def command(
    host: str | None,
    inventory: tuple[str, ...],
    limit: str | None,
    as_json: bool,
    listed: bool,
    wanted: str | None,
    graph: bool,
    verbosity: int,
) -> None:
    """Show groups and hosts as a tree, or one host's groups and variables; secrets are masked.

    With --json it prints what Ansible's inventory programs print.
    """
    found = language.load_inventory(sources.inventories(inventory))
    chosen = {one.name: one for one in found.select(limit)} if limit else dict(found.hosts)
    name = host or wanted
    if name is not None:
        one = _one(found, name)
        lines = [compact(_shown(one.vars))] if as_json or wanted else page(one)
    elif as_json or listed:
        lines = [json.dumps(as_data(found, chosen), ensure_ascii=False, default=str)]
    else:
        lines = [
            *tree(found, chosen),
            "",
            f"{count(len(chosen), 'host')} in {', '.join(sources.inventories(inventory))}",
        ]
        if verbosity:
            lines += [line for one in chosen.values() for line in ("", *page(one))]
    click.echo("\n".join(lines))


def _one(inventory: Inventory, name: str) -> Host:
    hosts = inventory.hosts
    if name not in hosts:
        guess = did_you_mean(name, hosts, "See: ikoma-play inventory")
        raise UsageError(f"There is no host {name} in the inventory", remedy=guess)
    return hosts[name]


def tree(inventory: Inventory, chosen: Mapping[str, Host]) -> list[str]:
    """Groups with their hosts below them, deeper groups further in."""

    def group(found: Group, depth: int) -> Iterator[tuple[str, str]]:
        yield "  " * depth + found.name, ""
        children = [inventory.groups[child] for child in found.children if child != "ungrouped"]
        below = {host for child in children for host in child.hosts}
        for name in found.hosts:
            if name in chosen and name not in below:
                yield "  " * (depth + 1) + name, _reached(chosen[name])
        for child in children:
            yield from group(child, depth + 1)

    return columns(list(group(inventory.groups["all"], 0)), indent=0)


def _reached(host: Host) -> str:
    """How the host is reached, and what runs its services."""
    address = host.vars.get("ansible_host", "")
    words = [connection(host), str(address) if address else "", str(host.vars.get("ikoma_runtime", ""))]
    return ", ".join(word for word in words if word)


def page(host: Host) -> list[str]:
    """One host with its groups and variables."""
    groups = ", ".join(host.groups) or "none"
    rows = [(name, value(of, 100)) for name, of in sorted(_shown(host.vars).items())]
    return [click.style(host.name, bold=True), f"  groups: {groups}", *columns(rows)]


def as_data(inventory: Inventory, chosen: Mapping[str, Host]) -> dict[str, Any]:
    """The form that dynamic inventories print."""
    groups: dict[str, Any] = {"_meta": {"hostvars": {name: _shown(host.vars) for name, host in chosen.items()}}}
    for name, group in inventory.groups.items():
        below = {host for child in group.children for host in inventory.groups[child].hosts}
        own = [host for host in group.hosts if host in chosen and host not in below]
        groups[name] = {
            **({"children": list(group.children)} if group.children else {}),
            **({"hosts": own} if own else {}),
        }
    return groups


def _shown(variables: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = Secrets().mask_value(dict(variables))
    return shown
