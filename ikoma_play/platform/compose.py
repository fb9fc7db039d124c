"""Services in Docker containers: Docker Compose makes them, the Docker SDK tells how they are."""

from __future__ import annotations

import json
import posixpath
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any
from weakref import WeakKeyDictionary

from ..errors import NotFound, Refused, StepError, TimedOut, Unavailable, Unreachable, mask
from ..transport.base import Transport
from . import compose_file, compose_ports, compose_yaml, envfile
from .application import same_place
from .compose_cli import ComposeCli, compose_version, project_name
from .compose_failure import build_failed, told_apart, unfinished
from .compose_restore import Restore, remember
from .compose_wait import wait_until_good
from .engine import CONFIG_HASH, WORKING_DIR, Container, Engine, engine, preload
from .foreseen import foreseen
from .runtime import Runtime, Service

# With one of these the configuration depends on files beyond the compose file and `.env`.
_FURTHER_FILES = re.compile(r"\b(include|extends|env_file|label_file)\b")
_GONE = "missing"
_configs: WeakKeyDictionary[Transport, dict[tuple[str, str], str]] = WeakKeyDictionary()


class ComposeRuntime(Runtime):
    """Docker Compose on the host; the project's name is what Compose makes of the application's."""

    def __init__(self, on: Transport) -> None:
        super().__init__(on)
        preload()

    def available(self) -> tuple[bool, str]:
        try:
            compose = compose_version(self.on)
            with engine(self.on) as docker:
                return True, f"Docker Engine {docker.version()}, Docker Compose {compose}"
        except (StepError, Unreachable) as error:
            return False, f"{error.message}. {error.remedy}".strip()

    def config(self, app: str) -> dict[str, object]:
        files = self._files(app)
        if foreseen(self.on, files.folder):
            # Docker Compose would read what lies there now.
            return compose_file.load(self.on, files.folder, project_name(app))
        return dict(_unescaped(json.loads(self._raw_config(files, app))))

    def services(self, app: str) -> Sequence[Service]:
        try:
            declared = self._declared(self.config(app))
        except StepError as error:
            with engine(self.on) as docker:
                containers = docker.containers(project_name(app))
            if not containers or isinstance(error, Unavailable):
                raise
            # The file broke under running containers: what runs is still to be seen.
            return _services({container.service: {} for container in containers}, containers)
        with engine(self.on) as docker:
            return _services(declared, docker.containers(project_name(app)))

    def up(self, app: str, timeout: float, build: bool = True) -> bool:
        self.notes.clear()
        files = self._files(app)
        config: dict[str, Any] = self.config(app)
        project, declared = project_name(app), self._declared(config)
        if not declared:
            raise Refused(f"{files.path} starts no service", remedy="Give it at least one service without a profile.")
        cli = self._cli(files, app)
        with engine(self.on) as docker:
            before = docker.containers(project)
            self._refuse_foreign(app, before)
            self._refuse_taken_ports(app, config, docker)
            if self.on.dry:
                return foreseen(self.on, files.folder) or self._would_change(cli, declared, before)
            raw = self._raw_config(files, app)
            restore = Restore(cli, docker, self.settings.app(app), before, docker.networks(project))
            try:
                restore.made_networks = self._make_networks(config, docker)
                if build:
                    self._build(cli, config, docker, timeout)
                started = time.monotonic()  # building has its own time
                if not self._would_change(cli, declared, before) and self._newest(config, docker, before):
                    # `up` would start again what was to run once and is done.
                    remember(self.on, self.settings.app(app), raw, before)
                    return bool(restore.made_networks)
                self._start(cli, config, docker, timeout)
                after = wait_until_good(docker, project, declared, before, timeout, started, self.on.progress)
            except StepError as error:
                raise self._masked(restore.undo(error, min(timeout, 120.0)), files) from error
            remember(self.on, self.settings.app(app), raw, after)
        changed = {container.identity for container in after} != {container.identity for container in before}
        return changed or bool(restore.made_networks)

    def down(self, app: str) -> bool:
        project = project_name(app)
        with engine(self.on) as docker:
            containers = docker.containers(project)
            self._refuse_foreign(app, containers)
            if not containers and not docker.networks(project):
                return False
            if self.on.dry:
                return True
            try:
                files: compose_file.ComposeFile | None = self._files(app)
            except StepError:
                files = None
            cli = self._cli(files, app)
            result = cli.run("down", "--remove-orphans")
            if not result.ok:
                # A compose file that broke meanwhile must not keep the containers from going.
                result = ComposeCli(self.on, app, "/").run("down", "--remove-orphans")
            left = docker.containers(project)
        if left or not result.ok:
            raise StepError(
                f"docker compose down left {', '.join(container.name for container in left) or 'something'} behind",
                remedy="See what it says, then run deploy.down again.",
                evidence=result.stderr.decode("utf-8", "replace")[-1000:],
            )
        return True

    def restart(self, app: str, timeout: float) -> None:
        files = self._files(app)
        config, project = self.config(app), project_name(app)
        with engine(self.on) as docker:
            before = docker.containers(project)
            self._refuse_foreign(app, before)
            there = {container.service for container in before}
            declared = self._declared(config)
            if absent := [name for name in declared if name not in there]:
                raise NotFound(
                    f"{app} is not deployed: there is no container of {', '.join(absent)}",
                    remedy="Run deploy.up first.",
                )
            if self.on.dry:
                return
            started = time.monotonic()
            result = self._cli(files, app).run("restart", timeout=timeout)
            try:
                if not result.ok:
                    raise told_apart(self.on, docker, project, config, result)
                wait_until_good(docker, project, declared, [], timeout, started, self.on.progress)
            except StepError as error:
                raise self._masked(error, files) from error

    def lines(
        self, app: str, service: str | None = None, tail: int = 100, since: float | None = None
    ) -> list[tuple[str, str]]:
        with engine(self.on) as docker:
            containers = docker.containers(project_name(app))
            names = sorted({container.service for container in containers})
            if service is not None:
                containers = [container for container in containers if container.service == service]
            if not containers:
                what = f"service {service} of {app}" if service else app
                has = f"It has containers of: {', '.join(names)}." if names else "Run deploy.up first."
                raise NotFound(f"there is no container of {what}, so no log", remedy=has)
            width = max(len(container.name) for container in containers)
            lines = []
            for container in containers:
                for line in docker.logs(container, tail, timestamps=True, since=since).splitlines():
                    stamp, _, text = line.partition(" ")
                    lines.append((stamp, f"{container.name:{width}} | {text}"))
        return sorted(lines, key=lambda pair: pair[0])

    def ports(self, app: str) -> Iterator[tuple[str, int, str]]:
        config = self.config(app)
        with engine(self.on) as docker:
            yield from list(compose_ports.taken(self.on, project_name(app), config, docker))

    # --- what the compose file says ---

    def _files(self, app: str) -> compose_file.ComposeFile:
        """Raises NotFound; StepError naming every variable that nobody gave."""
        found = compose_file.read(self.on, self.settings.app(app))
        compose_file.demand_variables(found)
        return found

    def _cli(self, files: compose_file.ComposeFile | None, app: str) -> ComposeCli:
        if files is None:
            return ComposeCli(self.on, app, "/")
        names = {*files.env, *compose_file.required_variables(files.text, files.path)}
        return ComposeCli(self.on, app, files.folder, names)

    def _raw_config(self, files: compose_file.ComposeFile, app: str) -> str:
        """What `docker compose config` prints; kept while compose file and `.env` stay as they are."""
        known = _configs.setdefault(self.on, {})
        override = self._override(files.folder)
        digest = sha256("\0".join((files.text, override, repr(sorted(files.env.items())))).encode()).hexdigest()
        if (found := known.get((app, digest))) is not None:
            return found
        result = self._cli(files, app).run("config", "--format", "json", changes=False, timeout=60)
        if not result.ok:
            raise self._config_error(files, app, result.stderr.decode("utf-8", "replace"))
        if not _FURTHER_FILES.search(files.text + override):
            known[app, digest] = result.text
        return result.text

    def _override(self, folder: str) -> str:
        found = [
            entry.path
            for entry in self.on.scan(folder)
            if re.fullmatch(r"(docker-)?compose\.override\.ya?ml", posixpath.basename(entry.path))
        ]
        return "\0".join(self.on.read(path).decode("utf-8", "replace") for path in found)

    def _config_error(self, files: compose_file.ComposeFile, app: str, said: str) -> StepError:
        """Our own reading tells the line; what only Docker Compose sees is told in its words."""
        said = re.sub(r"^time=.*level=warning.*\n?", "", said, flags=re.M).strip()
        try:
            compose_yaml.parse(files.text, files.path)
            compose_file.load(self.on, files.folder, project_name(app))
        except StepError as error:
            return self._masked(error, files)
        return self._masked(
            StepError(f"{files.path}: docker compose config refuses it: {said}", remedy=f"Correct {files.path}."), files
        )

    @staticmethod
    def _declared(config: Mapping[str, Any]) -> dict[str, Any]:
        """The services that are to run; those scaled to nothing are not."""

        def wanted(service: Mapping[str, Any]) -> bool:
            replicas = (service.get("deploy") or {}).get("replicas", service.get("scale", 1))
            return bool(replicas != 0)

        services = config.get("services") or {}
        awaited = {
            name
            for service in services.values()
            for name, how in (service.get("depends_on") or {}).items()
            if how.get("condition") == "service_completed_successfully"
        }
        return {name: {**value, "finishes": name in awaited} for name, value in services.items() if wanted(value)}

    # --- before anything is started ---

    def _refuse_foreign(self, app: str, containers: Sequence[Container]) -> None:
        """Another directory's project of the same name is not ours to change."""
        folder = self.settings.app(app)
        for container in containers:
            theirs = container.labels.get(WORKING_DIR, folder)
            if theirs != "/" and not same_place(self.on, theirs, folder):
                raise Refused(
                    f"the compose project {project_name(app)} already belongs to {theirs} (container {container.name})",
                    remedy=f"Give {app} another name, or take the other project down: "
                    f"docker compose --project-name {project_name(app)} down",
                )

    def _refuse_taken_ports(self, app: str, config: Mapping[str, Any], docker: Engine) -> None:
        taken = list(compose_ports.taken(self.on, project_name(app), config, docker))
        if taken:
            said = "; ".join(
                f"port {port}, which service {service} publishes, is taken by {who}" for service, port, who in taken
            )
            raise Refused(said, remedy="Stop what has the port, or publish another one (often PORT in .env).")

    def _make_networks(self, config: Mapping[str, Any], docker: Engine) -> list[str]:
        made = []
        for network in (config.get("networks") or {}).values():
            name = network.get("name", "")
            if network.get("external") and not docker.has_network(name):
                docker.make_network(name)
                self.notes.append(f"made the network {name}, which the compose file takes for granted")
                made.append(name)
        return made

    def _would_change(self, cli: ComposeCli, declared: Mapping[str, Any], before: Sequence[Container]) -> bool:
        if not all(service.good for service in _services(declared, before)):
            return True
        hashes = cli.run("config", "--hash", "*", changes=False, timeout=60).text
        wanted = dict(line.split(" ", 1) for line in hashes.splitlines() if " " in line)
        return any(container.labels.get(CONFIG_HASH) != wanted.get(container.service) for container in before)

    @staticmethod
    def _newest(config: Mapping[str, Any], docker: Engine, before: Sequence[Container]) -> bool:
        """Whether every container was made from what its image's name means now."""
        images = {
            name: service.get("image") or f"{config['name']}-{name}" for name, service in config["services"].items()
        }
        return all(docker.image_id(images.get(container.service, "")) == container.image for container in before)

    # --- starting ---

    def _build(self, cli: ComposeCli, config: Mapping[str, Any], docker: Engine, timeout: float) -> None:
        """Layers that did not change come from the engine's cache, so this is quick where the source is the same."""
        builds = [name for name, service in config["services"].items() if service.get("build")]
        if not builds:
            return
        self.on.progress(_progress(f"building {', '.join(builds)}"))
        result = cli.run("build", "--quiet", timeout=max(timeout, 1800.0))
        if not result.ok:
            for container in unfinished(result):
                docker.remove_container(container)
            raise build_failed(builds, result)

    def _start(self, cli: ComposeCli, config: Mapping[str, Any], docker: Engine, timeout: float) -> None:
        try:
            result = cli.run("up", "--detach", "--no-build", "--remove-orphans", timeout=timeout)
        except TimedOut:
            return  # a service that others wait for is not coming up: its state says why
        if not result.ok:
            raise told_apart(self.on, docker, cli.project, config, result)

    @staticmethod
    def _masked(error: StepError, files: compose_file.ComposeFile) -> StepError:
        secrets = envfile.secret_values(files.env)
        error.message = mask(error.message, secrets)
        error.evidence = mask(error.evidence, secrets)
        error.args = (error.message,)
        return error


