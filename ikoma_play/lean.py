"""Libraries, loaded without what they would load and never use here."""

from __future__ import annotations

import sys


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
