"""One connection to one host: opened when first needed, opened anew when it was lost, every channel on it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from random import uniform
from typing import Any, TypeVar

import paramiko
from paramiko import Channel

from ..errors import IkomaError, Unreachable
from .known_hosts import KnownHosts
from .ssh_authentication import authenticate
from .ssh_channel import OrderedChannel
from .ssh_dial import MOST, Dialled, dial, said
from .ssh_host_keys import demand_known
from .ssh_proxy import ProxyProcess
from .ssh_settings import Settings
from .ssh_wire import Wire

C = TypeVar("C", bound=Channel)
KEEPALIVE = 20.0  # seconds of silence after which something is sent, for the sake of routers between
BUSY_TRIES = 4  # a host that has too many connections in the making closes some at once
_handshakes = threading.BoundedSemaphore(MOST)


class Connection:
    """Threads may share it. `round_trips` counts the questions that waited for an answer."""

    def __init__(self, settings: Settings, jumps: Jumps | None = None, dialled: Dialled | None = None) -> None:
        self.settings = settings
        self.round_trips = 0
        self.opened = 0  # how many times
        self.users: list[Any] = []  # each user's shells on this connection, and Perl: what has sessions
        self._jumps = jumps or Jumps()
        self._dialled = dialled
        self._wire: Wire | None = None
        self._way: Any = None  # what the wire runs over and must be let go with it
        self._lock = threading.RLock()
        self._refused: IkomaError | None = None  # why it could not be opened before it was asked for
        self._closed = False

    @property
    def alive(self) -> bool:
        return self._wire is not None and self._wire.is_active()

    def wire(self) -> Wire:
        """The open connection. Raises Unreachable."""
        with self._lock:
            if self._closed:
                raise Unreachable(f"{self.settings.name}: the connection was closed")
            if self._refused is not None:
                refused, self._refused = self._refused, None
                raise refused
            if self._wire is None or not self._wire.is_active():
                self._drop()
                self._wire = self._opened()
                self.opened += 1
            return self._wire

    def begin(self) -> None:
        """Open it in the background; whoever asks for it first waits, and is told what went wrong."""
        threading.Thread(target=self._begun, daemon=True, name="ikoma-connect").start()

    def _begun(self) -> None:
        with self._lock, suppress(Exception):  # what nobody foresaw comes again to the one who asks
            if self._wire is None and not self._closed:
                try:
                    self.wire()
                except IkomaError as error:
                    self._refused = error

    def session(self) -> tuple[Wire, OrderedChannel]:
        """A new session channel. Raises Unreachable; paramiko.ChannelException when the host has too many open."""
        return self._channel(lambda wire: wire.open_session(timeout=self.settings.timeouts.authentication))

    def to_tcp(self, address: str, port: int) -> Channel:
        timeout = self.settings.timeouts.authentication
        return self._channel(lambda wire: wire.open_tcp(address, port, timeout))[1]

    def to_unix(self, path: str) -> Channel:
        timeout = self.settings.timeouts.authentication
        return self._channel(lambda wire: wire.open_unix(path, timeout))[1]

    def _channel(self, open_on: Callable[[Wire], C]) -> tuple[Wire, C]:
        for last in (False, True):
            wire = self.wire()
            try:
                self.round_trips += 1
                return wire, open_on(wire)
            except paramiko.ChannelException:
                raise
            except (paramiko.SSHException, EOFError, OSError) as error:
                if "timeout" in str(error).lower():
                    raise Unreachable(
                        f"{self.settings.name}: {self.settings.place} has not answered for "
                        f"{self.settings.timeouts.authentication:g} s",
                        remedy="The host may be down or overloaded, or the network cut: look at it, then resume.",
                    ) from None
                if wire.is_active():  # the host's answer to this question, given to another who asked as well
                    raise paramiko.ChannelException(2, "Connect failed") from None
                # It may have been lost long ago and noticed only now: nothing was asked of it yet.
                if last:
                    raise Unreachable(
                        f"{self.settings.name}: the connection to {self.settings.place} was lost: {said(error)}"
                    ) from None
        raise AssertionError("unreachable")

    def watch(self, wire: Wire) -> Callable[[], None]:
        """To be called whenever the host was silent for a while; asks whether it is there.

        Raises Unreachable after `alive_count` questions without an answer."""
        asked: list[float] = []
        timeouts = self.settings.timeouts

        def patience() -> None:
            now = time.monotonic()
            if not wire.is_active():
                return  # the channel knows
            if asked and wire.heard >= asked[0]:
                asked.clear()
            if len(asked) >= timeouts.alive_count:
                silent = now - asked[0]
                wire.close()
                raise Unreachable(
                    f"{self.settings.name}: {self.settings.place} has not answered for {silent:.0f} s",
                    remedy="The host may be down or overloaded, or the network cut: look at it, then resume the run.",
                )
            asked.append(now)
            with suppress(paramiko.SSHException, OSError):
                wire.probe()

        return patience

    def lose(self) -> None:
        """Give the open connection up; the next question opens another."""
        with self._lock:
            self._drop()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._drop()

    # --- how ---

    def _drop(self) -> None:
        if self._wire is not None:
            with suppress(Exception):
                self._wire.close()
        if self._way is not None:
            with suppress(Exception):
                self._way.close()
        self._wire = self._way = None

    def _opened(self) -> Wire:
        for attempt in range(1, BUSY_TRIES + 1):
            try:
                with _handshakes if self.settings.jump is None else _no_limit():
                    return self._opened_once()
            except _Busy as busy:
                if attempt == BUSY_TRIES:
                    raise busy.error from None
                time.sleep(uniform(0.2, 0.6) * attempt)
        raise AssertionError("unreachable")

    def _opened_once(self) -> Wire:
        settings = self.settings
        self._way, sock = self._road()
        known = KnownHosts(settings.known_hosts)
        wire = Wire(sock, known.wanted_types(settings.known_name))
        wire.banner_timeout = settings.timeouts.banner
        wire.handshake_timeout = settings.timeouts.banner
        try:
            self._shake_hands(wire)
            demand_known(wire, settings, known)
            authenticate(wire, settings)
        except BaseException:
            with suppress(Exception):
                wire.close()
            self._drop()
            raise
        wire.set_keepalive(int(KEEPALIVE))
        return wire

    def _shake_hands(self, wire: Wire) -> None:
        settings = self.settings
        begun = time.monotonic()
        try:
            wire.start_client(timeout=settings.timeouts.banner)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self._no_handshake(wire, time.monotonic() - begun, error) from None
        if not wire.initial_kex_done:
            raise self._no_handshake(wire, time.monotonic() - begun, None)

    def _no_handshake(self, wire: Wire, seconds: float, error: Exception | None) -> Exception:
        settings = self.settings
        where = f"{settings.name}: {settings.address}:{settings.port}"
        if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
            return Unreachable(
                f"{where} and we have no method in common: {said(error)}",
                remedy="Its SSH server is very old or restricted: update it, or allow a method that is safe today.",
            )
        late = seconds >= settings.timeouts.banner - 0.5
        if wire.remote_version:
            return Unreachable(f"{where} broke off the first talk ({'no answer' if late else said(error)})")
        if late:
            return Unreachable(
                f"{where} accepts connections but says nothing: no SSH banner within {settings.timeouts.banner:g} s",
                remedy="The host may be overloaded or hang, or another program may have this port.",
            )
        refusal = Unreachable(
            f"{where} closed the connection before it said a word of SSH",
            remedy="The host may have too many connections in the making (MaxStartups), or a firewall or "
            "another program has this port.",
        )
        return _Busy(refusal)

    def _road(self) -> tuple[Any, Any]:
        """What is to be closed later, and what SSH runs over."""
        settings = self.settings
        if settings.proxy_command is not None:
            process = ProxyProcess(settings)
            return process, process.socket
        if settings.jump is not None:
            return self._jumps.road(settings)
        dialled, self._dialled = self._dialled, None
        return None, dial(settings) if dialled is None else dialled.result()


class _Busy(Exception):
    def __init__(self, error: Unreachable) -> None:
        super().__init__(error.message)
        self.error = error


class _no_limit:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *raised: object) -> None:
        pass


class Jumps:
    """Connections to jump hosts, shared by all the hosts behind them and closed with the last one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Settings, list[Any]] = {}  # the connection and how many use it

    def road(self, settings: Settings) -> tuple[Any, Channel]:
        """A channel through the jump host to where the settings lead. Raises Unreachable."""
        jump = settings.jump
        assert jump is not None
        with self._lock:
            shared = self._open.setdefault(jump, [Connection(jump, self), 0])
            shared[1] += 1
        use = _Use(self, jump)
        try:
            return use, shared[0].to_tcp(settings.address, settings.port)
        except paramiko.ChannelException as error:
            use.close()
            raise Unreachable(
                f"{settings.name}: the jump host {jump.place} cannot reach {settings.address}:{settings.port}: "
                f"{said(error.text)}",
                remedy="Check the address as seen from the jump host, and that it may forward (AllowTcpForwarding).",
            ) from None
        except IkomaError as error:
            use.close()
            raise Unreachable(
                f"{settings.name}: the jump host before it cannot be reached: {error.message}",
                remedy=error.remedy,
                evidence=error.evidence,
            ) from None

    def let_go(self, jump: Settings) -> None:
        with self._lock:
            shared = self._open[jump]
            shared[1] -= 1
            if shared[1]:
                return
            del self._open[jump]
        shared[0].close()


class _Use:
    """One host's share in a jump host."""

    def __init__(self, jumps: Jumps, jump: Settings) -> None:
        self._jumps, self._jump = jumps, jump
        self._open = True

    def close(self) -> None:
        if self._open:
            self._open = False
            self._jumps.let_go(self._jump)
