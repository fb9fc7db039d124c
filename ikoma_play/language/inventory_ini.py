"""The INI form: `[group]`, `[group:children]`, `[group:vars]`, hosts with `name=value` behind them."""

from __future__ import annotations

import re
from typing import Any

from ..model import Position
from ..spelling import did_you_mean
from .free_form import words
from .inventory_draft import Draft
from .text import text_at
from .values import is_variable_name

_SECTION = re.compile(r"\[([^:\]\s]+)(?::(\w+))?\]\s*(?:[#;].*)?\Z")
_KINDS = ("hosts", "children", "vars")


def read_ini(text: str, name: str, draft: Draft) -> None:
    """Adds what an inventory in INI form says to the draft."""
    group, kind = "ungrouped", "hosts"
    declared: set[str] = set()
    children: list[Any] = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        at = Position(name, number, len(line) - len(line.lstrip()) + 1)
        if stripped[0] == "[" and (section := _SECTION.match(stripped)):
            group, kind = section[1], section[2] or "hosts"
            if kind not in _KINDS:
                remedy = did_you_mean(kind, _KINDS, "A section is [group], [group:children] or [group:vars].")
                draft.faults.add("unknown-keyword", f"there is no kind of section '{kind}'", at, remedy)
                kind = "hosts"
            draft.group(text_at(group, at))
            if kind != "vars":
                declared.add(group)
        elif stripped[0] == "[" and not re.match(r"\[[0-9a-fA-F:.]+\]|\[[\w:]+\]\S", stripped):
            draft.faults.add(
                "syntax", "this is no section", at, "A section is [group], [group:children] or [group:vars]."
            )
        elif kind == "vars":
            _variable(stripped, group, at, draft)
        elif kind == "children":
            child = text_at(stripped.split("#")[0].strip(), at)
            children.append(child)
            draft.child(group, child, at)
        else:
            _host(stripped, group, at, draft)
    for child in children:
        if child not in declared and child in draft.groups and not _has_content(draft, child):
            remedy = did_you_mean(child, declared - {child}, f"Add a section [{child}].")
            draft.faults.add("unknown-group", f"there is no group '{child}'", child, remedy)


def _has_content(draft: Draft, name: str) -> bool:
    return bool(draft.groups[name].hosts or draft.groups[name].children)


def _variable(line: str, group: str, at: Position, draft: Draft) -> None:
    name, equals, value = line.partition("=")
    name = name.strip()
    if not equals or not is_variable_name(name):
        draft.faults.add("syntax", f"'{line[:60]}' sets no variable", at, "Write name=value.")
        return
    draft.group(group).vars[text_at(name, at)] = _value(value.strip(), at)


def _host(line: str, group: str, at: Position, draft: Draft) -> None:
    parts = [line[start:end] for start, end in words(line)]
    variables: dict[str, Any] = {}
    for part in parts[1:]:
        if part.startswith("#"):
            break
        name, equals, value = part.partition("=")
        if not equals or not is_variable_name(name):
            text = f"'{part[:60]}' behind the host '{parts[0]}' sets no variable"
            draft.faults.add("syntax", text, at, "Write name=value, in quotes where the value has blanks.")
            continue
        whole = len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'"
        variables[text_at(name, at)] = _value(value[1:-1] if whole else value.replace("\\ ", " "), at)
    draft.host(text_at(parts[0], at), group, variables, at)


def _value(text: str, at: Position) -> Any:
    """Python's literals are values (5, True, ['a']), everything else is text."""
    import ast
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return text_at(text, at)
    if isinstance(value, str):
        return text_at(value, at)
    if isinstance(value, (tuple, set, bytes, complex)) or value is Ellipsis:
        return text_at(text, at)
    return value
