"""`ikoma-play schema`: JSON Schema for editors."""

from __future__ import annotations

import json

import click

from .. import language
from ..tools import TOOLS


@click.command("schema")
@click.argument("kind", type=click.Choice(["playbook", "inventory"]), default="playbook")
def command(kind: str) -> None:
    """Print the JSON Schema of playbooks (the default) or of inventories.

    Editors that know YAML complete and check from it: ikoma-play schema > playbook.schema.json
    """
    click.echo(json.dumps(language.schema(kind, TOOLS), indent=2, ensure_ascii=False))
