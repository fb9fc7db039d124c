"""What the platform's tools stand on: where things lie on a host, what runs services, PostgreSQL, releases.

`from ..platform import databases` loads the file when something of it is first used: every check reads the
tools' declarations, which needs none of what their bodies stand on.
"""

from __future__ import annotations

import importlib
import os.path
from typing import Any


class _Later:
    """Stands for a file of this folder until one of its names is asked for; safe in several threads."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loaded: Any = None

    def __getattr__(self, attribute: str) -> Any:
        if self._loaded is None:
            self._loaded = importlib.import_module(self._name)
        return getattr(self._loaded, attribute)


def __getattr__(name: str) -> Any:
    here = os.path.dirname(__file__)  # noqa: PTH120 - pathlib costs start-up
    if name.startswith("_") or not os.path.isfile(os.path.join(here, f"{name}.py")):  # noqa: PTH113
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _Later(f"{__name__}.{name}")
