"""Faults of playbooks, inventories and arguments as the command prints them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import click
from msgspec.structs import asdict

from ..model import Fault
from . import status


def show(faults: Sequence[Fault], err: bool = True) -> int:
    """Print every fault with its line and remedy, then how many there are; returns the exit status."""
    from ..language import explain

    for number, fault in enumerate(faults):
        click.echo(("\n" if number else "") + _styled(explain(fault), fault.warning), err=err)
    errors = sum(not fault.warning for fault in faults)
    if errors:
        click.echo(
            click.style(f"{errors} {'fault' if errors == 1 else 'faults'}, nothing was run.", bold=True), err=err
        )
    return status.FAULTY if errors else status.DONE


def as_data(faults: Iterable[Fault]) -> list[dict[str, Any]]:
    """Faults for programs: code, message, file, line, column, remedy, warning."""
    return [
        {
            "code": fault.code,
            "message": fault.message,
            **(asdict(fault.position) if fault.position else {"file": None, "line": None, "column": None}),
            "remedy": fault.remedy,
            "warning": fault.warning,
        }
        for fault in faults
    ]


def _styled(text: str, warning: bool) -> str:
    """The first line bold, the caret in colour; the rest as it is."""
    first, *rest = text.split("\n")
    colour = "yellow" if warning else "red"
    lines = [click.style(line, fg=colour, bold=True) if line.strip() == "^" else line for line in rest]
    return "\n".join([click.style(first, bold=True), *lines])
