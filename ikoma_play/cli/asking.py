"""What is typed unseen, or comes on standard input where nobody is there to type."""

from __future__ import annotations

import os
import sys

import click

from ..errors import UsageError

answered: list[str] = []  # what standard input was read for, which cannot be read for anything else then


def hidden(question: str, remedy: str, *, twice: bool = False, empty: bool = False) -> str:
    """The answer; `empty`: it may be none. Without a terminal it is a line of standard input. Raises UsageError with
    the remedy where there is no such line."""
    if _terminal():
        default = "" if empty else None
        typed: str = click.prompt(
            question, hide_input=True, default=default, show_default=False, confirmation_prompt=twice, err=True
        )
        return typed
    click.echo(f"{question}:", err=True)
    line = sys.stdin.readline()
    if not line or not (empty or line.strip("\n")):
        raise UsageError(f"there is nobody to ask for the {question}", remedy=remedy)
    answered.append(question)
    return line.rstrip("\n")


def _terminal() -> bool:
    """Whether somebody can be asked, wherever standard input comes from."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return sys.stdin.isatty()
    return True
