"""Databases of applications: there or not, made, described, dropped."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterator

from msgspec import Struct

from ..errors import IkomaError
from .postgres import LONGEST_NAME, Server, database_name

_SCRATCH = "scratch database of ikoma-play"  # the comment on one, so that nothing else is ever taken for one
_PURPOSES = ("verify", "restore", "rehearse", "undo")
# By its name, so that a maker's death frees it with the connection.
_TRY_LOCK = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
OURS = "ikoma_records"  # our own schema in it; never a user's name, which PostgreSQL would prefer to `public`


class Description(Struct, frozen=True):
    """A database as it is now; `size` in bytes; `tables` are names, with the schema where it is not `public`."""

    name: str
    exists: bool
    size: int = 0
    tables: tuple[str, ...] = ()


def exists(server: Server, app: str) -> bool:
    with server.connect() as connection:
        return connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [app]).fetchone() is not None


def create(server: Server, app: str) -> bool:
    """Make the application's database; True when it was not there."""
    from psycopg import errors, sql

    name = database_name(app)
    if exists(server, name):
        return False
    with server.connect() as connection:
        try:
            connection.execute(
                sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0").format(sql.Identifier(name))
            )
        except (errors.DuplicateDatabase, errors.UniqueViolation):  # another runner was quicker
            return False
    return True


@contextlib.contextmanager
def scratch(server: Server, app: str, purpose: str) -> Iterator[str]:
    """An empty database beside the application's for the length of a block; then it is dropped, unless it was
    given another name. What makers that were killed have left is dropped first."""
    from psycopg import sql

    sweep(server, app)
    name = f"{app[: LONGEST_NAME - 18]}_{purpose}_{secrets.token_hex(4)}"
    with server.connect() as holder:
        holder.execute(_TRY_LOCK, [name])
        create(server, name)
        try:
            holder.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), _SCRATCH))
            yield name
        except BaseException:
            with contextlib.suppress(IkomaError):  # a server that is gone cannot drop it; the next one sweeps
                drop(server, name)
            raise
        drop(server, name)


def sweep(server: Server, app: str) -> list[str]:
    """Drop the application's scratch databases whose makers are gone; their names. The server may have created one
    when its maker had been killed already: that has no comment at all."""
    from psycopg import sql

    pattern = rf"^{re.escape(app[: LONGEST_NAME - 18])}_({'|'.join(_PURPOSES)})_[0-9a-f]{{8}}$"
    dropped = []
    with server.connect() as connection:
        found = connection.execute(
            "SELECT datname FROM pg_database WHERE datname ~ %s"
            " AND coalesce(shobj_description(oid, 'pg_database'), %s) = %s",
            [pattern, _SCRATCH, _SCRATCH],
        ).fetchall()
        for (name,) in found:
            free = connection.execute(_TRY_LOCK, [name]).fetchone()
            if free and free[0]:
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
                dropped.append(name)
    return dropped


def drop(server: Server, app: str) -> bool:
    """Send every client of the database away and drop it; True when it was there."""
    from psycopg import sql

    if not exists(server, app):
        return False
    with server.connect() as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(app)))
    return True


def named_after(server: Server, app: str) -> list[str]:
    """The databases that were the application's until another took their place, oldest first."""
    return present_and_former(server, app)[1]


def present_and_former(server: Server, app: str) -> tuple[bool, list[str]]:
    """Whether the application has a database, and `named_after`."""
    query = "SELECT datname FROM pg_database WHERE datname = %s OR starts_with(datname, %s) ORDER BY datname"
    with server.connect() as connection:
        names = [name for (name,) in connection.execute(query, [app, f"{app[:36]}_before_"])]
    return app in names, [name for name in names if name != app]


def comment(server: Server, name: str) -> str:
    """The comment on a database, "" where there is neither."""
    query = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
    with server.connect() as connection:
        found = connection.execute(query, [name]).fetchone()
    return str(found[0] or "") if found else ""


def describe(server: Server, app: str) -> Description:
    if not exists(server, app):
        return Description(app, False)
    with server.connect(app) as connection:
        rows = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema', %s)"
            " AND schemaname NOT LIKE 'pg\\_t%%' ORDER BY schemaname <> 'public', schemaname, tablename",
            [OURS],
        ).fetchall()
        size = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    tables = tuple(table if schema == "public" else f"{schema}.{table}" for schema, table in rows)
    return Description(app, True, int(size[0]) if size else 0, tables)
