"""What every tool that writes files stands on: content, mode and owner put in place, and told as a diff.

All of it goes through the transport, which records instead of changing when it is dry: nothing here
asks for check mode.
"""

from __future__ import annotations

import os
import posixpath
import shlex
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ...errors import NotFound, StepError
from ...model import Command, Diff
from ...transport.base import Item, Stat, Transport, could_hold
from ...transport.faults import demand_replaceable
from .modes import parse_mode, show_mode

SHOWN = 100 * 2**10  # bytes up to which a diff shows content

Mode = str | int | None


class Attributes(Struct, frozen=True):
    """What a file's mode, owner and group shall be; None: as they are."""

    mode: Mode = None
    owner: str | None = None
    group: str | None = None

    def preserving(self, mode: int) -> Attributes:
        """What they are for a source with this mode."""
        return replace(self, mode=show_mode(mode)) if self.mode == "preserve" else self


class Manner(Struct, frozen=True):
    """How files are put in place, beside their attributes."""

    backup: bool = False
    validate: str | None = None
    force: bool = True
    follow: bool = False


AS_IT_IS = Attributes()


class Placed(Struct, frozen=True):
    """What putting a file in place came to; `backup` is the path of the former content."""

    changed: bool
    diffs: tuple[Diff, ...] = ()
    backup: str = ""

    @property
    def extra(self) -> dict[str, Any]:
        return {"backup_file": self.backup} if self.backup else {}


def place(
    on: Transport,
    path: str,
    source: bytes | Path,
    attributes: Attributes = AS_IT_IS,
    *,
    backup: bool = False,
    validate: str | None = None,
) -> Placed:
    """Make the file at `path` hold `source` (content, or a file of the runner), with these attributes.

    A link at `path` is replaced; the parent must exist. Raises StepError and its kin.
    """
    before = on.stat(path)
    demand_replaceable(path, before)
    if before is None:
        demand_parent(on, path)
    elif before.kind != "file":
        before = None
    if could_hold(before, wanted := Item(path, source, 0)) and on.holds([wanted])[0]:
        return Placed(*settle(on, path, attributes))
    mode = None if attributes.mode is None else parse_mode(attributes.mode, before.mode if before else 0o644)
    diff = content_diff(on.read, path, before, source)
    if validate is not None:
        _validate(on, path, source, validate)
    saved = keep_backup(on, path) if backup and before is not None else ""
    if isinstance(source, bytes):
        on.write(path, source, mode)
    else:
        on.send(source, path, mode)
    _, diffs = settle(on, path, Attributes(mode, attributes.owner, attributes.group))
    return Placed(True, (diff, *diffs), saved)


def settle(
    on: Transport, path: str, asked: Attributes, follow: bool = True, now: Stat | None = None
) -> tuple[bool, tuple[Diff, ...]]:
    """Give what is at `path` these attributes: whether something changed, and the diff. `now`: what is known of it."""
    if asked == Attributes():
        return False, ()
    if now is None:
        now = on.stat(path, follow)
    if now is None:
        raise NotFound(f"{path} is not there", remedy="Make it first.")
    return settle_all(on, [(path, asked, now)])


def settle_all(on: Transport, found: Iterable[tuple[str, Attributes, Stat]]) -> tuple[bool, tuple[Diff, ...]]:
    """As `settle`, of many paths where it is known what is there: one command for all that get the same owner, and
    one for all that get the same mode."""
    owners: dict[tuple[str | None, str | None], list[str]] = {}
    modes: dict[int, list[str]] = {}
    diffs: list[Diff] = []
    for path, asked, now in found:
        before: list[str] = []
        after: list[str] = []
        owner = asked.owner if asked.owner is not None and not _is(asked.owner, now.owner, now.uid) else None
        group = asked.group if asked.group is not None and not _is(asked.group, now.group, now.gid) else None
        if owner is not None or group is not None:
            before += [f"{now.owner or now.uid}:{now.group or now.gid}"]
            after += [f"{owner or now.owner or now.uid}:{group or now.group or now.gid}"]
            owners.setdefault((owner, group), []).append(path if now.kind == "link" else now.path)
        if asked.mode is not None and now.kind != "link":
            mode = parse_mode(asked.mode, now.mode, now.kind == "directory")
            # Changing the owner may have cleared the set-user bit: the mode comes last, and again if need be.
            if mode != now.mode or (before and mode & 0o6000):
                modes.setdefault(mode, []).append(path)
            if mode != now.mode:
                before.append(f"mode {show_mode(now.mode)}")
                after.append(f"mode {show_mode(mode)}")
        if before:
            diffs.append(Diff(f"{path} (attributes)", "\n".join(before) + "\n", "\n".join(after) + "\n"))
    for (owner, group), paths in owners.items():
        who = (owner or "") + (f":{group}" if group is not None else "")
        _for_all(on, paths, partial(on.chown, owner=owner, group=group), "chown", "-h", "--", who)
    for mode, paths in modes.items():
        _for_all(on, paths, partial(on.chmod, mode=mode), "chmod", "--", f"{mode:o}")
    return bool(diffs), tuple(diffs)


