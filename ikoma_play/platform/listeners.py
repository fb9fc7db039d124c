"""Which ports of a host are taken, and by whom: read from /proc, so that nothing need be installed there."""

from __future__ import annotations

import contextlib
import ipaddress
import posixpath
import re
from collections.abc import Iterator

from msgspec import Struct

from ..errors import StepError
from ..model import Command
from ..transport.base import Transport

_TABLES = {"tcp": ("/proc/net/tcp", "/proc/net/tcp6"), "udp": ("/proc/net/udp", "/proc/net/udp6")}
_WAITING = {"tcp": "0A", "udp": "07"}  # a listening socket's state in these tables
_WILDCARDS = ("", "0.0.0.0", "::")


class Listener(Struct, frozen=True):
    """A socket that takes connections. `inode` finds the process that has it."""

    address: str
    port: int
    inode: str


def listeners(on: Transport, protocol: str = "tcp") -> list[Listener]:
    """Every listening socket of the host; [] where it has no /proc."""
    found = []
    for table in _TABLES.get(protocol, ()):
        try:
            text = on.read(table).decode("ascii", "replace")
        except StepError:
            continue
        found += list(_parse(text, _WAITING[protocol]))
    return found


def collides(one: str, other: str) -> bool:
    """Whether two sockets on one port and these addresses get in each other's way."""
    return one in _WILDCARDS or other in _WILDCARDS or one == other


def holder(on: Transport, listener: Listener) -> str:
    """The process that has the socket, `nginx (process 123)`; a general word where that is not to be seen."""
    argv = ("find", "/proc", "-maxdepth", "3", "-path", "/proc/[0-9]*/fd/*")
    wanted = ("-lname", f"socket:[[]{listener.inode}[]]")
    paths = on.run(Command((*argv, *wanted), changes=False, timeout=20)).text.split("\n")
    if match := re.match(r"/proc/(\d+)/", paths[0]):
        with contextlib.suppress(StepError):  # it has gone meanwhile
            name = on.read(posixpath.join("/proc", match[1], "comm")).decode("utf-8", "replace").strip()
            return f"{name} (process {match[1]})"
    return "another process"


def _parse(text: str, waiting: str) -> Iterator[Listener]:
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) > 9 and words[3] == waiting:
            address, _, port = words[1].partition(":")
            yield Listener(_address(address), int(port, 16), words[9])


def _address(text: str) -> str:
    """The kernel prints each group of four bytes in the machine's own order, here little-endian."""
    raw = b"".join(bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8))
    address = ipaddress.ip_address(raw)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
