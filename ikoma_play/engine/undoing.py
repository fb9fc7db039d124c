"""`rollback: auto`: a tool keeps what it is about to change, and undoes itself by what it wrote down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import IkomaError
from ..language.templating import Templar
from ..model import Step
from ..tool import Undo as Way
from . import reach
from .hosts import Frame, HostRun, Undo
from .reversal import FINISH, LAST, TITLE, reversal
from .stage import Stage


def remember(play: Stage, host: HostRun, step: Step, frame: Frame, recorded: Mapping[str, Any]) -> list[Undo]:
    """Put what was recorded of a step among what is undone on its host."""
    entries = _entries(play, host, step, frame, recorded)
    host.undo += entries
    return entries


def abandon(play: Stage, host: HostRun, step: Step, frame: Frame, recorded: Mapping[str, Any]) -> None:
    """Drop what a process may have kept that died before the step changed anything."""
    entries = _entries(play, host, step, frame, recorded)
    forget(play, host, entries[-1])


def _entries(play: Stage, host: HostRun, step: Step, frame: Frame, recorded: Mapping[str, Any]) -> list[Undo]:
    tool = play.run.tools.find(step.tool)
    inside, files = Frame(frame.params, "rollback", keep=dict(host.variables.results)), host.variables.files
    parts = [(reversal(step, recorded), False)]
    if tool and tool.undo and tool.undo.finish is not None:
        parts.append((reversal(step, recorded, last=True), True))
    return [
        Undo(play, (node,), inside, step.position, step.title, files, touched=True, last=last) for node, last in parts
    ]


def unchanged(play: Stage, host: HostRun, entries: list[Undo]) -> None:
    """A step turned out to have changed nothing: there is nothing to undo."""
    host.undo = [entry for entry in host.undo if entry not in entries]
    for entry in entries:
        forget(play, host, entry)


def forget(play: Stage, host: HostRun, entry: Undo) -> None:
    """Drop what was kept for an entry, unless a last part still needs it."""
    step = reversal_in(entry)
    tool = play.run.tools.find(step.tool) if step else None
    if tool is not None and tool.undo is not None and (entry.last or tool.undo.finish is None):
        _drop(play, host, entry, lambda way: way.forget)


def expire(play: Stage, host: HostRun) -> None:
    """The run has ended well on this host: what older runs kept there may go."""
    seen = set()
    for entry in host.undo:
        step = reversal_in(entry)
        key = (step.delegate_to, step.become, (step.undoes or {}).get("app")) if step else None
        if step is not None and key not in seen:
            seen.add(key)
            _drop(play, host, entry, lambda way: way.expire)


def reversal_in(entry: Undo) -> Step | None:
    """The step that undoes another one by its tool; None for handlers that were written down."""
    first = entry.nodes[0] if len(entry.nodes) == 1 else None
    return first if isinstance(first, Step) and first.undoes is not None else None


def record_in(entry: Undo) -> dict[str, Any] | None:
    """What was recorded before the step that an entry undoes; None for handlers that were written down."""
    step = reversal_in(entry)
    return {name: value for name, value in (step.undoes or {}).items() if name != FINISH} if step else None


def _drop(
    play: Stage, host: HostRun, entry: Undo, what: Callable[[Way], Callable[[Any, Mapping[str, Any]], None]]
) -> None:
    step = reversal_in(entry)
    tool = play.run.tools.find(step.tool) if step else None
    if step is None or tool is None or tool.undo is None:
        return
    try:
        templar = Templar(host.variables.view(play.variables, step, entry.frame.params))
        road = reach.road(play.run, host, step, templar, False, reach.delegate(step, templar))
        what(tool.undo)(road, step.undoes or {})
    except IkomaError as error:
        title = step.title.removeprefix(TITLE).removesuffix(LAST)
        play.run.warn(f"what was kept to undo {title} stays: {error.message}")
