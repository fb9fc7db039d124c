"""Text to model: playbooks, roles and inventories read, and everything that can be known without running.

    load_playbook(path, tools, roles_path=()) -> Playbook        raises FaultsFound
    load_inventory(sources) -> Inventory                         raises FaultsFound
    load_steps(path, tools, inherit) -> tuple[Node, ...]         what an include_tasks brings
    load_role(name, tools, inherit=…, …) -> LoadedRole           what an include_role brings
    load_variables(path) -> Mapping[str, Any]                    a file of variables
    check(playbook, inventory, tools, extra_vars, known=()) -> list[Fault]
    schema(kind, tools) -> dict
    explain(fault) -> str
    in_order(faults) -> list[Fault]

The loads carry what could be read all the same as `partial` of FaultsFound: `check` finds the rest of the faults in it.

Each is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checks import check
    from .faults import explain, in_order
    from .inventory import Group, Inventory, load_inventory
    from .playbook import LoadedRole, load_playbook, load_role, load_steps
    from .schema import schema
    from .variable_files import load_variables

_PLACES = {
    "check": "checks",
    "explain": "faults",
    "in_order": "faults",
    "Group": "inventory",
    "Inventory": "inventory",
    "load_inventory": "inventory",
    "LoadedRole": "playbook",
    "load_playbook": "playbook",
    "load_role": "playbook",
    "load_steps": "playbook",
    "load_variables": "variable_files",
    "schema": "schema",
}

__all__ = [
    "Group", "Inventory", "LoadedRole", "check", "explain", "in_order", "load_inventory", "load_playbook", "load_role",
    "load_steps", "load_variables", "schema",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_PLACES[name]}", __name__), name)
