"""After a failed start: nothing half-made stays, and what ran before runs again where that can be.

What was last brought up is remembered in `.ikoma/deployed.json` (for its owner only, since it holds the
environment of the services): the configuration, and the id of each image.
"""

from __future__ import annotations

import contextlib
import json
import posixpath
import time
from collections.abc import Sequence
from typing import Any

from ..errors import IkomaError, NotFound, StepError
from ..model import Progress
from ..transport.base import Transport
from .compose_cli import ComposeCli
from .compose_failure import output, tail
from .compose_wait import wait_until_good
from .engine import Container, Engine

RECORD = ".ikoma/deployed.json"


def remember(on: Transport, folder: str, raw_config: str, containers: Sequence[Container]) -> None:
    """Keep what runs now as what a failed start goes back to."""
    images = {container.service: container.image for container in containers}
    data = json.dumps({"config": raw_config, "images": images}, indent=1, sort_keys=True).encode()
    path = posixpath.join(folder, RECORD)
    with contextlib.suppress(NotFound):
        if on.read(path) == data:
            return
    on.mkdir(posixpath.dirname(path), 0o700)
    on.write(path, data, 0o600)


class NotBack(StepError):
    """What ran before does not run again; the message is a sentence of its own."""


class Restore:
    """What was there before an attempt, and the way back to it. Volumes are never removed."""

    def __init__(
        self, cli: ComposeCli, docker: Engine, folder: str, before: Sequence[Container], networks: set[str]
    ) -> None:
        self.cli, self.docker, self.folder, self.before, self.networks = cli, docker, folder, before, networks
        self.made_networks: list[str] = []

    def undo(self, error: StepError, timeout: float) -> StepError:
        """Go back, and say in the error's remedy what state that left."""
        try:
            state = self.go_back(timeout)
        except NotBack as further:
            state = further.message
        except IkomaError as further:
            state = f"Going back failed too, look at it: {further.message}"
        error.remedy = f"{error.remedy} {state}".strip()
        return error

    def go_back(self, timeout: float) -> str:
        """Go back, and say what state that left. Raises NotBack where what ran does not run again, IkomaError."""
        now = self.docker.containers(self.cli.project)
        ran = [container for container in self.before if container.state == "running"]
        if not ran:
            self._remove(now)
            return "Nothing was left behind: the containers of this attempt are removed."
        still = {container.identity for container in now if container.state == "running"}
        old = {container.id for container in self.before}
        if all(container.identity in still for container in ran):
            for container in now:
                if container.id not in old:
                    self.docker.remove_container(container.id)
            return "What ran before still runs, untouched."
        return self._bring_back(ran, timeout)

    def _remove(self, now: Sequence[Container]) -> None:
        old = {container.id for container in self.before}
        for container in now:
            if container.id not in old:
                self.docker.remove_container(container.id)
        for network in self.docker.networks(self.cli.project) - self.networks:
            self.docker.remove_network(network)
        for name in self.made_networks:
            self.docker.remove_network(name)

    def _bring_back(self, ran: Sequence[Container], timeout: float) -> str:
        record = self._record()
        if record is None:
            raise NotBack("What ran before was replaced, and cannot be brought back: there is no record of it.")
        config: dict[str, Any] = json.loads(record["config"])
        for name, service in config["services"].items():
            if name in record["images"]:
                service.pop("build", None)
                service["image"] = record["images"][name]
        gone = [image for image in record["images"].values() if not self.docker.has_image(image)]
        if gone:
            image = gone[0][:19]
            raise NotBack(f"What ran before was replaced, and cannot be brought back: its image {image} is gone.")
        result = self.cli.run(
            *("--file", "-", "up", "--detach", "--no-build", "--remove-orphans"),
            stdin=json.dumps(config).encode(),
            timeout=timeout,
        )
        if not result.ok:
            raise NotBack(f"What ran before could not be brought back: {tail(output(result))}")
        services: dict[str, Any] = {container.service: {} for container in ran}
        try:
            wait_until_good(self.docker, self.cli.project, services, [], timeout, time.monotonic(), _silent)
        except StepError as error:
            raise NotBack(f"What ran before was started again, but {error.message}.") from None
        return "The version that ran before is running again."

    def _record(self) -> dict[str, Any] | None:
        try:
            found = json.loads(self.cli.on.read(posixpath.join(self.folder, RECORD)))
            return found if {"config", "images"} <= found.keys() else None
        except (StepError, ValueError, AttributeError):
            return None


def _silent(progress: Progress) -> None:
    """Going back shows no progress: the failure is what is to be seen."""
