"""What a run would do: hosts, phases and steps in order, and what would undo each; no host is touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from ..errors import IkomaError
from ..language.templating import Templar
from ..model import Block, Host, Node, Playbook, Position, Step
from ..tool import Tool, Toolbox
from ..transport.base import Transport
from .options import Options
from .plays import PlayRun
from .state import Inventory, RunState, nodes_below
from .tags import chosen


class PlannedStep(Struct, frozen=True):
    """One row of a plan. `undo` says what would undo it: its tool's own way or the names of handlers, own ones
    first; `changes` says whether it may change a host. Where nothing undoes a step that changes something `undo`
    is empty and `lasting` says why, as far as its tool knows."""

    play: str
    hosts: tuple[str, ...]
    phase: str
    title: str
    tool: str
    position: Position
    changes: bool
    undo: tuple[str, ...] = ()
    when: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    part: str = "step"  # step, rescue, always or handler
    depth: int = 0
    lasting: str = ""


def plan(playbooks: Sequence[Playbook], inventory: Inventory, tools: Toolbox, options: Options) -> list[PlannedStep]:
    """The steps that a run with these options would take, in order. Raises UsageError, FaultsFound."""
    state = RunState(inventory, tools, options, (), _nowhere)
    rows: list[PlannedStep] = []
    for playbook in playbooks:
        state.enter(str(Path(playbook.path).absolute().parent))
        for play in playbook.plays:
            rows += _Planner(PlayRun(state, play), options).rows()
    return rows


def _nowhere(host: Host) -> Transport:
    raise AssertionError("a plan touches no host")


class _Planner:
    def __init__(self, play: PlayRun, options: Options) -> None:
        self.play = play
        self.options = options
        first = play.run.host("localhost")
        hosts = play._hosts(Templar(first.variables.view(play.variables)))
        self.hosts = tuple(host.name for host in hosts)
        self.templar = Templar((hosts[0] if hosts else first).variables.view(play.variables))

    def rows(self) -> Iterator[PlannedStep]:
        play = self.play.play
        around = _titles(play.rollback)
        yield from self._nodes(play.steps, around, "step", 0)
        yield from self._nodes(play.handlers, (), "handler", 0)

    def _nodes(self, nodes: Sequence[Node], around: tuple[str, ...], part: str, depth: int) -> Iterator[PlannedStep]:
        for node in nodes:
            if isinstance(node, Block):
                inside = (*_titles(node.rollback), *around)
                yield from self._nodes(node.steps, inside, part, depth + (not node.role))
                yield from self._nodes(node.rescue, around, "rescue", depth + 1)
                yield from self._nodes(node.always, around, "always", depth + 1)
            elif node.tool != "meta" and chosen(node.tags, self.options.tags, self.options.skip_tags):
                yield self._step(node, around, part, depth)

    def _step(self, step: Step, around: tuple[str, ...], part: str, depth: int) -> PlannedStep:
        tool = self.play.run.tools.find(step.tool)
        changes = bool(tool and tool.changes)
        own = (tool.undo.says,) if step.auto_rollback and tool and tool.undo else _titles(step.rollback)
        only = " (by runs rollback only)" if self.play.play.rollback_scope == "none" else ""
        return PlannedStep(
            self._text(self.play.play.name),
            self.hosts,
            self._text(step.phase),
            self._text(step.title, step),
            step.tool,
            step.position,
            changes,
            tuple(f"{one}{only}" for one in (*own, *around)),
            tuple(map(str, step.when)),
            tuple(sorted(step.tags)),
            part,
            depth,
            _lasting(tool) if changes and tool and not (own or around) else "",
        )

    def _text(self, text: str, step: Step | None = None) -> str:
        templar = self.templar
        try:
            if step is not None and self.hosts and "{" in text:
                host = self.play.run.host(self.hosts[0])
                templar = Templar(host.variables.view(self.play.variables, step))
            return self.play.run.secrets.mask(str(templar.render(text)))
        except IkomaError:
            return text


def _lasting(tool: Tool) -> str:
    return tool.lasting or ("rollback: auto would undo it" if tool.undo else "")


def _titles(rollback: tuple[Node, ...] | None) -> tuple[str, ...]:
    if rollback is None:
        return ()
    return tuple(step.title for step in nodes_below(rollback))
