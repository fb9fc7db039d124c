"""`ikoma-play runs resume` and `runs rollback`: going on with a run whose process has ended, and undoing a run."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import engine, language
from ..errors import UsageError
from ..events import Report
from ..model import Block, Node, Play, Position, Step
from ..tool import INTENDED
from ..tools import TOOLS
from . import faults, journaling, loading, options, sources, status
from .carrying import carried_out
from .options import MASKED
from .run import REHEARSING

if TYPE_CHECKING:
    from ..journal.past import Past, Recorded
    from ..journal.store import Row
    from .behalf import Behalf

INSTEAD = "ikoma_undo"  # a variable of a play: what to do in place of undoing it, where it has no rollback

# Asked for each time anew.
_TAKEN = ("diff", "verbosity", "as_json", "lock_timeout", "await_approval", "junit", "profile")

_taken = options.together(
    click.argument("run", required=False),
    options.variables,
    options.vault_passwords,
    click.option("-y", "--yes", is_flag=True, help="Do not ask where playbooks or variables are not as they were."),
    click.option(
        "--retry-unfinished", "unfinished", flag_value="repeat",
        help="Run a step again that was under way, though twice may not be as good as once.",
    ),
    click.option("--skip-unfinished", "unfinished", flag_value="skip", help="Take such a step as done."),
    options.lock_timeout,
    options.await_approval,
    click.option("-D", "--diff", is_flag=True, help="Show what changes in files."),
    options.as_json,
    options.junit,
    options.profile,
    click.option("-v", "--verbose", "verbosity", count=True, help="Say more: results; -vv arguments; -vvv everything."),
)  # fmt: skip


@click.command("resume")
@_taken
def resume(run: str | None, **given: Any) -> int:
    """Go on with a run that died, was interrupted or failed; without RUN the newest of playbooks.

    Completed steps are not repeated: their registered variables, facts and notified handlers are taken from the
    journal. A step that failed is tried again. Secrets were not kept: they are asked for, or given with -e.
    """
    return status.of_report(go_on(run, given, undo=False))


@click.command("rollback")
@_taken
def rollback(run: str | None, **given: Any) -> int:
    """Undo a run, whatever became of it, by its rollback handlers in reverse order; without RUN the newest.

    So is a single call (exec, POST /execute) of a tool that knows how it is undone: ikoma-play tools TOOL says how.
    """
    return status.of_undoing(go_on(run, given, undo=True))


def go_on(name: str | None, given: dict[str, Any], undo: bool, behalf: Behalf | None = None) -> Report:
    """Resume or undo a run; `given` are the options of `resume` by name."""
    from ..journal import again
    from ..journal.past import Past

    row, steps = _rows(name, undo)
    asked = again.asked(row)
    call = asked.get("call")
    before = call or asked["given"]
    _demand_place(before, row["id"])
    settings = {**of_options(), **before, **{each: given[each] for each in _TAKEN}}
    kept = [*before["extra_vars"], *([json.dumps(REHEARSING)] if before.get("rehearse") else [])]
    settings["extra_vars"] = _extra_vars(row, kept, given["extra_vars"])
    if call:
        settings |= {"inventory": json.loads(row["inventory"]), "limit": None}
        steps, loaded = _of_call(row, steps, call, settings["extra_vars"])
    else:
        loaded = loading.load(
            settings["playbooks"], settings["inventory"], settings["extra_vars"], settings["schedule"]
        )
        if undo and not any(step["undo"] for step in steps):
            _demand_rollback(row["id"], [play for playbook in loaded.playbooks for play in playbook.plays])
    if loaded.warnings and not given["as_json"]:
        faults.show(loaded.warnings)
    _ask_of_differences(row, loaded.variables, given["yes"])
    past = Past(row, steps, undo)
    past.answers = _answers(past, given["unfinished"])
    if undo:
        settings["no_rollback"] = False
    return carried_out(loaded, settings, asked["command"], past, behalf)


def taken() -> dict[str, Any]:
    """What `resume` is asked for where nothing is said."""
    return dict(resume.make_context("resume", [], resilient_parsing=True).params)


def of_options() -> dict[str, Any]:
    """What a run is asked for where nothing is said, for what an older version's journal does not know."""
    from .run import command

    return dict(command.make_context("run", [], resilient_parsing=True).params)


def _rows(name: str | None, undo: bool) -> tuple[Row, Sequence[Row]]:
    """The run and its steps. Raises UsageError where it cannot be gone on with or undone."""
    from ..journal import again

    with closing(journaling.existing()) as store:
        row = again.find(store, name, calls=undo)
        (again.demand_undoable if undo else again.demand_resumable)(row)
        return row, store.read("steps_of", run=row["id"])


