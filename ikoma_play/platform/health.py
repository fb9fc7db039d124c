"""How an application really is: its services, its database, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct, field

from ..errors import IkomaError, StepError
from ..transport.base import Transport
from . import releases
from .app_env import uses_database
from .runtime import Runtime, Service, runtime

HEALTHY, UNHEALTHY, UNKNOWN = "healthy", "unhealthy", "unknown"
_PATIENCE = 5.0  # seconds for an answer of the health URL


class Health(Struct, frozen=True):
    """`docker`: every service is good; `database`: it answers (None: the application has none);
    `problems`: what is wrong, a sentence each."""

    status: str
    docker: bool
    database: bool | None
    services: tuple[Service, ...] = ()
    url: str = ""
    answer: str = ""  # what the health URL answered
    problems: tuple[str, ...] = ()
    database_exists: bool = False

    @property
    def running(self) -> bool:
        """Whether every service is there and runs, healthy or not."""
        return bool(self.services) and all(
            service.finished or service.state in ("running", "starting") for service in self.services
        )

    @property
    def details(self) -> dict[str, Any]:
        return {
            "docker": self.docker,
            "database": self.database,
            "services": {service.name: shown(service) for service in self.services},
            **({"url": self.url, "answer": self.answer} if self.url else {}),
            "problems": list(self.problems),
        }


class _Findings(Struct):
    problems: list[str] = field(default_factory=list)
    unknown: bool = False


def look(on: Transport, app: str, url: str = "", through: Runtime | None = None) -> Health:
    """Look at everything there is to see; what cannot be looked at is a problem, not an error."""
    found = _Findings()
    services = _services(through or runtime(on), app, found)
    used, exists = uses_database(on, app), False
    database: bool | None = None
    if used:
        database, exists = _database(on, app, found)
    answer = _ask(on, url, found) if url else ""
    good = bool(services) and all(service.good for service in services)
    status = UNKNOWN if found.unknown and not services else UNHEALTHY if found.problems else HEALTHY
    if all(service.state == "missing" for service in services) and releases.latest(on, app) is None:
        status = UNKNOWN  # it was never deployed
    return Health(status, good, database, tuple(services), url, answer, tuple(found.problems), exists)


def shown(service: Service) -> str:
    """One word for a service: its health where it has a check, else its state."""
    if service.finished:
        return "finished"
    return service.health if service.state == "running" and service.health != "none" else service.state


def _services(through: Runtime, app: str, found: _Findings) -> Sequence[Service]:
    try:
        services = through.services(app)
    except IkomaError as error:
        found.problems.append(error.message)
        found.unknown = True
        return ()
    for service in services:
        if not service.good:
            detail = f": {service.detail.strip().splitlines()[-1]}" if service.detail.strip() else ""
            found.problems.append(f"service {service.name} is {shown(service)}{detail}")
    return services


def _database(on: Transport, app: str, found: _Findings) -> tuple[bool, bool]:
    """Whether the application's database answers, and whether it exists."""
    from .postgres import Server

    try:
        with Server(on).connect(app) as connection:
            connection.execute("SELECT 1")
        return True, True
    except IkomaError as error:
        found.problems.append(error.message)
        return False, False


def _ask(on: Transport, url: str, found: _Findings) -> str:
    try:
        status, reason = answer(on, url)
    except StepError as error:
        found.problems.append(error.message)
        return error.message
    if not 200 <= status < 400:
        found.problems.append(f"{url} answers {status} {reason}".rstrip())
    return f"{status} {reason}".rstrip()


def answer(on: Transport, url: str) -> tuple[int, str]:
    """What a GET of the URL, asked from the host, is answered with. Raises StepError."""
    import http.client
    import ssl

    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise StepError(f"{url!r} is no http or https URL", remedy="Write http://HOST:PORT/PATH.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        with on.tunnel(parts.hostname, port) as (host, at):
            connection = http.client.HTTPConnection(host, at, timeout=_PATIENCE)
            if parts.scheme == "https":
                connection.connect()
                secure = ssl.create_default_context()
                connection.sock = secure.wrap_socket(connection.sock, server_hostname=parts.hostname)
            try:
                connection.request("GET", path, headers={"Host": parts.netloc.rpartition("@")[2]})
                response = connection.getresponse()
                return response.status, response.reason
            finally:
                connection.close()
    except (OSError, http.client.HTTPException) as error:
        raise StepError(f"{url} does not answer: {error or type(error).__name__}") from None
