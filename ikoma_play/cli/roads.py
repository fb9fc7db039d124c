"""How a host is reached: the transport that its variables ask for."""

from __future__ import annotations

from ..language.inventory import LOCAL_NAMES
from ..model import Host
from ..transport.base import Transport
from ..transport.connect import connect as road_to
from ..transport.connect import connection as connection_of


def connection(host: Host) -> str:
    """What `ansible_connection` says; else only localhost is this machine, whatever a host is called."""
    return connection_of(host, LOCAL_NAMES)


def connect(host: Host) -> Transport:
    """Open the road to a host whose `ansible_*` variables are rendered. Raises Unreachable."""
    return road_to(host, LOCAL_NAMES)
