"""Figures and values in words: durations, counts, arguments, results, differences."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..model import Diff
from .terminal import one_line, printable

PLAIN_WORD = re.compile(r"[\w@%+:,./~-]+")


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 05 s`, `1 h 02 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def clock(at: float) -> str:
    """A moment of the near future or past, in seconds since the epoch: `14:05:09`, with its day where that is not
    today."""
    then = time.localtime(at)
    return time.strftime("%H:%M:%S" if then[:3] == time.localtime()[:3] else "%Y-%m-%d %H:%M:%S", then)


def count(number: int, singular: str, plural: str = "") -> str:
    """`1 step`, `3 steps`."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def hosts(names: Sequence[str], everyone: bool = False, most: int = 3) -> str:
    """Names of hosts; of many, how many there are and the first of them."""
    if len(names) <= most:
        return ", ".join(names)
    return f"all {len(names)} hosts" if everyone else f"{len(names)} hosts: {', '.join(names[:2])}, …"


PHASES = {
    "pre_tasks": "Before",
    "steps": "Steps",
    "post_tasks": "After",
    "handlers": "Handlers",
    "rollback": "Rolling back",
}


def phase(name: str, kind: str = "step", first: bool = False) -> str:
    """The heading of a phase; "" for the ordinary steps that a play begins with, which need none."""
    name = {"rollback": "rollback", "handler": "handlers"}.get(kind, name)
    return "" if first and name == "steps" else one_line(PHASES.get(name, name))


def shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def value(of: Any, length: int = 80) -> str:
    """One argument's value on one line."""
    if isinstance(of, str):
        text = printable(of)
        lines = text.splitlines()
        if len(lines) > 1:
            return f"{shortened(lines[0], length)} … ({len(lines)} lines)"
        return shortened(text if PLAIN_WORD.fullmatch(text) else json.dumps(text, ensure_ascii=False), length)
    return shortened(compact(of), length)


def call(tool: str, arguments: Mapping[str, Any], width: int = 90) -> list[str]:
    """A tool with its arguments, on one line, or one line an argument where that is too long."""
    words = [f"{name}={value(of)}" for name, of in arguments.items()]
    line = " ".join([tool, *words])
    return [line] if len(line) <= width else [tool, *(f"  {word}" for word in words)]


def compact(of: Any) -> str:
    return printable(json.dumps(of, ensure_ascii=False, default=str))


def result_lines(of: Any, full: bool = False) -> list[str]:
    """A result for a person: short ones on one line, others a line for each key; `full` as indented JSON."""
    if full:
        return printable(json.dumps(of, ensure_ascii=False, default=str, indent=2)).splitlines()
    line = compact(of)
    if len(line) <= 90 or not isinstance(of, Mapping):
        return [shortened(line, 400)]
    return [f"{name}: {value(each, 200)}" for name, each in of.items()]


def diff_lines(diff: Diff, most: int = 200) -> Iterator[tuple[str, str]]:
    """A unified difference as pairs of kind (head, hunk, added, removed, same) and line."""
    import difflib

    before, after = printable(diff.before).splitlines(), printable(diff.after).splitlines()
    lines = list(difflib.unified_diff(before, after, f"{diff.label} before", f"{diff.label} after", lineterm=""))
    kinds = {"+": "added", "-": "removed", "@": "hunk"}
    for number, line in enumerate(lines[:most]):
        yield ("head" if number < 2 else kinds.get(line[:1], "same")), line.rstrip()
    if len(lines) > most:
        yield "head", f"… ({len(lines) - most} more lines)"