def _for_all(on: Transport, paths: Sequence[str], verb: Callable[[str], None], *argv: str) -> None:
    """The command with all paths behind it, where they are several; where it fails the verb tells of which and why."""
    if len(paths) > 1 and not on.dry:
        names = b"".join(path.encode("utf-8", "surrogateescape") + b"\0" for path in paths)
        if on.run(Command(("xargs", "-0", *argv), stdin=names)).ok:
            return
    for path in paths:
        verb(path)


def described(stat: Stat | None) -> dict[str, Any]:
    """What Ansible's file tools return of a file: mode, owner, group, uid, gid, size, state."""
    if stat is None:
        return {"state": "absent"}
    values: dict[str, Any] = {
        "mode": show_mode(stat.mode),
        "size": stat.size,
        "state": stat.kind,
    }
    if stat.uid >= 0:
        values |= {"uid": stat.uid, "gid": stat.gid}
    return values | {name: text for name, text in (("owner", stat.owner), ("group", stat.group)) if text}


def text_diff(path: str, before: bytes | None, after: bytes | None) -> Diff:
    """Content before and after; None where there is no file."""
    return Diff(path, _shown(before), _shown(after))


def content_diff(read: Callable[[str], bytes], path: str, before: Stat | None, source: bytes | Path) -> Diff:
    """What replacing a file's content changes; `read` is asked for the old one where it is small enough to show."""
    old: bytes | str = ""
    if before is not None:
        old = read(path) if before.size <= SHOWN else f"({before.size} bytes)\n"
    new: bytes | str
    if isinstance(source, bytes):
        new = source
    else:
        size = source.stat().st_size
        new = source.read_bytes() if size <= SHOWN else f"({size} bytes, another content)\n"
    return Diff(path, old if isinstance(old, str) else _shown(old), new if isinstance(new, str) else _shown(new))


def keep_backup(on: Transport, path: str) -> str:
    """A copy of the file beside it, with the same mode; returns its path."""
    saved = f"{path}.{datetime.now().strftime('%Y-%m-%d@%H:%M:%S')}.{os.urandom(2).hex()}~"
    on.demand(Command(("cp", "-p", "--", path, saved)))
    return saved


def demand_parent(on: Transport, path: str) -> None:
    parent = posixpath.dirname(path)
    if not parent:
        return
    there = on.stat(parent, follow=True)
    if there is None:
        raise NotFound(
            f"cannot write {path}: the directory {parent} is not there",
            remedy=f"Make it first: file: path={parent} state=directory.",
        )
    if there.kind != "directory":
        raise StepError(f"cannot write {path}: {parent} is not a directory")


def host_path(on: Transport, path: str) -> str:
    """`path` with a leading ~, ~user or $HOME made the directory it means on the host."""
    head, slash, rest = path.partition("/")
    if head in ("~", "$HOME", "${HOME}"):
        home = on.demand(Command(("sh", "-c", 'printf %s "$HOME"'), changes=False)).text
    elif head.startswith("~"):
        entry = on.run(Command(("getent", "passwd", head[1:]), changes=False))
        if not entry.ok:
            raise NotFound(f"cannot tell where {head} is: there is no user {head[1:]}")
        home = entry.text.split(":")[5]
    else:
        return path
    return home + slash + rest


def resolved(on: Transport, path: str) -> str:
    """Where a chain of links at `path` ends; the last one that can be followed when it is broken."""
    for _ in range(40):
        there = on.stat(path)
        if there is None or there.kind != "link":
            return path
        path = posixpath.normpath(posixpath.join(posixpath.dirname(path), there.target))
    raise StepError(f"{path} is a link that leads to itself")


def read_if_there(on: Transport, path: str) -> bytes | None:
    return on.read(path) if on.stat(path, follow=True) is not None else None


# --- how -------------------------------------------------------------------------------------------


def _shown(content: bytes | None) -> str:
    if content is None:
        return ""
    if len(content) <= SHOWN and b"\0" not in content:
        try:
            return content.decode()
        except UnicodeDecodeError:
            pass
    import hashlib  # takes its time to load

    kind = "bytes" if len(content) > SHOWN else "bytes, not text"
    return f"({len(content)} {kind}, sha256 {hashlib.sha256(content).hexdigest()[:16]})\n"


def _is(asked: str, name: str, number: int) -> bool:
    return asked == name or (asked.isdigit() and int(asked) == number)


def _validate(on: Transport, path: str, source: bytes | Path, command: str) -> None:
    """Let the host check the new content, in a file of its own, before it takes its place."""
    if "%s" not in command:
        raise StepError(
            f"validate does not say where the file's name goes: {command}", remedy="Put %s where the file's name goes."
        )
    if on.dry:
        return
    trial = posixpath.join(posixpath.dirname(path), f".{posixpath.basename(path)[:200]}.{os.urandom(6).hex()}")
    on.write(trial, source if isinstance(source, bytes) else source.read_bytes(), 0o600)
    try:
        argv = tuple(word.replace("%s", trial) for word in shlex.split(command))
        on.demand(
            Command(argv, changes=False),
            f"the new content of {path} did not pass its check, so the file was left as it was",
            "Correct the content, or the validate command.",
        )
    finally:
        on.remove(trial)
