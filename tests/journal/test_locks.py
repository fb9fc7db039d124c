"""Locks: one holder, told by name; a dead one is recognised whatever its number has become."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.errors import Locked
from ikoma_play.journal.holder import is_dead, this_process
from ikoma_play.journal.locks import Locks
from ikoma_play.journal.opening import open_store
from ikoma_play.journal.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:{tmp_path / 'journal.db'}")
    yield opened
    opened.close()


def held(store: Store, **other: Any) -> None:
    """A lock of run `old`, held by this process but for what `other` says."""
    store.write(("take_lock", {"name": "deploy", "run": "old", "since": 1.0, **this_process().row, **other}))


def test_a_second_run_is_told_who_holds_it(store: Store) -> None:
    Locks(store).take("deploy", "one")
    with pytest.raises(Locked) as failed:
        Locks(store).take("deploy", "two")
    me = this_process()
    for word in ("deploy", "run one", me.who, me.host, str(me.pid), "since 20"):
        assert word in failed.value.message


def test_a_run_may_take_its_own_again(store: Store) -> None:
    Locks(store).take("deploy", "one")
    Locks(store).take("deploy", "one")


def test_what_is_given_back_is_free(store: Store) -> None:
    locks = Locks(store)
    locks.take("deploy", "one")
    locks.give_back("deploy", "one")
    locks.take("deploy", "two")


def test_waiting_gets_it_when_it_is_free(store: Store) -> None:
    locks = Locks(store)
    locks.take("deploy", "one")
    timer = threading.Timer(0.4, lambda: locks.give_back("deploy", "one"))
    timer.start()
    Locks(store, patience=60).take("deploy", "two")
    timer.join()
    assert store.read("holder", name="deploy")[0]["run"] == "two"


def test_waiting_ends_when_the_run_is_stopped(store: Store) -> None:
    Locks(store).take("deploy", "one")
    began = time.monotonic()
    with pytest.raises(Locked):
        Locks(store, patience=600).take("deploy", "two", lambda: True)
    assert time.monotonic() - began < 300


def a_dead_process() -> dict[str, Any]:
    code = "from ikoma_play.journal.holder import this_process; import json; print(json.dumps(this_process().row))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    import json

    row: dict[str, Any] = json.loads(done.stdout)
    return row


@pytest.mark.parametrize("how", ["gone", "number used again", "machine started again"])
def test_a_dead_holder_is_taken_over(store: Store, how: str) -> None:
    other = {
        "gone": a_dead_process,
        "number used again": lambda: {"process_start": this_process().process_start - 1},
        "machine started again": lambda: {"boot": "another"},
    }[how]()
    held(store, **other)
    notes: list[tuple[str, str]] = []
    Locks(store, note=lambda run, said: notes.append((run, said))).take("deploy", "new")
    assert store.read("holder", name="deploy")[0]["run"] == "new"
    assert [run for run, _ in notes] == ["new"]
    assert "run old" in notes[0][1]


def test_of_another_host_an_older_version_says_nothing(store: Store) -> None:
    held(store, host="elsewhere", pid=1, boot="another")
    with pytest.raises(Locked, match="elsewhere"):
        Locks(store).take("deploy", "new")


def test_a_living_process_is_not_dead() -> None:
    me = this_process()
    assert not is_dead(me.row, me)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        row = {**me.row, "pid": child.pid}
        assert is_dead(row, me), "the start of a process is not looked at"
