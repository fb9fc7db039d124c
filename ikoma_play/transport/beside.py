"""New files that take another's place when they are whole, and what killed writers left of theirs."""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

MOST = 5000  # entries of a directory that are looked through for what was left
_NAMELESS = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)  # a file system or a kernel that has no such files


@contextmanager
def replacement(folder: str, name: str) -> Iterator[int]:
    """The descriptor of a fresh file, for its owner only, that takes the place of the one of this name when the block
    ends well. It has no name before that, where the file system can do so: a writer that is killed leaves nothing."""
    path = os.path.join(folder, name)
    beside, descriptor = _nameless(folder) or _new_beside(folder, name)
    try:
        yield descriptor
        if not beside and not _named(descriptor, path):
            beside = _beside(folder, name)
            _name(descriptor, beside)
        if beside:
            Path(beside).rename(path)
    except BaseException:
        if beside and os.path.lexists(beside):
            Path(beside).unlink()
        raise
    finally:
        os.close(descriptor)


def sweep(folder: str, name: str) -> None:
    """Remove such files of writers that were killed."""
    left = re.compile(rf"\.{re.escape(name[:200])}\.[0-9a-f]{{12}}")
    with suppress(OSError):
        for entry in islice(os.scandir(folder), MOST):
            if left.fullmatch(entry.name):
                _remove_unless_written(entry.path)


# --- how ---


def _nameless(folder: str) -> tuple[str, int] | None:
    if not Path("/proc/self/fd").is_dir():
        return None
    try:
        return "", os.open(folder, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in _NAMELESS:
            return None
        raise


def _named(descriptor: int, path: str) -> bool:
    """Whether a file without a name could take one that nobody has."""
    if os.path.lexists(path):
        return False
    try:
        _name(descriptor, path)
    except FileExistsError:
        return False
    return True


def _name(descriptor: int, path: str) -> None:
    # Python follows the link that /proc has only where it is given a directory, which an absolute path makes no use of.
    os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor)


def _new_beside(folder: str, name: str) -> tuple[str, int]:
    """While the descriptor is open, others know that somebody writes it."""
    while True:
        path = _beside(folder, name)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with suppress(OSError):  # a file system that knows no locks is never swept either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)  # swept in the moment before it was locked


def _beside(folder: str, name: str) -> str:
    return os.path.join(folder, f".{name[:200]}.{os.urandom(6).hex()}")


def _remove_unless_written(path: str) -> None:
    with suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            Path(path).unlink()
        finally:
            os.close(descriptor)
