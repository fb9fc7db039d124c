"""Ansible's settings that ask for what ikoma-play leaves out on purpose; the others are not read."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import UsageError

_CACHES = ("ANSIBLE_CACHE_PLUGIN", "ANSIBLE_FACT_CACHE_PLUGIN")
_NO_CACHE = ("", "memory", "ansible.builtin.memory")
_REMEDY = "Facts are gathered once a run, and only where they are used: take the setting away."


def refuse_left_out() -> None:
    """Raises UsageError where a cache for facts is asked for, by the environment or ansible.cfg."""
    for name in _CACHES:
        if (value := os.environ.get(name, "")) not in _NO_CACHE:
            raise UsageError(f"{name}={value}: fact caching plugins are not part of ikoma-play", remedy=_REMEDY)
    path = Path(os.environ.get("ANSIBLE_CONFIG") or "ansible.cfg")
    if path.is_file() and (value := _cache_in(path)) not in _NO_CACHE:
        text = f"{path}: fact_caching = {value}: fact caching plugins are not part of ikoma-play"
        raise UsageError(text, remedy=_REMEDY)


def _cache_in(path: Path) -> str:
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return ""
    if "fact_caching" not in text:
        return ""
    import configparser

    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read_string(text)
    except configparser.Error:
        return ""
    return (parser.get("defaults", "fact_caching", fallback="") or "").strip()
