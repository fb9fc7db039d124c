"""Applications: made, configured, given their source, looked at, taken away."""

from __future__ import annotations

import time
from typing import Any

from ..arguments import AppName, Count, GitRef, Seconds, ServiceName
from ..errors import IkomaError, NotFound, Refused, StepError
from ..model import Access, Outcome, Progress, changed, ok
from ..platform import (
    app_env,
    application,
    envfile,
    git,
    health,
    kept_sources,
    log_lines,
    releases,
    removal,
    skeleton,
    undo_files,
    validation,
)
from ..platform import source as sources
from ..platform.runtime import Service, runtime
from ..platform.source_placing import Placed
from ..tool import Scope, tool
from ..transport.base import Transport


@tool("apps.list", access=Access.OBSERVER, changes=False)
def list_(on: Transport) -> Outcome:
    """List the applications of the host by name."""
    return ok(application.names(on))


@tool("apps.status", access=Access.OBSERVER, changes=False)
def status(on: Transport, app_name: AppName, *, scope: Scope | None = None) -> Outcome:
    """Tell whether the application exists, runs, has its database and is healthy, service by service.

    app_name: the application
    """
    result = {
        "name": app_name,
        "exists": application.exists(on, app_name),
        "dockerRunning": False,
        "dbExists": False,
        "health": health.UNKNOWN,
        "services": [],
    }
    if result["exists"]:
        guard(on, app_name, scope)
        found = health.look(on, app_name)
        result |= {
            "dockerRunning": found.running,
            "dbExists": found.database_exists,
            "health": found.status,
            "services": [described(service) for service in found.services],
        }
    return ok(
        result, f"{app_name} is {result['health']}" if result["exists"] else f"there is no application {app_name}"
    )


@tool("apps.health", access=Access.OBSERVER, changes=False, places=("health_url",))
def health_(on: Transport, app_name: AppName, health_url: str | None = None, *, scope: Scope | None = None) -> Outcome:
    """Tell whether the application is healthy, from its services' health checks, its database and its health URL.

    app_name: the application
    health_url: what must answer 200; default the play's variable health_url, else the release's
    """
    application.demand(on, app_name)
    guard(on, app_name, scope)
    found = health.look(on, app_name, health_url or known_url(on, app_name, scope))
    return ok({"status": found.status, "details": found.details}, "; ".join(found.problems) or f"{app_name} is healthy")


@tool("apps.init", access=Access.BUILDER, changes=True, undo=undo_files.INIT)
def init(on: Transport, app_name: AppName) -> Outcome:
    """Make the application's directory with config/, migrations/, seeds/, src/ and a docker-compose.yml.

    Nothing that is there is overwritten.

    app_name: the application
    """
    made = skeleton.make(on, app_name)
    path = application.demand(on, app_name)
    message = f"{path} made" if "" in made else f"made {', '.join(made)} in {path}" if made else f"{path} is there"
    result = {"success": True, "message": message, "details": {"path": path, "made": [name for name in made if name]}}
    return changed(result, message) if made else ok(result, message)


@tool("apps.remove", access=Access.ADMIN, changes=True, lasting="only its last backup can be restored: db.restore")
def remove(on: Transport, app_name: AppName, backup: bool = True, *, scope: Scope | None = None) -> Outcome:
    """Remove the application: containers, database and files, after a last backup of the database.

    Its backups stay, and so do volumes that Docker keeps for it and databases that restores put aside, which it names.

    app_name: the application
    backup: whether to dump the database first
    """
    guard(on, app_name, scope)
    gone = removal.remove(on, app_name, backup)
    message = (
        f"{app_name}: removed {', '.join(gone.removed)}" if gone.removed else f"there is no application {app_name}"
    )
    details = {"removed": list(gone.removed), "backupPath": gone.backup, "volumes": list(gone.volumes)}
    details["databases"] = list(gone.databases)
    result = {"success": True, "message": message, "details": details}
    return changed(result, message) if gone.removed else ok(result, message)


@tool("apps.env.example", access=Access.OBSERVER, changes=False)
def env_example(on: Transport, app_name: AppName) -> Outcome:
    """Show an example `.env` for the application: every variable that its compose file refers to.

    app_name: the application
    """
    return ok(app_env.example(on, app_name))


