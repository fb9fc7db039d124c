"""What faults in the writing of a playbook hide from the further checks, so that nothing is said twice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from msgspec import Struct

from ..model import Fault
from ..spelling import nearest
from .locating import lines_of

# Faults that leave all else as it was written; any other may keep a file, a role or a variable from being read.
_LOCAL = frozenset((
    "bad-variable-name", "collection", "duplicate-argument", "duplicate-key", "missing-argument", "missing-keyword",
    "no-hosts", "no-loop", "no-tool", "template", "two-loops", "two-tools", "unknown-argument", "unknown-keyword",
    "unknown-tag", "unknown-tool", "unsupported-keyword", "wrong-arguments", "wrong-keyword", "wrong-type",
))  # fmt: skip
_KEY = r"(?:^|[{,\s])([A-Za-z_]\w*)\s*:(?=\s|$)"
_NAMING = r"([A-Za-z_]\w*)\s*:\s+([A-Za-z_]\w*)\s*(?=[,}]|$)"
_NAMERS = ("register", "loop_var", "index_var")


class Broken(Struct, frozen=True):
    """`names` may be meant to be variables where the faults are; `hides` says that more may be hidden."""

    names: frozenset[str] = frozenset()
    hides: bool = False
    any: bool = False

    def __bool__(self) -> bool:
        return self.any

    @classmethod
    def of(cls, faults: Iterable[Fault]) -> Broken:
        errors = [fault for fault in faults if not fault.warning]
        files = {fault.position.file for fault in errors if fault.position}
        names = frozenset(name for file in files for line in lines_of(file) for name in _names_in(line))
        return cls(names, any(fault.code not in _LOCAL for fault in errors), bool(errors))


def _names_in(line: str) -> Iterator[str]:
    """The names of entries in a line, and what is named by a keyword that looks like register."""
    for found in re.finditer(_KEY, line):
        yield found[1]
    for found in re.finditer(_NAMING, line):
        if nearest(found[1], _NAMERS):
            yield found[2]
