"""What an operating system says went wrong with a path, made an error of ours: what, where, cause, remedy."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import NotFound, StepError, Unavailable
from .base import Stat

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
NOT_THERE = (errno.ENOENT, errno.ENOTDIR)
NOT_REGULAR = errno.ENOTBLK  # stands for a device, a pipe or a socket where a file is wanted: that has no errno
SHOWN = 80  # characters of a path, which may be as long as a file by mistake


@contextmanager
def told(deed: str, path: str) -> Iterator[None]:
    """An OSError inside is about doing `deed` to `path`."""
    try:
        yield
    except OSError as error:
        raise translated(deed, path, error) from error


def remedy_of(error: OSError, otherwise: str) -> str:
    """What helps where the disk is the cause, else `otherwise`."""
    return translated("", "", error).remedy if error.errno in (*NO_SPACE, errno.EROFS) else otherwise


def translated(deed: str, path: str, error: OSError) -> StepError:
    message = f"cannot {deed} {path}: {(error.strerror or str(error)).lower()}"
    if error.errno in NO_SPACE:
        return Unavailable(message, remedy="Free some disk space (df -h shows how much is left) and run this again.")
    if error.errno in NOT_THERE:
        return NotFound(message, remedy="Check the path; its directory must exist.")
    if error.errno in (errno.EACCES, errno.EPERM):
        return StepError(message, remedy="Run as a user who may do this (become), or change the permissions.")
    if error.errno == errno.EISDIR:
        return StepError(message, remedy="Name a file.")
    if error.errno == NOT_REGULAR:
        return StepError(message, remedy="Name a file: a device, a pipe or a socket is not replaced by one.")
    if error.errno == errno.EROFS:
        return StepError(message, remedy="The file system is mounted read-only: remount it, or use another path.")
    return StepError(message)


def of_input(error: BaseException) -> StepError | None:
    """What the system or a library will not take, which is the doing of who gave it and no mistake of ours."""
    if isinstance(error, OSError) and error.filename and not isinstance(error.filename, int):
        path = os.fsdecode(error.filename)
        return translated("use", path if len(path) <= SHOWN else f"{path[:SHOWN]}…", error)
    if isinstance(error, re.error):
        return StepError(f"{error.pattern!r} is not a regular expression: {error}")
    if isinstance(error, OverflowError):
        return StepError(f"a number is out of range: {error}")
    if isinstance(error, MemoryError):
        return StepError("there is not enough memory for this")
    if isinstance(error, ValueError) and "embedded null" in str(error):
        return StepError("a zero byte cannot be part of a path or of a command")
    if isinstance(error, RuntimeError) and "home directory" in str(error):
        return StepError(
            "a path begins with ~ and a name that no user has", remedy="Write ./~ for a file of that name."
        )
    return None


def not_known(kind: str, name: str) -> NotFound:
    """`kind` is user or group."""
    return NotFound(f"there is no {kind} {name}", remedy=f"Make the {kind} first, or name another.")


def too_large(path: str) -> StepError:
    return StepError(f"{path} is too large to be read at once", remedy="Use a command that works on the host.")


def demand_replaceable(path: str, there: Stat | None) -> None:
    """Raise StepError unless a new file may take the place of what is there: a file, a link or nothing."""
    if there is not None and there.kind == "directory":
        raise translated("write", path, OSError(errno.EISDIR, "Is a directory"))
    if there is not None and there.kind == "other":
        raise translated("write", path, OSError(NOT_REGULAR, "Not a regular file"))
