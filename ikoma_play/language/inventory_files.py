"""group_vars/ and host_vars/ beside an inventory or a playbook."""

from __future__ import annotations

import os
import os.path
from collections.abc import Container, Iterator, Mapping
from typing import Any

from msgspec import Struct, field

from ..model import EMPTY, Position
from ..spelling import nearest
from .faults import Faults, shown_path
from .variable_files import read_variables

_ENDINGS = (".yml", ".yaml", ".json")


class VariableFolders(Struct):
    """What the two folders in one place say, by the name of the group or host."""

    folder: str
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not self.groups and not self.hosts

    def of_group(self, name: str) -> Mapping[str, Any]:
        return self.groups.get(name, EMPTY)

    def of_host(self, name: str) -> Mapping[str, Any]:
        return self.hosts.get(name, EMPTY)

    @classmethod
    def read(cls, folder: str, groups: Container[str], hosts: Container[str], faults: Faults) -> VariableFolders:
        """Reads what belongs to known groups and hosts; a name that is nearly one of them is a warning."""
        found = cls(folder)
        for kind, known, into in (("group_vars", groups, found.groups), ("host_vars", hosts, found.hosts)):
            place = os.path.join(folder, kind)
            for name, path in _entries(place):
                if name in known:
                    merged = into.setdefault(name, {})
                    for file in _files(path):
                        merged.update(read_variables(file, faults))
                elif meant := nearest(name, known):  # type: ignore[arg-type]
                    what = "group" if kind == "group_vars" else "host"
                    text = f"{kind}/{os.path.basename(path)} belongs to no {what} of the inventory"
                    at = Position(shown_path(path), 1)
                    faults.add("unknown-name", text, at, f"Did you mean '{meant}'?", warning=True)
        return found


def _entries(place: str) -> Iterator[tuple[str, str]]:
    """Names and paths of what is in group_vars or host_vars, files with or without an ending."""
    try:
        listed = sorted(os.listdir(place))
    except OSError:
        return
    for entry in listed:
        path = os.path.join(place, entry)
        if entry.startswith(".") or entry.endswith("~"):
            continue
        if os.path.isdir(path):
            yield entry, path
        else:
            stem, ending = os.path.splitext(entry)
            if ending in _ENDINGS:
                yield stem, path
            elif os.path.isfile(path):
                yield entry, path


def _files(path: str) -> Iterator[str]:
    if not os.path.isdir(path):
        yield path
        return
    for entry in sorted(os.listdir(path)):
        inner = os.path.join(path, entry)
        if entry.startswith(".") or entry.endswith("~"):
            continue
        if os.path.isdir(inner):
            yield from _files(inner)
        elif os.path.splitext(entry)[1] in (*_ENDINGS, ""):
            yield inner
