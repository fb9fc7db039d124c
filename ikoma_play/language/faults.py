"""Faults as they are gathered, and as a person reads them."""

from __future__ import annotations

import os.path
from collections.abc import Iterable, Iterator
from typing import Any

from ..errors import FaultsFound
from ..model import Fault, Position
from .codes import PASSED_OVER, SILENCED_BY_COMMENT
from .locating import silenced
from .text import position_of


class Faults:
    """The faults found so far; the same one at the same place is kept once."""

    def __init__(self) -> None:
        self._found: dict[Fault, None] = {}

    def add(
        self, code: str, message: str, at: Any = None, remedy: str = "", *, otherwise: Any = None, warning: bool = False
    ) -> None:
        """`at` is what is wrong (it, or `otherwise`, knows its position), or a Position."""
        self.take((Fault(code, message, position_of(at, otherwise), remedy, warning),))

    def take(self, found: Iterable[Fault]) -> None:
        for fault in found:
            may_be_silent = fault.code in PASSED_OVER or (fault.warning and fault.code in SILENCED_BY_COMMENT)
            if not (may_be_silent and silenced(fault)):
                self._found[fault] = None

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._found)

    @property
    def errors(self) -> list[Fault]:
        return in_order(fault for fault in self._found if not fault.warning)

    @property
    def warnings(self) -> tuple[Fault, ...]:
        return tuple(in_order(fault for fault in self._found if fault.warning))

    def raise_if_any(self, partial: Any = None) -> None:
        """Raises FaultsFound with everything, warnings too, when anything stops the run."""
        if self.errors:
            raise FaultsFound(in_order(self._found), partial)


def in_order(found: Iterable[Fault]) -> list[Fault]:
    """By place within each file, files in the order of their first fault."""
    listed = list(found)
    files: dict[str, int] = {}
    for fault in listed:
        files.setdefault(fault.position.file if fault.position else "", len(files))

    def place(fault: Fault) -> tuple[int, int, int]:
        at = fault.position
        return (files[at.file], at.line, at.column) if at else (files[""], 0, 0)

    return sorted(listed, key=place)


def explain(fault: Fault) -> str:
    """A fault in plain text: where and what, the line itself with a caret, the remedy."""
    kind = "warning: " if fault.warning else ""
    if fault.position is None:
        lines = [f"{kind}{fault.message} [{fault.code}]"]
    else:
        lines = [f"{fault.position}: {kind}{fault.message} [{fault.code}]", *_excerpt(fault.position)]
    if fault.remedy:
        lines.append(f"  {fault.remedy}")
    return "\n".join(lines)


def _excerpt(position: Position) -> list[str]:
    """The line that a position is in and a caret below it; nothing where the file cannot be read."""
    try:
        with open(position.file, encoding="utf-8", errors="replace") as file:
            line = next((text for number, text in enumerate(file, 1) if number == position.line), None)
    except OSError:
        return []
    if line is None:
        return []
    shown = line.rstrip("\r\n").replace("\t", " ")
    column = position.column - 1
    start = max(0, min(column, len(shown)) - 60) if len(shown) > 120 else 0
    part = "".join(char if char.isprintable() else "�" for char in shown[start : start + 120])
    return [f"    {part}", f"    {' ' * min(column - start, len(part))}^"]


def shown_path(path: str) -> str:
    """A path as messages show it: relative to the working directory where it lies below it."""
    if not os.path.isabs(path):
        return os.path.normpath(path)
    here = os.getcwd()
    return os.path.relpath(path, here) if path.startswith(here.rstrip("/") + "/") else path
