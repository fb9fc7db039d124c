"""`ikoma-play run`: playbooks from beginning to end."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from .. import engine, shipped
from ..errors import UsageError
from ..events import Observer, Report
from ..model import EMPTY, Playbook, Step
from ..tools import TOOLS
from . import audits, check, faults, journaling, lists, loading, notifying, options, roads, sources, status, views
from .approving import Approvals

if TYPE_CHECKING:
    from ..journal.past import Past
    from .behalf import Behalf


@click.command("run")
@click.argument("playbooks", metavar="PLAYBOOK...", nargs=-1, required=True)
@options.inventory
@options.variables
@options.selection
@click.option("-C", "--check", "dry", is_flag=True, help="Change nothing; tell what would change.")
@click.option("-D", "--diff", is_flag=True, help="Show what changes in files.")
@click.option("--step", "one_by_one", is_flag=True, help="Ask before each step.")
@click.option("-f", "--forks", type=click.IntRange(1), metavar="N", help="How many hosts at once.")
@click.option(
    "--rehearse", is_flag=True, help="Prove it on scratch copies, touching nothing that serves; for rollback."
)
@click.option("--schedule", metavar="NAME", help="Only the plays of this schedule, now.")
@click.option("--no-rollback", is_flag=True, help="After a failure leave everything as it is.")
@click.option("--force-handlers", is_flag=True, help="Run notified handlers even if a step fails.")
@options.become
@options.connection
@options.ansible_only
@options.lock_timeout
@options.await_approval
@options.as_json
@options.junit
@options.profile
@click.option("-v", "--verbose", "verbosity", count=True, help="Say more: results; -vv arguments; -vvv everything.")
@lists.options
def command(playbooks: tuple[str, ...], **given: Any) -> int:
    """Run playbooks: paths, or names of the shipped ones (see them with: ikoma-play plan).

    The hosts come from ./inventory.yml, or from the shipped inventory, whose host `sandbox` needs nothing installed.
    """
    if given["syntax_check"]:
        return check.report(playbooks, given["inventory"], given["extra_vars"])
    rehearsing = (json.dumps(REHEARSING),) if given["rehearse"] else ()
    loaded = loading.load(playbooks, given["inventory"], (*given["extra_vars"], *rehearsing), given["schedule"])
    if rehearsing:
        demand_rehearsal(loaded.playbooks)
    if given["limit"] == "@retry":
        given["limit"] = journaling.lost_hosts()
    if lists.wanted(given):
        return lists.show(lists.planned(loaded, given, str(shipped.playbooks())), given)
    if loaded.warnings and not given["as_json"]:
        faults.show(loaded.warnings)
    return status.of_report(carried_out(loaded, {**given, "playbooks": playbooks}, again(playbooks, given)))


def carried_out(
    loaded: loading.Loaded,
    given: dict[str, Any],
    command_line: Sequence[str],
    past: Past | None = None,
    behalf: Behalf | None = None,
) -> Report:
    """Run what was loaded, with views, journal, audit and locks; `given` are the options of `run` by name. `behalf`
    is set in the process that a server starts for a run."""
    about = journaling.about(loaded, given, command_line, past, behalf.noted if behalf else EMPTY)
    with views.watching(
        command_line,
        as_json=given["as_json"],
        junit=given["junit"],
        profile=given["profile"],
        verbosity=given["verbosity"],
        diff=given["diff"],
    ) as watching:
        chosen = run_options(given, loaded.variables, Asking(watching))
        if behalf is not None:
            chosen = replace(chosen, run=behalf.run, here=behalf.connection, actor=behalf.key)
        gc.freeze()  # what is there by now stays to the end
        gc.enable()
        with (
            journaling.journal(about, given["lock_timeout"], not given["dry"], chosen.actor) as journal,
            audits.kept(
                [play.hosts for playbook in loaded.playbooks for play in playbook.plays],
                loaded.inventory,
                loaded.variables,
                given["limit"],
                dry=given["dry"],
                caller=behalf.caller if behalf else None,
                places=behalf.places if behalf else None,
            ) as audit,
        ):
            more = behalf.observers(journal) if behalf else ()
            observers: list[Observer] = [*journal.observers, *more, *audit, *watching]
            if journal.store is not None:
                wait = given["await_approval"] or behalf is not None
                approvals = Approvals(journal.store, past, watching, wait, silent=given["as_json"])
                chosen = replace(chosen, approvals=approvals)
                observers += notifying.observers(journal.store, loaded.inventory, loaded.variables, given["schedule"])
            return engine.run(
                loaded.playbooks, loaded.inventory, TOOLS, chosen, observers, roads.connect, journal.locks, past
            )


# What --rehearse tells a playbook; its question is answered with no, since nothing is to be done.
REHEARSING = {"rehearse": True, "yes": False}


def demand_rehearsal(playbooks: Iterable[Playbook]) -> None:
    """Raises UsageError for a playbook that knows no rehearsal, since it would run in earnest."""
    for playbook in playbooks:
        if not any("rehearse" in play.vars for play in playbook.plays):
            raise UsageError(
                f"nothing was run: {playbook.path} has no rehearsal",
                remedy="playbooks/rollback.yml has one; --check tells what another playbook would change.",
            )


def run_options(given: dict[str, Any], variables: Any, asking: Asking) -> engine.Options:
    """The engine's options from the command line's."""
    login, become = options.passwords(given)
    return engine.Options(
        limit=given["limit"],
        tags=frozenset(options.words(given["tags"])),
        skip_tags=frozenset(options.words(given["skip_tags"])),
        check=given["dry"],
        diff=given["diff"],
        start_at_step=given["start_at"],
        confirm=asking if given["one_by_one"] else None,
        forks=given["forks"] or 0,
        extra_vars=variables,
        rollback=not given["no_rollback"],
        force_handlers=given["force_handlers"],
        become=given["become"],
        become_user=given["become_user"],
        become_method=given["become_method"],
        become_password=become,
        verbosity=given["verbosity"],
        here=given.get("here", EMPTY),
        play_home=str(shipped.playbooks()),
        connection=options.connection_vars(given, login),
        roles_path=tuple(sources.roles_path()),
        ask=asking.answer if sys.stdin.isatty() else None,
    )


class Asking:
    """Asks the person at the terminal: before each step (yes, no, go on without asking), and what vars_prompt wants."""

    def __init__(self, watching: Sequence[views.View]) -> None:
        self._views = watching

    def __call__(self, step: Step) -> bool | None:
        with views.quiet(self._views):
            question = f"Run '{step.title}'? (y)es, (n)o, (c)ontinue without asking"
            answer = click.prompt(
                question, default="n", show_default=False, type=click.Choice(["y", "n", "c"]), err=True
            )
        return None if answer == "c" else answer == "y"

    def answer(self, prompt: Mapping[str, Any]) -> Any:
        """What is typed for one entry of vars_prompt."""
        with views.quiet(self._views):
            return click.prompt(
                str(prompt.get("prompt") or prompt.get("name", "")),
                default=prompt.get("default", ""),
                show_default="default" in prompt and not prompt.get("private", True),
                hide_input=bool(prompt.get("private", True)),
                confirmation_prompt=bool(prompt.get("confirm")),
                type=str,
                err=True,
            )


def again(playbooks: Sequence[str], given: dict[str, Any]) -> list[str]:
    """The command line of this run, to be run again: without --start-at-step, secrets masked."""
    words = ["ikoma-play", "run", *playbooks]
    for value in given["inventory"]:
        words += ["-i", value]
    if given["limit"]:
        words += ["-l", given["limit"]]
    for value in given["extra_vars"]:
        words += ["-e", options.without_secrets(value)]
    for name, option in (("tags", "--tags"), ("skip_tags", "--skip-tags")):
        for value in given[name]:
            words += [option, value]
    for name, option in (
        ("dry", "--check"),
        ("rehearse", "--rehearse"),
        ("diff", "--diff"),
        ("become", "--become"),
        ("ask_become", "-K"),
        ("ask_pass", "-k"),
    ):
        words += [option] if given[name] else []
    for name, option in (
        ("become_user", "--become-user"),
        ("forks", "--forks"),
        ("schedule", "--schedule"),
        ("user", "--user"),
        ("connection", "--connection"),
        ("private_key", "--private-key"),
        ("timeout", "--timeout"),
        ("become_file", "--become-password-file"),
        ("password_file", "--connection-password-file"),
        ("ssh_common_args", "--ssh-common-args"),
        ("ssh_extra_args", "--ssh-extra-args"),
    ):
        words += [option, str(given[name])] if given[name] else []
    return words
