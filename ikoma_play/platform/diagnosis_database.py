"""Why an application does not reach its database."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from msgspec.structs import replace

from ..errors import IkomaError, StepError
from ..transport.base import Transport
from . import app_env, databases, envfile
from .app_env import LOOPBACK, URL
from .causes import DATABASE, Cause, of_error
from .postgres import Address, Server
from .runtime import runtime
from .settings import settings

FIX = "fix-database"
_WHO = """SELECT coalesce(nullif(application_name, ''), 'a client'), usename, datname, count(*), max(state)
  FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1, 2, 3 ORDER BY 4 DESC LIMIT 5"""


class _AsApplication(Server):
    """The server as the application finds it: by its own coordinates."""

    def __init__(self, on: Transport, address: Address) -> None:
        super().__init__(on)
        self.__dict__["address"] = address

    def _moved(self) -> bool:
        return False


def causes(on: Transport, app: str) -> Iterator[Cause]:
    """What is wrong between the application and PostgreSQL; nothing where it uses no database."""
    if not app_env.uses_database(on, app):
        return
    server = Server(on)
    try:
        with server.connect() as connection:
            limits = list(_limits(connection))
        exists = databases.exists(server, app)
    except IkomaError as error:
        yield _no_server(error)
        return
    yield from limits
    told = coordinates(on, app)
    if not exists and told.get("POSTGRES_DB", app) == app:
        yield _missing(app, server)
    elif told and not limits:
        yield from _as_application(on, app, server, told)


def coordinates(on: Transport, app: str) -> dict[str, str]:
    """What the application's services are told about PostgreSQL, by the names that `.env` has; {} for nothing."""
    try:
        told = dict(envfile.read(on, settings(on).app(app, ".env")).values)
    except StepError:
        told = {}
    try:
        services: Mapping[str, Any] = runtime(on).config(app)["services"]  # type: ignore[assignment]
    except (IkomaError, KeyError):
        services = {}
    for service in services.values():
        given = service.get("environment") or {}
        told |= {name: str(value) for name, value in given.items() if value is not None}
    found = {name: told[name] for name in app_env.COORDINATES if told.get(name)}
    if not found and told.get(URL):
        found = _from_url(told[URL])
    # Without a host it may be another database's name that is told.
    return found if "POSTGRES_HOST" in found or "POSTGRES_PASSWORD" in found else {}


# --- the server itself ---


def _no_server(error: IkomaError) -> Cause:
    said = f"{error.message} {error.evidence}"
    if re.search(r"password authentication failed|no password supplied", said):
        return of_error(DATABASE, "database-password", error)
    if "pg_hba.conf" in said:
        return of_error(DATABASE, "database-settings", error)
    if re.search(r"too many|remaining connection slots|no free connection", said):
        return of_error(DATABASE, "database-connections", error, FIX)
    return of_error(DATABASE, "database-server-down", error, FIX)


def _limits(connection: Any) -> Iterator[Cause]:
    """The server's limit, and those of single databases and users; we may be in by the superuser's reserve."""
    most, reserved, used = connection.execute(
        "SELECT current_setting('max_connections')::int, current_setting('superuser_reserved_connections')::int,"
        " (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())"
    ).fetchone()
    full = [f"all {most - reserved} connections of PostgreSQL are taken ({used})"] if used >= most - reserved else []
    full += [
        f"all {most} connections of {kind} {name} are taken"
        for kind, name, most in connection.execute(
            "SELECT 'database', datname, datconnlimit FROM pg_database d WHERE datconnlimit >= 0 AND datallowconn AND"
            " (SELECT count(*) FROM pg_stat_activity a WHERE a.datid = d.oid) >= datconnlimit"
            " UNION ALL SELECT 'user', rolname, rolconnlimit FROM pg_roles r WHERE rolconnlimit >= 0 AND rolcanlogin"
            " AND (SELECT count(*) FROM pg_stat_activity a WHERE a.usesysid = r.oid) >= rolconnlimit"
        ).fetchall()
    ]
    if not full:
        return
    who = connection.execute(_WHO).fetchall()
    yield Cause(
        DATABASE,
        "database-connections",
        "; ".join(full),
        "Restart what holds them (deploy.restart), give the application a smaller pool, or raise max_connections.",
        "\n".join(f"{count} by {name} as {user} in {database} ({state})" for name, user, database, count, state in who),
        fix=FIX,
    )


