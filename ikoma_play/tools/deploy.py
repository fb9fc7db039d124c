"""Services of an application: brought up, taken down, restarted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..arguments import AppName, GitRef, Seconds
from ..errors import IkomaError
from ..model import Access, Outcome, changed, ok
from ..platform import app_env, application, release_images, releases, undo_services
from ..platform.runtime import Runtime, Service, runtime
from ..tool import Scope, tool
from ..transport.base import Transport
from .apps import as_texts, described, guard, variable, who

TIMEOUT = 300.0  # seconds for services to become healthy; building has its own time


@tool("deploy.up", access=Access.OPERATOR, changes=True, secrets=("env",), undo=undo_services.UP)
def up(
    on: Transport,
    app_name: AppName,
    env: dict[str, str | int | float | bool | None] | None = None,
    timeout: Seconds = TIMEOUT,
    release: GitRef | None = None,
    *,
    scope: Scope | None = None,
) -> Outcome:
    """Bring the application's services up as its compose file says, and wait until all are healthy.

    Images are built where the compose file says how. A service that exits, crashes or does not become healthy
    is a failure, told with its log; then nothing of the attempt stays, and what ran before runs again where
    that is possible. What runs in the end is recorded as a release.

    app_name: the application
    env: variables to write into `.env` first
    timeout: seconds until the services must be healthy
    release: a recorded release that is put back: its images run, and none is built where they are all there
    """
    application.demand(on, app_name)
    back = releases.find(on, app_name, release) if release else None
    merged = app_env.merge(on, app_name, as_texts(env)) if env else None
    guard(on, app_name, scope)
    through = runtime(on)
    try:
        kept = _images_back(on, app_name, back) if back else None
        started = through.up(app_name, timeout, build=kept is None)
    except IkomaError:
        if merged is not None and merged.changed:
            app_env.put_back(on, merged)
        raise
    details: dict[str, Any] = {"notes": [*through.notes, *(kept or ())]}
    recorded = False
    if not on.dry:
        details["services"] = [described(service) for service in through.services(app_name)]
        details["release"], recorded = _record(on, app_name, through, scope, back)
    wrote = merged is not None and bool(merged.changed)
    if wrote and merged is not None:
        details["env"] = list(merged.changed)
    message = f"{app_name} is up and healthy" if not on.dry else f"{app_name} would be brought up"
    if not started:
        message = f"{app_name} was up already"
    result = {"success": True, "message": message, "details": details}
    return changed(result, message) if started or wrote or recorded else ok(result, message)


@tool("deploy.down", access=Access.OPERATOR, changes=True, undo=undo_services.DOWN)
def down(on: Transport, app_name: AppName, *, scope: Scope | None = None) -> Outcome:
    """Stop and remove the application's services; volumes and files stay.

    app_name: the application
    """
    application.demand(on, app_name)
    guard(on, app_name, scope)
    stopped = runtime(on).down(app_name)
    message = f"{app_name} is down" if stopped else f"{app_name} was down already"
    result = {"success": True, "message": message, "details": {"stopped": stopped}}
    return changed(result, message) if stopped else ok(result, message)


@tool("deploy.restart", access=Access.OPERATOR, changes=True, lasting="it runs what ran before")
def restart(on: Transport, app_name: AppName, timeout: Seconds = TIMEOUT, *, scope: Scope | None = None) -> Outcome:
    """Restart the application's services, and wait until all are healthy.

    app_name: the application
    timeout: seconds until the services must be healthy
    """
    application.demand(on, app_name)
    guard(on, app_name, scope)
    through = runtime(on)
    through.restart(app_name, timeout)
    services: Sequence[Service] = () if on.dry else through.services(app_name)
    message = f"{app_name} restarted" if not on.dry else f"{app_name} would be restarted"
    details = {"services": [described(service) for service in services]}
    return changed({"success": True, "message": message, "details": details}, message)


def _images_back(on: Transport, app: str, release: releases.Release) -> list[str] | None:
    """The release's images under the names that the compose file gives them, with what that moved besides;
    None where one is gone."""
    if release_images.missing(on, release.images):
        return None
    return release_images.put_back(on, app, release.images)


def _record(
    on: Transport, app: str, through: Runtime, scope: Scope | None, back: releases.Release | None
) -> tuple[str, bool]:
    """Record what runs; its id, and whether there was anything new to write."""
    release, new = releases.record(
        on,
        app,
        run=variable(scope, "ikoma_run"),
        health_url=variable(scope, "health_url"),
        who=who(scope),
        restores=back,
        through=through,
    )
    return release.id, new
