"""What uses the disks of a host, and how much of it could be freed without losing anything that is needed.

Sizes are bytes as the host's file system counts them; of images, which share layers, what only they have.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence

from msgspec import Struct

from ..errors import IkomaError
from ..model import Command
from ..transport.base import Transport
from . import application, backup_choice
from .disk_use import Use, size
from .settings import settings

LEAST_SPACE = 100 * 1024 * 1024  # bytes; with less a deploy fails sooner or later
_DOCKER_ROOT = "/var/lib/docker"


class Filesystem(Struct, frozen=True):
    """A disk with something of ours on it; `holds` are our directories there."""

    mount: str
    holds: tuple[str, ...]
    total: int
    free: int
    files_free: int  # inodes; -1 where the file system does not count them

    @property
    def full(self) -> bool:
        return 0 <= self.free < LEAST_SPACE or self.files_free == 0

    @property
    def said(self) -> str:
        files = ", no inode is free" if self.files_free == 0 else ""
        return f"{size(self.free)} of {size(self.total)} free on {self.mount}{files}"


def filesystems(on: Transport) -> list[Filesystem]:
    """The disks of applications, backups and Docker, each once."""
    found = settings(on)
    places = [found.apps_root, found.backups_root]
    if found.runtime == "compose":
        places.append(docker_root(on))
    disks: dict[str, tuple[list[str], int, int]] = {}
    for place in dict.fromkeys(places):
        if (seen := _df(on, place)) is not None:
            mount, total, free = seen
            disks.setdefault(mount, ([], total, free))[0].append(place)
    return [
        Filesystem(mount, tuple(holds), total, free, _inodes(on, mount))
        for mount, (holds, total, free) in disks.items()
    ]


def space(on: Transport, path: str) -> tuple[int, str]:
    """Bytes free for us on the disk of `path` or of the nearest directory above it, -1 where it cannot be told;
    and the same in words."""
    seen = _df(on, path)
    if seen is None:
        return -1, f"the space on the disk of {path} is not known"
    mount, total, free = seen
    return free, f"{free / 2**30:.1f} GiB of {total / 2**30:.1f} GiB free on {mount}"


def docker_root(on: Transport) -> str:
    """Where Docker keeps images and containers; its usual place where the engine does not answer."""
    from .engine import engine

    try:
        with engine(on) as docker:
            return docker.root()
    except IkomaError:
        return _DOCKER_ROOT


def uses(on: Transport) -> list[Use]:
    """What takes space, the largest first."""
    found = [_applications(on), _backups(on)]
    if settings(on).runtime == "compose":
        from .disk_docker import uses as of_docker

        try:
            found += of_docker(on)
        except IkomaError as error:
            found.append(Use("images", 0, 0, f"not known: {error.message}"))
    found.append(_logs(on))
    return sorted(found, key=lambda use: use.bytes, reverse=True)


# --- how ---


def _applications(on: Transport) -> Use:
    root = settings(on).apps_root
    sizes = used(on, [posixpath.join(root, name) for name in application.names(on)])
    items = tuple({"name": posixpath.basename(path), "bytes": number} for path, number in _largest(sizes))
    advice = "apps.remove takes away an application that nobody needs, after a last backup"
    return Use("applications", sum(sizes.values()), 0, advice, items)


def _backups(on: Transport) -> Use:
    kept, spare = backup_choice.divide(on, backup_choice.KEEP)
    items = [
        {"name": posixpath.basename(dump.path), "bytes": dump.size, "freeable": dump in spare}
        for dump in sorted((*kept, *spare), key=lambda dump: dump.size, reverse=True)
    ]
    return Use(
        "backups",
        sum(dump.size for dump in (*kept, *spare)),
        sum(dump.size for dump in spare),
        f"the newest {backup_choice.KEEP} of each application stay, the last one that is whole, "
        "and those of its releases",
        tuple(items[:10]),
    )


def _logs(on: Transport) -> Use:
    log = settings(on).audit_log
    sizes = {entry.path: entry.size for entry in on.scan(posixpath.dirname(log)) if entry.kind == "file"}
    mine = {path: number for path, number in sizes.items() if path.startswith(log)}
    items = tuple({"name": path, "bytes": number} for path, number in _largest(mine))
    return Use("logs", sum(mine.values()), 0, "the audit log is kept; logrotate may move old ones away", items)


def used(on: Transport, paths: Sequence[str]) -> dict[str, int]:
    """Bytes on disk of directories; those that may not be read count as far as they can be."""
    if not paths:
        return {}
    result = on.run(Command(("du", "-skx", "--", *paths), env={"LC_ALL": "C"}, changes=False, timeout=300))
    found = {}
    for line in result.text.splitlines():
        number, tab, path = line.partition("\t")
        if tab and number.isdigit():
            found[path] = int(number) * 1024
    return found


def _largest(sizes: dict[str, int]) -> Iterable[tuple[str, int]]:
    return sorted(sizes.items(), key=lambda pair: pair[1], reverse=True)[:10]


def _df(on: Transport, path: str) -> tuple[str, int, int] | None:
    """The mount point of the path or of the nearest directory above it, with its size and what is free for us."""
    words = _asked(on, "-Pk", path)
    if words is None or not words[-3].isdigit():
        return None
    return words[-1], int(words[-5]) * 1024, int(words[-3]) * 1024


def _inodes(on: Transport, path: str) -> int:
    words = _asked(on, "-Pi", path)
    if words is None or not words[-3].isdigit() or not words[-5].isdigit() or int(words[-5]) == 0:
        return -1
    return int(words[-3])


def _asked(on: Transport, how: str, path: str) -> list[str] | None:
    while path != posixpath.dirname(path) and on.stat(path, follow=True) is None:
        path = posixpath.dirname(path)
    result = on.run(Command(("df", how, "--", path), env={"LC_ALL": "C"}, changes=False, timeout=30))
    lines = result.text.splitlines()
    words = lines[-1].split() if result.ok and len(lines) > 1 else []
    return words if len(words) >= 6 else None
