"""`ikoma-play notifications`: what people were told, and what waits to be sent."""

from __future__ import annotations

import json
import time
from contextlib import closing

import click

from .. import language
from ..console.columns import columns
from . import options, sources
from .journaling import opened
from .notifying import Hosts


@click.group("notifications", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> int:
    """Notifications of failed production plays and of successes: `list` (the default) and `send`."""
    return int(ctx.invoke(list_them)) if ctx.invoked_subcommand is None else 0


@command.command("list")
@click.option("-n", "--most", type=click.IntRange(1), default=20, show_default=True, help="How many, the newest first.")
@options.as_json
def list_them(most: int = 20, as_json: bool = False) -> int:
    """List the newest notifications, and why those that wait could not be sent."""
    with closing(opened()) as store:
        rows = store.read("newest_notifications", app="", most=most)
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
        return 0
    if not rows:
        click.echo("No notification yet.")
        return 0
    table = [("when", "severity", "to", "by", "run", "state")]
    for row in rows:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["at"]))
        state = "sent" if row["sent"] is not None else f"waits: {row['error']}" if row["error"] else "waits"
        table.append((when, row["severity"] or "–", row["contact"], row["way"], row["run"], state))
    click.echo("\n".join(columns(table, indent=0, room=options.room())))
    return 0


@command.command("send")
@options.inventory_sources
@options.vault_passwords
def send(inventory: tuple[str, ...]) -> int:
    """Send what waits, to the contacts that the inventory names now. Exit code 2 when something still waits."""
    from ..notify import outbox

    hosts = Hosts(language.load_inventory(sources.inventories(inventory)))
    with closing(opened()) as store:
        done = outbox.deliver(store, hosts.escalation)
    for one in done:
        click.echo(f"{one.contact} by {one.way}: {one.error or 'sent'}")
    if not done:
        click.echo("Nothing waits.")
    return 2 if any(one.error for one in done) else 0
