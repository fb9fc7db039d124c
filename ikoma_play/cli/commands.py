"""The table of subcommands; each lies in a file of its own that is imported when it is called."""

from __future__ import annotations

import importlib

import click

from .. import __version__
from ..lean import without

# Its file, and what --help says of it: known here so that --help loads none of them.
COMMANDS = {
    "run": ("run", "Run playbooks from beginning to end."),
    "check": ("check", "Find everything that is wrong with playbooks, without running anything."),
    "plan": ("plan", "Show hosts and steps in order, and what would undo each."),
    "exec": ("execute", "Call one tool on a host and print its result as JSON."),
    "runs": ("runs", "List runs, show one, go on with one, undo one."),
    "serve": ("serve", "Offer every tool over HTTP, with keys, roles and an audit log."),
    "schedules": ("schedules", "List what a server runs by itself, when, and what came of it."),
    "audit": ("audit", "Show who called what, or verify that the log of it is whole."),
    "keys": ("keys", "List, create, rotate and revoke the keys of the server."),
    "notifications": ("notifications", "List notifications, and send those that wait."),
    "docs": ("docs", "Write the runbook as a document, in French or English."),
    "tools": ("tools", "List the tools, or show one tool's arguments."),
    "inventory": ("inventory", "Show groups, hosts and their variables."),
    "vault": ("vault", "Encrypt, decrypt and view files in Ansible Vault's format."),
    "schema": ("schema", "Print the JSON Schema of playbooks or inventories, for editors."),
}


class Commands(click.Group):
    """The subcommands in the table's order, imported only when called or listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        with without("typing_extensions"):  # msgspec wants of it only what Python has since 3.11
            importlib.import_module("msgspec")
        found = importlib.import_module(f"{__package__}.{COMMANDS[cmd_name][0]}").command
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from ..spelling import did_you_mean, listed

        name = args[0]
        if name in COMMANDS or name.startswith("-"):
            return super().resolve_command(ctx, args)
        if name.endswith((".yml", ".yaml")):
            raise click.UsageError(f"There is no command {name!r}. Did you mean 'run {name}'?", ctx)
        guess = did_you_mean(name, COMMANDS, f"Did you mean one of {listed(COMMANDS)}?")
        raise click.UsageError(f"There is no command {name!r}. {guess}", ctx)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """The runbook as a program: playbooks that deploy applications and verify what they did.

    The first thing to try, with nothing installed: ikoma-play run deploy
    """
