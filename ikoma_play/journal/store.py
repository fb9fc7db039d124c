"""The interface to the journal's tables, their statements and their schema."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from ..errors import JournalError

HERE = Path(__file__).parent

Row = dict[str, Any]
Change = tuple[str, Mapping[str, Any]]
"""The name of a statement in queries.sql and its parameters."""


class Store(Protocol):
    """The journal's tables, for all threads of a process; several processes may share a journal.

    Every method raises JournalError when the database cannot do it."""

    def write(self, *changes: Change, durable: bool = True) -> int:
        """Carry out changes, all or none, and give how many rows the last one changed.

        `durable`: on disk when this returns, whatever then happens to power; else whatever then happens
        to this process."""

    def begin(self, *changes: Change) -> Callable[[], None]:
        """Carry out changes that are on disk only when what this returns was called; the threads that call it at
        the same moment share one wait for the disk."""

    def read(self, query: str, /, **values: Any) -> list[Row]:
        """The rows of a query."""

    def close(self) -> None: ...


class Nothing:
    """The store of a journal that there is not yet, for who only looks."""

    def write(self, *changes: Change, durable: bool = True) -> int:
        raise JournalError("there is no journal yet")

    def begin(self, *changes: Change) -> Callable[[], None]:
        raise JournalError("there is no journal yet")

    def read(self, query: str, /, **values: Any) -> list[Row]:
        return []

    def close(self) -> None:
        return


@cache
def statements() -> Mapping[str, str]:
    """The statements of queries.sql by name."""
    found: dict[str, str] = {}
    for part in re.split(r"^-- name: ", (HERE / "queries.sql").read_text("utf-8"), flags=re.MULTILINE)[1:]:
        name, _, text = part.partition("\n")
        lines = [line for line in text.splitlines() if not line.startswith("--")]
        found[name.strip()] = "\n".join(lines).strip().rstrip(";")
    return found


def migrations() -> Sequence[tuple[int, str]]:
    """The files that make the schema, in order: number and text."""
    return [(int(path.name[:3]), path.read_text("utf-8")) for path in sorted((HERE / "schema").glob("*.sql"))]


def outdated(version: int, journal: str) -> bool:
    """Whether a schema of this version lacks something. Raises JournalError where it is newer than we know."""
    newest = migrations()[-1][0]
    if version > newest:
        raise JournalError(
            f"{journal} was made by a newer ikoma-play (schema {version}, this one knows {newest})",
            remedy="Use that version, or set IKOMA_STATE to another journal.",
        )
    return version < newest


def missing(version: int) -> Iterator[tuple[int, list[str]]]:
    """What a schema of this version lacks: numbers, and the statements of each."""
    for number, text in migrations():
        if number > version:
            plain = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
            yield number, [each.strip() for each in plain.split(";") if each.strip()]
