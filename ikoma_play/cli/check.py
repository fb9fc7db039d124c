"""`ikoma-play check`: all that can be known of playbooks without running them."""

from __future__ import annotations

import json

import click

from ..console.words import count
from ..errors import FaultsFound
from ..model import Playbook
from . import faults, loading, options, status


@click.command("check")
@click.argument("playbooks", metavar="PLAYBOOK...", nargs=-1, required=True)
@options.inventory
@options.variables
@options.as_json
def command(
    playbooks: tuple[str, ...],
    inventory: tuple[str, ...],
    limit: str | None,
    extra_vars: tuple[str, ...],
    as_json: bool,
) -> int:
    """Find everything that is wrong with playbooks and inventory, without running anything.

    Every fault is shown with its file, line and column and the likely correction; the exit code is then 4.
    """
    return report(playbooks, inventory, extra_vars, as_json)


def report(
    playbooks: tuple[str, ...], inventory: tuple[str, ...], extra_vars: tuple[str, ...], as_json: bool = False
) -> int:
    """Print the faults, or that there are none; returns the exit status."""
    try:
        loaded = loading.load(playbooks, inventory, extra_vars)
    except FaultsFound as found:
        if as_json:
            click.echo(json.dumps({"faults": faults.as_data(found.faults)}, ensure_ascii=False))
            return status.FAULTY
        return faults.show(found.faults, err=False)
    if as_json:
        click.echo(json.dumps({"faults": faults.as_data(loaded.warnings)}, ensure_ascii=False))
        return status.DONE
    if loaded.warnings:
        faults.show(loaded.warnings, err=False)
    for playbook in loaded.playbooks:
        click.echo(f"{playbook.path}: no faults ({summary(playbook)})")
    return status.DONE


def summary(playbook: Playbook) -> str:
    """`1 play, 31 steps in 14 files`."""
    steps = sum(1 for play in playbook.plays for _ in loading.steps((*play.steps, *play.handlers)))
    plays, files = count(len(playbook.plays), "play"), count(max(1, len(playbook.files)), "file")
    return f"{plays}, {count(steps, 'step')} in {files}"
