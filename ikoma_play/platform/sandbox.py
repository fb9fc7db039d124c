"""The sandbox's own directory on this machine, and the processes that belong to it.

Every process of a sandbox carries `IKOMA_SANDBOX=<its directory>` in its environment: whatever a service
forks or leaves behind is found by it, even after the supervisor that started it was killed.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import Refused, Unavailable
from ..transport.base import Transport
from ..transport.faults import told
from .settings import settings

MARK = "IKOMA_SANDBOX"
PROGRAM = "IKOMA_PROGRAM"  # the name of the supervisor's program that a process belongs to
MARKER_FILE = ".ikoma-sandbox"
# Ask, ask a database not to wait for its clients, and end it.
_SIGNALS = ((signal.SIGTERM, 3.0), (signal.SIGINT, 10.0), (signal.SIGKILL, 5.0))


def root(on: Transport) -> Path:
    """The sandbox's directory. Raises Refused where the host is not this machine."""
    if not on.local:
        raise Refused(
            f"host {on.host.name} is reached over a connection; local processes run on this machine only",
            remedy="Use ikoma_runtime: compose and a postgresql:// URL for that host, or ansible_connection: local.",
        )
    found = Path(os.path.realpath(settings(on).sandbox_root))
    if "\n" in str(found) or "[" in str(found):
        raise Refused(
            f"the sandbox cannot lie in {str(found)!r}",
            remedy="Set ikoma_sandbox_root to a path without line breaks and brackets.",
        )
    return found


def claim(on: Transport) -> Path:
    """Make the sandbox's directory ours; what is in it and not ours is left alone."""
    folder = root(on)
    on.mkdir(str(folder), 0o755)
    if not on.exists(str(folder / MARKER_FILE)):
        on.write(str(folder / MARKER_FILE), b"Made by ikoma-play; platform.down with remove: true deletes it.\n", 0o644)
    return folder


def is_ours(folder: Path) -> bool:
    return (folder / MARKER_FILE).is_file()


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Held by one runner at a time; it falls with the process that holds it. Raises StepError where it may not be."""
    with told("lock", str(path)):
        file = path.open("w")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def processes(folders: Iterable[Path | str], program: str = "") -> list[int]:
    """The living processes of the sandboxes in these directories, or of one program of theirs; never this one or
    one that it descends from."""
    marks = {f"{MARK}={folder}".encode() for folder in folders}
    spared = set(_ancestors())
    here = _namespace("self")
    found = []
    for pid in _pids():
        if pid in spared:
            continue
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:  # gone, or somebody else's
            continue
        entries = environment.split(b"\0")
        if program and f"{PROGRAM}={program}".encode() not in entries:
            continue
        # The same path in a container is another directory.
        if not marks.isdisjoint(entries) and _namespace(str(pid)) == here:
            found.append(pid)
    return found


def end_processes(folders: Iterable[Path | str], program: str = "") -> bool:
    """End what is left of the sandboxes in these directories, or of one program; True when there was anything."""
    folders = list(folders)
    left = processes(folders, program)
    had = bool(left)
    for number, patience in _SIGNALS:
        for pid in left:
            try:
                os.kill(pid, number)
                os.kill(pid, signal.SIGCONT)  # one that was stopped would not hear it
            except OSError:
                continue
        deadline = time.monotonic() + patience
        while left and time.monotonic() < deadline:
            time.sleep(0.02)
            left = [pid for pid in left if alive(pid)]
        # Something may have been started by one of them meanwhile.
        left = processes(folders, program)
        if not left:
            return had
    raise Unavailable(
        f"processes of the sandbox do not end: {', '.join(map(str, left))}",
        remedy="Look at them with ps and end them by hand.",
    )


def alive(pid: int) -> bool:
    """Whether the process runs; one that ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):
        return False


def environment_of(pid: int) -> dict[str, str]:
    """The environment that a process was started with; empty where it may not be read."""
    try:
        text = Path(f"/proc/{pid}/environ").read_bytes().decode("utf-8", "replace")
    except OSError:
        return {}
    return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)


def _pids() -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            yield int(entry.name)


def _ancestors() -> Iterator[int]:
    pid = os.getpid()
    while pid > 0:
        yield pid
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            return


def _namespace(pid: str) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/mnt").readlink())
    except OSError:
        return ""
