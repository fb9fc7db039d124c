"""The platform itself: what it can do, whether its parts are well, and the sandbox's own parts up and down."""

from __future__ import annotations

import posixpath
import time
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import IkomaError, Unavailable
from ..model import Access, Command, Outcome, changed, ok
from ..platform import api_keys, application, postgres, postgres_embedded, sandbox
from ..platform.runtime import runtime
from ..platform.settings import Settings, settings
from ..tool import tool
from ..transport.base import Transport

# The existing platform's tools, in its order; clients know them by these names.
CAPABILITIES = (
    "platform.info", "platform.check", "apps.list", "apps.status", "apps.health", "apps.init", "apps.remove",
    "apps.env.example", "apps.validate", "deploy.up", "deploy.down", "deploy.restart", "db.create", "db.migrate",
    "db.seed", "db.backup", "db.status", "artifact.generate_runbook", "artifact.verify_release",
)  # fmt: skip
LEAST_SPACE = 100 * 1024 * 1024  # bytes free below the applications' directory


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
                "freeDiskBytes": LEAST_SPACE,
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
    for name, look in (("docker", _check_runtime), ("postgres", _check_postgres), ("appsRoot", _check_apps_root)):
        try:
            checks[name], details[name] = look(on, found)
        except IkomaError as error:
            checks[name], details[name] = False, f"{error.message}. {error.remedy}".strip()
    details["disk"] = _space(on, found.apps_root)[1]
    bad = [name for name, good in checks.items() if not good]
    result = {"healthy": not bad, "checks": checks, "details": details}
    return ok(result, "; ".join(details[name] for name in bad) or "everything is well")


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


def _check_runtime(on: Transport, found: Settings) -> tuple[bool, str]:
    good, said = runtime(on).available()
    if found.runtime != "process":
        return good, said
    if not good and on.dry:
        return True, "local processes; platform.up would start their supervisor"
    return good, f"{said} (this host runs services as local processes, not in Docker)" if good else said


def _check_postgres(on: Transport, found: Settings) -> tuple[bool, str]:
    if on.dry and found.postgres == postgres.EMBEDDED and not postgres_embedded.Cluster(on).running():
        return True, "the embedded PostgreSQL; platform.up would start it"
    return True, postgres.Server(on).check()


def _check_apps_root(on: Transport, found: Settings) -> tuple[bool, str]:
    path = found.apps_root
    while (there := on.stat(path, follow=True)) is None and path != posixpath.dirname(path):
        path = posixpath.dirname(path)
    if there is None or there.kind != "directory":
        return False, f"{path} is no directory, so applications cannot lie in {found.apps_root}"
    if not _made_here(on, path) and not on.run(Command(("test", "-w", path), changes=False)).ok:
        return False, f"the user that we are on {on.host.name} may not write in {path}. Give it the right to"
    free, said = _space(on, found.apps_root)
    if 0 <= free < LEAST_SPACE:
        return False, f"{found.apps_root} is nearly full: {said}. Free space there, old backups and images first."
    return True, f"{path} can be written" + (
        "" if path == found.apps_root else f"; {found.apps_root} will be made there"
    )


def _made_here(on: Transport, path: str) -> bool:
    """Whether check mode would have made it: then only the record knows it."""
    return on.dry and not on.run(Command(("test", "-e", path), changes=False)).ok


def _space(on: Transport, path: str) -> tuple[int, str]:
    """Bytes free for us on the disk of `path` or of the nearest directory above it; -1 where it cannot be told."""
    while path != posixpath.dirname(path) and not on.run(Command(("test", "-d", path), changes=False)).ok:
        path = posixpath.dirname(path)
    result = on.run(Command(("df", "-Pk", "--", path), env={"LC_ALL": "C"}, changes=False))
    lines = result.text.splitlines()
    words: list[Any] = lines[-1].split() if result.ok and len(lines) > 1 else []
    if len(words) < 6 or not words[-3].isdigit():
        return -1, f"the space on the disk of {path} is not known"
    free, total = int(words[-3]) * 1024, int(words[-5]) * 1024
    return free, f"{free / 2**30:.1f} GiB of {total / 2**30:.1f} GiB free on {words[-1]}"
