"""What comes from a shell, handed from the connection's thread to the one that waits for it."""

from __future__ import annotations

import threading

from .framing import SEPARATOR

MUCH = 64 * 2**10  # bytes that are not left lying, however little whoever waits wants to know of them
Streams = tuple[bytes, bytes]  # standard output, standard error
NOTHING: Streams = (b"", b"")


class Inlet:
    """Two streams. Whoever waits is woken by whatever comes; under `await_end` only once both streams may have come
    to a mark, since each time costs as much as a packet."""

    def __init__(self) -> None:
        self._came: tuple[list[bytes], list[bytes]] = ([], [])
        self._size = 0
        self._marked = [True, True]
        self._lock = threading.Lock()
        self._gate = threading.Lock()  # open when there is something to look at
        self._gate.acquire()

    def await_end(self) -> None:
        self._marked = [False, False]

    def await_all(self) -> None:
        self._marked = [True, True]

    def feed(self, stream: int, data: bytes) -> None:
        with self._lock:
            self._came[stream].append(data)
            self._size += len(data)
            if SEPARATOR in data:
                self._marked[stream] = True
            due = self._size >= MUCH or all(self._marked)
        if due:
            self.set()

    def taken(self) -> Streams:
        """What has come."""
        if not self._size:
            return NOTHING
        with self._lock:
            came, self._came = self._came, ([], [])
            self._size = 0
        return b"".join(came[0]), b"".join(came[1])

    def wait(self, seconds: float) -> bool:
        """Whether something is to be looked at within this time: it is taken, or the channel has ended."""
        return self._gate.acquire(timeout=seconds)

    # What a channel's own buffers do when they end: the part of an event.

    def set(self) -> None:
        if self._gate.locked():
            try:
                self._gate.release()
            except RuntimeError:  # another has opened it
                return

    def clear(self) -> None:
        """The one who waits closes the gate, by passing through it."""
