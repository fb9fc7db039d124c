"""How a line is chained to the one before, and the head that says where the chain ends.

A line ends in `,"number":N,"hash":"H"}`: N counts the log's lines from 1, H is the SHA-256 of the hash of the line
before and of this line up to its own hash, byte by byte. With a key it is an HMAC, which nobody makes without the key.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from msgspec import Struct

START = "0" * 64  # what the first line is chained to

_TAIL = re.compile(rb',"number":([1-9][0-9]{0,17}),"hash":"([0-9a-f]{64})"\}\n\Z')
_HASH = len(',"hash":"') + 64 + len('"}\n')
_HEAD = re.compile(rb"(sha256|hmac__) ([0-9]{18}) ([0-9a-f]{64}) ([0-9]{18}) ([0-9a-f]{64})\n")


class Line(Struct, frozen=True):
    """A line of the log as it stands there: its number, its hash, and the bytes that the hash is of."""

    number: int
    hash: str
    body: bytes


class Head(Struct, frozen=True):
    """Where the chain ends: the last line's number and hash, and how many bytes the file has up to its end."""

    number: int = 0
    hash: str = START
    size: int = 0


class Chain:
    """Makes and checks hashes; `key` is empty for plain SHA-256."""

    def __init__(self, key: bytes = b"") -> None:
        self._key = key
        self.kind = "hmac__" if key else "sha256"

    def digest(self, last: str, body: bytes) -> str:
        told = last.encode() + body
        return hmac.digest(self._key, told, "sha256").hex() if self._key else hashlib.sha256(told).hexdigest()

    def link(self, head: Head, text: bytes) -> tuple[bytes, Head]:
        """The line that an entry's text (a JSON object) becomes after `head`, and the head that it makes."""
        number = head.number + 1
        body = b'%b,"number":%d' % (text[:-1], number)
        digest = self.digest(head.hash, body)
        line = b'%b,"hash":"%b"}\n' % (body, digest.encode())
        return line, Head(number, digest, head.size + len(line))

    def follows(self, head: Head, line: bytes) -> Head | None:
        """The head that a line makes, where it is the one after `head`."""
        read = parsed(line)
        if read is None or read.number != head.number + 1 or self.digest(head.hash, read.body) != read.hash:
            return None
        return Head(read.number, read.hash, head.size + len(line))

    def write_head(self, head: Head) -> bytes:
        """A head in bytes, always as many."""
        text = f"{self.kind} {head.number:018d} {head.hash} {head.size:018d}".encode()
        return b"%b %b\n" % (text, self.digest(START, text).encode())

    def read_head(self, data: bytes) -> Head | None:
        """A head from its bytes; None where they are damaged or made with another key."""
        found = _HEAD.fullmatch(data)
        if found is None or self.digest(START, data[: found.end(4)]).encode() != found[5]:
            return None
        return Head(int(found[2]), found[3].decode(), int(found[4]))


def kind_of_head(data: bytes) -> str | None:
    """What a head was made with, sha256 or hmac__, by its own word."""
    found = _HEAD.fullmatch(data)
    return found[1].decode() if found else None


def parsed(line: bytes) -> Line | None:
    """A whole line of the log; None for anything else."""
    found = _TAIL.search(line, max(0, len(line) - 128))
    return Line(int(found[1]), found[2].decode(), line[:-_HASH]) if found else None


def may_begin(fragment: bytes) -> bool:
    """Whether these bytes may be the beginning of a line that was cut off."""
    beginning = b'{"timestamp":"'
    return fragment.startswith(beginning) or beginning.startswith(fragment)
