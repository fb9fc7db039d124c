"""What a role says that it takes (`argument_specs` in its meta), and whether values are that.

The same judgement before a run, on what can be known then, and by the step that a role begins with.
"""

from __future__ import annotations

import json
import os.path
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..spelling import did_you_mean, listed
from .composing import main_file
from .faults import Faults
from .reader import Unreadable, read
from .text import has_template

_TRUE = frozenset(("y", "yes", "on", "1", "true", "t", "1.0"))
_FALSE = frozenset(("n", "no", "off", "0", "false", "f", "0.0"))
_SIZE = r"(?i)\s*\d+(\.\d+)?\s*([BKMGTPEZY]?[bB]?)\s*\Z"
_WORDS = {
    "str": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "list": "a list",
    "dict": "a mapping", "path": "a path", "json": "JSON", "jsonarg": "JSON", "bytes": "a size such as 10M",
    "bits": "a size such as 10Mb", "raw": "a value",
}  # fmt: skip


class Wrong(NamedTuple):
    """One thing that is wrong with an argument; `place` leads to it: `users[0].name`."""

    place: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.message}. {self.remedy}" if self.remedy else self.message


class NotThat(ValueError):
    """A value that cannot be taken for the type that is declared."""


def specs_of(path: str) -> Mapping[str, Any]:
    """The entry points that the meta of the role at `path` describes, by the name of their file in tasks/."""
    for name in ("argument_specs", "main"):
        file = main_file(os.path.join(path, "meta"), name)
        if file is None:
            continue
        try:
            about = read(file, Faults())
        except Unreadable:
            continue
        specs = about.get("argument_specs") if isinstance(about, dict) else None
        if isinstance(specs, dict):
            return {name: spec for name, spec in specs.items() if isinstance(spec, dict)}
    return {}


def options_of(spec: Any) -> dict[str, Mapping[str, Any]]:
    """The options of an entry point or of a mapping inside one."""
    options = spec.get("options") if isinstance(spec, Mapping) else None
    if not isinstance(options, Mapping):
        return {}
    return {str(name): option for name, option in options.items() if isinstance(option, Mapping)}


def without_templates(option: Mapping[str, Any]) -> dict[str, Any]:
    """The option without descriptions and defaults that hold templates: neither is for this check to render."""
    kept = {name: value for name, value in option.items() if name not in ("description", "default")}
    if "default" in option:
        kept["default"] = "" if has_template(option["default"]) else option["default"]
    if "description" in option and not has_template(option["description"]):
        kept["description"] = option["description"]
    if inner := options_of(option):
        kept["options"] = {name: without_templates(each) for name, each in inner.items()}
    return kept


def all_wrong(options: Mapping[str, Mapping[str, Any]], values: Mapping[str, Any], inside: str = "") -> Iterator[Wrong]:
    """Everything that is wrong with these values: unknown, missing, of another type, not among the choices."""
    names = {alias: name for name, option in options.items() for alias in (name, *(option.get("aliases") or ()))}
    for name in values:
        if name not in names:
            remedy = did_you_mean(str(name), names, f"It takes {listed(options, 'and')}." if options else "")
            yield Wrong(f"{inside}{name}", f"'{inside}{name}' is no argument here", remedy)
    given = {names[name]: value for name, value in values.items() if name in names and value is not None}
    for name, option in options.items():
        if name in given:
            yield from wrong_value(f"{inside}{name}", given[name], option)
        elif option.get("required") is True and option.get("default") is None:
            yield missing(f"{inside}{name}", option)


def missing(place: str, option: Mapping[str, Any]) -> Wrong:
    about = option.get("description")
    about = " ".join(map(str, about)) if isinstance(about, list) else about
    return Wrong(place, f"'{place}' is missing", f"It is {about[:1].lower()}{about[1:]}" if about else "")


def wrong_value(place: str, value: Any, option: Mapping[str, Any]) -> Iterator[Wrong]:
    """What is wrong with one value."""
    kind = str(option.get("type") or "str")
    try:
        value = converted(value, kind)
    except NotThat:
        yield Wrong(place, f"'{place}' must be {_WORDS.get(kind, kind)}, not {_shown(value)}")
        return
    choices = option.get("choices")
    if isinstance(choices, list):
        for each in value if isinstance(value, list) else [value]:
            if each not in choices and str(each) not in map(str, choices):
                near = did_you_mean(str(each), map(str, choices))
                yield Wrong(place, f"'{place}' must be one of {listed(map(str, choices))}, not {_shown(each)}", near)
    if isinstance(value, list) and option.get("elements"):
        inner = {**option, "type": option["elements"], "elements": None, "choices": None}
        for number, each in enumerate(value):
            yield from wrong_value(f"{place}[{number}]", each, inner)
    elif isinstance(value, list) and isinstance(option.get("options"), Mapping):
        for number, each in enumerate(value):
            yield from wrong_value(f"{place}[{number}]", each, {"type": "dict", **_below(option)})
    elif isinstance(value, Mapping) and isinstance(option.get("options"), Mapping):
        yield from all_wrong(options_of(option), value, f"{place}.")
        yield from _conditions(option, value, place)


