"""Tools that give a host variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from ...errors import StepError
from ...model import Access, Outcome, ok
from ...tool import CACHEABLE, Scope, tool
from ...transport.base import Transport

NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@tool("set_fact", access=Access.OBSERVER, changes=False, open=True)
def set_fact(on: Transport, *, cacheable: bool = False, **values: Any) -> Outcome:
    """Set variables of the host for the rest of the run.

    cacheable: they are facts of the host too, which `meta: clear_facts` forgets
    """
    if not values:
        raise StepError("set_fact was given no variable", remedy="Name one: set_fact: name: value.")
    for name in values:
        demand_name(name)
    return ok({"ansible_facts": values} | ({CACHEABLE: True} if cacheable else {}), facts=values)


@tool("include_vars", access=Access.ADMIN, changes=False, free_form="file", aliases={"_raw_params": "file"})
def include_vars(
    on: Transport,
    *,
    scope: Scope,
    file: str | None = None,
    dir: str | None = None,
    name: str | None = None,
    depth: int = 0,
    files_matching: str | None = None,
    ignore_files: list[str] | None = None,
    extensions: list[str] | None = None,
    ignore_unknown_extensions: bool = False,
    hash_behaviour: Literal["replace", "merge"] = "replace",
) -> Outcome:
    """Take variables from files of the runner.

    file: a file of YAML or JSON; looked for in vars/ of the role, then beside the playbook
    dir: a directory of them, instead of file; read in the order of their names
    name: put all of them into this one variable
    depth: how many directories deep; 0 for all
    files_matching: only files whose names this regular expression matches
    ignore_files: regular expressions for names that are left out
    extensions: which files of a directory are read; default yml, yaml and json
    ignore_unknown_extensions: leave other files out instead of failing
    hash_behaviour: merge mappings that several files have, or take the last one
    """
    if (file is None) == (dir is None):
        raise StepError("include_vars takes file or dir, one of them", remedy="Name a file: include_vars: vars.yml.")
    if file is not None:
        paths = [scope.find("vars", file)]
    else:
        known = tuple(f".{each.lstrip('.')}" for each in extensions or ("yml", "yaml", "json"))
        named = _named(files_matching, ignore_files or [])
        folder = scope.find("vars", dir or "")
        paths = list(_below(folder, depth or 1000, known, ignore_unknown_extensions, named))
    values: dict[str, Any] = {}
    for path in paths:
        found = _loaded(path)
        if hash_behaviour == "merge" and name is None:
            values.update(
                {each: scope.variables[each] for each in found if each not in values and each in scope.variables}
            )
        _add(values, found, hash_behaviour == "merge")
    if name is not None:
        demand_name(name)
        values = {name: values}
    return ok({"ansible_facts": values, "ansible_included_var_files": [str(path) for path in paths]}, facts=values)


def demand_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise StepError(
            f"{name!r} cannot be the name of a variable", remedy="Use letters, digits and _, and no digit first."
        )


def _loaded(path: Path) -> Mapping[str, Any]:
    from ...errors import FaultsFound
    from ...language.variable_files import load_variables

    try:
        return load_variables(str(path))
    except FaultsFound as error:
        first = error.faults[0]
        raise StepError(first.message, remedy=first.remedy, position=first.position) from None


def _named(matching: str | None, ignored: list[str]) -> tuple[re.Pattern[str], list[re.Pattern[str]]]:
    try:
        return re.compile(matching or ""), [re.compile(each) for each in ignored]
    except re.error as error:
        raise StepError(f"{error.pattern!r} is not a regular expression: {error}") from None


def _below(
    folder: Path,
    depth: int,
    known: tuple[str, ...],
    lenient: bool,
    named: tuple[re.Pattern[str], list[re.Pattern[str]]],
) -> Iterator[Path]:
    """The files of variables below a folder, in the order of their names, folders last."""
    if not folder.is_dir():
        raise StepError(f"{folder} is not a directory", remedy="Use file for a single file.")
    entries = sorted(folder.iterdir())
    for path in entries:
        if not path.is_file() or path.name.startswith(".") or not named[0].search(path.name):
            continue
        if any(pattern.search(path.name) for pattern in named[1]):
            continue
        if path.suffix in known:
            yield path
        elif not lenient:
            raise StepError(
                f"{path} has none of the extensions {', '.join(known)}",
                remedy="Move it away, or say ignore_unknown_extensions: true.",
            )
    if depth > 1:
        for path in entries:
            if path.is_dir():
                yield from _below(path, depth - 1, known, lenient, named)


def _add(values: dict[str, Any], more: Mapping[str, Any], merge: bool) -> None:
    for name, value in more.items():
        before = values.get(name)
        if merge and isinstance(before, Mapping) and isinstance(value, Mapping):
            merged = dict(before)
            _add(merged, value, merge)
            value = merged
        values[name] = value
