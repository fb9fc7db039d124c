"""Text in columns, without anything but the standard library: what a table costs in start-up counts."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Collection, Sequence


def columns(rows: Sequence[Sequence[str]], right: Collection[int] = (), indent: int = 2, room: int = 0) -> list[str]:
    """One line a row, columns two blanks apart; `right` names the ones that stand to the right.

    With `room`, as many columns as a line may take, the last column goes on below its own beginning.
    """
    if not rows:
        return []
    widths = [max(width(row[column]) for row in rows) for column in range(len(rows[0]))]
    begin = indent + sum(widths[:-1]) + 2 * (len(widths) - 1)
    lines = []
    for row in rows:
        cells = []
        for column, cell in enumerate(row):
            blanks = " " * (widths[column] - width(cell))
            cells.append(blanks + cell if column in right else cell + blanks)
        line = (" " * indent + "  ".join(cells)).rstrip()
        if not room or len(line) <= room or room - begin < 20:
            lines.append(line)
            continue
        first, *rest = textwrap.wrap(row[-1], room - begin, break_long_words=False)
        lines.append(" " * indent + "  ".join([*cells[:-1], first]))
        lines += [" " * begin + part for part in rest]
    return lines


def width(text: str) -> int:
    """How many columns of a terminal the text takes."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )
