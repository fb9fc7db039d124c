"""Times and spans as people write them on the command line."""

from __future__ import annotations

import re
import time
from datetime import datetime

from ..errors import UsageError

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SPAN = re.compile(r"(\d{1,9})([smhdw])")


def span(said: str, option: str) -> float:
    """Seconds of `90m`, `12h`, `7d`, `0`. Raises UsageError."""
    if said == "0":
        return 0.0
    found = _SPAN.fullmatch(said)
    if found is None:
        raise UsageError(f"--{option} {said} is no span of time", remedy="Write 90s, 30m, 12h, 7d or 0.")
    return float(int(found[1]) * UNITS[found[2]])


def ago(said: str, option: str) -> float:
    """Seconds since the epoch of a date, a time, or so long ago. Raises UsageError."""
    return max(0.0, time.time() - span(said, option)) if _SPAN.fullmatch(said) else _moment(said, option)


def ahead(said: str, option: str) -> float:
    """Seconds since the epoch of a date, a time, or so long from now. Raises UsageError."""
    return time.time() + span(said, option) if _SPAN.fullmatch(said) else _moment(said, option)


def _moment(said: str, option: str) -> float:
    """What has no zone is meant here."""
    try:
        return datetime.fromisoformat(said).timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"--{option} {said} is no time", remedy="Write 2026-01-02, 2026-01-02T03:04, or a span: 90m, 12h, 7d."
        ) from None
