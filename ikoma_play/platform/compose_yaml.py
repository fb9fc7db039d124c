"""The YAML of compose files, with the line of every value and Go's reading of plain scalars.

Docker Compose reads `22:30` and `on` as text where YAML 1.1 sees a number and a boolean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from msgspec import Struct

from ..errors import StepError
from ..model import Position

Path = tuple[str | int, ...]
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0o?[0-7_]+|0b[01_]+)\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_DEPTH = 100
_VALUES = 100_000


class Document(Struct, frozen=True):
    """Parsed YAML; `lines` maps the path of a value to its line, counted from 1.

    `written` is the data before interpolation, which may have brought secrets into `data`."""

    file: str
    data: Any
    lines: Mapping[Path, int]
    written: Any = None

    def error(self, path: Path, message: str, remedy: str = "") -> StepError:
        """An error at the line of `path`, or of what is nearest around it."""
        while path and path not in self.lines:
            path = path[:-1]
        line = self.lines.get(path, 1)
        return StepError(
            f"{self.file}:{line}: {message}",
            remedy=remedy or f"Correct {self.file} at line {line}.",
            position=Position(self.file, line),
        )

    def shown(self, path: Path) -> str:
        """The value at `path` as it was written, for a message."""
        value = self.written
        for part in path:
            try:
                value = value[part]
            except (LookupError, TypeError):
                return "nothing"
        return repr(value)


def parse(text: str, file: str) -> Document:
    """Raises StepError with file and line when the text is no YAML or names a key twice."""
    try:
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise Document(file, None, {(): line}).error((), f"this is not valid YAML: {error.problem or error}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise Document(file, None, {(): 1}).error((), f"this is not valid YAML: {error}") from None
    lines: dict[Path, int] = {}
    data = None if node is None else _build(node, (), file, lines, 0)
    return Document(file, data, lines, data)


def texts(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every text in the value (keys are not interpolated, so not here), with its path."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from texts(item, (*path, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from texts(item, (*path, at))
    elif isinstance(value, str):
        yield path, value


def spelled(path: Path) -> str:
    """`services.web.ports[0]`"""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _build(node: Any, path: Path, file: str, lines: dict[Path, int], depth: int) -> Any:
    line = node.start_mark.line + 1
    lines.setdefault(path, line)

    def fail(message: str, at: int = line) -> StepError:
        return Document(file, None, {(): at}).error((), message)

    if depth > _DEPTH or len(lines) > _VALUES:
        raise fail("this is nested too deeply or much too long (an anchor that holds itself?)")
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*path, at), file, lines, depth + 1) for at, item in enumerate(node.value)]
    built: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key_line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise fail("a key must be text", key_line)
        key = key_node.value
        if key == "<<" and not key_node.style:
            for source in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                part = _build(source, path, file, lines, depth + 1)
                if not isinstance(part, dict):
                    raise fail("<< takes a mapping or a list of mappings", key_line)
                merged = {**part, **merged}
            continue
        if key in built:
            raise fail(f"the key {key!r} stands twice, here and on line {lines[(*path, key)]}", key_line)
        lines[(*path, key)] = key_line
        built[key] = _build(value_node, (*path, key), file, lines, depth + 1)
    return {**merged, **built}


def _scalar(node: Any) -> Any:
    text: str = node.value
    if node.style or node.tag == "tag:yaml.org,2002:str":  # quoted, or it looks like nothing else
        return text
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text.lower() == "true"
    if _INTEGER.match(text):
        digits = text.replace("_", "")
        octal = re.fullmatch(r"([-+]?)0([0-7]+)", digits)
        return int(f"{octal[1]}{octal[2]}", 8) if octal else int(digits, 0)
    if _FLOAT.match(text):
        return float(text.replace("_", ""))
    return text
