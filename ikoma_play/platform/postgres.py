"""The PostgreSQL server of a host: where it is, how to get in, and what went wrong when we cannot."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit
from weakref import WeakKeyDictionary

from msgspec import Struct, field

from ..errors import NotFound, Refused, StepError, Unavailable
from ..model import Command
from ..transport.base import Transport
from . import envfile, postgres_embedded
from .settings import settings

if TYPE_CHECKING:
    import psycopg

EMBEDDED = "embedded"
CONNECT_TIMEOUT = 10  # seconds
LONGEST_NAME = 63  # bytes; PostgreSQL cuts longer names off without a word

# Where a server that only containers know by name was found, while the road is open: a look takes three commands.
_FOUND: WeakKeyDictionary[Transport, dict[tuple[str, int], tuple[str, int]]] = WeakKeyDictionary()


class Address(Struct, frozen=True):
    """How a server is reached from its host, and who we are there."""

    host: str
    port: int
    user: str
    password: str
    database: str = "postgres"  # where we go when it is about databases as such
    options: Mapping[str, str] = field(default_factory=dict)  # of libpq: sslmode and its kin
    said: str = ""  # the host's name as applications know it, where that is another one

    def __repr__(self) -> str:  # without the password
        return f"Address({self.user}@{self.place})"

    @property
    def place(self) -> str:
        return f"{self.host}:{self.port}"


class Server:
    """The PostgreSQL server that the host's `ikoma_postgres` or the platform's env file names.

    Making one asks nothing of the host; properties and methods do."""

    def __init__(self, on: Transport) -> None:
        self.on = on
        self.settings = settings(on)

    @property
    def embedded(self) -> bool:
        return self.settings.postgres == EMBEDDED

    @property
    def only_recorded(self) -> bool:
        """Whether, in check mode, an earlier step would have started it: then there is nothing to ask."""
        return self.on.dry and self.embedded and not postgres_embedded.Cluster(self.on).running()

    @cached_property
    def address(self) -> Address:
        """Raises StepError (a URL that is none), NotFound or Unavailable (nothing is configured)."""
        if self.embedded:
            if self.on.dry and postgres_embedded.Cluster(self.on).coordinates() is None:
                # A step that was only recorded would have made it, on a port and with a password of its own.
                return Address("127.0.0.1", 5432, postgres_embedded.USER, "still-to-be-generated")
            known = postgres_embedded.demand_coordinates(self.on)
            return Address(known.host, known.port, known.user, known.password)
        if self.settings.postgres:
            return self._from_url(self.settings.postgres)
        return self._from_env_file()

    def forget_address(self) -> None:
        """Look it up anew next time: an embedded server may have moved to another port."""
        self.__dict__.pop("address", None)

    @contextmanager
    def connect(self, database: str | None = None, autocommit: bool = True) -> Iterator[psycopg.Connection[Any]]:
        """An open connection to a database (default: the one for administration), closed afterwards.

        Raises Unavailable (not running, wrong password …), NotFound (no such database); what PostgreSQL
        says inside the block comes out as StepError, or Unavailable where the server or its disk gave up."""
        import psycopg

        with ExitStack() as way:
            try:
                connection = self._open(way, database, autocommit)
            except Unavailable:
                if not self._moved():
                    raise
                connection = self._open(way, database, autocommit)
            try:
                with connection:
                    yield connection
            except psycopg.Error as error:
                name = database if database is not None else self.address.database
                raise sql_failure(error, f"database {name} on {self.address.place}") from None

    def check(self) -> str:
        """A sentence about a server that answers. Raises as connect does."""
        with self.connect() as connection:
            version = connection.info.parameter_status("server_version")
        return f"PostgreSQL {version} answers on {self.address.place}"

    def coordinates(self, app: str) -> dict[str, str]:
        """What the application needs to reach its database, by the names its `.env` has."""
        address = self.address
        return {
            "POSTGRES_HOST": address.said or address.host,
            "POSTGRES_PORT": str(address.port),
            "POSTGRES_DB": app,
            "POSTGRES_USER": address.user,
            "POSTGRES_PASSWORD": address.password,
        }

    # --- how ---

    def _open(self, way: ExitStack, database: str | None, autocommit: bool) -> psycopg.Connection[Any]:
        import psycopg

        address = self.address
        name = database if database is not None else address.database
        host, port = way.enter_context(self.on.tunnel(address.host, address.port))
        where = _unix(host) if host.startswith("/") else {"host": host, "port": port}
        try:
            return psycopg.connect(
                user=address.user, password=address.password, dbname=name, autocommit=autocommit,
                connect_timeout=CONNECT_TIMEOUT, application_name="ikoma-play",
                **{**address.options, **where},
            )  # fmt: skip
        except psycopg.Error as error:
            raise self._no_connection(name, str(error)) from None

    def _moved(self) -> bool:
        """Whether the server is elsewhere than remembered: a container made anew has another address."""
        before = self.address
        if not _FOUND.pop(self.on, None):
            return False
        self.forget_address()
        return self.address != before

    def _from_url(self, url: str) -> Address:
        try:
            parts = urlsplit(url)
            port = parts.port or 5432
        except ValueError:
            parts, port = urlsplit(""), 0
        if parts.scheme not in ("postgresql", "postgres") or not parts.hostname:
            raise StepError(
                f"ikoma_postgres of host {self.on.host.name} is neither `embedded` nor a postgresql:// URL",
                remedy="Write postgresql://USER:PASSWORD@HOST:PORT/postgres; special characters of the password "
                "percent-encoded.",
            )
        password = unquote(parts.password or "") or self._platform_env().get("POSTGRES_PASSWORD", "")
        return Address(
            unquote(parts.hostname), port, unquote(parts.username or "postgres"), password,
            unquote(parts.path.lstrip("/")) or "postgres", dict(parse_qsl(parts.query)),
        )  # fmt: skip

    def _from_env_file(self) -> Address:
        env = self._platform_env()
        host = env.get("POSTGRES_HOST", "")
        if not host:
            raise Unavailable(
                f"host {self.on.host.name} has no PostgreSQL: ikoma_postgres is not set, and {self.settings.env_file} "
                "gives no POSTGRES_HOST",
                remedy="Set ikoma_postgres to a postgresql:// URL or to `embedded` in the inventory.",
            )
        port = env.get("POSTGRES_PORT") or "5432"
        if not port.isdigit():
            raise StepError(f"POSTGRES_PORT in {self.settings.env_file} is {port!r}", remedy="Write a port number.")
        user, password = env.get("POSTGRES_USER") or "ikoma", env.get("POSTGRES_PASSWORD", "")
        reached = self.resolved(host, int(port))
        return Address(*reached, user, password, said=host if reached[0] != host else "")

    def _platform_env(self) -> dict[str, str]:
        return envfile.read(self.on, self.settings.env_file).values

    def resolved(self, host: str, port: int) -> tuple[str, int]:
        """The way from the host to a server whose name only containers know."""
        if re.fullmatch(r"[0-9.]+|.*:.*|/.*|localhost", host):
            return host, port
        found = _FOUND.setdefault(self.on, {})
        if (host, port) not in found:
            found[host, port] = self._looked_up(host, port)
        return found[host, port]

    def _looked_up(self, host: str, port: int) -> tuple[str, int]:
        if self.on.run(Command(("getent", "hosts", host), timeout=10, changes=False)).ok:
            return host, port
        container = self._container(host)
        if container:
            look = "{{range .NetworkSettings.Networks}}{{println .IPAddress}}{{end}}"
            found = self.on.run(Command(("docker", "inspect", "-f", look, container), timeout=30, changes=False))
            for address in found.text.split() if found.ok else ():
                return address, port
        return host, port

    def _container(self, service: str) -> str:
        """The running container of the platform's compose project (or of any) that is called `service`."""
        label = "label=com.docker.compose.service=" + service
        folder = posixpath.dirname(self.settings.env_file)
        mine = "label=com.docker.compose.project.working_dir=" + folder
        if len(found := self._listed(label, mine)) == 1:
            return found[0]
        if self._listed(label, mine, stopped=True):
            return ""  # it is there and does not run: another project's is none to take in its place
        for filters in ((label,), (f"name=^/{re.escape(service)}$",), (f"publish={self._port_said()}",)):
            if len(found := self._listed(*filters)) == 1:
                return found[0]
        return ""

    def _listed(self, *filters: str, stopped: bool = False) -> list[str]:
        """The ids of containers that run, or of those that do not run as well."""
        argv = ["docker", "ps", "-aq" if stopped else "-q"]
        for one in filters:
            argv += ["--filter", one]
        found = self.on.run(Command(tuple(argv), timeout=30, changes=False))
        return found.text.split() if found.ok else []

    def container(self) -> str:
        """The container that the server runs in, "" where it runs in none that Docker knows."""
        return self._container(self.address.said or "postgres")

    def _port_said(self) -> str:
        return self._platform_env().get("POSTGRES_PORT") or "5432"

    def _no_connection(self, database: str, said: str) -> StepError:
        address = self.address
        where = f"PostgreSQL on {address.place} (host {self.on.host.name})"
        cause = " ".join(re.sub(r"^connection (failed|is bad): ", "", said.strip()).split())
        cause = cause.replace(address.password, "********") if address.password else cause
        if "password authentication failed" in cause or "no password supplied" in cause:
            return Unavailable(
                f"{where} does not accept the password of user {address.user}",
                remedy=f"Correct {self._configured_in()}; the server runs, only the password is another one.",
                evidence=cause,
            )
        if refused := re.search(r'(no pg_hba.conf entry|pg_hba.conf rejects connection) for host "([^"]+)"', cause):
            return Unavailable(
                f"{where} does not let user {address.user} in from {refused[2]}",
                remedy="The server runs: add a line for that address to its pg_hba.conf and reload it.",
                evidence=cause,
            )
        if re.search(r'database ".*" does not exist', cause):
            return NotFound(
                f"there is no database {database} on {address.place}", remedy="Create it: db.create", evidence=cause
            )
        if "too many" in cause or "remaining connection slots" in cause:
            return Unavailable(
                f"{where} has no free connection",
                remedy="Close idle clients, or raise max_connections.",
                evidence=cause,
            )
        if "Connection refused" in cause or "No such file" in cause:
            return Unavailable(f"{where} is not running", remedy=self._start_hint(), evidence=cause)
        if "not translate host name" in cause or "resolve" in cause:
            return Unavailable(
                f"the name {address.host} of the PostgreSQL server is not known on {self.on.host.name}",
                remedy=f"Correct {self._configured_in()}, or start the container of that name; it is found only where "
                "Docker answers (systemctl start docker).",
                evidence=cause,
            )
        return Unavailable(f"{where} cannot be reached", remedy=self._start_hint(), evidence=cause)

    def _configured_in(self) -> str:
        return (
            "ikoma_postgres in the inventory" if self.settings.postgres else f"POSTGRES_* in {self.settings.env_file}"
        )

    def _start_hint(self) -> str:
        if self.embedded:
            return "Start it: ikoma-play exec platform.up"
        return f"Start it (docker logs tells why a container does not), or correct {self._configured_in()}."


