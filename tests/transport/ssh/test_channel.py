"""A channel whose two ends are closed at the same moment ends alone, not with the whole connection."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest
from paramiko.message import Message

from ikoma_play.model import Command
from ikoma_play.transport.ssh import SshTransport
from ikoma_play.transport.ssh_wire import Wire
from tests.parts.sshd import Sshd

DATA, END = bytes([94]), bytes([96])  # SSH_MSG_CHANNEL_DATA, SSH_MSG_CHANNEL_EOF (RFC 4254)


def test_both_ends_close_at_once(own: Callable[..., Sshd], monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the moment our end is settled and the moment it is sent, the other side closes the channel."""
    server = own()
    on = SshTransport(server.host())
    send = Wire._send_user_message
    with socket.create_server(("127.0.0.1", 0)) as listener:
        channel = on.connection.to_tcp("127.0.0.1", listener.getsockname()[1])
        peer, _ = listener.accept()

        def late(wire: Wire, message: Message) -> None:
            if message.asbytes()[:1] == END:
                peer.close()
                until = time.monotonic() + 10
                while not channel.closed and time.monotonic() < until:  # what cannot be written closes it
                    more = Message()
                    more.add_byte(DATA)
                    more.add_int(channel.remote_chanid)
                    more.add_string(b"x")
                    send(wire, more)
                    time.sleep(0.05)
                assert channel.closed, "the server never closed the channel, so nothing is shown"
            send(wire, message)

        monkeypatch.setattr(Wire, "_send_user_message", late)
        channel.shutdown_write()
    try:
        time.sleep(0.1)
        assert on.run(Command(("echo", "x"))).text == "x"
        assert on.connection.opened == 1, f"the connection was lost\n{server.log()}"
    finally:
        on.close()