def _of_call(
    row: Row, steps: Sequence[Row], call: Mapping[str, Any], extra_vars: Sequence[str]
) -> tuple[Sequence[Row], loading.Loaded]:
    """A single call as a run of one step, with the rows that belong to that. Raises UsageError where there is nothing
    to undo."""
    tool, run = TOOLS.find(call["tool"]), row["id"]
    if tool is None or tool.undo is None:
        why = f": {tool.lasting}" if tool is not None and tool.lasting else ""
        raise UsageError(
            f"run {run} was a call of {call['tool']}, which cannot be undone by itself{why}",
            remedy=f"See what it did: ikoma-play runs show {run}",
        )
    if all(each.get(INTENDED) for step in steps for each in json.loads(step["undo"] or "[]")):
        warnings = [said for step in steps for said in json.loads(step["outcome"] or "{}").get("warnings", ())]
        why = next((said for said in warnings if "cannot be undone later" in said), f"{tool.name} changed nothing")
        raise UsageError(f"of run {run} there is nothing to undo: {why}")
    origin = Position(json.loads(row["playbooks"])[0], 1)
    playbook, steps = engine.recalled(tool.name, call["hosts"], origin, steps)
    inventory = language.load_inventory(json.loads(row["inventory"]))
    return steps, loading.Loaded((playbook,), inventory, sources.extra_vars(extra_vars), ())


def _demand_rollback(run: str, plays: Sequence[Play]) -> None:
    """Raises UsageError where nothing says how to undo any step: the run would count as undone, and nobody could go on
    with it."""
    if any(play.rollback is not None or _undoes((*play.steps, *play.handlers)) for play in plays):
        return
    said = next((str(play.vars[INSTEAD]) for play in plays if INSTEAD in play.vars), "")
    raise UsageError(
        f"run {run} cannot be undone, since none of its steps has a rollback; nothing was touched",
        remedy=said or f"Is it not done, it can be gone on with: ikoma-play runs resume {run}",
    )


def _undoes(nodes: Sequence[Node]) -> bool:
    """Whether a step may be undone; what an include brings is not known."""
    return any(
        node.rollback is not None
        or (_undoes((*node.steps, *node.rescue, *node.always)) if isinstance(node, Block) else _undoes_itself(node))
        for node in nodes
    )


def _undoes_itself(step: Step) -> bool:
    return step.auto_rollback or step.tool in ("include_tasks", "include_role")


def _demand_place(before: Mapping[str, Any], run: str) -> None:
    """Relative paths mean what they meant. Raises UsageError."""
    directory = Path(before.get("directory", "."))
    if directory.is_dir() and not directory.samefile(Path.cwd()):
        raise UsageError(f"run {run} was started in {directory}", remedy=f"Go there first: cd {directory}")


def _extra_vars(row: Row, kept: Sequence[str], given: Sequence[str]) -> list[str]:
    """The options `-e` of the run, with what was secret in them given once more."""
    values = [option for option in kept if MASKED not in option] + list(given)
    missing = [name for name in json.loads(row["variables"]) if name not in sources.extra_vars(values)]
    if missing and not sys.stdin.isatty():
        raise UsageError(
            f"the run was given {', '.join(missing)}, which the journal does not keep since it is secret",
            remedy=f"Give it again: {' '.join(f'-e {name}=…' for name in missing)}",
        )
    for name in missing:
        answer = click.prompt(f"{name} (secret, not kept)", hide_input=True, err=True, type=str)
        values.append(json.dumps({name: answer}))
    return values


def _ask_of_differences(row: Row, variables: Mapping[str, Any], yes: bool) -> None:
    """Tell what is not as it was and ask whether to go on all the same. Raises UsageError where nobody answers."""
    from ..journal.again import differences
    from ..journal.recorder import text

    told = differences(row, {name: text(value) for name, value in variables.items()})
    if not told:
        return
    if yes:
        click.echo("".join(f"note: {line}\n" for line in told), err=True, nl=False)
        return
    lines = "\n       ".join(told)
    if not sys.stdin.isatty():
        raise UsageError(
            f"since run {row['id']} began:\n       {lines}",
            remedy="Steps that read the same are known as done, others are run. Go on all the same with --yes.",
        )
    click.echo(f"Since the run began:\n       {lines}", err=True)
    click.confirm("Steps that read the same are known as done, others are run. Go on?", abort=True, err=True)


def _answers(past: Past, said: str | None) -> dict[int, str]:
    """Whether to repeat or to skip each step that must not be repeated unasked. Raises UsageError."""
    questions = past.questions(TOOLS)
    if said is not None:
        return {step.number: said for step in questions}
    if questions and not sys.stdin.isatty():
        lines = "\n       ".join(map(_described, questions))
        raise UsageError(
            f"it is not known whether to run this again:\n       {lines}",
            remedy="See what there is on the host, then say --retry-unfinished or --skip-unfinished.",
        )
    answers = {}
    for step in questions:
        click.echo(_described(step), err=True)
        choice = click.prompt(
            "(r)un it again, (s)kip it as done, (q)uit",
            type=click.Choice(["r", "s", "q"]),
            show_choices=False,
            err=True,
        )
        if choice == "q":
            raise click.Abort
        answers[step.number] = "repeat" if choice == "r" else "skip"
    return answers


def _described(step: Recorded) -> str:
    at = time.strftime("%H:%M:%S", time.localtime(step.started))
    if step.unfinished:
        what = f"was begun at {at}, and nothing is known of its end"
    else:
        what = f"ran at {at}, and what it found out was secret, so the journal does not have it"
    return f"{step.title!r} ({step.tool}, {step.position}) on {step.host} {what}"
