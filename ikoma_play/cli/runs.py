"""`ikoma-play runs`: what the journal knows of runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..console.columns import columns
from ..console.terminal import one_line, printable
from ..console.words import call as call_lines
from ..console.words import diff_lines, duration, phase
from ..journal.again import asked, find, state
from ..model import Diff
from . import options
from .journaling import existing

if TYPE_CHECKING:
    from ..journal.store import Row

LONGEST = 20  # lines of what a playbook says

MARKS = {"ok": "✓", "changed": "●", "skipped": "–", "failed": "✗", "unreachable": "✗", "started": "…",
         "rolled_back": "↶", "rollback_failed": "✗"}  # fmt: skip


class Runs(click.Group):
    """What goes on with a run needs the engine, which lists do not wait for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return ["list", "show", "approve", "resume", "rollback", "prune"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "approve":
            from . import answering

            return answering.approve
        if cmd_name in ("resume", "rollback"):
            from . import resume

            return resume.resume if cmd_name == "resume" else resume.rollback
        return super().get_command(ctx, cmd_name)


@click.group("runs", cls=Runs, invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> int:
    """What the journal knows of runs: `list` (the default) and `show`; `resume` and `rollback` go on from it, `approve`
    answers one that waits for a person.

    The journal is .ikoma/journal.db in this directory, or what IKOMA_STATE says: sqlite:PATH or postgresql://….
    """
    return int(ctx.invoke(list_runs)) if ctx.invoked_subcommand is None else 0


@command.command("list")
@click.option("-n", "--most", type=click.IntRange(1), default=20, show_default=True, help="How many, the newest first.")
@options.as_json
def list_runs(most: int = 20, as_json: bool = False) -> int:
    """List the newest runs."""
    with closing(existing()) as store:
        rows = store.read("newest_runs", most=most)
    if as_json:
        click.echo(json.dumps([_run_data(row) for row in rows], ensure_ascii=False))
        return 0
    if not rows:
        click.echo("No run yet.")
        return 0
    table = [("run", "state", "started", "took", "who", "what")]
    table += [(row["id"], state(row), _when(row["started"]), _took(row), row["who"], what(row)) for row in rows]
    click.echo("\n".join(columns(table, right=(3,), indent=0, room=options.room())))
    return 0


@command.command("show")
@click.argument("run", required=False)
@click.option("-D", "--diff", is_flag=True, help="Show what changed in files.")
@options.as_json
def show(run: str | None, diff: bool, as_json: bool) -> int:
    """Show a run with its steps, times and who started it; without RUN the newest."""
    with closing(existing()) as store:
        row = find(store, run)
        steps = store.read("steps_of", run=row["id"])
        notes = store.read("notes_of", run=row["id"])
        approvals = store.read("approvals_of", run=row["id"])
    if as_json:
        data = {**_run_data(row), "steps": list(map(_step_data, steps)), "notes": notes, "approvals": approvals}
        click.echo(json.dumps(data, ensure_ascii=False))
        return 0
    tree = _tree(steps, diff, call=not asked(row).get("given"))
    click.echo("\n".join([*_head(row), *tree, *_asked(row, approvals), *_notes(notes)]))
    return 0


@command.command("prune")
@click.option("--keep", "runs", type=click.IntRange(0), help="How many of the newest runs stay in any case.")
@click.option("--days", type=click.IntRange(0), help="Younger ones stay in any case.")
@click.option("-C", "--check", "dry", is_flag=True, help="Forget nothing; tell which would go.")
@options.as_json
def prune(runs: int | None, days: int | None, dry: bool, as_json: bool) -> int:
    """Forget old runs that nobody can want to resume or to undo; the end of runs does so by itself.

    Of playbooks the newest 1000 and those of the last 90 days stay, of single calls those of the last 7 days; and
    always what is under way, what failed and was never done since, and the newest 20 of each application.
    """
    from ..journal import forgetting

    with closing(existing()) as store:
        keep = forgetting.RUNS if runs is None else runs
        gone = forgetting.forget(store, keep, forgetting.DAYS if days is None else days, dry)
    if as_json:
        click.echo(json.dumps(gone))
        return 0
    word = "would go" if dry else "forgotten"
    click.echo("\n".join([*gone, f"{len(gone)} {'run' if len(gone) == 1 else 'runs'} {word}."]))
    return 0


def what(row: Row) -> str:
    """What a run ran, by name."""
    if schedule := asked(row).get("given", {}).get("schedule"):
        return str(schedule)
    names = [Path(path).stem if path.endswith((".yml", ".yaml")) else path for path in json.loads(row["playbooks"])]
    command = asked(row).get("command", [])
    return " ".join(command[1:]) if names == ["exec"] else ", ".join(names)


def _head(row: Row) -> Iterator[str]:
    yield f"{click.style(what(row), bold=True)}  {row['id']}"
    took = f", took {_took(row)}" if row["ended"] else ""
    yield f"  {state(row)}; started {_when(row['started'])} by {row['who']} on {row['host']}{took}"
    yield f"  $ {one_line(' '.join(asked(row).get('command', [])))}"


def _tree(steps: Sequence[Row], diff: bool, call: bool) -> Iterator[str]:
    """The steps below their plays and phases; of a `call` its arguments too, as they are kept: masked."""
    for play, of_play in groupby(steps, key=lambda step: step["play"]):
        yield f"\n{click.style(one_line(play), bold=True)}"
        several = len({step["host"] for step in steps}) > 1
        for heading, part in groupby(of_play, key=lambda step: phase(step["phase"], step["kind"])):
            yield f"  {heading}"
            for step in part:
                yield from _lines(step, several, diff)
                if call and step["kind"] == "step":
                    told = call_lines(step["tool"], json.loads(step["arguments"]), options.room() or 90)
                    yield from (f"                {printable(line)}" for line in told)


def _lines(step: Row, several: bool, diff: bool) -> Iterator[str]:
    on = f"  {step['host']}" if several else ""
    came = json.loads(step["outcome"]) if step["outcome"] else {}
    at = _time(step["started"])
    said = "  begun, and nothing is known of its end" if step["state"] == "started" else f"  {duration(_seconds(came))}"
    yield f"    {at}  {MARKS.get(step['state'], '?')} {one_line(step['title'])}{on}{said}"
    failure = came.get("failure")
    if step["tool"] == "debug" and not failure:
        yield from (
            f"                {line}" for line in printable(str(came.get("message", ""))).splitlines()[:LONGEST]
        )
    if failure:
        text = "\n".join(filter(None, (failure["message"], failure["remedy"], failure["evidence"])))
        yield from (f"                {line}" for line in printable(text).splitlines())
    for each in came.get("diffs", ()) if diff else ():
        yield from (f"                {line}" for _, line in diff_lines(Diff(**each)))


def _asked(row: Row, approvals: Sequence[Row]) -> Iterator[str]:
    """What the run asked people, and who said what."""
    if approvals:
        yield "\nAsked"
    for each in approvals:
        yield f"    {_time(each['asked'])}  {one_line(each['question'])}"
        reason = f": {one_line(each['comment'])}" if each["comment"] else ""
        if each["answer"] in ("yes", "no"):
            word = "approved" if each["answer"] == "yes" else "refused"
            yield f"    {_time(each['answered'])}  {word} by {one_line(each['who'])}{reason}"
        elif each["answer"]:
            yield f"              {'nobody answered in time' if each['answer'] == 'late' else 'withdrawn'}"
        else:
            yield f"              waits for the role {each['role']} until {_when(each['until'])}"
            yield f"              $ ikoma-play runs approve {row['id']}"


def _notes(notes: Sequence[Row]) -> Iterator[str]:
    if notes:
        yield "\nNotes"
    for note in notes:
        yield f"    {_time(note['at'])}  {one_line(note['text'])}"


def _seconds(came: dict[str, Any]) -> float:
    return float(came.get("seconds", 0.0))


def _time(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _took(row: Row) -> str:
    return duration(max(0.0, row["ended"] - row["started"])) if row["ended"] else ""


def _run_data(row: Row) -> dict[str, Any]:
    texts = ("playbooks", "inventory", "options", "variables", "files", "report")
    read = {name: json.loads(row[name]) if row[name] else None for name in texts}
    return {name: value for name, value in {**row, "state": state(row), **read}.items() if name != "silent"}


def _step_data(step: Row) -> dict[str, Any]:
    texts = ("arguments", "outcome", "extra", "facts", "notified", "undo")
    read = {name: json.loads(step[name]) if step[name] else None for name in texts}
    return {name: value for name, value in {**step, **read}.items() if name != "run"}
