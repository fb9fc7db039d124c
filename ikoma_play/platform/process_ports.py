"""Ports that services are to listen on and that something else has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..transport.base import Transport
from . import listeners, sandbox
from .process_plan import Plan, Port


def taken(on: Transport, root: Path, plans: Sequence[Plan], program: str) -> Iterator[tuple[str, Port, str]]:
    """(service, port, holder) of every port that is not free for its service; `program` is the prefix of the
    application's own programs, which may hold them: they are about to be replaced."""
    wanted = [(plan.service, port) for plan in plans for port in plan.ports]
    owners: dict[str, str] | None = None
    for protocol in sorted({port.protocol for _, port in wanted}):
        found = listeners.listeners(on, protocol)
        for service, port in wanted:
            for listener in found:
                if port.protocol != protocol or listener.port != port.number:
                    continue
                if not listeners.collides(_plain(port.host), listener.address):
                    continue
                owners = _owners(root) if owners is None else owners
                owner = owners.get(listener.inode, "")
                if owner.startswith(program):
                    continue
                yield service, port, _said(on, listener, owner)
                break


def _plain(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host


def _said(on: Transport, listener: listeners.Listener, owner: str) -> str:
    holder = listeners.holder(on, listener)
    app, _, service = owner.partition(".")
    if not owner:
        return holder
    return f"service {service} of application {app}" if service else f"the sandbox's {owner}" + f", {holder}"


def _owners(root: Path) -> dict[str, str]:
    """Sockets of the sandbox's processes: inode → the program that they belong to."""
    found = {}
    for pid in sandbox.processes([root]):
        name = sandbox.environment_of(pid).get(sandbox.PROGRAM, "")
        try:
            links = [entry.readlink().name for entry in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            continue
        for link in links:
            if name and link.startswith("socket:["):
                found[link[8:-1]] = name
    return found
