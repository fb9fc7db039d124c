"""Options that several subcommands take, each declared once, with Ansible's spellings beside ours."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])


def together(*options: Callable[[Any], Any]) -> Callable[[Function], Function]:
    """Several options as one decorator, in the order of the help text."""

    def decorate(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


inventory = together(
    click.option(
        "-i", "--inventory", "--inventory-file", "inventory", multiple=True, metavar="INVENTORY",
        help="Inventory file or directory, or host names with a comma. Default: ./inventory.yml, else the shipped one.",
    ),
    click.option("-l", "--limit", "--subset", metavar="PATTERN", help="Only hosts that match this pattern too."),
)  # fmt: skip
variables = click.option(
    "-e", "--extra-vars", "extra_vars", multiple=True, metavar="KEY=VALUE|@FILE|JSON",
    help="Variables that win over all others.",
)  # fmt: skip
selection = together(
    click.option("-t", "--tags", multiple=True, metavar="TAGS", help="Only steps with one of these tags."),
    click.option("--skip-tags", multiple=True, metavar="TAGS", help="No steps with any of these tags."),
    click.option(
        "--start-at-step", "--start-at-task", "start_at", metavar="NAME", help="Begin at the step of this name."
    ),
)
become = together(
    click.option("-b", "--become", is_flag=True, help="Run steps as another user."),
    click.option("--become-user", metavar="USER", help="Which user; default root."),
    click.option("--become-method", metavar="METHOD", help="How: sudo (the default) or su."),
    click.option("-K", "--ask-become-pass", "ask_become", is_flag=True, help="Ask for the password for that."),
)
connection = together(
    click.option("-u", "--user", "--remote-user", "user", metavar="USER", help="Log in as this user."),
    click.option("-c", "--connection", metavar="KIND", help="How hosts are reached: ssh or local."),
    click.option("--private-key", "--key-file", "private_key", metavar="FILE", help="Log in with this key."),
    click.option("-k", "--ask-pass", "ask_pass", is_flag=True, help="Ask for the password to log in with."),
    click.option("-T", "--timeout", type=click.IntRange(1), metavar="SECONDS", help="How long connecting may take."),
)
as_json = click.option("--json", "as_json", is_flag=True, help="JSON on standard output, for programs.")


def room() -> int:
    """How many columns a line on standard output may take; 0 where it is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def words(given: tuple[str, ...]) -> tuple[str, ...]:
    """`-t a,b -t c` as three words."""
    return tuple(word.strip() for option in given for word in option.split(",") if word.strip())


def become_password(given: dict[str, Any]) -> str | None:
    """The password for become, asked for at the terminal under -K."""
    return _secret("BECOME password") if given["ask_become"] else None


def connection_vars(given: dict[str, Any]) -> dict[str, Any]:
    """Ansible's connection variables from the options; the inventory's own words count for more."""
    said = {
        "ansible_user": given["user"],
        "ansible_connection": given["connection"],
        "ansible_ssh_private_key_file": given["private_key"],
        "ansible_password": _secret("SSH password") if given["ask_pass"] else None,
        "ansible_timeout": given["timeout"],
    }
    return {name: value for name, value in said.items() if value is not None}


def _secret(question: str) -> str:
    typed: str = click.prompt(question, hide_input=True, default="", show_default=False, err=True)
    return typed
