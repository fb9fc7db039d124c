"""Migrations and seeds of an application: SQL files applied once, in order, and remembered with their checksums.

What was applied is written into the schema `ikoma_records` of the application's own database, in the transaction that
applied it: the record and the change stand or fall together, and a dump carries both.
"""

from __future__ import annotations

import contextlib
import hashlib
import posixpath
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ..errors import Refused, StepError
from ..model import Position, Progress
from ..transport.base import Transport
from .databases import OURS
from .postgres import Server, sql_failure
from .sql_statements import Statement, split

if TYPE_CHECKING:
    import psycopg

WITHOUT_TRANSACTION = re.compile(r"\A\s*--\s*ikoma:\s*no-transaction\b", re.IGNORECASE)
# What stands below such a line undoes what stands above it, and is not applied.
_WAY_BACK = re.compile(r"^--[ \t]*rollback[ \t]*$", re.IGNORECASE | re.MULTILINE)
# Any number will do, as long as it is the same in every runner and nobody else's.
_LOCK = 0x696B6F6D61
_SETS_TRANSACTION = frozenset({"BEGIN", "COMMIT", "ROLLBACK", "END", "ABORT", "START", "PREPARE"})


class Script(Struct, frozen=True):
    """An SQL text with a name; `path` is its file on the host, "" where it came as an argument; `down` is the file
    that undoes it, "" where there is none beside."""

    name: str
    text: str
    sha256: str
    path: str = ""
    down: str = ""

    @property
    def up(self) -> str:
        """What is applied: all of the text, or what stands above a line `-- rollback`."""
        return _WAY_BACK.split(self.text, maxsplit=1)[0]

    @property
    def way_back(self) -> str:
        """The section below a line `-- rollback`, "" where there is none."""
        return "".join(_WAY_BACK.split(self.text, maxsplit=1)[1:]).strip()

    @property
    def transactional(self) -> bool:
        return not WITHOUT_TRANSACTION.match(self.text)


class Record(Struct, frozen=True):
    """One that was applied; `at` is an ISO time."""

    name: str
    sha256: str
    at: str


class Kind(Struct, frozen=True):
    """Migrations or seeds. A seed file that changed is a new seed; a migration that changed is a fault."""

    word: str
    table: str
    folder: str
    fixed: bool


MIGRATIONS = Kind("migration", "migrations", "migrations", True)
SEEDS = Kind("seed", "seeds", "seeds", False)


def from_text(kind: Kind, text: str, files: Sequence[Script] = ()) -> Script:
    """A script given as text. It is a file's where it says the same: shells drop the last line break."""
    for script in files:
        if script.text.strip() == text.strip():
            return script
    checksum = _checksum(text.strip())
    return Script(f"sql-{checksum[:12]}", text, checksum)


def from_folder(on: Transport, kind: Kind, folder: str) -> list[Script]:
    """The files *.sql of a folder in the order of the numbers in their names; *.down.sql are not for going up.

    Raises StepError for a file that is not UTF-8 text."""
    scripts = []
    entries = on.scan(folder)
    paths = {entry.path for entry in entries}
    for entry in entries:
        name = posixpath.basename(entry.path)
        if entry.kind not in ("file", "link") or not name.endswith(".sql") or name.endswith(".down.sql"):
            continue
        data = on.read(entry.path)
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise StepError(
                f"{entry.path} is not UTF-8 text (byte {error.start + 1})",
                remedy="Save the file as UTF-8.",
                position=Position(entry.path, data[: error.start].count(b"\n") + 1),
            ) from None
        if "\0" in text:
            raise StepError(f"{entry.path} holds a null byte, which SQL cannot", remedy="Save the file as UTF-8.")
        down = f"{entry.path.removesuffix('.sql')}.down.sql"
        found = down if down in paths else ""
        scripts.append(Script(name, text, hashlib.sha256(data).hexdigest(), entry.path, found))
    return sorted(scripts, key=lambda script: _order(script.name))


def records(connection: psycopg.Connection[Any], kind: Kind) -> list[Record]:
    """What was applied, oldest first."""
    from psycopg import sql

    if not prepared(connection, kind):
        return []
    rows = connection.execute(
        sql.SQL(
            "SELECT name, sha256, to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
            " FROM {} ORDER BY number"
        ).format(sql.Identifier(OURS, kind.table))
    )
    return [Record(*row) for row in rows]


