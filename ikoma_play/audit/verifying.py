"""Whether the log is as it was written: every byte of every line, and none missing at either end."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct
from msgspec.structs import replace

from ..errors import AuditError
from . import log as logs
from .chain import Chain, Head, kind_of_head, may_begin, parsed
from .entries import HEAD_LOST


class Finding(Struct, frozen=True):
    """A place where the log is not as it was written; `line` counts from 1, 0 is the file as a whole."""

    file: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}" if self.line else f"{self.file}: {self.what}"


class Verified(Struct, frozen=True):
    """What verifying came to. `number` and `hash` are the last line's: kept elsewhere, they prove later that nothing
    up to there was changed. `note` tells of what is no fault."""

    files: int
    lines: int
    number: int
    hash: str
    findings: tuple[Finding, ...]
    note: str = ""


class _Part(Struct, frozen=True):
    """One file of the log, open, up to the size that it had when the head was read."""

    path: Path
    file: BinaryIO
    size: int

    def lines(self) -> Iterator[bytes]:
        left = self.size
        while left > 0 and (line := self.file.readline(left)):
            left -= len(line)
            yield line


def verify(path: Path, key: bytes = b"", known: tuple[int, str] | None = None) -> Verified:
    """Check the whole log. `known` is a number and hash that an earlier check gave. Raises AuditError where the log
    cannot be read, is not there, or is chained with a key that was not given."""
    path = Path(os.path.realpath(path))
    with ExitStack() as stack:
        try:
            head_data, parts = _snapshot(path, stack)
        except OSError as error:
            raise AuditError(f"the audit log {path} cannot be read: {error.strerror}") from None
        if head_data is None and not parts:
            raise AuditError(
                f"there is no audit log {path}", remedy="Name it with --file, AUDIT_LOG or ikoma_audit_log of a host."
            )
        chain = Chain(key)
        if head_data and not key and kind_of_head(head_data) == "hmac__":
            raise AuditError(
                f"the audit log {path} is chained with a key",
                remedy="Name the file that holds the key in AUDIT_KEY_FILE.",
            )
        walk = _Walk(chain, known)
        for part in parts:
            walk.through(part)
        return walk.end(path, head_data)


def _snapshot(path: Path, stack: ExitStack) -> tuple[bytes | None, list[_Part]]:
    """The head and the files as they are at one moment; writers wait for no more than that."""
    data: bytes | None = None
    try:
        head = stack.enter_context(logs.head_of(path).open("rb"))
    except FileNotFoundError:
        pass
    else:
        fcntl.flock(head, fcntl.LOCK_SH)
        data = head.read(256)
    parts = []
    for each in logs.files(path):
        file = stack.enter_context(each.open("rb"))
        parts.append(_Part(each, file, os.fstat(file.fileno()).st_size))
    if data is not None:
        fcntl.flock(head, fcntl.LOCK_UN)
    return data, parts


class _Walk:
    """Goes through the lines in order and keeps what is wrong with them."""

    def __init__(self, chain: Chain, known: tuple[int, str] | None) -> None:
        self._chain = chain
        self._known = known
        self._met_known = known is None
        self._at = Head()  # the last line that was read
        self._computed: str | None = None  # its hash as it should be, where it is another
        self._lines = 0
        self._files = 0
        self._findings: list[Finding] = []
        self._fragment: tuple[str, int, bytes] | None = None  # a last line that has no end

    def through(self, part: _Part) -> None:
        self._files += 1
        count = size = 0
        for count, line in enumerate(part.lines(), 1):
            size += len(line)
            self._line(str(part.path), count, line)
        self._lines += count
        self._at = replace(self._at, size=size)

    def _line(self, file: str, count: int, line: bytes) -> None:
        self._end_fragment()
        read = parsed(line)
        if read is None:
            if line.endswith(b"\n"):
                self._findings.append(Finding(file, count, "is no line of this log, or was changed"))
            else:
                self._fragment = (file, count, line)
            return
        expected = self._at.number + 1
        digest = self._chain.digest(self._at.hash, read.body)
        if read.number > expected:
            self._findings.append(Finding(file, count, f"{_lines(expected, read.number - 1)} missing before this one"))
            digest = read.hash
        elif read.number < expected:
            what = f"line {read.number} of the log stands where line {expected} should: repeated or moved"
            self._findings.append(Finding(file, count, what))
            digest = read.hash
        elif digest != read.hash and (
            self._computed is None or self._chain.digest(self._computed, read.body) != read.hash
        ):
            self._findings.append(Finding(file, count, "was changed"))
        elif b'"capability":"' + HEAD_LOST.encode() in line:
            self._findings.append(Finding(file, count, json.loads(line)["error"]))
        self._computed = digest if digest != read.hash else None
        self._at = Head(read.number, read.hash)
        if self._known is not None and read.number == self._known[0]:
            self._met_known = True
            if read.hash != self._known[1]:
                self._findings.append(Finding(file, count, f"line {read.number} of the log is not the one known"))

    def _end_fragment(self) -> None:
        if self._fragment is not None:
            file, count, _ = self._fragment
            self._findings.append(Finding(file, count, "is cut off"))
            self._fragment = None

    def end(self, path: Path, head_data: bytes | None) -> Verified:
        head = self._chain.read_head(head_data) if head_data else None
        head_path, note = str(logs.head_of(path)), ""
        if head is None and (head_data or self._lines):
            how = "is damaged" if head_data else "is missing or empty"
            self._findings.append(Finding(head_path, 0, f"{how}: lines may have been cut off the end of the log"))
        elif head is not None:
            note = self._compare(path, head)
        self._end_fragment()
        if not self._met_known and self._known is not None:
            self._findings.append(Finding(str(path), 0, f"line {self._known[0]}, which was known, is missing"))
        at = self._at
        return Verified(self._files, self._lines, at.number, at.hash, tuple(self._findings), note)

    def _compare(self, path: Path, head: Head) -> str:
        """The end of the lines with the head; a note where a writer died between the two, which is no fault."""
        whole = self._at.size - (len(self._fragment[2]) if self._fragment else 0)
        if head.number > self._at.number:
            what = f"{_lines(self._at.number + 1, head.number)} missing at the end: cut off"
            self._findings.append(Finding(str(path), 0, what))
        elif head.number == self._at.number and head.hash != self._at.hash:
            self._findings.append(Finding(str(path), 0, f"ends in another line {head.number} than was written"))
        elif self._fragment is not None and whole >= head.size and may_begin(self._fragment[2]):
            self._fragment = None
            return "The last line was cut off by a crash before its call was answered; the next line will tell of it."
        return ""


def _lines(first: int, last: int) -> str:
    """Lines by their numbers, with their verb."""
    return f"line {first} of the log is" if first == last else f"lines {first} to {last} of the log are"
