"""What was loaded, carried out: with views, journal, audit and locks around the engine."""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from .. import engine, shipped
from ..events import Observer, Report
from ..model import EMPTY, Step
from ..tools import TOOLS
from . import audits, journaling, loading, notifying, options, roads, sources, views
from .approving import Approvals

if TYPE_CHECKING:
    from ..journal.past import Past
    from .behalf import Behalf


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
