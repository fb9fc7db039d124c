"""`ikoma-play runs approve`: the answer to a run that waits for a person, from another terminal."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import language
from ..audit.entries import Entry
from ..console.terminal import one_line
from ..errors import AuditError, UsageError
from ..journal import again, approvals
from ..journal.holder import this_process
from . import audits
from .journaling import existing

if TYPE_CHECKING:
    from ..journal.store import Row


@click.command("approve")
@click.argument("run")
@click.option("--refuse", is_flag=True, help="Say no: the step fails.")
@click.option("--reason", default="", metavar="TEXT", help="Why; it is kept with the answer.")
@click.option("--number", type=click.IntRange(1), metavar="N", help="Which question; default the oldest that waits.")
def approve(run: str, refuse: bool, reason: str, number: int | None) -> int:
    """Answer what a step of a run asks a person: yes, or with --refuse no."""
    who, begun = f"cli:{this_process().who}", time.time()
    with closing(existing()) as store:
        row = again.find(store, run)
        question = approvals.demand_waiting(store, row, number)
        logs = audits.Logs(_places(row), changes=True)
        try:
            log = logs.of(question["host"])
            if not approvals.decide(store, row["id"], question["number"], not refuse, who, reason):
                raise UsageError(
                    f"the question of run {row['id']} has been answered, or its time is over",
                    remedy=f"See: ikoma-play runs show {row['id']}",
                )
            if log is not None:
                told = {"run": row["id"], "approve": not refuse, "reason": reason, "number": question["number"]}
                took = time.time() - begun
                log.append(Entry("runs.approve", "admin", told, "", took, question["host"], who, row["id"], at=begun))
        except AuditError as error:
            raise UsageError(f"nothing was answered: {error.message}", remedy=error.remedy) from None
        finally:
            logs.close()
    click.echo(f"{'Refused' if refuse else 'Approved'}: {one_line(question['question'])}")
    return 0


def _places(row: Row) -> audits.Places:
    """The audit log that the run's own steps are in."""
    asked = again.asked(row)
    if log := asked.get("audit_log"):
        return audits.Places(None, log=Path(log))
    given = asked.get("given", {})
    sources = [_absolute(each, given.get("directory", ".")) for each in json.loads(row["inventory"])]
    return audits.Places(language.load_inventory(sources))


def _absolute(source: str, directory: str) -> str:
    """An inventory as it was named where the run began: host names with a comma stay as they are."""
    return source if "," in source else str(Path(directory, source))
