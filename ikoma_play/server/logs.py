"""The server's own log: one line of JSON an event on standard error, a request being one."""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from typing import Any, TextIO

import msgspec

from ..audit.entries import timestamp

LEVELS = ("debug", "info", "warning", "error")


class Log:
    """Lines for programs. Never in it: keys, bodies, results."""

    def __init__(self, level: str = "info", stream: TextIO | None = None) -> None:
        self._least = LEVELS.index(level)
        self._stream = stream or sys.stderr

    def takes(self, level: str) -> bool:
        """Whether lines of this level are written."""
        return LEVELS.index(level) >= self._least

    def write(self, level: str, event: str, **more: Any) -> None:
        if not self.takes(level):
            return
        line = {"timestamp": timestamp(time.time()), "level": level, "event": event, **more}
        try:
            self._stream.write(encoded(line) + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # nobody reads it: no reason to stop serving
            return

    def exception(self, event: str, error: BaseException, **more: Any) -> None:
        """A mistake of ours, with where it happened; what it said may hold a value, so only its kind is told."""
        frames = traceback.extract_tb(error.__traceback__)[-4:]
        where = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
        self.write("error", event, error=type(error).__name__, where=where, **more)

    def thread_failed(self, how: threading.ExceptHookArgs) -> None:
        """A mistake of ours that ended a thread of the server."""
        if isinstance(how.exc_value, Exception):
            self.exception("thread", how.exc_value, name=how.thread.name if how.thread else "")


def encoded(value: Any) -> str:
    """Compact JSON; what JSON does not know becomes text, and half a surrogate pair stays as \\udxxx."""
    try:
        return _encode(value).decode()
    except (UnicodeEncodeError, TypeError, RecursionError):
        return json.dumps(value, separators=(",", ":"), default=str)


def _known(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


_encode = msgspec.json.Encoder(enc_hook=_known).encode
