"""Databases of applications: made, migrated, seeded, backed up, restored, looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..arguments import AppName, BackupName
from ..errors import NotFound
from ..model import Access, Outcome, changed, ok
from ..platform import databases, dump_check, dumps, migrations, postgres, postgres_embedded, undo_database
from ..platform.settings import settings
from ..tool import Scope, tool
from ..transport.base import Transport

if TYPE_CHECKING:
    from ..platform.migrations import Kind, Script
    from ..platform.postgres import Server


@tool("db.create", access=Access.BUILDER, changes=True, undo=undo_database.CREATE)
def create(on: Transport, app_name: AppName, *, scope: Scope | None = None) -> Outcome:
    """Create the application's database where there is none.

    app_name: the application
    """
    server = _server(on, scope)
    if on.dry and (_would_start(server) or not databases.exists(server, postgres.database_name(app_name))):
        return changed(_described(databases.Description(app_name, True)), f"database {app_name} would be created")
    made = not on.dry and databases.create(server, app_name)
    result = _described(databases.describe(server, app_name))
    return changed(result, f"database {app_name} created") if made else ok(result, f"database {app_name} is there")


@tool("db.migrate", access=Access.BUILDER, changes=True, undo=undo_database.MIGRATE)
def migrate(on: Transport, app_name: AppName, sql: str | None = None, *, scope: Scope | None = None) -> Outcome:
    """Apply the migrations that the database has not had, in order, each once.

    Each file of migrations/ runs in a transaction of its own and is recorded with its checksum; a file
    that changed or went away after it was applied is refused by name. A file that cannot run in a
    transaction says `-- ikoma: no-transaction` in its first line. What stands below a line `-- rollback`, or in
    NAME.down.sql beside, undoes it and is not applied.

    app_name: the application
    sql: SQL to apply as one migration instead of the files; the same text is applied once
    """
    return _bring_in(on, app_name, migrations.MIGRATIONS, sql, scope)


@tool("db.seed", access=Access.BUILDER, changes=True, undo=undo_database.SEED)
def seed(on: Transport, app_name: AppName, sql: str | None = None, *, scope: Scope | None = None) -> Outcome:
    """Load the seeds that the database has not had, in order, each once.

    Each file of seeds/ runs in a transaction of its own; a file that changed since counts as a new seed.

    app_name: the application
    sql: SQL to load instead of the files; the same text is loaded once
    """
    return _bring_in(on, app_name, migrations.SEEDS, sql, scope)


@tool("db.backup", access=Access.OPERATOR, changes=True, undo=undo_database.BACKUP)
def backup(
    on: Transport, app_name: AppName, backup_name: BackupName | None = None, *, scope: Scope | None = None
) -> Outcome:
    """Dump the application's database to a file that `psql < file` restores.

    The dump is written beside its final name, flushed and renamed: whole or not at all. Its sha256 is
    put beside it. A backup of the same name is replaced.

    app_name: the application
    backup_name: the file's name; default the application's name and the time
    """
    server = _server(on, scope)
    path = dumps.backup_path(on, app_name, backup_name)
    if on.dry:
        if not _would_start(server):
            _demand_database(server, app_name)
        return changed({"backupPath": path}, f"{path} would be written")
    step = (scope.mark, scope.again) if scope is not None else ()
    dump = dumps.backup(server, app_name, path, *step)
    result = {"backupPath": dump.path, "size": dump.size, "sha256": dump.sha256}
    return changed(result, f"{dump.path} written, {dump.size} bytes")


@tool("db.status", access=Access.OBSERVER, changes=False)
def status(on: Transport, app_name: AppName, *, scope: Scope | None = None) -> Outcome:
    """Tell whether the database is there, its size in bytes, its tables and its migrations.

    Each migration is applied, pending, changed (its file is another one now) or missing (its file is gone).

    app_name: the application
    """
    server = _server(on, scope)
    described, applied = databases.Description(app_name, False), list[migrations.Record]()
    if not (on.dry and _would_start(server)):
        described = databases.describe(server, app_name)
        if described.exists:
            with server.connect(app_name) as connection:
                applied = migrations.records(connection, migrations.MIGRATIONS)
    return ok({**_described(described), "migrations": _states(_scripts(on, app_name, migrations.MIGRATIONS), applied)})


@tool("db.restore", access=Access.OPERATOR, changes=True, undo=undo_database.RESTORE)
def restore(on: Transport, app_name: AppName, backup_path: str, *, scope: Scope | None = None) -> Outcome:
    """Restore a backup into a new database, which then takes the place of the application's.

    The dump is compared with its recorded checksum first. The old database is kept under the name that the
    result gives; whatever fails leaves it serving. Clients of the database lose their connections. A comment on the
    database says what it was restored from and by which run, so that a run that was cut off does not do it twice.

    app_name: the application
    backup_path: a backup that db.backups lists, by its path or its file name
    """
    server = _server(on, scope)
    dump = dumps.locate(on, backup_path, app_name)
    result = {"success": True, "backupPath": dump.path, "sha256": dump.sha256, "previousDatabase": ""}
    if on.dry:
        dumps.verify(on, dump)
        return changed(result, f"{dump.path} would be restored")
    done = dumps.restored(server, app_name, dump, scope.mark) if scope is not None and scope.again else None
    mark = scope.mark if scope is not None else ""
    result["previousDatabase"] = dumps.restore(server, app_name, dump, mark) if done is None else done
    kept = f"; the old database is kept as {result['previousDatabase']}" if result["previousDatabase"] else ""
    warnings = () if dump.sha256 else (f"{dump.path} has no recorded checksum, so it could not be verified",)
    return changed(result, f"{dump.path} restored{kept}", warnings=warnings)


@tool("db.backups", access=Access.OBSERVER, changes=False)
def backups(on: Transport, app_name: AppName) -> Outcome:
    """List the application's backups, newest first: path, size in bytes, sha256, time.

    app_name: the application
    """
    found = [
        {"backupPath": dump.path, "size": dump.size, "sha256": dump.sha256, "createdAt": dump.created_at}
        for dump in dumps.listed(on, app_name)
    ]
    return ok(found, f"{len(found)} backup{'s' * (len(found) != 1)}")


@tool("db.verify_backup", access=Access.OPERATOR, changes=True, lasting="nothing of it stays")
def verify_backup(
    on: Transport, app_name: AppName, backup_path: str | None = None, *, scope: Scope | None = None
) -> Outcome:
    """Prove that a backup restores: into a scratch database, whose rows are counted and which is dropped.

    The application's database is not touched.

    app_name: the application
    backup_path: a backup that db.backups lists, by its path or its file name; default the newest
    """
    server = _server(on, scope)
    dump = dumps.locate(on, backup_path, app_name) if backup_path else _newest_backup(on, app_name)
    if on.dry:
        dumps.verify(on, dump)
        return changed({"backupPath": dump.path}, f"{dump.path} would be restored into a scratch database")
    found = dump_check.check(server, app_name, dump)
    result = {"verified": True, "backupPath": dump.path, "sha256": dump.sha256, "rows": found.rows}
    warnings = () if dump.sha256 else (f"{dump.path} has no recorded checksum; a dump cut short may go unnoticed",)
    message = f"{dump.path} restores: {found.total} rows in {len(found.rows)} tables"
    return ok(result, message, warnings=warnings)


# --- how ---


def _newest_backup(on: Transport, app: str) -> dumps.Dump:
    found = dumps.listed(on, app)
    if not found:
        raise NotFound(f"application {app} has no backup", remedy="Make one: db.backup")
    return found[0]


def _server(on: Transport, scope: Scope | None) -> Server:
    server = postgres.Server(on)
    if scope is not None and not (server.embedded and postgres_embedded.Cluster(on).coordinates() is None):
        scope.keep_secret(server.address.password)
    return server


def _would_start(server: Server) -> bool:
    """In check mode the step that starts the embedded server was only recorded."""
    return server.embedded and not postgres_embedded.Cluster(server.on).running()


def _demand_database(server: Server, app: str) -> None:
    if not databases.exists(server, app):
        raise NotFound(f"application {app} has no database", remedy="Create it: db.create")


def _scripts(on: Transport, app: str, kind: Kind) -> list[Script]:
    return migrations.from_folder(on, kind, settings(on).app(app, kind.folder))


def _bring_in(on: Transport, app: str, kind: Kind, sql: str | None, scope: Scope | None) -> Outcome:
    server = _server(on, scope)
    scripts = _scripts(on, app, kind)
    chosen = scripts if sql is None else [migrations.from_text(kind, sql, scripts)]
    if on.dry:
        names = [script.name for script in _pending(server, app, kind, chosen, whole=sql is None)]
    else:
        _demand_database(server, app)
        names = migrations.apply(server, app, kind, chosen, whole=sql is None)
    result: dict[str, Any] = {"success": True, "message": _said(kind, names, dry=on.dry)}
    if kind is migrations.MIGRATIONS:
        result["applied"] = names
    return changed(result, result["message"]) if names else ok(result, result["message"])


def _pending(server: Server, app: str, kind: Kind, scripts: list[Script], *, whole: bool) -> list[Script]:
    if _would_start(server) or not databases.exists(server, app):
        return scripts
    with server.connect(app) as connection:
        applied = migrations.records(connection, kind)
    return migrations.pending(kind, scripts, migrations.relevant(applied, scripts, whole=whole))


def _said(kind: Kind, names: list[str], *, dry: bool) -> str:
    if not names:
        return f"no {kind.word} was left to apply"
    return f"{'would apply' if dry else 'applied'} {', '.join(names)}"


def _described(found: databases.Description) -> dict[str, Any]:
    return {"exists": found.exists, "name": found.name, "size": found.size, "tables": list(found.tables)}


def _states(scripts: list[Script], applied: list[migrations.Record]) -> list[dict[str, Any]]:
    there = {script.name: script for script in scripts}
    states: list[dict[str, Any]] = []
    for record in applied:
        script = there.pop(record.name, None)
        state = "applied"
        if script is not None and script.sha256 != record.sha256:
            state = "changed"
        elif script is None and not record.name.startswith("sql-"):
            state = "missing"
        states.append({"name": record.name, "state": state, "appliedAt": record.at, "sha256": record.sha256})
    for script in there.values():
        states.append({"name": script.name, "state": "pending", "appliedAt": None, "sha256": script.sha256})
    return states
