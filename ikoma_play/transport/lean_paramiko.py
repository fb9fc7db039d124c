"""paramiko, loaded without what it never uses here.

Its reader of ssh's configuration loads `invoke`, a library for running programs that takes as long to load as the
rest of paramiko and reads this process's standard input. Only a `Match exec` in a configuration wants it: what runs
that line stands here.
"""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from types import SimpleNamespace
from typing import Any

if "paramiko" not in sys.modules and "invoke" not in sys.modules:
    sys.modules["invoke"] = None  # type: ignore[assignment]
    try:
        import_module("paramiko")
    finally:
        del sys.modules["invoke"]

import paramiko
import paramiko.config

__all__ = ["paramiko", "ssh_config_of"]


def ssh_config_of(text: str) -> paramiko.SSHConfig:
    """A configuration's text, read."""
    paramiko.config.invoke = SimpleNamespace(run=_asked)  # type: ignore[attr-defined]
    return paramiko.SSHConfig.from_text(text)


def _asked(line: str, **_: Any) -> SimpleNamespace:
    """What `Match exec` asks: by its definition a line for a shell, from the user's own configuration."""
    none = subprocess.DEVNULL
    done = subprocess.run(["/bin/sh", "-c", line], stdin=none, stdout=none, stderr=none, check=False)
    return SimpleNamespace(ok=done.returncode == 0)
