"""Releases: recorded, listed, verified; and the runbook of an application."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from ..arguments import AppName, GitRef
from ..errors import StepError, Unavailable
from ..model import Access, Outcome, changed, ok
from ..platform import application, releases, runbook, undo_files, verification
from ..tool import Scope, tool
from ..transport.base import Transport
from .apps import guard, known_url, variable


@tool("artifact.generate_runbook", access=Access.OBSERVER, changes=False)
def generate_runbook(
    on: Transport, app_name: AppName, lang: Literal["fr", "en"] = "fr", *, scope: Scope | None = None
) -> Outcome:
    """Write the runbook of the application, with its real services, ports, health checks and releases.

    app_name: the application
    lang: fr or en
    """
    application.demand(on, app_name)
    guard(on, app_name, scope)
    return ok(runbook.runbook(on, app_name, lang, known_url(on, app_name, scope)))


@tool("artifact.verify_release", access=Access.OBSERVER, changes=False)
def verify_release(on: Transport, app_name: AppName, *, scope: Scope | None = None) -> Outcome:
    """Compare what runs with the recorded release: services, images, source, migrations, database, health.

    app_name: the application
    """
    application.demand(on, app_name)
    guard(on, app_name, scope)
    checks = verification.verify(on, app_name, known_url(on, app_name, scope))
    wrong = [check for check in checks if not check.passed]
    summary = f"{app_name}: {len(checks) - len(wrong)} of {len(checks)} checks passed"
    if wrong:
        summary += f"; {'; '.join(f'{check.name}: {check.details}' for check in wrong)}"
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
        on, app_name, ref=ref or "", health_url=variable(scope, "health_url"), run=variable(scope, "ikoma_run")
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


def _shown(release: releases.Release) -> dict[str, Any]:
    """A release in the spelling of results."""
    names = {"health_url": "healthUrl", "compose": "composeSha256"}
    shown = {names.get(name, name): value for name, value in asdict(release).items()}
    return {**shown, "version": release.version}
