"""Hosts with addresses of their own: containers of Debian with an OpenSSH server, and a network that can be cut.

Everything happens in network namespaces that are made here: the runner has one of its own, each host's is its
container's, and a pair of veth joins the two. Nothing of it reaches the machine's own network. Needs root.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .command import Ikoma
from .images import HOST_PASSWORD, host_image, run

SSHD_CONFIG = """\
HostKey /keys/host_key
AuthorizedKeysFile /keys/client.pub
StrictModes no
UseDNS no
PasswordAuthentication yes
PermitRootLogin yes
MaxStartups 100
Subsystem sftp internal-sftp
"""
UP = 60.0  # seconds until a host that boots has to answer, on a machine with much else to do


class Net:
    """The runner's network namespace, and the hosts that it reaches."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"ikoma-{secrets.token_hex(4)}"
        self.hosts: dict[str, Machine] = {}
        self.key = new_key(folder / "client")
        self.runner = ("ip", "netns", "exec", self.name)
        run("ip", "netns", "add", self.name)
        run("ip", "-n", self.name, "link", "set", "lo", "up")

    def host(self, name: str, options: Sequence[str] = (), container: Sequence[str] = ()) -> Machine:
        """A host that has booted. `options` are lines of its sshd_config, `container` further words for docker."""
        machine = self.hosts[name] = Machine(self, name, len(self.hosts) + 1, options, container)
        machine.boot()
        return machine

    def ikoma(self, folder: Path) -> Ikoma:
        """The command, run where the hosts can be reached; its inventory is `hosts.yml` in the folder."""
        hosts = {name: machine.variables() for name, machine in self.hosts.items()}
        (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
        return Ikoma(folder, prefix=(*self.runner, sys.executable))

    def close(self) -> None:
        for machine in self.hosts.values():
            subprocess.run(["docker", "rm", "-f", machine.container], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)


class Machine:
    def __init__(self, net: Net, name: str, number: int, options: Sequence[str], container: Sequence[str]) -> None:
        self.net = net
        self.name = name
        self.address = f"10.99.{number}.2"
        self.cable = f"host{number}"  # the runner's end
        self.container = f"{net.name}-{name}"
        self.keys = net.folder / name
        self.keys.mkdir()
        new_key(self.keys / "host_key")
        shutil.copy(f"{net.key}.pub", self.keys / "client.pub")
        changed = {option.split()[0] for option in options}
        lines = [line for line in SSHD_CONFIG.splitlines() if line.split()[0] not in changed]
        (self.keys / "sshd_config").write_text("\n".join([*lines, *options]) + "\n")
        argv = ["docker", "create", "--init", "--network", "none", "--hostname", name, "--name", self.container,
                "--volume", f"{self.keys}:/keys:ro", *container, host_image()]  # fmt: skip
        run(*argv)

    def variables(self) -> dict[str, Any]:
        known = self.keys / "known_hosts"
        known.write_text(f"{self.address} {(self.keys / 'host_key.pub').read_text()}")
        words = f"-F none -o IdentityAgent=none -o UserKnownHostsFile={known} -o ServerAliveInterval=1 " \
                "-o ServerAliveCountMax=3"  # fmt: skip
        return {
            "ansible_connection": "ssh", "ansible_host": self.address, "ansible_user": "root", "ansible_timeout": 5,
            "ansible_ssh_private_key_file": str(self.net.key), "ansible_ssh_common_args": words,
        }  # fmt: skip

    # --- its life ---

    def boot(self) -> None:
        """Start the container and put the cable in: a namespace does not outlive its machine."""
        run("docker", "start", self.container)
        pid = run("docker", "inspect", "--format", "{{.State.Pid}}", self.container).stdout.strip()
        net = self.net.name
        subprocess.run(["ip", "-n", net, "link", "del", self.cable], capture_output=True, check=False)
        run("ip", "-n", net, "link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", pid)
        network = self.address.rsplit(".", 1)[0]
        run("ip", "-n", net, "addr", "add", f"{network}.1/24", "dev", self.cable)
        run("ip", "-n", net, "link", "set", self.cable, "up")
        inside = ("nsenter", "-t", pid, "-n", "ip")
        run(*inside, "addr", "add", f"{self.address}/24", "dev", "eth0")
        run(*inside, "link", "set", "eth0", "up")
        self.answers()

    def reboot(self) -> None:
        """At once, without a word to anybody, as a machine whose power fails for a moment."""
        run("docker", "kill", self.container)
        self.boot()

    def answers(self) -> None:
        talk = f"import socket; s = socket.create_connection(('{self.address}', 22), 2); assert s.recv(4) == b'SSH-'"
        asked = [*self.net.runner, sys.executable, "-c", talk]
        until = time.monotonic() + UP
        while subprocess.run(asked, capture_output=True, check=False).returncode:
            assert time.monotonic() < until, f"{self.name} does not come up\n{self.do('cat', '/var/log/sshd')}"
            time.sleep(0.1)

    def do(self, *argv: str) -> str:
        """Run something in the machine, past SSH."""
        done = subprocess.run(["docker", "exec", self.container, *argv], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def has(self, path: str) -> bool:
        return subprocess.run(["docker", "exec", self.container, "test", "-e", path], check=False).returncode == 0

    # --- what can happen to it ---

    def unplug(self) -> None:
        run("ip", "-n", self.net.name, "link", "set", self.cable, "down")

    def plug_in(self) -> None:
        run("ip", "-n", self.net.name, "link", "set", self.cable, "up")

    def swallow(self, what: str = "-A") -> None:
        """Drop every packet from and to it, as a firewall does; `-D` ends that."""
        for chain, side in (("INPUT", "-i"), ("OUTPUT", "-o")):
            run(*self.net.runner, "iptables", what, chain, side, self.cable, "-j", "DROP")

    def freeze(self) -> None:
        run("docker", "pause", self.container)

    def thaw(self) -> None:
        run("docker", "unpause", self.container)


@contextlib.contextmanager
def net() -> Iterator[Net]:
    with tempfile.TemporaryDirectory(prefix="ikoma-hosts-") as folder:
        made = Net(Path(folder))
        try:
            yield made
        finally:
            made.close()


def new_key(path: Path) -> Path:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path))
    return path


__all__ = ["HOST_PASSWORD", "Machine", "Net", "net"]
