"""What is kept of an application's releases and backups, and what goes.

Releases: the newest few, the last verified one before the present, and those that a kept one puts back. With a
release go its `.env`, its source and the names of its images, as far as no kept release has them too.

Backups: of those whose name is the application's and a time, what is neither among the newest few nor young goes.
Always kept are the newest good one (its checksum is the recorded one), for each kept release the newest good one
that fits it and the one that it names, and those whose name somebody chose. Databases that a restore put aside go
when they are as old; the newest one stays.
"""

from __future__ import annotations

import contextlib
import posixpath
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from ..errors import NotFound
from ..transport.base import Transport
from . import databases, dumps, kept_sources, release_images, releases, way_back
from .app_env import uses_database
from .backup_choice import whole
from .dumps import Dump
from .postgres import LONGEST_NAME, Server
from .releases import Release

RELEASES, BACKUPS, DAYS = 5, 10, 30


class Spare(Struct, frozen=True):
    """What the rule does not keep; `sources` are keys, `images` and `databases` names."""

    releases: tuple[Release, ...]
    sources: tuple[str, ...]
    images: tuple[str, ...]
    dumps: tuple[Dump, ...]
    databases: tuple[str, ...]


def prune(on: Transport, app: str, keep_releases: int, keep_backups: int, days: int) -> Spare:
    """Remove what the rule does not keep; what that was. In check mode nothing is removed."""
    known = releases.all_of(on, app)
    kept = _kept(app, known, max(1, keep_releases))
    spare = [release for release in known if release not in kept]
    until = f"{datetime.now(UTC) - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"
    old = _spare_dumps(on, app, kept, known, keep_backups, until)
    for dump in old:
        dumps.remove(on, dump)
    aside = _spare_databases(on, app, until)
    if not on.dry:
        for name in aside:
            databases.drop(Server(on), name)
    for release in spare:
        releases.forget(on, app, release)
    sources = kept_sources.forget_others(on, app, {release.kept for release in kept})
    images = release_images.forget_others(on, app, [release.id for release in kept])
    return Spare(tuple(spare), tuple(sources), tuple(images), tuple(old), tuple(aside))


# --- how ---


def _kept(app: str, known: Sequence[Release], count: int) -> list[Release]:
    kept = list(known[:count])
    for begun in (False, True):
        with contextlib.suppress(NotFound, IndexError):
            kept.append(way_back.last_verified(app, known, begun))
    origins = {release.restores for release in kept}
    return [release for release in known if release in kept or release.id in origins]


def _spare_dumps(
    on: Transport, app: str, kept: Sequence[Release], known: Sequence[Release], count: int, until: str
) -> list[Dump]:
    found = dumps.listed(on, app)
    ours = re.compile(rf"{re.escape(app)}-\d{{8}}(-\d{{6}})?\.sql")
    candidates = [
        dump
        for dump in found[max(1, count) :]
        if dump.sha256 and dump.created_at < until and ours.fullmatch(posixpath.basename(dump.path))
    ]
    if not candidates:
        return []  # no file need be read
    needed = {release.backup for release in kept}
    good: dict[str, bool] = {}

    def first_good(those: Iterable[Dump]) -> None:
        for dump in those:
            if good.setdefault(dump.path, whole(on, dump)):
                needed.add(dump.path)
                return

    first_good(found)
    for release in kept:
        first_good(way_back.fitting(found, release, known))
    if not any(good.values()):
        return []  # where none can be proved, none may go
    return [dump for dump in candidates if dump.path not in needed]


def _spare_databases(on: Transport, app: str, until: str) -> list[str]:
    """Databases that a restore put aside before `until`, but the newest."""
    server = Server(on)
    if server.only_recorded or not uses_database(on, app):
        return []
    pattern = rf"^{re.escape(app[: LONGEST_NAME - 27])}_before_\d{{8}}_\d{{6}}(_\d+)?$"
    with server.connect() as connection:
        rows = connection.execute("SELECT datname FROM pg_database WHERE datname ~ %s", [pattern]).fetchall()
    limit = re.sub(r"[-:Z]", "", until).replace("T", "_")
    names = sorted(name for (name,) in rows)
    return [name for name in names[:-1] if name.rpartition("_before_")[2][:15] < limit]
