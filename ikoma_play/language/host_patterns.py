"""Patterns that choose hosts: `web:&live:!web[0]`, `db*`, `~web\\d+`; and ranges in names, `web[01:20]`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import FaultsFound
from ..model import Fault
from .text import position_of

MAX_RANGE = 10_000
_SUBSCRIPT = r"(?P<name>.+)\[(?:(?P<one>-?\d+)|(?P<first>-?\d*)[:-](?P<last>-?\d*))\]\Z"
_RANGE = re.compile(r"\[(?P<first>[0-9]+|[A-Za-z]):(?P<last>[0-9]+|[A-Za-z])(?::(?P<step>[0-9]+))?\]")
_IPV6 = r"[0-9a-fA-F:.]*::?[0-9a-fA-F:.]*\Z"


class BadPattern(ValueError):
    """A host pattern or range that makes no sense."""


def terms(pattern: Any) -> list[str]:
    """The parts of a pattern or list of patterns, split at commas and colons outside of brackets."""
    found: list[str] = []
    for entry in pattern if isinstance(pattern, (list, tuple)) else [pattern]:
        found.extend(_split(str(entry)))
    return [term for term in (part.strip() for part in found) if term]


def _split(text: str) -> list[str]:
    if "," in text:
        return [part for piece in text.split(",") for part in (_split(piece) if "," not in piece else [piece])]
    if text.startswith("~") or (text.count(":") > 1 and re.match(_IPV6, text.strip("[]"))):
        return [text]
    parts, depth, start = [], 0, 0
    for index, char in enumerate(text):
        depth += (char == "[") - (char == "]")
        if char == ":" and depth <= 0:
            parts.append(text[start:index])
            start = index + 1
    return [*parts, text[start:]]


def choose(pattern: Any, groups: Mapping[str, Sequence[str]], hosts: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names of the hosts that a pattern chooses, and the terms that are neither host nor group.

    `groups` maps each group to all its hosts. Raises FaultsFound for a pattern that makes no sense.
    """
    listed = terms(pattern)
    plain = [term for term in listed if term[0] not in "&!"]
    ordered = plain or ["all"]
    ordered = [*ordered, *(t for t in listed if t[0] == "&"), *(t for t in listed if t[0] == "!")]
    chosen: dict[str, None] = {}
    unknown: list[str] = []
    for term in ordered:
        try:
            found = _matching(term.lstrip("&!") if term[0] in "&!" else term, groups, hosts)
        except (re.error, BadPattern) as error:
            text = f"'{term}' is no host pattern: {error}"
            raise FaultsFound([Fault("bad-pattern", text, position_of(pattern))]) from None
        if found is None:
            unknown.append(term)
            found = []
        if term[0] == "&":
            chosen = {name: None for name in chosen if name in set(found)}
        elif term[0] == "!":
            chosen = {name: None for name in chosen if name not in set(found)}
        else:
            chosen.update(dict.fromkeys(found))
    return list(chosen), unknown


def _matching(term: str, groups: Mapping[str, Sequence[str]], hosts: Sequence[str]) -> list[str] | None:
    """None where nothing is called so."""
    if term in ("all", "*"):
        return list(hosts)
    if term in groups:
        return list(groups[term])
    if term in hosts:
        return [term]
    if term.startswith("~"):
        return _by_name(re.compile(term[1:]), groups, hosts)
    if subscript := re.match(_SUBSCRIPT, term):
        found = _matching(subscript["name"], groups, hosts)
        return None if found is None else _part(found, subscript)
    if any(char in term for char in "*?["):
        import fnmatch

        return _by_name(re.compile(fnmatch.translate(term)), groups, hosts)
    return None


def _by_name(
    expression: re.Pattern[str], groups: Mapping[str, Sequence[str]], hosts: Sequence[str]
) -> list[str] | None:
    found: dict[str, None] = {}
    known = False
    for name, members in groups.items():
        if expression.match(name):
            known = True
            found.update(dict.fromkeys(members))
    matching = [name for name in hosts if expression.match(name)]
    found.update(dict.fromkeys(matching))
    return list(found) if known or matching else None


def _part(names: list[str], subscript: re.Match[str]) -> list[str]:
    """One host of a group, or hosts from one position to another, both included."""
    if subscript["one"]:
        position = int(subscript["one"])
        return names[position : position + 1 or None] if -len(names) <= position < len(names) else []
    first = int(subscript["first"] or 0)
    last = int(subscript["last"]) if subscript["last"] else len(names) - 1
    if last < 0:
        last += len(names)
    return names[first : last + 1]


# --- Ranges in the names of an inventory -------------------------------------------------------------


def expanded(name: str) -> list[str]:
    """`web[1:3]` is web1, web2 and web3. Raises BadPattern."""
    found = list(_expanded(name, 0))
    return found or [name]


def _expanded(name: str, count: int) -> Iterator[str]:
    match = _RANGE.search(name)
    if match is None:
        if "[" in name and ":" in name and not re.match(r"\[[0-9a-fA-F:.]+\](:\d+)?\Z", name):
            raise BadPattern("a range is written [first:last] or [first:last:step]")
        yield name
        return
    before, after = name[: match.start()], name[match.end() :]
    for value in _values(match):
        for rest in _expanded(after, count):
            count += 1
            if count > MAX_RANGE:
                raise BadPattern(f"a range of more than {MAX_RANGE:,} hosts")
            yield before + value + rest


def _values(match: re.Match[str]) -> list[str]:
    first, last, step = match["first"], match["last"], int(match["step"] or 1)
    if step < 1:
        raise BadPattern("the step of a range is at least 1")
    if first.isdigit() != last.isdigit():
        raise BadPattern("a range goes from a number to a number or from a letter to a letter")
    if first.isdigit():
        width = len(first) if first.startswith("0") and len(first) > 1 else 0
        if width and len(last) != width:
            raise BadPattern("both ends of a range with leading zeros have the same number of digits")
        if int(last) < int(first):
            raise BadPattern("a range goes upwards")
        if int(last) - int(first) > MAX_RANGE * step:
            raise BadPattern(f"a range of more than {MAX_RANGE:,} hosts")
        return [str(number).zfill(width) for number in range(int(first), int(last) + 1, step)]
    if ord(last) < ord(first):
        raise BadPattern("a range goes upwards")
    return [chr(number) for number in range(ord(first), ord(last) + 1, step)]


def host_and_port(name: str) -> tuple[str, int | None]:
    """`web1:2222` is web1 and 2222; `[::1]:22` is ::1 and 22."""
    if match := re.match(r"\[([0-9a-fA-F:.]+)\](?::(\d+))?\Z", name):
        return match[1], int(match[2]) if match[2] else None
    if match := re.match(r"([^:]+):(\d+)\Z", name):
        return match[1], int(match[2])
    return name, None