def _services(declared: Mapping[str, Any], containers: Sequence[Container]) -> list[Service]:
    found = []
    for name, service in declared.items():
        own = [container for container in containers if container.service == name]
        if not own:
            found.append(Service(name, _GONE, "none"))
            continue
        finished = bool(service.get("finishes")) and all(one.state == "exited" and one.exit_code == 0 for one in own)
        worst = min(own, key=_rank)
        found.append(
            Service(
                name,
                _state(worst),
                worst.health if worst.state == "running" else "none",
                worst.image,
                ",".join(one.id for one in own),
                max(one.started_at for one in own),
                worst.exit_code if worst.state in ("exited", "dead") else None,
                tuple(port for one in own for port in one.ports),
                finished,
                "" if worst.health == "healthy" else worst.error or worst.health_output,
                worst.restarts,
            )
        )
    return found


def _state(container: Container) -> str:
    if container.state == "running":
        return "starting" if container.health == "starting" else "running"
    return {"created": "starting", "dead": "exited", "removing": "exited", "paused": "exited"}.get(
        container.state, container.state
    )


def _rank(container: Container) -> int:
    """The worse, the lower."""
    if container.state != "running":
        return 0
    return {"unhealthy": 1, "starting": 2}.get(container.health, 3)


def _unescaped(value: Any) -> Any:
    """`docker compose config` doubles each dollar sign, so that its output is a compose file again."""
    if isinstance(value, dict):
        return {key: _unescaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unescaped(item) for item in value]
    return value.replace("$$", "$") if isinstance(value, str) else value


def _progress(text: str) -> Any:
    from ..model import Progress

    return Progress(text)
