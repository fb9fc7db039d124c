"""What takes space on a disk, as reports tell it."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Use(Struct, frozen=True):
    """One kind of thing that takes space; `freeable` bytes of it can go, `items` are the largest first."""

    kind: str  # applications, backups, images, buildCache, volumes, logs
    bytes: int
    freeable: int = 0
    advice: str = ""
    items: tuple[dict[str, Any], ...] = ()


def size(number: int) -> str:
    """Bytes in words."""
    if number < 0:
        return "?"
    for unit, count in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if number >= count:
            return f"{number / count:.1f} {unit}"
    return f"{number} B"
