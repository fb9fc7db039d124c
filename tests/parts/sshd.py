"""Real OpenSSH servers on loopback ports, each with host keys of its own.

Run by root, a server sees accounts that exist only in its own mount namespace (`ACCOUNTS`): the machine's
own files stay as they are. Run by anybody else, only the own account can be logged in to.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ikoma_play.model import Host

from .images import PartMissing

SSHD = "/usr/sbin/sshd"
ROOT = os.geteuid() == 0
PASSWORD = "it's a canary $x"
ACCOUNTS = {"deployer": 54101, "asker": 54102, "free": 54103, "target": 54104, "odd": 54105, "barred": 54106}
SHELLS = {"odd": "/bin/bash", "barred": "/usr/sbin/nologin"}
SUDOERS = "asker ALL=(ALL) ALL\nfree ALL=(ALL) NOPASSWD: ALL\nDefaults lecture=always\nroot ALL=(ALL) ALL\n"
STARTED = 20.0


class Site:
    """What servers share: the accounts, the client's keys, and a folder that everybody may look into."""

    def __init__(self) -> None:
        if not Path(SSHD).exists():
            raise PartMissing("no OpenSSH server: apt-get install openssh-server brings one.")
        self.folder = Path(tempfile.mkdtemp(prefix="ikoma-sshd-"))
        self.folder.chmod(0o755)
        self.homes = self.folder / "home"
        self.homes.mkdir()
        self.key = self.new_key("client")
        self._count = 0
        self._etc = self._accounts() if ROOT else []
        if ROOT:
            Path("/run/sshd").mkdir(exist_ok=True)

    def new_key(self, name: str, kind: str = "ed25519", passphrase: str = "") -> Path:
        path = self.folder / name
        argv = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", name, "-f", str(path)]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
        return path

    def server(self, **options: Any) -> Sshd:
        self._count += 1
        return Sshd(self, self.folder / f"server{self._count}", **options)

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def namespace(self) -> list[str]:
        """What comes before a server's argv, so that it sees the accounts."""
        if not ROOT:
            return []
        binds = " && ".join(f"mount --bind {ours} {theirs}" for ours, theirs in self._etc)
        return ["unshare", "--mount", "sh", "-c", f'{binds} && exec "$@"', "sh"]

    def _accounts(self) -> list[tuple[Path, str]]:
        hashed = subprocess.run(
            ["openssl", "passwd", "-6", "-stdin"], input=PASSWORD, capture_output=True, text=True, check=True
        ).stdout.strip()
        etc = self.folder / "etc"
        etc.mkdir(mode=0o755)
        for name in ("passwd", "shadow", "group"):
            shutil.copy2(f"/etc/{name}", etc / name)
        shadow = [line for line in (etc / "shadow").read_text().splitlines() if not line.startswith("root:")]
        # Root has a home without the machine's own start-up files, some of which keep a lock when they are killed.
        (self.homes / "root").mkdir(mode=0o700)
        known = (etc / "passwd").read_text().splitlines(keepends=True)
        (etc / "passwd").write_text("".join(line.replace(":/root:", f":{self.homes}/root:", 1) for line in known))
        with (etc / "passwd").open("a") as users, (etc / "group").open("a") as groups:
            for name, number in ACCOUNTS.items():
                home = self.homes / name
                home.mkdir(mode=0o755)
                os.chown(home, number, number)
                users.write(f"{name}:x:{number}:{number}::{home}:{SHELLS.get(name, '/bin/sh')}\n")
                shadow.append(f"{name}:{hashed}:19000:0:99999:7:::")
                groups.write(f"{name}:x:{number}:\n")
        shadow.append(f"root:{hashed}:19000:0:99999:7:::")
        (etc / "shadow").write_text("\n".join(shadow) + "\n")
        (etc / "sudoers").write_text(SUDOERS)
        for name, mode in (("passwd", 0o644), ("group", 0o644), ("shadow", 0o600), ("sudoers", 0o440)):
            (etc / name).chmod(mode)
        return [(etc / name, f"/etc/{name}") for name in ("passwd", "shadow", "group", "sudoers")
                if Path(f"/etc/{name}").exists()]  # fmt: skip


class Sshd:
    """One server; `host()` is how the inventory would name it."""

    def __init__(self, site: Site, folder: Path, options: tuple[str, ...] = (), host_key: str = "ed25519") -> None:
        self.site = site
        self.folder = folder
        self.folder.mkdir()
        self.port = free_port()
        self.host_key = site.new_key(f"{folder.name}/host_key", host_key)
        self.known_hosts = folder / "known_hosts"
        self.know()
        self._process: subprocess.Popen[bytes] | None = None
        lines = [
            f"Port {self.port}", "ListenAddress 127.0.0.1", f"HostKey {self.host_key}", "UsePAM no", "StrictModes no",
            f"AuthorizedKeysFile {site.key}.pub", f"PidFile {folder}/pid", "PasswordAuthentication yes",
            "PermitRootLogin yes", "MaxStartups 100", "UseDNS no", "Subsystem sftp internal-sftp",
        ]  # fmt: skip
        changed = {option.split()[0].lower() for option in options}
        kept = [line for line in lines if line.split()[0].lower() not in changed]
        (folder / "config").write_text("\n".join([*kept, *options]) + "\n")

    def know(self, name: str | None = None) -> None:
        """Have the client know the host's key."""
        key = Path(f"{self.host_key}.pub").read_text().rsplit(" ", 1)[0]
        self.known_hosts.write_text(f"{name or f'[127.0.0.1]:{self.port}'} {key}\n")

    def host(self, name: str = "box", user: str | None = None, **more: Any) -> Host:
        own = {
            "ansible_connection": "ssh",
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": user or ("deployer" if ROOT else getpass.getuser()),
            "ansible_ssh_private_key_file": str(self.site.key),
            "ansible_ssh_common_args": f"-F none -o IdentityAgent=none -o UserKnownHostsFile={self.known_hosts}",
        }
        return Host(name, vars={name: value for name, value in (own | more).items() if value is not None})

    def start(self) -> Sshd:
        log = (self.folder / "log").open("ab")
        argv = [*self.site.namespace, SSHD, "-D", "-e", "-f", str(self.folder / "config")]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=surroundings()
        )
        log.close()
        until = time.monotonic() + STARTED
        while not answers(self.port):
            if self._process.poll() is not None or time.monotonic() > until:
                raise PartMissing(f"sshd did not start: {(self.folder / 'log').read_text()}")
            time.sleep(0.01)
        return self

    def stop(self) -> None:
        """The server and every connection that it has."""
        if self._process is None:
            return
        for pid in (*descendants(self._process.pid), self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def drop_connections(self) -> None:
        """End every connection; the server goes on listening."""
        for pid in self.connections():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def connections(self) -> list[int]:
        """The server's processes, those of one connection after those of another."""
        assert self._process is not None
        return descendants(self._process.pid)

    def log(self) -> str:
        return (self.folder / "log").read_text()


@contextlib.contextmanager
def servers() -> Iterator[Site]:
    site = Site()
    try:
        yield site
    finally:
        site.close()


def descendants(pid: int) -> list[int]:
    found = []
    for place in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in place.read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


def surroundings() -> dict[str, str]:
    """What a server of the system would have; nothing of the tests' own."""
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.settimeout(5)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