def _below(option: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("options", "mutually_exclusive", "required_together", "required_one_of", "required_if", "required_by")
    return {name: option[name] for name in kept if name in option}


def _conditions(option: Mapping[str, Any], values: Mapping[str, Any], place: str) -> Iterator[Wrong]:
    """What is asked of several arguments together."""
    given = {name for name, value in values.items() if value is not None}
    for names in _lists(option, "mutually_exclusive"):
        if len(both := [name for name in names if name in given]) > 1:
            yield Wrong(place, f"{listed(both, 'and')} of '{place}' exclude one another")
    for names in _lists(option, "required_together"):
        if 0 < sum(name in given for name in names) < len(names):
            yield Wrong(place, f"{listed(names, 'and')} of '{place}' go together")
    for names in _lists(option, "required_one_of"):
        if not any(name in given for name in names):
            yield Wrong(place, f"'{place}' needs {listed(names)}")
    for condition in _lists(option, "required_if"):
        if len(condition) > 2 and values.get(condition[0]) == condition[1]:
            lacking = [name for name in condition[2] if name not in given]
            one_is_enough = len(condition) > 3 and condition[3] is True
            if len(lacking) == len(condition[2]) if one_is_enough else lacking:
                last = "or" if one_is_enough else "and"
                yield Wrong(place, f"'{place}' with {condition[0]} {condition[1]} needs {listed(lacking, last)}")
    by = option.get("required_by")
    for name, needed in by.items() if isinstance(by, Mapping) else ():
        lacking = [each for each in (needed if isinstance(needed, list) else [needed]) if each not in given]
        if name in given and lacking:
            yield Wrong(place, f"{name} of '{place}' needs {listed(lacking, 'and')}")


def _lists(option: Mapping[str, Any], name: str) -> list[list[Any]]:
    found = option.get(name)
    return [each for each in found if isinstance(each, list)] if isinstance(found, list) else []


def converted(value: Any, kind: str) -> Any:
    """The value as the declared type, with the liberties that Ansible takes. Raises NotThat."""
    work = _CONVERSIONS.get(kind)
    return value if work is None else work(value)


def _int(value: Any) -> int:
    if isinstance(value, bool):
        return int(value)
    try:
        number = float(value)
        whole = int(value) if isinstance(value, (int, str)) else int(number)
    except (TypeError, ValueError, OverflowError):
        raise NotThat from None
    if whole != number:
        raise NotThat
    return whole


def _float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise NotThat from None


def _bool(value: Any) -> bool:
    word = str(value).strip().lower() if isinstance(value, (str, int, float)) else ""
    if word not in _TRUE | _FALSE:
        raise NotThat
    return word in _TRUE


def _text(value: Any) -> str:
    return str(value)


def _path(value: Any) -> str:
    return os.path.expanduser(os.path.expandvars(str(value)))


def _list(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, str):
        return value.split(",")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return [str(value)]
    raise NotThat


def _dict(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, str):
        raise NotThat
    if value.startswith("{"):
        try:
            found = json.loads(value)
        except ValueError:
            raise NotThat from None
        return found if isinstance(found, dict) else {}
    pairs = [part.strip() for part in re.split(r"[,\s]+", value.strip()) if part.strip()]
    if not pairs or any("=" not in pair for pair in pairs):
        raise NotThat
    return dict(pair.split("=", 1) for pair in pairs)


def _json(value: Any) -> str:
    if isinstance(value, (Mapping, list, tuple)):
        return json.dumps(value, default=str)
    return str(value)


def _size(value: Any) -> Any:
    if not isinstance(value, (int, float)) and not (isinstance(value, str) and re.match(_SIZE, value)):
        raise NotThat
    return value


_CONVERSIONS = {
    "str": _text, "int": _int, "float": _float, "bool": _bool, "list": _list, "dict": _dict, "path": _path,
    "json": _json, "jsonarg": _json, "bytes": _size, "bits": _size,
}  # fmt: skip


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (Mapping, list, tuple)):
        return "a mapping" if isinstance(value, Mapping) else "a list"
    return f"'{value}'" if isinstance(value, str) else str(value)
