"""paramiko, loaded without what it never uses here.

Its reader of ssh's configuration loads `invoke`, a library for running programs that takes as long to load as the
rest of paramiko; only a `Match exec` in a configuration wants it, and gets it then.
"""

from __future__ import annotations

import sys
from importlib import import_module

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
    if " exec " in text and getattr(paramiko.config, "invoke", None) is None:
        paramiko.config.invoke = import_module("invoke")  # type: ignore[attr-defined]
    return paramiko.SSHConfig.from_text(text)