def relevant(applied: Sequence[Record], scripts: Sequence[Script], *, whole: bool) -> list[Record]:
    """The records that these scripts are to be held against: all, or those of the same names."""
    names = {script.name for script in scripts}
    return [record for record in applied if whole or record.name in names]


def pending(kind: Kind, scripts: Sequence[Script], applied: Sequence[Record]) -> list[Script]:
    """The scripts that the database has not had, in order.

    Raises Refused naming every applied migration whose file changed or is gone."""
    had = {record.name: record for record in applied}
    if not kind.fixed:
        seen = {(record.name, record.sha256) for record in applied}
        return [script for script in scripts if (script.name, script.sha256) not in seen]
    there = {script.name: script for script in scripts}
    changed = [name for name in had if name in there and there[name].sha256 != had[name].sha256]
    gone = [name for name in had if name not in there and not name.startswith("sql-")]
    if changed or gone:
        parts = [f"{' and '.join(changed)} changed after it was applied"] if changed else []
        parts += [f"{' and '.join(gone)} was applied and its file is gone"] if gone else []
        raise Refused(
            f"nothing was applied: {'; '.join(parts)}",
            remedy="Put the old files back as they were, and write what is to change as a new migration.",
            evidence="\n".join(
                f"{name}: applied {had[name].at} with sha256 {had[name].sha256}"
                + (f", the file has {there[name].sha256}" if name in there else "")
                for name in (*changed, *gone)
            ),
        )
    return [script for script in scripts if script.name not in had]


def take_back(server: Server, app: str, kind: Kind, ways: Sequence[Script]) -> None:
    """Run the SQL that undoes scripts, in the order given, each in a transaction that also takes its record out;
    `name` is that of what is undone. Raises StepError; nothing of the one that fails stays."""
    from psycopg import sql

    with server.connect(app) as connection, _one_runner(connection):
        table = sql.Identifier(OURS, kind.table)
        for script in ways:
            with connection.transaction():
                for statement in _statements(script):
                    _execute(connection, script, statement)
                connection.execute("RESET ROLE")
                connection.execute("RESET ALL")
                connection.execute(sql.SQL("DELETE FROM {} WHERE name = %s").format(table), [script.name])
                connection.execute(
                    sql.SQL(
                        "SELECT setval(pg_get_serial_sequence(%s, 'number'), coalesce(max(number), 1),"
                        " max(number) IS NOT NULL) FROM {}"
                    ).format(table),
                    [f"{OURS}.{kind.table}"],
                )


def prepared(connection: psycopg.Connection[Any], kind: Kind) -> bool:
    """Whether the database has the table of our records."""
    return connection.execute("SELECT to_regclass(%s)", [f"{OURS}.{kind.table}"]).fetchone() != (None,)


def tidy(server: Server, app: str, kind: Kind) -> None:
    """Remove the table of our records, and its schema when nothing else is in it, where no record is left."""
    from psycopg import errors, sql

    with server.connect(app) as connection:
        if prepared(connection, kind) and not records(connection, kind):
            connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(OURS, kind.table)))
            with contextlib.suppress(errors.DependentObjectsStillExist):
                connection.execute(sql.SQL("DROP SCHEMA {}").format(sql.Identifier(OURS)))


def apply(server: Server, app: str, kind: Kind, scripts: Sequence[Script], *, whole: bool = True) -> list[str]:
    """Apply what the database has not had; the names of what was applied now.

    Each script runs in a transaction of its own together with its record; of one that fails nothing stays and
    none after it runs. Other runners wait meanwhile and then find nothing left to do. `whole`: the scripts
    are all there are, so that one that is missing among them is a fault."""
    done: list[str] = []
    with server.connect(app) as connection, _one_runner(connection):
        _prepare(connection, kind)
        todo = pending(kind, scripts, relevant(records(connection, kind), scripts, whole=whole))
        for count, script in enumerate(todo):
            server.on.progress(Progress(f"{kind.word} {script.name}", count, len(todo)))
            _apply_one(connection, kind, script)
            done.append(script.name)
    return done


