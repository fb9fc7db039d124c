"""What libyaml complains about, and what the author most probably did."""

from __future__ import annotations

import re
from typing import Any

from ..model import Fault, Position

_WORDS = (
    ("mapping values are not allowed", "a ': ' cannot stand here"),
    ("did not find expected key", "this line does not fit what stands before it"),
    ("could not find expected ':'", "there is no ':' after the name of this entry"),
    ("found unexpected end of stream", "the file ends inside a quotation"),
    ("found undefined alias", "this alias has no anchor"),
    ("did not find expected ',' or ']'", "the list in [ ] is not closed, or a comma is missing"),
    ("did not find expected ',' or '}'", "the mapping in { } is not closed, or a comma is missing"),
    ("did not find expected '-' indicator", "this line is not an entry of the list it stands in"),
    ("found unknown escape character", "an unknown escape sequence in double quotes"),
    ("did not find expected hexdecimal number", "an escape sequence without its digits"),
    ("found invalid Unicode character escape code", "an escape sequence that is no character"),
    ("block sequence entries are not allowed", "a list entry '- ' cannot start here"),
    ("found character that cannot start any token", "no value can start with this character"),
)

_ESCAPES = (
    ("found unknown escape", "Use single quotes, or write a backslash as \\\\."),
    (
        "did not find expected hexdecimal number",
        "In double quotes \\x takes two hexadecimal digits, \\u four and \\U eight; a backslash is \\\\.",
    ),
    ("found invalid Unicode", "Write the character itself: YAML does not know JSON's pairs of \\u."),
)


def syntax_fault(error: Any, text: str, name: str) -> Fault:
    """The fault for an error of the YAML parser."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:  # a character that YAML does not allow at all
        index = getattr(error, "position", 0) or 0
        line = text.count("\n", 0, index) + 1
        column = index - (text.rfind("\n", 0, index) + 1) + 1
        reason = str(getattr(error, "reason", "") or "").strip() or str(error).partition("\n")[0]
        return Fault("syntax", f"this is not YAML: {reason}", Position(name, line, column), "Remove the character.")
    problem = str(getattr(error, "problem", None) or error)
    lines = text.split("\n")
    number = min(mark.line, len(lines) - 1)
    opened = getattr(error, "context_mark", None)
    words = next((plain for start, plain in _WORDS if problem.startswith(start)), problem)
    column = mark.column
    if "nesting depth" in problem:  # newer releases of libyaml give up by themselves
        return _too_deep(lines[number], Position(name, number + 1, column + 1))
    if not lines[number].strip() and number and mark.line >= len(lines) - 1:  # the end of the file says nothing
        number = max((index for index in range(number) if lines[index].strip()), default=0)
        column = 0
    remedy = _remedy(problem, lines, number, column, opened)
    return Fault("syntax", f"this is not YAML: {words}", Position(name, number + 1, column + 1), remedy)


def _too_deep(line: str, position: Position) -> Fault:
    if re.search(r"(:|-)\s+\{\{", line):
        place = Position(position.file, position.line, line.index("{{") + 1)
        remedy = "Put the whole value into quotes."
        return Fault("unquoted-template", "a value that begins with {{ must be quoted", place, remedy)
    return Fault("too-deep", "lists and mappings are nested too deeply", position)


def _remedy(problem: str, lines: list[str], number: int, column: int, opened: Any) -> str:
    line = lines[number].rstrip("\r")
    before = lines[number - 1].rstrip("\r") if number else ""
    if "\t" in line[: len(line) - len(line.lstrip())] or line[column : column + 1] == "\t":
        return "YAML does not allow tabs for indentation: use spaces."
    if problem.startswith("found unexpected end of stream") and opened is not None:
        return f"The quotation that opens in line {opened.line + 1} is not closed."
    for start, remedy in _ESCAPES:
        if problem.startswith(start):
            return remedy
    for candidate in (line, before):
        if re.search(r"(:|-)\s+\{\{", candidate):
            value = re.sub(r"^.*?(:|-)\s+(?=\{\{)", "", candidate)
            quote = "'" if '"' in value else '"'
            shown = f": {quote}{value}{quote}" if len(value) <= 100 else ""
            return f"A value that begins with {{{{ must be quoted as a whole{shown}."
    for candidate in (line, before):
        if re.search(r"""(:|-)\s+(["'])(?:(?!\2).)*\2\s*[^\s#,\]}:]""", candidate):
            return "More follows the closing quotation mark: put the whole value into quotes."
    if problem.startswith("mapping values are not allowed"):
        if len(re.findall(r":(?:\s|$)", line)) > 1:
            return "Text that holds ': ' must be quoted."
        return "Check the indentation: this line is deeper than the one it belongs to, or the text above needs quotes."
    if problem.startswith("found character that cannot start"):
        return f"Quote text that begins with {line[column : column + 1]}."
    if problem.startswith("found undefined alias"):
        return "Text that begins with * must be quoted."
    if problem.startswith("could not find expected ':'"):
        return "Add the ':', or indent the line as its neighbours are."
    return "Check the indentation: entries of one mapping or list start in the same column."
