"""The signs of life of a run, for those who share its journal and cannot look at its process."""

from __future__ import annotations

import threading
import time

from ..errors import JournalError
from .holder import BEAT, SILENCE, Holder
from .store import Store


class Pulse:
    """Says every BEAT seconds that the process of a run lives, until it is ended."""

    def __init__(self, store: Store, run: str, holder: Holder) -> None:
        self._store = store
        self._me = {"id": run, "host": holder.host, "pid": holder.pid, "process_start": holder.process_start}
        self._last = _now()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="pulse", daemon=True)
        self._thread.start()

    def demand(self) -> None:
        """Nobody holds the run for dead, not even where its process had stood still. Raises JournalError."""
        if _now() - self._last > SILENCE / 2:
            self._say()

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def _go_on(self) -> None:
        while not self._over.wait(BEAT):
            try:
                self._say()
            except JournalError:
                continue  # the next step says so where it lasts

    def _say(self) -> None:
        if not self._store.write(("live", self._me), durable=False):
            self._last = 0.0  # and stays so: the next step asks again, and is told the same
            raise JournalError(
                f"run {self._me['id']} was not heard of for {SILENCE:.0f} s, so another run has taken its locks over",
                remedy=f"See what that one did, then go on: ikoma-play runs resume {self._me['id']}",
            )
        self._last = _now()


def _now() -> float:
    """Seconds that also count while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
