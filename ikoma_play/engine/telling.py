"""Events told to observers: one after the other, several in one go where several threads have something to tell."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from threading import Event as Flag
from threading import RLock

from ..events import Event, Observer


class Telling:
    """Whoever comes first tells what all have to tell by then, and goes on with its own: what comes meanwhile is told
    by the next who waits.

    An observer that fails (no disk for the journal, nobody at the other end of the pipe) is told nothing further; its
    `error` is kept, and `stopping` set. An observer's `many` gets several events at once; its `settle` waits for what
    must be on a disk, which threads do together."""

    def __init__(self, observers: Sequence[Observer], stopping: Flag) -> None:
        self.error: Exception | None = None
        self._observers = list(observers)
        self._stopping = stopping
        self._due: deque[Event] = deque()
        self._waiting: deque[Event] = deque()  # one for each thread that tells what is due, or is about to
        self._lock = RLock()

    def __bool__(self) -> bool:
        return bool(self._observers)

    def tell(self, event: Event, wait: bool = True) -> None:
        """Tell of an event. Without `wait` another thread may do so, which has not yet when this returns."""
        if wait:
            self._waiting.append(event)
            try:
                self._due.append(event)
                with self._lock:
                    self._tell_all()
            finally:
                self._waiting.pop()
        else:
            self._due.append(event)
        while self._due and not self._waiting and self._lock.acquire(blocking=False):
            try:
                self._tell_all()
            finally:
                self._lock.release()

    def settle(self) -> None:
        """Wait until what was told is where the observers want it."""
        for observer in self._observers:
            if (settle := getattr(observer, "settle", None)) is not None:
                try:
                    settle()
                except Exception as error:
                    self._lose(observer, error)

    def _tell_all(self) -> None:
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

    def _lose(self, observer: Observer, error: Exception) -> None:
        with self._lock:
            self._observers = [each for each in self._observers if each is not observer]
            self.error = self.error or error
            self._stopping.set()
