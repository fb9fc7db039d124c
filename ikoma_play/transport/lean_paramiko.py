"""paramiko, loaded without what it never uses here.

Its reader of ssh's configuration loads `invoke`, a library for running programs that takes as long to load as the
rest of paramiko and reads this process's standard input. Only a `Match exec` in a configuration wants it: what runs
that line stands here. And it asks for its own version, for which Python loads what reads mail and archives.
"""

from __future__ import annotations

import subprocess
import sys
from functools import lru_cache
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any

from ..lean import without

METADATA = "importlib.metadata"


class _Metadata(ModuleType):
    """Stands for Python's own while paramiko is loaded; other threads that ask it for more get the real one."""

    def version(self, name: str) -> Any:
        return "" if name == "paramiko" else self._real().version(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real(), name)

    def _real(self) -> Any:
        self.leave()
        return import_module(METADATA)

    def leave(self) -> None:
        if sys.modules.get(METADATA) is self:
            del sys.modules[METADATA]


if "paramiko" not in sys.modules:
    standing_in = _Metadata(METADATA)
    sys.modules.setdefault(METADATA, standing_in)
    try:
        with without("invoke"):
            import_module("paramiko")
    finally:
        standing_in.leave()

import paramiko  # noqa: E402
from paramiko import ConfigParseError, CouldNotCanonicalize, config  # noqa: E402

__all__ = ["CONFIG_ERRORS", "paramiko", "ssh_config_of"]

# What it has to say of a configuration.
CONFIG_ERRORS = (ConfigParseError, CouldNotCanonicalize, KeyError)


@lru_cache(maxsize=64)
def ssh_config_of(text: str) -> paramiko.SSHConfig:
    """A configuration's text, read; a long one takes as long as a connection."""
    config.invoke = SimpleNamespace(run=_asked)  # type: ignore[attr-defined]
    return _Config.from_text(text)


class _Config(paramiko.SSHConfig):
    def _does_match(self, matches: list[Any], *about: Any) -> Any:
        """paramiko asks the system for the user's name even where a block has no `Match`: at each one of them."""
        return super()._does_match(matches, *about) if matches else []  # type: ignore[misc]


def _asked(line: str, **_: Any) -> SimpleNamespace:
    """What `Match exec` asks: by its definition a line for a shell, from the user's own configuration."""
    none = subprocess.DEVNULL
    done = subprocess.run(["/bin/sh", "-c", line], stdin=none, stdout=none, stderr=none, check=False)
    return SimpleNamespace(ok=done.returncode == 0)
