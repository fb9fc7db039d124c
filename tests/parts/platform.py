"""The platform's own compose project, as the runbook knows it: PostgreSQL as the service `postgres`.

It lies in a folder of its own with a docker-compose.yml and an .env, its container is on a network that
applications join, and its port is published on 127.0.0.1. Any number of them can stand side by side.
"""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path

from .images import postgres_image, run

COMPOSE_FILE = """\
name: ${PLATFORM}
services:
  postgres:
    image: ${POSTGRES_IMAGE}
    container_name: ${PLATFORM}-postgres
    environment:
      POSTGRES_USER: ${POSTGRES_USER}
      POSTGRES_PASSWORD: ${POSTGRES_PASSWORD}
      PGHOST: /tmp
    ports:
      - "127.0.0.1:${PUBLISHED_PORT}:5432"
    networks:
      - platform
    healthcheck:
      test: ["CMD", "pg_isready", "-h", "127.0.0.1", "-U", "${POSTGRES_USER}"]
      interval: 3s
      timeout: 5s
      retries: 60
    init: true
    stop_grace_period: 10s
networks:
  platform:
    name: ${PLATFORM}
"""


def free_port() -> int:
    """A port of the loopback interface that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Platform:
    """PostgreSQL in a container. `network` is the Docker network on which it is called `postgres`."""

    folder: Path
    network: str = field(default_factory=lambda: f"ikoma-test-{secrets.token_hex(4)}")
    user: str = "ikoma"
    password: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    port: int = field(default_factory=free_port)

    @property
    def compose_file(self) -> Path:
        return self.folder / "docker-compose.yml"

    @property
    def env_file(self) -> Path:
        return self.folder / ".env"

    @property
    def url(self) -> str:
        return f"postgresql://{self.user}:{self.password}@127.0.0.1:{self.port}/postgres"

    def compose(self, *words: str) -> str:
        return run("docker", "compose", "--file", str(self.compose_file), *words).stdout.strip()

    def up(self) -> Platform:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.compose_file.write_text(COMPOSE_FILE)
        self.env_file.write_text(
            f"PLATFORM={self.network}\nPOSTGRES_IMAGE={postgres_image()}\n"
            f"PUBLISHED_PORT={self.port}\nPOSTGRES_HOST=postgres\nPOSTGRES_PORT=5432\n"
            f"POSTGRES_USER={self.user}\nPOSTGRES_PASSWORD={self.password}\n"
        )
        self.compose("up", "--detach", "--wait")
        return self

    def stop(self) -> None:
        """As if the database had died: the container is there, and does not run."""
        self.compose("stop", "postgres")

    def start(self) -> None:
        self.compose("up", "--detach", "--wait")

    def down(self) -> None:
        self.compose("down", "--volumes", "--timeout", "1")

    def psql(self, database: str, sql: str) -> str:
        """The answer, one row a line, columns set apart by `|`."""
        return self.compose(
            *("exec", "-T", "postgres", "psql", "-h", "/tmp", "-U", self.user, "-d", database),
            *("-v", "ON_ERROR_STOP=1", "-qAt", "-c", sql),
        )
