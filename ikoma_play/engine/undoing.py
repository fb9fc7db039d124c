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
from .reversal import TITLE, reversal
from .stage import Stage


def remember(play: Stage, host: HostRun, step: Step, frame: Frame, recorded: Mapping[str, Any]) -> Undo:
    """Put what was recorded of a step among what is undone on its host."""
    inside = Frame(frame.params, "rollback", keep=dict(host.variables.results))
    nodes, files = (reversal(step, recorded),), host.variables.files
    entry = Undo(play, nodes, inside, step.position, step.title, files, touched=True)
    host.undo.append(entry)
    return entry


def unchanged(play: Stage, host: HostRun, entries: list[Undo]) -> None:
    """A step turned out to have changed nothing: there is nothing to undo."""
    host.undo = [entry for entry in host.undo if entry not in entries]
    for entry in entries:
        forget(play, host, entry)


def forget(play: Stage, host: HostRun, entry: Undo) -> None:
    """Drop what was kept for an entry."""
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


def _drop(
    play: Stage, host: HostRun, entry: Undo, what: Callable[[Way], Callable[[Any, Mapping[str, Any]], None]]
) -> None:
    step = reversal_in(entry)
    way = play.prepared(step).tool.undo if step else None
    if step is None or way is None:
        return
    try:
        templar = Templar(host.variables.view(play.variables, step, entry.frame.params))
        road = reach.road(play.run, host, step, templar, False, reach.delegate(step, templar))
        what(way)(road, step.undoes or {})
    except IkomaError as error:
        play.run.warn(f"what was kept to undo {step.title.removeprefix(TITLE)} stays: {error.message}")
