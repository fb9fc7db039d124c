"""Former sources of an application, kept so that a release can be put back when its origin is gone.

    .ikoma/sources/KEY/src/          the tree as it lay in src/, git's own directory with it
    .ikoma/sources/KEY/…             the compose file, migrations/, seeds/ and config/ beside it
    .ikoma/sources/KEY/source.json   what was recorded of where it came from
    .ikoma/sources/KEY/files         the digest of each file

KEY is a digest of all that, so that a copy which was changed is found out. Files that two copies have in common
are one file on the disk.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import secrets
from collections.abc import Collection
from typing import Any

from ..errors import NotFound, Refused, StepError, last_lines
from ..model import Command, Progress
from ..transport.base import Transport
from . import compose_file
from .application import demand
from .source_placing import (
    FOLDERS,
    RECORD,
    Parts,
    Placed,
    is_part,
    keep_record,
    known_source,
    not_copied,
    renamed,
    replaceable,
    staged,
    sweep,
)

FOLDER = ".ikoma/sources"
_NAMES = ("src", *compose_file.NAMES, *FOLDERS)
_TIMEOUT = 1800.0
# Digests of files, the texts of links, and which files run; what git and interpreters keep beside does not count.
_LIST = r"""cd "$1" || exit; shift
for name in "$@"; do shift; test -e "$name" && set -- "$@" "$name"; done
test $# -gt 0 || exit 0
set -e
find "$@" \( -name .git -o -name __pycache__ \) -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum --
find "$@" \( -name .git -o -name __pycache__ \) -prune -o -type l -printf 'link %p %l\n' | LC_ALL=C sort
find "$@" \( -name .git -o -name __pycache__ \) -prune -o -type f -perm /111 -printf 'runs %p\n' | LC_ALL=C sort"""
# Git never changes an object's file, so that objects can be shared; all other files are copied.
_COPY = r"""set -e
copy() {
    mkdir -p -- "$2"
    if ! test -d "$1/.git"; then cp -a --reflink=auto -T -- "$1" "$2"; return; fi
    find "$1" -mindepth 1 -maxdepth 1 ! -name .git -exec cp -a --reflink=auto -t "$2" -- {} +
    mkdir -p -- "$2/.git"
    find "$1/.git" -mindepth 1 -maxdepth 1 ! -name objects -exec cp -a -t "$2/.git" -- {} +
    cp -al -t "$2/.git" -- "$1/.git/objects" 2>/dev/null || cp -a -t "$2/.git" -- "$1/.git/objects"
}
"""
_COPY_IN = rf"""{_COPY}cd "$1"; part=$2; shift 2
mkdir -p -m 700 -- "$part"
for name in "$@"; do
    if test "$name" = src && test -d src; then copy src "$part/src"
    elif test -e "$name"; then cp -a -t "$part" -- "$name"; fi
done"""
_COPY_OUT = rf"""{_COPY}copy "$1" "$2" """
_SHARE = r"""cd "$1" && xargs -0r cp -alf --parents -t "$2" --"""


def keep(on: Transport, app: str) -> str:
    """Copy the source that is in place now, unless it is kept already; the key it is kept under.

    Raises Unavailable (disk full), StepError; nothing half-made stays."""
    folder = demand(on, app)
    listed, record = _listing(on, folder), _text(on, posixpath.join(folder, RECORD))
    key = _key(listed, record)
    home = posixpath.join(folder, FOLDER)
    target = posixpath.join(home, key)
    if on.dry or on.exists(target):
        return key
    on.mkdir(home, 0o700)
    part = posixpath.join(home, f".part-{secrets.token_hex(6)}")
    try:
        result = on.run(Command(("sh", "-c", _COPY_IN, "sh", folder, part, *_NAMES), timeout=_TIMEOUT))
        if not result.ok:
            raise not_copied(last_lines(result))
        _share(on, home, part, listed)
        on.write(posixpath.join(part, "source.json"), record, 0o600)
        on.write(posixpath.join(part, "files"), listed.encode("utf-8", "surrogateescape"), 0o600)
        on.rename(part, target)
    except BaseException:
        on.remove(part)
        raise
    return key


def sound(on: Transport, app: str, key: str) -> bool:
    """Whether the source is kept and is what was kept: every file of it is read."""
    place = posixpath.join(demand(on, app), FOLDER, key)
    if not key or not on.exists(place):
        return False
    try:
        return _key(_listing(on, place), _text(on, posixpath.join(place, "source.json"))) == key
    except StepError:
        return False


def in_place(on: Transport, app: str, key: str) -> bool:
    """Whether just this source is in place now."""
    folder = demand(on, app)
    return bool(key) and _key(_listing(on, folder), _text(on, posixpath.join(folder, RECORD))) == key


def put_back(on: Transport, app: str, key: str) -> Placed:
    """Give a kept source its place again; files changed by hand beside src/ are kept as NAME.bak.

    Where the disk is too full for a copy, the files are linked. Raises NotFound, Refused (the copy was
    changed); the present source then stays."""
    folder = demand(on, app)
    sweep(on, folder)
    place = posixpath.join(folder, FOLDER, key)
    _demand(on, app, key, place)
    record = _record(on, place)
    if in_place(on, app, key):
        return _placed(record, Parts(on, folder), False)
    if on.dry:
        return _placed(record, Parts(on, folder), True)
    writing = Parts(on, folder)
    with staged(on, folder) as incoming:
        copy_out(on, place, incoming)
        with renamed(on, folder, incoming):
            try:
                _put_parts(on, folder, place, writing)
                keep_record(on, folder, record, {})
            except BaseException:
                writing.go_back()
                raise
    return _placed(record, writing, True)


def copy_out(on: Transport, place: str, target: str) -> None:
    """The tree of a kept source at another place; linked where there is no room for a copy."""
    tree = posixpath.join(place, "src")
    if not on.exists(tree):
        on.mkdir(target)
        return
    on.progress(Progress("copying the kept source"))
    result = on.run(Command(("sh", "-c", _COPY_OUT, "sh", tree, target), timeout=_TIMEOUT))
    if not result.ok and "No space left" in last_lines(result):
        on.remove(target)
        result = on.run(Command(("cp", "-al", "-T", "--", tree, target), timeout=_TIMEOUT))
    if not result.ok:
        raise not_copied(last_lines(result))


def parts(on: Transport, place: str) -> dict[str, bytes]:
    """The files beside src/ of an application's directory or of a kept source."""
    found = [entry for entry in on.scan(place) if entry.kind == "file"]
    for name in FOLDERS:
        found += [entry for entry in on.scan(posixpath.join(place, name), recurse=True) if entry.kind == "file"]
    named = {posixpath.relpath(entry.path, place): entry.path for entry in found}
    return {name: on.read(path) for name, path in sorted(named.items()) if is_part(name) and not name.endswith(".bak")}


