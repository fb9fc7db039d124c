"""Undoing what a host had completed: handlers in reverse order, one that fails stops no other."""

from __future__ import annotations

from ..model import Block, Node, Position
from . import undoing
from .hosts import Frame, HostRun, Undo
from .stage import Stage


def opened(hosts: list[HostRun], node: Block, frame: Frame) -> list[tuple[HostRun, Undo]]:
    """Put a block's handlers below those of the steps in it: they come last when all is undone."""
    if node.rollback is None or frame.kind == "rollback":
        return []
    return [(host, open_on(host, node.rollback, frame, node.position, node.name)) for host in hosts]


def open_on(host: HostRun, handlers: tuple[Node, ...], frame: Frame, position: Position, title: str) -> Undo:
    entry = Undo(handlers, Frame(frame.params, "rollback"), position, title)
    host.undo.append(entry)
    host.open.append(entry)
    return entry


def closed(opened: list[tuple[HostRun, Undo]]) -> None:
    for host, entry in opened:
        if entry in host.open:
            host.open.remove(entry)


def undo(play: Stage, host: HostRun, since: int = 0) -> None:
    """Run the handlers of what the host had completed, the newest first; `since` keeps older entries."""
    entries, host.undo = host.undo[since:], host.undo[:since]
    host.open = [entry for entry in host.open if entry in host.undo]
    before = host.tally.rolled_back
    for entry in reversed(entries):
        if not entry.touched:
            continue
        failed = False
        for node in entry.nodes:
            failed |= bool(play.walk((node,), [host], entry.frame, forced=True))
        if undoing.reversal_in(entry) and not failed:
            undoing.forget(play, host, entry)
    host.undone = host.tally.rolled_back > before and not host.tally.rollback_failed
