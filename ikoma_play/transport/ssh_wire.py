"""paramiko's transport with what it lacks: host keys chosen by what is known, certificates kept, answers
to keepalives noticed, channels to unix sockets, and programs started without waiting for a confirmation."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

import paramiko
from paramiko import Channel, Message, common, packet

from .. import __version__
from .host_certificate import CERTIFIED
from .ssh_channel import OrderedChannel
from .ssh_dial import Prompt

logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False

OUR_NAME = ("127.0.0.1", 0)

__all__ = ["CERTIFIED", "Wire"]


class Wire(paramiko.Transport):
    """One SSH connection. `host_key_blob` is what the server showed: a key, or a certificate of one."""

    _CLIENT_ID = f"ikoma_play_{__version__}"  # for the servers' logs; RFC 4253 knows no hyphen in it

    # Authenticated encryption in one pass is the fastest that paramiko has.
    _preferred_ciphers = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", *paramiko.Transport._preferred_ciphers)  # type: ignore[attr-defined]

    # paramiko calls its own channel's methods from this table, past any override.
    _channel_handler_table = {  # noqa: RUF012
        **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]
        common.MSG_CHANNEL_CLOSE: lambda channel, message: channel._handle_close(message),
        common.MSG_CHANNEL_DATA: lambda channel, message: channel._feed(message),
        common.MSG_CHANNEL_EXTENDED_DATA: lambda channel, message: channel._feed_extended(message),
    }

    def __init__(self, sock: Any, wanted_host_keys: Sequence[str] = ()) -> None:
        super().__init__(sock)
        self.packetizer = _Packets(sock)
        self.host_key_blob = b""
        self.heard = time.monotonic()  # when the server last answered a probe
        self._wanted_host_keys = tuple(wanted_host_keys)

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        """The kinds of host keys, what is known of this host first."""
        offered = tuple(super().preferred_keys)
        first = tuple(name for name in self._wanted_host_keys if name in offered)
        return first + tuple(name for name in offered if name not in first)

    def _verify_key(self, host_key: bytes, sig: bytes) -> None:
        super()._verify_key(host_key, sig)  # type: ignore[misc]
        self.host_key_blob = host_key

    def _log(self, *_: Any) -> None:
        """What paramiko has to say about a connection, our errors say."""

    def _parse_debug(self, m: Message) -> None:
        """Nor does anybody read what the server says for those who look for its faults."""

    # --- is it still there? ---

    def probe(self) -> None:
        """Ask for any answer; `heard` tells when one came."""
        message = Message()
        message.add_byte(common.cMSG_GLOBAL_REQUEST)
        message.add_string("keepalive@openssh.com")
        message.add_boolean(True)
        self._send_user_message(message)  # type: ignore[attr-defined]

    def _parse_request_success(self, m: Message) -> None:
        self.heard = time.monotonic()
        super()._parse_request_success(m)  # type: ignore[misc]

    def _parse_request_failure(self, m: Message) -> None:
        self.heard = time.monotonic()
        super()._parse_request_failure(m)  # type: ignore[misc]

    # --- channels ---

    def start_program(self, channel: Channel, line: str) -> None:
        """Have the user's login shell run a line, without waiting to hear that it does: what it prints tells."""
        message = Message()
        message.add_byte(common.cMSG_CHANNEL_REQUEST)
        message.add_int(channel.remote_chanid)
        message.add_string("exec")
        message.add_boolean(False)
        message.add_string(line)
        self._send_user_message(message)  # type: ignore[attr-defined]

    def open_session(self, *_: Any, timeout: float | None = None, **__: Any) -> OrderedChannel:
        """A channel for a program."""
        return self._opened("session", timeout, ())

    def open_tcp(self, address: str, port: int, timeout: float) -> Channel:
        return self._opened("direct-tcpip", timeout, (address, port, *OUR_NAME))

    def open_unix(self, path: str, timeout: float) -> Channel:
        """A channel to a unix socket of the host; behind its path stand two fields that OpenSSH reserves."""
        return self._opened("direct-streamlocal@openssh.com", timeout, (path, "", 0))

    def _opened(self, kind: str, timeout: float | None, about: Sequence[str | int]) -> OrderedChannel:
        """An open channel (RFC 4254, 5.1). Raises SSHException."""
        window, packet = self.default_window_size, self.default_max_packet_size
        with self.lock:
            number = self._next_channel()  # type: ignore[attr-defined]
            message = Message()
            message.add_byte(common.cMSG_CHANNEL_OPEN)
            message.add_string(kind)
            for each in (number, window, packet, *about):
                message.add_int(each) if isinstance(each, int) else message.add_string(each)
            channel = OrderedChannel(number)
            self._channels.put(number, channel)  # type: ignore[attr-defined]
            self.channel_events[number] = opened = threading.Event()
            self.channels_seen[number] = True
            channel._set_transport(self)  # type: ignore[attr-defined]
            channel._set_window(window, packet)  # type: ignore[attr-defined]
        self._send_user_message(message)  # type: ignore[attr-defined]
        if not opened.wait(self.channel_timeout if timeout is None else timeout) and self.is_active():
            raise paramiko.SSHException("Timeout opening channel.")
        found: OrderedChannel | None = self._channels.get(number)  # type: ignore[attr-defined]
        if found is not None and self.is_active():
            return found
        raise self.get_exception() or paramiko.SSHException("Unable to open channel.")


class _Packets(packet.Packetizer):
    """paramiko's packets, with a deadline for the handshake in place of a thread that waits for it, and without asking
    the socket for what has come with the part of a packet before."""

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self._until: float | None = None
        self._sock = sock if isinstance(sock, Prompt) else None
        self._greeted = False  # what the greeting's reader took too much of is used up

    def start_handshake(self, timeout: float) -> None:
        self._until = time.monotonic() + timeout

    def handshake_timed_out(self) -> bool:
        return self._until is not None and time.monotonic() > self._until

    def complete_handshake(self) -> None:
        self._until = None
        self._greeted = True

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        if self._greeted and self._sock is not None and (data := self._sock.ready(n)):
            return data
        return super().read_all(n, check_rekey)
