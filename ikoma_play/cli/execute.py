"""`ikoma-play exec`: one tool, called once, as a playbook of one step."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterable
from typing import Any

import click

from .. import engine, language, shipped
from ..errors import UsageError
from ..events import StepFinished
from ..language import Inventory
from ..model import Position
from ..tool import Tool
from ..tools import TOOLS
from . import audits, journaling, options, roads, sources, status
from .tools import find, kind

HERE = Position("exec", 1)


@click.command("exec", context_settings={"ignore_unknown_options": False})
@click.argument("name", metavar="TOOL")
@click.argument("words", metavar="[KEY=VALUE]...", nargs=-1)
@options.inventory
@options.variables
@click.option("-C", "--check", "dry", is_flag=True, help="Change nothing; tell what would change.")
@options.become
@options.connection
@options.lock_timeout
@click.option("--json", "as_json", is_flag=True, help="The whole outcome instead of the result alone.")
@click.option("-v", "--verbose", "verbosity", count=True, help="Tell on standard error what it came to.")
def command(name: str, words: tuple[str, ...], **given: Any) -> int:
    """Call one tool on a host and print its result as JSON.

    What it takes: ikoma-play tools TOOL. With several hosts in the inventory say which with -l.
    """
    tool = find(name)
    arguments = parsed(tool, words)
    inventory = language.load_inventory(sources.inventories(given["inventory"]))
    hosts = given["limit"] or the_host(inventory)
    login, become = options.passwords(given)
    chosen = engine.Options(
        check=given["dry"],
        extra_vars=sources.extra_vars(given["extra_vars"]),
        become=given["become"],
        become_user=given["become_user"],
        become_method=given["become_method"],
        become_password=become,
        verbosity=given["verbosity"],
        play_home=str(shipped.playbooks()),
        connection=options.connection_vars(given, login),
        roles_path=tuple(sources.roles_path()),
    )
    gc.freeze()  # what is there by now stays to the end
    gc.enable()
    about = journaling.about_call(tool, hosts, given, chosen.extra_vars)
    with (
        journaling.journal(about, given["lock_timeout"], keep=tool.changes and not given["dry"]) as journal,
        audits.kept([hosts], inventory, chosen.extra_vars, changes=tool.changes, dry=given["dry"]) as audit,
    ):
        report, finished = engine.call(
            tool, arguments, hosts, inventory, TOOLS, chosen, (*journal.observers, *audit), roads.connect,
            journal.locks, HERE,
        )  # fmt: skip
    if not finished:
        raise UsageError(f"No host matches {hosts}", remedy="See: ikoma-play inventory")
    _answer(finished, given["as_json"], given["verbosity"])
    return status.of_report(report)


def parsed(tool: Tool, words: Iterable[str]) -> dict[str, Any]:
    """`KEY=VALUE` words as arguments; a word that is none is the tool's free form. Raises UsageError."""
    arguments: dict[str, Any] = {}
    shapes = tool.schema()["properties"]
    for word in words:
        name, equals, text = word.partition("=")
        named = bool(equals) and (name in shapes or tool.open or tool.free_form is None or name.isidentifier())
        if named:
            arguments[name] = value(text, shapes.get(name, {}))
        elif tool.free_form is not None and tool.free_form not in arguments:
            arguments[tool.free_form] = word
        else:
            raise UsageError(f"{word!r} is not KEY=VALUE", remedy=f"See: ikoma-play tools {tool.name}")
    if faults := tool.faults(arguments, lambda known: not _has_template(known)):
        remedies = " ".join(dict.fromkeys(fault.remedy for fault in faults if fault.remedy))
        raise UsageError(
            "\n       ".join(fault.message for fault in faults),
            remedy=f"{remedies} See: ikoma-play tools {tool.name}".strip(),
        )
    return arguments


def value(text: str, shape: dict[str, Any]) -> Any:
    """What was typed: text where the tool takes text, else the YAML value it spells.

    Where it takes anything, only what begins like a list or a mapping is not text.
    """
    kinds = kind(shape).split(" or ")
    anything = "any" in kinds and not text.startswith(("{", "["))
    if anything or "text" in kinds or "enum" in shape or _has_template(text):
        return text
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _has_template(of: Any) -> bool:
    return isinstance(of, str) and ("{{" in of or "{%" in of)


def the_host(inventory: Inventory) -> str:
    """The only host of the inventory. Raises UsageError where there are more, or none."""
    names = list(inventory.hosts)
    if len(names) != 1:
        what = f"The inventory has {len(names)} hosts" if names else "The inventory has no hosts"
        raise UsageError(what, remedy="Say on which to run with -l HOST; localhost is this machine.")
    return names[0]


def _answer(finished: list[StepFinished], as_json: bool, verbosity: int) -> None:
    """Results on standard output, what went wrong on standard error."""
    from ..console.jsonlines import outcome
    from ..console.narrator import failure
    from ..console.plain import drawn
    from ..console.words import duration

    answers = {event.host: outcome(event.outcome) if as_json else event.outcome.result for event in finished}
    for event in finished:
        came = event.outcome
        if came.status.bad and event.step is not None:
            click.echo(
                f"{click.style(came.status.value, fg='red', bold=True)}: {event.step.tool} on {event.host}", err=True
            )
            for line in failure(event, event.step):
                if line.kind != "where":
                    click.echo(drawn(line), err=True)
        elif verbosity:
            click.echo(f"{came.status.value}: {event.title} on {event.host} ({duration(came.seconds)})", err=True)
        for warning in came.warnings:
            click.echo(f"warning: {warning}", err=True)
    answer = next(iter(answers.values())) if len(answers) == 1 else answers
    if answer is not None or not any(event.outcome.status.bad for event in finished):
        indent = 2 if sys.stdout.isatty() else None
        click.echo(json.dumps(answer, ensure_ascii=False, indent=indent, default=str))
