"""Undoing what a host had completed: handlers in reverse order, one that fails stops no other."""

from __future__ import annotations

from typing import Any

from ..model import Block, Node, Position
from . import undoing
from .calls import Call
from .hosts import Frame, HostRun, Undo
from .outcomes import Done
from .stage import Stage


def opened(play: Stage, hosts: list[HostRun], node: Block, frame: Frame) -> list[tuple[HostRun, Undo]]:
    """Put a block's handlers below those of the steps in it: they come last when all is undone."""
    if node.rollback is None or frame.kind == "rollback":
        return []
    return [(host, open_on(play, host, node.rollback, frame, node.position, node.name)) for host in hosts]


def open_on(
    play: Stage, host: HostRun, handlers: tuple[Node, ...], frame: Frame, position: Position, title: str
) -> Undo:
    entry = Undo(play, handlers, Frame(frame.params, "rollback"), position, title, host.variables.files)
    host.undo.append(entry)
    host.open.append(entry)
    return entry


def closed(opened: list[tuple[HostRun, Undo]]) -> None:
    for host, entry in opened:
        if entry in host.open:
            host.open.remove(entry)


def undoable(call: Call, done: Done) -> None:
    """Remember how a step is undone, with the variables and the result that it has now."""
    host, step, frame = call.host, call.step, call.frame
    for entry in host.open:
        entry.touched = True
    if step.rollback is None:
        return
    result: Any = done.registered()
    kept = {**host.variables.results, **(frame.keep or {}), "result": result}
    if step.register:
        kept[step.register] = result
    inside = Frame(frame.params, "rollback", keep=kept)
    files = host.variables.files
    host.undo.append(Undo(call.play, step.rollback, inside, step.position, step.title, files, touched=True))


def undo(host: HostRun, since: int = 0) -> None:
    """Run the handlers of what the host had completed, the newest first, each as its play would have run it;
    `since` keeps older entries."""
    entries, host.undo = host.undo[since:], host.undo[:since]
    host.open = [entry for entry in host.open if entry in host.undo]
    before = host.tally.rolled_back
    due = [entry for entry in reversed(entries) if entry.touched]
    lost: list[object] = []
    for entry in sorted(due, key=lambda entry: entry.last):
        host.variables.files = entry.files
        failed = False
        for node in entry.nodes:
            failed |= bool(entry.play.walk((node,), [host], entry.frame, forced=True))
        record = undoing.record_in(entry)
        if failed:
            lost.append(record)
        elif record is not None and record not in lost:
            undoing.forget(entry.play, host, entry)
    host.undone = host.tally.rolled_back > before and not host.tally.rollback_failed
