"""The one interface through which tools touch a host.

Paths are absolute, or relative to the working directory of the connection. Every method raises
`Unreachable` when the host does not answer; the others are named where they can come.
"""

from __future__ import annotations

import os
import posixpath
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import CommandFailed, StepError
from ..model import Command, Host, Progress, Result


@dataclass(frozen=True, slots=True)
class Stat:
    """One directory entry; `kind` is file, directory, link or other; `mode` the permission bits."""

    path: str
    kind: str
    mode: int
    size: int
    mtime: float
    uid: int
    gid: int
    owner: str = ""
    group: str = ""
    target: str = ""  # of a link


def ignore(progress: Progress) -> None:
    """The default receiver of progress."""


class Transport(ABC):
    """An open road to one host. `dry` says that nothing may be changed: commands and writes that
    would change something are recorded, not done, and a tool that changes a host by other means
    (psycopg, the Docker SDK) asks `dry` before it does."""

    host: Host
    dry: bool = False
    local: bool = False  # the host is the runner itself: its files, ports and processes are at hand
    detached: float | None = None  # seconds: a command that is the whole of a step goes on by itself that long
    progress: Callable[[Progress], None] = staticmethod(ignore)

    @property
    def round_trips(self) -> int:
        """How often something was asked of the host over the network and its answer waited for, up to now."""
        return 0

    # --- the verbs that every transport brings ---

    @abstractmethod
    def run(self, command: Command, on_output: Callable[[bytes], None] | None = None) -> Result:
        """Run an argv list; a bad exit code is a Result, not an error. Raises TimedOut.

        `on_output` receives standard output and error as they come."""

    @abstractmethod
    def read(self, path: str) -> bytes:
        """A file's content. Raises NotFound, StepError (permission, is a directory)."""

    @abstractmethod
    def write(self, path: str, data: bytes | BinaryIO, mode: int | None = None) -> None:
        """Put `data` at `path`, whole or not at all: written beside it, flushed, renamed.

        `mode` None keeps the mode of what was there, or takes 0644. Parents must exist.
        Raises Unavailable when the disk is full, StepError (permission, read-only)."""

    @abstractmethod
    def stat(self, path: str, follow: bool = False) -> Stat | None:
        """What is at `path`, None where nothing is."""

    @abstractmethod
    def scan(self, path: str, recurse: bool = False) -> Sequence[Stat]:
        """The entries of a directory (not itself), sorted by path; [] where it is not there."""

    @abstractmethod
    def tunnel(self, address: str, port: int) -> AbstractContextManager[tuple[str, int]]:
        """An address and port on the runner that lead to `address:port` as seen from the host.

        `address` may be the path of a unix socket on the host, `port` then 0; a transport may hand
        a unix socket path back."""

    @abstractmethod
    def close(self) -> None:
        """Give up the road; safe to call twice."""

    def one_step(self) -> AbstractContextManager[None]:
        """For as long as it lasts, a transport may tell again what it has just seen of the host without asking
        it anew; what is changed through the transport itself is always seen."""
        return nullcontext()

    # --- what stands on them ---

    def become(self, user: str, method: str = "sudo", password: str | None = None, flags: str = "") -> Transport:
        """The same road as another user of the host; `method` is sudo or su, `flags` go to it.

        The password travels on standard input, never in an argv. Raises StepError where it cannot be."""
        raise StepError(f"{type(self).__name__} cannot become {user}")

    def demand(
        self,
        command: Command,
        message: str = "",
        remedy: str = "",
        on_output: Callable[[bytes], None] | None = None,
    ) -> Result:
        """Like run, but raises CommandFailed on any exit code other than 0."""
        result = self.run(command, on_output)
        if not result.ok:
            raise CommandFailed(command, result, message, remedy)
        return result

    def exists(self, path: str) -> bool:
        return self.stat(path) is not None

    def mkdir(self, path: str, mode: int = 0o755) -> bool:
        """Make a directory with its parents; True when it was not there. Raises StepError for a file in the way."""
        there = self.stat(path, follow=True)
        if there is not None:
            if there.kind != "directory":
                raise StepError(f"cannot make the directory {path}: a {there.kind} is there")
            return False
        self.demand(Command(("mkdir", "-p", "-m", f"{mode:o}", "--", path)))
        return True

    def remove(self, path: str) -> bool:
        """Remove a file or a whole tree; True when there was one."""
        if self.stat(path) is None:
            return False
        self.demand(Command(("rm", "-rf", "--", path)))
        return True

    def rename(self, source: str, target: str) -> None:
        """Rename within one file system, replacing a file at `target`."""
        self.demand(Command(("mv", "-fT", "--", source, target)))

    def chmod(self, path: str, mode: int) -> None:
        self.demand(Command(("chmod", f"{mode:o}", "--", path)))

    def chown(self, path: str, owner: str | None = None, group: str | None = None) -> None:
        """Change owner, group or both, by name or number; of a link itself, not of what it leads to."""
        who = (owner or "") + (f":{group}" if group is not None else "")
        self.demand(Command(("chown", "-h", "--", who, path)))

    def symlink(self, target: str, path: str) -> None:
        """Make `path` a link to `target`, replacing a file or link at one stroke."""
        beside = posixpath.join(posixpath.dirname(path), f".{posixpath.basename(path)[:200]}.{os.urandom(6).hex()}")
        self.demand(Command(("ln", "-s", "--", target, beside)))
        self.rename(beside, path)

    def send(self, source: Path, path: str, mode: int | None = None) -> None:
        """Put a file of the runner at `path`, as `write` does; a road that can be broken off goes on where it was."""
        with source.open("rb") as file:
            self.write(path, file, mode)

    def upload(self, source: Path, path: str) -> int:
        """Copy a file or a tree of the runner to `path`; returns how many files were written.

        Files that are already the same (content and mode) are left alone."""
        files = files_below(source) if source.is_dir() else [(source, path)]
        written = 0
        for count, (file, target) in enumerate(
            (file, posixpath.join(path, target)) if source.is_dir() else (file, target) for file, target in files
        ):
            self.progress(Progress(f"copying {source.name}", count, len(files)))
            data, mode = file.read_bytes(), file.stat().st_mode & 0o777
            there = self.stat(target)
            if there and there.kind == "file" and there.mode == mode and self.read(target) == data:
                continue
            self.mkdir(posixpath.dirname(target))
            self.write(target, data, mode)
            written += 1
        return written


def files_below(folder: Path) -> list[tuple[Path, str]]:
    """Every regular file below a folder of the runner, with its path relative to it."""

    def walk(place: Path) -> Iterator[Path]:
        for entry in sorted(place.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                yield from walk(entry)
            elif entry.is_file():
                yield entry

    return [(file, file.relative_to(folder).as_posix()) for file in walk(folder)]
