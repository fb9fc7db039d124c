"""A port or a unix socket of the host, brought to the runner through a channel of the connection."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import paramiko
from paramiko import Channel

from ..errors import IkomaError, StepError, Unavailable
from .ssh_connection import Connection

CHUNK = 64 * 2**10


@contextmanager
def tunnel(connection: Connection, address: str, port: int) -> Iterator[tuple[str, int]]:
    """Where on the runner it begins: for a unix socket one of our own that only this user may use, by the
    same name in a private directory; else a port of 127.0.0.1."""
    forwarding = _Forwarding(connection, address, port)
    forwarding.open_first()
    folder = None
    if address.startswith("/"):
        folder = Path(tempfile.mkdtemp(prefix="ikoma-"))  # only this user may enter it
        here = str(folder / os.path.basename(address))  # noqa: PTH119
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(here)
        listener.listen(64)
        place = here, 0
    else:
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        place = "127.0.0.1", int(listener.getsockname()[1])
    try:
        forwarding.start(listener)
        yield place
    finally:
        forwarding.stop()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


class _Forwarding:
    """A listener, and a channel for each connection that it takes."""

    def __init__(self, connection: Connection, address: str, port: int) -> None:
        self._connection = connection
        self._address, self._port = address, port
        self._ends: set[socket.socket | Channel] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._first: Channel | None = None

    def open_first(self) -> None:
        """A refusal is told now, and not by a silent hang-up later; the first one who comes gets this channel."""
        self._first = self.open_channel()

    def _next(self) -> Channel:
        with self._lock:
            first, self._first = self._first, None
        if first is not None and not first.closed and not first.eof_received:
            return first
        return self.open_channel()

    def open_channel(self) -> Channel:
        """Raises Unavailable where the host cannot or will not."""
        name = self._connection.settings.name
        place = self._address if self._address.startswith("/") else f"{self._address}:{self._port}"
        try:
            if self._address.startswith("/"):
                return self._connection.to_unix(self._address)
            return self._connection.to_tcp(self._address, self._port)
        except paramiko.ChannelException as error:
            if error.code == 1:
                option = "AllowStreamLocalForwarding" if self._address.startswith("/") else "AllowTcpForwarding"
                raise StepError(
                    f"{name}: its SSH server does not let us through to {place}",
                    remedy=f"Set {option} to yes (or local) in the host's sshd_config.",
                ) from None
            user = self._connection.settings.user
            raise Unavailable(
                f"{name}: nothing answers at {place} there",
                remedy=f"Start what should listen there, and see that {user} may use it.",
            ) from None

    def start(self, listener: socket.socket) -> None:
        self._listener = listener
        threading.Thread(target=self._serve, args=(listener,), daemon=True, name="ikoma-tunnel").start()

    def stop(self) -> None:
        assert self._listener is not None
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            ends = [*self._ends, *([self._first] if self._first is not None else [])]
        for end in ends:
            _close(end)

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                taken, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(taken,), daemon=True, name="ikoma-tunnel").start()

    def _join(self, taken: socket.socket) -> None:
        try:
            channel = self._next()
        except IkomaError:
            taken.close()
            return
        with self._lock:
            self._ends |= {taken, channel}
        try:
            outward = threading.Thread(target=_pump, args=(taken, channel), daemon=True, name="ikoma-tunnel")
            outward.start()
            _pump(channel, taken)
            outward.join()
        finally:
            with self._lock:
                self._ends -= {taken, channel}
            _close(taken)
            _close(channel)


def _pump(source: socket.socket | Channel, target: socket.socket | Channel) -> None:
    """Bytes from one end to the other until there are no more, and then the end of them."""
    with suppress(OSError, EOFError):
        while data := source.recv(CHUNK):
            target.sendall(data)
    with suppress(OSError, EOFError):
        if isinstance(target, Channel):
            target.shutdown_write()
        else:
            target.shutdown(socket.SHUT_WR)


def _close(end: socket.socket | Channel) -> None:
    if isinstance(end, socket.socket):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
    with suppress(Exception):
        end.close()
