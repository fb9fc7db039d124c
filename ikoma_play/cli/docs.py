"""`ikoma-play docs`: the runbook as a document, written from the playbooks, roles and tools."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from .. import language, shipped
from ..errors import IkomaError, UsageError
from ..tools import TOOLS
from . import options, sources
from .notifying import Hosts


@click.command("docs")
@click.argument("playbooks", metavar="[PLAYBOOK]...", nargs=-1)
@options.inventory
@options.variables
@click.option("--lang", type=click.Choice(["fr", "en"]), default="fr", show_default=True, help="The language.")
@click.option("-o", "--output", type=click.Path(dir_okay=False), metavar="FILE", help="Write there instead of here.")
def command(playbooks: tuple[str, ...], lang: str, output: str | None, **given: Any) -> int:
    """Write the runbook in Markdown: phases, goals, steps, what each would run, what is expected, what undoes it.

    Without a playbook the whole runbook is written, with every section; with some, only those. Real values come from
    the first host of the inventory and from -e; secrets are left out.
    """
    from ..document import gathering, writing
    from ..tools.documenting import about

    inventory = language.load_inventory(sources.inventories(given["inventory"]))
    extra = {"playbook_dir": str(shipped.playbooks()), **sources.extra_vars(given["extra_vars"])}
    chosen = inventory.select(given["limit"]) if given["limit"] else list(inventory.hosts.values())
    if not chosen:
        raise UsageError("The inventory has no host to write about", remedy="See: ikoma-play inventory")
    hosts = Hosts(inventory, extra)
    paths = {Path(sources.playbook(name)).stem: Path(sources.playbook(name)) for name in playbooks} or None
    request = gathering.request(
        TOOLS,
        lang,
        paths,
        _known(hosts.variables(chosen[0].name), extra),
        about(hosts.escalation(chosen[0].name)),
        sources.roles_path(),
    )
    text = writing.write(request)
    if output is None:
        click.echo(text, nl=False)
        return 0
    try:
        Path(output).write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}") from None
    return 0


def _known(variables: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """The host's variables that can be told; what is secret or only known in a run is left to its name."""
    from ..engine.masking import looks_secret

    found: dict[str, Any] = {}
    for name in variables:
        if looks_secret(name) or name in ("ikoma_postgres", "ikoma_contacts", "ikoma_smtp"):
            continue
        try:
            found[name] = variables[name]
        except IkomaError:
            continue
    if isinstance(env := found.pop("env", None), Mapping):  # for addresses with its port
        found["env"] = {name: value for name, value in env.items() if name == "PORT"}
    return found
