"""How often an address and a key may call, and how often an address may be wrong about its key."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from .answers import Refusal

if TYPE_CHECKING:
    from limits import RateLimitItem

KEY, ADDRESS, FAILURES = "RATE_LIMIT_PER_KEY", "RATE_LIMIT_PER_ADDRESS", "RATE_LIMIT_FAILURES"


class Limits:
    """Counts in the memory of this process, by the rates that are in force at the time of a call."""

    def __init__(self, rates: Callable[[], Mapping[str, str]]) -> None:
        from limits.storage import MemoryStorage
        from limits.strategies import FixedWindowRateLimiter

        self._rates = rates
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    def count(self, kind: str, who: str) -> None:
        """One more call of an address or a key. Raises Refusal when it is one too many."""
        item = _item(self._rates()[kind])
        if item is not None and not self._limiter.hit(item, kind, who):
            raise self._refusal(item, kind, who)

    def demand(self, kind: str, who: str) -> None:
        """Refuse without counting. Raises Refusal."""
        item = _item(self._rates()[kind])
        if item is not None and not self._limiter.test(item, kind, who):
            raise self._refusal(item, kind, who)

    def _refusal(self, item: RateLimitItem, kind: str, who: str) -> Refusal:
        ends = self._limiter.get_window_stats(item, kind, who).reset_time
        wait = max(1, math.ceil(ends - time.time()))
        what = "failed attempts to log in" if kind == FAILURES else "calls"
        return Refusal(
            429, "too-many", f"too many {what}: {item} is the limit", headers={"Retry-After": str(wait)},
            remedy=f"Try again in {wait} s.", retryAfter=wait,
        )  # fmt: skip


@lru_cache(64)
def _item(rate: str) -> RateLimitItem | None:
    from limits import parse

    return parse(rate) if rate else None
