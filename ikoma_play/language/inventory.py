"""Hosts, groups and their variables, from files, directories, scripts and lists of names."""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from msgspec import Struct

from ..model import EMPTY, Host
from .faults import Faults
from .host_patterns import choose
from .inventory_draft import Draft
from .inventory_files import VariableFolders

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


class Group(Struct, frozen=True):
    """A group; iterating gives the names of all its hosts, those of its children included."""

    name: str
    hosts: tuple[str, ...]
    children: tuple[str, ...] = ()
    vars: Mapping[str, Any] = EMPTY
    depth: int = 1

    def __iter__(self) -> Iterator[str]:
        return iter(self.hosts)

    def __len__(self) -> int:
        return len(self.hosts)

    def __contains__(self, name: object) -> bool:
        return name in self.hosts

    def order(self) -> tuple[int, int, str]:
        """Groups later in this order outrank earlier ones."""
        priority = self.vars.get("ansible_group_priority", 1)
        return self.depth, priority if isinstance(priority, int) else 1, self.name


class Inventory:
    """All hosts and groups, in the order of the inventory.

    `path` is the first source and `directory` where it lies, both absolute; "" for a list of names.
    """

    def __init__(
        self,
        draft: Draft,
        folders: Sequence[VariableFolders] = (),
        playbook: VariableFolders | None = None,
        warnings: Sequence[Any] = (),
    ) -> None:
        self.draft = draft
        self.folders = tuple(folders)
        self.playbook = playbook
        self.warnings = tuple(warnings)
        self.sources = tuple(draft.sources)
        self.asked: tuple[str, ...] = ()  # what it was loaded from, to load it again
        self.path = next(iter(draft.sources), "")
        self.directory = (self.path if os.path.isdir(self.path) else os.path.dirname(self.path)) if self.path else ""
        self.groups: Mapping[str, Group] = _groups(draft)

    @property
    def dir(self) -> str:
        """The value of `inventory_dir`."""
        return self.directory

    @property
    def file(self) -> str:
        """The value of `inventory_file`."""
        return self.path

    @cached_property
    def hosts(self) -> Mapping[str, Host]:
        return {name: self._host(name) for name in self.draft.hosts}

    def _host(self, name: str) -> Host:
        groups = self._groups_of(name)
        merged: dict[str, Any] = {}
        for layer in self.layers(name):
            merged.update(layer)
        return Host(name, tuple(group.name for group in groups if group.name != "all"), merged)

    def _groups_of(self, name: str) -> list[Group]:
        """The groups of a host, those that count least first."""
        return sorted((self.groups[group] for group in self._memberships.get(name, ())), key=Group.order)

    @cached_property
    def _memberships(self) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = {}
        for group in self.groups.values():
            for host in group.hosts:
                found.setdefault(host, []).append(group.name)
        return found

    def layers(self, name: str) -> list[Mapping[str, Any]]:
        """A host's variables by where they come from, the lowest rank first, as Ansible ranks them:

        groups in the inventory, group_vars/all, group_vars of the others (parents before children),
        the host in the inventory, host_vars; of each kind the inventory's before the playbook's.
        """
        groups = [group for group in self._groups_of(name) if group.name != "all"]
        every = self.groups["all"]
        folders = [*self.folders, *((self.playbook,) if self.playbook else ())]
        layers: list[Mapping[str, Any]] = [every.vars, *(group.vars for group in groups)]
        layers += [folder.of_group("all") for folder in folders]
        layers += [folder.of_group(group.name) for folder in folders for group in groups]
        layers += [self.draft.hosts.get(name, EMPTY), *(folder.of_host(name) for folder in folders)]
        return [layer for layer in layers if layer]

    def select(self, pattern: Any) -> list[Host]:
        """The hosts that a pattern names, in the order it names them; [] where there are none.

        Raises FaultsFound for a pattern that makes no sense.
        """
        return self.match(pattern)[0]

    def match(self, pattern: Any) -> tuple[list[Host], list[str]]:
        """Like select, and the terms that are neither a host nor a group."""
        names, unknown = choose(pattern, {name: group.hosts for name, group in self.groups.items()}, tuple(self.hosts))
        found = [self.hosts[name] for name in names]
        for term in list(unknown):
            if term in LOCAL_NAMES:
                found.append(Host(term, (), {"ansible_connection": "local"}))
                unknown.remove(term)
            elif term[0] == "!" and term[1:] in LOCAL_NAMES:
                unknown.remove(term)
        return found, unknown

    def again(self) -> Inventory:
        """The inventory as its sources say now. Raises FaultsFound."""
        return load_inventory(self.asked)

    def beside(self, playbook_dir: str) -> Inventory:
        """This inventory with the group_vars and host_vars beside a playbook. Raises FaultsFound."""
        folder = os.path.abspath(playbook_dir or ".")
        if any(known.folder == folder for known in self.folders):
            return self
        faults = Faults()
        playbook = VariableFolders.read(folder, self.groups, self.draft.hosts, faults)
        faults.raise_if_any()
        if playbook.is_empty:
            return self
        return Inventory(self.draft, self.folders, playbook, self.warnings)


def _groups(draft: Draft) -> dict[str, Group]:
    depths = draft.depths()
    return {
        name: Group(name, tuple(draft.members(name)), tuple(group.children), group.vars, depths[name])
        for name, group in draft.groups.items()
    }


def load_inventory(sources: Sequence[str]) -> Inventory:
    """The inventory from files, directories, executables, or lists of names (`web1,web2,`).

    Later sources add to earlier ones and outrank them. Raises FaultsFound with all faults.
    """
    from .inventory_sources import read_source

    faults = Faults()
    draft = Draft(faults)
    folders: dict[str, None] = {}
    asked = [sources] if isinstance(sources, str) else sources
    for source in asked:
        folder = read_source(os.fspath(source), draft)
        if folder is not None:
            folders[folder] = None
    draft.finish()
    read = [VariableFolders.read(folder, draft.groups, draft.hosts, faults) for folder in folders]
    inventory = Inventory(draft, [found for found in read if not found.is_empty], warnings=faults.warnings)
    inventory.asked = tuple(map(os.fspath, asked))
    faults.raise_if_any(inventory)
    return inventory


__all__ = ["LOCAL_NAMES", "Group", "Inventory", "load_inventory"]
