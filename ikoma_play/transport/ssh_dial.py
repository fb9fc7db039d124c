"""The TCP connection that SSH runs over. It is begun before that which speaks SSH on it is loaded."""

from __future__ import annotations

import socket
import threading
from typing import Any

from ..errors import Unreachable
from .ssh_settings import Settings

AT_ONCE = 2**16  # bytes
MOST = 16  # hosts that are connected to at the same time; more only make each of them late


def dial(settings: Settings) -> socket.socket:
    """A connection to where the settings lead, jump hosts and ProxyCommand aside. Raises Unreachable."""
    address: Any = settings.address
    if address.isascii():
        address = address.encode()  # for text Python loads what knows the world's alphabets
    try:
        sock = socket.create_connection((address, settings.port), settings.timeouts.connect)
    except OSError as error:
        raise _no_connection(settings, error) from None
    return _tuned(sock, settings.timeouts.alive * settings.timeouts.alive_count)


class Dialled:
    """A connection on its way, in a thread of its own: the address of a name may be long in coming."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._came: socket.socket | Exception | None = None
        self._thread = threading.Thread(target=self._dial, daemon=True, name="ikoma-dial")
        self._thread.start()

    def result(self) -> socket.socket:
        """The connection when it is there. Raises what `dial` raised."""
        self._thread.join()
        if isinstance(self._came, Exception):
            raise self._came
        assert self._came is not None
        return self._came

    def _dial(self) -> None:
        try:
            self._came = dial(self._settings)
        except Exception as error:  # for the one who asks
            self._came = error


class Prompt(socket.socket):
    """Confirms at once what it gets. A server's own delay of small packets (Nagle) waits for that, so that
    a late confirmation costs 40 ms; the system forgets the wish from time to time, so it is said again.

    paramiko takes each packet in pieces: what has come meanwhile is read with the first of them."""

    _ahead = b""

    def ready(self, size: int) -> bytes:
        """As many bytes, if they have come with earlier ones; else none."""
        if len(self._ahead) < size:
            return b""
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data

    def recv(self, size: int, flags: int = 0) -> bytes:
        if not self._ahead:
            self._ahead = super().recv(AT_ONCE, flags)
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data


def _tuned(sock: socket.socket, seconds_without_answer: float) -> socket.socket:
    """No waiting for more to send or to confirm, and a peer that stops answering is noticed by the system."""
    if hasattr(socket, "TCP_QUICKACK"):
        sock = Prompt(sock.family, sock.type, sock.proto, sock.detach())
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", max(1, int(seconds_without_answer / 2))),
        ("TCP_KEEPINTVL", max(1, int(seconds_without_answer / 6))),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", max(1000, int(seconds_without_answer * 1000))),
    ):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return sock


def _no_connection(settings: Settings, error: OSError) -> Unreachable:
    """Why there is no TCP connection: each cause has its own words and its own remedy."""
    where = f"{settings.name}: {settings.address}:{settings.port}"
    if isinstance(error, socket.gaierror):
        return Unreachable(
            f"{settings.name}: there is no address for the name {settings.address}",
            remedy="Check the name, or give the address itself (ansible_host).",
        )
    if isinstance(error, ConnectionRefusedError):
        return Unreachable(
            f"{where} refuses the connection: nothing listens there",
            remedy="Start the SSH server of the host, or correct the port (ansible_port).",
        )
    if isinstance(error, TimeoutError):
        return Unreachable(
            f"{where} does not answer within {settings.timeouts.connect:g} s",
            remedy="The host may be down, or a firewall in between: check address and port (ansible_host, "
            "ansible_port); ansible_timeout gives it more time.",
        )
    return Unreachable(
        f"{where} cannot be reached: {said(error.strerror or error)}", remedy="Check the network and the address."
    )


def said(error: object) -> str:
    """What a library said went wrong, as the end of a sentence."""
    return str(error).strip().rstrip(".").lower() or "the host closed it"
