"""Applications of a test's own on this machine's Docker: unique names, everything gone in the end."""

from __future__ import annotations

import inspect
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ikoma_play.model import Host, Outcome
from ikoma_play.platform.compose import ComposeRuntime
from ikoma_play.platform.compose_cli import project_name
from ikoma_play.tools import TOOLS
from ikoma_play.transport.base import Transport
from ikoma_play.transport.local import LocalTransport

# A small web server with a health check; {image}, {port} and {more} are filled in.
WEB = """\
services:
  web:
    image: {image}
    command: ["sh", "-c", "mkdir -p /www && echo ok > /www/health && exec httpd -f -p {port} -h /www"]
    init: true
    stop_grace_period: 1s
    ports: ["127.0.0.1:{port}:{port}"]
    healthcheck:
      test: ["CMD", "wget", "-q", "-O-", "http://127.0.0.1:{port}/health"]
      interval: 500ms
      timeout: 5s
      retries: 5
{more}"""


@dataclass
class SecretsKept:
    """What a tool may know of a run, with the values it asked to keep secret."""

    variables: Mapping[str, Any] = field(default_factory=dict)
    check: bool = False
    diff: bool = False
    mark: str = ""
    again: bool = False
    kept: list[str] = field(default_factory=list)

    def keep_secret(self, *values: str) -> None:
        self.kept += values

    def mask(self, text: str) -> str:
        return text


@dataclass
class Application:
    """An application below a folder of the test, not there yet."""

    root: Path
    variables: dict[str, Any] = field(default_factory=dict)
    name: str = field(default_factory=lambda: f"t-{secrets.token_hex(4)}")

    @property
    def on(self) -> LocalTransport:
        places = {"apps_root": "apps", "backups_root": "backups", "audit_log": "audit.jsonl", "env_file": "none.env"}
        own = {f"ikoma_{name}": str(self.root / place) for name, place in places.items()}
        return LocalTransport(Host("here", vars=own | self.variables))

    @property
    def folder(self) -> Path:
        return self.root / "apps" / self.name

    @property
    def runtime(self) -> ComposeRuntime:
        return ComposeRuntime(self.on)

    @property
    def project(self) -> str:
        return project_name(self.name)

    def write(self, compose: str, env: str = "") -> Application:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "docker-compose.yml").write_text(compose)
        (self.folder / ".env").write_text(env)
        (self.folder / ".env").chmod(0o600)
        return self

    def call(
        self, tool: str, *, through: Transport | None = None, scope: SecretsKept | None = None, **values: Any
    ) -> Outcome:
        """One tool, its arguments bound as a playbook's are."""
        found = TOOLS.find(tool)
        assert found is not None, f"there is no tool {tool}"
        wired = values if tool == "apps.list" or tool.startswith("platform.") else {"appName": self.name, **values}
        arguments = found.bind(wired)
        if "scope" in inspect.signature(found.function).parameters:
            arguments["scope"] = scope or SecretsKept()
        return found.function(through or self.on, **arguments)

    def docker(self, *words: str) -> list[str]:
        done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
        return done.stdout.split()

    def traces(self) -> dict[str, list[str]]:
        """What Docker has of this application: containers and networks, by id."""
        mine = ("--filter", f"label=com.docker.compose.project={self.project}")
        found = {
            "containers": self.docker("ps", "--all", "--quiet", *mine),
            "networks": self.docker("network", "ls", "--quiet", *mine),
        }
        return {kind: ids for kind, ids in found.items() if ids}

    def clear(self) -> None:
        traces = self.traces()
        for container in traces.get("containers", ()):
            self.docker("rm", "--force", "--volumes", container)
        for network in traces.get("networks", ()):
            self.docker("network", "rm", network)
        mine = ("--filter", f"label=com.docker.compose.project={self.project}")
        for volume in self.docker("volume", "ls", "--quiet", *mine):
            self.docker("volume", "rm", volume)
        # By name: an id may have other names, which are not this application's.
        names = ("images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", f"reference={self.project}*")
        for image in self.docker(*names):
            self.docker("rmi", image)


@contextmanager
def application(root: Path, **variables: Any) -> Iterator[Application]:
    made = Application(root, variables)
    try:
        yield made
    finally:
        made.clear()
