"""What a run would do, told without doing it: `ikoma-play plan`, and Ansible's --list-… options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from .. import engine
from ..console.columns import columns
from ..console.words import count
from ..console.words import hosts as hosts_in_words
from ..console.words import phase as words_for_phase
from ..tools import TOOLS
from .loading import Loaded
from .options import together, words

if TYPE_CHECKING:
    from ..engine import PlannedStep

UNCHOSEN = ("always", "never")  # tags that say when, not what

options = together(
    click.option("--list-hosts", is_flag=True, help="Only list the hosts."),
    click.option("--list-steps", "--list-tasks", "list_steps", is_flag=True, help="Only list the steps."),
    click.option("--list-tags", is_flag=True, help="Only list the tags."),
    click.option("--syntax-check", is_flag=True, help="Only check; the same as: ikoma-play check."),
)


def wanted(given: Mapping[str, Any]) -> bool:
    return bool(given["list_hosts"] or given["list_steps"] or given["list_tags"])


def planned(loaded: Loaded, given: Mapping[str, Any], play_home: str) -> list[PlannedStep]:
    """The steps that limit, tags and --start-at-step leave. Raises UsageError where there is no such step."""
    options = engine.Options(
        limit=given["limit"],
        tags=frozenset(words(given["tags"])),
        skip_tags=frozenset(words(given["skip_tags"])),
        start_at_step=given["start_at"],
        extra_vars=loaded.variables,
        play_home=play_home,
    )
    return list(engine.plan(loaded.playbooks, loaded.inventory, TOOLS, options))


def plays(steps: Sequence[PlannedStep]) -> Iterator[tuple[str, tuple[str, ...], list[PlannedStep]]]:
    """The steps by play: its name, its hosts, what it does."""
    for (name, hosts), part in groupby(steps, key=lambda step: (step.play, step.hosts)):
        yield name or "Play", hosts, list(part)


def show(steps: Sequence[PlannedStep], given: Mapping[str, Any]) -> int:
    """Print what the --list-… options ask for."""
    for number, (name, hosts, part) in enumerate(plays(steps)):
        click.echo(f"{chr(10) if number else ''}{click.style(name, bold=True)}")
        if given["list_hosts"]:
            click.echo("\n".join([f"  hosts ({len(hosts)}):", *(f"    {host}" for host in hosts)]))
        if given["list_tags"]:
            tags = {tag for step in part for tag in step.tags if tag not in UNCHOSEN}
            click.echo(f"  tags: {', '.join(sorted(tags)) or 'none'}")
        if given["list_steps"]:
            click.echo("\n".join(by_phase(part, _tags)))
    return 0


def as_text(steps: Sequence[PlannedStep]) -> list[str]:
    """A plan as a person reads it: hosts, then phase by phase each step with its tool and what would undo it."""
    lines: list[str] = []
    undoable = any(step.undo for step in steps)
    for name, hosts, part in plays(steps):
        shown = hosts_in_words(hosts, most=8) or "no hosts"
        ordinary = [step for step in part if step.part != "handler"]
        lines += [f"{click.style(name, bold=True)}  {shown}", *by_phase(ordinary, _undo)]
        if handlers := [step for step in part if step.part == "handler"]:
            lines += ["", f"  {_heading('Handlers, when they are notified')}", *_table(handlers, 0, _undo)]
        lines.append("")
    hosts_of_all = {host for step in steps for host in step.hosts}
    rest = "" if undoable else "; nothing of it would be undone"
    return [*lines, f"{count(len(steps), 'step')} on {count(len(hosts_of_all), 'host')}{rest}"]


def by_phase(steps: Sequence[PlannedStep], last: Any) -> list[str]:
    """Numbered steps under the headings of their phases; `last` makes the last column of a step."""
    lines: list[str] = []
    number = 0
    for phase, group in groupby(steps, key=lambda step: step.phase):
        part = list(group)
        heading = words_for_phase(phase, first=not number)
        lines += ["", f"  {_heading(heading)}"] if heading else [""]
        lines += _table(part, number, last)
        number += len(part)
    return lines


def _heading(text: str) -> str:
    return click.style(text, fg="cyan", bold=True)


def _table(steps: Sequence[PlannedStep], before: int, last: Any) -> list[str]:
    rows = []
    for number, step in enumerate(steps, before + 1):
        title = f"{step.part}: {step.title}" if step.part in ("rescue", "always") else step.title
        rows.append((str(number), "  " * step.depth + title, step.tool, last(step)))
    return columns(rows, right=(0,), indent=4)


def _undo(step: PlannedStep) -> str:
    if step.undo:
        return f"undone by: {', '.join(step.undo)}"
    if not step.changes:
        return ""
    return f"not undone: {step.lasting}" if step.lasting else "cannot be undone"


def _tags(step: PlannedStep) -> str:
    return f"[{', '.join(step.tags)}]" if step.tags else ""
