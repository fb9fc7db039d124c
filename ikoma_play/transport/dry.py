"""Check mode as a transport: looks go through, changes are recorded and not made.

What was recorded is seen by later looks (a file that a step would have written is there for the
next one), so that the steps of a dry run make sense together. Tests use it as their double.
"""

from __future__ import annotations

import posixpath
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, BinaryIO

from msgspec import Struct
from msgspec.structs import replace

from ..errors import NotFound, StepError
from ..model import Command, Progress, Result
from .base import Stat, Transport
from .faults import demand_replaceable


class Change(Struct, frozen=True):
    """A change of the host's files that was not made: verb, path and what belongs to the verb."""

    verb: str  # write, mkdir, remove, rename, chmod, chown, symlink
    path: str
    detail: Any = None  # the mode, the new name, the owner and group, or the link's target


class _Shown(Struct):
    """What a path looks like after the changes that were not made; `stat` None: nothing is there."""

    stat: Stat | None
    data: bytes | None = None  # None: still what the host has at `origin`
    origin: str = ""


class DryTransport(Transport):
    """Another transport, with every change recorded in `recorded` instead of made."""

    dry = True

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.host = inner.host
        self.local = inner.local
        self.recorded: list[Command | Change] = []
        self._shown: dict[str, _Shown] = {}

    @property
    def progress(self) -> Callable[[Progress], None]:
        return self.inner.progress

    @progress.setter
    def progress(self, receiver: Callable[[Progress], None]) -> None:
        self.inner.progress = receiver

    @property
    def round_trips(self) -> int:
        return self.inner.round_trips

    def run(self, command: Command, on_output: Callable[[bytes], None] | None = None) -> Result:
        if command.changes or command.stdout_to is not None:
            self.recorded.append(command)
            return Result(0)
        return self.inner.run(command, on_output)

    def read(self, path: str) -> bytes:
        shown = self._look_up(path)
        if shown is None:
            return self.inner.read(path)
        if shown.stat is None:
            raise NotFound(f"cannot read {path}: it would not be there", remedy="An earlier step would remove it.")
        if shown.stat.kind == "directory":
            raise StepError(f"cannot read {path}: is a directory")
        return shown.data if shown.data is not None else self.inner.read(shown.origin)

    def write(self, path: str, data: bytes | BinaryIO, mode: int | None = None) -> None:
        before = self.stat(path)
        demand_replaceable(path, before)
        content = data if isinstance(data, bytes) else data.read()
        if before is None or before.kind != "file":
            before = _new(path, "file", 0o644)
        after = replace(before, size=len(content), mtime=time.time(), mode=before.mode if mode is None else mode)
        self._record(Change("write", path, after.mode), _Shown(after, content))

    def stat(self, path: str, follow: bool = False) -> Stat | None:
        shown = self._look_up(path)
        if shown is None:
            return self.inner.stat(path, follow)
        if follow and shown.stat is not None and shown.stat.kind == "link":
            target = posixpath.join(posixpath.dirname(path), shown.stat.target)
            return self.stat(target, follow) if posixpath.normpath(target) != posixpath.normpath(path) else None
        return shown.stat

    def scan(self, path: str, recurse: bool = False) -> Sequence[Stat]:
        if not self._shown:
            return self.inner.scan(path, recurse)
        found = self._entries(path)
        if recurse:
            for entry in list(found):
                found += self.scan(entry.path, recurse) if entry.kind == "directory" else ()
        return sorted(found, key=lambda entry: entry.path)

    def _entries(self, path: str) -> list[Stat]:
        root = posixpath.normpath(path)
        shown = self._look_up(root)
        if shown is not None and (shown.stat is None or shown.stat.kind != "directory"):
            return []
        origin = root if shown is None else shown.origin
        names = {posixpath.basename(entry.path) for entry in (self.inner.scan(origin) if origin else ())}
        names |= {posixpath.basename(name) for name in self._shown if posixpath.dirname(name) == root}
        found = ((name, self.stat(posixpath.join(root, name))) for name in sorted(names))
        return [replace(entry, path=posixpath.join(path, name)) for name, entry in found if entry is not None]

    def tunnel(self, address: str, port: int) -> AbstractContextManager[tuple[str, int]]:
        return self.inner.tunnel(address, port)

    def one_step(self) -> AbstractContextManager[None]:
        return self.inner.one_step()

    def close(self) -> None:
        self.inner.close()

    def become(self, user: str, method: str = "sudo", password: str | None = None, flags: str = "") -> Transport:
        other = DryTransport(self.inner.become(user, method, password, flags))
        other.recorded, other._shown = self.recorded, self._shown
        return other

    # --- changes of files ---

    def mkdir(self, path: str, mode: int = 0o755) -> bool:
        there = self.stat(path, follow=True)
        if there is not None:
            if there.kind != "directory":
                raise StepError(f"cannot make the directory {path}: a {there.kind} is there")
            return False
        parent = posixpath.dirname(posixpath.normpath(path))
        if parent and parent != path and self.stat(parent, follow=True) is None:
            self.mkdir(parent)
        self._record(Change("mkdir", path, mode), _Shown(_new(path, "directory", mode)))
        return True

    def remove(self, path: str) -> bool:
        if self.stat(path) is None:
            return False
        for name in [name for name in self._shown if _inside(name, posixpath.normpath(path))]:
            del self._shown[name]
        self._record(Change("remove", path), _Shown(None))
        return True

    def rename(self, source: str, target: str) -> None:
        moved = self.stat(source)
        if moved is None:
            raise NotFound(f"cannot rename {source}: no such file or directory")
        old, new = posixpath.normpath(source), posixpath.normpath(target)
        was = self._look_up(old)
        within = {
            new + name[len(old) :]: shown for name, shown in self._shown.items() if _inside(name, old) and name != old
        }
        for name in [name for name in self._shown if _inside(name, old) or _inside(name, new)]:
            del self._shown[name]
        self._shown.update(within)
        origin = old if was is None else was.origin
        self._shown[old] = _Shown(None)
        after = _Shown(replace(moved, path=target), None if was is None else was.data, origin)
        self._record(Change("rename", source, target), after, at=target)

    def chmod(self, path: str, mode: int) -> None:
        self._alter(Change("chmod", path, mode), follow=True, mode=mode)

    def chown(self, path: str, owner: str | None = None, group: str | None = None) -> None:
        new: dict[str, Any] = {}
        for name, number, value in (("owner", "uid", owner), ("group", "gid", group)):
            if value is not None:
                new |= {number: int(value), name: ""} if value.isdigit() else {name: value, number: -1}
        self._alter(Change("chown", path, (owner, group)), follow=False, **new)

    def symlink(self, target: str, path: str) -> None:
        self._record(Change("symlink", path, target), _Shown(replace(_new(path, "link", 0o777), target=target)))

    # --- how ---

    def _alter(self, change: Change, follow: bool, **new: Any) -> None:
        before = self.stat(change.path, follow)
        if before is None:
            raise NotFound(f"cannot {change.verb} {change.path}: no such file or directory")
        was = self._look_up(change.path)
        if was is None:
            was = _Shown(before, None, posixpath.normpath(change.path))
        self._record(change, _Shown(replace(before, **new), was.data, was.origin))

    def _record(self, change: Change, after: _Shown, at: str | None = None) -> None:
        self.recorded.append(change)
        self._shown[posixpath.normpath(at or change.path)] = after

    def _look_up(self, path: str) -> _Shown | None:
        """What earlier changes made of this path; None where the host itself is to be asked."""
        name = posixpath.normpath(path)
        if name in self._shown:
            return self._shown[name]
        above = posixpath.dirname(name)
        while above not in ("", "/"):
            shown = self._shown.get(above)
            if shown is not None:
                return self._below(shown, above, name)
            above = posixpath.dirname(above)
        return None

    def _below(self, shown: _Shown, above: str, name: str) -> _Shown:
        """A path inside a directory that was removed, made or moved."""
        if shown.stat is None or not shown.origin:
            return _Shown(None)
        origin = shown.origin + name[len(above) :]
        found = self.inner.stat(origin)
        return _Shown(None if found is None else replace(found, path=name), None, origin)


def _new(path: str, kind: str, mode: int) -> Stat:
    return Stat(path, kind, mode, 0, time.time(), -1, -1)


def _inside(name: str, folder: str) -> bool:
    return name == folder or name.startswith(folder + "/")
