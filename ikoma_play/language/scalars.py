"""What a plain YAML 1.1 scalar means: null, true and false, whole numbers and fractions, or text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_WORDS: dict[str, Any] = dict.fromkeys(("", "~", "null", "Null", "NULL"))
for _names, _value in (("yes on true", True), ("no off false", False)):
    for _name in _names.split():
        _WORDS |= {_name: _value, _name.capitalize(): _value, _name.upper(): _value}

_NUMBER_STARTS = frozenset("+-.0123456789")
_INTEGER = re.compile(
    r"[-+]?(?:(?P<binary>0b[01_]+)|(?P<hex>0x[0-9a-fA-F_]+)|(?P<octal>0[0-7_]+)"
    r"|(?P<decimal>0|[1-9][0-9_]*)|(?P<sixty>[1-9][0-9_]*(?::[0-5]?[0-9])+))$(?!\n)"
)
_FRACTION = (
    r"[-+]?(?:(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
    r"|(?P<sixty>[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*)|(?P<infinite>\.(?:inf|Inf|INF)))$(?!\n)"
    r"|\.(?:nan|NaN|NAN)$(?!\n)"
)
_MAX_DIGITS = 1000


def plain(text: str) -> Any:
    """The value of an unquoted scalar without a tag."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_STARTS or len(text) > _MAX_DIGITS:
        return text
    if found := _INTEGER.match(text):
        return _integer(text, found)
    if found := re.match(_FRACTION, text):
        return _fraction(text, found)
    return text


def _integer(text: str, found: re.Match[str]) -> int:
    sign = -1 if text[0] == "-" else 1
    digits = text.lstrip("+-").replace("_", "")
    if found["binary"]:
        return sign * int(digits[2:] or "0", 2)
    if found["hex"]:
        return sign * int(digits[2:] or "0", 16)
    if found["octal"]:
        return sign * int(digits, 8)
    if found["sixty"]:
        return sign * int(_sixty(digits))
    return sign * int(digits)


def _fraction(text: str, found: re.Match[str]) -> float:
    sign = -1.0 if text[0] == "-" else 1.0
    digits = text.lstrip("+-").replace("_", "")
    if found["infinite"]:
        return sign * float("inf")
    if found["sixty"]:
        return sign * float(_sixty(digits))
    return sign * float(digits.lower().lstrip(".") if digits.lower() == ".nan" else digits)


def _sixty(digits: str) -> float:
    value = 0.0
    whole = "." not in digits
    total = 0
    for part in digits.split(":"):
        if whole:
            total = total * 60 + int(part)
        else:
            value = value * 60 + float(part or 0)
    return total if whole else value


def _as_integer(text: str) -> int:
    value = plain(text)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(text)


def _as_float(text: str) -> float:
    value = plain(text)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise ValueError(text)


def _as_bool(text: str) -> bool:
    value = plain(text)
    if isinstance(value, bool):
        return value
    raise ValueError(text)


def _as_text_of_bytes(text: str) -> str:
    import base64

    return base64.b64decode("".join(text.split()), validate=True).decode("utf-8")


TAGGED: dict[str, Callable[[str], Any]] = {
    "!": str,
    "tag:yaml.org,2002:str": str,
    "tag:yaml.org,2002:int": _as_integer,
    "tag:yaml.org,2002:float": _as_float,
    "tag:yaml.org,2002:bool": _as_bool,
    "tag:yaml.org,2002:null": lambda text: None,
    "tag:yaml.org,2002:timestamp": str,
    "tag:yaml.org,2002:binary": _as_text_of_bytes,
}
