"""Libraries, loaded without what they would load and never use here."""

from __future__ import annotations

import re
import sys
from _thread import get_ident
from typing import Any


class without:
    """A context in which a module that nobody has loaded yet is not to be had."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._hidden = self._name not in sys.modules
        if self._hidden:
            sys.modules[self._name] = None  # type: ignore[assignment]

    def __exit__(self, *_: object) -> None:
        if self._hidden:
            del sys.modules[self._name]


compiled = re.compile


class late_patterns:
    """A context in which a regular expression is compiled when it is first used: a library may have many that are
    never asked for here, and compiling them takes longer than loading the rest of it. Other threads do not notice."""

    def __enter__(self) -> None:
        mine = get_ident()

        def late(pattern: Any, flags: int = 0) -> Any:
            return LatePattern(pattern, flags) if get_ident() == mine else compiled(pattern, flags)

        re.compile = late

    def __exit__(self, *_: object) -> None:
        re.compile = compiled


class LatePattern:
    """Behaves as the pattern it stands for."""

    def __init__(self, pattern: Any, flags: int) -> None:
        self._made_of = pattern, flags

    def __getattr__(self, name: str) -> Any:
        found = getattr(compiled(*self._made_of), name)
        setattr(self, name, found)
        return found
