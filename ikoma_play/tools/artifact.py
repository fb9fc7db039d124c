"""Releases: recorded, listed, verified; and the runbook of an application."""

from __future__ import annotations

from typing import Any, Literal

from msgspec.structs import asdict

from ..arguments import AppName, Count, GitRef, Seconds
from ..errors import StepError, Unavailable
from ..model import Access, Outcome, changed, ok
from ..platform import (
    application,
    kept_runbook,
    rehearsal,
    releases,
    retention,
    runbook,
    undo_files,
    verification,
    way_back,
)
from ..tool import Scope, tool
from ..transport.base import Transport
from .apps import guard, known_url, variable, who
from .deploy import TIMEOUT

REHEARSE_DAYS = 30


@tool("artifact.generate_runbook", access=Access.OBSERVER, changes=False)
def generate_runbook(
    on: Transport, app_name: AppName, lang: Literal["fr", "en"] = "fr", *, scope: Scope | None = None
) -> Outcome:
    """Write the runbook of the application, with its real services, ports, health checks and releases.

    Its markdown is followed by every procedure, written from the playbooks, roles and tools themselves.

    app_name: the application
    lang: fr or en
    """
    application.demand(on, app_name)
    guard(on, app_name, scope)
    found = runbook.runbook(on, app_name, lang, known_url(on, app_name, scope))
    found["markdown"] += "\n" + _procedures(on, app_name, lang, scope)
    return ok(found)


@tool("artifact.write_runbook", access=Access.OPERATOR, changes=True, undo=kept_runbook.UNDO)
def write_runbook(
    on: Transport, app_name: AppName, lang: Literal["fr", "en"] = "fr", *, scope: Scope | None = None
) -> Outcome:
    """Keep the runbook's procedures beside the application, for whoever has only the host; written where they changed.

    app_name: the application
    lang: fr or en
    """
    application.demand(on, app_name)
    guard(on, app_name, scope)
    result = {"path": kept_runbook.path(on, app_name)}
    origin = _origin(on, app_name, lang, scope)
    why = kept_runbook.wrong(on, app_name, origin, values=True)
    if not why:
        return ok(result, "it is of now")
    if not on.dry:
        kept_runbook.write(on, app_name, origin, _procedures(on, app_name, lang, scope))
    return changed(result, f"written, since {why}")


@tool("artifact.check_runbook", access=Access.OBSERVER, changes=False)
def check_runbook(
    on: Transport, app_name: AppName, lang: Literal["fr", "en"] = "fr", *, scope: Scope | None = None
) -> Outcome:
    """Tell whether the runbook beside the application is what would be written now.

    app_name: the application
    lang: fr or en
    """
    application.demand(on, app_name)
    guard(on, app_name, scope)
    why = kept_runbook.wrong(on, app_name, _origin(on, app_name, lang, scope), values=False)
    result = {"current": not why, "path": kept_runbook.path(on, app_name), "details": why}
    return ok(result, why or "the runbook is up to date")


@tool("artifact.verify_release", access=Access.OBSERVER, changes=False)
def verify_release(on: Transport, app_name: AppName, *, scope: Scope | None = None) -> Outcome:
    """Compare what runs with the recorded release: services, images, source, migrations, database, health.

    When everything is as recorded, the release's record says from then on that it was verified, and when:
    what was verified is what a rollback goes back to.

    app_name: the application
    """
    application.demand(on, app_name)
    guard(on, app_name, scope)
    checks = verification.verify(on, app_name, known_url(on, app_name, scope))
    wrong = [check for check in checks if not check.passed]
    summary = f"{app_name}: {len(checks) - len(wrong)} of {len(checks)} checks passed"
    if wrong:
        summary += f"; {'; '.join(f'{check.name}: {check.details}' for check in wrong)}"
    if not wrong:
        releases.note_verified(on, app_name)
    return ok({"verified": not wrong, "checks": [asdict(check) for check in checks], "summary": summary}, summary)


