"""The platform itself: what it can do, whether its parts are well, and the sandbox's own parts up and down."""

from __future__ import annotations

import posixpath
import time
from pathlib import Path

from .. import __version__
from ..arguments import AppName, GitRef
from ..errors import Unavailable
from ..model import Access, Outcome, changed, ok
from ..platform import api_keys, application, disk, git, postgres, postgres_embedded, prerequisites, sandbox
from ..platform.runtime import runtime
from ..platform.settings import Settings, settings
from ..tool import Scope, tool
from ..transport.base import Transport

# The existing platform's tools, in its order; clients know them by these names.
CAPABILITIES = (
    "platform.info", "platform.check", "apps.list", "apps.status", "apps.health", "apps.init", "apps.remove",
    "apps.env.example", "apps.validate", "deploy.up", "deploy.down", "deploy.restart", "db.create", "db.migrate",
    "db.seed", "db.backup", "db.status", "artifact.generate_runbook", "artifact.verify_release",
)  # fmt: skip

# The prerequisites as the runbook's list has them.
BOXES = {
    "server": "ikoma-play is installed and running",
    "key": "the API key is there and safe",
    "docker": "the Docker daemon is running",
    "postgres": "PostgreSQL can be reached",
    "appsRoot": "the applications' directory can be written and has space",
    "source": "the application's source is prepared",
    "environment": "the environment variables are documented and given",
}


@tool("platform.info", access=Access.OBSERVER, changes=False)
def info(on: Transport) -> Outcome:
    """Tell the version, how long this program has been running in seconds, and which tools there are."""
    from . import TOOLS

    extensions = [name for name in TOOLS.names() if "." in name and name not in CAPABILITIES]
    return ok(
        {
            "version": __version__,
            "uptime": round(_uptime(), 1),
            "capabilities": list(CAPABILITIES),
            "extensions": extensions,
            "limits": {
                "appNameLength": 64,
                "databaseNameBytes": postgres.LONGEST_NAME,
                "backupNameLength": 128,
                "freeDiskBytes": disk.LEAST_SPACE,
            },
        }
    )


@tool("platform.check", access=Access.OBSERVER, changes=False)
def check(on: Transport) -> Outcome:
    """Tell whether what applications run on is well: the runtime, PostgreSQL and the applications' directory.

    On a host that runs services as local processes `docker` stands for the process supervisor.
    """
    found = settings(on)
    checks: dict[str, bool] = {}
    details: dict[str, str] = {}
    for name, checked in prerequisites.basics(on).items():
        checks[name], details[name] = checked.good, checked.said
    details["disk"] = disk.space(on, found.apps_root)[1]
    bad = [name for name, good in checks.items() if not good]
    result = {"healthy": not bad, "checks": checks, "details": details}
    return ok(result, "; ".join(details[name] for name in bad) or "everything is well")


@tool("platform.preflight", access=Access.OBSERVER, changes=False, secrets=("env",), places=("source",))
def preflight(
    on: Transport,
    app_name: AppName | None = None,
    source: str | None = None,
    ref: GitRef | None = None,
    env: dict[str, str | int | float | bool | None] | None = None,
    server: bool = False,
    *,
    scope: Scope | None = None,
) -> Outcome:
    """Look at every prerequisite of a deploy, and tell all that is missing at once, each with its remedy.

    app_name: the application that is to be deployed
    source: its source
    ref: a tag, branch or commit of a git source
    env: what its `.env` is to say
    server: whether ikoma-play serve must answer on the host and have a key
    """
    if scope is not None:
        scope.keep_secret(postgres.known_password(on), *filter(None, (git.repository(source or "").password,)))
    asked = prerequisites.Asked(app_name or "", source or "", ref or "", env, server)
    found = prerequisites.boxes(on, asked)
    listed = [{"box": name, "title": BOXES[name], "done": one.good, "details": one.said} for name, one in found.items()]
    missing = [one.said for one in found.values() if not one.good]
    message = "; ".join(missing) or f"all {len(listed)} prerequisites are there"
    return ok({"ready": not missing, "boxes": listed, "missing": missing}, message)


