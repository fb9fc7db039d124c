"""SQL text taken apart into its statements, so that each can be run, and named by its line, on its own.

Knows what hides a semicolon in PostgreSQL: comments (nested ones too), quoted names and strings, E'' strings,
dollar quotes, parentheses and BEGIN ATOMIC … END bodies.
"""

from __future__ import annotations

import re
from functools import cache

from msgspec import Struct

_BLOCK_MARK = re.compile(r"/\*|\*/")


@cache
def _token() -> re.Pattern[str]:
    """Made when the first text is read: seven milliseconds that a check does not have to spend."""
    return re.compile(
        r"""
        (?P<comment> --[^\n]* )
      | (?P<block>   /\* )
      | (?P<escaped> \b[eE]'(?:[^'\\]|''|\\.)*(?:'|\Z) )
      | (?P<string>  '(?:[^']|'')*(?:'|\Z) )
      | (?P<name>    "(?:[^"]|"")*(?:"|\Z) )
      | (?P<dollar>  (?<![\w$])\$(?P<tag>[A-Za-z_\u0080-\uffff][\w]*)?\$ )
      | (?P<word>    [A-Za-z_\u0080-\uffff][\w$]* )
      | (?P<number>  \d[\w.]* )
      | (?P<space>   \s+ )
      | (?P<other>   . )
        """,
        re.VERBOSE | re.DOTALL,
    )


class Statement(Struct, frozen=True):
    """One statement without its semicolon; `line` is where it begins, from 1; `words` its first two, upper case."""

    text: str
    line: int
    words: tuple[str, ...]

    def line_at(self, position: int) -> int:
        """The line of the file that the character at `position` (from 1) of the statement stands on."""
        return self.line + self.text.count("\n", 0, max(position - 1, 0))


def split(text: str) -> list[Statement]:
    """The statements in order; comments between them belong to none."""
    reader = _Reader(text)
    reader.read()
    return reader.statements


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.statements: list[Statement] = []
        self._begin()

    def _begin(self) -> None:
        self.start = -1
        self.words: list[str] = []
        self.depth = 0  # of parentheses
        self.bodies = 0  # of BEGIN ATOMIC and the CASEs in it
        self.last_word = ""

    def read(self) -> None:
        at = 0
        while at < len(self.text):
            token = _token().match(self.text, at)
            assert token is not None
            kind, end = token.lastgroup or "", token.end()
            if kind == "tag":
                kind = "dollar"
            if kind == "block":
                end = self._end_of_comment(end)
            elif kind == "dollar":
                close = self.text.find(token.group("dollar"), end)
                end = len(self.text) if close < 0 else close + len(token.group("dollar"))
            if kind == "other" and token.group() == ";" and not self.depth and not self.bodies:
                self._finish(at)
            elif kind not in ("comment", "block", "space"):
                self._take(kind, token.group(), at)
            at = end
        self._finish(len(self.text))

    def _take(self, kind: str, token: str, at: int) -> None:
        if self.start < 0:
            self.start = at
        if kind == "word":
            word = token.upper()
            if len(self.words) < 2:
                self.words.append(word)
            self._count_bodies(word)
            self.last_word = word
        elif token in "()":
            self.depth = max(0, self.depth + (1 if token == "(" else -1))

    def _count_bodies(self, word: str) -> None:
        if self.words[0] != "CREATE":
            return
        if (word == "ATOMIC" and self.last_word == "BEGIN") or (word == "CASE" and self.bodies):
            self.bodies += 1
        elif word == "END" and self.bodies:
            self.bodies -= 1

    def _finish(self, end: int) -> None:
        if self.start >= 0:
            line = self.text.count("\n", 0, self.start) + 1
            self.statements.append(Statement(self.text[self.start : end].rstrip(), line, tuple(self.words)))
        self._begin()

    def _end_of_comment(self, at: int) -> int:
        depth = 1
        while depth:
            mark = _BLOCK_MARK.search(self.text, at)
            if mark is None:
                return len(self.text)
            depth += 1 if mark.group() == "/*" else -1
            at = mark.end()
        return at
