"""Many files at once: one question tells what is there, one what is the same, and one stream brings what is not."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from ..errors import StepError
from ..model import Progress
from .base import Item, Stat, Transport, naming
from .faults import NOT_THERE
from .framing import INLINE
from .shelled import FOUND, errno_said, found_by
from .ssh_scripts import ScriptedTransport
from .ssh_send import RESUMED

CHUNK = 256 * 2**10
NO_TAR = 127
FEW = 2  # items that are asked for one by one: what is seen of one may answer the next question about it

LOOK = 'export LC_ALL=C; exec xargs -0 sh -c \'exec find "$@" -maxdepth 0 -printf "$0"\' "$1"'
HASHES = "export LC_ALL=C; exec xargs -0 sha256sum --"

# Everything is unpacked beside what it replaces and then takes its place, one by one.
UNPACK = """
export LC_ALL=C
command -v tar > /dev/null || exit 127
[ -d "$1" ] || mkdir -p -- "$1" || exit
cd -- "$1" || exit
umask 022
mkdir -m 700 -- "$2" || exit
unpacked=$PWD/${2#./}
trap 'rm -rf -- "$unpacked"' EXIT
tar -xpomf - -C "$2" || exit
cd -- "$2" || exit
find . -type d ! -name . -exec sh -c 'for each; do
  [ -d "../$each" ] || mkdir -m "$(stat -c %a -- "$each")" -- "../$each" || exit; done' sh {} + &&
find . -type f -exec sh -c 'for each; do to=../$each
  if [ -e "$to" ] && [ ! -f "$to" ] && [ ! -L "$to" ]; then
    if [ -d "$to" ]; then echo "$to: Is a directory" >&2; else echo "$to: Not a regular file" >&2; fi; exit 1; fi
  if [ -f "$to" ] && [ ! -L "$to" ] && ! { [ -O "$to" ] && [ -G "$to" ]; }; then
    mode=$(stat -c %a -- "$each"); owner=$(stat -c %u:%g -- "$to")
    chown "$owner" -- "$each" 2>/dev/null || chgrp "${owner#*:}" -- "$each" 2>/dev/null; chmod "$mode" -- "$each"
  fi
  mv -fT -- "$each" "$to" || exit; done' sh {} + || exit
cd ..
sync -f -- . 2>/dev/null || :
"""


def look(on: ScriptedTransport, paths: Sequence[str]) -> Sequence[Stat | None]:
    """What is at each path. Raises StepError for what may not be looked at."""
    if len(paths) <= FEW:
        return [on.stat(path) for path in paths]
    result = on.run_script(LOOK, FOUND, stdin=_listed(paths), changes=False)
    complaints = result.stderr.splitlines()
    if result.dropped or any(errno_said(line) not in NOT_THERE for line in complaints):
        return [on.stat(path) for path in paths]  # which of them it is, and why, is told by asking for each
    there = {stat.path: stat for stat in found_by(result.stdout)}
    return [there.get(path if path.startswith("/") else f"./{path}") for path in paths]


def holds(on: ScriptedTransport, items: Sequence[Item]) -> Sequence[bool]:
    """Which of the files that are there have their items' content."""
    if len(items) <= FEW and all(item.size <= INLINE for item in items):
        return [on._has(item) for item in items]
    result = on.run_script(HASHES, stdin=_listed([item.path for item in items]), changes=False)
    said = result.stdout.decode("utf-8", "surrogateescape").splitlines()
    if result.dropped or len(said) != len(items):  # sha256sum is missing, or a file went away
        return [False] * len(items)
    lines = zip(items, said, strict=True)
    return [line.removeprefix("\\").partition(" ")[0] == item.sha256 for item, line in lines]


def bring(on: ScriptedTransport, items: Sequence[Item]) -> None:
    """Small files and directories go in one stream, large ones one by one, so that each can be gone on with."""
    small, large = [], []
    for item in items:
        if isinstance(item.content, Path) and item.size >= RESUMED:
            large.append((item.content, item))
        else:
            small.append(item)
    if small:
        _send(on, small)
    for file, item in large:
        on.mkdir(posixpath.dirname(item.path) or ".")
        on.send(file, item.path, item.mode)


def _listed(paths: Sequence[str]) -> bytes:
    named = (path if path.startswith("/") else f"./{path}" for path in paths)
    return b"".join(path.encode("utf-8", "surrogateescape") + b"\0" for path in named)


def _send(on: ScriptedTransport, items: Sequence[Item]) -> None:
    from secrets import token_hex

    folder = posixpath.commonpath([posixpath.dirname(item.path) for item in items]) or "."
    stream = _Archive(folder, items, lambda done, total: on.progress(Progress(naming(items), done, total)))
    beside = f"./.ikoma-upload.{token_hex(6)}"
    result = on.run_script(UNPACK, folder, beside, stdin=cast(BinaryIO, stream))
    if result.exit_code == NO_TAR:
        Transport.bring(on, items)
        return
    on._demand("write", folder, result)


class _Archive(io.RawIOBase):
    """A tar archive that is made while it is read; `told(done, total)` in bytes."""

    def __init__(self, folder: str, items: Sequence[Item], told: Callable[[float, float], None]) -> None:
        self._pieces = self._made(folder, items, told)
        self._left = b""

    def read(self, size: int = -1) -> bytes:
        while len(self._left) < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._left += piece
        data, self._left = self._left[:size], self._left[size:]
        return data

    def _made(self, folder: str, items: Sequence[Item], told: Callable[[float, float], None]) -> Iterator[bytes]:
        import tarfile

        total = sum(item.size for item in items)
        done = 0
        told(0, total)
        for item in items:
            info = tarfile.TarInfo(posixpath.relpath(item.path, folder))
            info.mode = item.mode
            if item.content is None:
                info.type = tarfile.DIRTYPE
            info.size = item.size
            yield info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
            for data in _contents(item, info.size):
                done += len(data)
                yield data
                told(done, total)
            yield b"\0" * (-info.size % tarfile.BLOCKSIZE)
        yield b"\0" * (2 * tarfile.BLOCKSIZE)


def _contents(item: Item, size: int) -> Iterator[bytes]:
    """Exactly `size` bytes, in pieces. Raises StepError."""
    if not isinstance(item.content, Path):
        yield item.content or b""
        return
    with item.content.open("rb") as content:
        while size:
            data = content.read(min(CHUNK, size))
            if not data:
                raise StepError(f"{item.content} became shorter while it was read", remedy="Run this again.")
            size -= len(data)
            yield data
