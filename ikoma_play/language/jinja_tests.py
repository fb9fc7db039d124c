"""Ansible's tests (`x is changed`), in one table."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from jinja2 import Environment

from ..errors import TemplateFailed
from .filters import FALSE_WORDS, TRUE_WORDS
from .filters_text import flags
from .text import RevealedValue

TESTS: dict[str, Callable[..., bool]] = {}
_F = TypeVar("_F", bound=Callable[..., bool])


def named(*names: str) -> Callable[[_F], _F]:
    def add(function: _F) -> _F:
        TESTS.update(dict.fromkeys(names, function))
        return function

    return add


def install(environment: Environment) -> None:
    environment.tests.update(TESTS)
    for name, work in list(environment.tests.items()):
        environment.tests[f"ansible.builtin.{name}"] = work


# --- What a step came to ---------------------------------------------------------------------------


def _result(value: Any, test: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TemplateFailed(
            f"the test {test!r} wants a registered result, not {type(value).__name__}",
            remedy="Name the variable that `register` gave, without an attribute.",
        )
    return value


@named("failed", "failure")
def failed(result: Any) -> bool:
    return bool(_result(result, "failed").get("failed", False))


@named("succeeded", "success", "successful")
def succeeded(result: Any) -> bool:
    return not failed(result)


@named("changed", "change")
def changed(result: Any) -> bool:
    result = _result(result, "changed")
    if "changed" not in result and isinstance(result.get("results"), list):
        return any(isinstance(each, Mapping) and each.get("changed") for each in result["results"])
    return bool(result.get("changed", False))


@named("skipped", "skip")
def skipped(result: Any) -> bool:
    return bool(_result(result, "skipped").get("skipped", False))


@named("unreachable")
def unreachable(result: Any) -> bool:
    return bool(_result(result, "unreachable").get("unreachable", False))


@named("reachable")
def reachable(result: Any) -> bool:
    return not unreachable(result)


@named("timedout")
def timedout(result: Any) -> bool:
    found = _result(result, "timedout").get("timedout", False)
    return bool(found.get("period") if isinstance(found, Mapping) else found)


@named("started")
def started(result: Any) -> bool:
    return bool(_result(result, "started").get("started", 0))


@named("finished")
def finished(result: Any) -> bool:
    return bool(_result(result, "finished").get("finished", 1))


# --- Text ------------------------------------------------------------------------------------------


@named("regex")
def regex(
    value: Any, pattern: str = "", ignorecase: bool = False, multiline: bool = False, match_type: str = "search"
) -> bool:
    work = {"search": re.search, "match": re.match, "fullmatch": re.fullmatch}[match_type]
    return work(pattern, str(value), flags(ignorecase, multiline)) is not None


@named("search")
def search(value: Any, pattern: str = "", ignorecase: bool = False, multiline: bool = False) -> bool:
    return regex(value, pattern, ignorecase, multiline)


@named("match")
def match(value: Any, pattern: str = "", ignorecase: bool = False, multiline: bool = False) -> bool:
    return regex(value, pattern, ignorecase, multiline, "match")


@named("url")
def url(value: Any, schemes: list[str] | None = None) -> bool:
    found = re.match(r"([a-z][a-z0-9+.-]*)://[^/\s]+", str(value), re.IGNORECASE)
    return found is not None and (schemes is None or found[1] in schemes)


@named("uri")
def uri(value: Any, schemes: list[str] | None = None) -> bool:
    found = re.match(r"([a-z][a-z0-9+.-]*):\S", str(value), re.IGNORECASE)
    return found is not None and (schemes is None or found[1] in schemes)


@named("urn")
def urn(value: Any) -> bool:
    return uri(value, ["urn"])


@named("vaulted_file")
def vaulted_file(value: Any) -> bool:
    try:
        with open(str(value), "rb") as file:
            return file.read(15) == b"$ANSIBLE_VAULT;"
    except OSError as error:
        raise TemplateFailed(f"the test 'vaulted_file' cannot read {value}: {error.strerror}") from error


@named("vault_encrypted")
def vault_encrypted(value: Any) -> bool:
    """Whether the value is written with `!vault`; a text in Vault's format is a text."""
    return isinstance(value, RevealedValue)


# --- Versions --------------------------------------------------------------------------------------

