"""Whether what was looked up came from a host, from a client of the server, or from a program, a file or a page by a
lookup: no text of such origin is ever taken for an expression, which could run anything here."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import TemplateFailed

T = TypeVar("T")


class _Met(threading.local):
    foreign = False  # since it was last cleared, by this thread


_met = _Met()


def meet() -> None:
    """Something foreign is looked up."""
    _met.foreign = True


def traced(work: Callable[[], T]) -> tuple[T, bool]:
    """What the work gives, and whether it looked up anything foreign."""
    before, _met.foreign = _met.foreign, False
    try:
        return work(), _met.foreign
    finally:
        _met.foreign |= before


def refused(written: Any, what: str = "the condition") -> TemplateFailed:
    """Why text that a template gave is not taken for an expression."""
    return TemplateFailed(
        f"{what} {written!r} would run text that came from a host, a client or a lookup as an expression",
        remedy="Write it without {{ }}: names in it are looked up as they are.",
        position=getattr(written, "position", None),
    )
