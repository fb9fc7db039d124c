"""Request bodies: JSON whatever the Content-Type says, since `curl -d` says it is a form."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from .answers import Refusal, wrong_fields

DEEPEST = 32  # levels of lists and objects
MOST = 100  # names at the top; no tool has half as many, and each unknown one is answered with a guess


def parse(data: bytes) -> dict[str, Any]:
    """The object in a body; an empty one is an empty object. Raises Refusal.

    Line breaks and other control characters inside strings are taken, as shells put them there. Refused are
    what has two meanings (a name that stands twice, NaN) and what no text can hold (null bytes, half characters)."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _wrong(f"the body is not UTF-8: byte {error.start} cannot be read") from None
    if not text.strip():
        return {}
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise _too_deep() from None
    except json.JSONDecodeError as error:
        said = error.msg[:1].lower() + error.msg[1:]
        raise _wrong(f"the body is not JSON: {said} at line {error.lineno}, column {error.colno}") from None
    except ValueError as error:
        raise _wrong(f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise _wrong("the body must be a JSON object")
    if len(value) > MOST:
        raise _wrong(f"the body has {len(value)} names, and {MOST} are the most")
    faults: dict[str, str] = {}
    for name, each in value.items():
        if wrong := _unfit(name) or _unfit(each):
            faults[name.encode("utf-8", "replace").decode().replace("\0", "�")] = wrong
    if faults:
        raise wrong_fields({name: f"{name}: {wrong}" for name, wrong in faults.items()})
    return value


def _unfit(value: Any, depth: int = 1) -> str:
    """What keeps a value from being handed on, "" where nothing does."""
    if isinstance(value, str):
        if "\0" in value:
            return "holds a null byte"
        try:
            if not value.isascii():
                value.encode()
        except UnicodeEncodeError:
            return "holds half of a surrogate pair"
        return ""
    if isinstance(value, (dict, list)):
        if depth >= DEEPEST:
            raise _too_deep()
        within = [part for pair in value.items() for part in pair] if isinstance(value, dict) else value
        return next(filter(None, (_unfit(each, depth + 1) for each in within)), "")
    return ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"'{next(name for name in names if names.count(name) > 1)[:60]}' stands there twice")
    return found


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:20]} is too large")
    return value


# strict=False: control characters inside strings are taken.
_DECODER = json.JSONDecoder(strict=False, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)


def _wrong(message: str) -> Refusal:
    return wrong_fields({"body": message}, remedy='Send a JSON object, such as {"appName":"myapp"}.')


def _too_deep() -> Refusal:
    return wrong_fields({"body": f"the body is nested more than {DEEPEST} levels deep"})
