"""Files of nothing but variables: vars_files, include_vars, group_vars and host_vars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .faults import Faults
from .reader import Unreadable, read
from .values import check_variable_names, what_it_is


def load_variables(path: str) -> Mapping[str, Any]:
    """The variables in a file of YAML or JSON. Raises FaultsFound."""
    faults = Faults()
    found = read_variables(path, faults)
    faults.raise_if_any()
    return found


def read_variables(path: str, faults: Faults, at: Any = None) -> dict[str, Any]:
    """The variables in a file; faults are added and what is wrong left out."""
    try:
        found = read(path, faults, at, "file of variables")
    except Unreadable:
        return {}
    if found is None:
        return {}
    if not isinstance(found, dict):
        text = f"a file of variables is a mapping of names to values, not {what_it_is(found)}"
        faults.add("wrong-type", text, found)
        return {}
    check_variable_names(found, faults)
    return found
