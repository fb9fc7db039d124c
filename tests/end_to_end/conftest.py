"""Sandboxes and Docker hosts that the standard playbook has deployed to, through the real command."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.parts.command import CHECKOUT, Finished, Ikoma
from tests.parts.images import run
from tests.parts.platform import Platform, free_port


@dataclass(frozen=True)
class Sandbox:
    """A sandbox in a folder of its own, with the guestbook deployed to it."""

    ikoma: Ikoma
    port: int
    deployed: Finished

    @property
    def folder(self) -> Path:
        return self.ikoma.folder

    @property
    def app(self) -> Path:
        return self.folder / ".ikoma/apps/guestbook"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    ikoma = Ikoma(tmp_path_factory.mktemp("sandbox"))
    port = free_port()
    try:
        yield Sandbox(ikoma, port, ikoma("run", "deploy", "-e", f"port={port}"))
    finally:
        ikoma("run", "sandbox-down", "-e", "remove=true")


@dataclass(frozen=True)
class DockerHost:
    """This machine as a host with Docker: an inventory of its own, the guestbook under a name of its own."""

    ikoma: Ikoma
    platform: Platform
    base_image: str
    app: str
    port: int

    @property
    def folder(self) -> Path:
        return self.ikoma.folder

    @property
    def place(self) -> Path:
        return self.folder / "apps" / self.app

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def write_inventory(self, **more: Any) -> None:
        """What a person with a Docker host writes down; `more` replaces variables."""
        variables = {
            "ansible_connection": "local",
            "ikoma_runtime": "compose",
            "ikoma_apps_root": str(self.folder / "apps"),
            "ikoma_backups_root": str(self.folder / "backups"),
            "ikoma_audit_log": str(self.folder / "audit.jsonl"),
            "ikoma_env_file": str(self.platform.env_file),
            "app": self.app,
            "source": str(CHECKOUT / "playbooks/examples/guestbook"),
            "env": {
                "PORT": self.port,
                "IKOMA_NETWORK": self.platform.network,
                "BASE_IMAGE": self.base_image,
            },
        }
        (self.folder / "apps").mkdir(exist_ok=True)
        hosts = {"here": variables | more}
        (self.folder / "hosts.yml").write_text(
            json.dumps({"all": {"children": {"apps": {"hosts": hosts}}}})  # JSON is YAML
        )

    def run(self, playbook: str, *words: str, expect: int | None = 0) -> Finished:
        return self.ikoma("run", playbook, "-i", "hosts.yml", *words, expect=expect)

    def execute(self, tool: str, *words: str, expect: int | None = 0) -> Any:
        """The result of one tool for the application."""
        done = self.ikoma("exec", tool, f"appName={self.app}", *words, "-i", "hosts.yml", expect=expect)
        return json.loads(done.out)

    def compose(self, *words: str) -> str:
        return run("docker", "compose", "--file", str(self.place / "docker-compose.yml"), *words).stdout

    def clear(self) -> None:
        """Everything of this application goes: containers, images, database."""
        if (self.place / "docker-compose.yml").exists() and (self.place / ".env").exists():
            self.compose("down", "--volumes", "--rmi", "local", "--timeout", "1")
        self.platform.psql("postgres", f'DROP DATABASE IF EXISTS "{self.app}" WITH (FORCE)')


def make_docker_host(folder: Path, platform: Platform, base_image: str) -> DockerHost:
    folder.mkdir(exist_ok=True)
    host = DockerHost(Ikoma(folder), platform, base_image, f"guestbook-{secrets.token_hex(3)}", free_port())
    host.write_inventory()
    return host


@pytest.fixture
def docker_host(tmp_path: Path, platform: Platform, python_base: str) -> Iterator[DockerHost]:
    """A Docker host of one test's own, nothing deployed."""
    host = make_docker_host(tmp_path, platform, python_base)
    yield host
    host.clear()


@pytest.fixture(scope="module")
def deployed(
    tmp_path_factory: pytest.TempPathFactory, platform: Platform, python_base: str
) -> Iterator[tuple[DockerHost, Finished]]:
    """A Docker host with the guestbook deployed, and what the deploy printed; tests leave it as it was."""
    host = make_docker_host(tmp_path_factory.mktemp("docker"), platform, python_base)
    try:
        yield host, host.run("deploy")
    finally:
        host.clear()
