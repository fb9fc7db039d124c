"""Releases of an application: what ran, from which source, with which migrations.

Each is a file `.ikoma/releases/ID.json` in the application's directory; an id sorts by time.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import secrets
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime

from ..errors import IkomaError, NotFound, StepError
from ..model import Command
from ..transport.base import Transport
from . import compose_file, dumps, git, source
from .app_env import uses_database
from .application import demand
from .runtime import Runtime, runtime

FOLDER = ".ikoma/releases"
_ID = re.compile(r"\d{8}T\d{6}\d{3}Z-[0-9a-f]{4}")
# Paths and contents of every file, links by their text; what git and interpreters keep beside does not count.
_FINGERPRINT = r"""cd "$1" 2>/dev/null || exit 0
{ find . \( -name .git -o -name __pycache__ \) -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum --
  find . \( -name .git -o -name __pycache__ \) -prune -o -type l -printf '%p %l\n' | LC_ALL=C sort; } | sha256sum"""


@dataclass(frozen=True, slots=True)
class Release:
    """What was running at a time. `tree` is a digest of src/, `images` maps services to image ids,
    `migrations` maps names to checksums (None: the database could not be asked)."""

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
    on: Transport, app: str, *, ref: str = "", health_url: str = "", run: str = "", through: Runtime | None = None
) -> tuple[Release, bool]:
    """Record what runs now; the release and whether anything was written.

    When it is what the newest release says already, that one is kept, and completed with `ref` and
    `health_url` where they are new."""
    now = look(on, app, through)
    before = latest(on, app)
    if before is not None and before.same_as(now):
        completed = replace(
            before,
            ref=ref or before.ref or now.ref,
            health_url=health_url or before.health_url,
        )
        if completed == before:
            return before, False
        _write(on, app, completed)
        return completed, True
    release = replace(
        now,
        ref=ref or now.ref,
        health_url=health_url or (before.health_url if before else ""),
        backup=next((dump.path for dump in dumps.listed(on, app)), ""),
        run=run,
    )
    _write(on, app, release)
    return release, True


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
    )


def migrations(on: Transport, app: str) -> dict[str, str] | None:
    """What the database says was applied, with checksums; None where it cannot be asked, {} where there is none."""
    from .migrations import MIGRATIONS, records
    from .postgres import Server

    if not uses_database(on, app):
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
        return Release(**{entry.name: data[entry.name] for entry in fields(Release) if entry.name in data})
    except (StepError, ValueError, TypeError):
        return None


def _write(on: Transport, app: str, release: Release) -> None:
    folder = posixpath.join(demand(on, app), FOLDER)
    on.mkdir(posixpath.dirname(folder), 0o700)
    on.mkdir(folder, 0o700)
    data = json.dumps(asdict(release), indent=1, sort_keys=True).encode()
    on.write(posixpath.join(folder, f"{release.id}.json"), data, 0o600)
