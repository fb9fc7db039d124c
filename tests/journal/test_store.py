"""The contract of the journal's store, on SQLite and on PostgreSQL; and what each says when it cannot do it."""

from __future__ import annotations

import re
import secrets
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from ikoma_play.errors import JournalError, Locked, UsageError
from ikoma_play.journal import pulse
from ikoma_play.journal.again import state
from ikoma_play.journal.holder import SILENCE, this_process
from ikoma_play.journal.locks import Locks
from ikoma_play.journal.opening import open_store
from ikoma_play.journal.store import Store, migrations, statements
from tests.parts.sandbox import Sandbox, SmallDisk, sandbox

__all__ = ["sandbox"]

Again = Callable[[], Store]
RUN: dict[str, Any] = {
    "id": "20260101-000000-aaaa", "state": "running", "started": 1767225600.25, "playbooks": '["a.yml"]',
    "inventory": "[]", "options": "{}", "variables": "{}", "files": "{}", "who": "Zoë", "host": "h", "pid": 2**40,
    "boot": "b", "process_start": 5, "version": "1",
}  # fmt: skip
STEP: dict[str, Any] = {
    "run": RUN["id"], "number": 1, "play": "p", "host": "h1", "kind": "step", "title": "50 % done?", "tool": "command",
    "phase": "", "position": "a.yml:1:1", "occurrence": "step 0 1", "started": 1.5, "arguments": "{}",
}  # fmt: skip
MEMORY: dict[str, Any] = {"changed": 1, "extra": '{"rc": 0}', "facts": None, "notified": '["Restart"]', "withheld": 0}
LOCK: dict[str, Any] = {"name": "deploy", "run": "r", "who": "w", "host": "h", "pid": 1, "boot": "b",
                        "process_start": 2, "since": 3.5}  # fmt: skip


@pytest.fixture(params=["sqlite", "postgresql"])
def again(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Again]:
    """Opens the same fresh journal as often as it is called."""
    if request.param == "sqlite":
        url = f"sqlite:{tmp_path / 'below' / 'journal.db'}"
    else:
        running: Sandbox = request.getfixturevalue("sandbox")
        running.call("platform.up")
        found = running.cluster.coordinates()
        assert found is not None
        name = f"journal_{secrets.token_hex(4)}"
        server = f"postgresql://{found.user}:{found.password}@{found.host}:{found.port}"
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[call-overload]
        url = f"{server}/{name}"
    opened: list[Store] = []

    def once_more() -> Store:
        opened.append(open_store(url))
        return opened[-1]

    yield once_more
    for store in opened:
        store.close()


def test_what_was_written_is_read_again(again: Again) -> None:
    store = again()
    store.write(("add_run", RUN), ("begin_step", STEP))
    about = {"run": RUN["id"], "number": 1}
    assert store.write(("keep_undo", {**about, "undo": '["old"]'})) == 1
    end = {**about, "state": "changed", "ended": 2.5, "outcome": '{"status": "changed"}', **MEMORY}
    assert store.write(("end_step", {**end, "touched": 1, "unneeded": None}), durable=False) == 1
    other = again()
    (run,) = other.read("newest_runs", most=5)
    assert 0 <= run.pop("silent") < 60 and run.pop("alive") > 1767225600
    assert run == {**RUN, "ended": None, "report": None, "undoing": 0, "sequence": 1, "waiting": 0}
    assert other.read("steps_of", run=RUN["id"]) == [{**STEP, **end, "undo": '["old"]'}]
    other.write(("end_run", {"id": RUN["id"], "state": "done", "ended": 9.0, "report": "{}"}))
    assert store.read("runs_like", beginning="20260101%")[0]["state"] == "done"


def test_changes_are_made_together_or_not_at_all(again: Again) -> None:
    store = again()
    with pytest.raises(JournalError):
        store.write(("add_run", RUN), ("begin_step", STEP), ("begin_step", STEP))
    assert store.read("newest_runs", most=5) == [], "half of what belonged together was kept"
    store.write(("add_run", RUN))


