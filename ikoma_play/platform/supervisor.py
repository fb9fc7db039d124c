"""The supervisor of a sandbox: one supervisord that starts, watches and stops its local processes.

It lies in `{sandbox_root}/supervisor/` (only its owner may look in):

    supervisord.conf   daemon.json   supervisord.log   lock
    conf.d/NAME.conf   how the supervisor treats a program
    programs/NAME.json what the program is: argv, environment, working directory (see process_launcher)
    logs/NAME.log      what it prints

We talk to it by XML-RPC on a port of 127.0.0.1 with a generated password: the path of a unix socket may have
107 bytes, which a deep checkout exceeds.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import asdict

from ..errors import Unavailable, last_lines
from ..model import Command
from ..transport.base import Transport
from . import sandbox

LAUNCHER = Path(__file__).with_name("process_launcher.py")
PATIENCE = 15.0  # seconds for one answer of the daemon
# What the daemon takes over from the runner's environment; the rest may hold secrets.
_INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH")


class Program(Struct, frozen=True):
    """A process to keep: what it is, and how it is treated.

    `restart` is `always`, `failure` or `never`; `settle` the seconds it has to stay up before it counts
    as started; `patience` the seconds it gets to stop. `check` is the argv of its health check."""

    name: str
    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str] = field(default_factory=dict)
    check: tuple[str, ...] = ()
    restart: str = "always"
    settle: int = 1
    stop_signal: str = "TERM"
    patience: int = 10
    group: bool = True  # signals go to everything the program forked
    about: Mapping[str, Any] = field(default_factory=dict)  # whatever its owner wants to find again


class State(Struct, frozen=True):
    """A program as the supervisor sees it; `state` is supervisord's word: RUNNING, STARTING, BACKOFF, STOPPING,
    STOPPED, EXITED, FATAL."""

    name: str
    state: str
    pid: int
    started_at: float  # seconds since the epoch; 0: never
    exit_code: int
    description: str

    @property
    def up(self) -> bool:
        return self.state in ("RUNNING", "STARTING")


class Supervisor:
    """The supervisor of the sandbox that `on` leads to; nothing is started before it is asked for."""

    def __init__(self, on: Transport) -> None:
        self.on = on
        self.root = sandbox.root(on)
        self.folder = self.root / "supervisor"

    # --- the daemon ---

    def running(self) -> bool:
        """Whether the daemon answers and is the one of this very directory."""
        known = self._known()
        if known.get("root") != str(self.root):
            return False
        try:
            self._call("getPID", patience=5.0)
        except Unavailable:
            return False
        return True

    def died(self) -> bool:
        """Whether the daemon went without being stopped: killed, or with the machine."""
        return bool(self._known()) and not self.running()

    def start(self) -> bool:
        """Start the daemon where it does not run; True when it was started.

        What an earlier one left behind (killed, moved with its directory) is ended first."""
        if self.running():
            return False
        sandbox.claim(self.on)
        for folder in (self.folder, self.folder / "conf.d", self.folder / "programs", self.folder / "logs"):
            self.on.mkdir(str(folder), 0o700)
        with self.lock():
            if self.running():
                return False
            sandbox.end_processes({str(self.root), self._known().get("root", str(self.root))})
            self._spawn()
        return True

    def stop(self) -> bool:
        """Stop every program and the daemon; True when anything ran. No process and no port is left."""
        if not self.folder.is_dir():
            return sandbox.end_processes([self.root])
        with self.lock():
            had = False
            if self._known() and self.running():
                had = True
                pid = int(self._call("getPID"))
                self._call("shutdown")
                deadline = time.monotonic() + 90
                while sandbox.alive(pid) and time.monotonic() < deadline:
                    time.sleep(0.02)
            # What a program left running outside its process group, or a daemon that was killed.
            had = sandbox.end_processes({str(self.root), self._known().get("root", str(self.root))}) or had
            (self.folder / "daemon.json").unlink(missing_ok=True)
        return had

    def lock(self) -> AbstractContextManager[None]:
        """Held while the daemon is started or its programs are changed; other runners wait."""
        return sandbox.lock(self.folder / "lock")

    # --- programs ---

    def program(self, name: str) -> Program | None:
        """What the program is as it was last put, None where there is none."""
        try:
            kept = json.loads((self.folder / "programs" / f"{name}.json").read_text("utf-8"))
        except (OSError, ValueError):
            return None
        known: dict[str, Any] = {key: kept[key] for key in Program.__struct_fields__ if key in kept}
        known["argv"], known["check"] = tuple(known["argv"]), tuple(known["check"])
        env = {key: value for key, value in known["env"].items() if key not in (sandbox.MARK, sandbox.PROGRAM)}
        return Program(**{**known, "env": env})

    def programs(self) -> list[str]:
        """The names of all programs, whether they run or not."""
        return sorted(path.stem for path in (self.folder / "conf.d").glob("*.conf"))

    def put(self, program: Program) -> None:
        """Make the program known to the running daemon, or replace it: it is stopped then, not started."""
        with self.lock():
            if self.state(program.name) is not None:
                self._stop(program.name)
            marks = {sandbox.MARK: str(self.root), sandbox.PROGRAM: program.name}
            text = json.dumps({**asdict(program), "env": {**program.env, **marks}}, indent=1)
            self.on.write(str(self.file(program.name)), text.encode(), 0o600)
            self.on.write(str(self.folder / "conf.d" / f"{program.name}.conf"), _section(program).encode(), 0o600)
            self._call("reloadConfig")
            # The section may have changed as well, and only a new group takes that up.
            self._call("removeProcessGroup", program.name, accept=("BAD_NAME",))
            self._call("addProcessGroup", program.name)

    def drop(self, name: str) -> bool:
        """Stop the program and forget it, its log too; True when there was one."""
        had = self.program(name) is not None
        if self.running():
            with self.lock():
                if self.state(name) is not None:
                    self._stop(name)
                    self._call("removeProcessGroup", name, accept=("BAD_NAME",))
                self._forget(name)
                self._call("reloadConfig")
        elif had:
            self._forget(name)
        return had

    def begin(self, name: str) -> None:
        """Start the program and return at once."""
        if self.state(name) is None:  # a drop that was cut off took it from the daemon, and left its files
            self._call("reloadConfig")
            self._call("addProcessGroup", name, accept=("ALREADY_ADDED",))
        self._call("startProcess", name, False, accept=("ALREADY_STARTED",))

    def end(self, name: str) -> bool:
        """Stop the program and wait until it is; True when it ran."""
        state = self.state(name)
        self._stop(name)
        return state is not None and state.state in ("RUNNING", "STARTING", "BACKOFF")

    def state(self, name: str) -> State | None:
        """None where the daemon does not know the program. Raises Unavailable when it does not run."""
        found = self._call("getProcessInfo", name, accept=("BAD_NAME",))
        return None if found is None else _state(found)

    def states(self) -> dict[str, State]:
        """Every program that the daemon knows; {} where it does not run."""
        if not self.running():
            return {}
        return {found["name"]: _state(found) for found in self._call("getAllProcessInfo")}

    def log(self, name: str, tail: int = 100, after: int = 0) -> str:
        """The last lines that the program printed, of what came `after` so many bytes."""
        logs = [path for path in self._logs(name) if path.is_file()]
        data = b"".join(path.read_bytes() for path in logs)
        # Rotated away meanwhile: then all that is left is new.
        lines = data[after if after <= len(data) else 0 :].splitlines()
        return b"\n".join(lines[-tail:] if tail > 0 else []).decode("utf-8", "replace")

    def log_size(self, name: str) -> int:
        return sum(path.stat().st_size for path in self._logs(name) if path.is_file())

    def last_exit(self, name: str) -> str:
        """How the program ended last, in supervisord's words: `exit status 3`, `terminated by SIGSEGV`; or ""."""
        try:
            with (self.folder / "supervisord.log").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 65536))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return ""
        found = re.findall(rf" exited: {re.escape(name)} \(([^;)]+)", text)
        return found[-1] if found else ""

    def file(self, name: str) -> Path:
        return self.folder / "programs" / f"{name}.json"

    def check_command(self, name: str, timeout: float) -> Command:
        """The program's health check, with the program's own environment and directory."""
        return Command(
            (sys.executable, "-I", "-S", str(LAUNCHER), str(self.file(name)), "check"), timeout=timeout, changes=False
        )

    # --- how ---

    def _known(self) -> dict[str, str]:
        try:
            return dict(json.loads((self.folder / "daemon.json").read_text()))
        except (OSError, ValueError):
            return {}

    def _spawn(self) -> None:
        for _ in range(5):
            port, password = free_port(), secrets.token_urlsafe(24)
            self.on.write(str(self.folder / "supervisord.conf"), _configuration(port, password).encode(), 0o600)
            result = self.on.run(
                Command(("env", "-i", *_environment(self.root), sys.executable, "-m", "supervisor.supervisord",
                         "-c", "supervisord.conf"), cwd=str(self.folder), timeout=60, secrets=(password,))
            )  # fmt: skip
            if result.ok:
                known = {"root": str(self.root), "port": str(port), "password": password}
                self.on.write(str(self.folder / "daemon.json"), json.dumps(known).encode(), 0o600)
                return
            if b"already listening" not in result.stderr + result.stdout:
                break
        raise Unavailable(
            f"the process supervisor does not start in {self.folder}",
            remedy=f"Look at {self.folder / 'supervisord.log'}; ikoma-play needs the package supervisor beside it.",
            evidence=last_lines(result),
        )

    def _stop(self, name: str) -> None:
        program = self.program(name)
        patience = (program.patience if program else 10) + PATIENCE
        self._call("stopProcess", name, True, accept=("NOT_RUNNING", "BAD_NAME"), patience=patience)
        # What it forked into a process group of its own would keep its port.
        sandbox.end_processes([self.root], name)

    def _logs(self, name: str) -> tuple[Path, Path]:
        return self.folder / "logs" / f"{name}.log.1", self.folder / "logs" / f"{name}.log"

    def _forget(self, name: str) -> None:
        for path in (self.folder / "conf.d" / f"{name}.conf", self.file(name)):
            path.unlink(missing_ok=True)
        for path in (self.folder / "logs").glob(f"{name}.log*"):
            path.unlink(missing_ok=True)

    def _call(self, method: str, *arguments: Any, accept: Sequence[str] = (), patience: float = PATIENCE) -> Any:
        """One call of the daemon; None for a fault that is accepted. Raises Unavailable."""
        import xmlrpc.client
        from http.client import HTTPException

        known = self._known()
        if not known:
            raise Unavailable(
                f"the process supervisor of {self.root} is not running", remedy="Start it: ikoma-play exec platform.up"
            )
        url = f"http://ikoma:{known['password']}@127.0.0.1:{known['port']}/RPC2"
        proxy = xmlrpc.client.ServerProxy(url, transport=_patient(patience), allow_none=True)
        try:
            with proxy:
                return getattr(proxy.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            word = fault.faultString.partition(":")[0]
            if word in accept:
                return None
            raise Unavailable(
                f"the process supervisor refused {method}{' of ' + str(arguments[0]) if arguments else ''}: "
                f"{fault.faultString}",
                remedy=f"Look at {self.folder / 'supervisord.log'}.",
            ) from None
        except (OSError, HTTPException, xmlrpc.client.Error) as error:
            cause = type(error).__name__ if isinstance(error, xmlrpc.client.ProtocolError) else str(error)
            raise Unavailable(
                f"the process supervisor of {self.root} does not answer on 127.0.0.1:{known['port']}: {cause}",
                remedy="Start it anew: ikoma-play exec platform.up",
            ) from None


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _patient(seconds: float) -> Any:
    import http.client
    import xmlrpc.client

    class Patient(xmlrpc.client.Transport):
        def make_connection(self, host: Any) -> http.client.HTTPConnection:
            connection = super().make_connection(host)
            connection.timeout = seconds
            return connection

    return Patient()


def _environment(root: Path) -> Iterator[str]:
    for name in _INHERITED:
        if name in os.environ:
            yield f"{name}={os.environ[name]}"
    yield f"{sandbox.MARK}={root}"
    # Through the environment, since the supervisor's own format cannot hold every path.
    launch = (sys.executable, "-I", "-S", str(LAUNCHER))
    yield f"IKOMA_LAUNCH={shlex.join(launch)}"
    yield f"IKOMA_PROGRAMS={shlex.quote(str(root / 'supervisor' / 'programs'))}"


def _configuration(port: int, password: str) -> str:
    return f"""\
[supervisord]
logfile=supervisord.log
logfile_maxbytes=1MB
logfile_backups=1
pidfile=supervisord.pid
identifier=ikoma
childlogdir=logs
nocleanup=true
minfds=256
minprocs=32

[inet_http_server]
port=127.0.0.1:{port}
username=ikoma
password={password}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[include]
files=conf.d/*.conf
"""


def _section(program: Program) -> str:
    restart = {"always": "true", "failure": "unexpected", "never": "false"}[program.restart]
    grouped = "true" if program.group else "false"
    return f"""\
[program:{program.name}]
command=%(ENV_IKOMA_LAUNCH)s %(ENV_IKOMA_PROGRAMS)s/{program.name}.json
autostart=false
autorestart={restart}
startsecs={program.settle}
startretries={0 if program.restart == "never" else 100}
stopsignal={program.stop_signal}
stopwaitsecs={program.patience}
stopasgroup={grouped}
killasgroup={grouped}
redirect_stderr=true
stdout_logfile=logs/{program.name}.log
stdout_logfile_maxbytes=5MB
stdout_logfile_backups=1
"""


def _state(found: Mapping[str, Any]) -> State:
    return State(
        found["name"], found["statename"], found["pid"], float(found["start"]), found["exitstatus"],
        found["spawnerr"] or found["description"],
    )  # fmt: skip
