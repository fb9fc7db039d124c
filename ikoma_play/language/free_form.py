"""Arguments written as one text under a tool's name: `copy: src=a dest=b`, `command: echo hi chdir=/tmp`."""

from __future__ import annotations

import codecs
import re
from collections.abc import Container, Iterator

from ..model import Position
from .faults import Faults
from .text import Entries, has_template, text_at


def words(line: str) -> Iterator[tuple[int, int]]:
    """Where the words of a line begin and end; quotes and templates hold a word together."""
    start: int | None = None
    quote = ""
    depth = 0
    index, end = 0, len(line)
    while index < end:
        char = line[index]
        pair = line[index : index + 2]
        if start is None and not char.isspace():
            start = index
        if depth:
            if pair in ("}}", "%}", "#}"):
                depth -= 1
                index += 1
        elif pair in ("{{", "{%", "{#") and _closes(line, index):
            depth += 1
            index += 1
        elif quote:
            if char == "\\" and quote == '"':
                index += 1
            elif char == quote:
                quote = ""
        elif char == "\\":
            index += 1
        elif char in "\"'" and _opens(line, index):
            quote = char
        elif char.isspace() and start is not None:
            yield start, index
            start = None
        index += 1
    if start is not None:
        yield start, min(index, end)


def _opens(line: str, index: int) -> bool:
    """An apostrophe without a partner is just an apostrophe."""
    return line.find(line[index], index + 1) >= 0


def _closes(line: str, index: int) -> bool:
    return line.find({"{": "}}", "%": "%}", "#": "#}"}[line[index + 1]], index + 2) >= 0


_ESCAPE = r"\\(?:U[0-9a-fA-F]{8}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|N\{[^}]+\}|[\\'\"abfnrtv])"


def _meant(value: str) -> str:
    """What a value stands for: `\\n` in it is the end of a line, and the quotes around the whole of it go."""
    try:
        return unquoted(re.sub(_ESCAPE, lambda escape: codecs.decode(escape[0], "unicode-escape"), value))
    except UnicodeDecodeError:  # a name that no character has
        return unquoted(value)


def unquoted(value: str) -> str:
    """Without the quotes around the whole of it."""
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value


def options(line: str, known: Container[str], position: Position | None) -> tuple[str, Entries]:
    """Splits `name=value` words whose names are known from the rest, which stays as it was written."""
    found = Entries()
    if position is not None:
        found.position = position
    kept: list[str] = []
    last = 0
    for start, end in list(words(line)):
        name, equals, value = line[start:end].partition("=")
        if equals and name in known:
            found[text_at(name, position)] = text_at(_meant(value), position)
            kept.append(line[last:start].rstrip(" ") if not line[end:].strip() else line[last:start])
            last = end
            while last < len(line) and line[last] == " ":
                last += 1
    kept.append(line[last:])
    return "".join(kept).strip(), found


def pairs(line: str, position: Position | None, faults: Faults, tool: str) -> Entries:
    """A text that holds nothing but `name=value` words."""
    found = Entries()
    if position is not None:
        found.position = position
    for start, end in words(line):
        word = line[start:end]
        name, equals, value = word.partition("=")
        if not equals or not (name.replace("_", "").isalnum() or has_template(name)):
            faults.add(
                "wrong-arguments", f"'{word[:60]}' is no argument of {tool}", position,
                "Write the arguments as a mapping below the tool's name, one a line: name: value.",
            )  # fmt: skip
            break
        found[text_at(name, position)] = text_at(_meant(value), position)
    return found
