"""Arguments of roles, where a role's meta says what it takes (argument_specs)."""

from __future__ import annotations

import os.path
from collections.abc import Mapping, Sequence
from typing import Any

from ..model import Host, RoleRef
from ..spelling import did_you_mean, listed
from .composing import main_file
from .contents import Contents
from .faults import Faults
from .reader import Unreadable, read
from .text import position_of
from .values import has_template, what_it_is

_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str, int, float),
    "path": (str,),
    "int": (int, str),
    "float": (int, float, str),
    "bool": (bool, str, int),
    "list": (list, str),
    "dict": (dict,),
}


def check_roles(
    plays: Sequence[Contents], hosts: Sequence[Sequence[Host]], extra_vars: Mapping[str, Any], faults: Faults,
    excused: frozenset[str] = frozenset(),
) -> None:  # fmt: skip
    """Values given to roles, and whether required ones are given at all (`excused` ones once faults are mended)."""
    specs: dict[str, Mapping[str, Any]] = {}
    for contents, of_play in zip(plays, hosts, strict=True):
        defined = {*excused, *extra_vars, *contents.play.vars, *(name for host in of_play for name in host.vars)}
        for step in contents.steps():
            defined.update(name for layer in step.vars for name in layer)
            defined.add(step.register or "")
            if step.tool in ("set_fact", "add_host"):
                defined.update(map(str, step.args))
        certain = contents.closed and not contents.play.vars_files and not contents.play.vars_prompt
        certain = certain and not any(step.tool == "include_vars" for step in contents.steps())
        for role in contents.roles:
            if role.path not in specs:
                specs[role.path] = _options(role, faults)
            inherited = {name for parent in role.parents for layer in (parent.params, parent.vars, parent.defaults)
                         for name in layer}  # fmt: skip
            _check(role, specs[role.path], defined | inherited, certain, faults)


def _options(role: RoleRef, faults: Faults) -> Mapping[str, Any]:
    """The options of the role's main entry point."""
    for name in ("argument_specs", "main"):
        file = main_file(os.path.join(role.path, "meta"), name)
        if file is None:
            continue
        try:
            about = read(file, Faults())
        except Unreadable:
            continue
        specs = about.get("argument_specs") if isinstance(about, dict) else None
        main = specs.get("main") if isinstance(specs, dict) else None
        options = main.get("options") if isinstance(main, dict) else None
        if isinstance(options, dict):
            return {name: option for name, option in options.items() if isinstance(option, dict)}
    return {}


def _check(role: RoleRef, options: Mapping[str, Any], defined: set[str], certain: bool, faults: Faults) -> None:
    own = {**role.defaults, **role.vars, **role.params}
    for name, option in options.items():
        if name in own:
            for layer in (role.params, role.vars, role.defaults):
                if name in layer:
                    key = next(key for key in layer if key == name)
                    _value(role, name, layer[name], option, key, faults)
                    break
        elif option.get("required") is True and "default" not in option and certain and name not in defined:
            what = f": {option['description']}" if isinstance(option.get("description"), str) else ""
            text = f"the role '{role.name}' needs the variable '{name}'"
            faults.add("role-argument", text, option, f"Give it where the role is used{what}.")


def _value(role: RoleRef, name: str, value: Any, option: Mapping[str, Any], key: Any, faults: Faults) -> None:
    if has_template(value) or value is None:
        return
    kind = str(option.get("type", "str"))
    types = _TYPES.get(kind)
    if types and not (isinstance(value, types) and not (isinstance(value, bool) and bool not in types)):
        text = f"'{name}' of the role '{role.name}' must be {kind}, not {what_it_is(value)}"
        faults.add("role-argument", text, value, otherwise=key)
        return
    choices = option.get("choices")
    if isinstance(choices, list) and kind != "list" and value not in choices:
        remedy = did_you_mean(str(value), map(str, choices))
        text = f"'{name}' of the role '{role.name}' must be one of {listed(map(str, choices))}, not {what_it_is(value)}"
        faults.add("role-argument", text, value, remedy, otherwise=position_of(key))
