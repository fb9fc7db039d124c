"""The table of lookups; each file of lookups adds its own. A lookup gets its terms, its options and
whoever asks; it gives a list."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

Find = Callable[[str, str], Path]


class Asker(Protocol):
    """The Templar that asks."""

    extra: Mapping[str, Any]
    find: Find | None

    @property
    def variables(self) -> Mapping[str, Any]: ...

    def knowing(self, extra: Mapping[str, Any]) -> Asker:
        """The same with further variables."""

    def render_file(self, path: Path, options: Mapping[str, Any]) -> str: ...


Lookup = Callable[[Asker, list[Any], dict[str, Any]], list[Any]]
LOOKUPS: dict[str, Lookup] = {}
_F = TypeVar("_F", bound=Lookup)


def named(*names: str) -> Callable[[_F], _F]:
    """Add a function to the table under these names."""

    def add(function: _F) -> _F:
        LOOKUPS.update(dict.fromkeys(names, function))
        return function

    return add
