"""Releases of an application: what ran, from which source, with which migrations, and what puts it back.

    .ikoma/releases/ID.json       the record, in the application's directory; an id sorts by time
    .ikoma/releases/ID.env        the `.env` that it ran with, for its owner only
    .ikoma/releases/ID.env.json   what was noted of the values in it that the platform had filled in
    .ikoma/releases/returning     the id of the release that a rollback which has not come to its end goes back to

The source is kept beside (`kept_sources`), the images by a name of the release's own (`release_images`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import posixpath
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct, field
from msgspec.structs import asdict, replace

from ..errors import IkomaError, NotFound, StepError
from ..model import Command, Progress
from ..transport.base import Transport
from . import app_env, compose_file, dumps, envfile, git, kept_sources, release_images, source
from .application import demand
from .runtime import Runtime, runtime

FOLDER = ".ikoma/releases"
RETURNING = f"{FOLDER}/returning"
_ID = re.compile(r"\d{8}T\d{6}\d{3}Z-[0-9a-f]{4}")
# Paths and contents of every file, links by their text; what git and interpreters keep beside does not count.
_FINGERPRINT = r"""cd "$1" 2>/dev/null || exit 0
{ find . \( -name .git -o -name __pycache__ \) -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum --
  find . \( -name .git -o -name __pycache__ \) -prune -o -type l -printf '%p %l\n' | LC_ALL=C sort; } | sha256sum"""


class Release(Struct, frozen=True):
    """What was running at a time. `tree` is a digest of src/, `images` maps services to image ids,
    `migrations` maps names to checksums (None: the database could not be asked). Times are ISO 8601, UTC."""

    id: str
    app: str
    at: str
    ref: str = ""
    commit: str = ""
    source: str = ""
    tree: str = ""
    compose: str = ""  # the compose file's sha256
    images: dict[str, str] = field(default_factory=dict)
    migrations: dict[str, str] | None = None
    backup: str = ""
    health_url: str = ""
    run: str = ""
    who: str = ""  # user@host of the runner, or the caller that the server knows
    verified: str = ""  # when verification passed first; "": never
    kept: str = ""  # the key under which its source is kept
    placed: str = ""  # a digest of what apps.source had recorded: another one now means that a deploy began
    restores: str = ""  # the id of the release that a rollback put back by this one

    @property
    def version(self) -> str:
        """How people call it: the reference, else the commit, else the id."""
        return self.ref or self.commit[:12] or self.id

    def same_as(self, other: Release) -> bool:
        """Whether both are one release: the same things run; when and how they were recorded does not count."""
        return all(
            getattr(self, name) == getattr(other, name)
            for name in ("commit", "tree", "compose", "images", "migrations")
        )


def record(
    on: Transport,
    app: str,
    *,
    ref: str = "",
    health_url: str = "",
    run: str = "",
    who: str = "",
    restores: Release | None = None,
    through: Runtime | None = None,
) -> tuple[Release, bool]:
    """Record what runs now, with what it takes to put it back; the release and whether anything was written.

    When it is what the newest release says already, that one is kept, and completed with `ref` and
    `health_url` where they are new. `restores` is the release that a rollback has just put back."""
    now = look(on, app, through)
    before = latest(on, app)
    if before is not None and before.same_as(now):
        completed = replace(
            before,
            ref=ref or before.ref or now.ref,
            health_url=health_url or before.health_url,
            kept=_kept_source(on, app) or before.kept,
            placed=now.placed,
        )
        new = _keep_env(on, app, completed) or completed != before
        if new:
            _write(on, app, completed)
        _note_arrival(on, app)
        return completed, new
    back = restores or before
    release = replace(
        now,
        ref=ref or now.ref or (restores.ref if restores else ""),
        health_url=health_url or (back.health_url if back else ""),
        backup=next((dump.path for dump in dumps.listed(on, app)), ""),
        run=run,
        who=who,
        kept=_kept_source(on, app),
        restores=(restores.restores or restores.id) if restores else "",
    )
    _keep_env(on, app, release)
    release_images.keep(on, app, release.id, release.images)
    _write(on, app, release)
    _note_arrival(on, app)
    return release, True


def note_verified(on: Transport, app: str) -> None:
    """Write into the newest release's record that it was verified, unless it says so.

    The verification counts also where its record cannot be written (another user's file)."""
    release = latest(on, app)
    if release is None or release.verified or on.dry:
        return
    with contextlib.suppress(StepError):
        _write(on, app, replace(release, verified=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"))


def env_of(on: Transport, app: str, release: Release) -> bytes | None:
    """The `.env` that the release ran with; None where it had none."""
    path = _path(on, app, release, "env")
    return on.read(path) if on.exists(path) else None


def env_record_of(on: Transport, app: str, release: Release) -> bytes:
    """What was noted of the values in the release's `.env` that the platform had filled in."""
    noted = _path(on, app, release, "env.json")
    return on.read(noted) if on.exists(noted) else b"{}"


def secrets_of(on: Transport, app: str, release: Release) -> list[str]:
    """The values of the release's `.env` that must be shown nowhere."""
    try:
        text = (env_of(on, app, release) or b"").decode("utf-8", "replace")
        return envfile.secret_values(envfile.EnvFile(text, ".env").values)
    except StepError:
        return []


def put_env_back(on: Transport, app: str, release: Release) -> app_env.Merged | None:
    """Give the application the release's `.env` again; None where none was kept."""
    data = env_of(on, app, release)
    return None if data is None else app_env.exchange(on, app, data, env_record_of(on, app, release))


def source_mark(on: Transport, app: str) -> str:
    """A digest of what apps.source recorded of the source in place; "" where it recorded nothing."""
    known = source.current(on, app)
    said = [str(known.get(name, "")) for name in ("source", "ref", "commit", "tree")]
    return hashlib.sha256("\0".join(said).encode()).hexdigest()[:16] if any(said) else ""


def note_return(on: Transport, app: str, release: Release) -> None:
    """Write down that the source of a release is about to be put back, until a release is recorded."""
    if not on.dry:
        _make_folder(on, app)
        on.write(posixpath.join(demand(on, app), RETURNING), release.id.encode(), 0o600)


def _note_arrival(on: Transport, app: str) -> None:
    on.remove(posixpath.join(demand(on, app), RETURNING))


def returning(on: Transport, app: str, known: Sequence[Release]) -> Release | None:
    """The release whose source is in place because a rollback to it was begun and did not come to its end."""
    path = posixpath.join(demand(on, app), RETURNING)
    wanted = on.read(path).decode("utf-8", "replace") if on.exists(path) else ""
    mark = source_mark(on, app)
    return next((release for release in known if release.id == wanted and release.placed == mark), None)


def forget(on: Transport, app: str, release: Release) -> None:
    """Remove the record and its `.env`."""
    for kind in ("env", "env.json", "json"):
        on.remove(_path(on, app, release, kind))


def look(on: Transport, app: str, through: Runtime | None = None) -> Release:
    """What is there now, as a release that is not recorded yet. Raises StepError where it cannot be seen."""
    folder = demand(on, app)
    services = (through or runtime(on)).services(app)
    known = source.current(on, app)
    commit = git.head(on, posixpath.join(folder, "src")) or known.get("commit", "")
    now = datetime.now(UTC)
    return Release(
        f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03}Z-{secrets.token_hex(2)}",
        app,
        f"{now:%Y-%m-%dT%H:%M:%SZ}",
        # A reference names the commit it was resolved to, and no other one that was checked out since.
        known.get("ref", "") if commit == known.get("commit") else "",
        commit,
        known.get("source", ""),
        fingerprint(on, folder),
        hashlib.sha256(on.read(compose_file.find(on, folder))).hexdigest(),
        {service.name: service.image for service in services if service.state != "missing"},
        migrations(on, app),
        placed=source_mark(on, app),
    )


def migrations(on: Transport, app: str) -> dict[str, str] | None:
    """What the database says was applied, with checksums; None where it cannot be asked, {} where there is none."""
    from .migrations import MIGRATIONS, records
    from .postgres import Server

    if not app_env.uses_database(on, app):
        return {}
    try:
        with Server(on).connect(app) as connection:
            return {entry.name: entry.sha256 for entry in records(connection, MIGRATIONS)}
    except IkomaError:
        return None


def fingerprint(on: Transport, folder: str) -> str:
    """A digest of src/ as it lies on the host, however it came there."""
    script = Command(("sh", "-c", _FINGERPRINT, "sh", posixpath.join(folder, "src")), changes=False, timeout=600)
    return on.demand(script, f"the files of {folder}/src cannot be read").text.partition(" ")[0]


def all_of(on: Transport, app: str) -> list[Release]:
    """Every release, newest first; what is no record is passed over."""
    found = []
    for entry in on.scan(posixpath.join(demand(on, app), FOLDER)):
        name = posixpath.basename(entry.path).removesuffix(".json")
        if _ID.fullmatch(name) and (release := _read(on, entry.path)) is not None:
            found.append(release)
    return sorted(found, key=lambda release: release.id, reverse=True)


def latest(on: Transport, app: str) -> Release | None:
    entries = [entry.path for entry in on.scan(posixpath.join(demand(on, app), FOLDER))]
    for path in sorted(entries, reverse=True):
        if _ID.fullmatch(posixpath.basename(path).removesuffix(".json")) and (release := _read(on, path)):
            return release
    return None


def find(on: Transport, app: str, wanted: str) -> Release:
    """A release by its id, reference or commit (its beginning), the newest that fits. Raises NotFound."""
    releases = all_of(on, app)
    for fits in (
        lambda release: wanted in (release.id, release.ref),
        lambda release: len(wanted) >= 7 and release.commit.startswith(wanted),
    ):
        for release in releases:
            if fits(release):
                return release
    known = ", ".join(release.version for release in releases[:10])
    raise NotFound(
        f"{app} has no release {wanted}", remedy=f"Its releases: {known}." if known else "None was recorded yet."
    )


def _read(on: Transport, path: str) -> Release | None:
    try:
        data = json.loads(on.read(path))
        return Release(**{name: data[name] for name in Release.__struct_fields__ if name in data})
    except (StepError, ValueError, TypeError):
        return None


def _path(on: Transport, app: str, release: Release, kind: str) -> str:
    return posixpath.join(demand(on, app), FOLDER, f"{release.id}.{kind}")


def _write(on: Transport, app: str, release: Release) -> None:
    _make_folder(on, app)
    data = json.dumps(asdict(release), indent=1, sort_keys=True).encode()
    on.write(_path(on, app, release, "json"), data, 0o600)


def _keep_env(on: Transport, app: str, release: Release) -> bool:
    """Keep the present `.env` as the release's; True where that is new."""
    present = posixpath.join(demand(on, app), ".env")
    data = on.read(present) if on.exists(present) else None
    if data is None or data == env_of(on, app, release):
        return False
    _make_folder(on, app)
    on.write(_path(on, app, release, "env"), data, envfile.MODE)
    on.write(_path(on, app, release, "env.json"), app_env.filled_in(on, app), 0o600)
    return True


def _kept_source(on: Transport, app: str) -> str:
    """The source's key; "" where it could not be kept, which must not make a good deploy a failed one."""
    try:
        return kept_sources.keep(on, app)
    except StepError as error:
        on.progress(Progress(f"the source was not kept: {error.message}"))
        return ""


def _make_folder(on: Transport, app: str) -> None:
    folder = posixpath.join(demand(on, app), FOLDER)
    on.mkdir(posixpath.dirname(folder), 0o700)
    on.mkdir(folder, 0o700)
