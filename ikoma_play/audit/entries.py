"""One call as the audit log holds it, and how it becomes text."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from ..model import EMPTY

SUCCESS, ERROR = "success", "error"

# What a crash or a person did to the log itself is told in lines of these names.
RECOVERED = "audit.recovered"  # a crash cut a line off; what was written of it is in `error`
HEAD_LOST = "audit.head_lost"  # the head was not there or was damaged: lines may be missing before this one


class Entry(Struct, frozen=True):
    """One call of a tool. Secrets in `arguments` and `error` are masked before they come here.

    `duration` is in seconds, `at` in seconds since the epoch: when the call began. `key` names the caller's key,
    or who sat at the command line; `error` is empty where it went well."""

    capability: str
    role: str
    arguments: Mapping[str, Any] = EMPTY
    error: str = ""
    duration: float = 0.0
    host: str | None = None
    key: str | None = None
    run: str | None = None
    request_id: str = ""
    at: float = field(default_factory=time.time)
    failed: bool = False  # an error even where no words came with it

    @property
    def result(self) -> str:
        return ERROR if self.failed or self.error else SUCCESS

    def as_data(self) -> dict[str, Any]:
        return {
            "timestamp": timestamp(self.at),
            "requestId": self.request_id,
            "capability": self.capability,
            "role": self.role,
            "arguments": self.arguments,
            "result": self.result,
            "error": self.error or None,
            "duration": round(self.duration * 1000, 1),
            "host": self.host,
            "key": self.key,
            "run": self.run,
        }


def timestamp(at: float) -> str:
    """UTC to the millisecond: 2026-01-02T03:04:05.678Z."""
    seconds = math.floor(at)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int((at - seconds) * 1000):03d}Z"


def text(entry: Mapping[str, Any]) -> bytes:
    """Compact JSON in UTF-8; what JSON does not know becomes text."""
    try:
        written = _encoder.encode(entry)
    except (TypeError, ValueError, RecursionError):
        written = _encoder.encode(_plain(entry))
    if not written.isascii():
        written = written.translate(_LINE_ENDS)
    # Half of a surrogate pair has no UTF-8; written as \udxxx it is JSON as it stood in the caller's own.
    return written.encode("utf-8", "backslashreplace")


# What some readers take for the end of a line.
_LINE_ENDS = {ord(each): f"\\u{ord(each):04x}" for each in "\x85\u2028\u2029"}


def _known(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_known)


def _plain(value: Any, depth: int = 0) -> Any:
    """The value with names that are text, numbers that JSON has, and no more than 50 levels."""
    if depth > 50:
        return "…"
    if isinstance(value, Mapping):
        return {str(name): _plain(each, depth + 1) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each, depth + 1) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
