"""Space given back: what nothing needs any more is removed, and the bytes are counted."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from ..model import Command
from ..transport.base import Transport
from . import backup_choice, dumps
from .settings import settings

BACKUPS, IMAGES, BUILD_CACHE, LEFTOVERS = "backups", "images", "buildCache", "leftovers"
KINDS = (BACKUPS, IMAGES, BUILD_CACHE, LEFTOVERS)


class Freed(Struct, frozen=True):
    """What was removed of one kind."""

    kind: str
    bytes: int
    names: tuple[str, ...] = ()


def free(on: Transport, kinds: Sequence[str], keep_backups: int) -> list[Freed]:
    """Remove what is spare of these kinds; in check mode only tell. Raises Unavailable where Docker is down."""
    ways: Mapping[str, Callable[[], Freed]] = {
        BACKUPS: lambda: _backups(on, keep_backups),
        IMAGES: lambda: _images(on),
        BUILD_CACHE: lambda: _build_cache(on),
        LEFTOVERS: lambda: _leftovers(on),
    }
    return [ways[kind]() for kind in dict.fromkeys(kinds)]


def _backups(on: Transport, keep: int) -> Freed:
    _, spare = backup_choice.divide(on, keep)
    for dump in spare:
        dumps.remove(on, dump)
    return Freed(BACKUPS, sum(dump.size for dump in spare), tuple(posixpath.basename(dump.path) for dump in spare))


def _images(on: Transport) -> Freed:
    if settings(on).runtime != "compose":
        return Freed(IMAGES, 0)
    from .disk_docker import prune_images

    size, names = prune_images(on)
    return Freed(IMAGES, size, tuple(names))


def _build_cache(on: Transport) -> Freed:
    if settings(on).runtime != "compose":
        return Freed(BUILD_CACHE, 0)
    from .disk_docker import prune_build_cache

    return Freed(BUILD_CACHE, prune_build_cache(on))


def _leftovers(on: Transport) -> Freed:
    """Half-written dumps of runs that were killed; one that is still written was touched a moment ago."""
    folder = settings(on).backups_root
    look = (
        "find",
        folder,
        "-maxdepth",
        "1",
        "-type",
        "f",
        "-name",
        f"*{dumps.PART}",
        "-mmin",
        "+60",
        "-printf",
        "%s %p\\0",
    )
    result = on.run(Command(look, changes=False, timeout=60))
    found = [entry.partition(" ") for entry in result.stdout.decode("utf-8", "replace").split("\0") if entry]
    for _, _, path in found:
        on.remove(path)
    return Freed(LEFTOVERS, sum(int(number) for number, _, _ in found), tuple(path for _, _, path in found))
