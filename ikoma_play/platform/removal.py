"""An application taken away: a last backup, then containers, database and files."""

from __future__ import annotations

from msgspec import Struct

from ..errors import NotFound, Unavailable
from ..transport.base import Transport
from . import application, databases, dumps, release_images
from .postgres import Server
from .runtime import runtime
from .settings import settings


class Removed(Struct, frozen=True):
    """What is gone, in words; `backup` is the last dump's path. What stays: `volumes` that Docker keeps, and
    `databases` that restores put aside."""

    removed: tuple[str, ...]
    backup: str = ""
    volumes: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()


def remove(on: Transport, app: str, backup: bool) -> Removed:
    """Raises what the backup, the runtime or the database raise, before anything else is gone: a part that
    cannot be looked at is no reason to delete the others."""
    there = application.exists(on, app)
    server = _server(on)
    has_database = server is not None and databases.exists(server, app)
    kept = ""
    if has_database and server is not None and backup:
        kept = dumps.backup_path(on, app, None)
        if not on.dry:
            kept = dumps.backup(server, app, kept).path
    removed = []
    services = runtime(on)
    if services.down(app):
        removed.append("services")
    volumes = _volumes(on, app)
    if has_database and server is not None:
        if not on.dry:
            databases.drop(server, app)
        removed.append("database")
    release_images.forget_others(on, app, ())
    if there:
        on.remove(settings(on).app(app))
        removed.append("files")
    aside = databases.named_after(server, app) if has_database and server is not None else ()
    return Removed(tuple(removed), kept, volumes, tuple(aside))


def _server(on: Transport) -> Server | None:
    """The host's PostgreSQL, None where none is configured."""
    server = Server(on)
    try:
        _ = server.address
    except (NotFound, Unavailable):
        return None
    return server


def _volumes(on: Transport, app: str) -> tuple[str, ...]:
    if settings(on).runtime != "compose":
        return ()
    from .compose_cli import project_name
    from .engine import engine

    with engine(on) as docker:
        return tuple(docker.volumes(project_name(app)))