_OPERATORS: dict[str, Callable[[int], bool]] = {
    **dict.fromkeys(("==", "=", "eq"), lambda order: order == 0),
    **dict.fromkeys(("!=", "<>", "ne"), lambda order: order != 0),
    **dict.fromkeys(("<", "lt"), lambda order: order < 0),
    **dict.fromkeys(("<=", "le"), lambda order: order <= 0),
    **dict.fromkeys((">", "gt"), lambda order: order > 0),
    **dict.fromkeys((">=", "ge"), lambda order: order >= 0),
}


def _parts(text: str) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in re.findall(r"\d+|[a-zA-Z]+", text)]


def _order(one: list[Any], other: list[Any]) -> int:
    """Numbers by size, words by letter, a number after a word; what is longer comes after its beginning."""
    for a, b in zip(one, other, strict=False):
        if a != b:
            if isinstance(a, int) == isinstance(b, int):
                return -1 if a < b else 1
            return 1 if isinstance(a, int) else -1
    return (len(one) > len(other)) - (len(one) < len(other))


def compare(one: str, other: str, released: bool = False) -> int:
    """-1, 0 or 1, as the first version is older, the same or newer.

    Part by part, as Ansible compares: 1.0 is not 1.0.0, and 1.0-rc1 comes after 1.0. `released` compares as
    semantic versions and PEP 440 do: both of these the other way round."""
    if not released:
        return _order(_parts(one), _parts(other))
    halves = []
    for version in (one, other):
        main, _, rest = version.strip().lstrip("vV").partition("+")[0].partition("-")
        found = re.match(r"[\d.]*", main)
        numbers = found[0] if found else ""
        halves.append((_parts(numbers), _parts(main[len(numbers) :] + rest)))
    (mine, my_pre), (yours, your_pre) = halves
    width = max(len(mine), len(yours))
    order = _order(mine + [0] * (width - len(mine)), yours + [0] * (width - len(yours)))
    if order or my_pre == your_pre:
        return order
    return _order(my_pre, your_pre) if my_pre and your_pre else -1 if my_pre else 1


@named("version", "version_compare")
def version(
    value: Any, version: Any, operator: str = "eq", strict: Any = None, version_type: str | None = None
) -> bool:
    if str(value).strip() == "":
        raise TemplateFailed("the test 'version' wants a version, not empty text")
    if operator not in _OPERATORS:
        raise TemplateFailed(f"the test 'version' knows no operator {operator!r}", remedy="Use ==, !=, <, <=, > or >=.")
    released = bool(strict) or version_type in ("strict", "semver", "semantic", "pep440")
    return _OPERATORS[operator](compare(str(value), str(version), released))


# --- Collections and truth -------------------------------------------------------------------------


@named("subset", "issubset")
def subset(a: Any, b: Any) -> bool:
    return all(each in b for each in a)


@named("superset", "issuperset")
def superset(a: Any, b: Any) -> bool:
    return all(each in a for each in b)


@named("contains")
def contains(container: Any, value: Any) -> bool:
    return value in container


@named("any")
def any_true(value: Any) -> bool:
    return any(value)


@named("all")
def all_true(value: Any) -> bool:
    return all(value)


@named("truthy")
def truthy(value: Any, convert_bool: bool = False) -> bool:
    if convert_bool and isinstance(value, str):
        word = value.strip().lower()
        return word in TRUE_WORDS or (word not in FALSE_WORDS and bool(value))
    return bool(value)


@named("falsy")
def falsy(value: Any, convert_bool: bool = False) -> bool:
    return not truthy(value, convert_bool)


@named("nan", "isnan")
def nan(value: Any) -> bool:
    return isinstance(value, float) and value != value


# --- Files of the runner ---------------------------------------------------------------------------

for _names, _holds in {
    ("exists",): lambda path: path.exists(),
    ("link_exists",): lambda path: path.exists() or path.is_symlink(),
    ("is_file", "file"): lambda path: path.is_file(),
    ("is_dir", "directory"): lambda path: path.is_dir(),
    ("is_link", "link"): lambda path: path.is_symlink(),
    ("is_abs", "abs"): lambda path: path.is_absolute(),
    ("is_mount", "mount"): lambda path: path.is_mount(),
}.items():
    TESTS.update(dict.fromkeys(_names, lambda path, holds=_holds: holds(Path(path))))


@named("same_file", "is_same_file")
def same_file(one: Any, other: Any) -> bool:
    return Path(one).samefile(other)
