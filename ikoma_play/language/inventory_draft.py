"""An inventory that is being put together, by whichever form its sources have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct, field

from .faults import Faults
from .host_patterns import BadPattern, expanded, host_and_port

_GROUP_NAME = re.compile(r"[^\s:,!&\[\]{}]+\Z")


class DraftGroup(Struct):
    """A group as far as it is known: its own hosts and children, in order."""

    hosts: dict[str, None] = field(default_factory=dict)
    children: dict[str, None] = field(default_factory=dict)
    vars: dict[str, Any] = field(default_factory=dict)
    at: Any = None


class Draft:
    """Hosts by name with their own variables, groups by name; `all` holds everything in the end."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.hosts: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, DraftGroup] = {"all": DraftGroup(), "ungrouped": DraftGroup()}
        self.sources: list[str] = []

    def group(self, name: Any, at: Any = None) -> DraftGroup:
        """The group of that name, made where there is none."""
        text = str(name)
        if text not in self.groups:
            if not isinstance(name, str) or not _GROUP_NAME.match(text):
                remedy = "Letters, digits, underscores and hyphens are good names."
                self.faults.add("bad-group-name", f"'{text}' cannot be the name of a group", name, remedy, otherwise=at)
                return DraftGroup()
            self.groups[text] = DraftGroup(at=name)
        return self.groups[text]

    def host(self, pattern: Any, group: str, variables: Mapping[str, Any], at: Any = None) -> list[str]:
        """Adds a host, or all hosts of a range, to a group; returns their names."""
        text = str(pattern)
        try:
            name, port = host_and_port(text)
            names = expanded(name)
        except BadPattern as error:
            self.faults.add("bad-host-name", f"'{text}' is no host name: {error}", pattern, otherwise=at)
            return []
        if not text.strip() or any(char.isspace() or char in ",{}" for char in text):
            self.faults.add("bad-host-name", f"'{text}' cannot be the name of a host", pattern, otherwise=at)
            return []
        members = self.group(group, at).hosts
        for each in names:
            members[each] = None
            own = self.hosts.setdefault(each, {})
            if port is not None:
                own["ansible_port"] = port
            own.update(variables)
        return names

    def child(self, parent: str, name: Any, at: Any = None) -> None:
        """Puts a group into another; refused where a group would come to hold itself."""
        self.group(name, at)
        if str(name) not in self.groups:
            return
        # Every group is in `all` in the end, so `all` can be in none.
        if str(name) in ("all", parent) or parent in self._below(str(name)):
            self.faults.add("group-cycle", f"the group '{name}' would hold itself", name, otherwise=at)
            return
        self.group(parent, at).children[str(name)] = None

    def _below(self, name: str) -> set[str]:
        found: set[str] = set()
        waiting = [name]
        while waiting:
            for child in self.groups[waiting.pop()].children:
                if child not in found:
                    found.add(child)
                    waiting.append(child)
        return found

    def finish(self) -> None:
        """Every host is in `all`, through its groups or through `ungrouped`."""
        grouped = {host for name, group in self.groups.items() if name not in ("all", "ungrouped")
                   for host in group.hosts}  # fmt: skip
        ungrouped = {name: None for name in self.hosts if name not in grouped}
        self.groups["ungrouped"].hosts = ungrouped
        held = {child for name, group in self.groups.items() if name != "all" for child in group.children}
        for name in self.groups:
            if name != "all" and name not in held:
                self.groups["all"].children.setdefault(name)
        for name in set(self.hosts) & set(self.groups):
            text = f"'{name}' is a group and a host; patterns will mean the group"
            self.faults.add("same-name", text, self.groups[name].at, warning=True)

    def members(self, name: str) -> Iterator[str]:
        """The hosts of a group and of its children, in the order of the inventory for `all`."""
        if name == "all":
            return iter(self.hosts)
        found: dict[str, None] = {}
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            group = self.groups[waiting.pop(0)]
            found.update(group.hosts)
            waiting.extend(child for child in group.children if child not in seen)
            seen.update(group.children)
        return iter(found)

    def depths(self) -> dict[str, int]:
        """How far below `all` each group is, by the longest way."""
        depths = dict.fromkeys(self.groups, 1)
        depths["all"] = 0
        changed = True
        while changed:
            changed = False
            for name, group in self.groups.items():
                for child in group.children:
                    if depths[child] < depths[name] + 1:
                        depths[child] = depths[name] + 1
                        changed = True
        return depths