@tool("apps.env.write", access=Access.BUILDER, changes=True, secrets=("values",), undo=undo_files.ENV)
def env_write(
    on: Transport,
    app_name: AppName,
    values: dict[str, str | int | float | bool | None],
    database: bool = False,
    *,
    scope: Scope | None = None,
) -> Outcome:
    """Write values into the application's `.env`, which only its owner may read.

    What stands there stays where no new value is given; the database's coordinates that the application needs
    and nobody gave are filled in. No value is in any output.

    app_name: the application
    values: variables by name
    database: let the server's own coordinates take the place of those that stand there
    """
    texts = as_texts(values)
    if scope is not None:
        scope.keep_secret(*envfile.secret_values(texts))
    merged = app_env.merge(on, app_name, texts, anew=database)
    if scope is not None:
        scope.keep_secret(*merged.secrets)
    message = f".env: {', '.join(merged.changed)} written" if merged.changed else ".env says all that already"
    details = {
        "path": merged.path,
        "changed": list(merged.changed),
        "keys": list(merged.names),
        "filled": list(merged.filled),
    }
    result = {"success": True, "message": message, "details": details}
    return changed(result, message) if merged.changed else ok(result, message)


@tool("apps.validate", access=Access.OBSERVER, changes=False)
def validate(on: Transport, app_name: AppName, *, scope: Scope | None = None) -> Outcome:
    """Check what a deploy of the application needs: compose file, `.env`, ports, build contexts, migrations.

    app_name: the application
    """
    guard(on, app_name, scope)
    found = validation.validate(on, app_name)
    message = f"{app_name} is valid" if not found.errors else f"{app_name} is not valid: {'; '.join(found.errors)}"
    result = {"valid": not found.errors, "errors": list(found.errors)}
    return ok(result, message, warnings=found.warnings)


@tool("apps.source", access=Access.BUILDER, changes=True, undo=undo_files.SOURCE, places=("source",))
def source(
    on: Transport, app_name: AppName, source: str, ref: GitRef | None = None, *, scope: Scope | None = None
) -> Outcome:
    """Put the application's source in place: the code at src/, and what belongs beside it.

    A compose file, migrations/, seeds/ and config/ of the source take their places in the application's
    directory; what apps.init or an earlier source brought gives way, a file changed by hand is kept as
    NAME.bak. The former source stays until the new one is complete.

    app_name: the application
    source: a directory of the runner, or a git URL or path
    ref: a tag, branch or commit of a git source
    """
    if scope is not None:
        scope.keep_secret(*filter(None, (git.repository(source).password,)))
    placed = sources.put_in_place(on, app_name, source, ref)
    what = f"{placed.ref or placed.commit[:12]} of {placed.source}" if placed.ref or placed.commit else placed.source
    message = f"{what} put in place" if placed.changed else f"{what} is in place"
    result = {
        "success": True,
        "message": message,
        "source": placed.source,
        "ref": placed.ref,
        "commit": placed.commit,
        "tree": placed.tree,
        "files": placed.files,
        "replaced": list(placed.replaced),
        "removed": list(placed.removed),
        "kept": list(placed.kept),
    }
    return _placed_outcome(placed, result, message)


@tool("apps.source.restore", access=Access.OPERATOR, changes=True, undo=undo_files.SOURCE)
def source_restore(on: Transport, app_name: AppName, release: GitRef, *, scope: Scope | None = None) -> Outcome:
    """Put the source of a recorded release back in place: src/, compose file, migrations/, seeds/ and config/.

    It comes from the copy that was kept with the release, whose digest must be right, else from its git
    repository. A file beside src/ that was changed by hand is kept as NAME.bak; what was changed in src/ goes.

    app_name: the application
    release: a release by its id, reference or commit
    """
    back = releases.find(on, app_name, release)
    guard(on, app_name, scope)
    releases.note_return(on, app_name, back)
    try:
        placed = kept_sources.put_back(on, app_name, back.kept)
    except (NotFound, Refused):
        if not (back.source and back.commit):
            raise
        placed = sources.put_in_place(on, app_name, back.source, back.commit)
    message = f"the source of {back.version} {'put back' if placed.changed else 'is in place'}"
    result = {"success": True, "message": message, "release": back.id, "commit": placed.commit, "files": placed.files}
    return _placed_outcome(placed, result | {"replaced": list(placed.replaced)}, message)


