"""Which ports that a compose project is to publish are taken, and by whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..transport.base import Transport
from . import listeners
from .engine import Engine


def taken(on: Transport, project: str, config: Mapping[str, Any], docker: Engine) -> Iterator[tuple[str, int, str]]:
    """(service, port, holder) of every port that something other than the project has."""
    published = list(docker.published())
    sockets: dict[str, list[listeners.Listener]] = {}
    for service, address, port, protocol in _published(config):
        holders = [
            (name, theirs)
            for at, number, kind, name, theirs in published
            if (number, kind) == (port, protocol) and listeners.collides(at, address)
        ]
        if any(theirs == project for _, theirs in holders):
            continue
        if holders:
            name, theirs = holders[0]
            yield service, port, f"container {name}" + (f" of {theirs}" if theirs else "")
            continue
        if protocol not in sockets:
            sockets[protocol] = listeners.listeners(on, protocol)
        for listener in sockets[protocol]:
            if listener.port == port and listeners.collides(listener.address, address):
                who = listeners.holder(on, listener)
                if not (who.startswith(("docker-proxy", "another")) and _about_to_listen(docker, project, port)):
                    yield service, port, who
                break


def _about_to_listen(docker: Engine, project: str, port: int) -> bool:
    """Whether the port is held for a container of the project: Docker opens it before it lists it, which is often
    seen of one that restarts again and again."""
    if any(number == port and theirs == project for _, number, _, _, theirs in docker.published()):
        return True
    return any(container.state == "restarting" or container.restarts for container in docker.containers(project))


def _published(config: Mapping[str, Any]) -> Iterator[tuple[str, str, int, str]]:
    """(service, address, port, protocol); a range of which any port may be taken is left to Docker."""
    for name, service in (config.get("services") or {}).items():
        for port in service.get("ports") or ():
            published = str(port.get("published") or "")
            if published.isdigit():
                yield name, port.get("host_ip", ""), int(published), port.get("protocol", "tcp")
