"""The `.env` of an application: what it needs, what is given, and what the platform fills in.

Three layers, the later ones before the earlier: what stands in `.env`, the platform's own coordinates of the
database for what nobody gave, and the values given. What the platform filled in stays the platform's: it
follows when the server moves, until somebody writes another value.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from ..errors import IkomaError, NotFound, Refused, StepError
from ..transport.base import Transport
from . import compose_file, envfile
from .application import demand
from .compose_file import SURROUNDINGS, Variable
from .postgres import Server
from .settings import settings

RECORD = ".ikoma/env.json"
NOTHING = b"{}"  # where nothing is noted
COORDINATES = ("POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD")
URL = "DATABASE_URL"
_EXAMPLES = {
    "PORT": "3000",
    "NODE_ENV": "production",
    "POSTGRES_HOST": "postgres",
    "POSTGRES_PORT": "5432",
    "POSTGRES_USER": "ikoma",
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Merged(Struct, frozen=True):
    """What became of a `.env`: `changed` and `names` are names only; `secrets` must be shown nowhere."""

    path: str
    changed: tuple[str, ...]
    names: tuple[str, ...]
    filled: tuple[str, ...]  # by the platform
    secrets: tuple[str, ...]
    before: bytes | None  # the file as it was


def needs(on: Transport, app: str) -> dict[str, Variable]:
    """The variables of the application's compose file; {} where it has none yet."""
    folder = demand(on, app)
    try:
        path = compose_file.find(on, folder)
    except NotFound:
        return {}
    return compose_file.variables(on.read(path).decode("utf-8", "replace"), path)


def merge(on: Transport, app: str, given: Mapping[str, str], *, anew: bool = False) -> Merged:
    """Write the given values and what the platform knows into `.env`, and nothing when that changes nothing.

    `anew`: the database's coordinates that somebody wrote give way to the platform's too.
    Raises Refused naming every variable that the compose file needs and nobody gave."""
    folder = demand(on, app)
    path = posixpath.join(folder, ".env")
    there = on.stat(path)
    before = on.read(path) if there else None
    file = envfile.EnvFile((before or b"").decode("utf-8", "replace"), path)
    needed = needs(on, app)
    record = _record(on, folder)
    held = {name: value for name, value in file.values.items() if not (anew and name in (*COORDINATES, URL))}
    filled = _filled(on, app, folder, needed, held, given, record)
    changed = file.merge({**filled, **given})
    _refuse_missing(app, path, needed, file.values)
    wrote = envfile.write(on, path, file)
    kept = {name: _digest(file.values[name]) for name in record.keys() | filled.keys() if name not in given}
    kept = {name: seal for name, seal in kept.items() if name in filled or record.get(name) == seal}
    if kept != record:
        on.mkdir(posixpath.join(folder, posixpath.dirname(RECORD)), 0o700)
        on.write(posixpath.join(folder, RECORD), json.dumps(kept, sort_keys=True).encode(), 0o600)
    names = tuple(sorted(file.values))
    said = tuple(changed) or ((".env's mode",) if wrote else ())
    return Merged(path, said, names, tuple(sorted(filled)), tuple(envfile.secret_values(file.values)), before)


def example(on: Transport, app: str) -> str:
    """The text of a `.env` to begin with: the source's own `.env.example`, and whatever else is needed.

    Holds no secret: passwords are left for a person to fill in, or for the platform."""
    folder, needed = demand(on, app), needs(on, app)
    own = posixpath.join(folder, "src", ".env.example")
    there = on.stat(own)
    text = on.read(own).decode("utf-8", "replace").rstrip("\n") + "\n" if there and there.kind == "file" else ""
    named = set(re.findall(r"^[ \t]*#?[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)=", text, re.M))
    if not needed and not text:
        needed = {name: Variable(None) for name in ("PORT", "NODE_ENV", *COORDINATES)}
    lines = [] if text else [f"# .env of {app}; a name with # in front may be left out"]
    for name, variable in needed.items():
        if name in named or name in SURROUNDINGS:
            continue
        lines += [f"# {variable.message}"] if variable.message else []
        value = _EXAMPLES.get(name, app if name == "POSTGRES_DB" else "")
        lines.append(f"{name}={value}" if variable.default is None else f"# {name}={variable.default}")
    return text + "".join(f"{line}\n" for line in lines)


def exchange(on: Transport, app: str, data: bytes, record: bytes) -> Merged:
    """Give the application a whole `.env` of earlier, and bring what the platform knows in it up to date.

    `record` is what was noted then of the values that the platform filled in. Raises as `merge` does; the
    present file then stays."""
    folder = demand(on, app)
    path, noted = posixpath.join(folder, ".env"), posixpath.join(folder, RECORD)
    before = {one: on.read(one) if on.exists(one) else None for one in (path, noted)}
    on.write(path, data, envfile.MODE)
    if before[noted] is not None or record != NOTHING:
        on.mkdir(posixpath.dirname(noted), 0o700)
        on.write(noted, record, 0o600)
    try:
        merged = merge(on, app, {})
    except IkomaError:
        for one, text in before.items():
            on.remove(one) if text is None else on.write(one, text, envfile.MODE)
        raise
    old = envfile.EnvFile((before[path] or b"").decode("utf-8", "replace"), path).values
    now = envfile.EnvFile((data if on.dry else on.read(path)).decode("utf-8", "replace"), path).values
    changed = tuple(sorted(name for name in old.keys() | now.keys() if old.get(name) != now.get(name)))
    if before[path] is None and not changed:
        changed = (".env",)
    return replace(merged, changed=changed, before=before[path])