def test_a_lock_is_given_to_one(again: Again) -> None:
    stores = [again() for _ in range(4)]
    taken: list[int] = []

    def take(number: int, store: Store) -> None:
        if store.write(("take_lock", {**LOCK, "run": f"r{number}"})):
            taken.append(number)

    threads = [threading.Thread(target=take, args=pair) for pair in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1
    assert stores[0].read("holder", name="deploy")[0]["run"] == f"r{taken[0]}"
    assert stores[0].write(("give_one_back", {"name": "deploy", "run": "another", "pid": 1})) == 0
    assert stores[0].write(("give_back", {"run": f"r{taken[0]}", "pid": 1})) == 1


def test_a_dead_lock_is_taken_over_by_one(again: Again) -> None:
    store = again()
    store.write(("take_lock", LOCK))
    over = {**LOCK, "run": "new", "since": 4.5, "dead": "r", "dead_pid": 1, "dead_since": 3.5}
    assert store.write(("replace_lock", over)) == 1
    assert store.write(("replace_lock", {**over, "run": "late"})) == 0
    assert store.read("holder", name="deploy")[0]["run"] == "new"


def test_threads_share_a_store(again: Again) -> None:
    store = again()
    store.write(("add_run", RUN))
    errors: list[Exception] = []

    def write(first: int) -> None:
        try:
            for number in range(first, first + 20):
                store.write(("begin_step", {**STEP, "number": number}), durable=False)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(100 * each,)) for each in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(store.read("steps_of", run=RUN["id"])) == 80


def test_several_open_a_fresh_journal_at_once(again: Again) -> None:
    errors: list[Exception] = []

    def open_it() -> None:
        try:
            again()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_journal_of_an_older_version_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with sqlite3.connect(path) as old:
        old.executescript(migrations()[0][1])
        old.execute("PRAGMA user_version = 1")
        old.execute(
            "INSERT INTO runs VALUES ('r', 'done', 1, 2, '[]', '[]', '{}', '{}', '{}', 'w', 'h', 1, 'b', 2, '1', '{}')"
        )
    old.close()
    store = open_store(f"sqlite:{path}")
    assert store.read("newest_runs", most=5)[0]["undoing"] == 0
    store.write(("begin_step", {**STEP, "run": "r"}))
    store.close()


def run_elsewhere(store: Store, silent: float) -> None:
    """A run on another host, which holds the lock and was not heard of for so many seconds."""
    me = {**this_process().row, "host": "elsewhere", "boot": "another"}
    lock = {**LOCK, **me, "name": "deploy", "run": RUN["id"]}
    store.write(("add_run", {**RUN, **me}), ("take_lock", lock))
    store._connection.execute(f"UPDATE runs SET alive = alive - {silent}")  # type: ignore[attr-defined]


def test_the_lock_of_a_run_elsewhere_is_taken_over_when_it_was_silent_for_long(again: Again) -> None:
    store, notes = again(), list[str]()
    run_elsewhere(store, SILENCE - 10)
    with pytest.raises(Locked, match="elsewhere"):
        Locks(store).take("deploy", "new")
    store._connection.execute("UPDATE runs SET alive = alive - 11")  # type: ignore[attr-defined]
    Locks(store, note=lambda run, said: notes.append(said)).take("deploy", "new")
    assert [lock["run"] for lock in store.read("all_locks")] == ["new"]
    assert "elsewhere was not heard of for 6" in notes[0]
    assert state(store.read("run_of", run=RUN["id"])[0]) == "died"


