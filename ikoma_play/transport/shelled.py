"""The verbs about files, for roads that can only run commands: each is one small script of a POSIX shell.

Paths and values reach the scripts as arguments, never as part of their text.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat as bits
from collections.abc import Sequence
from typing import BinaryIO

from msgspec.structs import replace

from ..errors import StepError, last_lines
from ..model import Command, Result
from .base import Stat, Transport
from .faults import NOT_REGULAR, NOT_THERE, too_large, translated
from .process import KEPT

SAID = {
    "No space left on device": errno.ENOSPC,
    "Disk quota exceeded": errno.EDQUOT,
    "Permission denied": errno.EACCES,
    "Operation not permitted": errno.EPERM,
    "Read-only file system": errno.EROFS,
    "No such file or directory": errno.ENOENT,
    "Directory nonexistent": errno.ENOENT,  # dash, of a file it is to make
    "Not a directory": errno.ENOTDIR,
    "Is a directory": errno.EISDIR,
    "File name too long": errno.ENAMETOOLONG,
    "Too many levels of symbolic links": errno.ELOOP,
    "Not a regular file": NOT_REGULAR,  # our own scripts say so
}

# Said first as another user, to whom the directory may be closed that we are in: find fails there, wherever it looks.
SOMEWHERE = "cd . 2>/dev/null || cd /"

STAT = """
export LC_ALL=C
if [ "$2" = follow ]; then exec stat -L -c '%f %s %Y %u %g %U %G' -- "$1"; fi
stat -c '%f %s %Y %u %g %U %G' -- "$1" || exit
if [ -L "$1" ]; then exec readlink -n -- "$1"; fi
"""

FOUND = r"%y %m %s %T@ %U %G %u %g\0%p\0%l\0"  # of find: what found_by reads
SCAN = f"""
export LC_ALL=C
depth=$2
exec find "${{1%/}}/" -mindepth 1 $depth -printf '{FOUND}'
"""

# A new file takes the place of a file or a link at $1, and of nothing else.
OVER_FILES = """
if [ -e "$1" ] && [ ! -f "$1" ] && [ ! -L "$1" ]; then
if [ -d "$1" ]; then echo 'Is a directory' >&2; else echo 'Not a regular file' >&2; fi; exit 1; fi
"""

WRITE = f"""
export LC_ALL=C
{OVER_FILES.strip()}
path=$1 beside=$2 mode=$3
trap 'rm -f -- "$beside"' EXIT HUP INT TERM
(umask 077; exec cat > "$beside") || exit
if [ -f "$path" ] && [ ! -L "$path" ]; then
  owner=$(stat -c %u:%g -- "$path")
  chown "$owner" -- "$beside" 2>/dev/null || chgrp "${{owner#*:}}" -- "$beside" 2>/dev/null
  : "${{mode:=$(stat -c %a -- "$path")}}"
fi
chmod "${{mode:-644}}" -- "$beside" || exit
sync -- "$beside" || exit
mv -fT -- "$beside" "$path" || exit
trap - EXIT
sync -- "${{path%/*}}/" 2>/dev/null || :
"""


class ShelledTransport(Transport):
    """A transport whose `run` is all there is."""

    def read(self, path: str) -> bytes:
        result = self._script('export LC_ALL=C; exec head -c "$2" -- "$1"', path, str(KEPT + 1))  # it may have no end
        self._demand("read", path, result)
        if result.dropped:
            raise too_large(path)
        return result.stdout

    def write(self, path: str, data: bytes | BinaryIO, mode: int | None = None) -> None:
        folder, name = posixpath.split(path)
        beside = posixpath.join(folder, f".{name[:200]}.{os.urandom(6).hex()}")
        target = path if folder else f"./{name}"
        shown = "" if mode is None else f"{mode:o}"
        command = Command(("/bin/sh", "-c", WRITE, "sh", target, beside, shown), stdin=data)
        self._demand("write", path, self.run(command))

    def stat(self, path: str, follow: bool = False) -> Stat | None:
        result = self._script(STAT, path, "follow" if follow else "")
        if not result.ok and cause(result) in NOT_THERE:
            return None
        self._demand("look at", path, result)
        line, _, target = result.stdout.partition(b"\n")
        return replace(stat_of(path, line), target=target.decode("utf-8", "surrogateescape"))

    def scan(self, path: str, recurse: bool = False) -> Sequence[Stat]:
        depth = () if recurse else ("-maxdepth", "1")
        script = SCAN.replace("$depth", " ".join(depth)).replace("depth=$2\n", "")
        result = self._script(script, path)
        if not result.ok and not result.stdout and cause(result) in NOT_THERE:
            return []
        if not (result.ok or cause(result) == errno.ENOENT):  # an entry may go away meanwhile
            self._demand("list", path, result)
        top = f"{path.rstrip('/')}/"
        found = (replace(entry, path=posixpath.join(path, posixpath.relpath(entry.path, top)))
                 for entry in found_by(result.stdout))  # fmt: skip
        return sorted(found, key=lambda entry: entry.path)

    def _script(self, script: str, *arguments: str) -> Result:
        return self.run(Command(("/bin/sh", "-c", script, "sh", *arguments), changes=False))

    def _demand(self, deed: str, path: str, result: Result) -> None:
        if not result.ok:
            raise failed(deed, path, result)


def failed(deed: str, path: str, result: Result) -> StepError:
    """The error that a program which was to do `deed` to `path` complained about."""
    number = cause(result)
    if number is None:
        return StepError(f"cannot {deed} {path}", evidence=last_lines(result))
    text = next(text for text, known in SAID.items() if known == number)
    return translated(deed, path, OSError(number, text))


def cause(result: Result) -> int | None:
    """The errno of what a program complained about, in the C locale."""
    return errno_said(result.stderr)


def errno_said(complaint: bytes) -> int | None:
    said = complaint.decode("utf-8", "replace")
    return next((number for text, number in SAID.items() if text in said), None)


def found_by(said: bytes) -> list[Stat]:
    """What find has printed, asked for FOUND."""
    parts = said.decode("utf-8", "surrogateescape").split("\0")
    return [_scanned(*each) for each in zip(parts[0::3], parts[1::3], parts[2::3], strict=False)]


def stat_of(path: str, line: bytes) -> Stat:
    """A line of `stat -c '%f %s %Y %u %g %U %G'`."""
    raw, size, mtime, uid, gid, owner, group = line.decode("utf-8", "surrogateescape").split(" ")
    mode = int(raw, 16)
    return Stat(
        path,
        _kind(mode),
        bits.S_IMODE(mode),
        int(size),
        float(mtime),
        int(uid),
        int(gid),
        "" if owner == "UNKNOWN" else owner,
        "" if group == "UNKNOWN" else group,
    )


def _kind(mode: int) -> str:
    kinds = {bits.S_IFREG: "file", bits.S_IFDIR: "directory", bits.S_IFLNK: "link"}
    return kinds.get(bits.S_IFMT(mode), "other")


def _scanned(head: str, path: str, target: str) -> Stat:
    letter, mode, size, mtime, uid, gid, owner, group = head.split(" ")
    kind = {"f": "file", "d": "directory", "l": "link"}.get(letter, "other")
    owner, group = "" if owner == uid else owner, "" if group == gid else group
    return Stat(path, kind, int(mode, 8), int(size), float(mtime), int(uid), int(gid), owner, group, target)
