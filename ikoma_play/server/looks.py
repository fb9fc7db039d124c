"""Calls of tools that only look, on this machine: plays that stay open, so that a call is its step and no more."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from .. import engine
from ..language.text import Unsafe
from ..model import EMPTY, Outcome, Position
from ..tool import Tool
from .parts import Parts

ORIGIN = Position("http", 1)
FRESH = 5.0  # seconds; after that the host's variables are rendered anew


class Looks:
    """One open play for each thread and host, made anew when it has aged or the settings have changed."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._mine = threading.local()

    def near(self, host: str) -> bool:
        """Whether a host is this machine: a road to another is a connection, which a run opens and closes."""
        known = self._parts.inventory.hosts.get(host)
        return known is None or self._parts.is_local(known)

    def options(self, host: str) -> engine.Options:
        """What a call on a host is made with."""
        parts = self._parts
        said = parts.host_variables() if self.near(host) else EMPTY
        return engine.Options(check=parts.check, play_home=parts.play_home, connection=said)

    def takes(self, tool: Tool, host: str) -> bool:
        """Whether a call can be made here: one of the platform's tools that only looks, on this machine."""
        return tool.dotted and not tool.changes and self.near(host)

    def call(self, tool: Tool, host: str, arguments: Mapping[str, Any]) -> tuple[Outcome, Any]:
        """Call a tool; what it came to, and the arguments fit to be shown. Raises IkomaError."""
        standing = self._standing(host)
        outcome = standing.call(tool, as_it_is(arguments))
        return outcome, standing.shown(arguments)

    def _standing(self, host: str) -> engine.Standing:
        kept: dict[str, tuple[float, Any, engine.Standing]] = self._mine.__dict__.setdefault("kept", {})
        variables, now = self._parts.host_variables(), time.monotonic()
        found = kept.get(host)
        if found is not None and found[1] is variables and now < found[0]:
            return found[2]
        if found is not None:
            found[2].close()
        parts = self._parts
        made = engine.Standing(host, parts.inventory, parts.tools, self.options(host), parts.connect, ORIGIN)
        kept[host] = (now + FRESH, variables, made)
        return made


def as_it_is(value: Any) -> Any:
    """The value with every text in it marked: what a client sends is never a template."""
    if isinstance(value, str):
        return Unsafe(value)
    if isinstance(value, Mapping):
        return {Unsafe(name): as_it_is(each) for name, each in value.items()}
    if isinstance(value, list):
        return [as_it_is(each) for each in value]
    return value
