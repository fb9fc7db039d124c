"""Files and trees of the runner brought to a host: what is the same there stays, small files go in one stream."""

from __future__ import annotations

import hashlib
import io
import posixpath
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, cast

from ..errors import StepError
from ..model import Progress
from .base import Stat, files_below
from .ssh_scripts import ScriptedTransport
from .ssh_send import RESUMED

CHUNK = 256 * 2**10
NO_TAR = 127

HASHES = 'export LC_ALL=C; cd -- "$1" || exit; exec xargs -0 sha256sum --'

# Everything is unpacked beside the files that it replaces, and takes their places one by one.
UNPACK = """
export LC_ALL=C
command -v tar > /dev/null || exit 127
[ -d "$1" ] || mkdir -p -- "$1" || exit
cd -- "$1" || exit
umask 022
mkdir -m 700 -- "$2" || exit
trap 'rm -rf -- "$PWD/${2#./}"' EXIT
tar -xpof - -C "$2" || exit
cd -- "$2" || exit
find . -type d ! -name . -exec sh -c 'for each; do [ -d "../$each" ] || mkdir -p -- "../$each" || exit; done' sh {} + &&
find . -type f -exec sh -c 'for each; do mv -fT -- "$each" "../$each" || exit; done' sh {} + || exit
cd ..
sync -f -- . 2>/dev/null || :
"""


def upload(on: ScriptedTransport, source: Path, path: str) -> int:
    """How many files were written. Raises StepError, Unavailable as `write` does."""
    files = dict(_files(source))
    folder, names = (path, files) if source.is_dir() else (posixpath.dirname(path), _named(files, path))
    on.progress(Progress(f"comparing {source.name}", 0, len(names)))
    there = _there(on, folder, names, whole=source.is_dir())
    wanted = _without_equal(on, folder, names, there)
    large = {name: file for name, file in wanted.items() if file.stat().st_size >= RESUMED or not source.is_dir()}
    small = {name: file for name, file in wanted.items() if name not in large}
    if small:
        _send(on, source, folder, small)
    for name, file in large.items():
        target = posixpath.join(folder, name)
        on.mkdir(posixpath.dirname(target) or ".")
        on.send(file, target, file.stat().st_mode & 0o777)
    return len(wanted)


def _files(source: Path) -> Iterator[tuple[str, Path]]:
    if source.is_dir():
        yield from ((name, file) for file, name in files_below(source))
    else:
        yield source.name, source


def _named(files: Mapping[str, Path], path: str) -> dict[str, Path]:
    return {posixpath.basename(path): file for file in files.values()}


def _there(on: ScriptedTransport, folder: str, names: Mapping[str, Path], whole: bool) -> dict[str, Stat]:
    """What the host has by these names already."""
    if not whole:
        found = {name: on.stat(posixpath.join(folder, name)) for name in names}
        return {name: stat for name, stat in found.items() if stat is not None}
    prefix = folder.rstrip("/") + "/"
    return {entry.path.removeprefix(prefix): entry for entry in on.scan(folder, recurse=True)}


def _without_equal(
    on: ScriptedTransport, folder: str, wanted: Mapping[str, Path], there: Mapping[str, Stat]
) -> dict[str, Path]:
    """Leaves out what has the same mode and content there."""
    likely = [name for name, file in wanted.items() if _alike(file, there.get(name))]
    if not likely:
        return dict(wanted)
    asked = "\0".join(f"./{name}" for name in likely).encode("utf-8", "surrogateescape") + b"\0"
    result = on.run_script(HASHES, folder, stdin=asked)
    said = result.stdout.decode("utf-8", "surrogateescape").splitlines()
    if result.dropped or len(said) != len(likely):  # sha256sum is missing, or a file went away
        return dict(wanted)
    equal = {
        name
        for name, line in zip(likely, said, strict=True)
        if line.removeprefix("\\").partition(" ")[0] == _hash(wanted[name])
    }
    return {name: file for name, file in wanted.items() if name not in equal}


def _alike(file: Path, there: Stat | None) -> bool:
    if there is None or there.kind != "file":
        return False
    ours = file.stat()
    return ours.st_size == there.size and ours.st_mode & 0o777 == there.mode


def _hash(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _send(on: ScriptedTransport, source: Path, folder: str, wanted: Mapping[str, Path]) -> None:
    from secrets import token_hex

    stream = _Archive(wanted, lambda done, total: on.progress(Progress(f"copying {source.name}", done, total)))
    beside = f"./.ikoma-upload.{token_hex(6)}"
    result = on.run_script(UNPACK, folder or ".", beside, stdin=cast(BinaryIO, stream))
    if result.exit_code == NO_TAR:
        for name, file in wanted.items():
            target = posixpath.join(folder, name)
            on.mkdir(posixpath.dirname(target))
            with file.open("rb") as content:
                on.write(target, content, file.stat().st_mode & 0o777)
        return
    on._demand("write", folder, result)


class _Archive(io.RawIOBase):
    """A tar archive that is made while it is read; `told(done, total)` in bytes."""

    def __init__(self, files: Mapping[str, Path], told: Callable[[float, float], None]) -> None:
        self._pieces = self._made(files, told)
        self._left = b""

    def read(self, size: int = -1) -> bytes:
        while len(self._left) < size:
            piece = next(self._pieces, b"")
            if not piece:
                break
            self._left += piece
        data, self._left = self._left[:size], self._left[size:]
        return data

    def _made(self, files: Mapping[str, Path], told: Callable[[float, float], None]) -> Iterator[bytes]:
        total = sum(file.stat().st_size for file in files.values())
        done = 0
        told(0, total)
        for name, file in files.items():
            with file.open("rb") as content:
                info = tarfile.TarInfo(name)
                info.size, info.mode = file.stat().st_size, file.stat().st_mode & 0o777
                info.mtime = file.stat().st_mtime
                yield info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
                left = info.size
                while left:
                    data = content.read(min(CHUNK, left))
                    if not data:
                        raise StepError(f"{file} became shorter while it was read", remedy="Run this again.")
                    left -= len(data)
                    done += len(data)
                    told(done, total)
                    yield data
            yield b"\0" * (-info.size % tarfile.BLOCKSIZE)
        yield b"\0" * (2 * tarfile.BLOCKSIZE)
