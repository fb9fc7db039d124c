"""`ikoma-play audit`: what was called, by whom, what came of it, and whether the log of it is whole."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .. import language
from ..console.columns import columns
from ..console.terminal import one_line
from ..console.words import count, duration
from ..errors import UsageError
from . import audits, options, sources, status, times
from .options import Function

LONGEST = 60  # characters of arguments in the table

where = options.together(
    click.option("--file", "file", metavar="FILE", help="The log; default AUDIT_LOG, else the inventory's."),
    click.option("-i", "--inventory", "inventory", multiple=True, metavar="INVENTORY", help="Whose hosts' log."),
    click.option(
        "--key-file", metavar="FILE", help="The key that the log is chained with; default AUDIT_KEY_FILE says."
    ),
)


@click.group("audit", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> int:
    """Every call over HTTP and every step: `show` (the default) prints the newest, `verify` checks the chain."""
    return int(ctx.invoke(show)) if ctx.invoked_subcommand is None else 0


def _filters() -> Callable[[Function], Function]:
    names = {
        "app": ("APP", "Only calls about this application."),
        "tool": ("TOOL", "Only calls of this tool."),
        "run": ("RUN", "Only steps of this run; the beginning of its id will do."),
        "host": ("HOST", "Only calls on this host."),
        "key": ("NAME", "Only calls with the key of this name; cli:USER for the command line."),
        "since": ("TIME", "Only from then on: 2026-01-02, 2026-01-02T03:04, 90m, 12h, 7d."),
        "until": ("TIME", "Only before then."),
    }
    return options.together(
        *(click.option(f"--{name}", metavar=metavar, default="", help=said) for name, (metavar, said) in names.items()),
        click.option("--result", type=click.Choice(["success", "error"]), default=None, help="Only what ended so."),
    )


@command.command("show")
@where
@_filters()
@click.option("-n", "--most", type=click.IntRange(1), help="How many, the newest; default 50, with --json all.")
@options.as_json
def show(
    file: str | None = None,
    inventory: tuple[str, ...] = (),
    key_file: str | None = None,
    most: int | None = None,
    as_json: bool = False,
    **filters: Any,
) -> int:
    """Show the newest calls, the last one at the bottom."""
    from ..audit.reading import Wanted, newest

    for name in ("since", "until"):
        filters[name] = _time(filters.get(name) or "", name)
    wanted = Wanted(**{name: value or "" for name, value in filters.items()})
    entries = newest(_path(file, inventory)[0], wanted, most or (None if as_json else 50))
    if as_json:
        for entry in entries:
            click.echo(json.dumps(entry, ensure_ascii=False, separators=(",", ":")))
        return 0
    if not entries:
        click.echo("No such call.")
        return 0
    table = [("time", "tool", "host", "by", "role", "result", "took", "arguments")]
    lines = columns([*table, *map(_row, entries)], right=(6,), indent=0, room=options.room())
    click.echo("\n".join(lines))
    return 0


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    arguments = entry.get("arguments") or {}
    said = " ".join(f"{name}={_short(value)}" for name, value in arguments.items())
    error = f"{one_line(str(entry['error']))}  " if entry.get("error") else ""
    return (
        _local(str(entry.get("timestamp", ""))),
        str(entry.get("capability", "")),
        str(entry.get("host") or "–"),
        str(entry.get("key") or "–"),
        str(entry.get("role", "")),
        str(entry.get("result", "")),
        duration(float(entry.get("duration") or 0) / 1000),
        error + (said if len(said) <= LONGEST else f"{said[: LONGEST - 1]}…"),
    )


def _short(value: Any) -> str:
    return one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _local(timestamp: str) -> str:
    """A time of the log, which is UTC, as it was here."""
    from datetime import datetime

    try:
        return datetime.fromisoformat(timestamp).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return timestamp


def _time(said: str, option: str) -> str:
    """A time as entries have it. Raises UsageError."""
    from ..audit.entries import timestamp

    return timestamp(times.ago(said, option)) if said else ""


@command.command("verify")
@where
@click.option(
    "--known",
    metavar="NUMBER:HASH",
    help="What an earlier check printed: that line must still be there as it was.",
)
@options.as_json
def verify(file: str | None, inventory: tuple[str, ...], key_file: str | None, known: str | None, as_json: bool) -> int:
    """Find every line that was changed, removed, moved or cut off; exit code 2 when there is one.

    What it prints in the end, kept elsewhere, proves later that nothing up to there was changed or cut off.
    """
    from msgspec.structs import asdict

    from ..audit.verifying import verify as verified

    path, key_of_inventory = _path(file, inventory)
    found = verified(path, audits.chain_key(key_file or key_of_inventory), _known(known))
    if as_json:
        findings = [asdict(each) for each in found.findings]
        click.echo(json.dumps({**asdict(found), "findings": findings, "whole": not findings}, ensure_ascii=False))
        return status.FAILED if found.findings else status.DONE
    for finding in found.findings:
        click.echo(str(finding))
    what = f"{count(found.lines, 'line')} in {count(found.files, 'file')}"
    if found.findings:
        places = "place" if len(found.findings) == 1 else "places"
        click.echo(f"{click.style('✗', fg='red')} {what}: not as written in {len(found.findings)} {places}")
        return status.FAILED
    if found.note:
        click.echo(found.note)
    click.echo(f"{click.style('✓', fg='green')} {what}: whole, up to {found.number}:{found.hash}")
    return status.DONE


def _known(said: str | None) -> tuple[int, str] | None:
    if said is None:
        return None
    number, _, digest = said.partition(":")
    if not number.isdecimal() or not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise UsageError(f"--known {said} is no NUMBER:HASH", remedy="Copy what `ikoma-play audit verify` printed.")
    return int(number), digest


def _path(file: str | None, inventory: tuple[str, ...]) -> tuple[Path, str]:
    """The log that is meant, and what AUDIT_KEY_FILE says of it. Raises UsageError where there are several."""
    places = audits.Places(language.load_inventory(sources.inventories(inventory)))
    key_file = audits.setting("AUDIT_KEY_FILE", places.env_file(None))
    if file is not None:
        return Path(file), key_file
    logs = [place.path for place in places.all()]
    if len(logs) > 1:
        raise UsageError(
            f"the inventory's hosts have {len(logs)} audit logs",
            remedy=f"Say which with --file: {', '.join(map(str, logs))}",
        )
    return logs[0], key_file
