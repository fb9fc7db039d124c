"""How what tools do to an application's database is undone: row for row.

Migrations that all say how they are undone (a section below a line `-- rollback`, or NAME.down.sql beside) are
undone by that, and whatever was written since stays. For others the database is dumped before, with owners and
privileges, and restored: into a new database, which then takes the name; meanwhile the services stand still.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import Any

from ..errors import CommandFailed, NotFound, StepError, Unavailable, last_lines
from ..model import Command, Outcome, Progress, changed, ok
from ..tool import Record, Undoing
from ..transport.base import Transport
from . import databases, dumps, kept, migrations, standstill
from .migrations import MIGRATIONS, SEEDS, Kind, Script
from .postgres import Server
from .postgres_programs import programs
from .settings import settings

KINDS = {kind.table: kind for kind in (MIGRATIONS, SEEDS)}
_DUMP = "database.sql"


# --- db.create ---


def _before_create(on: Transport, at: str, app_name: str) -> dict[str, Any]:
    return {**kept.record(on, app_name, at), "existed": databases.exists(Server(on), app_name)}


def _undo_create(on: Transport, record: Record, undoing: Undoing) -> Outcome:
    app, server = str(record["app"]), Server(on)
    kept.refuse_later(on, record, undoing)
    databases.sweep(server, app)
    if record["existed"] or not databases.exists(server, app):
        return ok(None, f"database {app} is as it was")
    said = ""
    if undoing.late:
        said = f"; its last state is in {dumps.backup(server, app, dumps.backup_path(on, app, None)).path}"
    databases.drop(server, app)
    return changed(None, f"database {app} dropped{said}")


CREATE = kept.undo("the database is dropped, if it was not there", _before_create, _undo_create)


# --- db.migrate, db.seed ---


def _before_migrate(on: Transport, at: str, app_name: str, sql: str | None = None) -> dict[str, Any]:
    return _before_scripts(on, at, app_name, MIGRATIONS, sql)


def _before_seed(on: Transport, at: str, app_name: str, sql: str | None = None) -> dict[str, Any]:
    return _before_scripts(on, at, app_name, SEEDS, sql)


def _before_scripts(on: Transport, at: str, app: str, kind: Kind, sql: str | None) -> dict[str, Any]:
    """What the database has had, and the way back of what it is about to get."""
    server, record = Server(on), {**kept.record(on, app, at), "kind": kind.table, "way": ""}
    if not databases.exists(server, app):
        return record  # the tool will refuse it
    try:
        files = migrations.from_folder(on, kind, settings(on).app(app, kind.folder))
        scripts = files if sql is None else [migrations.from_text(kind, sql, files)]
        with server.connect(app) as connection:
            applied = migrations.records(connection, kind)
            record["prepared"] = migrations.prepared(connection, kind)
        relevant = migrations.relevant(applied, scripts, whole=sql is None)
        todo = migrations.pending(kind, scripts, relevant)
    except Unavailable:
        raise
    except StepError:
        return record  # so will it this
    if not todo:
        return record
    record |= {"had": len(applied), "transactional": all(script.transactional for script in todo)}
    on.mkdir(record["place"], 0o700)
    try:
        ways = _ways_back(on, todo) if kind is MIGRATIONS and record["transactional"] else None
        if ways is None:
            _dump(server, app, posixpath.join(record["place"], _DUMP))
            return {**record, "way": "dump"}
        for name, text in ways.items():
            on.write(posixpath.join(record["place"], name), text.encode(), 0o600)
        return {**record, "way": "sql", "names": list(ways)}
    except BaseException:
        kept.drop(on, record)
        raise


def _ways_back(on: Transport, scripts: Sequence[Script]) -> dict[str, str] | None:
    """The SQL that undoes each script, by name; None where one does not say it."""
    found = {}
    for script in scripts:
        text = on.read(script.down).decode("utf-8", "replace") if script.down else script.way_back
        if not text.strip():
            return None
        found[script.name] = text
    return found


def _dump(server: Server, app: str, path: str) -> None:
    on, tools = server.on, programs(server)
    with server.connect(app) as connection:
        superuser = connection.info.parameter_status("is_superuser") == "on"
    # Only a superuser can give things back to other owners.
    options = () if superuser else ("--no-owner", "--no-privileges")
    on.progress(Progress(f"keeping the rows of {app} for the case of a rollback"))
    on.demand(Command(("install", "-m", "600", "/dev/null", path)), f"{path} cannot be written")
    argv = tools.argv("pg_dump", "--format=plain", "--encoding=UTF8", *options, "--dbname", app)
    command = Command(argv, env=tools.env, stdout_to=path, secrets=(server.address.password,))
    result = on.run(command)
    if result.ok:
        return
    if "No space left" in last_lines(result):
        raise Unavailable(
            f"the rows of {app} cannot be kept for a rollback: the disk of {path} is full; nothing was changed",
            remedy="Free some disk space and run this again.",
            evidence=last_lines(result),
        )
    raise CommandFailed(command, result, f"the rows of {app} cannot be kept for a rollback; nothing was changed")


def _undo_scripts(on: Transport, record: Record, undoing: Undoing) -> Outcome:
    app, kind, server = str(record["app"]), KINDS[str(record["kind"])], Server(on)
    kept.refuse_later(on, record, undoing)
    if not record["way"]:
        return ok(None, f"no {kind.word} was applied")
    fresh: list[str] = []
    there = databases.exists(server, app)
    if there:
        with server.connect(app) as connection:
            fresh = [one.name for one in migrations.records(connection, kind)[int(record["had"]) :]]
    if there and not fresh and record["transactional"]:
        message, done = f"no {kind.word} was applied", False
    elif record["way"] == "sql":
        message, done = _take_back(server, app, kind, record, fresh), True
    else:
        message, done = _restore(server, app, record, undoing), True
    if not record["prepared"]:
        migrations.tidy(server, app, kind)
    return changed(None, message) if done else ok(None, message)


def _take_back(server: Server, app: str, kind: Kind, record: Record, fresh: Sequence[str]) -> str:
    if not fresh:
        raise NotFound(f"there is no database {app}", remedy="Restore its newest backup: db.restore")
    ways = []
    for name in reversed(fresh):
        path = posixpath.join(str(record["place"]), name)
        ways.append(Script(name, server.on.read(path).decode(), "", path))
    migrations.take_back(server, app, kind, ways)
    return f"{', '.join(reversed(fresh))} undone"


def _restore(server: Server, app: str, record: Record, undoing: Undoing) -> str:
    """The rows of before in the place of the database; nobody writes meanwhile."""
    on, path = server.on, posixpath.join(str(record["place"]), _DUMP)
    if not on.exists(path):
        raise NotFound(
            f"the rows of {app}, kept as {path}, are gone, so they cannot be restored",
            remedy="Restore the newest backup: db.backups lists them.",
        )
    with standstill.of(on, app), databases.scratch(server, app, "undo") as new:
        dumps.fill(server, new, path)
        old = dumps.take_place(server, app, new)
    if old and not undoing.late:
        databases.drop(server, old)
        old = ""
    return f"the rows of before are restored{f'; the database that they replaced is kept as {old}' if old else ''}"


MIGRATE = kept.undo("its way back in SQL, else the rows of before", _before_migrate, _undo_scripts)
SEED = kept.undo("the rows of before come back", _before_seed, _undo_scripts)


# --- db.backup ---


def _before_backup(on: Transport, at: str, app_name: str, backup_name: str | None = None) -> dict[str, Any]:
    folder = settings(on).backups_root
    path = dumps.backup_path(on, app_name, backup_name) if backup_name else ""  # of itself it replaces none
    replaced = path if path and on.exists(path) else ""
    beside = [f"{path}.sha256", dumps.record_path(path)] if replaced else []
    record = kept.keep(on, app_name, at, beside, [posixpath.join(folder, ".ikoma"), folder])
    if replaced:
        kept.link(on, record, replaced, "backup")
    return {**record, "replaced": replaced, "backups": _backups(on)}


def _undo_backup(on: Transport, record: Record, undoing: Undoing) -> Outcome:
    kept.refuse_later(on, record, undoing)
    if undoing.late or undoing.failed:
        return ok(None, "the backup stays: it may be needed")
    gone = []
    for name in [name for name in _backups(on) if name not in record["backups"]]:
        dump = dumps.locate(on, name)
        if dump.app == record["app"]:
            dumps.remove(on, dump)
            gone.append(name)
    dumps.sweep(on, str(record["app"]))
    dumps.forget_missing(on, str(record["app"]))
    former = posixpath.join(str(record["place"]), "backup")
    if record["replaced"] and on.exists(former):
        on.rename(former, str(record["replaced"]))
    kept.put_back(on, record)
    return changed(None, f"{', '.join(gone)} removed" if gone else "the backups are as they were")


def _backups(on: Transport) -> list[str]:
    """The names of all dumps, whosever they are."""
    names = (posixpath.basename(entry.path) for entry in on.scan(settings(on).backups_root) if entry.kind == "file")
    return [name for name in names if dumps.NAME.fullmatch(name) and not name.endswith((".part", ".sha256"))]


BACKUP = kept.undo("the backup is removed, unless something else cannot be undone", _before_backup, _undo_backup)


# --- db.restore ---


def _before_restore(on: Transport, at: str, app_name: str, backup_path: object = None) -> dict[str, Any]:
    existed, others = databases.present_and_former(Server(on), app_name)
    return {**kept.record(on, app_name, at), "existed": existed, "others": others}


def _undo_restore(on: Transport, record: Record, undoing: Undoing) -> Outcome:
    app, server = str(record["app"]), Server(on)
    kept.refuse_later(on, record, undoing)
    databases.sweep(server, app)
    replaced = [name for name in databases.named_after(server, app) if name not in record["others"]]
    if record["existed"] and not replaced:
        return ok(None, f"database {app} is as it was")
    with standstill.of(on, app):
        if record["existed"]:
            old = dumps.take_place(server, app, replaced[-1])
        else:
            old = app if databases.exists(server, app) else ""
        if old and not undoing.late:
            databases.drop(server, old)
    return changed(None, f"database {app} is the one of before again")


RESTORE = kept.undo("the database that it replaced comes back", _before_restore, _undo_restore)
