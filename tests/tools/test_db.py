"""The db tools on the real server: databases, migrations, seeds, backups and restores, and how they fail."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.errors import NotFound, Refused, StepError, Unavailable
from ikoma_play.model import Outcome
from ikoma_play.platform import databases
from ikoma_play.platform.postgres_programs import programs
from tests.parts.sandbox import Sandbox, SmallDisk, sandbox

__all__ = ["sandbox"]


@dataclass
class App:
    """An application with a directory and, unless a test wants it otherwise, a database."""

    sandbox: Sandbox
    name: str

    def call(self, tool: str, **arguments: Any) -> Outcome:
        return self.sandbox.call(tool, appName=self.name, **arguments)

    def dry(self, tool: str, **arguments: Any) -> Outcome:
        return self.sandbox.call(tool, self.sandbox.dry, appName=self.name, **arguments)

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        return self.sandbox.sql(self.name, statement)

    def write(self, path: str, text: str | bytes) -> Path:
        file = self.sandbox.root / "apps" / self.name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    def migration(self, name: str, text: str | bytes) -> Path:
        return self.write(f"migrations/{name}", text)

    @property
    def tables(self) -> list[str]:
        found: list[str] = self.call("db.status").result["tables"]
        return found


@pytest.fixture
def app(sandbox: Sandbox) -> Iterator[App]:
    made = App(sandbox, f"App_{secrets.token_hex(3)}-x")
    made.call("db.create")
    try:
        yield made
    finally:
        with sandbox.server.connect() as connection:
            names = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [made.name + "%"])
            for (name,) in names.fetchall():
                databases.drop(sandbox.server, name)


# --- create and status ---


def test_a_database_is_made_once(sandbox: Sandbox) -> None:
    app = App(sandbox, f"new-{secrets.token_hex(3)}")
    absent = {"exists": False, "name": app.name, "size": 0, "tables": [], "migrations": []}
    assert app.call("db.status").result == absent
    assert app.dry("db.create").status == "changed" and app.call("db.status").result == absent
    first = app.call("db.create")
    assert (first.status, first.result["exists"], first.result["name"]) == ("changed", True, app.name)
    assert first.result["size"] > 1_000_000 and first.result["tables"] == []
    again = app.call("db.create")
    assert (again.status, again.result["exists"]) == ("ok", True)
    assert app.dry("db.create").status == "ok"
    databases.drop(sandbox.server, app.name)


def test_runners_at_once_make_one_database(sandbox: Sandbox) -> None:
    app = App(sandbox, f"race-{secrets.token_hex(3)}")
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: app.call("db.create").status.value, range(6)))
    assert sorted(found) == ["changed", *["ok"] * 5]
    databases.drop(sandbox.server, app.name)


@pytest.mark.parametrize("tool", ["db.migrate", "db.seed", "db.backup"])
def test_without_a_database_there_is_nothing_to_do(sandbox: Sandbox, tool: str) -> None:
    with pytest.raises(NotFound, match="has no database") as failed:
        App(sandbox, "never-made").call(tool)
    assert failed.value.remedy == "Create it: db.create"


# --- migrations ---


def test_migrations_run_in_the_order_of_their_numbers_and_once(app: App) -> None:
    app.migration("10_last.sql", "INSERT INTO t VALUES ('ten')")
    app.migration("9_then.sql", "INSERT INTO t VALUES ('nine')")
    app.migration("001_first.sql", "CREATE TABLE t (said text); INSERT INTO t VALUES ('one')")
    app.migration("001_first.down.sql", "DROP TABLE t")
    app.migration("README.md", "not SQL")
    names = ["001_first.sql", "9_then.sql", "10_last.sql"]
    dry = app.dry("db.migrate")
    assert (dry.status, dry.result["applied"]) == ("changed", names) and app.tables == []
    done = app.call("db.migrate")
    assert done.status == "changed" and done.result["applied"] == names and done.result["success"] is True
    assert app.sql("SELECT said FROM t") == [("one",), ("nine",), ("ten",)]
    again = app.call("db.migrate")
    assert (again.status, again.result["applied"]) == ("ok", [])
    states = app.call("db.status").result["migrations"]
    assert [(entry["name"], entry["state"]) for entry in states] == [(name, "applied") for name in names]
    first = app.sandbox.root / "apps" / app.name / "migrations" / "001_first.sql"
    assert states[0]["sha256"] == hashlib.sha256(first.read_bytes()).hexdigest()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", states[0]["appliedAt"])

    app.migration("9b_between.sql", "INSERT INTO t VALUES ('between')")
    assert app.call("db.migrate").result["applied"] == ["9b_between.sql"], "a file that came late is not forgotten"


def test_a_failing_migration_leaves_nothing_and_is_told_by_its_line(app: App) -> None:
    app.migration("1.sql", "CREATE TABLE kept ()")
    file = app.migration("2.sql", "CREATE TABLE gone ();\n\n-- about\nINSERT INTO\n  nosuch VALUES (1);\n")
    app.migration("3.sql", "CREATE TABLE never ()")
    with pytest.raises(StepError) as failed:
        app.call("db.migrate")
    error = failed.value
    assert '2.sql, line 5: relation "nosuch" does not exist; nothing of this file was applied' in error.message
    assert error.position is not None and (error.position.file, error.position.line) == (str(file), 5)
    assert "42P01" in error.evidence and "nosuch VALUES" in error.evidence and str(file) in error.remedy
    assert app.tables == ["kept"]
    states = {entry["name"]: entry["state"] for entry in app.call("db.status").result["migrations"]}
    assert states == {"1.sql": "applied", "2.sql": "pending", "3.sql": "pending"}
    file.write_text("CREATE TABLE mended ()")
    assert app.call("db.migrate").result["applied"] == ["2.sql", "3.sql"]


def test_a_constraint_checked_at_the_end_fails_the_file(app: App) -> None:
    app.migration(
        "1.sql",
        "CREATE TABLE a (i int PRIMARY KEY);"
        "CREATE TABLE b (i int REFERENCES a DEFERRABLE INITIALLY DEFERRED); INSERT INTO b VALUES (1)",
    )
    with pytest.raises(StepError, match=r"1\.sql: .*violates foreign key.*nothing of this file was applied"):
        app.call("db.migrate")
    assert app.tables == []


def test_an_old_file_that_changed_or_went_is_refused_by_name(app: App) -> None:
    one, two = app.migration("1.sql", "CREATE TABLE a ()"), app.migration("2.sql", "CREATE TABLE b ()")
    app.call("db.migrate")
    app.migration("3.sql", "CREATE TABLE c ()")
    kept = one.read_text()
    one.write_text("CREATE TABLE a (more int)")
    two.unlink()
    for call in (app.call, app.dry):
        with pytest.raises(Refused) as refused:
            call("db.migrate")
        assert refused.value.message == (
            "nothing was applied: 1.sql changed after it was applied; 2.sql was applied and its file is gone"
        )
    assert app.tables == ["a", "b"]
    states = {entry["name"]: entry["state"] for entry in app.call("db.status").result["migrations"]}
    assert states == {"1.sql": "changed", "2.sql": "missing", "3.sql": "pending"}
    one.write_text(kept)
    two.write_text("CREATE TABLE b ()")
    assert app.call("db.migrate").result["applied"] == ["3.sql"]


def test_runners_at_once_apply_each_migration_once(app: App) -> None:
    for number in range(8):
        app.migration(f"{number}.sql", f"CREATE TABLE t{number} (); SELECT pg_sleep(0.02)")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: app.call("db.migrate").result["applied"], range(4)))
    assert sorted(name for names in found for name in names) == [f"{number}.sql" for number in range(8)]
    assert app.sql("SELECT count(*) FROM ikoma_records.migrations") == [(8,)]


def test_a_runner_that_dies_leaves_nothing_and_locks_nobody_out(app: App) -> None:
    app.migration("1.sql", "CREATE TABLE t (); SELECT pg_sleep(60)")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(app.call, "db.migrate")
        query = f"SELECT pid FROM pg_stat_activity WHERE datname = '{app.name}' AND query LIKE '%pg_sleep(60)%'"
        deadline = time.monotonic() + 20
        while not (found := app.sandbox.sql("postgres", f"{query} AND state = 'active'")):
            assert time.monotonic() < deadline and not running.done()
            time.sleep(0.02)
        app.sandbox.sql("postgres", f"SELECT pg_terminate_backend({found[0][0]})")
        with pytest.raises(Unavailable, match="the connection was lost"):
            running.result(20)
    assert app.tables == []
    app.migration("1.sql", "CREATE TABLE t ()")
    assert app.call("db.migrate").result["applied"] == ["1.sql"]


def test_a_file_that_cannot_run_in_a_transaction_says_so(app: App) -> None:
    app.migration("1.sql", "CREATE TABLE t (i int)")
    two = app.migration("2.sql", "CREATE INDEX CONCURRENTLY by_i ON t (i); VACUUM t;")
    with pytest.raises(StepError, match="cannot run inside a transaction block"):
        app.call("db.migrate")
    two.write_text("-- ikoma: no-transaction\n" + two.read_text())
    with ThreadPoolExecutor(3) as pool:  # one that waits must not block CREATE INDEX CONCURRENTLY
        found = list(pool.map(lambda _: app.call("db.migrate").result["applied"], range(3)))
    assert sorted(found) == [[], [], ["2.sql"]]
    three = app.migration("3.sql", "-- ikoma: no-transaction\nCREATE TABLE half ();\nSELECT nosuch;")
    with pytest.raises(StepError, match=r"3\.sql, line 3: .*what stands before it in the file was applied"):
        app.call("db.migrate")
    three.unlink()
    assert app.tables == ["half", "t"]


def test_a_files_own_transaction_is_ours(app: App) -> None:
    app.migration("1.sql", "BEGIN;\nCREATE TABLE t ();\nCOMMIT;\n")
    two = app.migration("2.sql", "CREATE TABLE u ();\nCOMMIT;\nCREATE TABLE v ();")
    with pytest.raises(StepError, match=r"2\.sql, line 2: COMMIT in the middle of a file") as failed:
        app.call("db.migrate")
    assert "no-transaction" in failed.value.remedy and app.tables == ["t"]
    two.write_text("SAVEPOINT s; CREATE TABLE u (); ROLLBACK TO s; SET ROLE pg_monitor; SET search_path = nowhere")
    app.migration("3.sql", "CREATE TABLE w ()")
    assert app.call("db.migrate").result["applied"] == ["2.sql", "3.sql"]
    assert app.tables == ["t", "w"], "what one file set was still set for the next"


@pytest.mark.parametrize(
    ("data", "said"), [(b"SELECT 1;\nSELECT '\xff'", "is not UTF-8"), (b"SELECT '\0'", "null byte")]
)
def test_what_is_no_text_is_refused(app: App, data: bytes, said: str) -> None:
    app.migration("1.sql", data)
    with pytest.raises(StepError, match=said):
        app.call("db.migrate")


def test_bodies_quotes_and_percent_signs_arrive(app: App) -> None:
    app.migration(
        "1.sql",
        "\ufeffCREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN '100%; %s'; END $$;\n"
        "CREATE FUNCTION g() RETURNS int BEGIN ATOMIC; SELECT 1; SELECT 2; END;".replace("ATOMIC;", "ATOMIC"),
    )
    app.call("db.migrate")
    assert app.sql("SELECT f(), g()") == [("100%; %s", 2)]


def test_sql_as_an_argument_is_applied_once(app: App) -> None:
    text = "CREATE TABLE t (said text);\nINSERT INTO t VALUES ('it''s');"
    first = app.call("db.migrate", sql=text)
    assert first.status == "changed" and first.result["applied"][0].startswith("sql-")
    assert app.call("db.migrate", sql=text + "\n").status == "ok", "the same text was applied twice"
    assert app.sql("SELECT said FROM t") == [("it's",)]
    with pytest.raises(StepError, match="nothing of this file was applied"):
        app.call("db.migrate", sql="CREATE TABLE u (); SELECT nosuch")
    assert app.tables == ["t"]


def test_a_file_sent_as_an_argument_is_that_file(app: App) -> None:
    """The runbook sends the first migration as SQL; the files that are applied later must not repeat it."""
    file = app.migration("001_init.sql", "CREATE TABLE t ();\n")
    app.migration("002_more.sql", "CREATE TABLE u ();\n")
    assert app.call("db.migrate", sql=file.read_text().rstrip()).result["applied"] == ["001_init.sql"]
    assert app.call("db.migrate").result["applied"] == ["002_more.sql"]


# --- seeds ---


def test_seeds_are_loaded_once_and_again_when_they_changed(app: App) -> None:
    app.migration("1.sql", "CREATE TABLE t (i int)")
    app.call("db.migrate")
    seed = app.write("seeds/1.sql", "INSERT INTO t VALUES (1)")
    assert app.dry("db.seed").status == "changed"
    first = app.call("db.seed")
    assert (first.status, first.result["success"]) == ("changed", True)
    assert app.call("db.seed").status == "ok"
    seed.write_text("INSERT INTO t VALUES (2)")
    assert app.call("db.seed").status == "changed"
    assert app.call("db.seed", sql="INSERT INTO t VALUES (3)").status == "changed"
    assert app.call("db.seed", sql="INSERT INTO t VALUES (3)").status == "ok"
    assert app.sql("SELECT i FROM t ORDER BY i") == [(1,), (2,), (3,)]


# --- backups ---


@pytest.fixture
def filled(app: App) -> App:
    app.migration(
        "1.sql", "CREATE TABLE t (i int PRIMARY KEY, said text); INSERT INTO t VALUES (1, 'e\u0301; ''q'' \\n')"
    )
    app.call("db.migrate")
    return app


def psql(app: App, file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """As the runbook restores a dump: psql -U ikoma -d myapp < FILE."""
    found = programs(app.sandbox.server)
    with file.open() as content:
        return subprocess.run(
            found.argv("psql", "-d", app.name, *options), stdin=content, env={**os.environ, **found.env},
            capture_output=True, text=True, check=False,
        )  # fmt: skip


def test_a_backup_is_a_file_that_psql_restores(filled: App) -> None:
    done = filled.call("db.backup", backupName="nightly.sql")
    path = Path(done.result["backupPath"])
    assert done.status == "changed" and path == filled.sandbox.root / "backups" / "nightly.sql"
    assert done.result["size"] == path.stat().st_size
    assert done.result["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    check = subprocess.run(
        ["sha256sum", "-c", f"{path.name}.sha256"], cwd=path.parent, capture_output=True, check=False
    )
    assert check.returncode == 0, "sha256sum does not agree with the file beside the dump"
    assert {entry.stat().st_mode & 0o077 for entry in path.parent.rglob("nightly.sql*")} == {0}, "others can read it"

    filled.sql("UPDATE t SET said = 'spoilt'; CREATE TABLE later ()")
    over = psql(filled, path, "-v", "ON_ERROR_STOP=1")
    assert over.returncode == 0, f"into the database it came from\n{over.stderr}"
    assert filled.sql("SELECT said FROM t") == [("e\u0301; 'q' \\n",)]

    databases.drop(filled.sandbox.server, filled.name)
    filled.call("db.create")
    empty = psql(filled, path, "-v", "ON_ERROR_STOP=1")
    assert empty.returncode == 0, f"into an empty database\n{empty.stderr}"
    assert filled.tables == ["t"] and filled.call("db.migrate").status == "ok", "the dump forgot its migrations"


def test_backups_are_listed_with_whose_they_are(filled: App) -> None:
    first = filled.call("db.backup").result
    assert re.fullmatch(rf"{filled.name}-\d{{8}}-\d{{6}}\.sql", Path(first["backupPath"]).name)
    second = filled.call("db.backup", backupName=f"a-{filled.name}.sql").result
    found = {entry["backupPath"]: entry for entry in filled.call("db.backups").result}
    assert set(found) == {first["backupPath"], second["backupPath"]}
    assert found[first["backupPath"]]["sha256"] == first["sha256"]
    assert App(filled.sandbox, filled.name[:-2]).call("db.backups").result == [], "another application's were listed"


def test_backups_of_one_second_do_not_replace_each_other(filled: App) -> None:
    made = [filled.call("db.backup").result["backupPath"] for _ in range(4)]
    assert len(set(made)) == 4 and all(Path(path).exists() for path in made), made
    assert {entry["backupPath"] for entry in filled.call("db.backups").result} == set(made)


@pytest.mark.parametrize("name", ["a.sql.part", "b.sql.sha256"])
def test_names_that_are_ours_are_refused(filled: App, name: str) -> None:
    with pytest.raises(Refused, match="cannot be a backup's name"):
        filled.call("db.backup", backupName=name)


def test_check_mode_writes_no_backup(filled: App) -> None:
    assert filled.dry("db.backup", backupName="dry.sql").status == "changed"
    assert not (filled.sandbox.root / "backups" / "dry.sql").exists()


def test_a_failing_dump_leaves_nothing_and_keeps_the_one_before(filled: App) -> None:
    path = Path(filled.call("db.backup", backupName="kept.sql").result["backupPath"])
    before = path.read_bytes()
    query = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"
    with ThreadPoolExecutor(1) as pool, filled.sandbox.server.connect(filled.name) as holder:
        holder.autocommit = False
        holder.execute("LOCK TABLE t")  # pg_dump waits for it
        running = pool.submit(filled.call, "db.backup", backupName="kept.sql")
        with filled.sandbox.server.connect() as connection:
            while not (found := connection.execute(query, [filled.name]).fetchone()):
                assert not running.done()
                time.sleep(0.02)
            connection.execute("SELECT pg_terminate_backend(%s)", [found[0]])
        with pytest.raises(StepError, match="the backup failed: ") as failed:
            running.result(20)
        holder.rollback()
    assert "terminating connection" in failed.value.evidence
    assert path.read_bytes() == before and not list(path.parent.glob("*.part"))


def test_a_part_that_a_killed_run_left_is_swept(filled: App) -> None:
    folder = filled.sandbox.root / "backups"
    filled.call("db.backup", backupName="one.sql")
    old, new = folder / "dead.sql.1234.part", folder / "busy.sql.1234.part"
    old.touch()
    new.touch()
    os.utime(old, (time.time() - 7200,) * 2)
    filled.call("db.backup", backupName="one.sql")
    assert not old.exists() and new.exists(), "a dump that is being written was swept, or a dead one was not"
    new.unlink()


def test_a_full_disk_leaves_no_half_file(filled: App, tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "small") as small:
        filled.sql("INSERT INTO t SELECT i, repeat(md5(i::text), 20) FROM generate_series(2, 6000) i")
        on = filled.sandbox.on
        other = Sandbox(filled.sandbox.folder, ikoma_backups_root=str(small / "backups"))
        assert on.host != other.on.host
        with pytest.raises(Unavailable, match="is full; nothing half-made is left") as failed:
            other.call("db.backup", appName=filled.name, backupName="big.sql")
        assert "Free space" in failed.value.remedy
        assert [path.name for path in (small / "backups").rglob("*") if path.is_file()] == []


# --- restores ---


def test_a_restore_takes_the_place_of_the_old_database(filled: App) -> None:
    dump = filled.call("db.backup", backupName=f"{filled.name}.sql").result
    filled.sql("DELETE FROM t; CREATE TABLE later ()")
    assert filled.dry("db.restore", backupPath=dump["backupPath"]).status == "changed"
    assert filled.tables == ["later", "t"], "check mode restored"
    done = filled.call("db.restore", backupPath=dump["backupPath"])
    assert done.status == "changed" and done.result["sha256"] == dump["sha256"]
    assert filled.sql("SELECT count(*) FROM t") == [(1,)] and filled.tables == ["t"]
    old = done.result["previousDatabase"]
    assert filled.sandbox.sql(old, "SELECT count(*) FROM t") == [(0,)], "the old database was not kept"
    by_name = filled.call("db.restore", backupPath=f"{filled.name}.sql")
    assert by_name.result["previousDatabase"] not in ("", old)


def test_a_restore_into_nothing_makes_the_database(filled: App) -> None:
    filled.call("db.backup", backupName=f"{filled.name}.sql")
    databases.drop(filled.sandbox.server, filled.name)
    done = filled.call("db.restore", backupPath=f"{filled.name}.sql")
    assert done.result["previousDatabase"] == "" and filled.tables == ["t"]


def test_clients_that_keep_coming_back_do_not_stop_a_restore(filled: App) -> None:
    filled.call("db.backup", backupName=f"{filled.name}.sql")
    over, served = threading.Event(), []

    def visit() -> None:
        while not over.is_set():
            try:
                with filled.sandbox.server.connect(filled.name) as connection:
                    while not over.is_set():
                        connection.execute("SELECT 1")
                        served.append(1)
            except StepError:
                continue

    with ThreadPoolExecutor(3) as pool:
        visitors = [pool.submit(visit) for _ in range(3)]
        try:
            done = filled.call("db.restore", backupPath=f"{filled.name}.sql")
        finally:
            over.set()
        for visitor in visitors:
            visitor.result(20)
    assert done.result["previousDatabase"] and served


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_text(path.read_text().replace("said", "sad!")), "is not the backup that was made"),
        (lambda path: (path.with_name(path.name + ".sha256").unlink(), path.write_text("SELECT nosuch;")),
         "cannot be restored; the old database serves on"),
    ],
)  # fmt: skip
def test_a_restore_that_fails_leaves_the_old_database_serving(filled: App, spoil: Any, said: str) -> None:
    path = Path(filled.call("db.backup", backupName=f"{filled.name}.sql").result["backupPath"])
    before = filled.sandbox.sql("postgres", "SELECT count(*) FROM pg_database")
    spoil(path)
    with pytest.raises(StepError, match=said) as failed:
        filled.call("db.restore", backupPath=str(path))
    assert failed.value.remedy
    assert filled.sql("SELECT count(*) FROM t") == [(1,)]
    assert filled.sandbox.sql("postgres", "SELECT count(*) FROM pg_database") == before, "a half-made one was left"


def test_a_dump_without_a_checksum_is_restored_with_a_warning(filled: App) -> None:
    path = Path(filled.call("db.backup", backupName=f"{filled.name}.sql").result["backupPath"])
    path.with_name(path.name + ".sha256").unlink()
    (warning,) = filled.call("db.restore", backupPath=str(path)).warnings
    assert "could not be verified" in warning


@pytest.mark.parametrize("path", ["../x.sql", "/etc/passwd", "a/b.sql", ".ikoma", "x\n.sql", ""])
def test_only_backups_are_restored(app: App, path: str) -> None:
    with pytest.raises(Refused, match="is no backup of this platform"):
        app.call("db.restore", backupPath=path)


def test_a_backup_that_is_not_there(app: App) -> None:
    with pytest.raises(NotFound, match="there is no backup"):
        app.call("db.restore", backupPath="nosuch.sql")


def test_names_that_sql_would_read_are_only_names(sandbox: Sandbox) -> None:
    """The name's pattern keeps such out of a tool; what stands below must not need that."""
    name = 'x"; DROP DATABASE postgres; --'
    databases.create(sandbox.server, name)
    assert databases.exists(sandbox.server, name)
    databases.drop(sandbox.server, name)
    assert databases.exists(sandbox.server, "postgres")