@tool("platform.up", access=Access.OPERATOR, changes=True, lasting="left running, since other applications use it")
def up(on: Transport) -> Outcome:
    """Start what the sandbox is made of: the process supervisor and the embedded PostgreSQL.

    On a host that has neither, because Docker and PostgreSQL are there already, nothing is done.
    """
    found = settings(on)
    if not _has_sandbox(found):
        return ok({"success": True, "message": "nothing to start"}, f"{on.host.name} has nothing of ours to start")
    made = [folder for folder in (found.apps_root, found.backups_root) if _below(folder, found) and on.mkdir(folder)]
    started = _start(on, found)
    if not made and not started:
        return ok({"success": True, "message": "running already"}, "the sandbox is running")
    message = "the sandbox would be started" if on.dry else "the sandbox is running now"
    return changed({"success": True, "message": message}, message)


@tool("platform.down", access=Access.ADMIN, changes=True, lasting="platform.up starts it; what it removed is gone")
def down(on: Transport, remove: bool = False) -> Outcome:
    """Stop every application and what platform.up started: no process and no port of it is left.

    remove: also delete everything that the sandbox made: applications, databases, backups
    """
    found = settings(on)
    stopped = _stop_applications(on, found) if found.runtime != "process" else False
    removed: list[str] = []
    if _has_sandbox(found):
        stopped = _stop_sandbox(on) or stopped
        removed = _remove(on, found) if remove else []
    said = "stopped" if stopped else "nothing was running"
    if removed:
        said += f", {len(removed)} entries of {found.sandbox_root} deleted"
    result = {"success": True, "message": said, "removed": removed}
    return changed(result, said) if stopped or removed else ok(result, said)


# --- how ---


def _uptime() -> float:
    """Seconds since this process began."""
    try:
        began = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / _ticks()
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - began)
    except (OSError, ValueError, IndexError):
        return time.process_time()


def _ticks() -> int:
    import os

    return os.sysconf("SC_CLK_TCK")


def _has_sandbox(found: Settings) -> bool:
    return found.runtime == "process" or found.postgres == postgres.EMBEDDED


def _below(path: str, found: Settings) -> bool:
    return path.startswith(found.sandbox_root.rstrip("/") + "/")


def _start(on: Transport, found: Settings) -> bool:
    from ..platform.process import start_sandbox
    from ..platform.supervisor import Supervisor

    if not on.dry:
        return start_sandbox(on)
    return not Supervisor(on).running() or (
        found.postgres == postgres.EMBEDDED and not postgres_embedded.Cluster(on).running()
    )


def _stop_applications(on: Transport, found: Settings) -> bool:
    through, stopped = runtime(on), False
    names = application.names(on)
    if names:
        there, said = through.available()
        if not there:
            raise Unavailable(f"the applications of {on.host.name} cannot be stopped: {said}")
    for name in names:
        stopped = through.down(name) or stopped
    return stopped


def _stop_sandbox(on: Transport) -> bool:
    from ..platform.supervisor import Supervisor

    supervisor = Supervisor(on)
    if on.dry:
        return bool(sandbox.processes([supervisor.root]))
    return supervisor.stop()


def _remove(on: Transport, found: Settings) -> list[str]:
    """Delete what the sandbox made; what else lies in its directory stays."""
    root = sandbox.root(on)
    if not sandbox.is_ours(root):
        return []
    ours = [str(root / name) for name in ("supervisor", "postgres", "images")]
    ours += [path for path in (found.apps_root, found.backups_root) if _below(path, found)]
    for path in (found.audit_log, found.env_file, posixpath.join(posixpath.dirname(found.env_file), api_keys.FILE)):
        if _below(path, found):
            folder, name = posixpath.split(path)
            ours += [entry.path for entry in on.scan(folder) if posixpath.basename(entry.path).startswith(name)]
    # The marker goes last: a removal that was cut short can be run again.
    removed = [path for path in (*ours, str(root / sandbox.MARKER_FILE)) if on.remove(path)]
    if not on.scan(str(root)):
        on.remove(str(root))
    return removed
