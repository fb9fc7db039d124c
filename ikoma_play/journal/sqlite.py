"""The journal in a file of its own."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import JournalError
from .store import Change, Row, missing, outdated, statements

PATIENCE = 10.0  # seconds that a writer waits for another


class SqliteStore:
    """SQLite with a write-ahead log, which readers do not disturb."""

    def __init__(self, path: Path, create: bool = True) -> None:
        self.path = path
        self._told = _Told(self)
        self._settling = threading.Lock()
        self._written = self._settled = 0  # what `begin` wrote, and how much of that the disk has
        self._log = -1
        if not path.exists() and not create:
            raise JournalError(f"there is no journal {path}", remedy="It begins with the first run.")
        with self._told:
            path.parent.mkdir(parents=True, exist_ok=True)
            # A file that others may read would tell them what the runs' steps said.
            path.touch(0o600)
            self._connection = sqlite3.connect(path, PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            with self._told:
                self._prepare()
        except BaseException:
            self._connection.close()
            raise
        self._durable = True

    def _prepare(self) -> None:
        run = self._connection.execute
        self._connection.row_factory = sqlite3.Row
        self._connection.create_function("journal_clock", 0, time.time)
        run("PRAGMA foreign_keys = ON")
        run("PRAGMA synchronous = FULL")
        self._keep_a_log()
        if outdated(run("PRAGMA user_version").fetchone()[0], f"the journal {self.path}"):
            with self._transaction():
                for number, texts in missing(run("PRAGMA user_version").fetchone()[0]):
                    for text in texts:
                        run(text)
                    run(f"PRAGMA user_version = {number:d}")

    def _keep_a_log(self) -> None:
        """Switch the file to a write-ahead log. SQLite does not wait by itself for others who do the same."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                if self._connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                    self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > until:
                    raise
                time.sleep(0.01)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def write(self, *changes: Change, durable: bool = True) -> int:
        with self._told:
            if durable is not self._durable:
                self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._durable = durable
            if len(changes) == 1:  # whole by itself
                return self._carried_out(*changes[0])
            with self._transaction():
                return [self._carried_out(*change) for change in changes][-1]

    def _carried_out(self, name: str, values: Mapping[str, Any]) -> int:
        done = self._connection.execute(statements()[name], values)
        rows = done.rowcount
        done.close()
        return rows

    def begin(self, *changes: Change) -> Callable[[], None]:
        log = f"{self.path}-wal"
        if self._log < 0 and Path(log).exists():
            with self._told:
                self._log = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
        self.write(*changes, durable=self._log < 0)
        with self._told:
            self._written += 1
        return self._settle

    def _settle(self) -> None:
        """Have the disk take the log, for everybody who has begun something by now."""
        wanted = self._written
        with self._settling:
            if self._settled >= wanted or self._log < 0:
                return
            now = self._written
            try:
                os.fdatasync(self._log)
            except OSError as error:
                raise self.no_disk(error) from None
            self._settled = now

    def read(self, query: str, /, **values: Any) -> list[Row]:
        with self._told:
            return [dict(row) for row in self._connection.execute(statements()[query], values)]

    def close(self) -> None:
        self._connection.close()
        with self._settling:
            if self._log >= 0:
                os.close(self._log)
                self._log = -1

    def no_disk(self, error: OSError) -> JournalError:
        return JournalError(
            f"the journal {self.path} cannot be written: {error.strerror}",
            remedy="Make the directory writable, or set IKOMA_STATE to another journal.",
        )

    def error(self, error: sqlite3.DatabaseError) -> JournalError:
        code = getattr(error, "sqlite_errorname", "") or ""
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return JournalError(
                f"the journal {self.path} is held by another program",
                remedy="Close the program that has the file open for writing, then run again.",
            )
        if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return JournalError(
                f"the journal {self.path} is damaged: {error}",
                remedy=f"Keep what is left of it with: mv {self.path} {self.path}.damaged; then run again.",
            )
        return JournalError(
            f"the journal {self.path} cannot be used: {error}",
            remedy="See whether the disk is full or read-only, or set IKOMA_STATE to another journal.",
        )


class _Told:
    """For `with`: one at a time, and what SQLite and the file system complain of, in words."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self._one_at_a_time = threading.RLock()

    def __enter__(self) -> None:
        self._one_at_a_time.acquire()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._one_at_a_time.release()
        if isinstance(error, sqlite3.DatabaseError):
            raise self._store.error(error) from None
        if isinstance(error, OSError):
            raise self._store.no_disk(error) from None
