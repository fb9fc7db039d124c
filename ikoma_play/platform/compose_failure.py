"""Why Docker Compose could not start something: the causes told apart, each with its remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import NotFound, Refused, StepError, Unavailable, Unhealthy
from ..model import Result
from ..transport.base import Transport
from . import listeners
from .engine import REMEDY, Container, Engine

_LINES = 25
_NOISE = re.compile(
    r"^(time=.*level=warning.*| ?(Container|Network|Volume|Image) \S+ +"
    r"(Creating|Created|Starting|Started|Running|Waiting|Healthy|Building|Built|Recreate|Recreated|Pulling|Error)\b.*"
    r"|DEPRECATED: .*| +Install the buildx component.*| +https://docs\.docker\.com/go/buildx/)$"
)


def build_failed(services: Sequence[str], result: Result) -> StepError:
    """An image could not be built."""
    said = output(result)
    if unavailable := _engine_down(said):
        return unavailable
    steps = re.findall(r"^Step \d+/\d+ : (.*)$", said, re.M)
    match = (
        re.match(r"FROM (?:--\S+ )?(\S+)", steps[-1]) if steps else re.search(r"(\S+): failed to resolve source", said)
    )
    if match and re.search(r"pull access denied|manifest .*(unknown|not found)|Get \"https?:|failed to resolve", said):
        base = match[1]
        return StepError(
            f"the image of {', '.join(services)} could not be built: its base image {base} is not to be had",
            remedy=f"Make {base} reachable (docker pull {base}, docker login, docker load), or build on another image.",
            evidence=tail(said),
        )
    if "no space left on device" in said:
        return _disk_full(said)
    return StepError(
        f"the image of {', '.join(services)} could not be built",
        remedy="Correct the Dockerfile or the source; docker compose build repeats just this.",
        evidence=tail(said),
    )


def unfinished(result: Result) -> list[str]:
    """The ids of the containers that a failed build left behind: each step of the classic builder runs in one."""
    said = output(result)
    removed = set(re.findall(r"Removing intermediate container ([0-9a-f]{12})", said))
    return [name for name in re.findall(r"---> Running in ([0-9a-f]{12})", said) if name not in removed]


def told_apart(on: Transport, docker: Engine, project: str, config: Mapping[str, Any], result: Result) -> StepError:
    """The cause of a failed `docker compose up` or `restart`, as exactly as it can be seen."""
    said = output(result)
    if unavailable := _engine_down(said):
        return unavailable
    services = config.get("services") or {}
    for name, service in services.items():
        image = service.get("image", "")
        if image and not service.get("build") and not docker.has_image(image):
            return NotFound(
                f"the image {image} of service {name} is not on {on.host.name} and could not be pulled",
                remedy=f"Check its name; docker pull {image} says more (docker login where it needs one, docker load "
                "where there is no registry).",
                evidence=tail(said),
            )
    if port := re.search(r"(?:0\.0\.0\.0|[\d.]+|\[?[0-9a-f:]+\]?):(\d+).*(?:already allocated|already in use)", said):
        return Refused(
            f"port {port[1]} is taken by {_holder(on, docker, project, int(port[1]))}",
            remedy="Stop what has the port, or publish another one (often PORT in .env).",
            evidence=tail(said),
        )
    if re.search(r"container name .* is already in use", said):
        return Refused(
            "a container_name of the compose file is already in use by another container",
            remedy="Take container_name out of the compose file, or remove the other container.",
            evidence=tail(said),
        )
    if match := re.search(r"network (\S+) declared as external, but could not be found", said):
        return NotFound(
            f"the network {match[1]} is not there",
            remedy=f"Make it: docker network create {match[1]}",
            evidence=tail(said),
        )
    if "no space left on device" in said:
        return _disk_full(said)
    if match := re.search(r'exec: "([^"]+)": (.*?)(?:: unknown)?$', said, re.M):
        return StepError(
            f"the command {match[1]} cannot be started in its container: {match[2]}",
            remedy="Correct the service's command or entrypoint in the compose file, or its image.",
            evidence=tail(said),
        )
    if "dependency" in said and "failed" in said:
        return _dependency(docker, project, said)
    return StepError("docker compose could not start the services", remedy="See what it says.", evidence=tail(said))


def output(result: Result) -> str:
    """What a command printed on both ways."""
    return (result.stdout + b"\n" + result.stderr).decode("utf-8", "replace").strip()


def tail(text: str) -> str:
    """The last lines that say something."""
    lines = [line for line in text.splitlines() if line.strip() and not _NOISE.match(line)]
    return "\n".join(lines[-_LINES:])


def _engine_down(said: str) -> Unavailable | None:
    if re.search(r"[Cc]annot connect to the Docker daemon|error during connect|Is the docker daemon running", said):
        return Unavailable("the Docker Engine does not answer", remedy=REMEDY, evidence=tail(said))
    return None


def _disk_full(said: str) -> Unavailable:
    return Unavailable(
        "Docker has no disk space left",
        remedy="docker system df shows what takes it; docker image prune and docker builder prune free some.",
        evidence=tail(said),
    )


def _holder(on: Transport, docker: Engine, project: str, port: int) -> str:
    for _, number, _, name, theirs in docker.published():
        if number == port and theirs != project:
            return f"container {name}" + (f" of {theirs}" if theirs else "")
    for listener in listeners.listeners(on):
        if listener.port == port:
            return listeners.holder(on, listener)
    return "another process"


def _dependency(docker: Engine, project: str, said: str) -> StepError:
    """A service that another waits for did not come up: its own log is the evidence."""
    parts, names = [], []
    for container in docker.containers(project):
        if _failed(container):
            names.append(f"{container.service} ({_how(container)})")
            if container.health_output:
                parts.append(f"health check of {container.service}: {container.health_output[-1000:]}")
            parts.append(f"log of {container.service}:\n{docker.logs(container, 15).rstrip()}")
    return Unhealthy(
        f"services that others wait for did not come up: {', '.join(names)}" if names else tail(said),
        remedy="The log and the health check's output say why; correct that service, and run deploy.up again.",
        evidence="\n".join(parts) or tail(said),
    )


def _failed(container: Container) -> bool:
    if container.state in ("exited", "dead"):
        return container.exit_code != 0
    return container.state == "restarting" or container.health == "unhealthy"


def _how(container: Container) -> str:
    return "its health check fails" if container.state == "running" else f"exited with code {container.exit_code}"
