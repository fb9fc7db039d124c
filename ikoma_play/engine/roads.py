"""The transports of a run: opened when first needed, kept, closed at its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any, BinaryIO

from msgspec.structs import replace

from ..errors import TimedOut
from ..language.templating import Variables
from ..model import Command, Host, Outcome, Progress, Result
from ..transport.base import Item, Put, Stat, Transport

Connect = Callable[[Host], Transport]
GRACE = 1.0  # seconds in which a command that was stopped at the deadline is cleared away
RUNNER = ("localhost", "127.0.0.1", "::1")

# Tools that work on the runner alone, so that no host is connected to for their sake.
RUNNERS_OWN = frozenset(
    ("debug", "set_fact", "include_vars", "assert", "fail", "pause", "approve", "add_host", "group_by", "include_tasks",
     "include_role", "meta", "validate_argument_spec")
)  # fmt: skip


class Roads:
    """One road for each host, and one for each pair of hosts where a step is delegated."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._open: dict[tuple[str, ...], Transport] = {}
        self._lock = Lock()

    def road(self, key: tuple[str, ...], host: Callable[[], Host], dry: bool) -> Transport:
        """The road kept under `key`; a dry one stands on the same connection. Raises Unreachable."""
        found = self._open.get((*key, "dry") if dry else key)
        if found is not None:
            return found
        if not dry:
            return self._keep(key, self._connect(host()))
        from ..transport.dry import DryTransport

        return self._keep((*key, "dry"), DryTransport(self.road(key, host, False)))

    def as_user(
        self, key: tuple[str, ...], road: Transport, user: str, method: str, password: str | None, flags: str
    ) -> Transport:
        """The road as another user of the host, kept too."""
        full = (*key, "dry" if road.dry else "", user, method, flags)
        return self._open.get(full) or self._keep(full, road.become(user, method, password, flags))

    def forget(self, key: tuple[str, ...]) -> None:
        """Close what leads to a host, so that the next step opens it again."""
        for full in [full for full in self._open if full[: len(key)] == key]:
            with suppress(Exception):
                self._open.pop(full).close()

    def close(self) -> None:
        """Close every road; one that fails to close keeps no other from it."""
        for road in reversed(list(self._open.values())):
            with suppress(Exception):
                road.close()
        self._open.clear()

    def _keep(self, key: tuple[str, ...], road: Transport) -> Transport:
        with self._lock:
            self._open[key] = road
        return road


class StepRoad(Transport):
    """A road for the length of one step: its environment in every command, and its deadline."""

    def __init__(
        self, inner: Transport, env: Mapping[str, str], timeout: float | None, detached: float | None = None
    ) -> None:
        self.inner: Transport = inner
        self.host = inner.host
        self.dry = inner.dry
        self.local = inner.local
        self.at_once = inner.at_once
        self.detached = detached
        self.env = env
        self.timeout = timeout
        self.until = None if timeout is None else monotonic() + timeout

    @property
    def progress(self) -> Callable[[Progress], None]:
        return self.inner.progress

    @progress.setter
    def progress(self, receiver: Callable[[Progress], None]) -> None:
        self.inner.progress = receiver

    @property
    def round_trips(self) -> int:
        return self.inner.round_trips

    def left(self) -> float | None:
        """Seconds until the deadline; raises TimedOut when it has passed."""
        if self.until is None:
            return None
        left = self.until - monotonic()
        if left <= 0:
            raise self.overdue()
        return left

    def overdue(self) -> TimedOut:
        return TimedOut(
            f"the step took longer than its timeout of {self.timeout:g} s",
            remedy="Give it a longer timeout, or find out what it waits for.",
        )

    def run(self, command: Command, on_output: Callable[[bytes], None] | None = None) -> Result:
        left = self.left()
        timeout = command.timeout if left is None else min(left, command.timeout or left)
        env = {**self.env, **command.env} if self.env else command.env
        try:
            return self.inner.run(replace(command, env=env, timeout=timeout), on_output)
        except TimedOut:
            self.left()  # ours, not the command's own
            raise

    def read(self, path: str) -> bytes:
        self.left()
        return self.inner.read(path)

    def write(self, path: str, data: bytes | BinaryIO, mode: int | None = None) -> None:
        self.left()
        self.inner.write(path, data, mode)

    def put(self, path: str, data: bytes, mode: int | None = None) -> Put | None:
        self.left()
        return self.inner.put(path, data, mode)

    def stat(self, path: str, follow: bool = False) -> Stat | None:
        self.left()
        return self.inner.stat(path, follow)

    def scan(self, path: str, recurse: bool = False) -> Sequence[Stat]:
        self.left()
        return self.inner.scan(path, recurse)

    def tunnel(self, address: str, port: int) -> AbstractContextManager[tuple[str, int]]:
        self.left()
        return self.inner.tunnel(address, port)

    def one_step(self) -> AbstractContextManager[None]:
        return self.inner.one_step()

    def close(self) -> None:
        """The road itself stays open: others use it."""

    def become(self, user: str, method: str = "sudo", password: str | None = None, flags: str = "") -> Transport:
        return StepRoad(self.inner.become(user, method, password, flags), self.env, self.left())

    def send(self, source: Path, path: str, mode: int | None = None) -> None:
        self.left()
        self.inner.send(source, path, mode)

    def upload(self, source: Path, path: str) -> int:
        self.left()
        return self.inner.upload(source, path)

    def look(self, paths: Sequence[str]) -> Sequence[Stat | None]:
        self.left()
        return self.inner.look(paths)

    def holds(self, items: Sequence[Item]) -> Sequence[bool]:
        self.left()
        return self.inner.holds(items)

    def bring(self, items: Sequence[Item]) -> None:
        self.left()
        self.inner.bring(items)

    def mkdir(self, path: str, mode: int = 0o755) -> bool:
        self.left()
        return self.inner.mkdir(path, mode)

    def remove(self, path: str) -> bool:
        self.left()
        return self.inner.remove(path)

    def rename(self, source: str, target: str) -> None:
        self.left()
        self.inner.rename(source, target)

    def chmod(self, path: str, mode: int) -> None:
        self.left()
        self.inner.chmod(path, mode)

    def chown(self, path: str, owner: str | None = None, group: str | None = None) -> None:
        self.left()
        self.inner.chown(path, owner, group)

    def symlink(self, target: str, path: str) -> None:
        self.left()
        self.inner.symlink(target, path)


