"""The services of an application stand still for a moment, and run again after: whatever its files say meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..model import Progress
from ..transport.base import Transport
from .settings import settings

PATIENCE = 120.0  # seconds for what ran to be healthy again


@contextmanager
def of(on: Transport, app: str) -> Iterator[None]:
    """What runs of the application is stopped inside the block, and started and waited for after it, also where
    the block fails. Raises Unhealthy, Unavailable."""
    through = _processes if settings(on).runtime == "process" else _containers
    with through(on, app):
        yield


@contextmanager
def _containers(on: Transport, app: str) -> Iterator[None]:
    from .compose_cli import project_name
    from .compose_wait import wait_until_good
    from .engine import engine

    project = project_name(app)
    with engine(on) as docker:
        ran = [container for container in docker.containers(project) if container.state in ("running", "restarting")]
        if ran:
            on.progress(Progress(f"stopping {app}"))
        for container in ran:
            docker.stop(container.id)
        try:
            yield
        finally:
            for container in ran:
                docker.start(container.id)
        if ran:
            services: dict[str, Any] = {container.service: {} for container in ran}
            wait_until_good(docker, project, services, [], PATIENCE, time.monotonic(), on.progress)


@contextmanager
def _processes(on: Transport, app: str) -> Iterator[None]:
    from .process_past import in_order, start
    from .supervisor import Supervisor

    supervisor = Supervisor(on)
    ran = in_order(supervisor, app)
    for name in reversed(ran):
        supervisor.end(name)
    try:
        yield
    finally:
        start(supervisor, ran, PATIENCE)
