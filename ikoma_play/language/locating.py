"""Places inside of texts: the line and column of a name in a template, and comments that silence faults."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from ..model import Fault, Position
from .text import position_of

_ALLOW = r"#.*\bikoma-play:\s*allow\s+([\w ,-]+)"


def lines_of(file: str) -> Sequence[str]:
    """The lines of a file as it is now, none where it cannot be read."""
    try:
        about = os.stat(file)
    except (OSError, ValueError):
        return ()
    return _lines(os.path.abspath(file), about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=64)
def _lines(path: str, modified: int, size: int) -> Sequence[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as opened:
            return opened.read().split("\n")
    except OSError:
        return ()


def place_of(needle: str, text: Any, otherwise: Any = None, whole_word: bool = True) -> Position | None:
    """Where `needle` stands within a text that was read from a file; the text's own place where it is not seen."""
    position = position_of(text, otherwise)
    if position is None or not isinstance(text, str) or not needle:
        return position
    escaped = re.escape(needle)
    expression = re.compile(rf"(?<![\w.]){escaped}(?!\w)" if whole_word else escaped)
    lines = lines_of(position.file)
    first = position.line - 1
    for number in range(first, min(len(lines), first + text.count("\n") + 3)):
        found = expression.search(lines[number], position.column - 1 if number == first else 0)
        if found:
            return Position(position.file, number + 1, found.start() + 1)
    return position


def silenced(fault: Fault) -> bool:
    """Whether a comment on the fault's line, or alone on the line above, allows it."""
    position = fault.position
    if position is None:
        return False
    lines = lines_of(position.file)
    here = lines[position.line - 1] if 0 < position.line <= len(lines) else ""
    above = lines[position.line - 2].strip() if 1 < position.line <= len(lines) + 1 else ""
    for line in (here, above if above.startswith("#") else ""):
        if "ikoma-play" in line and (found := re.search(_ALLOW, line)):
            return fault.code in re.split(r"[\s,]+", found[1].strip())
    return False
