"""What the stream that we write to can show."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple, TextIO

MARKS = "✓●–✗↺━│…→"

SPELLED = {
    "…": "...",
    "–": "-",
    "—": "-",
    "→": "->",
    "✓": "+",
    "●": "*",
    "✗": "x",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
}

_ESCAPES = r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b(?:\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_]?)"
_CONTROLS = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"


class Looks(NamedTuple):
    """`live`: lines can be redrawn; `colour`: may be used; `marks`: more than ASCII; `width` in columns."""

    live: bool = False
    colour: bool = False
    marks: bool = False
    width: int = 80


def looks(stream: TextIO, environ: Mapping[str, str] = os.environ) -> Looks:
    """What `stream` can show, with NO_COLOR, FORCE_COLOR and TERM=dumb honoured."""
    dumb = environ.get("TERM", "") in ("dumb", "unknown")
    live = stream.isatty() and not dumb
    forced = environ.get("FORCE_COLOR", "") not in ("", "0")
    colour = (live or forced) and not environ.get("NO_COLOR")
    try:
        MARKS.encode(stream.encoding or "ascii")
        marks = True
    except (UnicodeEncodeError, LookupError):
        marks = False
    return Looks(live, colour, marks, size(stream)[0])


def size(stream: TextIO) -> tuple[int, int]:
    """Columns and lines of the terminal that `stream` leads to, whatever standard input may be."""
    try:
        columns, lines = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        columns = _said("COLUMNS") or 80  # what shutil would say, without its 3 ms of loading
        lines = _said("LINES") or 24
    return max(columns, 20), max(lines, 5)


def _said(variable: str) -> int:
    said = os.environ.get(variable, "")
    return int(said) if said.isascii() and said.isdecimal() else 0


def printable(text: str) -> str:
    """Text of a host made harmless: no escape sequences, no control codes but newline and tab."""
    if text.isprintable():  # as nearly all is: the patterns are compiled for what is not
        return text
    return re.sub(_CONTROLS, "", re.sub(_ESCAPES, "", text.replace("\r\n", "\n").replace("\r", "\n"))).expandtabs(4)


def one_line(text: str) -> str:
    """The same for a title, which must not look like more than one line."""
    return " ".join(printable(text).split("\n"))


def spelled_out(error: UnicodeError) -> tuple[str, int]:
    """For `codecs.register_error`: what an encoding cannot show, spelled with what it can, or `?`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(SPELLED.get(letter, "?") for letter in letters), error.end
