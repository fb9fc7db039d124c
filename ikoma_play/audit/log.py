"""The log in its file: lines appended by any number of threads and processes, full files put aside.

Beside `audit.jsonl` stands its head, `audit.jsonl.head`, which every writer locks, so that one writes at a time, and
which says where the chain ends, so that lines taken off the end are missed too. The line is written first and the head
after: a writer that dies in between leaves a line which the next one takes up. Full files are renamed to
`audit.jsonl.<number of their last line>`; the chain goes on in a new one.
"""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import AuditError
from . import entries
from .chain import Chain, Head, kind_of_head, may_begin, parsed
from .entries import Entry

ROTATE_AT = 64 * 1024 * 1024  # bytes
ROOM = 1024 * 1024  # bytes that the disk must have free before anything is done that must be written down
MODE = 0o640


class AuditLog:
    """An audit log in a file. Every method raises AuditError where the file cannot be used.

    `key` makes the chain an HMAC; a log keeps for its life what it began with."""

    def __init__(self, path: Path, key: bytes = b"", rotate_at: int = ROTATE_AT) -> None:
        self.path = Path(os.path.realpath(path))
        self._head_path = head_of(self.path)
        self._chain = Chain(key)
        self._rotate_at = rotate_at
        self._process = os.getpid()
        self._one_at_a_time = threading.Lock()
        self._head: int | None = None
        self._file: int | None = None
        self._identity: tuple[int, int] | None = None  # of the open file
        self._identity_of_head: tuple[int, int] | None = None
        self._known = (b"", Head())  # the head's bytes as last seen, and what they say

    def append(self, *added: Entry) -> int:
        """Chain entries to the log and return the last one's number; they are with the system then, whatever becomes
        of us."""
        texts = [entries.text(entry.as_data()) for entry in added]
        with self._held() as read:
            head = self._at_end(self._head_now(read))
            if head.size >= self._rotate_at:
                head = self._rotate(head)
            return self._write(head, *texts).number

    def demand(self) -> None:
        """Raise AuditError unless a line could be appended now."""
        if not self._is_open():
            with self._held() as read:
                self._at_end(self._head_now(read))
        try:
            space = os.statvfs(self.path)
        except OSError as error:
            raise self._unusable(error) from None
        if space.f_bavail * space.f_frsize < ROOM:
            raise AuditError(
                f"the audit log {self.path} has no room to grow: its disk is full",
                remedy="Free space on that disk. Until then nothing is changed, for it could not be written down.",
            )

    def _is_open(self) -> bool:
        """Whether both files are open, and still the ones that their paths lead to."""
        if self._process != os.getpid():
            return False
        try:
            file, head = os.stat(self.path), os.stat(self._head_path)  # noqa: PTH116
        except OSError:
            return False
        return _identity(file) == self._identity and _identity(head) == self._identity_of_head

    def close(self) -> None:
        with self._one_at_a_time:
            self._forget()

    # --- one line ---

    def _write(self, head: Head, *texts: bytes) -> Head:
        lines, after = b"", head
        for text in texts:
            line, after = self._chain.link(after, text)
            lines += line
        file = self._open_file()
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(file, rest) :]
        except OSError:
            if len(rest) < len(lines):  # the disk is full in the middle of it: nothing of it stays
                os.ftruncate(file, head.size)
            raise
        self._write_head(after)
        return after

    def _write_head(self, head: Head) -> None:
        data = self._chain.write_head(head)
        os.pwrite(self._head_file(), data, 0)
        self._known = (data, head)

    # --- where the chain ends ---

    def _head_now(self, data: bytes) -> Head:
        if data == self._known[0]:
            return self._known[1]
        head = self._chain.read_head(data)
        if head is not None:
            return head
        kind = kind_of_head(data)
        if self._chain.kind == "hmac__" and (data or self.path.exists()):
            begun = "was begun without a key" if kind == "sha256" else "was chained with another key, or altered"
            raise AuditError(
                f"the audit log {self.path} {begun}",
                remedy=f"Verify it with its own key, then move {self.path.name}* away: a new log begins.",
            )
        if kind == "hmac__":
            raise AuditError(
                f"the audit log {self.path} is chained with a key, and none was given",
                remedy="Name the file that holds the key in AUDIT_KEY_FILE.",
            )
        return self._without_head(damaged=bool(data))

    def _without_head(self, damaged: bool) -> Head:
        """Go on after the last line there is. Where there are lines, a line of our own tells of it."""
        head, size = Head(), 0
        for path in files(self.path):
            size = 0
            with path.open("rb") as lines:
                for line in lines:
                    size += len(line)
                    if (read := parsed(line)) is not None:
                        head = Head(read.number, read.hash, size)
        head = Head(head.number, head.hash, size if self.path.exists() else 0)
        if not head.number and not size and not damaged:
            self._write_head(head)
            return head
        how = "was damaged" if damaged else "was missing"
        told = Entry(
            entries.HEAD_LOST, "admin", error=f"{self._head_path.name} {how}: lines may be missing before this one"
        )
        self._end_line(self._open_file())
        return self._write(self._resized(head), entries.text(told.as_data()))

    def _at_end(self, head: Head) -> Head:
        """The head, with what a writer that died has left after it; the file is open then."""
        try:
            there = os.stat(self.path)  # noqa: PTH116 - by far the cheapest, and once a line
        except FileNotFoundError:
            there = None
        if there is not None and not stat.S_ISREG(there.st_mode):
            raise self._no_file()
        if self._file is not None and (there is None or _identity(there) != self._identity):
            os.close(self._file)
            self._file = None
        self._open_file()
        size = there.st_size if there is not None else 0
        return head if size == head.size else self._recover(head, size)

    def _recover(self, head: Head, size: int) -> Head:
        file = self._open_file()
        if head.size and rotated(self.path, head.number).exists():
            head = Head(head.number, head.hash, 0)  # a writer died right after it put the full file aside
        if size < head.size:  # somebody cut the file: the chain goes on, and verifying finds the gap
            self._end_line(file)
            return self._resized(head)
        data = _read(file, head.size, size)
        at = 0
        while (end := data.find(b"\n", at) + 1) > 0:
            after = self._chain.follows(head, data[at:end])
            if after is None:
                break
            head, at = after, end
        fragment = data.rfind(b"\n") + 1
        if not may_begin(data[fragment:]):  # nothing of ours: it stays for verifying to find
            self._end_line(file)
            fragment = len(data)
        if fragment == len(data):
            head = self._resized(head)
            self._write_head(head)
            return head
        os.ftruncate(file, size - (len(data) - fragment))
        cut = data[fragment:].decode("utf-8", "replace")
        told = Entry(entries.RECOVERED, "admin", error=f"a crash cut a line off, which began: {cut[:4000]}")
        return self._write(self._resized(head), entries.text(told.as_data()))

    def _resized(self, head: Head) -> Head:
        return Head(head.number, head.hash, os.fstat(self._open_file()).st_size)

    @staticmethod
    def _end_line(file: int) -> None:
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            os.write(file, b"\n")

    def _rotate(self, head: Head) -> Head:
        self.path.rename(rotated(self.path, head.number))
        assert self._file is not None
        os.close(self._file)
        self._file = None
        self._open_file()
        head = Head(head.number, head.hash, 0)
        self._write_head(head)
        return head

    # --- files ---

    @contextmanager
    def _held(self) -> Iterator[bytes]:
        """The head's bytes, with every other writer kept out."""
        if self._process != os.getpid():  # a forked process would share its parent's locks
            self._one_at_a_time = threading.Lock()
            self._forget()
            self._process = os.getpid()
        with self._one_at_a_time:
            try:
                head = self._lock_head()
                try:
                    yield os.pread(head, 256, 0)
                finally:
                    fcntl.flock(head, fcntl.LOCK_UN)
            except OSError as error:
                raise self._unusable(error) from None

    def _unusable(self, error: OSError) -> AuditError:
        made = isinstance(error, (FileExistsError, NotADirectoryError))
        why = f"{error.filename} is no directory" if made else error.strerror
        return AuditError(
            f"the audit log {self.path} cannot be written: {why}",
            remedy="Make it writable, or name another file in AUDIT_LOG or ikoma_audit_log of a host.",
        )

    def _no_file(self) -> AuditError:
        return AuditError(f"the audit log {self.path} is no regular file", remedy="Name a file in AUDIT_LOG.")

    def _lock_head(self) -> int:
        while True:
            head = self._head_file()
            fcntl.flock(head, fcntl.LOCK_EX)
            try:
                there = os.stat(self._head_path)  # noqa: PTH116
            except FileNotFoundError:
                there = None
            if there is not None and _identity(there) == self._identity_of_head:
                return head
            self._forget()

    def _head_file(self) -> int:
        if self._head is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and not self.path.is_file():
                raise self._no_file()
            self._head = os.open(self._head_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
            self._identity_of_head = _identity(os.fstat(self._head))
        return self._head

    def _open_file(self) -> int:
        if self._file is None:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, MODE)
            self._identity = _identity(os.fstat(self._file))
        return self._file

    def _forget(self) -> None:
        for file in (self._head, self._file):
            if file is not None:
                os.close(file)
        self._head = self._file = self._identity = self._identity_of_head = None
        self._known = (b"", Head())


def _identity(of: os.stat_result) -> tuple[int, int]:
    """What tells a file from another that has its path."""
    return of.st_dev, of.st_ino


def head_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.head")


def rotated(path: Path, number: int) -> Path:
    """Where the file that ends in this line is put aside."""
    return path.with_name(f"{path.name}.{number}")


def files(path: Path) -> list[Path]:
    """The log's files, oldest first."""
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    aside = [found for found in beside if found.stem == path.name and found.suffix[1:].isdecimal()]
    aside.sort(key=lambda found: int(found.suffix[1:]))
    return [*aside, *([path] if path.exists() else [])]


def _read(file: int, start: int, end: int) -> bytes:
    parts = []
    while start < end and (part := os.pread(file, end - start, start)):
        parts.append(part)
        start += len(part)
    return b"".join(parts)
