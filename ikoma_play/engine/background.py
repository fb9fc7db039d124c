"""Steps that go on after their turn: `async` with `poll: 0`.

A command becomes a process of the host that outlives the run. Every other tool is carried out by the runner beside
the steps that follow, on a road of its own; the run ends when the last of them has, at the latest when its time is up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..model import Outcome, Status
from ..tool import Tool
from ..transport import background
from ..transport.base import Transport
from . import outcomes
from .roads import GRACE, StepRoad, called_in_time


class Background:
    """What the runner does beside the steps of a run."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._going: list[tuple[threading.Thread, float]] = []

    def start(
        self, tool: Tool, open: Callable[[str], Transport], arguments: Mapping[str, Any], limit: float
    ) -> Outcome:
        """Begin a call of a tool; `open` gives a road under a name of its own. Returns what the step comes to now."""
        name = background.new_id()
        road = open(name)
        folder = background.announce(road, name)

        def work() -> None:
            try:
                done = outcomes.of_outcome(called_in_time(tool.function, StepRoad(road, {}, limit), arguments))
            except Exception as error:
                done = outcomes.of_error(error)
            background.leave(road, folder, done.registered())

        thread = threading.Thread(target=work, daemon=True, name=f"background {name}")
        self._going.append((thread, time.monotonic() + limit))
        thread.start()
        return Outcome(Status.CHANGED, background.promised(name, folder), f"goes on in the background as {name}")

    def wait(self) -> None:
        """Wait for what still goes on; not after an interruption."""
        for thread, until in self._going:
            if self._stopping.is_set():
                return
            thread.join(max(until - time.monotonic(), 0.0) + GRACE)
