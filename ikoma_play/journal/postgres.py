"""The journal in a PostgreSQL database, where several runners share it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import psycopg
from psycopg import rows, sql

from ..errors import JournalError
from .store import Change, Row, missing, outdated, statements

SCHEMA = "ikoma_play"
PATIENCE = 10  # seconds for connecting, and for waiting on another's lock
_CLOCK = (
    "CREATE OR REPLACE FUNCTION journal_clock() RETURNS double precision LANGUAGE sql "
    "AS 'SELECT extract(epoch FROM clock_timestamp())::double precision'"
)
LOCK = 0x696B6F6D61  # of those who bring the schema up to date: one at a time


class PostgresStore:
    """Tables in a schema of their own of the database that a URL names."""

    def __init__(self, url: str) -> None:
        self._one_at_a_time = threading.RLock()
        with self._told():
            self._connection: psycopg.Connection[Row] = psycopg.connect(
                url, autocommit=True, connect_timeout=PATIENCE, application_name="ikoma-play", row_factory=rows.dict_row
            )
        try:
            with self._told():
                self._prepare()
        except BaseException:
            self._connection.close()
            raise
        self._durable = True

    def _prepare(self) -> None:
        run = self._connection.execute
        run(sql.SQL("SET lock_timeout = {}").format(f"{PATIENCE}s"))
        run(sql.SQL("SET search_path = {}").format(sql.Identifier(SCHEMA)))
        if outdated(self._version(), "the journal"):
            with self._connection.transaction():
                run("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
                run(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(SCHEMA)))
                run("CREATE TABLE IF NOT EXISTS journal_schema (version BIGINT PRIMARY KEY)")
                run(_CLOCK)
                for number, texts in missing(self._version()):
                    for text in texts:
                        run(text.encode())
                    run("INSERT INTO journal_schema (version) VALUES (%s)", (number,))

    def _version(self) -> int:
        there = self._connection.execute("SELECT to_regclass(%s) AS it", (f"{SCHEMA}.journal_schema",)).fetchone()
        if there is None or there["it"] is None:
            return 0
        found = self._connection.execute("SELECT coalesce(max(version), 0) AS it FROM journal_schema").fetchone()
        return int(found["it"]) if found else 0

    def write(self, *changes: Change, durable: bool = True) -> int:
        rows = 0
        with self._told():
            if durable is not self._durable:
                self._connection.execute(f"SET synchronous_commit = {'on' if durable else 'off'}".encode())
                self._durable = durable
            with self._connection.transaction():
                for name, values in changes:
                    rows = self._connection.execute(_statement(name), values).rowcount
        return rows

    def begin(self, *changes: Change) -> Callable[[], None]:
        self.write(*changes)  # a session of its own would have to be asked again, which costs what it saves
        return _nothing

    def read(self, query: str, /, **values: Any) -> list[Row]:
        with self._told():
            return self._connection.execute(_statement(query), values).fetchall()

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What the server and the network complain of, in words; the URL, which holds a password, is not shown."""
        try:
            with self._one_at_a_time:
                yield
        except psycopg.Error as error:
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise JournalError(
                f"the journal's PostgreSQL does not do it: {said[0]}",
                remedy="See whether IKOMA_STATE is right and the server runs.",
                evidence="\n".join(said[1:]),
            ) from None


def _nothing() -> None:
    """Nothing is left to wait for."""


@cache
def _statement(name: str) -> bytes:
    return re.sub(r":(\w+)", r"%(\1)s", statements()[name]).encode()
