"""A sandbox of its own for tests: the process runtime and the embedded PostgreSQL in a temporary directory.

`sandbox` is a fixture: `from tests.parts.sandbox import sandbox` gives a test file one for all its tests.
"""

from __future__ import annotations

import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.model import Host, Outcome
from ikoma_play.platform.postgres import Server
from ikoma_play.platform.postgres_embedded import Cluster
from ikoma_play.platform.process import ProcessRuntime
from ikoma_play.platform.supervisor import Supervisor
from ikoma_play.tools import TOOLS
from ikoma_play.transport.base import Transport
from ikoma_play.transport.dry import DryTransport
from ikoma_play.transport.local import LocalTransport

# Answers 200 on /health as long as the file `sick` is not in its directory; prints what it was given.
WEB = """\
import http.server, os, pathlib, sys

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        sick = pathlib.Path(os.environ.get("SICK", "sick")).exists()
        self.send_response(503 if sick else 200)
        self.end_headers()
        self.wfile.write(b"sick" if sick else os.environ.get("SAYS", "hello").encode())

    def log_message(self, *words):
        pass

print("listening on", os.environ["PORT"])
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
"""
CHECK = """\
import os, sys, urllib.error, urllib.request

try:
    print(urllib.request.urlopen(f"http://127.0.0.1:{os.environ['PORT']}/health", timeout=3).read().decode())
except urllib.error.HTTPError as error:
    sys.exit(f"{error.code} {error.read().decode()}")
except OSError as error:
    sys.exit(str(error))
"""
COMPOSE = """\
services:
  web:
    build: ./src
    command: ["python3", "web.py"]
    environment:
      PORT: ${PORT}
      SAYS: ${SAYS:-hello}
      SICK: ${SICK:-sick}
    ports: ["127.0.0.1:${PORT}:${PORT}"]
    healthcheck: {test: ["CMD", "python3", "check.py"], interval: 500ms, timeout: 5s, retries: 10, start_period: 2s}
    restart: unless-stopped
    stop_grace_period: 5s
"""


class Sandbox:
    """A sandbox's host below `folder`; nothing is started by making one."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.root = folder / ".ikoma"
        places = {
            "sandbox_root": ".ikoma",
            "apps_root": ".ikoma/apps",
            "backups_root": ".ikoma/backups",
            "audit_log": ".ikoma/audit.jsonl",
            "env_file": ".ikoma/.env",
        }
        known = {f"ikoma_{name}": str(folder / place) for name, place in places.items()}
        known |= {"ikoma_runtime": "process", "ikoma_postgres": "embedded", "ansible_connection": "local"}
        self.on = LocalTransport(Host("sandbox", (), {**known, **variables}))
        self.dry = DryTransport(self.on)

    def call(self, tool: str, on: Transport | None = None, **arguments: Any) -> Outcome:
        """A tool with its arguments as playbooks and HTTP bodies spell them."""
        found = TOOLS.find(tool)
        assert found is not None, f"there is no tool {tool}"
        return found.function(on or self.on, **found.bind(arguments))

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.on)

    @property
    def cluster(self) -> Cluster:
        return Cluster(self.on)

    @property
    def server(self) -> Server:
        return Server(self.on)

    @property
    def runtime(self) -> ProcessRuntime:
        return ProcessRuntime(self.on)

    def sql(self, database: str, statement: str) -> list[tuple[Any, ...]]:
        with self.server.connect(database) as connection:
            found = connection.execute(statement.encode())
            return found.fetchall() if found.description else []

    def app(self, name: str, files: dict[str, str]) -> Path:
        """An application's directory with these files, the missing ones of WEB, CHECK and COMPOSE added."""
        folder = self.root / "apps" / name
        for path, text in {"docker-compose.yml": COMPOSE, "src/web.py": WEB, "src/check.py": CHECK, **files}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(textwrap.dedent(text))
        return folder


class SmallDisk:
    """A file system of `size` at `place`; only root can have one."""

    def __init__(self, place: Path, size: str = "1m") -> None:
        self.place = place
        self.size = size

    def __enter__(self) -> Path:
        self.place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.size}", "tmpfs", str(self.place)], check=True)
        return self.place

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", str(self.place)], check=True)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A running sandbox."""
    made = Sandbox(tmp_path_factory.mktemp("sandbox"))
    try:
        made.call("platform.up")
        yield made
    finally:
        made.call("platform.down", remove=True)