@tool("artifact.record_release", access=Access.OPERATOR, changes=True, undo=undo_files.RELEASE)
def record_release(
    on: Transport, app_name: AppName, ref: GitRef | None = None, *, scope: Scope | None = None
) -> Outcome:
    """Record what runs now as a release, unless the newest release says just that.

    app_name: the application
    ref: what people call it; default the reference of the source
    """
    application.demand(on, app_name)
    guard(on, app_name, scope)
    if on.dry:
        return _would_record(on, app_name, ref)
    release, new = releases.record(
        on,
        app_name,
        ref=ref or "",
        health_url=variable(scope, "health_url"),
        run=variable(scope, "ikoma_run"),
        who=who(scope),
    )
    message = f"release {release.version} recorded" if new else f"release {release.version} is recorded already"
    result = {"success": True, "message": message, "release": _shown(release)}
    return changed(result, message) if new else ok(result, message)


@tool("artifact.releases", access=Access.OBSERVER, changes=False)
def list_releases(on: Transport, app_name: AppName) -> Outcome:
    """List the application's releases, newest first.

    app_name: the application
    """
    return ok([_shown(release) for release in releases.all_of(on, app_name)])


@tool("artifact.previous_release", access=Access.OPERATOR, changes=False)
def previous_release(
    on: Transport,
    app_name: AppName,
    release: GitRef | None = None,
    backup: str | None = None,
    keep_database: bool = False,
    *,
    scope: Scope | None = None,
) -> Outcome:
    """Find the release that a rollback goes back to, with all that it takes, and say what would be done.

    The backup's checksum, the kept source's digest and the images are looked at; what is missing is an error
    before anything is stopped.

    app_name: the application
    release: a release by its id, reference or commit; default the last verified one before the present
    backup: a backup by its path or file name; default the newest good one that fits the release
    keep_database: leave the database as it is
    """
    application.demand(on, app_name)
    guard(on, app_name, scope)
    way = way_back.find(on, app_name, release or "", backup or "", keep_database)
    result = {
        "release": _shown(way.release),
        "present": _shown(way.present),
        "database": way.database,
        "backupPath": way.dump.path if way.dump else "",
        "source": way.source,
        "rebuilt": list(way.rebuilt),
        "plan": way.sentences(),
    }
    return ok(result, f"back to {way.release.version}, recorded {way.release.at}")


@tool("artifact.rehearse", access=Access.OPERATOR, changes=True, lasting="of a rehearsal only its record stays")
def rehearse(
    on: Transport,
    app_name: AppName,
    release: GitRef | None = None,
    backup: str | None = None,
    timeout: Seconds = TIMEOUT,
    *,
    scope: Scope | None = None,
) -> Outcome:
    """Prove a rollback on scratch copies, and tell the seconds that the real one would take.

    The backup is restored into a scratch database; the release's source is copied from what was kept; its images
    are started beside those that serve, with no published port and no volume of theirs. Nothing of it stays but
    its record.

    app_name: the application
    release: a release by its id, reference or commit; default the last verified one before the present
    backup: a backup by its path or file name; default the newest good one that fits the release
    timeout: seconds until the services must be healthy
    """
    application.demand(on, app_name)
    guard(on, app_name, scope)
    way = way_back.find(on, app_name, release or "", backup or "")
    if scope is not None:
        scope.keep_secret(*releases.secrets_of(on, app_name, way.release))
    if on.dry:
        message = f"the way back to {way.release.version} would be rehearsed"
        return changed({"success": True, "message": message}, message)
    proved = rehearsal.rehearse(on, app_name, way, timeout, variable(scope, "ikoma_run"), who(scope))
    parts = ", ".join(f"{part} {seconds:.1f}" for part, seconds in proved.parts.items())
    message = f"the way back to {proved.version} works; it would take about {proved.seconds:.1f} s ({parts})"
    return changed({"success": True, "message": message, **_rehearsed(proved)}, message)


@tool("artifact.rehearsals", access=Access.OBSERVER, changes=False)
def rehearsals(on: Transport, app_name: AppName, days: Count = REHEARSE_DAYS) -> Outcome:
    """List the rehearsals of the application's rollback, newest first, and tell whether one is due.

    None is due where the newest is not older than that, or there is no release to go back to.

    app_name: the application
    days: how old the newest may be
    """
    known = rehearsal.all_of(on, app_name)
    possible = way_back.former(on, app_name, releases.all_of(on, app_name)) is not None
    due = possible and not rehearsal.fresh(known, days)
    result = {"due": due, "possible": possible, "rehearsals": [_rehearsed(entry) for entry in known]}
    last = f"the last one was at {known[0].at}" if known else "there was none"
    return ok(result, f"a rehearsal of the rollback is {'due' if due else 'not due'}: {last}")


