"""Where a run's time went: its slowest steps, printed when it is over."""

from __future__ import annotations

from threading import Lock
from typing import TextIO

from ..events import Event, RunFinished, StepFinished
from . import words
from .columns import columns
from .terminal import one_line

SHOWN = 15


class Profile:
    """Collects what each step took and writes the slowest as a table."""

    def __init__(self, stream: TextIO, width: int = 0) -> None:
        """`width` is how many columns a line may take, 0 for as many as it needs."""
        self._stream = stream
        self._width = width
        self._finished: list[StepFinished] = []
        self._lock = Lock()

    def __call__(self, event: Event) -> None:
        with self._lock:
            if isinstance(event, StepFinished):
                self._finished.append(event)
            elif isinstance(event, RunFinished) and event.report:
                self._stream.write("\n" + "\n".join(self.table(event.report.seconds)) + "\n")
                self._stream.flush()

    def close(self) -> None:
        """Nothing is held open."""

    def table(self, whole: float) -> list[str]:
        """The slowest steps, with their share of the run's `whole` seconds."""
        slowest = sorted(self._finished, key=lambda event: -event.outcome.seconds)[:SHOWN]
        where = [str(event.step.position) if event.step else "" for event in slowest]
        taken = 26 + max(len(event.host) for event in slowest) + max(map(len, where)) if slowest else 0
        room = max(20, self._width - taken) if self._width else 1000
        rows = [
            (
                f"{event.outcome.seconds:.3f} s",
                f"{100 * event.outcome.seconds / whole:.0f} %" if whole else "",
                event.host,
                words.shortened(one_line(event.title), room),
                place,
            )
            for event, place in zip(slowest, where, strict=True)
        ]
        steps = sum(event.outcome.seconds for event in self._finished)
        head = f"Slowest of {words.count(len(self._finished), 'step')} ({steps:.3f} s of {whole:.3f} s in steps)"
        return [head, *columns([("time", "share", "host", "step", "where"), *rows], right=(0, 1))]
