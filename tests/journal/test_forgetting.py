"""What the journal forgets of old runs, and what it never does; on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from ikoma_play.journal import forgetting
from ikoma_play.journal.holder import this_process
from ikoma_play.journal.store import Store
from tests.parts.command import Ikoma

from .test_store import LOCK, MEMORY, RUN, STEP, Again, again, sandbox

__all__ = ["again", "sandbox"]

DAY = 86400.0
GONE = {**this_process().row, "process_start": 1}  # a process that has ended
LIVING = this_process().row


def run(store: Store, id: str, state: str = "done", days: float = 100, playbook: str = "a.yml", **more: Any) -> None:
    """A run of so many days ago, with one step."""
    call = more.pop("call", False)
    options = json.dumps({"command": []} if call else {"command": [], "given": {"extra_vars": []}})
    about = {"started": time.time() - days * DAY, "playbooks": json.dumps([playbook]), "options": options, "id": id}
    store.write(("add_run", {**RUN, **GONE, **about, **more}), ("begin_step", {**STEP, "run": id}))
    if state != "running":
        store.write(("end_run", {"id": id, "state": state, "ended": 1.0, "report": "{}"}))


def ids(store: Store) -> set[str]:
    return {row["id"] for row in store.read("newest_ids", most=1000)}


def test_old_runs_go_with_all_that_belongs_to_them(again: Again) -> None:
    store = again()
    run(store, "old")
    run(store, "young", days=80)
    store.write(("add_note", {"run": "old", "at": 1.0, "text": "x"}), ("add_event", {"run": "old", "event": "{}"}))
    assert forgetting.forget(store, runs=0, dry=True) == ["old"] and ids(store) == {"old", "young"}
    assert forgetting.forget(store, runs=2) == [] and forgetting.forget(store, runs=0) == ["old"]
    assert ids(store) == {"young"}
    assert not store.read("steps_of", run="old") and not store.read("notes_of", run="old")
    assert not store.read("events_after", run="old", after=0)


def test_what_can_be_resumed_stays_until_the_same_was_done(again: Again) -> None:
    store = again()
    for state in ("failed", "interrupted", "unreachable", "rollback_failed", "running"):
        run(store, state, state, playbook="b.yml")
    run(store, "alive", "running", playbook="b.yml", **LIVING)
    run(store, "other", "failed")
    assert forgetting.forget(store, runs=0) == []
    run(store, "mended", days=50, playbook="b.yml")
    gone = forgetting.forget(store, runs=0)
    assert set(gone) == {"failed", "interrupted", "unreachable", "rollback_failed", "running"}
    assert ids(store) == {"alive", "other", "mended"}


def test_what_a_release_names_or_can_be_undone_stays(again: Again) -> None:
    store = again()
    end = {"state": "changed", "ended": 2.5, "outcome": "{}", **MEMORY}
    for number in range(forgetting.PER_APPLICATION + 3):
        id = f"r{number:02}"
        run(store, id)
        arguments = json.dumps({"appName": "shop"})
        kept = number % 2  # one recorded a release, the next kept what it changed
        step = {**STEP, "run": id, "number": 2, "tool": "db.migrate" if kept else "deploy.up", "arguments": arguments}
        store.write(("begin_step", step), ("end_step", {"run": id, "number": 2, **end, "touched": 1, "unneeded": None}))
        if kept:
            store.write(("keep_undo", {"run": id, "number": 2, "undo": "[{}]"}))
    run(store, "locking")
    store.write(("take_lock", {**LOCK, "run": "locking"}))
    assert forgetting.forget(store, runs=0) == ["r00", "r01", "r02"]


def test_single_calls_stay_for_a_week(again: Again) -> None:
    store = again()
    run(store, "older", days=8, call=True)
    run(store, "failed", "failed", days=8, call=True)
    run(store, "newer", days=6, call=True)
    assert forgetting.forget(store) == ["older", "failed"]


def test_runs_forget_in_turn_and_by_command(tmp_path: Path) -> None:
    ikoma = Ikoma(tmp_path)
    (tmp_path / "p.yml").write_text("- hosts: localhost\n  gather_facts: false\n  tasks:\n    - command: 'true'\n")
    ikoma("run", "p.yml", expect=0)
    listed = json.loads(ikoma("runs", "list", "--json", expect=0).out)
    would = ikoma("runs", "prune", "--keep", "0", "--days", "0", "--check", expect=0)
    assert f"{listed[0]['id']}\n1 run would go" in would.out
    ikoma("runs", "prune", "--keep", "0", "--days", "0", expect=0)
    assert json.loads(ikoma("runs", "list", "--json", expect=0).out) == []


def test_one_run_in_many_looks(again: Again) -> None:
    store = again()
    for number in range(forgetting.EVERY):
        run(store, f"c{number:02}", days=8, call=True)
        forgetting.forget_in_turn(store)
        assert bool(ids(store)) == (number + 1 < forgetting.EVERY)
