"""JSON Schema (2020-12) of playbooks and inventories, from the tables that the parser reads by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..tool import Tool, Toolbox
from . import left_out
from .calls import IMPORTS
from .inventory_keywords import GROUP_KEYWORDS, HOST_VARIABLES
from .keywords import BLOCK, HANDLER, IMPORT, LEVELS, LOOP_CONTROL, PLAY, PROMPT, ROLE, SCHEDULE, STEP, Keyword, Kind
from .values import ORDERS, STRATEGIES

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_TEMPLATE = {"$ref": "#/$defs/template"}
_SCALAR = {"type": ["string", "number", "boolean"]}
_TEXTS = {"anyOf": [_SCALAR, {"type": "array", "items": {"type": ["string", "number"]}}]}
_NUMBER = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^[0-9.]+$"}, _TEMPLATE]}
_NAME = ["string", "integer"]
_VARIABLE = {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}
_MAPPING = {"type": "object"}


def _list_of(name: str) -> dict[str, Any]:
    return {"type": ["array", "null"], "items": {"$ref": f"#/$defs/{name}"}}


def _one_of(names: Iterable[str]) -> dict[str, Any]:
    """Names, with Ansible's prefix too, or a template."""
    return {"anyOf": [{"enum": [prefix + name for prefix in ("", "ansible.builtin.") for name in names]}, _TEMPLATE]}


