"""Requests with an Idempotency-Key of a server on another host, which can only be told dead by its silence; on SQLite
and on PostgreSQL."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest

from ikoma_play.errors import JournalError
from ikoma_play.journal.holder import SILENCE, this_process
from ikoma_play.server.answers import Refusal
from ikoma_play.server.once import Begun, Kept, Once
from tests.journal.test_store import LOCK, RUN, Again, again, sandbox

__all__ = ["again", "sandbox"]

NAMES = {"caller": "ci", "name": "once"}
ELSEWHERE = {"host": "elsewhere", "pid": 7, "boot": "b", "process_start": 5}
ASKED = b"POST /execute/deploy.up"


def made(ago: float) -> dict[str, Any]:
    """The row of a request that a server elsewhere took so many seconds ago."""
    return {**NAMES, **ELSEWHERE, "asked": hashlib.sha256(ASKED).hexdigest(), "at": time.time() - ago}


def names(row: dict[str, Any]) -> dict[str, Any]:
    """What tells a request from one that took its place."""
    return {name: row[name] for name in (*NAMES, "at")}


def begin(once: Once) -> Begun | Kept | str:
    """What comes of the same request here; the code where it is refused."""
    try:
        return once.begin(NAMES["caller"], NAMES["name"], ASKED)
    except Refusal as refusal:
        return refusal.code


def test_a_request_that_a_silent_server_took_is_made_once_more_and_only_once(again: Again) -> None:
    store = again()
    once = Once(store, lambda run: None)
    store.write(("begin_request", made(ago=SILENCE / 2)))
    assert begin(once) == "in-progress"
    old = made(ago=SILENCE + 1)
    store.write(("forget_old_requests", {"before": time.time()}), ("begin_request", old))
    (seen,) = store.read("request_of", **NAMES)  # by a third server, which is slower
    anew = begin(once)
    assert isinstance(anew, Begun)
    assert not store.write(("forget_request", names(seen)))
    assert begin(once) == "in-progress", "the one that was quicker is made"
    silent = Begun(store, names(old))  # it lives after all
    with pytest.raises(JournalError, match="in its place"):
        silent.runs("another")
    silent.end(500, "nothing was done")
    anew.runs("20260101-000000-bbbb")
    anew.end(200, "done")
    assert begin(once) == Kept(200, "done")


def test_a_request_lives_as_long_as_the_run_that_it_began(again: Again) -> None:
    store = again()
    once = Once(store, lambda run: Kept(200, f"{run} did it"))
    request = made(ago=1000)
    store.write(("begin_request", request), ("add_run", {**RUN, **this_process().row, **ELSEWHERE}))
    Begun(store, names(request)).runs(RUN["id"])
    assert begin(once) == "in-progress", "its run was heard of"
    lock = {**LOCK, "run": RUN["id"]}
    dead = {**LOCK, "run": "next", "dead": RUN["id"], "dead_pid": lock["pid"], "dead_since": lock["since"]}
    store.write(("take_lock", lock), ("hold_for_dead", dead))
    assert begin(once) == Kept(200, f"{RUN['id']} did it")
