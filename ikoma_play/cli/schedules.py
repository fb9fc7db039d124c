"""`ikoma-play schedules`: what runs by itself, when, and what came of it last."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import click

from ..console.columns import columns
from ..errors import JournalError
from ..model import Schedule
from . import loading, options

playbooks_option = click.option(
    "--schedules", "schedules", metavar="PLAYBOOK", multiple=True, envvar="IKOMA_SCHEDULES",
    help="Run the plays of this playbook that have a schedule; may be given several times.",
)  # fmt: skip


@click.command("schedules")
@click.argument("playbooks", metavar="[PLAYBOOK]...", nargs=-1, envvar="IKOMA_SCHEDULES")
@options.inventory_sources
@options.vault_passwords
@options.as_json
def command(playbooks: tuple[str, ...], inventory: tuple[str, ...], as_json: bool) -> int:
    """List schedules: when each is due next, and what came of it last, as the journal knows it.

    PLAYBOOK: those that the server was given with --schedules; default IKOMA_SCHEDULES, else the playbook `schedules`.
    """
    loaded = loading.load(playbooks or ("schedules",), inventory, ())
    known = loading.schedules(loaded.playbooks)
    rows = told(list(known.values()))
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
        return 0
    if not rows:
        click.echo("No play has a schedule.")
        return 0
    table = [("schedule", "when", "next", "last", "came to")]
    table += [_line(known[row["name"]], row) for row in rows]
    click.echo("\n".join(columns(table, indent=0, room=options.room())))
    return 0


def told(schedules: Sequence[Schedule]) -> list[dict[str, Any]]:
    """What the journal knows of schedules; of the past nothing where there is no journal yet."""
    from ..journal.opening import default_url, open_store
    from ..server.schedules import about

    try:
        store = open_store(default_url(), create=False)
    except JournalError:
        from ..journal.store import Nothing

        return [about(Nothing(), schedule, time.time()) for schedule in schedules]
    with closing(store):
        return [about(store, schedule, time.time()) for schedule in schedules]


def _line(schedule: Schedule, row: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    from ..language.schedules import shown

    when = f"{schedule.cron}  {schedule.zone}".strip()
    due, last = (shown(schedule, row[name]) if row[name] else "–" for name in ("next", "last"))
    came = f"{row['state']}: {row['run']}" if row["run"] else "–"
    return schedule.name, when, due, last, row["said"] or came
