"""Locks that a run holds: the play's own by `lock:`, and one for each application that it changes."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from ..language.templating import Templar
from ..model import Host
from ..tool import Tool
from .roads import RUNNER


class Locking(Protocol):
    """Where locks are kept."""

    def take(self, name: str, run: str, stopped: Callable[[], bool]) -> None:
        """Take a lock for a run, which may hold it already. Raises Locked, JournalError."""

    def give_back(self, name: str, run: str) -> None: ...


class Held:
    """The locks of one run. Without a place to keep them there are none."""

    def __init__(
        self, run: str, locking: Locking | None, stopped: Callable[[], bool], until_the_end: bool = False
    ) -> None:
        self._run = run
        self._locking = locking
        self._stopped = stopped
        self._until_the_end = until_the_end  # plays keep their locks: what they did is to be undone
        self._applications: set[str] = set()

    @contextmanager
    def play(self, lock: Any, templar: Templar) -> Iterator[None]:
        """The locks that a play names, held while it runs. Raises Locked."""
        names: list[str] = []
        if self._locking is not None and lock is not None:
            rendered = templar.render(lock)
            names = [str(name) for name in (rendered if isinstance(rendered, list) else [rendered]) if name]
        taken: list[str] = []
        try:
            for name in sorted(set(names)):  # in one order for everyone, lest two runs wait for each other
                assert self._locking is not None
                self._locking.take(name, self._run, self._stopped)
                taken.append(name)
            yield
        finally:
            for name in taken if not self._until_the_end else ():
                assert self._locking is not None
                self._locking.give_back(name, self._run)

    def application(self, tool: Tool, host: Host, values: Mapping[str, Any]) -> None:
        """The application that a platform tool is about to change, held until the run ends. Raises Locked."""
        app = values.get("appName")
        if self._locking is None or app is None or not (tool.dotted and tool.changes):
            return
        name = f"application {app} on {place(host)}"
        if name not in self._applications:
            self._locking.take(name, self._run, self._stopped)
            self._applications.add(name)


def place(host: Host) -> str:
    """The machine that a host is, whatever an inventory calls it."""
    if host.vars.get("ansible_connection") == "local" or host.name in RUNNER:
        return platform.node() or "localhost"
    return str(host.vars.get("ansible_host") or host.name)
