"""Handlers: notified by name or by what they listen to, run once each in the order they are defined in."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from threading import Lock

from msgspec import Struct

from ..errors import IkomaError
from ..language.templating import Layer, Templar
from ..model import Node, Step
from ..spelling import nearest
from .hosts import Frame, HostRun
from .stage import Stage


class Handler(Struct, frozen=True):
    """A handler, with the layers of the includes that its role came by."""

    step: Step
    params: tuple[Layer, ...]


class Handlers:
    """The handlers of one play; those of roles that are included later join at the end, once for each way they came."""

    def __init__(self, play: Stage, nodes: Sequence[Node]) -> None:
        self.play = play
        self.all: list[Handler] = []
        self._known: set[tuple[int, str]] = set()
        self._lock = Lock()
        self.add(nodes)

    def add(self, nodes: Sequence[Node], params: tuple[Layer, ...] = ()) -> None:
        came = repr([layer.values for layer in params])
        with self._lock:
            for step in _flat(nodes):
                if (id(step), came) not in self._known:
                    self._known.add((id(step), came))
                    self.all.append(Handler(step, params))

    def notify(self, host: HostRun, name: str) -> bool:
        """Remember the name on a host; False when nothing has it. What it calls is settled when handlers run."""
        if not self._called(name, host):
            return False
        host.notified[name] = None
        return True

    def _called(self, name: str, host: HostRun) -> list[int]:
        """The numbers of the handlers that a name calls: the one of this name, and all that listen to it."""
        order = self._search_order()
        named = next((number for number in order if self._is_called(self.all[number], name, host)), None)
        found = {} if named is None else {named: ""}
        heard: set[str] = set()
        for number in order:
            if name in self.all[number].step.listen:
                own = self._name(self.all[number], host)
                if own == "" or own not in heard:
                    found[number] = own
                heard.add(own)
        return list(found)

    def _search_order(self) -> list[int]:
        """Where several handlers have one name: the play's own before those of roles, later roles before
        earlier ones, and the first of each."""

        def came(number: int) -> tuple[int, int]:
            return id(self.all[number].step.role), id(self.all[number].params)

        groups = [list(group) for _, group in groupby(range(len(self.all)), came)]
        return [number for group in reversed(groups) for number in group]

    def nearest(self, name: str) -> str | None:
        known = [each for one in self.all for each in (one.step.name, *one.step.listen) if each]
        return nearest(name, known, 0.6)

    def _name(self, handler: Handler, host: HostRun) -> str:
        """The handler's name on a host, "" where it has none there."""
        step = handler.step
        if "{{" not in step.name:
            return step.name
        try:
            return str(Templar(host.variables.view(self.play.variables, step, handler.params)).render(step.name))
        except IkomaError:
            return ""

    def _is_called(self, handler: Handler, name: str, host: HostRun) -> bool:
        own, role = self._name(handler, host), handler.step.role
        return own != "" and name in (own, f"{role.name} : {own}" if role else own)

    def flush(self, hosts: Sequence[HostRun], forced: bool = False) -> dict[str, HostRun]:
        """Run what was notified on these hosts, each handler once and in their order; what is notified meanwhile and
        has had its turn waits for the next time. Gives the hosts that fail by it. `forced` takes failed ones too."""
        failed: dict[str, HostRun] = {}
        number = -1
        while True:
            for host in hosts:
                host.due.update(each for name in host.notified for each in self._called(name, host))
                host.notified.clear()
            later = [due for host in hosts for due in host.due if due > number]
            if not later:
                break
            number = min(later)
            called = [host for host in hosts if number in host.due]
            for host in called:
                host.due.remove(number)
            on = [host for host in called if host.name not in failed and (host.going or forced)]
            if on:
                handler = self.all[number]
                failed |= self.play.walk((handler.step,), on, Frame(handler.params, "handler"), forced)
        for host in failed.values():
            host.notified.clear()
            host.due.clear()
        return failed


def _flat(nodes: Sequence[Node]) -> list[Step]:
    found: list[Step] = []
    for node in nodes:
        found += [node] if isinstance(node, Step) else _flat(node.steps)
    return found
