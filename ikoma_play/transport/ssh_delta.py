"""Which parts of a large file are new to a host, told by the hashes of blocks."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from ..model import Progress

CHUNK = 256 * 2**10
SMALLEST, LARGEST = 2**20, 8 * 2**20  # bytes of a block
BLOCKS = 1024  # about how many there are of one file: the host starts a program for each


def block_size(size: int) -> int:
    """In bytes, for a file of `size` bytes."""
    block = SMALLEST
    while block < LARGEST and block * BLOCKS < size:
        block *= 2
    return block


class Told(io.RawIOBase):
    """A file that tells how far it has been read."""

    def __init__(self, file: BinaryIO, receiver: Callable[[Progress], None], text: str, size: int) -> None:
        self._file, self._receiver, self._text, self.size = file, receiver, text, size

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        if data:
            self.tell_progress(self._file.tell())
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell_progress(self, done: int) -> None:
        self._receiver(Progress(self._text, done, self.size))

    def starts_with(self, count: int, digest: str) -> bool:
        """Whether the file's first bytes have this SHA-256; it then stands behind them, else at its beginning."""
        found = hashlib.sha256()
        left = count if count <= self.size else 0
        while left and (data := self._file.read(min(CHUNK, left))):
            found.update(data)
            left -= len(data)
        same = not left and 0 < count <= self.size and found.hexdigest() == digest
        if not same:
            self._file.seek(0)
        return same

    def blocks(self, block: int) -> Iterator[bytes]:
        """The whole file in blocks, without a word about it; it then stands where it stood."""
        at = self._file.tell()
        self._file.seek(0)
        while data := self._file.read(block):
            yield data
        self._file.seek(at)

    def pieces(self, count: int) -> Iterator[bytes]:
        """The next `count` bytes."""
        while count and (data := self.read(min(CHUNK, count))):
            count -= len(data)
            yield data


def instructions(told: Told, start: int, old: Sequence[str], block: int) -> Iterator[bytes]:
    """What a host is to do, that has the first `start` bytes of the file and one whose blocks have the hashes `old`:
    `old NUMBER COUNT` takes blocks from there, `new BYTES` and `rest` are followed by what to take; `end SHA256`."""
    whole = hashlib.sha256()
    plan = _merged(_planned(told, start, old, block, whole.update))
    if all(kind == "new" for kind, _, _ in plan):
        yield b"rest\n"
        while data := told.read(CHUNK):
            yield data
        return
    for kind, number, size in plan:
        if kind == "new":
            yield b"new %d\n" % size
            yield from told.pieces(size)
        else:
            yield b"old %d %d\n" % (number, -(-size // block))
            told.tell_progress(told.seek(size, os.SEEK_CUR))
    yield b"end %s\n" % whole.hexdigest().encode()


Part = tuple[str, int, int]  # old or new, the number of its first block over there, its size in bytes


def _planned(told: Told, start: int, old: Sequence[str], block: int, seen: Callable[[bytes], None]) -> Iterator[Part]:
    where = {digest: number for number, digest in reversed(list(enumerate(old)))}
    at = 0
    for number, data in enumerate(told.blocks(block)):
        seen(data)
        first, at = at, at + len(data)
        if at <= start:
            continue
        digest = hashlib.sha256(data).hexdigest()
        known = number if number < len(old) and old[number] == digest else where.get(digest)
        if first < start or known is None:
            yield "new", 0, at - max(first, start)
        else:
            yield "old", known, len(data)


def _merged(parts: Iterator[Part]) -> list[Part]:
    """Neighbours that can be taken at once are one."""
    merged: list[Part] = []
    blocks = 0  # of the last one
    for kind, number, size in parts:
        if merged and merged[-1][0] == kind and (kind == "new" or merged[-1][1] + blocks == number):
            merged[-1] = (kind, merged[-1][1], merged[-1][2] + size)
            blocks += 1
        else:
            merged.append((kind, number, size))
            blocks = 1
    return merged
