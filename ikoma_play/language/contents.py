"""The steps of a play one by one, those that includes bring counted where they can be known."""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct, field

from ..errors import FaultsFound
from ..model import Block, Node, Play, RoleRef, Step
from ..tool import Toolbox
from .faults import Faults
from .playbook import load_role, load_steps
from .steps import find_steps_file
from .text import has_template

_ROLE_PARTS = ("tasks_from", "vars_from", "defaults_from", "handlers_from")


class Place(Struct, frozen=True):
    """A step, what it is run as (step, handler, rollback), and names that only exist around it.

    `caught` says that a rescue around it makes up for its failure.
    """

    step: Step
    kind: str = "step"
    names: frozenset[str] = frozenset()
    caught: bool = False


class Contents(Struct):
    """Everything in a play. `closed` says that nothing else can come in while it runs."""

    play: Play
    places: list[Place] = field(default_factory=list)
    handlers: list[Node] = field(default_factory=list)
    roles: list[RoleRef] = field(default_factory=list)
    closed: bool = True

    def steps(self) -> Iterator[Step]:
        return (place.step for place in self.places)


def contents_of(play: Play, folder: str, tools: Toolbox, faults: Faults) -> Contents:
    """What is in a play; faults of what includes would bring are added."""
    return _Walk(play, folder, tools, faults).walk()


class _Walk:
    def __init__(self, play: Play, folder: str, tools: Toolbox, faults: Faults) -> None:
        self.found = Contents(play, handlers=list(play.handlers), roles=list(play.roles))
        self.folder = folder
        self.tools = tools
        self.faults = faults
        self._seen: set[tuple[Any, ...]] = set()
        self._rescues = 0  # how many rescues would catch a failure here

    def walk(self) -> Contents:
        play = self.found.play
        self._nodes(play.steps, "step", frozenset())
        self._nodes(play.handlers, "handler", frozenset())
        self._rollback(play.rollback, frozenset())
        return self.found

    def _rollback(self, rollback: Any, names: frozenset[str]) -> None:
        if isinstance(rollback, tuple):
            self._nodes(rollback, "rollback", names | {"result"})

    def _nodes(self, nodes: tuple[Node, ...], kind: str, names: frozenset[str]) -> None:
        for node in nodes:
            if isinstance(node, Block):
                if node.role is not None and node.role not in self.found.roles:
                    self.found.roles.append(node.role)
                self._rescues += bool(node.rescue)
                self._nodes(node.steps, kind, names)
                self._rescues -= bool(node.rescue)
                self._nodes((*node.rescue, *node.always), kind, names)
                self._rollback(node.rollback, names)
            else:
                self._step(node, kind, names)

    def _step(self, step: Step, kind: str, names: frozenset[str]) -> None:
        if step.loop is not None:
            looped = {step.loop.var, "ansible_loop"}
            names |= looped | ({step.loop.index_var} if step.loop.index_var else set())
        self.found.places.append(Place(step, kind, names, self._rescues > 0))
        self._rollback(step.rollback, names)
        if step.tool == "include_tasks":
            self._included_steps(step, kind, names)
        elif step.tool == "include_role":
            self._included_role(step, kind, names)

    def _included_steps(self, step: Step, kind: str, names: frozenset[str]) -> None:
        file = step.args.get("file") or step.args.get("_raw_params")
        if not isinstance(file, str) or has_template(file):
            self.found.closed = False
            return
        role = step.role.path if step.role else ""
        path = find_steps_file(file, os.path.dirname(step.position.file), role, self.folder)
        if path is None:
            conditional = bool(step.when)
            text = f"there is no file of steps {file}"
            self.faults.add("missing-file", text, file, otherwise=step.position, warning=conditional)
        elif self._first((os.path.realpath(path), role, kind, names)):
            try:
                nodes = load_steps(os.path.abspath(path), self.tools, step, handlers=kind == "handler")
            except FaultsFound as found:
                self.faults.take(found.faults)
                nodes = found.partial or ()
            if kind == "handler":
                self.found.handlers.extend(nodes)
            self._nodes(nodes, kind, names)

    def _included_role(self, step: Step, kind: str, names: frozenset[str]) -> None:
        args: Mapping[str, Any] = step.args
        name = args.get("name") or args.get("role")
        parts = [str(args.get(part) or "main") for part in _ROLE_PARTS]
        if not isinstance(name, str) or has_template([name, *parts]):
            self.found.closed = False
            return
        if not self._first((name, *parts, kind, names)):
            return
        tasks, variables, defaults, handlers = parts
        try:
            loaded = load_role(
                name,
                self.tools,
                inherit=step,
                playbook_dir=self.folder,
                tasks_from=tasks,
                vars_from=variables,
                defaults_from=defaults,
                handlers_from=handlers,
            )
        except FaultsFound as found:
            self.faults.take(found.faults)
            if found.partial is None:
                return
            loaded = found.partial
        self.found.handlers.extend(loaded.handlers)
        self.found.roles.extend(role for role in loaded.roles if role not in self.found.roles)
        self._nodes((loaded.block,), kind, names)
        self._nodes(loaded.handlers, "handler", names)

    def _first(self, key: tuple[Any, ...]) -> bool:
        if key in self._seen:
            return False
        self._seen.add(key)
        return True
