"""Whether a backup can be restored, found out by restoring it beside the application's database."""

from __future__ import annotations

import posixpath

from msgspec import Struct

from ..model import Progress
from . import databases, dumps
from .postgres import Server


class Contents(Struct, frozen=True):
    """What a restored dump held: rows by table, the schema named where it is not `public`."""

    rows: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.rows.values())


def check(server: Server, app: str, dump: dumps.Dump) -> Contents:
    """Restore the dump into a scratch database, count the rows of its tables, drop the scratch.

    The application's database is not touched. Raises Refused for a dump that is not what was recorded,
    StepError for one that cannot be restored.
    """
    dumps.verify(server.on, dump)
    with databases.scratch(server, app, "verify") as scratch:
        server.on.progress(Progress(f"restoring {posixpath.basename(dump.path)} into {scratch}"))
        dumps.fill(server, scratch, dump.path)
        return contents(server, scratch)


def contents(server: Server, database: str) -> Contents:
    """The rows of each table of a database, counted."""
    from psycopg import sql

    rows = {}
    for table in databases.describe(server, database).tables:
        schema, dot, name = table.partition(".")
        parts = (schema, name) if dot else ("public", table)
        with server.connect(database) as connection:
            found = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(*parts))).fetchone()
        rows[table] = int(found[0]) if found else 0
    return Contents(rows)
