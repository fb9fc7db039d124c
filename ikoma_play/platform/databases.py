"""Databases of applications: there or not, made, described, dropped."""

from __future__ import annotations

from dataclasses import dataclass

from .postgres import Server, database_name

OURS = "ikoma_records"  # our own schema in it; never a user's name, which PostgreSQL would prefer to `public`


@dataclass(frozen=True, slots=True)
class Description:
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


def drop(server: Server, app: str) -> bool:
    """Send every client of the database away and drop it; True when it was there."""
    from psycopg import sql

    if not exists(server, app):
        return False
    with server.connect() as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(app)))
    return True


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