# --- how ---


@contextmanager
def _one_runner(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Held by one session of the database at a time; PostgreSQL lets go of it when the session ends.

    Asks again and again: one that waits inside a statement would block CREATE INDEX CONCURRENTLY for ever."""
    while connection.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK]).fetchone() != (True,):
        time.sleep(0.05)
    try:
        yield
    finally:
        if not connection.broken:
            connection.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])


def _prepare(connection: psycopg.Connection[Any], kind: Kind) -> None:
    from psycopg import sql

    table = sql.Identifier(OURS, kind.table)
    connection.execute(sql.SQL("SET client_min_messages = warning"))
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(OURS)))
    connection.execute(
        sql.SQL(
            "CREATE TABLE IF NOT EXISTS {} (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
            " name text NOT NULL, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        ).format(table)
    )
    connection.execute("RESET client_min_messages")


def _apply_one(connection: psycopg.Connection[Any], kind: Kind, script: Script) -> None:
    import psycopg

    statements = _statements(script)
    if not script.transactional:
        for statement in statements:
            _execute(connection, script, statement)
        _record(connection, kind, script)
        return
    try:
        with connection.transaction():
            for statement in statements:
                _execute(connection, script, statement)
            # What the script set (role, search_path) is not for the record and the next script.
            connection.execute("RESET ROLE")
            connection.execute("RESET ALL")
            _record(connection, kind, script)
    except psycopg.Error as error:  # a constraint that is checked at the end
        raise _failed(script, sql_failure(error, script.name), 1) from None


def _statements(script: Script) -> list[Statement]:
    statements = split(script.up)
    if not script.transactional:
        return statements
    if len(statements) > 1 and statements[0].words[:1] == ("BEGIN",) and statements[-1].words[:1] in (
        ("COMMIT",), ("END",),
    ):  # fmt: skip
        statements = statements[1:-1]
    for statement in statements:
        word = statement.words[0] if statement.words else ""
        if word not in _SETS_TRANSACTION or statement.words == ("ROLLBACK", "TO"):
            continue
        if word == "PREPARE" and statement.words[1:] != ("TRANSACTION",):
            continue
        raise StepError(
            f"{script.name}, line {statement.line}: {word} in the middle of a file that runs in one transaction",
            remedy="Take it out, or split the file; a file that cannot run in a transaction says so in its first "
            "line: -- ikoma: no-transaction",
            position=_position(script, statement.line),
        )
    return statements


def _execute(connection: psycopg.Connection[Any], script: Script, statement: Statement) -> None:
    import psycopg

    try:
        connection.execute(statement.text.encode())
    except psycopg.Error as error:
        position = int(error.diag.statement_position or 0)
        line = statement.line_at(position) if position else statement.line
        place = f"{script.name}, line {line}"
        excerpt = statement.text if len(statement.text) < 400 else statement.text[:400] + " …"
        raise _failed(script, sql_failure(error, place), line, f"SQL state {error.sqlstate}", excerpt) from None


def _failed(script: Script, failure: StepError, line: int, *evidence: str) -> StepError:
    """The failure with what became of the rest of the file."""
    if script.transactional:
        rest = "nothing of this file was applied"
    else:
        rest = "what stands before it in the file was applied, since it runs in no transaction"
    return type(failure)(
        f"{failure.message}; {rest}",
        remedy=failure.remedy or f"Correct {script.path or 'the SQL'} and run it again.",
        evidence="\n".join(filter(None, (failure.evidence, *evidence))),
        position=_position(script, line),
    )


def _record(connection: psycopg.Connection[Any], kind: Kind, script: Script) -> None:
    from psycopg import sql

    connection.execute(
        sql.SQL("INSERT INTO {} (name, sha256) VALUES (%s, %s)").format(sql.Identifier(OURS, kind.table)),
        [script.name, script.sha256],
    )


def _position(script: Script, line: int) -> Position | None:
    return Position(script.path, line) if script.path else None


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _order(name: str) -> list[tuple[int, int, str]]:
    """2_b before 10_a: numbers count as numbers."""
    return [(0, int(part), part) if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]
