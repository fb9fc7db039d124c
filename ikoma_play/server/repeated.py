"""What a server does by itself, again and again, beside answering."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..errors import IkomaError
from .logs import Log


class Repeated:
    """Calls something every so many seconds in a thread of its own until it is stopped, whatever goes wrong."""

    def __init__(self, what: str, act: Callable[[], None], pause: float, log: Log) -> None:
        self._what, self._act, self._pause, self._log = what, act, pause, log
        self._stopping = threading.Event()
        self._said = ""
        self._thread = threading.Thread(target=self._go_on, name=what, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing new; `running` tells when what is under way has ended."""
        self._stopping.set()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def _go_on(self) -> None:
        while not self._stopping.is_set():
            said = ""
            try:
                self._act()
            except IkomaError as error:
                said = error.message
                if said != self._said:  # once, not every time
                    self._log.write("warning", self._what, said=said, remedy=error.remedy)
            except Exception as error:
                self._log.exception(self._what, error)
            self._said = said
            self._stopping.wait(self._pause)
