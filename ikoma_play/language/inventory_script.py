"""A program that prints the inventory as JSON: run with --list, and with --host NAME where that is needed."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from ..model import Position
from .faults import shown_path
from .inventory_draft import Draft
from .values import what_it_is

SECONDS = 120


def read_script(path: str, draft: Draft) -> None:
    """Adds what the program says to the draft."""
    at = Position(shown_path(path), 1)
    listed = _ask([path, "--list"], draft, at)
    if listed is None:
        return
    meta = listed.pop("_meta", None)
    known = meta.get("hostvars") if isinstance(meta, dict) else None
    for name, content in listed.items():
        _group(str(name), content, draft, at)
    named = known if isinstance(known, dict) else {}
    for host in [*draft.hosts, *(name for name in named if name not in draft.hosts)]:
        variables = named.get(host)
        if known is None:
            variables = _ask([path, "--host", host], draft, at)
        if isinstance(variables, dict) and variables:
            draft.hosts.setdefault(host, {}).update(variables)


def _group(name: str, content: Any, draft: Draft, at: Position) -> None:
    draft.group(name, at)
    if isinstance(content, list):
        content = {"hosts": content}
    if not isinstance(content, dict):
        text = f"the group '{name}' is {what_it_is(content)}, and a mapping or a list of hosts is wanted"
        draft.faults.add("wrong-type", text, at)
        return
    if not set(content) & {"hosts", "children", "vars"}:
        content = {"hosts": [name], "vars": content}
    for host in _list(content.get("hosts")):
        draft.host(host, name, {}, at)
    if isinstance(content.get("vars"), dict):
        draft.group(name, at).vars.update(content["vars"])
    for child in _list(content.get("children")):
        draft.child(name, child, at)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _ask(argv: list[str], draft: Draft, at: Position) -> dict[str, Any] | None:
    shown = " ".join([shown_path(argv[0]), *argv[1:]])
    try:
        done = subprocess.run(argv, capture_output=True, timeout=SECONDS, stdin=subprocess.DEVNULL, check=False)
    except OSError as error:
        remedy = "Take its execute permission away if it is a file in INI form." if error.errno == 8 else ""
        draft.faults.add("inventory-failed", f"{shown} cannot be run: {error.strerror}", at, remedy)
        return None
    except subprocess.TimeoutExpired:
        draft.faults.add("inventory-failed", f"{shown} did not end within {SECONDS} seconds", at)
        return None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [""]
        draft.faults.add("inventory-failed", f"{shown} ended with exit code {done.returncode}", at, said[0])
        return None
    try:
        found = json.loads(done.stdout.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        draft.faults.add("inventory-failed", f"{shown} printed no JSON: {error}", at)
        return None
    if not isinstance(found, dict):
        draft.faults.add("inventory-failed", f"{shown} printed {what_it_is(found)}, not a mapping of groups", at)
        return None
    return found
