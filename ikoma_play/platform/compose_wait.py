"""Waiting until services are good, and saying at once when one never will be."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import Unhealthy
from ..model import Progress
from .engine import Container, Engine

CRASHES = 5  # so many restarts in one wait are a crash loop; fewer may be patience with a dependency
STABLE = 1.0  # seconds that a service without a health check must keep running
_PAUSES = (0.05, 0.05, 0.1, 0.1, 0.2, 0.25)
_LOG_LINES = 15
_Found = tuple[str, Container | None, str]  # a service, its container, and what is wrong with it


def wait_until_good(
    docker: Engine,
    project: str,
    declared: Mapping[str, Any],
    before: Sequence[Container],
    timeout: float,
    started: float,
    progress: Callable[[Progress], None],
) -> list[Container]:
    """The containers of the project once every declared service is good. `before` is what ran already.

    Raises Unhealthy naming each service that exited, crashes again and again, is unhealthy, or is not
    good `timeout` seconds after `started` (of time.monotonic), with its last log lines and its
    health check's output."""
    deadline = started + timeout
    known = {container.identity for container in before if container.state == "running"}
    first_restarts: dict[str, int] = {}
    seen: dict[tuple[str, str], float] = {}
    rounds = 0
    while True:
        containers = docker.containers(project)
        now = time.monotonic()
        bad: list[_Found] = []
        waiting: list[_Found] = []
        for name, service in declared.items():
            own = [container for container in containers if container.service == name]
            if not own:
                waiting.append((name, None, "has no container"))
            for container in own:
                restarts = container.restarts - first_restarts.setdefault(container.id, container.restarts)
                steady = container.identity in known or now - seen.setdefault(container.identity, now) >= STABLE
                verdict, reason = _judge(container, bool(service.get("finishes")), restarts, steady)
                if verdict == "bad":
                    bad.append((name, container, reason))
                elif verdict == "wait":
                    waiting.append((name, container, reason))
        if bad:
            raise _unhealthy(docker, bad)
        if not waiting:
            return containers
        if now >= deadline:
            raise _unhealthy(docker, waiting, f" within {timeout:g} s")
        progress(Progress(f"waiting for {', '.join(sorted({name for name, _, _ in waiting}))}",
                          len(declared) - len({name for name, _, _ in waiting}), len(declared)))  # fmt: skip
        time.sleep(_PAUSES[min(rounds, len(_PAUSES) - 1)])
        rounds += 1


def _judge(container: Container, finishes: bool, restarts: int, steady: bool) -> tuple[str, str]:
    """good, wait or bad, and in words why not good."""
    if container.state in ("exited", "dead"):
        if finishes and container.exit_code == 0:
            return "good", ""
        told = f": {container.error}" if container.error else ""
        return "bad", f"exited with code {container.exit_code}{told}"
    if restarts >= CRASHES:
        return "bad", f"crashes again and again ({restarts} restarts, the last exit code was {container.exit_code})"
    if container.state == "restarting":
        return "wait", f"is restarting after exit code {container.exit_code}"
    if container.state != "running":
        return "wait", f"is {container.state}"
    if container.health == "unhealthy":
        return "bad", "runs, but its health check fails"
    if container.health == "starting":
        return "wait", "did not become healthy"
    if container.health == "none" and not steady and not finishes:
        return "wait", "did not keep running"
    if finishes:
        return "wait", "did not finish"
    return "good", ""


def _unhealthy(docker: Engine, found: Sequence[_Found], within: str = "") -> Unhealthy:
    said = "; ".join(f"service {name} {reason}{within}" for name, _, reason in found)
    parts = []
    for name, container, _ in found:
        if container is None:
            continue
        if container.health != "none" and container.health_output:
            parts.append(f"health check of {name}: {_tail(container.health_output)}")
        log = docker.logs(container, _LOG_LINES).rstrip()
        parts.append(f"log of {name}:\n{log}" if log else f"log of {name}: empty")
    return Unhealthy(said, remedy=_remedy(found), evidence="\n".join(parts))


def _remedy(found: Sequence[_Found]) -> str:
    name, container, reason = found[0]
    if container is None:
        return "Run deploy.up again; docker compose ps --all shows what is there."
    if container.health_output or "healthy" in reason:
        check = "The health check's output above says what it misses"
        return f"{check}; correct the service or its healthcheck (test, start_period) in the compose file."
    return f"The log of {name} above says why; correct the service, its command or its .env, and run deploy.up again."


def _tail(text: str) -> str:
    return "\n".join(text.splitlines()[-_LOG_LINES:])[-2000:]
