"""Which database a URL means."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import UsageError
from .store import Store

DEFAULT = ".ikoma/journal.db"  # below the working directory, beside what the sandbox makes


def default_url() -> str:
    """`IKOMA_STATE`, else the journal of the working directory."""
    return os.environ.get("IKOMA_STATE") or f"sqlite:{DEFAULT}"


def open_store(url: str, create: bool = True) -> Store:
    """Open a journal, `sqlite:PATH` or `postgresql://…`, and bring its schema up to date.

    `create` False leaves a file that is not there unmade. Raises JournalError, UsageError for another URL."""
    if url.startswith("sqlite:"):
        from .sqlite import SqliteStore

        return SqliteStore(Path(url.removeprefix("sqlite:")), create)
    if url.startswith(("postgresql://", "postgres://")):
        from .postgres import PostgresStore

        return PostgresStore(url)
    kind = url.partition(":")[0]
    raise UsageError(
        f"IKOMA_STATE begins with {kind!r}, which names no kind of journal",
        remedy="Set it to sqlite:PATH or postgresql://USER@HOST/DATABASE.",
    )
