"""pg_dump and psql for a host: its own where they are new enough, the wheel's, or those in the server's container.

pg_dump refuses a server that is newer than itself, so the version decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

from ..errors import Unavailable
from ..model import Command
from . import postgres_embedded
from .postgres import Server


class Programs(Struct, frozen=True):
    """How to call PostgreSQL's client programs; the password is in `env`, never in an argv."""

    env: Mapping[str, str]
    folder: str = ""  # where they lie; "" for the PATH
    prefix: tuple[str, ...] = ()  # the way into a container

    def __repr__(self) -> str:  # without the password
        return f"Programs({self.folder!r}, {self.prefix!r})"

    def argv(self, program: str, *arguments: str) -> tuple[str, ...]:
        return (*self.prefix, f"{self.folder}/{program}" if self.folder else program, *arguments)


def programs(server: Server) -> Programs:
    """Raises Unavailable where there are none, or only such that are too old."""
    with server.connect() as connection:
        needed = connection.info.server_version // 10000
    env = client_environment(server)
    found = major(server, "pg_dump")
    if found >= needed:
        return Programs(env)
    shipped = postgres_embedded.binaries()
    if server.on.local and shipped is not None and major(server, str(shipped / "pg_dump")) >= needed:
        return Programs(env, folder=str(shipped))
    container = server.container()
    if container:
        inside = {**env, "PGHOST": "127.0.0.1", "PGPORT": "5432"}
        names = [word for name in sorted(inside) for word in ("-e", name)]
        return Programs(inside, prefix=("docker", "exec", "-i", *names, container))
    what = f"pg_dump {found} is older than the server" if found else "there is no pg_dump"
    raise Unavailable(
        f"host {server.on.host.name}: {what}, PostgreSQL {needed}",
        remedy=f"Install the package postgresql-client-{needed} there.",
    )


def client_environment(server: Server) -> dict[str, str]:
    """What libpq's programs read, as seen from the host."""
    address = server.address
    env = {
        "PGHOST": address.host,
        "PGPORT": str(address.port),
        "PGUSER": address.user,
        "PGPASSWORD": address.password,
        "PGCONNECT_TIMEOUT": "10",
        "PGAPPNAME": "ikoma-play",
        "LC_ALL": "C",  # messages that we can read
    }
    return env | {f"PG{name.upper()}": value for name, value in address.options.items() if name.startswith("ssl")}


def major(server: Server, program: str) -> int:
    """The major version of a program on the host, 0 where it is not there."""
    result = server.on.run(Command((program, "--version"), timeout=30, changes=False))
    version = re.search(r"\) (\d+)", result.text) if result.ok else None
    return int(version[1]) if version else 0
