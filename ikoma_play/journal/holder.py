"""A process as others can tell whether it still lives: host, boot, number, start."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict


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
    """Whether a process of a run or a lock is known to be gone; of another host's nobody here knows."""
    if row["host"] != here.host:
        return False
    if row["boot"] != here.boot:
        return True
    return _started(int(row["pid"])) != int(row["process_start"])


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