@tool("artifact.prune", access=Access.OPERATOR, changes=True, lasting="what it removes is gone")
def prune(
    on: Transport,
    app_name: AppName,
    keep_releases: Count = retention.RELEASES,
    keep_backups: Count = retention.BACKUPS,
    keep_days: Count = retention.DAYS,
) -> Outcome:
    """Remove what the retention rule does not keep of the application's releases and backups.

    Never removed: the last good backup, the newest good one that fits a kept release, backups whose name somebody
    chose, the last verified release before the present.

    app_name: the application
    keep_releases: how many of the newest releases stay, with their sources, `.env` and images
    keep_backups: how many of the newest backups stay in any case
    keep_days: how old a backup, or a database that a restore put aside, must be to go
    """
    application.demand(on, app_name)
    gone = retention.prune(on, app_name, keep_releases, keep_backups, keep_days)
    lists = {
        "releases": [release.id for release in gone.releases],
        "backups": [dump.path for dump in gone.dumps],
        "databases": list(gone.databases),
        "sources": list(gone.sources),
        "images": list(gone.images),
    }
    said = ", ".join(f"{len(names)} {kind}" for kind, names in lists.items() if names)
    message = f"{'would remove' if on.dry else 'removed'} {said}" if said else "nothing is to be removed"
    result = {"success": True, "message": message, **lists}
    return changed(result, message) if said else ok(result, message)


def _procedures(on: Transport, app: str, lang: str, scope: Scope | None) -> str:
    from ..document import gathering, writing
    from . import TOOLS
    from .documenting import about
    from .notification import escalation_of

    return writing.write(gathering.request(TOOLS, lang, None, _told(on, app, scope), about(escalation_of(on, scope))))


def _told(on: Transport, app: str, scope: Scope | None) -> dict[str, str]:
    """What the procedures say with real values; the source is the one that was deployed."""
    named = {name: value for name in ("source", "ref", "port") if (value := variable(scope, name))}
    if (newest := releases.latest(on, app)) is not None and newest.source:
        named["source"] = newest.source
    url = known_url(on, app, scope)
    return {**named, **({"health_url": url} if url else {}), "app": app}


def _origin(on: Transport, app: str, lang: str, scope: Scope | None) -> kept_runbook.Origin:
    """All that `_procedures` writes from, without writing."""
    from ..document import gathering
    from .documenting import about
    from .notification import escalation_of

    told = {name: value for name, value in _told(on, app, scope).items() if name != "ref"}  # no other procedure by that
    known = about(escalation_of(on, scope))
    return kept_runbook.origin((gathering.digest(), lang, repr(sorted(known.items()))), told)


def _would_record(on: Transport, app: str, ref: str | None) -> Outcome:
    """In check mode a service that only would be started cannot be looked at: then a release would be new."""
    try:
        now, before = releases.look(on, app), releases.latest(on, app)
    except Unavailable:
        raise
    except StepError:
        return changed({"success": True, "message": "a release would be recorded"}, "a release would be recorded")
    same = before is not None and before.same_as(now)
    message = f"release {ref or now.version} {'is recorded already' if same else 'would be recorded'}"
    result = {"success": True, "message": message, "release": _shown(before if same and before else now)}
    return ok(result, message) if same else changed(result, message)


def _rehearsed(proved: rehearsal.Rehearsal) -> dict[str, Any]:
    """A rehearsal in the spelling of results."""
    shown = asdict(proved)
    return {**shown, "backupPath": shown.pop("backup"), "seconds": round(proved.seconds, 1)}


def _shown(release: releases.Release) -> dict[str, Any]:
    """A release in the spelling of results."""
    names = {"health_url": "healthUrl", "compose": "composeSha256"}
    shown = {names.get(name, name): value for name, value in asdict(release).items()}
    return {**shown, "version": release.version}
