"""Services as supervised local processes: the runtime of the sandbox, from the compose file that Docker uses too."""

from __future__ import annotations

import hashlib
import importlib.util
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from ..errors import IkomaError, NotFound, Refused, StepError, Unhealthy, mask
from ..transport.base import Transport
from . import compose_file, envfile, process_ports
from .postgres import EMBEDDED
from .postgres_embedded import Cluster
from .process_image import Images
from .process_plan import Plan, base_environment, plans
from .process_wait import Wait, probe
from .runtime import Runtime, Service
from .settings import settings
from .source_tree import SourceTree
from .supervisor import Program, State, Supervisor

_STATES = {
    "RUNNING": "running", "STARTING": "starting", "BACKOFF": "restarting", "STOPPING": "exited", "STOPPED": "exited",
    "EXITED": "exited", "FATAL": "exited",
}  # fmt: skip
_BACK = 30.0  # seconds that what ran before gets to come back


class _Wanted(Struct, frozen=True):
    """A service as it is to be, beside what is there."""

    plan: Plan
    tree: SourceTree
    digest: str
    before: Program | None
    ran: bool

    @property
    def same(self) -> bool:
        return self.before is not None and self.before.about.get("digest") == self.digest


START = "Start it: ikoma-play exec platform.up"


class ProcessRuntime(Runtime):
    """Processes under the sandbox's supervisor; a service's program is called `APP.SERVICE`."""

    def __init__(self, on: Transport) -> None:
        super().__init__(on)
        self.supervisor = Supervisor(on)

    def available(self) -> tuple[bool, str]:
        if importlib.util.find_spec("supervisor") is None:
            return False, "the package supervisor is not installed. Install it: pip install supervisor"
        if not self.supervisor.running():
            return False, f"the process supervisor of {self.supervisor.root} is not running. {START}"
        return True, f"local processes under supervisord in {self.supervisor.folder}"

    def config(self, app: str) -> dict[str, object]:
        return compose_file.load(self.on, self.settings.app(app), app)

    def services(self, app: str) -> Sequence[Service]:
        try:
            declared = self._plans(app)
        except StepError:
            names = self._programs(app)
            if not names:
                raise
            # The file broke under running services: what runs is still to be seen.
            declared = [Plan(name.partition(".")[2], (), {}, "") for name in names]
        states = self.supervisor.states()
        return [self._service(app, plan, states) for plan in declared]

    def up(self, app: str, timeout: float, build: bool = True) -> bool:
        self.notes.clear()
        declared = self._plans(app)
        if self.on.dry and not all(Path(plan.context).is_dir() for plan in declared):
            self._refuse_taken_ports(app, declared)
            return True  # the step that brings the code was only recorded
        if not declared:
            raise Refused(f"{self._file(app)} starts no service", remedy="Give it one without a profile.")
        states = self.supervisor.states()
        wanted = [self._wanted(app, plan, states) for plan in declared]
        gone = sorted(set(self._programs(app)) - {self._name(app, plan.service) for plan in declared})
        self._refuse_taken_ports(app, declared)
        if self.on.dry:
            return bool(gone) or any(not (one.same and one.ran) for one in wanted)
        resumed = start_sandbox(self.on)
        if resumed:
            states = self.supervisor.states()
            wanted = [self._wanted(app, plan, states) for plan in declared]
        done: list[_Wanted] = []
        try:
            self._bring_up(app, wanted, time.monotonic() + timeout, done)
        except IkomaError as error:
            raise self._masked(app, self._undo(app, error, done), declared) from error
        except BaseException:
            self._undo(app, Unhealthy("interrupted"), done)
            raise
        for name in gone:
            self.supervisor.drop(name)
            self.notes.append(f"service {name.partition('.')[2]} is no longer declared and was stopped")
        images = Images(self.supervisor.root, app)
        images.keep({images.place(one.tree) for one in wanted})
        return bool(done or gone or resumed)

    def down(self, app: str) -> bool:
        names = self._programs(app)
        if self.on.dry:
            return bool(names)
        for name in reversed(names):
            self.supervisor.drop(name)
        Images(self.supervisor.root, app).keep(())
        return bool(names)

    def restart(self, app: str, timeout: float) -> None:
        declared = self._plans(app)
        there = set(self._programs(app))
        if absent := [plan.service for plan in declared if self._name(app, plan.service) not in there]:
            raise NotFound(
                f"{app} is not deployed: there is no process of {', '.join(absent)}", remedy="Run deploy.up first."
            )
        if self.on.dry:
            return
        start_sandbox(self.on)
        for plan in reversed(declared):
            self.supervisor.end(self._name(app, plan.service))
        try:
            wait = self._wait(app, time.monotonic() + timeout)
            for plan in declared:
                self._await_needs(wait, plan, declared)
                wait.begin(plan)
            wait.until(declared)
        except StepError as error:
            raise self._masked(app, error, declared) from error

    def lines(
        self, app: str, service: str | None = None, tail: int = 100, since: float | None = None
    ) -> list[tuple[str, str]]:
        if since is not None:
            raise Refused(
                "lines of local processes carry no time, so none can be left out by it", remedy="Use tail instead."
            )
        names = self._programs(app)
        if service is not None:
            names = [name for name in names if name == self._name(app, service)]
        if not names:
            there = [name.partition(".")[2] for name in self._programs(app)]
            raise NotFound(
                f"there is no process of {f'service {service} of ' if service else ''}{app}, so no log",
                remedy=f"It has processes of: {', '.join(there)}." if there else "Run deploy.up first.",
            )
        width = max(len(name.partition(".")[2]) for name in names)
        return [
            ("", f"{name.partition('.')[2]:{width}} | {line}")
            for name in names
            for line in self.supervisor.log(name, tail).splitlines()
        ]

    def ports(self, app: str) -> Iterator[tuple[str, int, str]]:
        for service, port, holder in process_ports.taken(self.on, self.supervisor.root, self._plans(app), f"{app}."):
            yield service, port.number, holder

    # --- what is declared and what is there ---

    def _file(self, app: str) -> str:
        return compose_file.find(self.on, self.settings.app(app))

    def _plans(self, app: str) -> list[Plan]:
        return plans(self.config(app), self._file(app))

    def _programs(self, app: str) -> list[str]:
        return [name for name in self.supervisor.programs() if name.startswith(f"{app}.")]

    @staticmethod
    def _name(app: str, service: str) -> str:
        return f"{app}.{service}"

    def _wanted(self, app: str, plan: Plan, states: Mapping[str, State]) -> _Wanted:
        tree = Images(self.supervisor.root, app).look(plan.context)
        digest = hashlib.sha256(f"{plan.digest} {tree.digest}".encode()).hexdigest()
        name = self._name(app, plan.service)
        state = states.get(name)
        ended_well = plan.finishes and state is not None and state.state == "EXITED" and state.exit_code == 0
        return _Wanted(plan, tree, digest, self.supervisor.program(name), bool(state and state.up) or ended_well)

    def _service(self, app: str, plan: Plan, states: Mapping[str, State]) -> Service:
        name = self._name(app, plan.service)
        program, state = self.supervisor.program(name), states.get(name)
        if program is None:
            return Service(plan.service, "missing", "none")
        found = Service(
            plan.service,
            "exited" if state is None else _STATES.get(state.state, "exited"),
            "none",
            image=f"sha256:{program.about.get('digest', '')}",
            id=str(program.about.get("id", "")),
            started_at=_iso(state.started_at) if state else "",
            exit_code=state.exit_code if state and not state.up else None,
            ports=tuple(program.about.get("ports", ())),
        )
        if state is None:
            return replace(found, detail="the process supervisor is not running")
        if plan.finishes and state.state == "EXITED" and state.exit_code == 0:
            return replace(found, finished=True)
        if not state.up:
            return replace(found, health="unhealthy" if plan.check else "none", detail=state.description)
        if plan.check is None:
            return found
        good, said = probe(self.supervisor, name, plan.check)
        if good:
            return replace(found, health="healthy" if state.state == "RUNNING" else "starting")
        young = time.time() - state.started_at < max(plan.check.start_period, 1.0)
        return replace(found, health="starting" if young else "unhealthy", detail=said)

    # --- up ---

    def _refuse_taken_ports(self, app: str, declared: Sequence[Plan]) -> None:
        found = list(process_ports.taken(self.on, self.supervisor.root, declared, f"{app}."))
        if found:
            said = [f"port {port.number} of service {service} is taken by {holder}" for service, port, holder in found]
            raise Refused(
                "; ".join(said) + "; nothing was stopped or started",
                remedy="Stop what has the port, or publish another one (often PORT in .env).",
            )

    def _bring_up(self, app: str, wanted: Sequence[_Wanted], deadline: float, done: list[_Wanted]) -> None:
        """`done` takes every service that is about to be started, for `_undo`."""
        images = Images(self.supervisor.root, app)
        places = {one.plan.service: images.make(one.tree) for one in wanted if not one.same}
        declared = [one.plan for one in wanted]
        wait = self._wait(app, deadline)
        for one in wanted:
            if one.same and one.ran:
                continue
            self._await_needs(wait, one.plan, declared)
            done.append(one)
            name = self._name(app, one.plan.service)
            if not one.same or self.supervisor.state(name) is None:
                self.supervisor.put(self._program(name, one, places.get(one.plan.service) or images.make(one.tree)))
            wait.begin(one.plan)
        wait.until(declared)

    def _program(self, name: str, one: _Wanted, place: Path) -> Program:
        plan = one.plan
        base = base_environment()
        # A PATH for the image does not lead to our Python.
        env = {**base, **plan.env, "PATH": ":".join(filter(None, (base["PATH"], plan.env.get("PATH", ""))))}
        return Program(
            name,
            plan.argv,
            str(place / plan.folder),
            env,
            check=plan.check.argv if plan.check else (),
            restart=plan.restart,
            settle=0 if plan.finishes else 1,
            stop_signal=plan.stop_signal,
            patience=plan.patience,
            about={"digest": one.digest, "id": secrets.token_hex(8), "ports": [str(port) for port in plan.ports]},
        )

    def _wait(self, app: str, deadline: float) -> Wait:
        return Wait(self.supervisor, lambda service: self._name(app, service), deadline)

    def _await_needs(self, wait: Wait, plan: Plan, declared: Sequence[Plan]) -> None:
        needs = plan.needs or {}
        needed = [other for other in declared if other.service in needs]
        wait.until(needed, lambda other: needs[other.service])

    def _undo(self, app: str, error: IkomaError, done: Sequence[_Wanted]) -> IkomaError:
        """Nothing stays half up: what was started is stopped, what it replaced runs again. Says so in the error."""
        stopped, back, lost = [], [], []
        for one in reversed(done):
            name = self._name(app, one.plan.service)
            try:
                if one.before is None:
                    self.supervisor.drop(name)
                    stopped.append(one.plan.service)
                elif one.same or not one.ran:
                    self.supervisor.end(name)
                    self.supervisor.put(one.before)
                    stopped.append(one.plan.service)
                elif self._again(app, one.plan, one.before):
                    back.append(one.plan.service)
                else:
                    lost.append(one.plan.service)
            except IkomaError as fault:
                lost.append(f"{one.plan.service} ({fault.message})")
        kept = {Path(program.cwd) for name in self._programs(app) if (program := self.supervisor.program(name))}
        images = Images(self.supervisor.root, app)
        if images.folder.is_dir():
            images.keep({place for place in images.folder.iterdir() if any(_within(cwd, place) for cwd in kept)})
        said = [
            f"stopped again: {', '.join(stopped)}" if stopped else "",
            f"running again as before: {', '.join(back)}" if back else "",
            f"what ran before did not come back: {', '.join(lost)}" if lost else "",
        ]
        if any(said):
            error.message += "; " + "; ".join(filter(None, said))
            error.args = (error.message,)
        return error

    def _again(self, app: str, plan: Plan, before: Program) -> bool:
        self.supervisor.put(before)
        wait = self._wait(app, time.monotonic() + _BACK)
        try:
            wait.begin(plan)
            check = replace(plan.check, argv=before.check) if plan.check and before.check else None
            wait.until([replace(plan, check=check)])
        except Unhealthy:
            return False
        return True

    def _masked(self, app: str, error: IkomaError, declared: Sequence[Plan]) -> IkomaError:
        given = [envfile.read(self.on, self.settings.app(app, ".env")).values, *(plan.env for plan in declared)]
        hidden = [secret for values in given for secret in envfile.secret_values(values)]
        error.message, error.evidence = mask(error.message, hidden), mask(error.evidence, hidden)
        error.args = (error.message,)
        return error


def start_sandbox(on: Transport) -> bool:
    """Start the supervisor and the embedded PostgreSQL, as far as the host has them, and then the services that
    ran when an earlier supervisor died; True when anything was started."""
    found = settings(on)
    if found.runtime != "process" and found.postgres != EMBEDDED:
        return False
    supervisor = Supervisor(on)
    died = supervisor.died()
    anew = supervisor.start()
    started = Cluster(on).start() if found.postgres == EMBEDDED else False
    if anew and died:
        for name in supervisor.programs():
            program = supervisor.program(name)
            if "." in name and program is not None and program.restart == "always":
                supervisor.begin(name)
    return anew or started


def _iso(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}" if seconds else ""


def _within(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents
