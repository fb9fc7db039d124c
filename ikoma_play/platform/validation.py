"""What a deploy of an application needs, checked without changing anything."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from typing import Any

from msgspec import Struct, field

from ..errors import IkomaError, Refused
from ..transport.base import Transport
from . import application, envfile
from .app_env import uses_database
from .foreseen import foreseen
from .runtime import Runtime, runtime
from .settings import settings

_NUMBER = re.compile(r"(\d+)")


class Findings(Struct):
    """`errors` stop a deploy, `warnings` do not; a sentence each."""

    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(self.notes)

    def take(self, error: IkomaError) -> None:
        self.errors.append(f"{error.message}. {error.remedy}".strip() if error.remedy else error.message)


def validate(on: Transport, app: str) -> Findings:
    """Everything that is wrong, at once; never an error for an application that is not valid."""
    found = Findings()
    try:
        folder = application.demand(on, app)
    except IkomaError as error:
        found.take(error)
        return found
    services = runtime(on)
    config = _config(services, app, found)
    if config is not None:
        if not foreseen(on, posixpath.join(folder, "src")):
            _check_builds(on, config, found)
        _check_ports(services, app, found)
    _check_env(on, app, folder, found)
    _check_migrations(on, app, folder, found)
    return found


def _config(services: Runtime, app: str, found: Findings) -> dict[str, Any] | None:
    try:
        config = services.config(app)
    except IkomaError as error:
        found.take(error)
        return None
    if not config.get("services"):
        found.errors.append(f"the compose file of {app} has no services")
    return config


def _check_builds(on: Transport, config: dict[str, Any], found: Findings) -> None:
    for name, service in config["services"].items():
        build = service.get("build") or {}
        context = build.get("context", "")
        if not context or not context.startswith("/"):
            continue
        if on.stat(context, follow=True) is None:
            found.errors.append(f"service {name} is built in {context}, which is not there. Put the source in place.")
            continue
        recipe = posixpath.join(context, build.get("dockerfile") or "Dockerfile")
        by_docker = settings(on).runtime == "compose" and "dockerfile_inline" not in build
        if by_docker and on.stat(recipe, follow=True) is None:
            found.errors.append(
                f"service {name} is built by {recipe}, which is not there. In the application's directory the code "
                "lies in src/: write context: ./src, and put the Dockerfile there (apps.source puts it in place)."
            )


def _check_ports(services: Runtime, app: str, found: Findings) -> None:
    try:
        for service, port, holder in services.ports(app):
            found.errors.append(
                f"port {port}, which service {service} publishes, is taken by {holder}. "
                "Stop what has it, or publish another one (often PORT in .env)."
            )
    except IkomaError as error:
        found.take(error)


def _check_env(on: Transport, app: str, folder: str, found: Findings) -> None:
    path = posixpath.join(folder, ".env")
    there = on.stat(path)
    if there is None:
        return
    if there.mode & 0o077:
        found.notes.append(f"{path} can be read by others (mode {there.mode:04o}); chmod 600 it")
    try:
        values = envfile.read(on, path).values
    except IkomaError:
        return  # the compose file's check has said so
    database = values.get("POSTGRES_DB")
    if database and database != app:
        found.notes.append(f"POSTGRES_DB in {path} is not {app}, the database that db.create and db.migrate use")


def _check_migrations(on: Transport, app: str, folder: str, found: Findings) -> None:
    from .migrations import MIGRATIONS, from_folder, pending, records
    from .postgres import Server

    try:
        scripts = from_folder(on, MIGRATIONS, posixpath.join(folder, "migrations"))
    except IkomaError as error:
        found.take(error)
        return
    numbered: dict[int, list[str]] = defaultdict(list)
    for script in scripts:
        if match := _NUMBER.match(script.name):
            numbered[int(match[1])].append(script.name)
        else:
            found.notes.append(f"migration {script.name} has no number in front, so its place in the order is by name")
    for number, names in sorted(numbered.items()):
        if len(names) > 1:
            found.errors.append(
                f"migrations {' and '.join(names)} have the same number {number}. Give one another number."
            )
    if not scripts or not uses_database(on, app) or Server(on).only_recorded:
        return
    try:
        with Server(on).connect() as connection:
            there = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [app]).fetchone()
        if there is None:
            return
        with Server(on).connect(app) as connection:
            applied = records(connection, MIGRATIONS)
        left = pending(MIGRATIONS, scripts, applied)
    except Refused as error:
        found.take(error)
        return
    except IkomaError as error:
        found.errors.append(
            f"the migrations cannot be compared with the database: {error.message}. {error.remedy}".strip()
        )
        return
    order = [script.name for script in scripts]
    last = max((order.index(entry.name) for entry in applied if entry.name in order), default=-1)
    for script in left:
        if order.index(script.name) < last:
            found.errors.append(
                f"migration {script.name} comes before {order[last]}, which is applied already. "
                "Give it a higher number."
            )
