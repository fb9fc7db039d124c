"""Services' output, from a time on, and as it comes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime

from ..errors import Refused
from .runtime import Runtime

LOOK_AGAIN = 0.3  # seconds
_MOST = 10_000  # lines looked at when following
_AGO = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")


def moment(text: str, now: float) -> float:
    """Seconds since the epoch for `10m`, `1h30m`, `90` (ago) or an ISO time. Raises Refused."""
    match = _AGO.fullmatch(text.strip())
    if match and text.strip():
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return now - (((days * 24 + hours) * 60 + minutes) * 60 + seconds)
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise Refused(
            f"{text!r} is no time",
            remedy="Write 10m, 1h30m, 2d, or 2026-01-31T12:00:00 (your time zone, or +01:00).",
        ) from None
    return found.timestamp()


def follow(
    through: Runtime,
    app: str,
    service: str | None,
    tail: int,
    since: float | None,
    seconds: float,
    tell: Callable[[str], None],
) -> list[str]:
    """The last lines, and those that come within so many seconds; `tell` gets each as it comes."""  # fmt: skip
    until = time.monotonic() + seconds
    before = through.lines(app, service, _MOST, since)
    found = _last_of_each([text for _, text in before], tail)
    while time.monotonic() < until:
        time.sleep(min(LOOK_AGAIN, max(0.0, until - time.monotonic())))
        now = through.lines(app, service, _MOST, since)
        new = _new(before, now)
        for line in new:
            tell(line)
        found += new
        before = now or before
    return found


def _last_of_each(lines: list[str], tail: int) -> list[str]:
    """The last lines of each service, whose name stands in front of them."""
    left: dict[str, int] = {}
    kept = []
    for line in reversed(lines):
        name = line.partition(" | ")[0]
        left[name] = left.get(name, tail) - 1
        if left[name] >= 0:
            kept.append(line)
    return kept[::-1]


def _new(before: list[tuple[str, str]], now: list[tuple[str, str]]) -> list[str]:
    """The lines that were not there; of those with a time, the later ones."""
    if now and now[-1][0]:
        last = before[-1][0] if before else ""
        return [text for at, text in now if at > last]
    known: dict[str, int] = {}
    for _, text in before:
        known[text] = known.get(text, 0) + 1
    new = []
    for _, text in now:
        known[text] = known.get(text, 0) - 1
        if known[text] < 0:
            new.append(text)
    return new
