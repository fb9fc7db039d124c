"""One run at a time for a name. The lock of a dead process is known to be dead and taken over."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..errors import JournalError, Locked
from .holder import Holder, is_dead, this_process
from .store import Row, Store

LOOK_AGAIN = 0.2  # seconds


class Locks:
    """The locks of one process, kept in a journal; who shares the journal shares them.

    `patience`: how many seconds to wait for a lock that another run holds; `stopped` ends the waiting; `who` holds
    them, default the user of the process."""

    def __init__(
        self, store: Store, patience: float = 0.0, note: Callable[[str, str], None] | None = None, who: str = ""
    ) -> None:
        self._store = store
        self._patience = patience
        self._note = note
        self._here: Holder = this_process(who)

    def take(self, name: str, run: str, stopped: Callable[[], bool] = lambda: False) -> None:
        """Take a lock for a run, which may hold it already. Raises Locked naming the holder, and JournalError."""
        until = time.monotonic() + self._patience
        while (holder := self._try(name, run)) is not None:
            if stopped() or time.monotonic() >= until:
                raise _locked(name, holder)
            time.sleep(min(LOOK_AGAIN, max(0.0, until - time.monotonic())))

    def give_back(self, name: str, run: str) -> None:
        self._store.write(("give_one_back", {"name": name, "run": run}))

    def _try(self, name: str, run: str) -> Row | None:
        """Who holds the lock; None when now we do."""
        mine = {"name": name, "run": run, "since": time.time(), **self._here.row}
        for _ in range(20):
            if self._store.write(("take_lock", mine)):
                return None
            found = self._store.read("holder", name=name)
            if not found:
                continue  # given back in between
            holder = found[0]
            if not is_dead(holder, self._here):
                return None if holder["run"] == run else holder
            dead = {"dead": holder["run"], "dead_pid": holder["pid"], "dead_since": holder["since"]}
            taking = {**mine, **dead}
            if self._store.write(("hold_for_dead", taking), ("replace_lock", taking)):
                if self._note is not None:
                    end = _end(holder, self._here)
                    self._note(run, f"took the lock {name} over from run {holder['run']}, whose process {end}")
                return None
        raise JournalError(f"the lock {name} changes hands too often", remedy="Run again.")


def _end(holder: Row, here: Holder) -> str:
    if holder["host"] == here.host:
        return "has ended"
    return f"on {holder['host']} was not heard of for {holder['silent']:.0f} s"


def _locked(name: str, holder: Row) -> Locked:
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder["since"]))
    return Locked(
        f"{name} is held by run {holder['run']} of {holder['who']} on {holder['host']} (process {holder['pid']}) "
        f"since {since}",
        remedy="Wait until it is done, or give a longer --lock-timeout.",
    )
