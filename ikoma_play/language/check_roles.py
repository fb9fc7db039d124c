"""Arguments of roles, where a role's meta says what it takes (argument_specs)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..model import Host, RoleRef
from ..spelling import did_you_mean, listed
from .contents import Contents
from .faults import Faults
from .role_arguments import options_of, specs_of, wrong_value
from .text import has_template


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
                specs[role.path] = options_of(specs_of(role.path).get("main"))
            inherited = {name for parent in role.parents for layer in (parent.params, parent.vars, parent.defaults)
                         for name in layer}  # fmt: skip
            _check(role, specs[role.path], defined | inherited, certain, faults)


def _check(role: RoleRef, options: Mapping[str, Any], defined: set[str], certain: bool, faults: Faults) -> None:
    own = {**role.defaults, **role.vars, **role.params}
    for name, option in options.items():
        if name in own:
            for layer in (role.params, role.vars, role.defaults):
                if name in layer:
                    key = next(key for key in layer if key == name)
                    _value(role, layer[name], option, key, faults)
                    break
        elif option.get("required") is True and "default" not in option and certain and name not in defined:
            what = f": {option['description']}" if isinstance(option.get("description"), str) else ""
            text = f"the role '{role.name}' needs the variable '{name}'"
            faults.add("role-argument", text, option, f"Give it where the role is used{what}.")
    names = {alias for name, option in options.items() for alias in (name, *(option.get("aliases") or ()))}
    for key in role.params if options else ():
        if key not in names:
            remedy = did_you_mean(str(key), options, f"It takes {listed(options, 'and')}.")
            faults.add("role-argument", f"the role '{role.name}' has no argument '{key}'", key, remedy)


def _value(role: RoleRef, value: Any, option: Mapping[str, Any], key: Any, faults: Faults) -> None:
    if has_template(value) or value is None:
        return
    for wrong in wrong_value(str(key), value, option):
        place = f"'{wrong.place}'"
        text = wrong.message.replace(place, f"{place} of the role '{role.name}'", 1)
        faults.add("role-argument", text, value, wrong.remedy, otherwise=key)
