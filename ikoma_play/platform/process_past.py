"""The local processes of an application as they were: kept before something changes them, and brought back."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..tool import Record
from ..transport.base import Transport
from . import kept
from .process import start_sandbox
from .process_plan import Check, Plan
from .process_wait import Wait
from .supervisor import Supervisor

# A copy of what is missing of "$1" in "$2", whose entries are never written into; what is not in "$1" goes.
_IMAGES = r"""kept=$1 images=$2
[ -n "$images" ] || exit 1
[ -d "$kept" ] || { rm -rf -- "$images"; exit; }
mkdir -p -- "$images" || exit 1
for one in "$images"/* "$images"/.part-*; do
  [ -e "$kept/$(basename -- "$one")" ] || rm -rf -- "$one" || exit 1
done
for one in "$kept"/*; do
  [ -e "$one" ] || continue
  [ -e "$images/$(basename -- "$one")" ] || cp -al -- "$one" "$images/" || cp -a -- "$one" "$images/" || exit 1
done"""


def in_order(supervisor: Supervisor, app: str) -> list[str]:
    """The programs of the application that run, in the order in which they were started."""
    states = supervisor.states()
    up = [state for name, state in states.items() if name.startswith(f"{app}.") and state.up]
    return [state.name for state in sorted(up, key=lambda state: (state.started_at, state.name))]


def start(supervisor: Supervisor, names: Sequence[str], timeout: float) -> None:
    """Start programs one after the other, each once the one before is healthy. Raises Unhealthy."""
    wait = Wait(supervisor, lambda service: names[0].partition(".")[0] + "." + service, time.monotonic() + timeout)
    for name in names:
        program = supervisor.program(name)
        if program is None:
            continue
        check = Check(program.check, interval=1.0, retries=30) if program.check else None
        plan = Plan(name.partition(".")[2], program.argv, {}, "", check=check, restart=program.restart)
        wait.begin(plan)
        wait.until([plan])


def remember(on: Transport, app: str, at: str, files: Sequence[str], starts: bool = True) -> dict[str, Any]:
    """Keep what runs, and further files of the application."""
    supervisor = Supervisor(on)
    names = _programs(supervisor, app)
    own = [str(path) for name in names for path in _files(supervisor, name)]
    images = supervisor.root / "images"
    record = kept.keep(on, app, at, [*own, *files], [str(images)])
    kept.link(on, record, str(images / app), "images")
    ran = in_order(supervisor, app)
    return {**record, "programs": [*ran, *(name for name in names if name not in ran)], "ran": ran}


def stop_newer(on: Transport, record: Record, late: bool) -> str:
    """Stop what took the place of what ran, and put the former programs in its place; a sentence about it, "" where
    nothing did."""
    app, supervisor = str(record["app"]), Supervisor(on)
    before = list(record["programs"])
    now = {name: supervisor.program(name) for name in _programs(supervisor, app)}
    if before or now:
        start_sandbox(on)
    stopped = [name for name in now if name not in before]
    for name in reversed(stopped):
        supervisor.drop(name)
    images = str(supervisor.root / "images" / app)
    on.demand(kept.script(_IMAGES, posixpath.join(str(record["place"]), "images"), images))
    kept.put_back(on, record)
    up = set(in_order(supervisor, app))
    for name in before:
        former = supervisor.program(name)
        if former is not None and (former != now.get(name) or (name in up and name not in record["ran"])):
            supervisor.put(former)
            stopped.append(name)
    return f"{', '.join(sorted(name.partition('.')[2] for name in stopped))} stopped" if stopped else ""


def bring_back(on: Transport, record: Record, timeout: float) -> str:
    """What ran before runs again; a sentence about it. Raises Unhealthy where it does not come up."""
    supervisor = Supervisor(on)
    up = set(in_order(supervisor, str(record["app"])))
    again = [name for name in record["ran"] if name not in up]
    start(supervisor, again, timeout)
    if again:
        return f"{', '.join(name.partition('.')[2] for name in again)} run as before"
    return "what ran before runs on" if record["ran"] else "nothing of it runs, as before"


def _programs(supervisor: Supervisor, app: str) -> list[str]:
    return [name for name in supervisor.programs() if name.startswith(f"{app}.")]


def _files(supervisor: Supervisor, name: str) -> tuple[Path, Path]:
    return supervisor.file(name), supervisor.folder / "conf.d" / f"{name}.conf"