@tool("apps.env.restore", access=Access.OPERATOR, changes=True, undo=undo_files.ENV)
def env_restore(on: Transport, app_name: AppName, release: GitRef, *, scope: Scope | None = None) -> Outcome:
    """Put the `.env` of a recorded release back.

    The database's coordinates that the platform had filled in become those of now. No value is in any output.

    app_name: the application
    release: a release by its id, reference or commit
    """
    guard(on, app_name, scope)
    back = releases.find(on, app_name, release)
    if scope is not None:
        scope.keep_secret(*releases.secrets_of(on, app_name, back))
    merged = releases.put_env_back(on, app_name, back)
    if merged is None:
        message = f"no .env was kept with {back.version}: the present one stays"
        return ok({"success": True, "message": message, "details": {"changed": []}}, message)
    if scope is not None:
        scope.keep_secret(*merged.secrets)
    message = f".env is that of {back.version} already"
    if merged.changed:
        message = f".env of {back.version}: {', '.join(merged.changed)} put back"
    result = {"success": True, "message": message, "details": {"path": merged.path, "changed": list(merged.changed)}}
    return changed(result, message) if merged.changed else ok(result, message)


@tool("apps.logs", access=Access.OBSERVER, changes=False)
def logs(
    on: Transport,
    app_name: AppName,
    service: ServiceName | None = None,
    tail: Count = 100,
    since: str | None = None,
    follow: Seconds = 0.0,
    *,
    scope: Scope | None = None,
) -> Outcome:
    """Show the last lines that the application's services printed, and those that come.

    app_name: the application
    service: one service; default all
    tail: how many lines of each
    since: only lines printed after that: 10m, 1h30m ago, or a time such as 2026-01-31T12:00:00
    follow: for how many seconds to go on reading
    """
    application.demand(on, app_name)
    guard(on, app_name, scope)
    after = log_lines.moment(since, time.time()) if since else None
    through = runtime(on)
    if not follow or on.dry:
        return ok(through.logs(app_name, service, tail, after))

    def tell(line: str) -> None:
        on.progress(Progress(scope.mask(line) if scope else line))

    return ok("\n".join(log_lines.follow(through, app_name, service, tail, after, follow, tell)))


def _placed_outcome(placed: Placed, result: dict[str, Any], message: str) -> Outcome:
    warnings = tuple(f"{name} keeps what was changed by hand" for name in placed.kept)
    return changed(result, message, warnings=warnings) if placed.changed else ok(result, message)


# --- shared with the tools that deploy and release ---


def guard(on: Transport, app: str, scope: Scope | None) -> None:
    """Let no secret of the application's `.env` be seen in what this step says."""
    if scope is not None:
        scope.keep_secret(*app_env.secrets(on, app))


def known_url(on: Transport, app: str, scope: Scope | None) -> str:
    """The application's health URL, from the play's variables or the newest release; "" where nobody named one."""
    url = variable(scope, "health_url")
    if url:
        return url
    try:
        release = releases.latest(on, app)
    except NotFound:
        return ""
    return release.health_url if release else ""


def variable(scope: Scope | None, name: str) -> str:
    """A text variable of the play, "" where it is not there or cannot be rendered."""
    if scope is None:
        return ""
    try:
        value = scope.variables.get(name)
    except IkomaError:
        return ""
    return value if isinstance(value, str) else ""


def who(scope: Scope | None) -> str:
    """Who has this done: the key of the server on whose behalf the run goes, else user@host of the runner."""
    from ..journal.holder import this_process

    here = this_process()
    return variable(scope, "ikoma_actor") or f"{here.who}@{here.host}"


def as_texts(values: dict[str, Any]) -> dict[str, str]:
    """Values as `.env` spells them. Raises StepError for what is no single value."""
    texts = {}
    for name, value in values.items():
        if isinstance(value, dict | list):
            raise StepError(f"the value of {name} must be text or a number", remedy="Write a mapping as JSON text.")
        texts[name] = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return texts


def described(service: Service) -> dict[str, Any]:
    """A service as results show it."""
    return {
        "name": service.name,
        "state": service.state,
        "health": service.health,
        "image": service.image,
        "id": service.id,
        "startedAt": service.started_at,
        "exitCode": service.exit_code,
        "ports": list(service.ports),
    }
