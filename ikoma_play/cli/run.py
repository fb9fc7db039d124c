"""`ikoma-play run`: playbooks from beginning to end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click

from .. import shipped
from ..errors import UsageError
from ..model import Playbook
from . import check, early, faults, lists, loading, options, status


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
        from . import journaling

        given["limit"] = journaling.lost_hosts()
    if lists.wanted(given):
        return lists.show(lists.planned(loaded, given, str(shipped.playbooks())), given)
    if loaded.warnings and not given["as_json"]:
        faults.show(loaded.warnings)
    early.begin(loaded, given)
    from .carrying import carried_out

    return status.of_report(carried_out(loaded, {**given, "playbooks": playbooks}, again(playbooks, given)))


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