def filled_in(on: Transport, app: str) -> bytes:
    """What is noted of the values that the platform filled in, for `exchange`."""
    noted = posixpath.join(demand(on, app), RECORD)
    return on.read(noted) if on.exists(noted) else NOTHING


def put_back(on: Transport, merged: Merged) -> None:
    """The file as it was before `merge`."""
    if merged.before is None:
        on.remove(merged.path)
    else:
        on.write(merged.path, merged.before, envfile.MODE)


def secrets(on: Transport, app: str) -> list[str]:
    """The values of `.env` that must be shown nowhere; [] where there is none or it does not parse."""
    try:
        return envfile.secret_values(envfile.read(on, settings(on).app(app, ".env")).values)
    except StepError:
        return []


def uses_database(on: Transport, app: str) -> bool:
    """Whether anything of the application speaks of PostgreSQL: its `.env`, compose file or migrations."""
    folder = settings(on).app(app)
    try:
        names = {*envfile.read(on, posixpath.join(folder, ".env")).values, *needs(on, app)}
    except StepError:
        names = set()
    if any(name == URL or name.startswith("POSTGRES_") for name in names):
        return True
    return any(entry.path.endswith(".sql") for entry in on.scan(posixpath.join(folder, "migrations")))


def coordinates(on: Transport, app: str, needed: Mapping[str, Variable]) -> dict[str, str]:
    """How the application reaches its database, as far as it needs to be told.

    A container does not find the host's own loopback address: there the compose file's default stands, or
    the name of the container that the server runs in."""
    server = Server(on)
    known = server.coordinates(app)
    if settings(on).runtime == "compose" and known["POSTGRES_HOST"] in LOOPBACK:
        default = needed.get("POSTGRES_HOST", Variable(None)).default
        if default is not None:
            del known["POSTGRES_HOST"], known["POSTGRES_PORT"]
        elif server.container():
            known |= {"POSTGRES_HOST": "postgres", "POSTGRES_PORT": "5432"}
    return known


# --- how ---


def _filled(
    on: Transport,
    app: str,
    folder: str,
    needed: Mapping[str, Variable],
    held: Mapping[str, str],
    given: Mapping[str, str],
    record: Mapping[str, str],
) -> dict[str, str]:
    """The coordinates that the application needs and nobody else gave."""
    wanted = [name for name in (*COORDINATES, URL) if name in needed]
    if _reads_env_file(on, folder, needed):
        wanted = [*COORDINATES, *(name for name in wanted if name == URL)]
    open_to_us = [
        name for name in wanted if name not in given and (name not in held or record.get(name) == _digest(held[name]))
    ]
    if URL in open_to_us and URL not in held and needed[URL].default is not None:
        open_to_us.remove(URL)
    if not open_to_us:
        return {}
    known = coordinates(on, app, needed)
    if URL in open_to_us:
        known[URL] = _url({**known, **held, **given})
    return {name: known[name] for name in open_to_us if name in known}


def _reads_env_file(on: Transport, folder: str, needed: Mapping[str, Variable]) -> bool:
    """Whether services take the whole `.env` by `env_file`, so that the compose file does not name what they use."""
    if any(name in needed for name in (*COORDINATES, URL)):
        return False
    try:
        return b"env_file" in on.read(compose_file.find(on, folder))
    except StepError:
        return False


def _refuse_missing(app: str, path: str, needed: Mapping[str, Variable], values: Mapping[str, str]) -> None:
    missing = {
        name: variable
        for name, variable in needed.items()
        if variable.default is None and name not in SURROUNDINGS and not _given(name, variable, values)
    }
    if not missing:
        return
    told = [f"{name} ({variable.message})" if variable.message else name for name, variable in missing.items()]
    raise Refused(
        f"{app} needs {', '.join(told)}, which neither {path} nor the values give; nothing was written",
        remedy=f"Give {'them' if len(missing) > 1 else 'it'}: env: {{{next(iter(missing))}: …}} for the playbook, "
        "values for apps.env.write.",
    )


def _given(name: str, variable: Variable, values: Mapping[str, str]) -> bool:
    # `:?` wants more than an empty value.
    return bool(values.get(name)) if variable.message else name in values


def _url(parts: Mapping[str, str]) -> str:
    user, password = (quote(parts.get(f"POSTGRES_{name}", ""), safe="") for name in ("USER", "PASSWORD"))
    place = f"{parts.get('POSTGRES_HOST', 'postgres')}:{parts.get('POSTGRES_PORT', '5432')}"
    return f"postgresql://{user}:{password}@{place}/{parts.get('POSTGRES_DB', '')}"


def _record(on: Transport, folder: str) -> dict[str, str]:
    try:
        found: Any = json.loads(on.read(posixpath.join(folder, RECORD)))
    except (StepError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
