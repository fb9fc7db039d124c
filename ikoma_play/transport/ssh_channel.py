"""A channel that never speaks of itself after it has said that it is closed.

paramiko settles what to send under the channel's lock and sends it after; when the other side closes just
between, the end or the data goes out behind our own CLOSE, and OpenSSH ends the whole connection for it
("packet referred to nonexistent channel"). Here a CLOSE waits for what is being sent.
"""

from __future__ import annotations

from typing import Any

from paramiko import Channel, Message, common

from .ssh_inlet import Inlet

STANDARD_ERROR = 1  # RFC 4254, 5.2


class OrderedChannel(Channel):
    """paramiko's channel, whose CLOSE is the last thing said of it."""

    transport: Any

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.inlet: Inlet | None = None  # where what comes goes to, in place of the channel's buffers
        self._sending = 0  # messages settled and on their way
        self._owed: list[Message] = []  # what closes the channel, once they are sent

    def shutdown(self, how: int) -> None:
        if how in (0, 2):
            self.eof_received = True
        if how in (1, 2):
            with self.lock:
                message = self._send_eof()  # type: ignore[attr-defined]
                self._sending += message is not None
            if message is not None:
                self._deliver(message)

    def close(self) -> None:
        with self.lock:
            if not self.active or self.closed:
                return
            messages = self._closing()
        self._tell(messages)

    def _send(self, data: bytes, message: Message) -> int:
        with self.lock:
            if self.closed:
                raise OSError("the channel is closed")
            size: int = self._wait_for_send_window(len(data))  # type: ignore[attr-defined]
            if size == 0:
                return 0
            message.add_string(data[:size])
            self._sending += 1
        self._deliver(message)
        return size

    def _feed(self, message: Message) -> None:
        if self.inlet is None:
            super()._feed(message)  # type: ignore[misc]
        else:
            self.inlet.feed(0, message.get_binary())

    def _feed_extended(self, message: Message) -> None:
        if self.inlet is None:
            super()._feed_extended(message)  # type: ignore[misc]
        elif message.get_int() == STANDARD_ERROR:
            self.inlet.feed(1, message.get_binary())

    def consumed(self, size: int) -> None:
        """As many bytes were taken from the inlet; the other side may send more."""
        room: int = self._check_add_window(size)  # type: ignore[attr-defined]
        if room:
            message = Message()
            message.add_byte(common.cMSG_CHANNEL_WINDOW_ADJUST)
            message.add_int(self.remote_chanid)
            message.add_int(room)
            self.transport._send_user_message(message)

    def _handle_close(self, _: Any) -> None:
        with self.lock:
            messages = self._closing()
            self.transport._unlink_channel(self.chanid)
        self._tell(messages)

    def _closing(self) -> list[Message]:
        """What is to be said now to close the channel; nothing while something else is on its way."""
        messages = [message for message in self._close_internal() if message is not None]  # type: ignore[attr-defined]
        if not self._sending:
            return messages
        self._owed += messages
        return []

    def _deliver(self, message: Message) -> None:
        try:
            self.transport._send_user_message(message)
        finally:
            with self.lock:
                self._sending -= 1
                owed: list[Message] = []
                if not self._sending:
                    owed, self._owed = self._owed, []
        self._tell(owed)

    def _tell(self, messages: list[Message]) -> None:
        # Not under the lock: while keys are exchanged anew, sending waits, and its thread needs the lock.
        for message in messages:
            self.transport._send_user_message(message)
