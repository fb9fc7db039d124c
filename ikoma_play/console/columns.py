"""Text in columns, without anything but the standard library: what a table costs in start-up counts."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence


def columns(rows: Sequence[Sequence[str]], right: Collection[int] = (), indent: int = 2) -> list[str]:
    """One line a row, columns two blanks apart; `right` names the ones that stand to the right."""
    if not rows:
        return []
    widths = [max(width(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = []
        for column, cell in enumerate(row):
            blanks = " " * (widths[column] - width(cell))
            cells.append(blanks + cell if column in right else cell + blanks)
        lines.append((" " * indent + "  ".join(cells)).rstrip())
    return lines


def width(text: str) -> int:
    """How many columns of a terminal the text takes."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )
