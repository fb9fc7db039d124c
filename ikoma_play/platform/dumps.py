"""Backups of an application's database: plain SQL dumps that `psql < file` restores.

    {backups_root}/NAME              the dump, for its owner only
    {backups_root}/NAME.sha256       its checksum, as sha256sum -c reads it
    {backups_root}/.ikoma/NAME.json  whose it is, when and of what server

A dump is written beside its final name, flushed and renamed: whole or not at all.
"""

from __future__ import annotations

import json
import posixpath
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from ..errors import CommandFailed, NotFound, Refused, StepError, Unavailable, last_lines
from ..model import Command, Progress, Result
from ..transport.base import Transport
from . import databases
from .postgres import LONGEST_NAME, Server, database_name
from .postgres_programs import Programs, programs
from .settings import settings

if TYPE_CHECKING:
    import psycopg

PART = ".part"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_LOST = re.compile(r"server closed the connection|terminating connection|connection to server .* (failed|was lost)")
_OURS = (PART, ".sha256")
# A dump that drops what is there first, so that it also goes into the database that it came from.
_OPTIONS = ("--format=plain", "--clean", "--if-exists", "--no-owner", "--no-privileges", "--encoding=UTF8")


class Dump(Struct, frozen=True):
    """A backup file; `sha256` is "" where none was recorded, `created_at` an ISO time."""

    path: str
    size: int
    sha256: str = ""
    created_at: str = ""
    app: str = ""
    # Those that the database had, with checksums; None: not known.
    migrations: dict[str, str] | None = None
    mark: str = ""  # the step of a run that made it


def backup_path(on: Transport, app: str, name: str | None) -> str:
    """Where a backup of that name lies; without one the application's name and the time make it, the next second that
    no backup has: unasked none is replaced.

    Raises Refused for a name that is more than a file's name."""
    folder, when = settings(on).backups_root, datetime.now(UTC)
    while name is None:
        made = f"{app}-{when:%Y%m%d-%H%M%S}.sql"
        name = None if on.exists(posixpath.join(folder, made)) else made
        when += timedelta(seconds=1)
    if not NAME.fullmatch(name) or name.endswith(_OURS):
        raise Refused(
            f"{name!r} cannot be a backup's name",
            remedy="Use letters, digits, _, - and dots, with no directory, and no .part or .sha256 at the end.",
        )
    return posixpath.join(folder, name)


def backup(server: Server, app: str, path: str, mark: str = "", again: bool = False) -> Dump:
    """Dump the database; `mark` says who does it. One that was cut off is gone on with `again`: a dump that was
    complete is not made twice. Raises NotFound (no database), Unavailable (disk full, server gone)."""
    on = server.on
    if again and (begun := _begun(on, mark)) is not None:
        path = begun.path
        if on.exists(path) and checksum(on, path) == begun.sha256:
            _seal(on, begun)
            return begun
    _demand_database(server, app)
    tools = programs(server)
    folder, part = posixpath.dirname(path), f"{path}.{secrets.token_hex(4)}{PART}"
    on.mkdir(folder, 0o700)
    sweep(on, app)
    on.write(part, b"", 0o600)  # for its owner alone: what comes in must not be readable for a moment
    try:
        on.progress(Progress(f"dumping {app}"))
        argv = tools.argv("pg_dump", *_OPTIONS, "--dbname", app)
        _demand(on, Command(argv, env=tools.env, stdout_to=part, secrets=(server.address.password,)), "the backup")
        _demand(on, Command(("sync", part)), "the backup")
        sha256 = checksum(on, part)
        found = on.stat(part)
        if found is None or found.size == 0:
            raise Unavailable(f"the backup of {app} came out empty", remedy="Look at the disk and try again.")
    except BaseException:
        on.remove(part)
        raise
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    dump = Dump(path, found.size, sha256, now, app, _migrations(server, app), mark)
    _record(on, dump)
    # A checksum must never stand beside a dump that it does not belong to.
    on.remove(path + ".sha256")
    on.rename(part, path)
    _seal(on, dump)
    return dump


def listed(on: Transport, app: str) -> list[Dump]:
    """The application's backups, newest first."""
    found = (dump for dump in everything(on) if dump.app == app or (not dump.app and _sounds_like(dump, app)))
    return [replace(dump, app=app) for dump in found]


def everything(on: Transport) -> list[Dump]:
    """Every backup of the host, newest first; `app` is "" where no record says whose it is."""
    found = []
    for entry in on.scan(settings(on).backups_root):
        name = posixpath.basename(entry.path)
        if entry.kind != "file" or name.startswith(".") or name.endswith(_OURS):
            continue
        known = _recorded(on, entry.path)
        when = known.created_at or _iso(entry.mtime)
        found.append(Dump(entry.path, entry.size, known.sha256, when, known.app, known.migrations))
    return sorted(found, key=lambda dump: (dump.created_at, dump.path), reverse=True)


def _sounds_like(dump: Dump, app: str) -> bool:
    return bool(re.fullmatch(rf"{re.escape(app)}-\d{{8}}.*", posixpath.basename(dump.path)))


def locate(on: Transport, path: str, app: str | None = None) -> Dump:
    """A backup by its path or its name. Raises Refused outside the backups' directory and for one that was made of
    another application than `app`, NotFound."""
    folder = settings(on).backups_root
    name = posixpath.basename(path)
    if path not in (name, posixpath.join(folder, name)) or not NAME.fullmatch(name):
        raise Refused(
            f"{path} is no backup of this platform: they lie in {folder}",
            remedy="db.backups lists them; copy a dump from elsewhere into that directory first.",
        )
    path = posixpath.join(folder, name)
    found = on.stat(path)
    if found is None or found.kind != "file":
        raise NotFound(f"there is no backup {path}", remedy="db.backups lists them.")
    known = _recorded(on, path)
    if app is not None and known.app not in ("", app):
        raise Refused(
            f"{path} is a backup of {known.app}, not of {app}",
            remedy=f"db.backups appName={app} lists its own. To take this one all the same, copy it to another name.",
        )
    return Dump(path, found.size, known.sha256, known.created_at or _iso(found.mtime), known.app, known.migrations)


def verify(on: Transport, dump: Dump) -> None:
    """Compare the dump with its recorded checksum. Raises Refused where it is another file now."""
    if not dump.sha256:
        return
    now = checksum(on, dump.path)
    if now != dump.sha256:
        raise Refused(
            f"{dump.path} is not the backup that was made: its sha256 is {now}, recorded was {dump.sha256}",
            remedy="Take another backup (db.backups lists them); this one was changed or damaged.",
        )


def restore(server: Server, app: str, dump: Dump, mark: str = "") -> str:
    """Restore into a new database, which then takes the name of the application's; the name under which the
    old one is kept, "" where there was none. Whatever fails leaves the old one serving. `mark` says who does it."""
    verify(server.on, dump)
    database_name(app)
    tools = programs(server)
    with databases.scratch(server, app, "restore") as new:
        server.on.progress(Progress(f"restoring {posixpath.basename(dump.path)}"))
        _fill(server, tools, new, dump.path)
        return take_place(server, app, new, _comment(dump, mark) if mark else "")


def restored(server: Server, app: str, dump: Dump, mark: str) -> str | None:
    """What `restore` has given where it was done already for this dump and mark; None where it was not."""
    said, comment = databases.comment(server, app), _comment(dump, mark)
    return said.removeprefix(comment) if said.startswith(comment) else None


def _comment(dump: Dump, mark: str) -> str:
    return f"restored from {posixpath.basename(dump.path)} by {mark}; before it: "


def fill(server: Server, database: str, path: str) -> None:
    """Restore a dump into an empty database, whole or not at all. Raises StepError, Unavailable on a full disk."""
    _fill(server, programs(server), database, path)


def remove(on: Transport, dump: Dump) -> None:
    """Delete a backup and what is recorded about it, the record last: a removal cut short can be done again."""
    for path in (dump.path, dump.path + ".sha256", record_path(dump.path)):
        on.remove(path)


def take_place(server: Server, app: str, new: str, comment: str = "") -> str:
    """Give a new database the application's name, in one transaction; the name under which the old one is kept, ""
    where there was none. It ends the `comment` on the new one."""
    from psycopg import sql

    there = databases.exists(server, app)
    kept = _name_for_the_old(server, app) if there else ""
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    with _sending_clients_away(server, app), server.connect(autocommit=False) as connection:
        if there:
            connection.execute(rename.format(sql.Identifier(app), sql.Identifier(kept)))
        connection.execute(rename.format(sql.Identifier(new), sql.Identifier(app)))
        said = sql.Literal(f"{comment}{kept}") if comment else sql.NULL
        connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(app), said))
        connection.commit()
    return kept


def checksum(on: Transport, path: str) -> str:
    """The sha256 of a file on the host, in hex."""
    result = on.demand(Command(("sha256sum", "--", path), changes=False), f"{path} cannot be read")
    return result.text.lstrip("\\").split()[0]


# --- how ---


def _demand_database(server: Server, app: str) -> None:
    if not databases.exists(server, app):
        raise NotFound(f"application {app} has no database", remedy="Create it: db.create")


def _demand(on: Transport, command: Command, what: str) -> Result:
    result = on.run(command)
    if result.ok:
        return result
    said = last_lines(result)
    folder = settings(on).backups_root
    if "No space left" in said or "Disk quota exceeded" in said:
        raise Unavailable(
            f"{what} was given up: the disk of {folder} is full; nothing half-made is left",
            remedy=f"Free space there: db.backups lists old backups, df -h {folder} shows how much is left.",
            evidence=said,
        )
    raise CommandFailed(command, result, f"{what} failed: {command.argv[0]} ended with exit code {result.exit_code}")


def sweep(on: Transport, app: str) -> None:
    """Remove what killed runs left behind. Nobody else dumps this application now, which is locked; what is still
    written of others (`app-2` is another one) was touched a moment ago."""
    named = f"{app}-{'[0-9]' * 8}-{'[0-9]' * 6}.sql.*"  # as `backup_path` names them
    stale = ("(", "-mmin", "+60", "-o", "-name", named, ")")
    on.run(Command(("find", settings(on).backups_root, "-maxdepth", "1", "-name", f"*{PART}", *stale, "-delete")))


def forget_missing(on: Transport, app: str) -> None:
    """Remove the records of dumps that never came to be."""
    for record, kept in _records(on):
        if kept.get("app") == app and not on.exists(_dump_of(record)):
            on.remove(record)


def _iso(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _migrations(server: Server, app: str) -> dict[str, str]:
    from .migrations import MIGRATIONS, records

    with server.connect(app) as connection:
        return {entry.name: entry.sha256 for entry in records(connection, MIGRATIONS)}


def _seal(on: Transport, dump: Dump) -> None:
    on.write(dump.path + ".sha256", f"{dump.sha256}  {posixpath.basename(dump.path)}\n".encode(), 0o600)


def _record(on: Transport, dump: Dump) -> None:
    on.mkdir(posixpath.dirname(record_path(dump.path)), 0o700)
    kept = json.dumps({key: value for key, value in asdict(dump).items() if key != "path"}, indent=1)
    on.write(record_path(dump.path), kept.encode(), 0o600)


def record_path(path: str) -> str:
    folder, name = posixpath.split(path)
    return posixpath.join(folder, ".ikoma", f"{name}.json")


def _begun(on: Transport, mark: str) -> Dump | None:
    """The dump that was recorded under this mark, whether it is there or not."""
    found = (Dump(_dump_of(record), **kept) for record, kept in _records(on) if mark and kept.get("mark") == mark)
    return next(found, None)


def _records(on: Transport) -> Iterator[tuple[str, dict[str, Any]]]:
    for entry in on.scan(posixpath.join(settings(on).backups_root, ".ikoma")):
        yield entry.path, _kept(on, entry.path)


def _dump_of(record: str) -> str:
    folder, name = posixpath.split(record)
    return posixpath.join(posixpath.dirname(folder), name.removesuffix(".json"))


def _kept(on: Transport, record: str) -> dict[str, Any]:
    try:
        kept = json.loads(on.read(record))
    except ValueError:
        return {}
    return kept if isinstance(kept, dict) else {}


def _recorded(on: Transport, path: str) -> Dump:
    """What is known of a dump; the checksum beside it is what counts."""
    kept = _kept(on, record_path(path)) if on.exists(record_path(path)) else {}
    sha256 = ""
    if on.exists(path + ".sha256"):
        first = on.read(path + ".sha256").decode("utf-8", "replace").split()
        sha256 = first[0] if first and re.fullmatch(r"[0-9a-f]{64}", first[0]) else ""
    migrations = kept.get("migrations")
    about = str(kept.get("created_at", "")), str(kept.get("app", ""))
    return Dump(path, 0, sha256, *about, migrations if isinstance(migrations, dict) else None)


def _fill(server: Server, tools: Programs, database: str, path: str) -> None:
    psql = tools.argv(
        "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction", "--output=/dev/null",
        "--dbname", database,
    )  # fmt: skip
    # The file lies on the host and psql perhaps in a container: only its standard input reaches both.
    through = ("sh", "-c", 'file=$1; shift; exec "$@" < "$file"', "sh", path, *psql)
    command = Command(through, env=tools.env, secrets=(server.address.password,))
    result = server.on.run(command)
    if not result.ok:
        said = last_lines(result)
        if "No space left" in said:
            raise Unavailable(
                f"restoring {path} was given up: the disk of the PostgreSQL server is full; the old database serves on",
                remedy="Free space there and restore again.",
                evidence=said,
            )
        if result.exit_code not in (0, 1, 3) or _LOST.search(said):
            raise Unavailable(
                f"restoring {path} was cut off: PostgreSQL went away; the old database stays",
                remedy="See whether the server runs, and restore again.",
                evidence=said,
            )
        raise StepError(
            f"{path} cannot be restored; the old database serves on",
            remedy="Take another backup (db.backups lists them), or correct the dump.",
            evidence=said,
        )


def _name_for_the_old(server: Server, app: str) -> str:
    base = f"{app[: LONGEST_NAME - 27]}_before_{datetime.now(UTC):%Y%m%d_%H%M%S}"
    return next(name for name in (base, *(f"{base}_{n}" for n in range(2, 100))) if not databases.exists(server, name))


@contextmanager
def _sending_clients_away(server: Server, app: str) -> Iterator[None]:
    """A database cannot be renamed while anybody is in it, and a busy application comes back at once.

    The renaming waits up to 5 s with the door locked; meanwhile whoever is still inside is sent away."""
    done = threading.Event()

    def usher(connection: psycopg.Connection[Any], number: int) -> None:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datid = %s AND pid <> pg_backend_pid()",
            [number],
        )

    def keep_ushering(connection: psycopg.Connection[Any], number: int) -> None:
        import psycopg

        while not done.wait(0.05):
            try:
                usher(connection, number)
            except psycopg.Error:
                return

    with server.connect() as connection:
        # By number: the new database will have the same name, and its clients may stay.
        found = connection.execute("SELECT oid FROM pg_database WHERE datname = %s", [app]).fetchone()
        if found is None:
            yield
            return
        usher(connection, found[0])
        thread = threading.Thread(target=keep_ushering, args=(connection, found[0]), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
