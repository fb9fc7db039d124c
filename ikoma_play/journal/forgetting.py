"""Which runs the journal forgets: old ones that nobody can want to go on with or to undo any more.

A run of playbooks stays while it is among the newest RUNS or younger than DAYS, a single call while it is younger
than CALL_DAYS, for which answers to repeated requests may be asked for. Older ones stay as well

- while their process lives, or while they hold a lock;
- when they did not end well and no later run of the same playbooks did: they can still be resumed;
- when they are among the newest PER_APPLICATION of an application that recorded a release or kept what they
  changed: a release names them, and they can be undone.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

from .again import asked, state
from .store import Change, Row, Store

RUNS, DAYS, CALL_DAYS, PER_APPLICATION = 1000, 90, 7, 20
EVERY = 20  # of so many runs one looks what can go
_AT_ONCE = 50  # so that others who share the journal wait for moments only
_ENDED_WELL = ("done", "undone")


def forget(store: Store, runs: int = RUNS, days: float = DAYS, dry: bool = False) -> list[str]:
    """Remove what need not stay, with its steps, notes and events; the ids, the oldest first. `dry` only tells.

    Raises JournalError."""
    gone = [row["id"] for row in _spare(store, runs, days)]
    for at in range(0, 0 if dry else len(gone), _AT_ONCE):
        store.write(*(change for run in gone[at : at + _AT_ONCE] for change in _changes(run)))
    return gone


def forget_in_turn(store: Store) -> None:
    """What `forget` does, once in EVERY runs. Raises JournalError."""
    newest = store.read("newest_runs", most=1)
    if newest and newest[0]["sequence"] % EVERY == 0:
        forget(store)


def _spare(store: Store, runs: int, days: float) -> Iterator[Row]:
    now = time.time()
    old = store.read("runs_before", before=now - min(days, CALL_DAYS) * 86400)
    if not old:
        return
    newest = {row["id"] for row in store.read("newest_ids", most=runs)}
    mended = {(row["playbooks"], row["inventory"]): row["last"] for row in store.read("last_done")}
    stays = _of_applications(store) | {lock["run"] for lock in store.read("all_locks")}
    for row in old:
        call = not asked(row).get("given")
        young = row["started"] > now - (CALL_DAYS if call else days) * 86400
        known = state(row)
        over = known in _ENDED_WELL or call or mended.get((row["playbooks"], row["inventory"]), 0) > row["sequence"]
        if known != "running" and over and not young and row["id"] not in stays and (call or row["id"] not in newest):
            yield row


def _of_applications(store: Store) -> set[str]:
    """The newest runs of each application that recorded a release, or kept what they changed."""
    runs = defaultdict[tuple[str, str], dict[str, None]](dict)
    for row in store.read("steps_with_a_past"):  # the newest first
        app = json.loads(row["arguments"]).get("appName")
        runs[row["host"], str(app)][row["run"]] = None
    return {run for of_one in runs.values() for run in list(of_one)[:PER_APPLICATION]}


def _changes(run: str) -> Sequence[Change]:
    return [(name, {"run": run}) for name in ("forget_events", "forget_approvals", "forget_run")]
