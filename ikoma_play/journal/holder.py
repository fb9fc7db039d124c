"""A process as others can tell whether it still lives: on its own machine by its number and start, elsewhere by what
it says in the journal, every BEAT seconds while it runs."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

BEAT = 10.0  # seconds between two signs of life
SILENCE = 60.0  # seconds after which one that was not heard of any more is dead, for those who cannot look


class Holder(Struct, frozen=True):
    """A process. `boot` names the time since its machine was started, `process_start` its start in ticks since:
    together they tell it from a later one with the same number."""

    who: str
    host: str
    pid: int
    boot: str
    process_start: int

    @property
    def row(self) -> dict[str, Any]:
        return asdict(self)


def this_process(who: str = "") -> Holder:
    """This process; `who` has it do what it does, default its user."""
    return Holder(who or _who(), platform.node() or "localhost", os.getpid(), _boot(), _started(os.getpid()) or 0)


def is_dead(row: Mapping[str, Any], here: Holder) -> bool:
    """Whether the process of a run or a lock is known to be gone.

    One of this machine is looked for. One in another container of it, or on another host, is dead once it was
    silent for too long; `alive` and `silent` are columns of rows about runs."""
    if row["host"] == here.host and row["boot"] == here.boot:
        return _started(int(row["pid"])) != int(row["process_start"])
    if row["host"] == here.host and row["boot"].partition(" ")[0] != here.boot.partition(" ")[0]:
        return True  # the machine was started again
    return bool(row.get("alive")) and float(row["silent"]) > SILENCE


def _boot() -> str:
    """The machine's boot, and in which set of process numbers (a container has its own) ours are."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(pid: int) -> int | None:
    """When a process started, in clock ticks since the boot; None when there is none, or only its zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _who() -> str:
    import getpass

    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