def _missing(app: str, server: Server) -> Cause:
    return Cause(
        DATABASE,
        "database-missing",
        f"PostgreSQL answers on {server.address.place}, but has no database {app}",
        "Make it, from the newest backup where there is one: ikoma-play run fix-database",
        f"pg_database on {server.address.place} does not list {app}",
        fix=FIX,
    )


# --- the application's way to it ---


def _as_application(on: Transport, app: str, server: Server, told: Mapping[str, str]) -> Iterator[Cause]:
    ours, own = server.coordinates(app), _services(on, app)
    host = told.get("POSTGRES_HOST", ours["POSTGRES_HOST"])
    if host in own:
        return  # a database of its own, beside the platform's
    port = told.get("POSTGRES_PORT", ours["POSTGRES_PORT"])
    wrong = _differing(told, ours)
    if settings(on).runtime == "compose" and host in LOOPBACK and not _on_host_network(own):
        yield _settings(
            app,
            {"POSTGRES_HOST": (host, server.address.said or "postgres")},
            "inside a container that is the container itself",
        )
        return
    if not port.isdigit():
        yield _settings(app, {"POSTGRES_PORT": (port, ours["POSTGRES_PORT"])}, f"{port!r} is no port")
        return
    place = server.resolved(host, int(port)) if host != server.address.host else (host, int(port))
    user, password = told.get("POSTGRES_USER", ""), told.get("POSTGRES_PASSWORD", "")
    database = told.get("POSTGRES_DB", app)
    address = replace(server.address, host=place[0], port=place[1], user=user or server.address.user, password=password)
    try:
        with _AsApplication(on, address).connect(database) as connection:
            connection.execute("SELECT 1")
    except IkomaError as error:
        yield _refused(app, error, wrong, user == ours["POSTGRES_USER"])


def _differing(told: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    return {name: (told[name], ours[name]) for name in app_env.COORDINATES if name in told and told[name] != ours[name]}


def _refused(app: str, error: IkomaError, wrong: dict[str, tuple[str, str]], same_user: bool) -> Cause:
    said = f"{error.message} {error.evidence}"
    if re.search(r"too many|remaining connection slots|no free connection", said):
        return of_error(DATABASE, "database-connections", error, FIX)
    if re.search(r"password authentication failed|no password supplied", said):
        if same_user:
            return Cause(
                DATABASE,
                "database-password",
                f"PostgreSQL does not accept the POSTGRES_PASSWORD that {app} has",
                "Write the server's own into .env and recreate the services: ikoma-play run fix-database",
                error.evidence,
                fix=FIX,
            )
        return _settings(app, {name: wrong[name] for name in ("POSTGRES_USER",) if name in wrong}, error.evidence)
    if "does not exist" in said or "there is no database" in said:
        names = ("POSTGRES_DB",)
    else:
        names = ("POSTGRES_HOST", "POSTGRES_PORT")  # type: ignore[assignment]
    return _settings(app, {name: wrong[name] for name in names if name in wrong} or wrong, error.evidence or said)


def _settings(app: str, wrong: Mapping[str, tuple[str, str]], evidence: str) -> Cause:
    told = ", ".join(
        f"{name} is {have}, the server's is {want}" if name != "POSTGRES_PASSWORD" else f"{name} is another one"
        for name, (have, want) in wrong.items()
    )
    return Cause(
        DATABASE,
        "database-settings",
        f"POSTGRES_* of {app} and of the server differ: {told or 'see the evidence'}",
        "Write the server's own into .env and recreate the services: ikoma-play run fix-database",
        evidence,
        fix=FIX,
    )


def _services(on: Transport, app: str) -> Mapping[str, Any]:
    try:
        return runtime(on).config(app)["services"]  # type: ignore[return-value]
    except (IkomaError, KeyError):
        return {}


def _on_host_network(services: Mapping[str, Any]) -> bool:
    return any(service.get("network_mode") == "host" for service in services.values())


def _from_url(url: str) -> dict[str, str]:
    try:
        parts = urlsplit(url)
        port = parts.port or 5432
    except ValueError:
        return {}
    found = {
        "POSTGRES_HOST": unquote(parts.hostname or ""),
        "POSTGRES_PORT": str(port),
        "POSTGRES_DB": unquote(parts.path.lstrip("/")),
        "POSTGRES_USER": unquote(parts.username or ""),
        "POSTGRES_PASSWORD": unquote(parts.password or ""),
    }
    return {name: value for name, value in found.items() if value}
