"""What an operating system says went wrong with a path, made an error of ours: what, where, cause, remedy."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import NotFound, StepError, Unavailable

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
NOT_THERE = (errno.ENOENT, errno.ENOTDIR)


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
    if error.errno == errno.EROFS:
        return StepError(message, remedy="The file system is mounted read-only: remount it, or use another path.")
    return StepError(message)
