"""A container of Debian as a host whose commands run by `docker exec`: with systemd at work in it, or without."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator

from msgspec.structs import replace

from ikoma_play.model import Command, Host, Result
from ikoma_play.transport.base import Transport
from ikoma_play.transport.local import LocalTransport
from ikoma_play.transport.shelled import ShelledTransport

from .images import run, service_image

# What systemd needs, and no more: mounts and control groups of its own, nothing of the machine's but the kernel.
SYSTEMD = ("--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined", "--cgroupns", "private", "--tmpfs",
           "/sys/fs/cgroup", "--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp")  # fmt: skip
UP = 60.0  # seconds until systemd has to be up, on a machine with much else to do


class InContainer(ShelledTransport):
    def __init__(self, name: str) -> None:
        self.host = Host(name)
        self.runner = LocalTransport(self.host)

    def run(self, command: Command, on_output: Callable[[bytes], None] | None = None) -> Result:
        words = [word for name, value in command.env.items() for word in ("-e", f"{name}={value}")]
        words += ["-w", command.cwd] if command.cwd else []
        words += ["-i"] if command.stdin is not None else []
        argv = ("docker", "exec", *words, self.host.name, *command.argv)
        return self.runner.run(replace(command, argv=argv, env={}, cwd=None), on_output)

    def tunnel(self, address: str, port: int) -> contextlib.AbstractContextManager[tuple[str, int]]:
        raise AssertionError(f"the container has no network, so there is no way to {address}:{port}")

    def close(self) -> None:
        pass


@contextlib.contextmanager
def container(*, systemd: bool) -> Iterator[Transport]:
    """A host that is up; it goes away at the end."""
    name = f"ikoma-service-{secrets.token_hex(4)}"
    start = (*SYSTEMD, service_image()) if systemd else ("--init", service_image(), "sleep", "infinity")
    run("docker", "run", "--detach", "--name", name, "--network", "none", *start)
    try:
        host = InContainer(name)
        until = time.monotonic() + UP
        while systemd and b"running" not in host.run(Command(("systemctl", "is-system-running"))).stdout:
            assert time.monotonic() < until, "systemd does not come up"
            time.sleep(0.2)
        yield host
    finally:
        subprocess.run(["docker", "rm", "-f", name], capture_output=True, check=False)
