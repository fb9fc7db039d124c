"""The way back to an earlier release: which one, with which backup, and whether all that it takes is there.

Everything is looked at before anything is stopped; what is missing is an error with the way around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from ..errors import IkomaError, NotFound, Refused
from ..transport.base import Transport
from . import databases, dumps, kept_sources, release_images, releases
from .app_env import uses_database
from .dumps import Dump
from .postgres import Server
from .releases import Release

RESTORE, KEEP, NONE = "restore", "keep", "none"


class WayBack(Struct, frozen=True):
    """What a rollback will do. `begun`: a deploy after `present` did not come to its end, or, where `returning`, a
    rollback; `database`: restore, keep or none; `source`: kept (the copy), present (it is in place) or repository
    (fetched anew); `rebuilt`: services whose image is gone; `notes`: what was passed over, and why."""

    release: Release
    present: Release
    begun: bool
    database: str
    dump: Dump | None
    source: str
    rebuilt: tuple[str, ...]
    env: bool
    notes: tuple[str, ...] = ()
    returning: bool = False

    def sentences(self) -> list[str]:
        """What will be done, for the person who decides."""
        release, present = self.release, self.present
        what = "rollback" if self.returning else "deploy"
        came = f"a {what} that did not come to its end" if self.begun else f"{present.version}, recorded {present.at},"
        verified = f"verified {release.verified}" if release.verified else "never verified"
        said = [
            f"Back from {came} to {release.version}, recorded {release.at}, {verified}:",
            f"stop {release.app}",
            *self._about_database(),
            {
                "kept": "put the source back from its kept copy",
                "present": "leave the source, which is that release's",
                "repository": f"fetch commit {release.commit[:12]} from {release.source}",
            }[self.source],
            "put the .env of that release back" if self.env else "leave .env as it is: none was kept with that release",
            f"start it, building {', '.join(self.rebuilt)} anew: the image is gone"
            if self.rebuilt
            else "start it with the images of that release",
            "verify it against the release's record",
        ]
        return [*said, *self.notes]

    def _about_database(self) -> list[str]:
        if self.database == NONE:
            return []
        if self.database == KEEP or self.dump is None:
            return ["leave the database as it is"]
        return [
            f"restore {self.dump.path} (taken {self.dump.created_at}, {self.dump.size} bytes): rows written since are "
            "not in it; the present database is kept under another name"
        ]


def find(on: Transport, app: str, wanted: str = "", backup: str = "", keep_database: bool = False) -> WayBack:
    """The way back to the release `wanted`, or to the last verified one before the present.

    Raises NotFound (no such release, no fitting backup, nothing to put the source back from), Refused (the chosen
    backup is damaged)."""
    release_images.preload(on)
    known = releases.all_of(on, app)
    if not known:
        raise NotFound(
            f"{app} has no recorded release to go back to",
            remedy="Deploys record them; without one restore a backup (playbooks/restore.yml) and deploy a tag.",
        )
    begun = _begun(on, app, known[0])
    returning = _returning(on, app, known, begun)
    release = releases.find(on, app, wanted) if wanted else returning or last_verified(app, known, begun)
    notes: list[str] = []
    database, dump = _database(on, app, release, known, backup, keep_database, notes)
    return WayBack(
        release,
        known[0],
        begun or returning is not None,
        database,
        dump,
        _source(on, app, release),
        tuple(release_images.missing(on, release.images)),
        releases.env_of(on, app, release) is not None,
        tuple(notes),
        returning is not None,
    )


def former(on: Transport, app: str, known: Sequence[Release]) -> Release | None:
    """The release that a rollback without further word goes back to; None where there is none."""
    try:
        begun = bool(known) and _begun(on, app, known[0])
        returning = _returning(on, app, known, begun) if known else None
        return returning or (last_verified(app, known, begun) if known else None)
    except NotFound:
        return None


def last_verified(app: str, known: Sequence[Release], begun: bool) -> Release:
    """The newest verified release before the present one, or of all where a deploy was `begun`. Raises NotFound."""
    newest = known[0]
    limit = newest.restores or newest.id
    for release in known:
        earlier = begun or (release.id < limit and not release.same_as(newest))
        if release.verified and earlier:
            return release
    others = ", ".join(f"{release.version} ({release.at})" for release in known[1:6]) or "none"
    put_back = ", which a rollback put back" if newest.restores else ""
    raise NotFound(
        f"{app} has no other verified release before {newest.version}, recorded {newest.at}{put_back}",
        remedy=f"Name one with release=; the others: {others}. To restore only the database: playbooks/restore.yml.",
    )


def fitting(found: Sequence[Dump], release: Release, known: Sequence[Release]) -> Iterator[Dump]:
    """The backups that hold a database as the release knows it, newest first.

    A backup says which migrations it holds; of one that does not its time must do: after the release was
    recorded, and before another one brought other migrations."""
    later = [other.at for other in known if other.id > release.id and other.migrations != release.migrations]
    until = min(later, default="9999")
    for dump in found:
        if dump.migrations is not None and release.migrations is not None:
            if dump.migrations == release.migrations:
                yield dump
        elif release.at <= dump.created_at <= until:
            yield dump


# --- how ---


def _begun(on: Transport, app: str, newest: Release) -> bool:
    """Whether another source was put in place since the newest release, and nothing was recorded of it."""
    mark = releases.source_mark(on, app)
    return bool(newest.placed and mark and mark != newest.placed)


def _returning(on: Transport, app: str, known: Sequence[Release], begun: bool) -> Release | None:
    """The verified release to which a rollback was begun that did not come to its end: to its source at least, at
    most to its being verified again."""
    newest = known[0]
    if newest.restores and not newest.verified:
        return next((release for release in known if release.id == newest.restores and release.verified), None)
    return releases.returning(on, app, known) if begun else None


def _source(on: Transport, app: str, release: Release) -> str:
    if kept_sources.sound(on, app, release.kept):
        return "kept"
    if kept_sources.in_place(on, app, release.kept):
        return "present"
    if release.commit and release.source:
        return "repository"
    raise NotFound(
        f"the source of release {release.version} is not kept any more, or its copy was changed",
        remedy="Go back to another release (artifact.releases lists them), or deploy its source anew.",
    )


def _database(
    on: Transport,
    app: str,
    release: Release,
    known: Sequence[Release],
    backup: str,
    keep_database: bool,
    notes: list[str],
) -> tuple[str, Dump | None]:
    if backup:
        chosen = dumps.locate(on, backup, app)
        dumps.verify(on, chosen)
        if not chosen.sha256:
            notes.append(f"{chosen.path} has no recorded checksum, so it could not be verified")
        return RESTORE, chosen
    if not uses_database(on, app):
        return NONE, None
    if keep_database:
        return KEEP, None
    for dump in fitting(dumps.listed(on, app), release, known):
        try:
            dumps.verify(on, dump)
        except Refused as error:
            notes.append(f"passed over: {error.message}")
            continue
        return RESTORE, dump
    if _as_released(on, app, release):
        notes.append("there is no backup of that release; the database has just its migrations")
        return KEEP, None
    raise NotFound(
        f"{app} has no good backup that fits release {release.version}{''.join(f'; {note}' for note in notes)}",
        remedy="Choose one with backup= (db.backups lists them), or leave the database as it is with "
        "keep_database=true.",
    )


def _as_released(on: Transport, app: str, release: Release) -> bool:
    try:
        return databases.exists(Server(on), app) and releases.migrations(on, app) == release.migrations
    except IkomaError:
        return False
