"""How a host is reached: the transport that its variables ask for."""

from __future__ import annotations

from ..errors import Unreachable
from ..language.inventory import LOCAL_NAMES
from ..model import Host
from ..transport.base import Transport


def connection(host: Host) -> str:
    """What `ansible_connection` says; else only localhost is this machine, whatever a host is called."""
    return str(host.vars.get("ansible_connection") or ("local" if host.name in LOCAL_NAMES else "ssh"))


def connect(host: Host) -> Transport:
    """Open the road to a host whose `ansible_*` variables are rendered. Raises Unreachable."""
    wanted = connection(host)
    if wanted == "local":
        from ..transport.local import LocalTransport

        return LocalTransport(host)
    raise Unreachable(
        f"{host.name} is to be reached by {wanted}, which this version cannot do",
        remedy=f"If {host.name} is this machine, say so in the inventory: ansible_connection: local.",
    )
