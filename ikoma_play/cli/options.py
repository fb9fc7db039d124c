"""Options that several subcommands take, each declared once, with Ansible's spellings beside ours."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ..engine.masking import looks_secret
from ..errors import UsageError

Function = TypeVar("Function", bound=Callable[..., Any])


def together(*options: Callable[[Any], Any]) -> Callable[[Function], Function]:
    """Several options as one decorator, in the order of the help text."""

    def decorate(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _take_passwords(ctx: click.Context, parameter: click.Parameter, given: Any) -> None:
    if given:
        from . import vaults

        vaults.take(str(parameter.name), given)


# They fill the keyring and are no arguments of the commands.
vault_passwords = together(
    click.option(
        "--vault-password-file", "--vault-pass-file", "vault_file", multiple=True, metavar="FILE", expose_value=False,
        envvar="ANSIBLE_VAULT_PASSWORD_FILE", callback=_take_passwords,
        help="A file with the vault password, or a program that prints it.",
    ),
    click.option(
        "--vault-id", "vault_id", multiple=True, metavar="[ID@]FILE", expose_value=False, callback=_take_passwords,
        help="The same for one vault id; ID@prompt asks for it.",
    ),
    click.option(
        "-J", "--ask-vault-pass", "--ask-vault-password", "vault_ask", is_flag=True, expose_value=False,
        callback=_take_passwords, help="Ask for the vault password.",
    ),
)  # fmt: skip
inventory_sources = click.option(
    "-i", "--inventory", "--inventory-file", "inventory", multiple=True, metavar="INVENTORY",
    help="Inventory file or directory, or host names with a comma. Default: ./inventory.yml, else the shipped one.",
)  # fmt: skip


def _limit(_command: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    """The pattern, with what the files hold that it names by `@FILE`, a pattern a line. Raises UsageError."""
    if given is None or given == "@retry":
        return given
    parts: list[str] = []
    for part in given.split(","):
        if not part.strip().startswith("@"):
            parts.append(part)
            continue
        path = Path(part.strip()[1:]).expanduser()
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read {path} of --limit", remedy="Name a file of hosts, one a line.") from error
        parts += [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not parts:
        raise UsageError(f"--limit {given} names no host", remedy="Write hosts into the file, one a line.")
    return ",".join(parts)


inventory = together(
    inventory_sources,
    click.option("-l", "--limit", "--subset", metavar="PATTERN", callback=_limit,
        help="Only hosts that match this pattern too, or those of @FILE; run takes @retry: where the last run failed.",
   ),
    vault_passwords,
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


def _left_out(name: str, instead: str, *further: str) -> Callable[[Function], Function]:
    """An option of ansible-playbook that is left out on purpose: an error that says so."""

    def refuse(ctx: click.Context, parameter: click.Parameter, given: Any) -> None:
        if given is not None:
            raise click.UsageError(f"{name} of Ansible is not part of ikoma-play. {instead}")

    return click.option(name, *further, "left_out", hidden=True, expose_value=False, callback=refuse)


become = together(
    click.option("-b", "--become", is_flag=True, help="Run steps as another user."),
    click.option("--become-user", metavar="USER", help="Which user; default root."),
    click.option("--become-method", metavar="METHOD", help="How: sudo (the default) or su."),
    click.option("-K", "--ask-become-pass", "ask_become", is_flag=True, help="Ask for the password for that."),
    click.option(
        "--become-password-file",
        "--become-pass-file",
        "become_file",
        metavar="FILE",
        help="A file with that password, or a program that prints it.",
    ),
)
connection = together(
    click.option("-u", "--user", "--remote-user", "user", metavar="USER", help="Log in as this user."),
    click.option("-c", "--connection", metavar="KIND", help="How hosts are reached: ssh or local."),
    click.option("--private-key", "--key-file", "private_key", metavar="FILE", help="Log in with this key."),
    click.option("-k", "--ask-pass", "ask_pass", is_flag=True, help="Ask for the password to log in with."),
    click.option(
        "--connection-password-file",
        "--conn-pass-file",
        "password_file",
        metavar="FILE",
        help="A file with that password, or a program that prints it.",
    ),
    click.option("--ssh-common-args", metavar="OPTIONS", help="Options of ssh, such as -o ProxyJump=…."),
    click.option("--ssh-extra-args", metavar="OPTIONS", help="Further options of ssh."),
    _left_out("--sftp-extra-args", "Files go through the one connection of each host; use --ssh-common-args."),
    _left_out("--scp-extra-args", "Files go through the one connection of each host; use --ssh-common-args."),
    click.option("-T", "--timeout", type=click.IntRange(1), metavar="SECONDS", help="How long connecting may take."),
)
ansible_only = together(
    click.option("--flush-cache", is_flag=True, hidden=True, expose_value=False),  # facts are never older than the run
    _left_out("--module-path", "Make the module a program, and run it with script or command.", "-M"),
)
lock_timeout = click.option(
    "--lock-timeout", type=click.FloatRange(0), default=0.0, metavar="SECONDS",
    help="How long to wait where another run holds the play's lock or the application; else fail at once.",
)  # fmt: skip
await_approval = click.option(
    "--await-approval", is_flag=True,
    help="Without a terminal, let `approve` steps wait for: ikoma-play runs approve RUN.",
)  # fmt: skip
junit = click.option(
    "--junit", metavar="FILE", type=click.Path(dir_okay=False), help="Write a JUnit XML file for a CI server."
)
profile = click.option("--profile", is_flag=True, help="Show the slowest steps.")
as_json = click.option("--json", "as_json", is_flag=True, help="JSON on standard output, for programs.")


MASKED = "********"


def without_secrets(option: str) -> str:
    """An `-e` fit to be shown: a value whose name says that it is secret is not."""
    name, equals, _ = option.partition("=")
    if option.startswith("@") or (equals and name.isidentifier() and " " not in option):
        return f"{name}={MASKED}" if equals and looks_secret(name) and not option.startswith("@") else option
    words = "".join(letter if letter.isalnum() or letter == "_" else " " for letter in option).split()
    return MASKED if any(looks_secret(word) for word in words) else option


def room() -> int:
    """How many columns a line on standard output may take; 0 where it is no terminal."""
    if not sys.stdout.isatty():
        return 0
    import shutil

    return shutil.get_terminal_size().columns


def words(given: tuple[str, ...]) -> tuple[str, ...]:
    """`-t a,b -t c` as three words."""
    return tuple(word.strip() for option in given for word in option.split(",") if word.strip())


def passwords(given: dict[str, Any]) -> tuple[str | None, str | None]:
    """The password to log in with (-k) and the one for become (-K), asked for at the terminal or from files.

    Raises UsageError."""
    login = _password(given["ask_pass"], given["password_file"], "SSH", "")
    more = " (nothing: the SSH password)" if login is not None else ""
    become = _password(given["ask_become"], given["become_file"], "BECOME", more)
    return login, (become or login) if become is not None else None


def connection_vars(given: dict[str, Any], password: str | None) -> dict[str, Any]:
    """Ansible's connection variables from the options; the inventory's own words count for more."""
    said = {
        "ansible_user": given["user"],
        "ansible_connection": given["connection"],
        "ansible_ssh_private_key_file": given["private_key"],
        "ansible_password": password,
        "ansible_ssh_common_args": given["ssh_common_args"],
        "ansible_ssh_extra_args": given["ssh_extra_args"],
        "ansible_timeout": given["timeout"],
    }
    return {name: value for name, value in said.items() if value is not None}


_FILES = {"SSH": "connection", "BECOME": "become"}


def _password(ask: bool, file: str | None, what: str, more: str) -> str | None:
    """A password that is typed, or that a file holds or a program prints. Raises UsageError."""
    if ask and file:
        raise UsageError(f"the {what} password is to be asked for and to come from {file}", remedy="Keep one of them.")
    if file:
        from .vaults import read

        return read(file, f"{what} password").decode()
    if not ask:
        return None
    from .asking import hidden

    return hidden(
        f"{what} password{more}", f"Name a file that holds it: --{_FILES[what]}-password-file FILE", empty=True
    )
