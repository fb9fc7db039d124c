"""New files that take another's place when they are whole, and what killed writers left of theirs."""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import suppress
from itertools import islice
from pathlib import Path

MOST = 5000  # entries of a directory that are looked through for what was left


def new_beside(folder: str, name: str) -> tuple[str, int]:
    """A fresh file beside the one of this name, for its owner only, and its descriptor; while that is open, others
    know that somebody writes it."""
    while True:
        path = os.path.join(folder, f".{name[:200]}.{os.urandom(6).hex()}")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with suppress(OSError):  # a file system that knows no locks is never swept either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)  # swept in the moment before it was locked


def sweep(folder: str, name: str) -> None:
    """Remove such files of writers that were killed."""
    left = re.compile(rf"\.{re.escape(name[:200])}\.[0-9a-f]{{12}}")
    with suppress(OSError):
        for entry in islice(os.scandir(folder), MOST):
            if left.fullmatch(entry.name):
                _remove_unless_written(entry.path)


def _remove_unless_written(path: str) -> None:
    with suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            Path(path).unlink()
        finally:
            os.close(descriptor)
