"""`ikoma-play serve` as a process of its own, on a port of the loopback interface, and a client for it."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import queue
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .command import CHECKOUT
from .platform import free_port


@dataclass(frozen=True)
class Answer:
    """What the server answered; `data` is its JSON, None where it is none."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def data(self) -> Any:
        try:
            return json.loads(self.text)
        except ValueError:
            return None

    @property
    def result(self) -> Any:
        assert self.status == 200, self
        return self.data["result"]


@dataclass
class Service:
    """A server in a folder of its own, with the platform's `.env`, an apps root and an audit log there."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)  # lines of .env beside those that it always has
    words: Sequence[str] = ()  # further words for `serve`
    environment: Mapping[str, str] = field(default_factory=dict)
    key: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    canary: str = "the-canary-of-postgres-77"  # its password, which must be seen nowhere
    port: int = field(default_factory=free_port)
    env_path: Path | None = None  # a .env that somebody else writes; default: one of our own
    bind: bool = True  # False: where the settings say
    process: subprocess.Popen[str] | None = None
    lines: list[dict[str, Any]] = field(default_factory=list)  # the server's log
    garbled: list[str] = field(default_factory=list)  # what it printed that is no JSON

    @property
    def env_file(self) -> Path:
        return self.env_path or self.folder / ".env"

    @property
    def audit_log(self) -> Path:
        return self.folder / "log/audit.jsonl"

    @property
    def apps(self) -> Path:
        return self.folder / "apps"

    def audited(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.audit_log.read_text().splitlines()]

    def write_env(self, **more: str) -> None:
        self.env |= more
        settings = {
            "API_KEY_HASH": hashlib.sha256(self.key.encode()).hexdigest(),
            "APPS_ROOT": str(self.apps),
            "BACKUPS_ROOT": str(self.folder / "backups"),
            "AUDIT_LOG": str(self.audit_log),
            "POSTGRES_HOST": "127.0.0.1",  # a server is configured, and nothing answers there
            "POSTGRES_PORT": "1",
            "POSTGRES_PASSWORD": self.canary,
            "RATE_LIMIT_PER_KEY": "0",
            "RATE_LIMIT_PER_ADDRESS": "0",
            "RATE_LIMIT_FAILURES": "0",
        }
        self.env_file.write_text("".join(f"{name}={value}\n" for name, value in {**settings, **self.env}.items()))

    def argv(self) -> list[str]:
        bind = ["--bind", f"127.0.0.1:{self.port}"] if self.bind else []
        return [sys.executable, "-m", "ikoma_play", "serve", "--env-file", str(self.env_file), *bind, *self.words]

    def start(self, patience: float = 60.0) -> Service:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.apps.mkdir(exist_ok=True)
        if not self.env_file.exists():
            self.write_env()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "IKOMA", "RATE_"))}
        self.process = subprocess.Popen(
            self.argv(), cwd=self.folder, env={**kept, "PYTHONPATH": str(CHECKOUT), **self.environment},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        listening: queue.Queue[bool] = queue.Queue()
        threading.Thread(target=self._read, args=(self.process, listening), daemon=True).start()
        try:
            up = listening.get(timeout=patience)
        except queue.Empty:
            up = False
        assert up, f"the server did not start: {self.lines} {self.garbled}"
        return self

    def _read(self, process: subprocess.Popen[str], listening: queue.Queue[bool]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            try:
                said = json.loads(line)
                self.lines.append(said)
                if said["event"] == "listening":
                    listening.put(True)
            except ValueError:
                self.garbled.append(line)
        listening.put(False)

    def stop(self, number: int = signal.SIGTERM, patience: float = 30.0) -> int:
        """Send a signal and wait for the end; the exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        self.process = None
        return code

    # --- calls ---

    def connect(self, timeout: float = 60.0) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> Answer:
        connection = self.connect(timeout)
        try:
            data = body.encode() if isinstance(body, str) else body
            connection.request(method, path, data, dict(headers or {}))
            got = connection.getresponse()
            found = {name.lower(): value for name, value in got.getheaders()}
            return Answer(got.status, found, got.read().decode("utf-8", "replace"))
        finally:
            connection.close()

    def call(
        self,
        tool: str,
        arguments: Any = None,
        *,
        role: str | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> Answer:
        """One tool; arguments that are text go as they are."""
        sent = {"X-Api-Key": self.key if key is None else key, **({"X-Role": role} if role else {}), **(headers or {})}
        body = arguments if isinstance(arguments, (str, bytes)) else json.dumps(arguments or {})
        return self.ask("POST", f"/execute/{tool}", body, sent, timeout)

    def raw(self, data: bytes, timeout: float = 5.0) -> bytes:
        """Bytes as they are; everything that comes back until the server closes or is silent for `timeout`."""
        with socket.create_connection(("127.0.0.1", self.port), timeout) as connection:
            connection.sendall(data)
            came = b""
            try:
                while part := connection.recv(65536):
                    came += part
            except (TimeoutError, ConnectionResetError, ssl.SSLError):
                return came
            return came

    def until(self, holds: Any, patience: float = 30.0) -> None:
        """Wait until something holds."""
        ends = time.monotonic() + patience
        while not holds():
            assert time.monotonic() < ends, "it does not come to hold"
            time.sleep(0.02)


@contextmanager
def serving(folder: Path, **more: Any) -> Iterator[Service]:
    """A server that is gone afterwards; whatever it printed was a line of its log."""
    service = Service(folder, **more)
    try:
        yield service.start()
    finally:
        service.stop(signal.SIGKILL if sys.exc_info()[0] else signal.SIGTERM)
    assert not service.garbled, f"the server printed something else than its log: {service.garbled}"
