"""In check mode: whether steps before this one would have changed something that only the real host could show."""

from __future__ import annotations

from ..transport.base import Transport
from ..transport.dry import Change, DryTransport


def foreseen(on: Transport, path: str) -> bool:
    """Whether something at `path` or below was recorded instead of changed; never outside check mode."""
    if not isinstance(on, DryTransport):
        return False
    below = path.rstrip("/") + "/"
    for change in on.recorded:
        if not isinstance(change, Change):
            continue
        places = [change.path, change.detail if change.verb == "rename" else ""]
        if any(place == path or str(place).startswith(below) for place in places):
            return True
    return False
