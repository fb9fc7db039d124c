"""Events told to observers: one after the other, several in one go where there are several to tell."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from threading import Event as Flag
from threading import RLock, Thread

from ..events import Event, Observer

PATIENCE = 0.01  # seconds in which others may have something to tell as well: about what a host takes to answer


class Telling:
    """Whoever waits tells what is due by then. What nobody waits for is told along with it, or a moment later by a
    thread of its own: for the observers (a transaction of the journal, a line in the audit log) one go is dear, and
    several events in it cost little more.

    An observer that fails (no disk for the journal, nobody at the other end of the pipe) is told nothing further; its
    `error` is kept, and `stopping` set. An observer's `many` gets several events at once; its `settle` waits for what
    must be on a disk, which threads do together."""

    def __init__(self, observers: Sequence[Observer], stopping: Flag) -> None:
        self.error: Exception | None = None
        self._observers = list(observers)
        self._stopping = stopping
        self._due: deque[Event] = deque()
        self._lock = RLock()
        self._left = Flag()  # something is due that nobody waits for
        self._teller: Thread | None = None
        self._ended = False

    def __bool__(self) -> bool:
        return bool(self._observers)

    def tell(self, event: Event, wait: bool = True) -> None:
        """Tell of an event. Without `wait` it is told within a moment."""
        self._due.append(event)
        if wait:
            self.catch_up()
        elif not self._left.is_set():
            self._left.set()
            if self._teller is None:
                self._begin()

    def catch_up(self) -> None:
        """Tell what is due."""
        with self._lock:
            events = [self._due.popleft() for _ in range(len(self._due))]
            for observer in self._observers if events else ():
                try:
                    if len(events) > 1 and (many := getattr(observer, "many", None)) is not None:
                        many(events)
                    else:
                        for event in events:
                            observer(event)
                except Exception as error:
                    self._lose(observer, error)

    def settle(self) -> None:
        """Wait until what was told is where the observers want it."""
        for observer in self._observers:
            if (settle := getattr(observer, "settle", None)) is not None:
                try:
                    settle()
                except Exception as error:
                    self._lose(observer, error)

    def end(self) -> None:
        """Tell what is due; nothing comes after it."""
        self.catch_up()
        self._ended = True
        self._left.set()

    def _begin(self) -> None:
        with self._lock:
            if self._teller is None:
                self._teller = Thread(target=self._tell_what_is_left, daemon=True, name="ikoma-telling")
                self._teller.start()

    def _tell_what_is_left(self) -> None:
        while not self._ended:
            self._left.wait()
            time.sleep(PATIENCE)
            self._left.clear()
            self.catch_up()

    def _lose(self, observer: Observer, error: Exception) -> None:
        with self._lock:
            self._observers = [each for each in self._observers if each is not observer]
            self.error = self.error or error
            self._stopping.set()