_NODES = {"anyOf": [{"$ref": "#/$defs/step"}, {"$ref": "#/$defs/block"}]}
_KINDS: dict[Kind, dict[str, Any]] = {
    Kind.LABEL: _SCALAR,
    Kind.NAME: {"anyOf": [_VARIABLE, _TEMPLATE]},
    Kind.FLAG: {"anyOf": [{"type": "boolean"}, {"enum": [0, 1]}, {"enum": ["yes", "no", "on", "off", "true", "false"]},
                          _TEMPLATE]},
    Kind.NUMBER: _NUMBER,
    Kind.WORDS: _TEXTS,
    Kind.NAMES: _TEXTS,
    Kind.PATTERN: {"anyOf": [{"type": _NAME}, {"type": "array", "items": {"type": _NAME}}]},
    Kind.CONDITIONS: {"anyOf": [{"type": ["string", "boolean", "integer"]},
                                {"type": "array", "items": {"type": ["string", "boolean", "integer"]}}]},
    Kind.LIST: {"type": "array"},
    Kind.MAPPING: _MAPPING,
    Kind.ARGUMENTS: {"type": ["object", "string"]},
    Kind.LAYERS: {"anyOf": [_MAPPING, {"type": "array", "items": {"anyOf": [_MAPPING, _TEMPLATE]}}, _TEMPLATE]},
    Kind.ANY: {},
    Kind.STEPS: {"type": "array", "items": _NODES},
    Kind.ROLLBACK: {"anyOf": [{"const": "auto"}, {"type": "array", "items": _NODES}, *_NODES["anyOf"]]},
    Kind.ROLES: _list_of("role"),
    Kind.FILES: {"anyOf": [{"type": "string"}, {"type": "array", "items": _TEXTS}]},
    Kind.CALL: {"type": ["string", "object"]},
    Kind.CONNECTION: _one_of(left_out.ROADS),
    Kind.METHOD: _one_of(left_out.METHODS),
    Kind.LOOP_CONTROL: {"$ref": "#/$defs/loop_control"},
    Kind.PROMPTS: _list_of("vars_prompt"),
    Kind.BATCHES: {"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR}]},
    Kind.STRATEGY: {"enum": [*STRATEGIES, *(f"ansible.builtin.{name}" for name in STRATEGIES)]},
    Kind.ORDER: {"enum": list(ORDERS)},
    Kind.SCOPE: {"enum": ["host", "all", "none"]},
    Kind.SCHEDULE: {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/schedule"}]},
    Kind.CATCH_UP: {"enum": ["once", "skip"]},
}  # fmt: skip


def schema(kind: str, tools: Toolbox) -> dict[str, Any]:
    """The schema of a `playbook` or an `inventory`."""
    if kind == "inventory":
        return _inventory()
    called = _tool_properties(tools)
    definitions = {
        "template": {"type": "string", "pattern": r"\{[{%]", "description": "A Jinja2 template."},
        "play": _object(LEVELS[PLAY].values(), required=["hosts"]),
        "import": _object(
            LEVELS[IMPORT].values(), {"ansible.builtin.import_playbook": {"type": "string"}},
            anyOf=[{"required": ["import_playbook"]}, {"required": ["ansible.builtin.import_playbook"]}],
        ),
        "role": {"anyOf": [{"type": "string"}, _role()]},
        "block": _object(LEVELS[BLOCK].values(), required=["block"]),
        "step": _call(STEP, called),
        "handler": _call(HANDLER, called),
        "loop_control": _object(LEVELS[LOOP_CONTROL].values()),
        "vars_prompt": _object(LEVELS[PROMPT].values(), required=["name"]),
        "schedule": _object(LEVELS[SCHEDULE].values(), required=["cron"]),
        **{f"tool.{tool.name}": _arguments(tool) for tool in tools.all()},
    }  # fmt: skip
    definitions["play"]["properties"]["handlers"] = {
        "description": LEVELS[PLAY]["handlers"].about,
        "type": "array", "items": {"anyOf": [{"$ref": "#/$defs/handler"}, {"$ref": "#/$defs/block"}]},
    }  # fmt: skip
    return {
        "$schema": _DRAFT,
        "title": "ikoma-play playbook",
        "type": "array",
        "items": {"anyOf": [{"$ref": "#/$defs/play"}, {"$ref": "#/$defs/import"}]},
        "$defs": definitions,
    }


def _object(keywords: Iterable[Keyword], more: Mapping[str, Any] | None = None, **further: Any) -> dict[str, Any]:
    properties = {keyword.name: {"description": keyword.about, **_KINDS[keyword.kind]} for keyword in keywords}
    return {"type": "object", "properties": {**properties, **(more or {})}, "additionalProperties": False, **further}


def _role() -> dict[str, Any]:
    found = _object(LEVELS[ROLE].values(), anyOf=[{"required": ["role"]}, {"required": ["name"]}])
    del found["additionalProperties"]  # what is no keyword is a parameter of the role
    return found


def _call(level: str, called: Mapping[str, Any]) -> dict[str, Any]:
    """A step or handler: its keywords and exactly one tool."""
    names = [*called, "action", "local_action"]
    return _object(LEVELS[level].values(), called, oneOf=[{"required": [name]} for name in names])


def _tool_properties(tools: Toolbox) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for tool in tools.all():
        shape = {"$ref": f"#/$defs/tool.{tool.name}", "description": tool.summary}
        found[tool.name] = shape
        if not tool.dotted:
            found[f"ansible.builtin.{tool.name}"] = shape
    for name, arguments in IMPORTS.items():
        taken: dict[str, Any] = {argument: {} for argument in arguments}
        whole = {"anyOf": [{"type": "string"}, {"type": "object", "properties": taken}]}
        found[name] = whole
        found[f"ansible.builtin.{name}"] = whole
    return found


def _arguments(tool: Tool) -> dict[str, Any]:
    """The tool's own schema, and besides it templates, free text and nothing at all where they may stand."""
    own = tool.schema()
    definitions = own.pop("$defs", {})
    own.pop("required", None)  # may come from args: or module_defaults:
    own["properties"] = {name: _relaxed(_inlined(value, definitions)) for name, value in own["properties"].items()}
    for alias, name in tool.aliases.items():
        wire = next(parameter.wire for parameter in tool.parameters if parameter.name == name)
        own["properties"].setdefault(alias, own["properties"][wire])
    return {"anyOf": [own, {"type": ["string", "null"]}]}


def _inlined(value: Any, definitions: Mapping[str, Any], depth: int = 0) -> Any:
    """A schema without references into the tool's own definitions."""
    if isinstance(value, dict):
        name = str(value.get("$ref", "")).rpartition("/")[2]
        if name in definitions:
            return {} if depth > 8 else _inlined(definitions[name], definitions, depth + 1)
        return {key: _inlined(inner, definitions, depth) for key, inner in value.items()}
    return [_inlined(inner, definitions, depth) for inner in value] if isinstance(value, list) else value


def _relaxed(shape: Any) -> Any:
    """A template may stand wherever a value is wanted, and a text with commas for a list."""
    if not isinstance(shape, dict) or not shape:
        return shape
    inner = {
        key: {name: _relaxed(entry) for name, entry in value.items()} if key == "properties"
        else _relaxed(value) if key in ("items", "additionalProperties")
        else [_relaxed(entry) for entry in value] if key in ("anyOf", "oneOf")
        else value
        for key, value in shape.items()
        if key not in ("description", "default", "writeOnly")
    }  # fmt: skip
    about = {key: shape[key] for key in ("description", "default", "writeOnly") if key in shape}
    if "anyOf" in inner or "oneOf" in inner:
        return {**about, **inner}
    other: dict[str, Any] = _TEMPLATE
    if inner.get("type") == "array":
        other = {"type": "string"}
    elif inner.get("type") in ("integer", "number"):
        return {**about, "anyOf": [inner, {"type": "string", "pattern": r"^[0-9.]+$"}, _TEMPLATE]}
    elif inner.get("type") == "boolean":
        return {**about, **_KINDS[Kind.FLAG]}
    return {**about, "anyOf": [inner, other]}


def _inventory() -> dict[str, Any]:
    variables = {
        "type": ["object", "null"],
        "properties": {name: {"description": about, **shape} for name, (about, shape) in HOST_VARIABLES.items()},
        "propertyNames": _VARIABLE,
    }
    shapes: dict[str, Any] = {
        "hosts": {"type": ["object", "null"], "additionalProperties": {"$ref": "#/$defs/variables"}},
        "vars": {"$ref": "#/$defs/variables"},
        "children": {"type": ["object", "null"], "additionalProperties": {"$ref": "#/$defs/group"}},
    }
    group = {
        "type": ["object", "null"],
        "properties": {name: {"description": about, **shapes[name]} for name, about in GROUP_KEYWORDS.items()},
        "additionalProperties": False,
    }
    return {
        "$schema": _DRAFT,
        "title": "ikoma-play inventory",
        "type": "object",
        "additionalProperties": {"$ref": "#/$defs/group"},
        "$defs": {
            "template": {"type": "string", "pattern": r"\{[{%]", "description": "A Jinja2 template."},
            "group": group,
            "variables": variables,
        },
    }
