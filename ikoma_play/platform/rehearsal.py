"""The rollback proved on scratch copies: a scratch database, the former source, its images started beside what serves.

.ikoma/rehearsal/APP--rehearsal/    a scratch application, gone in the end
.ikoma/rehearsals.json              what was rehearsed, the newest first
"""

from __future__ import annotations

import contextlib
import copy
import json
import posixpath
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct, field
from msgspec.structs import asdict, replace

from ..errors import IkomaError, NotFound, Refused, StepError
from ..model import Progress
from ..transport.base import Transport
from . import apart, app_env, compose_file, databases, dump_check, dumps, envfile, kept_sources, releases, verification
from .application import demand
from .compose_cli import project_name
from .postgres import Server
from .runtime import Runtime, runtime
from .settings import settings
from .way_back import RESTORE, WayBack

FOLDER, RECORD = ".ikoma/rehearsal", ".ikoma/rehearsals.json"
_REMEMBERED = 20


class Rehearsal(Struct, frozen=True):
    """A rollback that was proved. `parts` are seconds by what took them, `rows` what the backup held by table."""

    at: str
    release: str
    version: str
    backup: str
    parts: dict[str, float]
    rows: dict[str, int] = field(default_factory=dict)
    run: str = ""
    who: str = ""

    @property
    def seconds(self) -> float:
        """What a real rollback would take."""
        return sum(self.parts.values())


def rehearse(on: Transport, app: str, way: WayBack, timeout: float, run: str = "", who: str = "") -> Rehearsal:
    """Go the whole way on copies, and remember that it was gone.

    Raises what the real one would raise, and Refused where the services cannot run beside those that serve;
    whatever it raises, nothing of the rehearsal stays."""
    scratch, clock = _Scratch(on, app), _Clock()
    scratch.clear()
    try:
        with contextlib.ExitStack() as stack:
            database, rows = "", dict[str, int]()
            if way.database == RESTORE and way.dump is not None:
                database = stack.enter_context(databases.scratch(Server(on), app, "rehearse"))
                on.progress(Progress(f"restoring {posixpath.basename(way.dump.path)} into {database}"))
                with clock("restore"):
                    dumps.verify(on, way.dump)
                    dumps.fill(Server(on), database, way.dump.path)
                rows = dump_check.contents(Server(on), database).rows
                _refuse_other_migrations(on, way, database)
            with clock("source"):
                scratch.place(way)
            scratch.prepare(way, database)
            on.progress(Progress(f"starting {way.release.version} beside what serves"))
            with clock("start"):
                scratch.runtime.up(scratch.name, timeout, build=bool(way.rebuilt))
            with clock("stop"):
                scratch.runtime.down(scratch.name)
    finally:
        scratch.clear()
    with clock("verify"), contextlib.suppress(IkomaError):
        verification.verify(on, app)
    backup, now = way.dump.path if way.dump else "", f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    proved = Rehearsal(now, way.release.id, way.release.version, backup, clock.parts, rows, run, who)
    _remember(on, app, proved)
    return proved


def all_of(on: Transport, app: str) -> list[Rehearsal]:
    """What was rehearsed, the newest first; what is no record is passed over."""
    path = posixpath.join(demand(on, app), RECORD)
    try:
        return [Rehearsal(**entry) for entry in json.loads(on.read(path))] if on.exists(path) else []
    except (ValueError, TypeError):
        return []


def fresh(rehearsals: list[Rehearsal], days: int) -> bool:
    """Whether the newest one is not older."""
    oldest = f"{datetime.now(UTC) - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"
    return bool(rehearsals) and rehearsals[0].at >= oldest


# --- how ---


class _Clock:
    def __init__(self) -> None:
        self.parts: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.parts[part] = round(time.monotonic() - began, 3)


