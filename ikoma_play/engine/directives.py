"""The engine's own tools, declared like all others so that their arguments are checked like all others.

What they say is carried out by the engine: a call of one returns what it asks for.
"""

from __future__ import annotations

from typing import Any, Literal

from ..model import Access, Outcome, changed, ok
from ..tool import tool
from ..transport.base import Transport

MetaWord = Literal[
    "flush_handlers",
    "end_play",
    "end_host",
    "end_batch",
    "end_role",
    "clear_host_errors",
    "clear_facts",
    "refresh_inventory",
    "reset_connection",
    "noop",
]


@tool("include_tasks", access=Access.ADMIN, changes=False, free_form="file", aliases={"_raw_params": "file"})
def include_tasks(on: Transport, *, file: str, apply: dict[str, Any] | None = None) -> Outcome:
    """Run the steps of a file, read when the step is reached.

    file: the file, beside this one, in the role's tasks or beside the playbook
    apply: keywords for the steps that it brings
    """
    return ok({"include": file})


@tool("include_role", access=Access.ADMIN, changes=False, aliases={"role": "name"})
def include_role(
    on: Transport,
    *,
    name: str,
    tasks_from: str = "main",
    vars_from: str = "main",
    defaults_from: str = "main",
    handlers_from: str = "main",
    public: bool = False,
    allow_duplicates: bool = True,
    rolespec_validate: bool = True,
    apply: dict[str, Any] | None = None,
) -> Outcome:
    """Run a role, read when the step is reached.

    name: the role
    tasks_from: the file of its tasks/ to run
    vars_from: the file of its vars/ to load
    defaults_from: the file of its defaults/ to load
    handlers_from: the file of its handlers/ to load
    public: its defaults and vars stay for the steps that follow
    allow_duplicates: run it though the same use was included before
    rolespec_validate: check its arguments where the role declares them
    apply: keywords for the steps that it brings
    """
    parts: dict[str, str | bool] = {
        "tasks_from": tasks_from,
        "vars_from": vars_from,
        "defaults_from": defaults_from,
        "handlers_from": handlers_from,
        "validate": rolespec_validate,
    }
    return ok({"include_role": name, "parts": parts, "public": public, "again": allow_duplicates})


@tool("meta", access=Access.ADMIN, changes=False, free_form="do")
def meta(on: Transport, *, do: MetaWord) -> Outcome:
    """Steer the engine itself.

    do: what it is to do
    """
    return ok({"meta": do})


@tool(
    "add_host",
    access=Access.ADMIN,
    changes=False,
    open=True,
    aliases={"hostname": "name", "host": "name", "group": "groups", "groupname": "groups"},
)
def add_host(on: Transport, *, name: str, groups: str | list[str] | None = None, **values: Any) -> Outcome:
    """Add a host to the inventory for the rest of the run.

    name: the host
    groups: the groups that it joins, a list or names between commas
    """
    return changed({"add_host": {"host_name": name, "groups": _names(groups), "host_vars": values}})


@tool("group_by", access=Access.ADMIN, changes=False)
def group_by(on: Transport, *, key: str, parents: str | list[str] | None = None) -> Outcome:
    """Put each host into a group whose name comes from its variables.

    key: the group's name
    parents: the groups that this one belongs to
    """
    return changed({"add_group": key.replace(" ", "-"), "parent_groups": _names(parents) or ["all"]})


def _names(value: str | list[str] | None) -> list[str]:
    if value is None:
        return []
    given = value.split(",") if isinstance(value, str) else value
    return [name.strip() for name in given if name.strip()]
