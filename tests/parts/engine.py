"""Docker Engine and Docker Compose, as the tests need them; tests/run starts and installs what is missing."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from .images import PartMissing, run


def demand_engine() -> None:
    """Raises PartMissing where no Docker Engine answers or `docker compose` is not there."""
    for argv, brings in (
        (("docker", "info"), "a running Docker Engine: `bash tests/run` installs and starts one"),
        (("docker", "compose", "version"), "Docker Compose: `bash tests/run` installs it"),
    ):
        try:
            run(*argv, timeout=60)
        except (OSError, PartMissing) as error:
            raise PartMissing(f"These tests need {brings}.\n{error}") from error


class OwnEngine:
    """A Docker Engine of a test's own, with nothing in it; only root can have one. Containers need
    `network_mode: none`: it makes no networks, and it has a network namespace of its own, since an engine without a
    bridge removes docker0 when it starts, which is the machine's."""

    def __init__(self, data: Path | None = None) -> None:
        """`data` is where it keeps images; default a folder of its own."""
        self.folder = Path(tempfile.mkdtemp(prefix="ikoma-engine-"))  # a socket's path must be short
        self.data = data or self.folder / "data"
        self.address = f"unix://{self.folder}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def argv(self) -> list[str]:
        """What starts it."""
        places = {"data-root": self.data, "exec-root": self.folder / "exec", "pidfile": self.folder / "pid"}
        words = [word for name, place in places.items() for word in (f"--{name}", str(place))]
        return ["unshare", "--net", "dockerd", *words, "--host", self.address, "--bridge", "none", "--iptables=false"]

    def start(self) -> OwnEngine:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + 60
        while subprocess.run(["docker", "-H", self.address, "info"], capture_output=True, check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > until:
                raise PartMissing(f"dockerd did not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

    def end(self) -> None:
        """Stop it whoever started it, by its pid file, and remove what it kept."""
        self.stop()
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.folder / "pid").read_text())
            os.kill(pid, signal.SIGTERM)
            until = time.monotonic() + 60
            while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
                time.sleep(0.05)
        subprocess.run(["umount", "--lazy", str(self.data)], capture_output=True, check=False)  # it died
        shutil.rmtree(self.folder, ignore_errors=True)

    def docker(self, *words: str) -> str:
        return run("docker", "-H", self.address, *words).stdout.strip()

    def take(self, image: str) -> None:
        """Bring an image of the machine's engine over."""
        with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saved:
            subprocess.run(["docker", "-H", self.address, "load"], stdin=saved.stdout, check=True, capture_output=True)