class _Scratch:
    """An application beside the real one, in a directory of its own inside the real one's."""

    def __init__(self, on: Transport, app: str) -> None:
        self.real, self.app = on, app
        self.home = posixpath.join(demand(on, app), FOLDER)
        self.name = f"{app[:50]}--rehearsal"
        self.folder = posixpath.join(self.home, self.name)
        self.on = copy.copy(on)
        self.on.host = replace(on.host, vars={**on.host.vars, "ikoma_apps_root": self.home})
        self.runtime: Runtime = runtime(self.on)

    def place(self, way: WayBack) -> None:
        """The source of the release, as the rollback would place it."""
        self.on.mkdir(self.home, 0o700)
        self.on.mkdir(posixpath.join(self.folder, ".ikoma"), 0o700)
        origin = posixpath.join(demand(self.real, self.app), kept_sources.FOLDER, way.release.kept)
        if way.source == "present":
            origin = demand(self.real, self.app)
        elif way.source != "kept":
            raise Refused(
                f"the source of {way.release.version} would have to be fetched again, which cannot be rehearsed",
                remedy="Deploy once more with this version: from then on sources are kept.",
            )
        kept_sources.copy_out(self.on, origin, posixpath.join(self.folder, "src"))
        for path, data in kept_sources.parts(self.on, origin).items():
            target = posixpath.join(self.folder, path)
            self.on.mkdir(posixpath.dirname(target))
            self.on.write(target, data, 0o644)

    def prepare(self, way: WayBack, database: str) -> None:
        """Its `.env` leads to the scratch database, and its compose file touches nothing that serves."""
        env = releases.env_of(self.real, self.app, way.release)
        if env is None:
            present = posixpath.join(demand(self.real, self.app), ".env")
            env = self.real.read(present) if self.real.exists(present) else b""
        values = envfile.EnvFile(env.decode("utf-8", "replace"), ".env").values
        live = values.get("POSTGRES_DB", self.app)
        self.on.write(posixpath.join(self.folder, ".env"), env, envfile.MODE)
        noted = releases.env_record_of(self.real, self.app, way.release)
        self.on.write(posixpath.join(self.folder, app_env.RECORD), noted, 0o600)
        app_env.merge(self.on, self.name, self._given(values, live, database))
        config: Mapping[str, Any] = self.runtime.config(self.name)
        self._refuse_what_serves(way, config, live, database)
        if settings(self.on).runtime == "compose":
            images = {} if way.rebuilt else way.release.images
            text = json.dumps(apart.apart(config, images, self.folder)).replace("$", "$$")
            self.on.write(compose_file.find(self.on, self.folder), text.encode(), 0o600)

    def clear(self) -> None:
        """Nothing stays: what is left of one that was killed goes too."""
        with contextlib.suppress(NotFound):
            self.runtime.down(self.name)
        if settings(self.on).runtime == "compose":
            from .engine import engine

            with engine(self.on) as docker:
                docker.remove_project(project_name(self.name))
        self.real.remove(self.home)

    def _refuse_what_serves(self, way: WayBack, config: Mapping[str, Any], live: str, database: str) -> None:
        if not database:
            if app_env.uses_database(self.on, self.name):
                raise Refused(
                    f"{self.app} would be rolled back with the database that serves, so its start cannot be rehearsed",
                    remedy="Make a backup that fits the release, or name one with backup=.",
                )
            return
        if leading := apart.names_database(config, live):
            raise Refused(
                f"the compose file of {way.release.version} names the database itself ({', '.join(leading)}); started "
                "beside, it would work on the database that serves",
                remedy="Take it from .env: POSTGRES_DB: ${POSTGRES_DB}.",
            )

    def _given(self, values: Mapping[str, str], live: str, database: str) -> dict[str, str]:
        given = {}
        for name, value in values.items() if database else ():
            if apart.leads_to(name, value, live):
                given[name] = database if value == live else apart.with_database(value, database)
        if settings(self.on).runtime == "process":
            given |= self._other_ports(values)
        return given

    def _other_ports(self, values: Mapping[str, str]) -> dict[str, str]:
        """Local processes share the host's ports: what `.env` says of published ones becomes another, free one."""
        taken = {port.split(":")[-1] for service in runtime(self.real).services(self.app) for port in service.ports}
        return {name: str(_free_port()) for name, value in values.items() if value in taken or name == "PORT"}


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _refuse_other_migrations(on: Transport, way: WayBack, database: str) -> None:
    from .migrations import MIGRATIONS, records

    with Server(on).connect(database) as connection:
        held = {entry.name: entry.sha256 for entry in records(connection, MIGRATIONS)}
    if way.release.migrations is not None and held != way.release.migrations:
        raise StepError(
            f"the backup {way.dump.path if way.dump else ''} holds other migrations than {way.release.version} knows: "
            f"{', '.join(held) or 'none'}",
            remedy="Choose another one with backup= (db.backups lists them).",
        )


def _remember(on: Transport, app: str, proved: Rehearsal) -> None:
    known = [proved, *all_of(on, app)][:_REMEMBERED]
    data = json.dumps([asdict(entry) for entry in known], indent=1).encode()
    on.write(posixpath.join(demand(on, app), RECORD), data, 0o600)
