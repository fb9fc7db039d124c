"""The server's own log: one line of JSON an event on standard error, a request being one."""

from __future__ import annotations

import json
import sys
import time
import traceback
from datetime import UTC, datetime
from typing import Any, TextIO

LEVELS = ("debug", "info", "warning", "error")


class Log:
    """Lines for programs. Never in it: keys, bodies, results."""

    def __init__(self, level: str = "info", stream: TextIO | None = None) -> None:
        self._least = LEVELS.index(level)
        self._stream = stream or sys.stderr

    def write(self, level: str, event: str, **more: Any) -> None:
        if LEVELS.index(level) < self._least:
            return
        at = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"timestamp": at, "level": level, "event": event, **more}
        try:
            self._stream.write(_encode(line) + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # nobody reads it: no reason to stop serving
            return

    def exception(self, event: str, error: BaseException, **more: Any) -> None:
        """A mistake of ours, with where it happened; what it said may hold a value, so only its kind is told."""
        frames = traceback.extract_tb(error.__traceback__)[-4:]
        where = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
        self.write("error", event, error=type(error).__name__, where=where, **more)


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode
