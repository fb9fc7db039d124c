"""The newest entries that somebody asks for, without reading the whole log."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from msgspec import Struct

from ..errors import AuditError
from .log import files

BLOCK = 64 * 1024


class Wanted(Struct, frozen=True):
    """Which entries to show; what is empty asks for nothing. Times are as entries have them: UTC, ISO 8601."""

    app: str = ""
    tool: str = ""
    result: str = ""
    run: str = ""  # or the beginning of one
    host: str = ""
    key: str = ""
    since: str = ""
    until: str = ""

    def __call__(self, entry: dict[str, Any]) -> bool:
        arguments = entry.get("arguments")
        app = arguments.get("appName") if isinstance(arguments, dict) else None
        at = str(entry.get("timestamp", ""))
        return (
            (not self.app or app == self.app)
            and (not self.tool or entry.get("capability") == self.tool)
            and (not self.result or entry.get("result") == self.result)
            and (not self.run or str(entry.get("run") or "").startswith(self.run))
            and (not self.host or entry.get("host") == self.host)
            and (not self.key or entry.get("key") == self.key)
            and (not self.since or at >= self.since)
            and (not self.until or at < self.until)
        )


def newest(path: Path, wanted: Wanted, most: int | None) -> list[dict[str, Any]]:
    """The newest entries that are wanted, the oldest of them first; `most` None gives all. Raises AuditError."""
    path = Path(os.path.realpath(path))
    found = files(path)
    if not found:
        raise AuditError(
            f"there is no audit log {path}", remedy="Name it with --file, AUDIT_LOG or ikoma_audit_log of a host."
        )
    try:
        return list(islice((entry for entry in _backwards(found) if wanted(entry)), most))[::-1]
    except OSError as error:
        raise AuditError(f"the audit log {path} cannot be read: {error.strerror}") from None


def _backwards(paths: list[Path]) -> Iterator[dict[str, Any]]:
    """Every entry, the newest first; what is no entry is for `verify` to tell."""
    for path in reversed(paths):
        for line in _lines_backwards(path):
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                yield entry


def _lines_backwards(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        at = file.seek(0, os.SEEK_END)
        pending: list[bytes] = []  # the pieces of a line whose beginning is further up, the last piece first
        while at > 0:
            size = min(BLOCK, at)
            at -= size
            file.seek(at)
            first, *rest = file.read(size).split(b"\n")
            if rest:
                yield from _not_empty([rest[-1], *pending[::-1]])
                yield from (line for line in reversed(rest[:-1]) if line)
                pending = []
            pending.append(first)
        yield from _not_empty(pending[::-1])


def _not_empty(pieces: list[bytes]) -> Iterator[bytes]:
    if line := b"".join(pieces):
        yield line
