"""`ikoma-play tools`: the tools, or one tool's arguments."""

from __future__ import annotations

import json
from typing import Any

import click

from ..console.columns import columns
from ..errors import UsageError
from ..spelling import did_you_mean
from ..tool import Parameter, Tool
from ..tools import TOOLS
from . import options


@click.command("tools")
@click.argument("name", metavar="[TOOL]", required=False)
@options.as_json
def command(name: str | None, as_json: bool) -> None:
    """List the tools, or show one tool's arguments."""
    if name is None:
        found = TOOLS.all()
        lines = [json.dumps([summary(tool) for tool in found], ensure_ascii=False)] if as_json else table(found)
    else:
        tool = find(name)
        lines = [json.dumps(reference(tool), ensure_ascii=False)] if as_json else page(tool)
    click.echo("\n".join(lines))


def find(name: str) -> Tool:
    """The tool of that name. Raises UsageError with the nearest one."""
    found = TOOLS.find(name)
    if found is None:
        guess = did_you_mean(name, TOOLS.names(), "See: ikoma-play tools")
        raise UsageError(f"There is no tool {name}", remedy=guess)
    return found


def summary(tool: Tool) -> dict[str, Any]:
    return {"name": tool.name, "role": tool.access.label, "changes": tool.changes, "summary": tool.summary}


def reference(tool: Tool) -> dict[str, Any]:
    return {**summary(tool), "description": tool.description, "arguments": tool.schema()}


def table(found: list[Tool]) -> list[str]:
    """Every tool on a line, the platform's before Ansible's."""
    lines = []
    for title, dotted in (("The platform's tools", True), ("General tools", False)):
        rows = [(tool.name, tool.access.label, tool.summary) for tool in found if tool.dotted is dotted]
        if rows:
            lines += ["", click.style(title, bold=True), *columns(rows, room=options.room())]
    return [*lines[1:], "", "One tool's arguments: ikoma-play tools TOOL"]


def page(tool: Tool) -> list[str]:
    """One tool as a person reads it."""
    effect = "changes the host" if tool.changes else "only looks"
    lines = [click.style(tool.name, bold=True), f"  {tool.summary}", ""]
    if tool.description:
        lines += [*(f"  {line}".rstrip() for line in tool.description.splitlines()), ""]
    lines += [f"  Role: {tool.access.label}; it {effect}.", ""]
    if not tool.parameters and not tool.open:
        return [*lines, "  It takes no arguments."]
    rows = [_argument(tool, parameter) for parameter in tool.parameters]
    lines += [click.style("Arguments", bold=True), *columns(rows, room=options.room())]
    return [*lines, "  … and any other name"] if tool.open else lines


def _argument(tool: Tool, parameter: Parameter) -> tuple[str, str, str, str]:
    shape = tool.schema()["properties"][parameter.wire]
    default = (
        "" if parameter.default in (None, "", (), [], {}) else f"default {json.dumps(parameter.default, default=str)}"
    )
    need = "required" if parameter.required else default
    return parameter.wire, kind(shape), need, parameter.description


def kind(shape: dict[str, Any]) -> str:
    """A JSON Schema's type in a word or two."""
    if "enum" in shape:
        return "|".join(str(choice) for choice in shape["enum"])
    if "anyOf" in shape:
        kinds = [kind(one) for one in shape["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "$ref" in shape:
        return "mapping"
    if shape.get("type") == "array":
        inner = kind(shape["items"]) if isinstance(shape.get("items"), dict) and shape["items"] else ""
        return f"list of {inner}" if inner and inner != "any" else "list"
    names = {"string": "text", "integer": "number", "number": "number", "boolean": "yes/no", "object": "mapping"}
    return names.get(str(shape.get("type")), "any")