def test_a_run_that_was_held_for_dead_goes_no_further(again: Again, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a machine had stood still: it wakes up when another run has its lock."""
    monkeypatch.setattr(pulse, "BEAT", 0.01)
    store = again()
    me = {**this_process().row, "host": "elsewhere"}
    store.write(("add_run", {**RUN, **me}))
    beating = pulse.Pulse(store, RUN["id"], replace(this_process(), host="elsewhere"))
    before = store.read("run_of", run=RUN["id"])[0]["alive"]
    while store.read("run_of", run=RUN["id"])[0]["alive"] == before:
        time.sleep(0.01)
    beating.demand()
    store.write(("take_lock", {**LOCK, **me, "run": RUN["id"]}))
    dead = {"dead": RUN["id"], "dead_pid": me["pid"], "dead_since": LOCK["since"]}
    store.write(("hold_for_dead", {"name": "deploy", "run": "new", **dead}))
    beating.end()
    with pytest.raises(JournalError, match="was not heard of"):
        while True:
            beating.demand()
            beating._say()


@pytest.mark.parametrize("name", ["add_run", "newest_runs", "newest_ids"])
def test_a_run_is_begun_and_ended_without_a_look_at_all_others(tmp_path: Path, name: str) -> None:
    store = open_store(f"sqlite:{tmp_path / 'journal.db'}")
    text = statements()[name]
    values = dict.fromkeys(re.findall(r":(\w+)", text), 1)
    plan = [str(row["detail"]) for row in store._connection.execute(f"EXPLAIN QUERY PLAN {text}", values)]  # type: ignore[attr-defined]
    of_runs = [line for line in plan if line.startswith(("SCAN runs", "SEARCH runs"))]
    assert of_runs and all("runs_in_order" in line for line in of_runs), plan
    assert not any("TEMP B-TREE" in line for line in plan), plan
    store.close()


def test_every_statement_is_described() -> None:
    text = (Path(__file__).parents[2] / "ikoma_play/journal/queries.sql").read_text()
    for name in statements():
        assert text.partition(f"-- name: {name}\n")[2].startswith("-- "), f"{name} has no description"


def test_schema_files_are_numbered_without_gaps() -> None:
    assert [number for number, _ in migrations()] == list(range(1, len(migrations()) + 1))


def test_another_url_is_refused_without_showing_it() -> None:
    with pytest.raises(UsageError) as failed:
        open_store("mysql://me:tiger@db")
    assert "tiger" not in str(failed.value) + failed.value.remedy


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="PostgreSQL") as failed:
        open_store("postgresql://me:tiger@127.0.0.1:1/none")
    assert "tiger" not in failed.value.message + failed.value.evidence


def test_a_journal_of_a_newer_version_is_left_alone(again: Again, tmp_path: Path) -> None:
    store = again()
    path = getattr(store, "path", None)
    if path is not None:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
    else:
        store._connection.execute("INSERT INTO journal_schema VALUES (99)")  # type: ignore[attr-defined]
    with pytest.raises(JournalError, match="newer ikoma-play"):
        again()


def test_a_damaged_file_is_told_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"no database at all " * 100)
    with pytest.raises(JournalError, match="is damaged") as failed:
        open_store(f"sqlite:{path}")
    assert f"mv {path}" in failed.value.remedy
    assert path.read_bytes().startswith(b"no database")


def test_a_place_that_cannot_be_written() -> None:
    with pytest.raises(JournalError, match="cannot be written"):
        open_store("sqlite:/proc/nowhere/journal.db")


def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "disk", "600k") as disk:
        store = open_store(f"sqlite:{disk / 'journal.db'}")
        store.write(("add_run", RUN))
        written = 0
        with pytest.raises(JournalError, match="cannot be used") as failed:
            for number in range(1, 10_000):
                store.write(("begin_step", {**STEP, "number": number, "title": "x" * 2000}))
                written = number
        assert "disk is full" in failed.value.remedy
        assert len(store.read("steps_of", run=RUN["id"])) == written > 0
        store.close()


def test_a_file_that_another_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ikoma_play.journal.sqlite.PATIENCE", 0.1)
    path = tmp_path / "journal.db"
    store = open_store(f"sqlite:{path}")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(JournalError, match="held by another program"):
            store.write(("add_run", RUN))
    finally:
        other.close()
    store.write(("add_run", RUN))
    store.close()


def test_only_its_owner_reads_the_file(tmp_path: Path) -> None:
    open_store(f"sqlite:{tmp_path / 'journal.db'}").close()
    assert (tmp_path / "journal.db").stat().st_mode & 0o777 == 0o600


def test_looking_makes_no_journal(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="there is no journal"):
        open_store(f"sqlite:{tmp_path / 'below' / 'journal.db'}", create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_check_loads_no_database() -> None:
    code = "import ikoma_play.cli.check, ikoma_play.cli.run, sys; print('sqlite3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_notification_is_sent_by_one_and_kept_until_it_is(again: Again) -> None:
    one, other = again(), again()
    said = {"id": "1", "run": "r", "at": 1.5, "severity": "", "contact": "c", "way": "webhook", "host": "h", "app": "a"}
    one.write(("add_notification", {**said, "message": "{}"}))
    assert one.write(("claim_notification", {"id": "1", "now": 500.0, "stale": 380.0})) == 1
    assert other.write(("claim_notification", {"id": "1", "now": 501.0, "stale": 381.0})) == 0, "two would send it"
    one.write(("notification_failed", {"id": "1", "error": "no network"}))
    (row,) = other.read("waiting_notifications")
    assert (row["error"], row["attempts"], row["sent"]) == ("no network", 1, None)
    assert other.write(("claim_notification", {"id": "1", "now": 502.0, "stale": 382.0})) == 1
    other.write(("notification_sent", {"id": "1", "sent": 503.0}))
    assert one.read("waiting_notifications") == [] and one.read("newest_notifications", app="a", most=5)[0]["sent"]
    assert one.read("newest_notifications", app="", most=5) and not one.read("newest_notifications", app="b", most=5)
