"""How a host is reached: the transport that its variables ask for."""

from __future__ import annotations

from ..errors import Unreachable
from ..model import Host
from ..transport.base import Transport


def connect(host: Host) -> Transport:
    """Open the road to a host whose `ansible_*` variables are rendered. Raises Unreachable."""
    connection = host.vars.get("ansible_connection", "local")
    if connection == "local":
        from ..transport.local import LocalTransport

        return LocalTransport(host)
    raise Unreachable(
        f"{host.name} asks for the connection {connection!r}, which there is not",
        remedy="Set ansible_connection: local for this machine.",
    )
