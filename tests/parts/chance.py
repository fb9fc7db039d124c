"""Which of many alike are tried this time: all of them with IKOMA_TESTS_LONG=1."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
LONG = bool(os.environ.get("IKOMA_TESTS_LONG"))
# The processes of one run have it from the first of them; the next run has another.
SEED = os.environ.setdefault("IKOMA_TESTS_SEED", secrets.token_hex(4))


def some(of: Sequence[T], most: int) -> list[T]:
    """At most so many of them, in their order, chosen by chance. IKOMA_TESTS_SEED chooses the same again."""
    many = len(of) if LONG else min(most, len(of))
    return [of[place] for place in sorted(random.Random(SEED).sample(range(len(of)), many))]


def half(of: Sequence[T]) -> list[T]:
    """One half of them (the larger one)."""
    return some(of, (len(of) + 1) // 2)
