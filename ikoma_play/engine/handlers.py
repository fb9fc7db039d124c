"""Handlers: notified by name or by what they listen to, run once each in the order they are defined in."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import groupby
from threading import Lock

from ..errors import IkomaError
from ..language.templating import Templar
from ..model import Node, Step
from .hosts import Frame, HostRun
from .stage import Stage


class Handlers:
    """The handlers of one play; those of roles that are included later join at the end."""

    def __init__(self, play: Stage, nodes: Sequence[Node]) -> None:
        self.play = play
        self.steps: list[Step] = []
        self._lock = Lock()
        self.add(nodes)

    def add(self, nodes: Sequence[Node]) -> None:
        with self._lock:
            known = set(map(id, self.steps))
            self.steps += [step for step in _flat(nodes) if id(step) not in known]

    def notify(self, host: HostRun, name: str) -> bool:
        """Remember the name on a host; False when nothing has it. What it calls is settled when handlers run."""
        if not self._called(name, host):
            return False
        host.notified[name] = None
        return True

    def _called(self, name: str, host: HostRun) -> list[int]:
        """The numbers of the handlers that a name calls: the one of this name, and all that listen to it."""
        named = next((number for number in self._search_order() if self._is_called(self.steps[number], name, host)), -1)
        return [number for number, step in enumerate(self.steps) if number == named or name in step.listen]

    def _search_order(self) -> list[int]:
        """Where several handlers have one name: the play's own before those of roles, later roles before
        earlier ones, and the first of each."""
        numbers = range(len(self.steps))
        return [
            number
            for _, group in reversed(
                [(key, list(of)) for key, of in groupby(numbers, lambda n: id(self.steps[n].role))]
            )
            for number in group
        ]

    def nearest(self, name: str) -> str | None:
        known = [each for step in self.steps for each in (step.name, *step.listen) if each]
        return next(iter(difflib.get_close_matches(name, known, 1)), None)

    def _is_called(self, step: Step, name: str, host: HostRun) -> bool:
        own = step.name
        if "{{" in own:
            try:
                own = str(Templar(host.variables.view(self.play.variables, step)).render(own))
            except IkomaError:
                return False
        role = step.role.name if step.role else ""
        return own != "" and name in (own, f"{role} : {own}" if role else own)

    def flush(self, hosts: Sequence[HostRun], forced: bool = False) -> dict[str, HostRun]:
        """Run what was notified on these hosts; gives the hosts that fail by it. `forced` takes failed ones too."""
        failed: dict[str, HostRun] = {}
        frame = Frame(kind="handler")
        due: dict[int, dict[str, HostRun]] = {}  # by number, those that are to run and where

        def settle() -> None:
            for host in hosts:
                for number in [number for name in host.notified for number in self._called(name, host)]:
                    due.setdefault(number, {})[host.name] = host
                host.notified.clear()

        settle()
        while due:
            for number in sorted(due):
                on = [host for host in due.pop(number).values() if host.name not in failed and (host.going or forced)]
                if on:
                    failed |= self.play.walk((self.steps[number],), on, frame, forced)
                settle()
        for host in failed.values():
            host.notified.clear()
        return failed


def _flat(nodes: Sequence[Node]) -> list[Step]:
    found: list[Step] = []
    for node in nodes:
        found += [node] if isinstance(node, Step) else _flat(node.steps)
    return found
