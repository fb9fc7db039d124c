"""`.env` files, read as Docker Compose reads them and written so that it reads them back the same.

A file is kept as it was written: comments, blank lines and the order of keys stay, only the values
that change are written anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from msgspec import Struct

from ..errors import Refused, StepError
from ..transport.base import Transport
from .interpolation import interpolate

MODE = 0o600
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")
_ASSIGNMENT = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*(?:=|:(?=[ \t]))[ \t]*")
_BARE_NAME = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t\r]*\Z")
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=-]*\Z")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", '"': '"', "\\": "\\"}
_ESCAPE = re.compile(r'\\([abcfnrtv$"\\])')

_SECRET_NAME = re.compile(
    r"PASS|PWD|SECRET|TOKEN|CREDENTIAL|PRIVATE|API_?KEY|AUTH|SALT|COOKIE|SIGNATURE|(^|_)KEY(_|$)|DSN", re.I
)
_IN_URL = re.compile(r"://[^/@\s:]*:([^@\s/]+)@")
_SHORTEST_SECRET = 4  # shorter ones would blot out parts of ordinary words

Lookup = Callable[[str], "str | None"]


class _Piece(Struct, frozen=True):
    """A stretch of the file; `name` is empty for comments and blank lines."""

    text: str
    name: str = ""
    value: str = ""


class EnvFile:
    """The text of a `.env` file with the values in it; the last of doubled names counts."""

    def __init__(self, text: str = "", file: str = ".env", outside: Lookup = lambda name: None) -> None:
        """`file` names it in errors; `outside` gives variables that values may refer to.

        Raises StepError with file and line for a line that is neither a comment nor NAME=value."""
        self._pieces = _parse(text, file, outside)

    @property
    def values(self) -> dict[str, str]:
        return {piece.name: piece.value for piece in self._pieces if piece.name}

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self._pieces)

    def merge(self, values: Mapping[str, str]) -> list[str]:
        """Take these values in; returns the names whose value is new or another one, sorted.

        Raises Refused for a name or a value that no `.env` file can hold."""
        held = self.values
        differing = sorted(name for name, value in values.items() if held.get(name) != value)
        for name in differing:
            self._set(name, values[name])
        return differing

    def _set(self, name: str, value: str) -> None:
        line = f"{name}={quote(name, value)}\n"
        last = max((at for at, piece in enumerate(self._pieces) if piece.name == name), default=None)
        if last is not None:
            self._pieces[last] = _Piece(line, name, value)
            return
        if self._pieces and not self._pieces[-1].text.endswith("\n"):
            end = self._pieces[-1]
            self._pieces[-1] = _Piece(end.text + "\n", end.name, end.value)
        self._pieces.append(_Piece(line, name, value))


def quote(name: str, value: str) -> str:
    """The value as it stands behind `NAME=`; plain where it can be, else quoted.

    Raises Refused for a name or a value that no `.env` file can hold."""
    if not NAME.match(name):
        raise Refused(
            f"{name!r} cannot be the name of a variable in .env",
            remedy="Use letters, digits and _, and do not start with a digit.",
        )
    if "\0" in value:
        raise Refused(f"the value of {name} holds a null byte, which .env cannot", remedy="Encode it, e.g. as base64.")
    if _PLAIN.match(value):
        return value
    if "'" not in value and "\\" not in value and "\r" not in value:
        return f"'{value}'"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("\r", "\\r")
    return f'"{escaped}"'


def secret_values(values: Mapping[str, str]) -> list[str]:
    """The values that are to be seen nowhere: those of names that speak of secrets, and passwords in URLs.

    Plain numbers and words such as `true` are no secrets, whatever their name."""
    found = []
    for name, value in values.items():
        inside = _IN_URL.findall(value)
        found += inside
        if _SECRET_NAME.search(name) and not inside:
            found.append(value)
    plain = re.compile(r"(\d{1,5}|true|false|none|null|yes|no|on|off|enabled|disabled)\Z", re.I)
    return sorted({value for value in found if len(value) >= _SHORTEST_SECRET and not plain.match(value)})


def read(on: Transport, path: str) -> EnvFile:
    """The file at `path`, empty where there is none."""
    if on.stat(path, follow=True) is None:
        return EnvFile(file=path)
    return EnvFile(on.read(path).decode("utf-8", "replace"), path)


def write(on: Transport, path: str, envfile: EnvFile) -> bool:
    """Put the file at `path`, whole or not at all, for its owner only; False when it stood there so already."""
    data = envfile.text.encode()
    there = on.stat(path)
    if there and there.kind == "file" and on.read(path) == data:
        if there.mode == MODE:
            return False
        on.chmod(path, MODE)
        return True
    on.write(path, data, MODE)
    return True


def _parse(text: str, file: str, outside: Lookup) -> list[_Piece]:
    pieces: list[_Piece] = []
    values: dict[str, str] = {}

    def lookup(name: str) -> str | None:
        return values.get(name, outside(name))

    text = text.removeprefix("\ufeff")
    at = 0
    while at < len(text):
        line_end = text.find("\n", at)
        line_end = len(text) if line_end < 0 else line_end + 1
        line = text[at:line_end]
        if not line.strip() or line.lstrip().startswith("#"):
            pieces.append(_Piece(line))
            at = line_end
            continue
        if found := _BARE_NAME.match(line.rstrip("\n")):  # a name alone: the value comes from outside
            value = outside(found[1])
            pieces.append(_Piece(line) if value is None else _Piece(line, found[1], value))
            if value is not None:
                values[found[1]] = value
            at = line_end
            continue
        found = _ASSIGNMENT.match(text, at, line_end)
        number = text.count("\n", 0, at) + 1
        if not found:
            raise StepError(
                f"{file}:{number}: this line is neither a comment nor NAME=value",
                remedy=f"Correct line {number} of {file}.",
            )
        try:
            value, end = _value(text, found.end(), lookup)
        except ValueError as error:
            raise StepError(
                f"{file}:{number}: the value of {found[1]} {error}", remedy=f"Correct line {number} of {file}."
            ) from None
        pieces.append(_Piece(text[at:end], found[1], value))
        values[found[1]] = value
        at = end
    return pieces


def _value(text: str, start: int, lookup: Lookup) -> tuple[str, int]:
    """The value that starts at `start`, and where the next line begins."""
    quoting = text[start : start + 1]
    if quoting in ("'", '"'):
        raw, end = _quoted(text, start + 1, quoting)
        if quoting == '"':
            raw = interpolate(_ESCAPE.sub(_unescape, raw), lookup)
    else:
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        # A comment needs a blank before it, so that `a#b` stays a value.
        raw = interpolate(text[start:end].partition(" #")[0].strip(), lookup)
    rest = text.find("\n", end)
    rest = len(text) if rest < 0 else rest
    if (behind := text[end:rest].strip()) and not behind.startswith("#"):
        raise ValueError("has something behind its closing quote")
    return raw, min(rest + 1, len(text))


def _quoted(text: str, start: int, quoting: str) -> tuple[str, int]:
    """What stands between the quotes, and the place behind the closing one.

    A backslash keeps only the quote itself from ending the value; other escapes stay as they are."""
    kept: list[str] = []
    escaped = False
    for at in range(start, len(text)):
        character = text[at]
        if character != quoting:
            if character == "\\" and not escaped:
                escaped = True
                continue
            kept.append("\\" + character if escaped else character)
            escaped = False
        elif escaped:
            kept.append(character)
            escaped = False
        else:
            return "".join(kept), at + 1
    raise ValueError(f"starts with {quoting} but does not end with it")


def _unescape(match: re.Match[str]) -> str:
    # A dollar sign is doubled for the interpolation that follows.
    return "$$" if match[1] == "$" else _ESCAPES.get(match[1], match[0])
