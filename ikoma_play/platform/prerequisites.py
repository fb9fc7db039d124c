"""What a deploy takes for granted: each box of the runbook's list, looked at, and what to do where it is not so."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from ..errors import IkomaError, NotFound, Refused
from ..model import Command
from ..transport.base import Transport
from . import api_keys, app_env, compose_file, disk, engine, envfile, git, health, postgres, postgres_embedded, settings
from . import runtime as runtimes
from .settings import Settings

URL_PORT = 3000  # of ikoma-play serve, where nothing else is said


class Checked(Struct, frozen=True):
    """Whether a box can be ticked; `said` is the evidence, or what is wrong and what to do about it."""

    good: bool
    said: str


class Asked(Struct, frozen=True):
    """What is to be deployed, as far as it is known. `server`: whether ikoma-play serve and its key count too."""

    app: str = ""
    source: str = ""
    ref: str = ""
    env: Mapping[str, Any] | None = None
    server: bool = False


def basics(on: Transport) -> dict[str, Checked]:
    """The runtime, PostgreSQL and the applications' directory, by the names of platform.check."""
    found = settings.settings(on)
    if found.runtime == "compose":
        engine.preload("psycopg")  # both while Docker Compose tells its version
    ways = {"docker": _runtime, "postgres": _postgres, "appsRoot": _apps_root}
    return {name: _looked(lambda look=look: look(on, found)) for name, look in ways.items()}  # type: ignore[misc]


def boxes(on: Transport, asked: Asked) -> dict[str, Checked]:
    """Every box of the list by its name, all looked at whatever the others came to."""
    found = basics(on)
    if asked.server:
        found = {"server": _looked(lambda: _server(on)), "key": _looked(lambda: _key(on)), **found}
    if asked.source:
        found["source"] = _looked(lambda: _source(on, asked))
        found["environment"] = _looked(lambda: _environment(on, asked))
    return found


def _looked(look: Callable[[], tuple[bool, str]]) -> Checked:
    try:
        return Checked(*look())
    except IkomaError as error:
        return Checked(False, f"{error.message}. {error.remedy}".strip())


# --- ikoma-play itself ---


def _server(on: Transport) -> tuple[bool, str]:
    values = envfile.read(on, settings.settings(on).env_file).values
    port = values.get("HTTP_PORT") or str(URL_PORT)
    url = f"http://127.0.0.1:{port}/health"
    try:
        status, reason = health.answer(on, url)
    except IkomaError as error:
        return False, f"{error.message}. Start it: ikoma-play serve, or systemctl start ikoma-play".replace(".. ", ". ")
    if status != 200:
        return False, f"{url} answers {status} {reason}. See why: journalctl -u ikoma-play"
    return True, f"ikoma-play serve answers on {url}"


def _key(on: Transport) -> tuple[bool, str]:
    path = settings.settings(on).env_file
    there = on.stat(path, follow=True)
    values = envfile.read(on, path).values
    if api_keys.platform_hash(values) is None and not on.exists(posixpath.join(posixpath.dirname(path), api_keys.FILE)):
        return False, f"{path} gives no API_KEY_HASH. Make a key: ikoma-play keys create"
    if there is not None and there.mode & 0o077:
        return False, f"{path} can be read by others (mode {there.mode:04o}). chmod 600 it"
    return True, f"a key is known by its hash in {posixpath.dirname(path)}"


# --- the source ---


def _source(on: Transport, asked: Asked) -> tuple[bool, str]:
    local = Path(asked.source).expanduser()
    if git.is_remote(asked.source) or asked.ref or not local.is_dir():
        if not git.is_remote(asked.source) and not local.exists():
            raise NotFound(f"there is no source {asked.source}", remedy="Give a directory, or a git URL or path.")
        commit = git.resolve(on, git.repository(asked.source), asked.ref or None)
        return True, f"{asked.ref or 'the main branch'} is {commit[:12]} in the repository"
    name = _compose_file(local)
    if name is None:
        return False, f"{local} has no compose file. Put a docker-compose.yml there"
    return True, f"{local} has {name.name}"


def _environment(on: Transport, asked: Asked) -> tuple[bool, str]:
    """Every variable that the compose file needs is given, by the values or by the `.env` that is there."""
    local = Path(asked.source).expanduser()
    name = _compose_file(local) if local.is_dir() and not asked.ref else None
    if name is None:
        return True, "known once the source is in place: apps.env.example shows it then, and apps.env.write demands it"
    needed = compose_file.variables(name.read_text("utf-8", "replace"), str(name))
    held = envfile.read(on, settings.settings(on).app(asked.app, ".env")).values if asked.app else {}
    given = {*(asked.env or ()), *held, *app_env.COORDINATES, app_env.URL, *compose_file.SURROUNDINGS}
    missing = [name for name, variable in needed.items() if variable.default is None and name not in given]
    if missing:
        raise Refused(
            f"{name} needs {', '.join(missing)}, which neither env nor the application's .env gives",
            remedy=f"Say it in the inventory: env: {{{missing[0]}: …}}.",
        )
    return True, f"all {len(needed)} variables of {name.name} are given or have defaults"


def _compose_file(folder: Path) -> Path | None:
    return next((folder / name for name in compose_file.NAMES if (folder / name).is_file()), None)


# --- what applications run on ---


def _runtime(on: Transport, found: Settings) -> tuple[bool, str]:
    good, said = runtimes.runtime(on).available()
    if found.runtime != "process":
        return good, said
    if not good and on.dry:
        return True, "local processes; platform.up would start their supervisor"
    return good, f"{said} (this host runs services as local processes, not in Docker)" if good else said


def _postgres(on: Transport, found: Settings) -> tuple[bool, str]:
    if on.dry and found.postgres == postgres.EMBEDDED and not postgres_embedded.Cluster(on).running():
        return True, "the embedded PostgreSQL; platform.up would start it"
    return True, postgres.Server(on).check()


def _apps_root(on: Transport, found: Settings) -> tuple[bool, str]:
    path = found.apps_root
    while (there := on.stat(path, follow=True)) is None and path != posixpath.dirname(path):
        path = posixpath.dirname(path)
    if there is None or there.kind != "directory":
        return False, f"{path} is no directory, so applications cannot lie in {found.apps_root}"
    if not _made_here(on, path) and not on.run(Command(("test", "-w", path), changes=False)).ok:
        options = on.run(Command(("findmnt", "--noheadings", "--output", "OPTIONS", "--target", path), changes=False))
        if "ro" in options.text.split(","):
            return False, f"the disk of {path} is mounted read-only. See why (dmesg), then remount it"
        return False, f"the user that we are on {on.host.name} may not write in {path}. Give it the right to"
    free, said = disk.space(on, found.apps_root)
    if 0 <= free < disk.LEAST_SPACE:
        return False, f"{found.apps_root} is nearly full: {said}. Free space there, old backups and images first."
    return True, f"{path} can be written" + (
        "" if path == found.apps_root else f"; {found.apps_root} will be made there"
    )


def _made_here(on: Transport, path: str) -> bool:
    """Whether check mode would have made it: then only the record knows it."""
    return on.dry and not on.run(Command(("test", "-e", path), changes=False)).ok
