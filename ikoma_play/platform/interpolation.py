"""`$VAR`, `${VAR}`, `${VAR:-default}` and their kin, as Docker Compose reads them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from msgspec import Struct

_REFERENCE = re.compile(r"\$(?:(?P<escaped>\$)|(?P<plain>[A-Za-z_][A-Za-z0-9_]*)|(?P<braced>\{))")
_BRACED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-?+])(.*))?\Z", re.S)

Lookup = Callable[[str], "str | None"]


class MissingVariable(ValueError):
    """`${VAR:?message}` without a value."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"needs the variable {name}" + (f": {message}" if message else ""))
        self.name = name


class Reference(Struct, frozen=True):
    """One use of a variable. `rule` is "", or `:-`, `-`, `:?`, `?`, `:+`, `+` with `word` behind it."""

    name: str
    rule: str = ""
    word: str = ""


def interpolate(text: str, lookup: Lookup) -> str:
    """`text` with its references replaced; a variable that is not there becomes nothing.

    Raises ValueError for a malformed reference, MissingVariable where `?` demands a value."""
    return "".join(part if isinstance(part, str) else _resolve(part, lookup) for part in _parts(text))


def references(text: str) -> Iterator[Reference]:
    """Every use of a variable, those inside defaults too. Raises ValueError for a malformed one."""
    for part in _parts(text):
        if isinstance(part, Reference):
            yield part
            if part.rule not in ("?", ":?"):
                yield from references(part.word)


def _resolve(reference: Reference, lookup: Lookup) -> str:
    value = lookup(reference.name)
    given = bool(value) if reference.rule.startswith(":") else value is not None
    if reference.rule.endswith("+"):
        return interpolate(reference.word, lookup) if given else ""
    if reference.rule and not given:
        if reference.rule.endswith("?"):
            raise MissingVariable(reference.name, interpolate(reference.word, lookup))
        return interpolate(reference.word, lookup)
    return value or ""


def _parts(text: str) -> Iterator[str | Reference]:
    at = 0
    while (dollar := text.find("$", at)) >= 0:
        yield text[at:dollar]
        found = _REFERENCE.match(text, dollar)
        if found is None:  # a lone dollar sign stands for itself
            yield "$"
            at = dollar + 1
        elif found["escaped"]:
            yield "$"
            at = found.end()
        elif found["plain"]:
            yield Reference(found["plain"])
            at = found.end()
        else:
            inside, at = _braced(text, found.end())
            matched = _BRACED.match(inside)
            if matched is None:
                raise ValueError(f"holds ${{{inside}}}, which names no variable; write $$ for a dollar sign")
            yield Reference(matched[1], matched[2] or "", matched[3] or "")
    yield text[at:]


def _braced(text: str, start: int) -> tuple[str, int]:
    """What stands between `${` and its `}`, and the place behind; references may be nested."""
    depth, at = 1, start
    while at < len(text):
        if text.startswith("${", at):
            depth += 1
            at += 1
        elif text[at] == "}":
            depth -= 1
            if depth == 0:
                return text[start:at], at + 1
        at += 1
    raise ValueError(f"holds ${{ without its }} in {text!r}")
