"""One large file of the runner brought to a host: streamed, its progress told, gone on with where it was broken off.

What has come is kept beside the file. The host first says how much of it there is and its hash; the runner answers
from where it goes on. Both happen in one exchange, so that nobody else can go on with the same file meanwhile.
"""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

from ..errors import StepError
from ..model import Progress
from .ssh_scripts import ScriptedTransport

RESUMED = 8 * 2**20  # bytes from which a file is worth going on with
CHUNK = 256 * 2**10
BUSY, SHORT, NO_PROGRAM = 75, 76, 127
PART = "ikoma-part"

# $1 the file, $2 what has come of it, $3 its mode or nothing, $4 its size.
SEND = f"""
export LC_ALL=C
path=$1 part=$2 mode=$3
if [ -d "$path" ] && [ ! -L "$path" ]; then echo 'Is a directory' >&2; exit 1; fi
command -v flock > /dev/null && command -v sha256sum > /dev/null || exit {NO_PROGRAM}
if [ -L "$part" ]; then rm -f -- "$part"; fi
umask 077
exec 5>> "$part" || exit 1
flock -n 5 && [ "$(stat -L -c %d:%i /proc/self/fd/5)" = "$(stat -c %d:%i -- "$part")" ] || exit {BUSY}
have=$(stat -c %s -- "$part") || exit 1
hash=$(sha256sum < "$part") || exit 1
echo "$have ${{hash%% *}}"
IFS= read -r from || exit {SHORT}
if [ "$from" != "$have" ]; then : > "$part" || exit 1; fi
cat >&5 || {{ rm -f -- "$part"; exit 1; }}
[ "$(stat -c %s -- "$part")" = "$4" ] || exit {SHORT}
if [ -f "$path" ] && [ ! -L "$path" ]; then
  owner=$(stat -c %u:%g -- "$path")
  chown "$owner" -- "$part" 2>/dev/null || chgrp "${{owner#*:}}" -- "$part" 2>/dev/null
  : "${{mode:=$(stat -c %a -- "$path")}}"
fi
chmod "${{mode:-644}}" -- "$part" || exit 1
sync -- "$part" || exit 1
mv -fT -- "$part" "$path" || exit 1
sync -- "${{path%/*}}/" 2>/dev/null || :
"""


def send(on: ScriptedTransport, source: Path, path: str, mode: int | None) -> None:
    """Put a file of the runner at `path`. Raises as `write` does."""
    size = source.stat().st_size
    with source.open("rb") as file:
        told = _Told(file, on.progress, f"copying {source.name}", size)
        if size < RESUMED:
            on.write(path, cast(BinaryIO, told), mode)
            return
        folder, name = posixpath.split(path)
        part = posixpath.join(folder or ".", f".{name[:200]}.{PART}")
        target = path if folder else f"./{name}"
        stream = _Resumed(told)
        words = (target, part, "" if mode is None else f"{mode:o}", str(size))
        try:
            result = on.run_script(SEND, *words, stdin=cast(BinaryIO, stream), on_output=stream.hear)
        finally:
            stream.close()
        if result.exit_code in (BUSY, NO_PROGRAM):  # another runner is at it, or the host cannot tell
            told.seek(0)
            on.write(path, cast(BinaryIO, told), mode)
            return
        if result.exit_code == SHORT:
            raise StepError(f"{source} changed while it was read", remedy="Run this again.")
        on._demand("write", path, result)


class _Told(io.RawIOBase):
    """A file that tells how far it has been read."""

    def __init__(self, file: BinaryIO, receiver: Callable[[Progress], None], text: str, size: int) -> None:
        self._file, self._receiver, self._text, self._size = file, receiver, text, size

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        if data:
            self._receiver(Progress(self._text, self._file.tell(), self._size))
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def starts_with(self, count: int, digest: str) -> bool:
        """Whether the file's first bytes have this SHA-256; it then stands behind them, else at its beginning."""
        found = hashlib.sha256()
        left = count if count <= self._size else 0
        while left and (data := self._file.read(min(CHUNK, left))):
            found.update(data)
            left -= len(data)
        same = not left and 0 < count <= self._size and found.hexdigest() == digest
        if not same:
            self._file.seek(0)
        return same


class _Resumed(io.RawIOBase):
    """What is sent: one line that says from where it goes on, once the host has said what it has, then the rest."""

    def __init__(self, told: _Told) -> None:
        self._told = told
        self._said = b""
        self._heard = threading.Event()
        self._answered = False

    def hear(self, data: bytes) -> None:
        """What the host says, in pieces."""
        self._said += data
        if b"\n" in self._said:
            self._heard.set()

    def read(self, size: int = -1) -> bytes:
        if self._answered:
            return self._told.read(size)
        self._heard.wait()
        self._answered = True
        have, _, digest = self._said.partition(b"\n")[0].decode("ascii", "replace").partition(" ")
        if not have.isdigit():
            return b""
        return f"{have if self._told.starts_with(int(have), digest) else 'anew'}\n".encode()

    def close(self) -> None:
        self._heard.set()
        super().close()
