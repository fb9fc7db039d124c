"""The Docker Engine of a host, by way of the Docker SDK: what is there, and how it is.

The SDK costs a quarter of a second to import, so it is imported while Docker's own commands run.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from msgspec import Struct

from ..errors import StepError, Unavailable
from ..transport.base import Transport

SDK = "docker"
SOCKET = "/var/run/docker.sock"
PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
WORKING_DIR = "com.docker.compose.project.working_dir"
CONFIG_HASH = "com.docker.compose.config-hash"
ONE_OFF = "com.docker.compose.oneoff"
OURS = "ikoma-play"  # the label of what we make ourselves
REMEDY = "Start it (systemctl start docker), and check that this user may use it: docker info"


class Container(Struct, frozen=True):
    """A container as the engine describes it. `health_output` is what its last health check printed."""

    id: str
    name: str
    service: str
    state: str  # created, running, paused, restarting, exited, dead, removing
    health: str  # healthy, unhealthy, starting, none
    image: str  # the id of the image it was made from
    image_name: str
    started_at: str
    exit_code: int
    restarts: int
    ports: tuple[str, ...]
    labels: Mapping[str, str]
    error: str = ""
    health_output: str = ""

    @property
    def identity(self) -> tuple[str, str]:
        """Another one when the container was made anew or started again."""
        return self.id, self.started_at


# Which version of its API an engine speaks, while the road is open: each client would ask anew.
_SPOKEN: WeakKeyDictionary[Transport, str] = WeakKeyDictionary()


def preload(*more: str) -> None:
    """Begin to import the Docker SDK, and what else is named, beside whatever comes next."""
    if wanted := [name for name in (SDK, *more) if name not in sys.modules]:
        threading.Thread(target=_import, args=wanted, daemon=True).start()


def _import(*names: str) -> None:
    for name in names:
        with contextlib.suppress(ImportError):  # whoever needs it meets the same error and says so
            importlib.import_module(name)


@contextlib.contextmanager
def engine(on: Transport) -> Iterator[Engine]:
    """An open road to the engine of the host. Raises Unavailable when it does not answer."""
    from docker import APIClient, errors, utils
    from requests import RequestException

    with contextlib.ExitStack() as stack:
        if on.local and os.environ.get("DOCKER_HOST"):
            road = utils.kwargs_from_env()
        else:
            address, port = stack.enter_context(on.tunnel(SOCKET, 0))
            road = {"base_url": f"tcp://{address}:{port}" if port else f"unix://{address}"}
        try:
            client = APIClient(version=_SPOKEN.get(on, "auto"), timeout=60, **road)
            stack.callback(client.close)
            _SPOKEN[on] = client.api_version
            yield Engine(client)
        except (errors.DockerException, RequestException) as error:
            raise _translated(error, on) from error


def _translated(error: Exception, on: Transport) -> StepError:
    from docker import errors

    if isinstance(error, errors.APIError):
        return StepError(
            f"the Docker Engine of {on.host.name} refused: {error.explanation or error}",
            remedy="See what it says; docker info and docker events tell more.",
        )
    detail = str(error)
    if "ermission denied" in detail:
        return Unavailable(
            f"this user may not use the Docker Engine of {on.host.name}",
            remedy="Add the user to the group docker, or run as root (become).",
        )
    return Unavailable(f"the Docker Engine of {on.host.name} does not answer", remedy=REMEDY, evidence=detail[:300])


class Engine:
    """What we ask the engine; `client` is the Docker SDK's low-level one."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def version(self) -> str:
        return str(self.client.version()["Version"])

    def root(self) -> str:
        """The directory of images, containers and volumes on the host."""
        return str(self.client.info()["DockerRootDir"])

    def usage(self) -> dict[str, Any]:
        """What takes space, as `docker system df` asks for it."""
        return dict(self.client.df())

    def layers_size(self) -> int:
        """Bytes of all images together."""
        return int(self.usage().get("LayersSize") or 0)

    def images_in_use(self) -> dict[str, str]:
        """The ids of images that a container was made from, running or not, with a container's name."""
        return {
            listed["ImageID"]: (listed["Names"] or [listed["Id"][:12]])[0].lstrip("/")
            for listed in self.client.containers(all=True)
        }

    def remove_image(self, id: str, names: Sequence[str]) -> bool:
        """Remove an image with all its names; False where others are built on it or a container began meanwhile."""
        from docker import errors

        try:
            for name in names or (id,):
                self.client.remove_image(name, force=False, noprune=False)
        except errors.APIError as error:
            if error.status_code in (404, 409):
                return False
            raise
        return True

    def prune_builds(self) -> int:
        """Remove the build cache that nothing uses: bytes freed."""
        return int(self.client.prune_builds().get("SpaceReclaimed") or 0)

    def log_files(self) -> Iterator[tuple[str, str]]:
        """Each container's name, and where the host keeps its log."""
        from docker import errors

        for listed in self.client.containers(all=True):
            try:
                found = self.client.inspect_container(listed["Id"])
            except errors.NotFound:
                continue
            if found.get("LogPath"):
                yield found["Name"].lstrip("/"), found["LogPath"]

    def containers(self, project: str) -> list[Container]:
        """The containers of a compose project, stopped ones too, in the order of their services."""
        found = []
        for listed in self.client.containers(all=True, filters={"label": f"{PROJECT}={project}"}):
            if listed["Labels"].get(ONE_OFF) == "True":
                continue
            if (container := self._inspect(listed["Id"])) is not None:
                found.append(container)
        return sorted(found, key=lambda container: (container.service, container.name))

    def networks(self, project: str) -> set[str]:
        """The ids of the networks that belong to a compose project."""
        return {entry["Id"] for entry in self.client.networks(filters={"label": f"{PROJECT}={project}"})}

    def volumes(self, project: str) -> list[str]:
        """The names of the volumes that belong to a compose project."""
        found = self.client.volumes(filters={"label": f"{PROJECT}={project}"})["Volumes"] or ()
        return sorted(entry["Name"] for entry in found)

    def remove_project(self, project: str) -> None:
        """Remove all that a compose project has, its volumes and the images built for it too."""
        from docker import errors

        for container in self.containers(project):
            self.remove_container(container.id)
        for network in self.networks(project):
            self.remove_network(network)
        for volume in self.volumes(project):
            with contextlib.suppress(errors.APIError):
                self.client.remove_volume(volume)
        for image in self.client.images(filters={"reference": f"{project}-*"}):
            for name in image.get("RepoTags") or ():
                self.untag(name)

    def has_network(self, name: str) -> bool:
        return any(entry["Name"] == name for entry in self.client.networks(names=[name]))

    def has_image(self, name: str) -> bool:
        return bool(self.image_id(name))

    def image_id(self, name: str) -> str:
        """What an image's name means now; "" where it means nothing."""
        from docker import errors

        try:
            return str(self.client.inspect_image(name)["Id"])
        except (errors.NotFound, errors.NullResource):
            return ""

    def tag(self, image: str, name: str) -> None:
        """Give an image a further name, `REPOSITORY[:TAG]`, which may be another's until now."""
        repository, tag = split_name(name)
        self.client.tag(image, repository, tag, force=True)

    def tags(self, repository: str) -> list[str]:
        """The names `REPOSITORY:TAG` that there are."""
        listed = self.client.images(name=repository)
        names = [name for image in listed for name in image.get("RepoTags") or ()]
        return sorted(name for name in names if split_name(name)[0] == repository)

    def untag(self, name: str) -> None:
        """Take a name away; the image goes with its last name, unless a container has it."""
        from docker import errors

        with contextlib.suppress(errors.APIError):
            self.client.remove_image(name)

    def published(self) -> Iterator[tuple[str, int, str, str, str]]:
        """Every published port of a running container: (address, port, protocol, container, project)."""
        for listed in self.client.containers():
            for port in listed.get("Ports", ()):
                if port.get("PublicPort"):
                    name = listed["Names"][0].lstrip("/") if listed.get("Names") else listed["Id"][:12]
                    project = listed["Labels"].get(PROJECT, "")
                    yield port.get("IP", ""), port["PublicPort"], port["Type"], name, project

    def logs(self, container: Container, tail: int, timestamps: bool = False, since: float | None = None) -> str:
        """The last lines of standard output and error together; `since` in seconds since the epoch."""
        raw = self.client.logs(container.id, tail=tail, timestamps=timestamps, since=since)
        return bytes(raw).decode("utf-8", "replace")

    def stop(self, id: str) -> None:
        """Stop a container; it stays."""
        self.client.stop(id)

    def start(self, id: str) -> None:
        """Start a container that was stopped, with what its mounts lead to now."""
        self.client.start(id)

    def remove_container(self, id: str) -> None:
        """Remove a container, running or not, with its anonymous volumes."""
        from docker import errors

        with contextlib.suppress(errors.NotFound):
            self.client.remove_container(id, force=True, v=True)

    def remove_volume(self, name: str) -> None:
        """Remove a volume with all that is in it."""
        self.client.remove_volume(name)

    def remove_network(self, name: str) -> None:
        """Remove a network nobody is on; one in use stays."""
        from docker import errors

        with contextlib.suppress(errors.APIError):
            self.client.remove_network(name)

    def make_network(self, name: str) -> None:
        self.client.create_network(name, driver="bridge", labels={OURS: "network"})

    def _inspect(self, id: str) -> Container | None:
        from docker import errors

        try:
            found = self.client.inspect_container(id)
        except errors.NotFound:  # it went away meanwhile
            return None
        state, labels = found["State"], found["Config"].get("Labels") or {}
        health = state.get("Health") or {}
        log = health.get("Log") or []
        return Container(
            id=found["Id"],
            name=found["Name"].lstrip("/"),
            service=labels.get(SERVICE, ""),
            state=state["Status"],
            health=health.get("Status") or "none",
            image=found["Image"],
            image_name=found["Config"]["Image"],
            started_at=state["StartedAt"],
            exit_code=state["ExitCode"],
            restarts=found.get("RestartCount", 0),
            ports=tuple(_addresses(found["NetworkSettings"].get("Ports") or {})),
            labels=labels,
            error=state.get("Error") or "",
            health_output=(log[-1].get("Output") or "").strip() if log else "",
        )


def split_name(name: str) -> tuple[str, str]:
    """An image's name as repository and tag; a registry's port is no tag."""
    head, colon, tag = name.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (name, "latest")


def _addresses(ports: Mapping[str, Any]) -> Iterator[str]:
    seen = set()
    for bindings in ports.values():
        for binding in bindings or ():
            address = binding["HostIp"]
            address = f"[{address}]" if ":" in address else address
            if (shown := f"{address}:{binding['HostPort']}") not in seen:
                seen.add(shown)
                yield shown
