"""One large file of the runner brought to a host: streamed, its progress told, gone on with where it was broken off,
and of a file that is there only what changed.

What has come is kept beside the file. The host first says how much of it there is, with its hash, whether it has
rsync, and the hashes of the blocks of the file that is to be replaced; the runner answers with what to take from
there and what is new. All of it is one exchange, so that nobody else can go on with the same file meanwhile.
"""

from __future__ import annotations

import io
import posixpath
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from ..errors import StepError
from ..model import Result
from .shelled import OVER_FILES, cause
from .ssh_delta import Told, block_size, instructions
from .ssh_rsync import FAILED, RSYNC, Rsync
from .ssh_scripts import ScriptedTransport

RESUMED = 8 * 2**20  # bytes from which a file is worth going on with
BUSY, SHORT, NO_PROGRAM = 75, 76, 127
PART = "ikoma-part"

# $1 the file, $2 what has come of it, $3 its mode or nothing, $4 its size, $5 the size of a block.
SEND = f"""
export LC_ALL=C
path=$1 part=$2 mode=$3 size=$4 block=$5 sum=
{OVER_FILES.strip()}
command -v flock > /dev/null && command -v sha256sum > /dev/null || exit {NO_PROGRAM}
if [ -L "$part" ]; then rm -f -- "$part"; fi
umask 077
exec 5>> "$part" || exit 1
flock -n 5 && [ "$(stat -L -c %d:%i /proc/self/fd/5)" = "$(stat -c %d:%i -- "$part")" ] || exit {BUSY}
have=$(stat -c %s -- "$part") || exit 1
hash=$(sha256sum < "$part") || exit 1
echo "$have ${{hash%% *}} $(command -v rsync > /dev/null && echo rsync)"
if [ -f "$path" ] && [ ! -L "$path" ]; then
  split -b "$block" --filter='exec sha256sum' -- "$path" 2> /dev/null | cut -d ' ' -f 1
fi
echo .
give_up() {{ rm -f -- "$part"; exit 1; }}
while IFS=' ' read -r what from count; do
  case $what in
    anew) : > "$part" || exit 1 ;;
    old) dd if="$path" bs="$block" skip="$from" count="$count" status=none >&5 || give_up ;;
    new) head -c "$from" >&5 || give_up ;;
    rest) cat >&5 || give_up; break ;;
    rsync) {RSYNC} ;;
    end) sum=$from; break ;;
  esac
done
[ "$(stat -c %s -- "$part")" = "$size" ] || exit {SHORT}
if [ "$sum" ] && [ "$(sha256sum < "$part")" != "$sum  -" ]; then rm -f -- "$part"; exit {SHORT}; fi
if [ -f "$path" ] && [ ! -L "$path" ]; then
  owner=$(stat -c %u:%g -- "$path")
  chown "$owner" -- "$part" 2>/dev/null || chgrp "${{owner#*:}}" -- "$part" 2>/dev/null
  : "${{mode:=$(stat -c %a -- "$path")}}"
fi
chmod "${{mode:-644}}" -- "$part" || exit 1
sync -- "$part" || exit 1
mv -fT -- "$part" "$path" || exit 1
if [ -d "$part.d" ]; then rm -rf -- "$part.d"; fi
sync -- "${{path%/*}}/" 2>/dev/null || :
"""


def send(on: ScriptedTransport, source: Path, path: str, mode: int | None) -> None:
    """Put a file of the runner at `path`. Raises as `write` does."""
    size = source.stat().st_size
    with source.open("rb") as file:
        told = Told(file, on.progress, f"copying {source.name}", size)
        result = None if size < RESUMED else _exchanged(on, source, told, path, mode, with_rsync=Rsync.usable())
        if result is not None and result.exit_code == FAILED and cause(result) is None:  # two that do not get on
            told.seek(0)
            result = _exchanged(on, source, told, path, mode, with_rsync=False)
        if result is None or result.exit_code in (BUSY, NO_PROGRAM):  # another is at it, or the host cannot tell
            told.seek(0)
            on.write(path, cast(BinaryIO, told), mode)
            return
        if result.exit_code == SHORT:
            raise StepError(f"{source} or {path} changed meanwhile", remedy="Run this again.")
        on._demand("write", path, result)


def _exchanged(
    on: ScriptedTransport, source: Path, told: Told, path: str, mode: int | None, with_rsync: bool
) -> Result:
    folder, name = posixpath.split(path)
    part = posixpath.join(folder or ".", f".{name[:200]}.{PART}")
    target = path if folder else f"./{name}"
    block = block_size(told.size)
    words = (target, part, "" if mode is None else f"{mode:o}", str(told.size), str(block))
    with Rsync(source, posixpath.join(f"{part}.d", "new"), told) as rsync:
        stream = _Answer(told, block, rsync if with_rsync else None)
        try:
            result = on.run_script(SEND, *words, stdin=cast(BinaryIO, stream), on_output=stream.hear)
        finally:
            stream.close()
    return rsync.explained(result)


class _Answer(io.RawIOBase):
    """What is sent once the host has said what it has."""

    def __init__(self, told: Told, block: int, rsync: Rsync | None) -> None:
        self._told, self._block, self._rsync = told, block, rsync
        self._said = b""
        self._heard = threading.Event()
        self._pieces: Iterator[bytes] | None = None

    def hear(self, data: bytes) -> None:
        """What the host says, in pieces: what it has, up to a line with a dot; then its rsync."""
        if self._heard.is_set():
            if self._rsync is not None:
                self._rsync.hear(data)
            return
        self._said += data
        if self._said.endswith(b"\n.\n"):
            self._heard.set()

    def read(self, size: int = -1) -> bytes:
        if self._pieces is None:
            self._heard.wait()
            self._pieces = self._answered()
        return next(self._pieces, b"")

    def close(self) -> None:
        self._heard.set()
        super().close()

    def _answered(self) -> Iterator[bytes]:
        lines = self._said.decode("ascii", "replace").splitlines()
        if not lines or lines[-1] != ".":
            return
        have, digest, *more = lines[0].split(" ")
        start = int(have) if self._told.starts_with(int(have), digest) else 0
        if not start:
            yield b"anew\n"
        if self._rsync is not None and "rsync" in more and lines[1:-1] and not start:
            yield from self._rsync.talk()
        else:
            yield from instructions(self._told, start, lines[1:-1], self._block)
