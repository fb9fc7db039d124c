"""What YAML is read into: ordinary values that know where they were written.

Text (also the keys of mappings), mappings and lists carry a `position`; numbers, true, false and
null are plain and lie where their key lies. Values that were not read from a file have none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..model import Position


class Text(str):
    """Text as it was written; its templates are still to be rendered."""

    __slots__ = ("position",)
    position: Position


class Unsafe(Text):
    """Text that is never a template (`!unsafe`)."""

    __slots__ = ()


class Revealed(Text):
    """Text that was encrypted: it is secret wherever it turns up, and its templates are still to be rendered."""

    __slots__ = ()


class RevealedValue(Revealed):
    """A value that was encrypted by itself (`!vault`): no template."""

    __slots__ = ()


class Entries(dict[Any, Any]):
    """A mapping; keys are Text where they are text. `written` has the spelling of values that YAML reads as
    something that looks otherwise (3.10, yes), by key."""

    __slots__ = ("position", "written")
    position: Position
    written: dict[Any, str]

    def copy_of(self, other: Mapping[Any, Any]) -> None:
        """Take over another mapping's entries with their spelling."""
        self.update(other)
        if spelled := getattr(other, "written", None):
            self.written = {**getattr(self, "written", {}), **spelled}

    def without(self, name: Any) -> Entries:
        """A copy that has one entry less."""
        fewer = Entries()
        fewer.position = self.position
        fewer.copy_of(self)
        del fewer[name]
        return fewer


class Items(list[Any]):
    """A list."""

    __slots__ = ("position",)
    position: Position


class Vaulted:
    """An encrypted value (`!vault`), not decrypted yet."""

    __slots__ = ("ciphertext", "position")

    def __init__(self, ciphertext: str, position: Position) -> None:
        self.ciphertext = ciphertext
        self.position = position

    def __repr__(self) -> str:
        return "Vaulted(…)"


class Omit:
    """The value of `omit`: an argument that has it is as if it were not written."""

    def __repr__(self) -> str:
        return "omit"


OMIT = Omit()
Find = Callable[[str, str], Path]  # kind (files, templates, …) and name → a file of the runner


def has_template(value: Any) -> bool:
    """Whether there is still something to render in a value."""
    if isinstance(value, str):
        return (
            "{" in value
            and ("{{" in value or "{%" in value or "{#" in value)
            and not isinstance(value, (Unsafe, RevealedValue))
        )
    if isinstance(value, Mapping):
        return any(has_template(each) for pair in value.items() for each in pair)
    if isinstance(value, (list, tuple)):
        return any(map(has_template, value))
    return isinstance(value, Vaulted)


def is_unsafe(value: Any) -> bool:
    """Whether text that is never a template is in a value: what a client of the server sent, or `!unsafe`."""
    if isinstance(value, Mapping):
        return any(map(is_unsafe, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(is_unsafe, value))
    return isinstance(value, Unsafe)


def text_at(value: str, position: Position | None) -> str:
    """`value` with a position; without one it stays plain."""
    if position is None:
        return value
    placed = Text(value)
    placed.position = position
    return placed


def position_of(value: Any, otherwise: Any = None) -> Position | None:
    """Where a value was written, or where `otherwise` (mostly its key) was."""
    for candidate in (value, otherwise):
        if isinstance(candidate, Position):
            return candidate
        found = getattr(candidate, "position", None)
        if isinstance(found, Position):
            return found
    return None
