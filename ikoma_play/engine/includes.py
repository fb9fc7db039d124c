"""What include_tasks and include_role bring, and the hosts and groups that steps add."""

from __future__ import annotations

import json
from collections.abc import Sequence
from threading import Lock
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ..errors import IkomaError, NotFound
from ..language import load_role, load_steps
from ..language.templating import Layer
from ..model import Block, Host, Node, Step
from . import outcomes
from .calls import Call
from .hosts import HostRun
from .outcomes import Done
from .stage import Stage


class Brought(Struct, frozen=True):
    """Nodes that one call of an include brought; hosts with the same `key` run them together."""

    key: tuple[Any, ...]
    nodes: tuple[Node, ...]
    handlers: tuple[Node, ...]
    layers: tuple[Layer, ...]


class Includes:
    """Dynamic includes of one play. A file is read once for each step that includes it."""

    def __init__(self, play: Stage) -> None:
        self.play = play
        self.run = play.run
        self._read: dict[tuple[Any, ...], tuple[tuple[Node, ...], tuple[Node, ...]]] = {}
        self._lock = Lock()

    def bring(self, call: Call, done: Done) -> tuple[Done, list[Brought]]:
        """The nodes that an include asks for; where they cannot be read the step has failed."""
        if done.outcome.status.bad or done.skipped:
            return done, []
        asked: Sequence[tuple[Any, Any]]
        loop = call.step.loop
        if loop is None:
            asked = [(done.outcome.result, None)]
        else:
            results = done.extra["results"]
            asked = [(each, each) for each in results if "skipped" not in each]
        brought = []
        try:
            for result, place in asked:
                brought.append(self._one(call, result, place))
        except IkomaError as error:
            failed = outcomes.of_error(error, call.step.position)
            return replace(done, outcome=replace(failed.outcome, seconds=done.outcome.seconds)), []
        return done, brought

    def _one(self, call: Call, result: Any, place: Any) -> Brought:
        step, loop = call.step, call.step.loop
        layers = (Layer(step.given_vars),) if step.given_vars else ()
        names: dict[str, Any] = {}
        if loop is not None:
            known = (loop.var, loop.index_var or "", "ansible_loop_var", "ansible_index_var", "ansible_loop")
            names = {name: place[name] for name in known if name in place}
            layers = (*layers, Layer(names, authored=False, foreign=call.foreign_items))
        if "include" in result:
            wanted: tuple[Any, ...] = ("tasks", self._path(call, str(result["include"])))
        else:
            wanted = ("role", result["include_role"], tuple(sorted(result["parts"].items())), result["public"])
        turn = (json.dumps(names, sort_keys=True, default=str),) if names else ()
        with self._lock:
            read = (*wanted, id(step))
            if read not in self._read:
                self._read[read] = self._load(step, wanted)
            nodes, handlers = self._read[read]
        if wanted[0] == "role":
            nodes = _in_turn(nodes, turn, result["again"])
        return Brought((*read, *turn), nodes, handlers, layers)

    def _path(self, call: Call, name: str) -> str:
        try:
            return str(call.prepared.find("tasks", name))
        except NotFound:
            return name  # the language knows further places, and how to say that it is nowhere

    def _load(self, step: Step, wanted: tuple[Any, ...]) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
        """The nodes and handlers that are wanted."""
        if wanted[0] == "tasks":
            return load_steps(wanted[1], self.run.tools, inherit=step.outer or step), ()
        _, name, parts, public = wanted
        role = load_role(
            name,
            self.run.tools,
            inherit=step.outer or step,
            search=self.run.options.roles_path,
            playbook_dir=self.run.playbook_dir,
            **dict(parts),
        )
        self.play.variables.used(role.roles)
        if public:
            self.play.variables.publish(role.roles)
        return (role.block,), role.handlers

    # --- add_host, group_by ---

    def regroup(self, step: Step, results: Sequence[tuple[HostRun, Done]]) -> None:
        """Take in the hosts and groups that a step added."""
        for host, done in results:
            if done.outcome.status.bad or done.skipped:
                continue
            for one in done.outcome.items or (done.outcome,):
                if isinstance(one.result, dict) and not one.status.bad:
                    self._add(host, one.result)

    def _add(self, host: HostRun, result: dict[str, Any]) -> None:
        run = self.run
        if "add_host" in result:
            added = result["add_host"]
            name = added["host_name"]
            known = run.added_hosts.get(name) or run.inventory.hosts.get(name)
            old = known.vars if known else {}
            groups = tuple(dict.fromkeys([*(known.groups if known else ()), *added["groups"]]))
            # What a step gave is final: braces in it are no templates any more.
            run.add_host(Host(name, groups, {**old}), added["host_vars"])
            for group in added["groups"]:
                run.added_groups.setdefault(group, []).append(name)
        elif "add_group" in result:
            for group in (result["add_group"], *result["parent_groups"]):
                run.added_groups.setdefault(group, []).append(host.name)


def _in_turn(nodes: tuple[Node, ...], turn: tuple[str, ...], again: bool) -> tuple[Node, ...]:
    """What a role brought (last its own block, maybe in one with those it needs) as one turn of a loop has it."""
    *needed, last = nodes
    assert isinstance(last, Block)
    if last.role is None:
        return (*needed, replace(last, steps=_in_turn(last.steps, turn, again)))
    return (*needed, replace(last, use=(*last.use, *turn), again=again))
