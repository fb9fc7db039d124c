"""The entries, in the application's PostgreSQL database."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

LONGEST = {"author": 80, "place": 80, "message": 2000}


@dataclass(frozen=True)
class Entry:
    id: int
    author: str
    place: str
    message: str
    written_at: datetime.datetime


class Entries:
    """Lists and stores entries. Each call has a connection of its own, so a database that was away and came
    back needs no care. Raises psycopg.Error."""

    def __init__(self, **connection: object) -> None:
        self._connection = connection

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Entries:
        return cls(
            host=environment["POSTGRES_HOST"],
            port=int(environment.get("POSTGRES_PORT", "5432")),
            dbname=environment["POSTGRES_DB"],
            user=environment["POSTGRES_USER"],
            password=environment["POSTGRES_PASSWORD"],
        )

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(**self._connection, connect_timeout=3, application_name="guestbook")

    def count(self) -> int:
        with self._connect() as connection:
            (number,) = connection.execute("SELECT count(*) FROM entries").fetchone()
            return number

    def newest(self, limit: int = 100) -> list[Entry]:
        with self._connect() as connection, connection.cursor(row_factory=class_row(Entry)) as cursor:
            return cursor.execute(
                "SELECT id, author, place, message, written_at FROM entries ORDER BY written_at DESC, id DESC LIMIT %s",
                (limit,),
            ).fetchall()

    def add(self, author: str, place: str, message: str) -> Entry:
        with self._connect() as connection, connection.cursor(row_factory=class_row(Entry)) as cursor:
            return cursor.execute(
                "INSERT INTO entries (author, place, message) VALUES (%s, %s, %s)"
                " RETURNING id, author, place, message, written_at",
                (author, place, message),
            ).fetchone()