def forget_others(on: Transport, app: str, keys: Collection[str]) -> list[str]:
    """Remove every kept source but these; the names of those removed."""
    home = posixpath.join(demand(on, app), FOLDER)
    others = [entry.path for entry in on.scan(home) if posixpath.basename(entry.path) not in keys]
    for path in others:
        on.remove(path)
    if others and not keys:
        on.remove(home)
    return [posixpath.basename(path) for path in others]


# --- how ---


def _demand(on: Transport, app: str, key: str, place: str) -> None:
    if not key or not on.exists(place):
        raise NotFound(
            f"the source {key[:12] or 'of that release'} of {app} is not kept",
            remedy="Go back to another release (artifact.releases), or put the source in place with apps.source.",
        )
    if not sound(on, app, key):
        raise Refused(
            f"the kept source {place} is not what was kept: files of it were changed",
            remedy="Go back to another release (artifact.releases), or put the source in place with apps.source.",
        )


def _put_parts(on: Transport, folder: str, place: str, writing: Parts) -> None:
    wanted = parts(on, place)
    ours = known_source(on, folder).get("placed", {})
    for path, data in wanted.items():
        writing.put(path, data, replaceable(path, ours))
    for path in parts(on, folder):
        if path not in wanted:
            writing.drop(path, replaceable(path, ours))


def _placed(record: dict[str, Any], writing: Parts, changed: bool) -> Placed:
    named = {name: str(record.get(name, "")) for name in ("source", "ref", "commit", "tree")}
    files = record.get("count", len(record.get("files", {})))
    lists = tuple(writing.replaced), tuple(writing.removed), tuple(writing.kept)
    return Placed(**named, files=files, changed=changed, replaced=lists[0], removed=lists[1], kept=lists[2])


def _listing(on: Transport, place: str) -> str:
    command = Command(("sh", "-c", _LIST, "sh", place, *_NAMES), changes=False, timeout=_TIMEOUT)
    text = on.demand(command, f"the files of {place} cannot be read").stdout.decode("utf-8", "surrogateescape")
    # What an earlier source left beside as NAME.bak is nobody's source.
    lines = [line for line in text.splitlines() if not line.endswith(".bak") or " src/" in line]
    return "".join(f"{line}\n" for line in lines)


def _key(listed: str, record: bytes) -> str:
    return hashlib.sha256(listed.encode("utf-8", "surrogateescape") + b"\0" + record).hexdigest()[:40]


def _text(on: Transport, path: str) -> bytes:
    return on.read(path) if on.exists(path) else b"{}"


def _record(on: Transport, place: str) -> dict[str, Any]:
    found = json.loads(_text(on, posixpath.join(place, "source.json")))
    return found if isinstance(found, dict) else {}


def _share(on: Transport, home: str, part: str, listed: str) -> None:
    """Files that the copy before has too become one with it."""
    before = [entry for entry in on.scan(home) if not posixpath.basename(entry.path).startswith(".")]
    if not before:
        return
    newest = max(before, key=lambda entry: entry.mtime).path
    theirs = set(_text(on, posixpath.join(newest, "files")).decode("utf-8", "surrogateescape").splitlines())
    ours = set(listed.splitlines())
    runs = {line[5:] for line in ours ^ theirs if line.startswith("runs ")}
    # A line of sha256sum begins with a backslash where the name was escaped: such files stay copies.
    names = [line[66:] for line in sorted(ours & theirs) if line[64:66] == "  " and line[66:] not in runs]
    if names:
        data = b"".join(name.encode("utf-8", "surrogateescape") + b"\0" for name in names)
        on.run(Command(("sh", "-c", _SHARE, "sh", newest, part), stdin=data, timeout=_TIMEOUT))
