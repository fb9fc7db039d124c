"""Which runs can be gone on with or undone, and what is another thing now than when they began."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .holder import is_dead, this_process
from .store import Row, Store


def find(store: Store, run: str | None, calls: bool = True) -> Row:
    """A run by its id or the beginning of it, else the newest; `calls` False: the newest that is no single call.
    Raises UsageError."""
    if run is None:
        found = store.read("newest_runs", most=1 if calls else LOOKED_THROUGH)
        found = [row for row in found if calls or "call" not in asked(row)]
        if not found:
            what = "run" if calls else "run of a playbook"
            raise UsageError(f"there is no {what} in the journal yet", remedy="Begin one: ikoma-play run PLAYBOOK")
        return found[0]
    pattern = "".join(letter for letter in run if letter.isalnum() or letter == "-")
    found = store.read("runs_like", beginning=f"{pattern}%") if pattern == run else []
    exact = [row for row in found if row["id"] == run]
    if len(found) == 1 or exact:
        return (exact or found)[0]
    what = "is the beginning of several runs" if found else "is no run of this journal"
    raise UsageError(f"{run} {what}", remedy="See: ikoma-play runs list")


def lost_hosts(store: Store) -> list[str]:
    """The hosts on which the newest run failed or that it could not reach; those of a run that died are all that
    have begun a step and come to no end. Raises UsageError where there is none."""
    row = find(store, None, calls=False)
    report = json.loads(row["report"]) if row["report"] else None
    if report is not None:
        lost = [name for name, recap in report["hosts"].items() if recap["failed"] or recap["unreachable"]]
    else:
        open_ = (step["host"] for step in store.read("steps_of", run=row["id"]) if step["state"] in _LOST)
        lost = list(dict.fromkeys(open_))
    if not lost:
        raise UsageError(f"no host failed in the newest run, {row['id']}", remedy="See: ikoma-play runs show")
    return lost


LOOKED_THROUGH = 1000  # runs, for the newest of playbooks
UNDER_WAY = ("running", "waiting")
_LOST = ("started", "failed", "unreachable")


def state(row: Row) -> str:
    """The run's state in words; a run whose process has ended without a word has died, and one that has asked a person
    is waiting."""
    if row["state"] != "running":
        return str(row["state"]).replace("_", " ")
    if is_dead(row, this_process()):
        return "died"
    return "waiting" if row["waiting"] else "running"


def under_way(row: Row) -> bool:
    """Whether the run's process is at work or waits for a person, as far as is known."""
    return state(row) in UNDER_WAY


def demand_resumable(row: Row) -> None:
    """Raises UsageError, with what to do in its place, where a run cannot be gone on with."""
    known, name = state(row), row["id"]
    _demand_ended(row, known)
    if known == "done":
        raise UsageError(f"run {name} is done: there is nothing left of it to do", remedy="See: ikoma-play runs list")
    if known == "undone":
        raise UsageError(f"run {name} was rolled back, so it starts from the beginning", remedy=_anew(row))
    if "call" in asked(row):
        raise UsageError(
            f"run {name} was one call of a tool, which has no further step to go on with",
            remedy="Make the call again. See: ikoma-play runs list",
        )
    if row["undoing"]:
        raise UsageError(
            f"run {name} is being undone, so it cannot be gone on with",
            remedy=f"Finish that: ikoma-play runs rollback {name}",
        )
    if known == "rollback failed":
        raise UsageError(
            f"a rollback handler of run {name} failed, so what it left is not what it would go on from",
            remedy=f"With the cause mended, finish the rollback: ikoma-play runs rollback {name}",
        )


def demand_undoable(row: Row) -> None:
    """Raises UsageError where a run cannot be undone, or was."""
    known, name = state(row), row["id"]
    _demand_ended(row, known)
    if known == "undone":
        raise UsageError(f"run {name} is undone already", remedy=f"See: ikoma-play runs show {name}")


def _demand_ended(row: Row, known: str) -> None:
    if known in UNDER_WAY:
        wait = "Wait for its end" if known == "running" else f"Answer it (ikoma-play runs approve {row['id']})"
        raise UsageError(
            f"run {row['id']} is under way: process {row['pid']} of {row['who']} on {row['host']}",
            remedy=f"{wait}, or stop it: the first SIGINT lets it finish its step.",
        )
    if not (asked(row).get("given") or "call" in asked(row)):
        raise UsageError(f"run {row['id']} is an older version's, and is not kept whole", remedy=_anew(row))


def _anew(row: Row) -> str:
    return f"Run it again: {' '.join(asked(row).get('command', ()))}"


def asked(row: Row) -> dict[str, Any]:
    """What the run was asked for: `command`, a list of words, and `given`, the options by name."""
    options: dict[str, Any] = json.loads(row["options"])
    return options


def fingerprint(run: str, value: str) -> str:
    """A hash of a variable's JSON that is of use in its own run only."""
    return hashlib.sha256((run + value).encode("utf-8", "surrogatepass")).hexdigest()


def fingerprint_of_file(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""


def differences(row: Row, variables: Mapping[str, str]) -> list[str]:
    """What is not as it was when the run began, one sentence each. `variables`: values as JSON by name."""
    told = []
    for path, known in json.loads(row["files"]).items():
        now = fingerprint_of_file(path)
        if now != known:
            told.append(f"{path} has changed" if now else f"{path} cannot be read any more")
    before = json.loads(row["variables"])
    for name, known in before.items():
        if name not in variables:
            told.append(f"the variable {name} is not given any more")
        elif fingerprint(row["id"], variables[name]) != known:
            told.append(f"the variable {name} has another value")
    told += [f"the variable {name} is new" for name in variables if name not in before]
    return told
