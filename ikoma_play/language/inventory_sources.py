"""The forms an inventory may have: YAML, INI, a directory of them, a program that prints JSON, a list of names."""

from __future__ import annotations

import os
import os.path
import re
from collections.abc import Mapping
from typing import Any

from ..model import Position
from ..spelling import did_you_mean
from .faults import Faults, shown_path
from .inventory_draft import Draft
from .inventory_keywords import GROUP_KEYWORDS
from .reader import Unreadable, read_text, read_yaml
from .text import Entries, position_of
from .values import check_variable_names, what_it_is

_YAML_ENDINGS = (".yml", ".yaml", ".json")
# What a directory of inventories may hold besides.
_PASSED_OVER = (
    r"^\.|^(?:host_vars|group_vars|vars_plugins)$|~$|\.(?:pyc|pyo|swp|bak|rpm|md|txt|rst|orig|ini|cfg|retry)$"
)
_KEYS = tuple(GROUP_KEYWORDS)


def read_source(source: str, draft: Draft) -> str | None:
    """Adds one source to the draft; returns the folder where its group_vars and host_vars are."""
    if "," in source and not os.path.exists(source):
        for name in source.split(","):
            if name.strip():
                draft.host(name.strip(), "ungrouped", {})
        return None
    path = os.path.abspath(source)
    if os.path.isdir(path):
        draft.sources.append(path)
        for entry in sorted(os.listdir(path)):
            inner = os.path.join(path, entry)
            if not re.search(_PASSED_OVER, entry):
                if os.path.isdir(inner):
                    read_source(inner, draft)
                else:
                    _file(inner, draft)
        return path
    draft.sources.append(path)
    _file(path, draft)
    return os.path.dirname(path)


def _file(path: str, draft: Draft) -> None:
    ending = os.path.splitext(path)[1]
    before = set(draft.hosts)
    try:
        if ending not in _YAML_ENDINGS and os.access(path, os.X_OK) and os.path.isfile(path):
            from .inventory_script import read_script

            read_script(path, draft)
        else:
            text = read_text(path, draft.faults, what="inventory")
            if ending in _YAML_ENDINGS or _looks_like_yaml(text):
                read_yaml_inventory(read_yaml(text, shown_path(path), draft.faults), shown_path(path), draft)
            else:
                from .inventory_ini import read_ini

                read_ini(text, shown_path(path), draft)
    except Unreadable:
        return
    for name in draft.hosts:
        if name not in before:
            draft.hosts[name].setdefault("inventory_file", path)
            draft.hosts[name].setdefault("inventory_dir", os.path.dirname(path))


def _looks_like_yaml(text: str) -> bool:
    """A file without an ending is YAML where it reads as a mapping of groups."""
    try:
        found = read_yaml(text, "", Faults())
    except Unreadable:
        return False
    return isinstance(found, dict) and all(value is None or isinstance(value, dict) for value in found.values())


def read_yaml_inventory(document: Any, name: str, draft: Draft) -> None:
    """Groups with hosts, vars and children, as Ansible writes them in YAML."""
    if document is None:
        draft.faults.add("empty-inventory", f"there is nothing in {name}", Position(name, 1), warning=True)
        return
    if not isinstance(document, Entries):
        text = f"an inventory is a mapping of groups, not {what_it_is(document)}"
        draft.faults.add("wrong-type", text, document, "Begin with 'all:', and 'hosts:' below it.",
                         otherwise=Position(name, 1))  # fmt: skip
        return
    if "plugin" in document:
        text = "inventory plugins are not part of ikoma-play"
        remedy = "Let a program print the inventory as JSON: it is run with --list."
        draft.faults.add("collection", text, document, remedy)
        return
    for group, content in document.items():
        if group in _KEYS and group not in draft.groups and not isinstance(content, dict | None):
            draft.faults.add("wrong-type", f"'{group}' stands outside of any group", group, "Put it below 'all:'.")
        else:
            _group(group, content, draft, document)


def _group(name: Any, content: Any, draft: Draft, around: Entries) -> None:
    if name in _KEYS:
        draft.faults.add("wrong-type", f"'{name}' stands outside of any group", name, "Put it below 'all:'.")
        return
    draft.group(name, around)
    if content is None:
        return
    if not isinstance(content, Entries):
        text = f"the group '{name}' takes hosts, vars and children, not {what_it_is(content)}"
        draft.faults.add("wrong-type", text, content, otherwise=name)
        return
    for key, value in content.items():
        if key not in _KEYS:
            remedy = did_you_mean(str(key), _KEYS)
            if not remedy:
                remedy = (
                    "A group takes hosts, vars and children; a host belongs below 'hosts:', a group below 'children:'."
                )
            draft.faults.add("unknown-keyword", f"a group has no keyword '{key}'", key, remedy, otherwise=content)
        elif value is None:
            continue
        elif isinstance(value, str) and key == "hosts" and value:
            draft.host(value, str(name), {}, value)
        elif not isinstance(value, Entries):
            listed = isinstance(value, list)
            remedy = f"Write a mapping: each name of '{key}' ends with ':' and has no '- ' before it." if listed else ""
            text = f"'{key}' takes a mapping, not {what_it_is(value)}"
            draft.faults.add("wrong-type", text, value, remedy, otherwise=key)
        elif key == "vars":
            check_variable_names(value, draft.faults)
            draft.group(name, around).vars.update(value)
        elif key == "children":
            for child, inner in value.items():
                draft.child(str(name), child, value)
                _group(child, inner, draft, value)
        else:
            for host, variables in value.items():
                _host(host, variables, str(name), draft, value)


def _host(name: Any, variables: Any, group: str, draft: Draft, around: Entries) -> None:
    if variables is not None and not isinstance(variables, dict):
        text = f"the host '{name}' takes a mapping of variables, not {what_it_is(variables)}"
        draft.faults.add("wrong-type", text, variables, otherwise=name)
        variables = None
    own: Mapping[str, Any] = variables or {}
    check_variable_names(own, draft.faults)
    draft.host(name, group, own, position_of(name, around))
