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
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from ..errors import CommandFailed, StepError
from ..model import Command, Host, Progress, Result

LARGE = 16 * 2**20  # bytes from which a file is compared by its hash instead of read


class Stat(Struct, frozen=True):
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

    @property
    def noun(self) -> str:
        """What it is, for a sentence."""
        return "device, pipe or socket" if self.kind == "other" else self.kind


class Item(Struct, frozen=True):
    """What shall be at `path`: a directory (`content` None), or a file with these bytes or those of a file of the
    runner; `mode` the permission bits."""

    path: str
    content: bytes | Path | None
    mode: int

    @property
    def size(self) -> int:
        """In bytes; 0 of a directory."""
        if self.content is None:
            return 0
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    @property
    def sha256(self) -> str:
        import hashlib  # takes its time to load

        if isinstance(self.content, Path):
            with self.content.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        return hashlib.sha256(self.content or b"").hexdigest()


class Put(Struct, frozen=True):
    """What a file's content was before `put`, None where nothing was there; `changed`: it is another now."""

    before: bytes | None
    changed: bool


def ignore(progress: Progress) -> None:
    """The default receiver of progress."""


class Transport(ABC):
    """An open road to one host. `dry` says that nothing may be changed: commands and writes that
    would change something are recorded, not done, and a tool that changes a host by other means
    (psycopg, the Docker SDK) asks `dry` before it does."""

    host: Host
    dry: bool = False
    local: bool = False  # the host is the runner itself: its files, ports and processes are at hand
    at_once: int = 0  # bytes up to which `put` may do it
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

    def put(self, path: str, data: bytes, mode: int | None = None) -> Put | None:
        """Have a regular file at `path` hold `data`, by the very question that looks at what is there, where the road
        can do that; `mode` as in `write`, of a file that is written.

        None: nothing was done, for what is there is no file, or large, or its directory is missing, or the data are
        more than `at_once`."""
        return None

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

    def look(self, paths: Sequence[str]) -> Sequence[Stat | None]:
        """What is at each path, links not followed: one question for all of them, where the road can ask so."""
        return [self.stat(path) for path in paths]

    def holds(self, items: Sequence[Item]) -> Sequence[bool]:
        """Of files that are there with their items' sizes, whether they have the content too; one question as well."""
        return [self._has(item) for item in items]

    def bring(self, items: Sequence[Item]) -> None:
        """Make directories and put files in place, each whole or not at all, with the directories that lead there.

        A directory that is there is left as it is; a file keeps its owner. Raises as `mkdir` and `write` do."""
        for count, item in enumerate(items):
            self.progress(Progress(naming(items), count, len(items)))
            if item.content is None:
                self.mkdir(item.path, item.mode)
                continue
            self.mkdir(posixpath.dirname(item.path) or ".")
            if isinstance(item.content, Path):
                self.send(item.content, item.path, item.mode)
            else:
                self.write(item.path, item.content, item.mode)

    def upload(self, source: Path, path: str) -> int:
        """Copy a file or a tree of the runner to `path`; returns how many files were written.

        Files that are already the same (content and mode) are left alone."""
        found = files_below(source) if source.is_dir() else [(source, "")]
        items = [Item(posixpath.join(path, name) if name else path, file, file.stat().st_mode & 0o777)
                 for file, name in found]  # fmt: skip
        self.progress(Progress(f"comparing {source.name}", 0, len(items)))
        there = self.look([item.path for item in items])
        likely = [item for item, stat in zip(items, there, strict=True) if could_hold(stat, item)]
        same = {item.path for item, holds in zip(likely, self.holds(likely), strict=True) if holds}
        modes = {item.path: stat.mode for item, stat in zip(items, there, strict=True) if stat is not None}
        self.bring([item for item in items if item.path not in same])
        other = [item for item in items if item.path in same and modes[item.path] != item.mode]
        for item in other:
            self.chmod(item.path, item.mode)
        return len(items) - len(same) + len(other)

    def _has(self, item: Item) -> bool:
        if item.size <= LARGE or self.dry:
            return self.read(item.path) == (item.content if isinstance(item.content, bytes) else _read(item.content))
        told = self.demand(Command(("sha256sum", "--", item.path), changes=False)).text
        return told.lstrip("\\").split(" ")[0] == item.sha256


def could_hold(there: Stat | None, item: Item) -> bool:
    """Whether what is there may be the item's content already: a file of the same size."""
    return there is not None and there.kind == "file" and item.content is not None and there.size == item.size


def naming(items: Sequence[Item]) -> str:
    """What is said while the items are on their way."""
    if len(items) == 1:
        return f"copying {posixpath.basename(items[0].path)}"
    return f"copying {len(items)} files"


def _read(file: Path | None) -> bytes:
    return b"" if file is None else file.read_bytes()


def files_below(folder: Path) -> list[tuple[Path, str]]:
    """Every regular file below a folder of the runner, with its path relative to it."""

    def walk(place: Path) -> Iterator[Path]:
        for entry in sorted(place.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                yield from walk(entry)
            elif entry.is_file():
                yield entry

    return [(file, file.relative_to(folder).as_posix()) for file in walk(folder)]
