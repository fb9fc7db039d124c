"""The table of filters; each file of filters adds its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import TemplateFailed

FILTERS: dict[str, Callable[..., Any]] = {}
_F = TypeVar("_F", bound=Callable[..., Any])


def named(*names: str) -> Callable[[_F], _F]:
    """Add a function to the table under these names."""

    def add(function: _F) -> _F:
        FILTERS.update(dict.fromkeys(names, function))
        return function

    return add


def wrong(message: str, remedy: str = "") -> TemplateFailed:
    return TemplateFailed(message, remedy=remedy)
