"""`ikoma-play plan`: hosts, phases and steps in order, and what would undo each."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from itertools import islice
from typing import Any

import click
from msgspec.structs import asdict

from .. import shipped
from ..console.columns import columns
from ..model import Playbook
from . import lists, loading, options, sources


@click.command("plan")
@click.argument("playbooks", metavar="[PLAYBOOK]...", nargs=-1)
@options.inventory
@options.variables
@options.selection
@options.as_json
def command(playbooks: tuple[str, ...], **given: Any) -> None:
    """Show hosts, phases and steps in the order in which they would run, and what would undo each.

    Without a playbook it lists the ones that can be named without a path.
    """
    if not playbooks:
        click.echo("\n".join(sources.listing()))
        return
    loaded = loading.load(playbooks, given["inventory"], given["extra_vars"])
    steps = lists.planned(loaded, given, str(shipped.playbooks()))
    if given["as_json"]:
        rows = [{**asdict(step), "position": asdict(step.position)} for step in steps]
        click.echo(json.dumps(rows, ensure_ascii=False, default=str))
    else:
        click.echo("\n".join([*lists.as_text(steps), *_schedules(loaded.playbooks)]))


def _schedules(playbooks: Sequence[Playbook]) -> list[str]:
    """When plays are due next, under `serve --schedules`."""
    found = loading.schedules(playbooks).values()
    if not found:
        return []
    from ..language.schedules import due_after, shown

    rows = []
    for schedule in found:
        times = islice(due_after(schedule, time.time()), 3)
        rows.append((schedule.name, schedule.cron, ", ".join(shown(schedule, at) for at in times)))
    return ["", click.style("Runs by itself under `ikoma-play serve --schedules`", bold=True), *columns(rows, indent=2)]