def called_in_time(function: Callable[..., Outcome], road: Transport, arguments: Mapping[str, Any]) -> Outcome:
    """What the tool returns. Where the road has a deadline, a tool that waits for something else than the host
    (a sleep, a web server) is left behind when it passes: its road then lets it do nothing more."""
    left = road.left() if isinstance(road, StepRoad) else None
    if left is None:
        return function(road, **arguments)
    came: list[Outcome | BaseException] = []

    def work() -> None:
        try:
            came.append(function(road, **arguments))
        except BaseException as error:
            came.append(error)

    thread = threading.Thread(target=work, daemon=True, name="timed step")
    thread.start()
    thread.join(left + GRACE)
    if not came:
        assert isinstance(road, StepRoad)
        raise road.overdue()
    if isinstance(came[0], BaseException):
        raise came[0]
    return came[0]


class LazyRoad(StepRoad):
    """For tools that mostly touch no host (debug, set_fact): the road is opened when they do."""

    def __init__(self, host: Host, dry: bool, timeout: float | None, open: Callable[[], Transport]) -> None:
        self.host = host
        self.dry = dry
        self.env = {}
        self.timeout = timeout
        self.until = None if timeout is None else monotonic() + timeout
        self._open_road = open
        self._road: Transport | None = None
        self._before = 0
        self._receiver = Transport.progress

    def one_step(self) -> AbstractContextManager[None]:
        return nullcontext()  # it may never be opened

    @property
    def inner(self) -> Transport:  # type: ignore[override]
        if self._road is None:
            self._road = self._open_road()
            self._road.progress = self._receiver
            self._before = self._road.round_trips
        return self._road

    @property
    def round_trips(self) -> int:
        return 0 if self._road is None else self._road.round_trips - self._before

    @property
    def progress(self) -> Callable[[Progress], None]:
        return self._receiver

    @progress.setter
    def progress(self, receiver: Callable[[Progress], None]) -> None:
        self._receiver = receiver


def way(variables: Variables) -> tuple[str, ...]:
    """What tells one road to a host from another: where its variables lead, and as whom. A step's own may differ."""
    return tuple(f"{name}={variables[name]}" for name in sorted(variables.among(_WAY)))


_WAY = frozenset(
    ("ansible_connection", "ansible_host", "ansible_ssh_host", "ansible_port", "ansible_ssh_port", "ansible_user",
     "ansible_ssh_user", "ansible_private_key_file", "ansible_ssh_private_key_file")
)  # fmt: skip


def carried(host: Host, variables: Mapping[str, Any], connection: Mapping[str, Any]) -> Host:
    """A host as its road carries it: with the connection's and the platform's variables rendered, which rank above
    what `connection` says."""
    rendered = {name: variables[name] for name in variables if name.startswith(CARRIED) and name not in _NOT_CARRIED}
    return Host(host.name, host.groups, {**connection, **rendered})


CARRIED = ("ansible_", "ikoma_")


_NOT_CARRIED = frozenset(
    [
        "ansible_facts",
        "ansible_failed_result",
        "ansible_failed_task",
        "ansible_loop",
        "ansible_play_batch",
        "ansible_play_hosts",
        "ansible_play_hosts_all",
    ]
)