def known_password(on: Transport) -> str:
    """The password of the host's server as far as it is configured; "" where it is not."""
    try:
        server = Server(on)
        if server.embedded and postgres_embedded.Cluster(on).coordinates() is None:
            return ""
        return server.address.password
    except StepError:
        return ""


def database_name(app: str) -> str:
    """The application's name as a database's. Raises Refused where PostgreSQL would cut it off."""
    if len(app.encode()) > LONGEST_NAME:
        raise Refused(
            f"{app} is too long for a database: PostgreSQL's names have at most {LONGEST_NAME} bytes",
            remedy="Give the application a shorter name.",
        )
    return app


def sql_failure(error: psycopg.Error, where: str) -> StepError:
    """What PostgreSQL said about a statement, as one of our errors."""
    import psycopg

    said = error.diag.message_primary or " ".join(str(error).split())
    detail = "\n".join(filter(None, (error.diag.message_detail, error.diag.message_hint, error.diag.context)))
    if error.sqlstate == "53100" or "No space left" in said:
        return Unavailable(
            f"{where}: the disk of the PostgreSQL server is full",
            remedy="Free space there: old backups, unused images, old databases.",
            evidence=said,
        )
    lost = (error.sqlstate or "").startswith(("57P", "08"))
    if lost or (error.sqlstate is None and isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))):
        return Unavailable(f"{where}: the connection was lost", remedy="See whether the server runs.", evidence=said)
    return StepError(f"{where}: {said}", evidence=detail)


def _unix(path: str) -> dict[str, Any]:
    """libpq wants a socket's directory and the number at the end of its name."""
    folder, _, name = path.rpartition("/")
    return {"host": folder, "port": int(name.rpartition(".")[2])}
