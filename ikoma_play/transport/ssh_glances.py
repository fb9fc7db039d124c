"""What one look at a path has shown besides what was asked, told again without asking the host.

Only while a step lasts, only until something changes the host through its connection, and only for a
moment: long enough for the questions that a tool asks one after the other about the file it puts in
place, too short to hide from a tool that waits for a file that somebody else makes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct
from msgspec.structs import replace

from .base import Stat
from .framing import INLINE
from .shelled import stat_of

LASTS = 0.25  # seconds

STAT_FORMAT = "%f %s %Y %u %g %U %G"

# The path $1 itself, its directory $2, where a link leads, and the content of a small file.
LOOK = f"""
export LC_ALL=C
if [ -L "$1" ]; then
  echo link
  stat -c '{STAT_FORMAT}' -- "$1" "$2/" || exit
  stat -L -c '{STAT_FORMAT}' -- "$1" 2>/dev/null || echo
  exec readlink -n -- "$1"
elif [ -e "$1" ]; then
  echo there
  s=$(exec stat -c '{STAT_FORMAT}' -- "$1" "$2/") || exit
  printf '%s\\n' "$s"
  size=${{s#* }}; size=${{size%% *}}
  if [ -f "$1" ] && [ -r "$1" ] && [ "$size" -le {INLINE} ]; then exec cat -- "$1"; fi
else
  echo none
  exec stat -c '{STAT_FORMAT}' -- "$1" "$2/"
fi
"""


class Glance(Struct, frozen=True):
    """A path without and with links followed; `content` None: not looked at."""

    itself: Stat | None
    followed: Stat | None
    content: bytes | None = None
    directory: bool = False  # seen on the way to something in it: `itself` is not known
    at: float = 0.0
    changes: int = 0


class Glances:
    """`changes` counts what may have changed the host."""

    def __init__(self) -> None:
        self.changes = 0
        self._steps = 0
        self._seen: dict[tuple[object, str], Glance] = {}
        self._lock = threading.Lock()

    @property
    def kept(self) -> bool:
        """Whether a step is on, so that what is seen is worth keeping."""
        return self._steps > 0

    def one_step(self) -> Glances:
        """For `with`: what is seen meanwhile is remembered."""
        return self

    def __enter__(self) -> None:
        with self._lock:
            self._steps += 1

    def __exit__(self, *raised: object) -> None:
        with self._lock:
            self._steps -= 1
            self._seen.clear()

    @contextmanager
    def changing(self, changes: bool) -> Iterator[None]:
        """What is seen before it and meanwhile is forgotten, if it changes anything."""
        if changes:
            self._changed()
        try:
            yield
        finally:
            if changes:
                self._changed()

    def _changed(self) -> None:
        with self._lock:
            self.changes += 1
            self._seen.clear()

    def find(self, who: object, path: str) -> Glance | None:
        found = self._seen.get((who, path))
        if found is None or found.changes != self.changes or time.monotonic() - found.at > LASTS:
            return None
        return found

    def keep(self, who: object, path: str, glance: Glance, changes: int) -> None:
        """`changes`: how many there had been when the host was asked."""
        with self._lock:
            if self._steps and changes == self.changes:
                self._seen[who, path] = replace(glance, at=time.monotonic(), changes=changes)


def parsed(path: str, folder: str, said: bytes) -> tuple[Glance, Glance | None]:
    """What LOOK has printed: the path's glance, and the directory's where it is known."""
    kind, _, rest = said.partition(b"\n")
    if kind == b"none":
        return Glance(None, None), _directory(folder, rest.partition(b"\n")[0])
    own, _, rest = rest.partition(b"\n")
    above, _, rest = rest.partition(b"\n")
    itself = stat_of(path, own)
    if kind == b"link":
        followed, _, target = rest.partition(b"\n")
        itself = replace(itself, target=target.decode("utf-8", "surrogateescape"))
        return Glance(itself, stat_of(path, followed) if followed else None), _directory(folder, above)
    whole = itself.kind == "file" and itself.size <= INLINE and len(rest) == itself.size
    return Glance(itself, itself, rest if whole else None), _directory(folder, above)


def _directory(folder: str, line: bytes) -> Glance | None:
    if not line:
        return None
    found = stat_of(folder, line)
    return Glance(found, found, directory=True)
