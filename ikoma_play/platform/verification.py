"""A recorded release held against what is really there."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from msgspec import Struct

from ..errors import IkomaError
from ..transport.base import Transport
from . import health, releases
from .application import demand
from .migrations import MIGRATIONS, Script, from_folder
from .releases import Release
from .runtime import Service, runtime


class Check(Struct, frozen=True):
    """One thing compared; `details` says what was found."""

    name: str
    passed: bool
    details: str


def verify(on: Transport, app: str, url: str = "") -> list[Check]:
    """Every comparison; what cannot be looked at has not passed, and is no error."""
    release = releases.latest(on, app)
    if release is None:
        return [Check("release", False, "no release is recorded; deploy.up records one")]
    through = runtime(on)
    found = health.look(on, app, url, through)
    checks = [Check("release", True, f"{release.version}, recorded {release.at}")]
    if release.restores:
        checks.append(_put_back(release, releases.all_of(on, app)))
    checks.append(_services(found))
    checks.append(_images(release, found.services))
    try:
        now = releases.look(on, app, through)
    except IkomaError as error:
        return [*checks, Check("source", False, error.message)]
    checks += [_source(release, now), _configuration(release, now)]
    if found.database is not None:
        said = "it answers" if found.database else _about_database(found)
        checks.append(Check("database", found.database, said))
        checks.append(_migrations(on, app, release, now))
    if found.url:
        good = found.answer.startswith(("2", "3"))
        checks.append(Check("health", good, f"{found.url}: {found.answer}"))
    return checks


def _put_back(release: Release, known: list[Release]) -> Check:
    """Whether what a rollback recorded is the release that it was to put back."""
    former = next((other for other in known if other.id == release.restores), None)
    if former is None:
        return Check("rollback", False, f"the release {release.restores} that it puts back is not recorded any more")
    names = {"commit": "commit", "tree": "files of src/", "compose": "compose file", "migrations": "migrations"}
    wrong = [word for name, word in names.items() if getattr(former, name) != getattr(release, name)]
    if wrong:
        return Check("rollback", False, f"not {former.version} as it was: another {', another '.join(wrong)}")
    same = "its images" if former.images == release.images else "images built anew from its source"
    return Check("rollback", True, f"{former.version} again, with {same}")


def _services(found: health.Health) -> Check:
    if not found.services:
        return Check("services", False, found.problems[0] if found.problems else "there are none")
    bad = [problem for problem in found.problems if problem.startswith("service ")]
    said = ", ".join(f"{service.name} {health.shown(service)}" for service in found.services)
    return Check("services", found.docker, "; ".join(bad) or said)


def _images(release: Release, services: tuple[Service, ...]) -> Check:
    running = {service.name: service.image for service in services if service.state != "missing"}
    wrong = []
    for name in sorted(release.images.keys() | running.keys()):
        recorded, now = release.images.get(name), running.get(name)
        if now is None:
            wrong.append(f"{name} does not run, recorded was {_short(recorded)}")
        elif recorded is None:
            wrong.append(f"{name} runs {_short(now)}, and was not in the release")
        elif now != recorded:
            wrong.append(f"{name} runs {_short(now)}, recorded was {_short(recorded)}")
    same = f"{', '.join(sorted(running)) or 'nothing'} as recorded"
    return Check("images", not wrong, "; ".join(wrong) or same)


def _source(release: Release, now: Release) -> Check:
    if release.commit != now.commit:
        return Check(
            "source",
            False,
            f"src/ is at {now.commit[:12] or 'no commit'}, recorded was {release.commit[:12] or 'none'}",
        )
    if release.tree != now.tree:
        return Check("source", False, "files in src/ are not as they were recorded")
    return Check("source", True, f"commit {now.commit[:12]}" if now.commit else f"sha256 {now.tree[:12]}")


def _configuration(release: Release, now: Release) -> Check:
    same = release.compose == now.compose
    return Check(
        "configuration", same, "the compose file is " + ("as recorded" if same else "another one than recorded")
    )


def _migrations(on: Transport, app: str, release: Release, now: Release) -> Check:
    if now.migrations is None:
        return Check("migrations", False, "the database cannot be asked")
    recorded = release.migrations
    if recorded is None:
        return Check("migrations", False, "the release does not know them: its database could not be asked")
    wrong = [f"{name} is applied and not in the release" for name in now.migrations if name not in recorded]
    wrong += [f"{name} of the release is not applied" for name in recorded if name not in now.migrations]
    try:
        scripts: list[Script] = from_folder(on, MIGRATIONS, posixpath.join(demand(on, app), "migrations"))
    except IkomaError as error:
        return Check("migrations", False, error.message)
    wrong += list(_files(scripts, now.migrations))
    count = len(now.migrations)
    return Check("migrations", not wrong, "; ".join(wrong) or f"{count} applied, none pending")


def _files(scripts: list[Script], applied: dict[str, str]) -> Iterator[str]:
    there = {script.name: script.sha256 for script in scripts}
    for name, sha256 in there.items():
        if name not in applied:
            yield f"{name} is pending"
        elif applied[name] != sha256:
            yield f"{name} changed after it was applied"
    for name in applied:
        if name not in there and not name.startswith("sql-"):
            yield f"the file of {name} is gone"


def _about_database(found: health.Health) -> str:
    others = ("service ", found.url or "\0")
    return next((problem for problem in found.problems if not problem.startswith(others)), "it does not answer")


def _short(image: str | None) -> str:
    return (image or "nothing").removeprefix("sha256:")[:12]
