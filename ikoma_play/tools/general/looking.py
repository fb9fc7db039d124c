"""Tools that look at files of the host, and bring some of it to the runner: stat, slurp, find, fetch, tempfile."""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import os
import posixpath
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from ...errors import NotFound, StepError
from ...model import Access, Command, Diff, Outcome, changed, ok
from ...tool import Scope, tool
from ...transport.base import LARGE, Stat, Transport
from .modes import parse_mode, show_mode
from .placing import Mode, described, host_path, text_diff

Algorithm = Literal["md5", "sha1", "sha224", "sha256", "sha384", "sha512", "checksum"]
FileType = Literal["any", "directory", "file", "link"]
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
SIZES = {"b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


@tool("stat", access=Access.ADMIN, changes=False, aliases={
    "dest": "path", "name": "path", "checksum": "checksum_algorithm", "checksum_algo": "checksum_algorithm",
    "mime": "get_mime", "mime_type": "get_mime", "mime-type": "get_mime",
    "attr": "get_attributes", "attributes": "get_attributes",
})  # fmt: skip
def stat(
    on: Transport,
    *,
    path: str,
    follow: bool = False,
    get_checksum: bool = True,
    checksum_algorithm: Algorithm = "sha1",
    get_mime: bool = True,
    get_attributes: bool = True,
) -> Outcome:
    """Tell what is at a path.

    path: what to look at
    follow: look at what a link leads to
    get_checksum: also give the checksum of a file's content
    checksum_algorithm: which one
    get_mime: accepted for Ansible's sake
    get_attributes: accepted for Ansible's sake
    """
    path = host_path(on, path)
    found = on.stat(path, follow)
    if found is None:
        return ok({"stat": {"exists": False}}, message=f"{path} is not there")
    values = {"exists": True, "path": path, **details(found)}
    if found.kind == "link":
        values["lnk_source"] = posixpath.normpath(posixpath.join(posixpath.dirname(path), found.target))
        values["lnk_target"] = found.target
    if not on.dry or on.run(Command(("test", "-e", path), changes=False)).ok:
        allowed = on.run(Command(("sh", "-c", ACCESS, "sh", path), changes=False)).text
        values |= {"readable": "r" in allowed, "writeable": "w" in allowed, "executable": "x" in allowed}
    if get_checksum and found.kind == "file":
        values["checksum"] = digest(on, path, found.size, checksum_algorithm)
    return ok({"stat": values}, message=f"{path} is a {found.noun}")


ACCESS = 'for right in r w x; do if [ "-$right" "$1" ]; then printf %s "$right"; fi; done'


@tool("slurp", access=Access.ADMIN, changes=False, aliases={"path": "src"})
def slurp(on: Transport, *, src: str) -> Outcome:
    """Read a file of the host, as base64.

    src: the file
    """
    path = host_path(on, src)
    content = base64.b64encode(on.read(path)).decode()
    return ok({"content": content, "encoding": "base64", "source": path}, message=f"read {path}")


@tool("fetch", access=Access.ADMIN, changes=True)
def fetch(
    on: Transport,
    *,
    scope: Scope,
    src: str,
    dest: str,
    flat: bool = False,
    fail_on_missing: bool = True,
    validate_checksum: bool = True,
) -> Outcome:
    """Bring a file of the host to the runner.

    src: the file on the host
    dest: a directory of the runner; the file lies in it below the host's name, with its whole path
    flat: dest is the file itself, or with / at its end the directory that it lies in
    fail_on_missing: fail when the file is not there
    validate_checksum: accepted for Ansible's sake; what is read is what is written
    """
    path = host_path(on, src)
    there = on.stat(path, follow=True)
    if there is None:
        if fail_on_missing:
            raise NotFound(f"{path} is not there", remedy="Check src, or say fail_on_missing: false.")
        return ok({"file": path, "msg": f"{path} is not there"}, message=f"{path} is not there")
    if there.kind != "file":
        raise StepError(f"{path} is a {there.noun}, not a file", remedy="Fetch single files; find lists them.")
    target = _runner_path(scope, dest, flat, on.host.name, path)
    content = on.read(path)
    before = target.read_bytes() if target.is_file() else None
    values = {
        "file": path,
        "dest": str(target),
        "checksum": hashlib.sha1(content).hexdigest(),
        "remote_checksum": hashlib.sha1(content).hexdigest(),
    }
    if before == content:
        return ok(values)
    if not on.dry:
        from ...transport.local import LocalTransport

        runner = LocalTransport(on.host)
        runner.mkdir(str(target.parent))
        runner.write(str(target), content)
    return changed(values, diffs=(text_diff(str(target), before, content),))


@tool("tempfile", access=Access.ADMIN, changes=True)
def tempfile(
    on: Transport,
    *,
    state: Literal["file", "directory"] = "file",
    path: str = "/tmp",
    prefix: str = "ansible.",
    suffix: str = "",
) -> Outcome:
    """Make a new empty file or directory with a name of its own, for this user alone.

    state: file or directory
    path: where
    prefix: how its name begins
    suffix: how its name ends
    """
    if "/" in prefix + suffix:
        raise StepError("a part of a name holds no /", remedy="Say where by path.")
    made = posixpath.join(host_path(on, path), f"{prefix}{os.urandom(6).hex()}{suffix}")
    if state == "directory":
        on.mkdir(made, 0o700)
    else:
        on.write(made, b"", 0o600)
    return changed({"path": made, **described(on.stat(made))}, diffs=(Diff(made, "", f"({state}, empty)\n"),))


@tool("find", access=Access.ADMIN, changes=False, aliases={
    "path": "paths", "name": "paths", "pattern": "patterns", "exclude": "excludes",
    "checksum": "get_checksum", "checksum_algo": "checksum_algorithm",
})  # fmt: skip
def find(
    on: Transport,
    *,
    paths: list[str],
    patterns: list[str] | None = None,
    excludes: list[str] | None = None,
    use_regex: bool = False,
    contains: str | None = None,
    read_whole_file: bool = False,
    file_type: FileType = "file",
    recurse: bool = False,
    depth: int | None = None,
    hidden: bool = False,
    age: str | int | None = None,
    age_stamp: Literal["mtime"] = "mtime",
    size: str | int | None = None,
    mode: Mode = None,
    exact_mode: bool = True,
    follow: bool = False,
    get_checksum: bool = False,
    checksum_algorithm: Algorithm = "sha1",
    limit: int | None = None,
) -> Outcome:
    """List files of the host.

    paths: the directories to look in
    patterns: names to list, with * and ?, or regular expressions with use_regex
    excludes: names to leave out, in the same way
    use_regex: patterns and excludes are regular expressions
    contains: only files with a line that begins as this regular expression says
    read_whole_file: look for contains in the whole text, anywhere
    file_type: file, directory, link or any
    recurse: also in directories below
    depth: how many directories deep
    hidden: also names with a dot first
    age: only what is older than this (2d, 4h, 30m, 1w, seconds); younger with - before it
    age_stamp: by which time; the time of the last change of the content is the one that is known
    size: only what is at least as large (10k, 2m); at most as large with - before it
    mode: only what has this mode
    exact_mode: the whole mode; false: at least these bits
    follow: look into directories that links lead to
    get_checksum: also give the checksum of each file
    checksum_algorithm: which one
    limit: stop after as many
    """
    criteria = _Criteria(
        patterns or ["*" if not use_regex else ""],
        excludes or [],
        use_regex,
        file_type,
        hidden,
        _amount(age, UNITS, "age"),
        _amount(size, SIZES, "size"),
        mode,
        exact_mode,
        re.compile(contains.encode(), re.MULTILINE) if contains is not None else None,
        read_whole_file,
    )
    listed: list[dict[str, Any]] = []
    examined = 0
    skipped: dict[str, str] = {}
    for root in paths:
        place = host_path(on, root).rstrip("/") or "/"
        there = on.stat(place, follow=True)
        if there is None or there.kind != "directory":
            skipped[root] = f"{place} is not a directory"
            continue
        for entry in _walk(on, place, depth or (1000 if recurse else 1), follow, hidden, skipped):
            examined += 1
            if not criteria.hold(on, entry):
                continue
            values = {"path": entry.path, **details(entry)}
            if get_checksum and entry.kind == "file":
                values["checksum"] = digest(on, entry.path, entry.size, checksum_algorithm)
            listed.append(values)
            if limit is not None and len(listed) >= limit:
                break
        if limit is not None and len(listed) >= limit:
            break
    told = f"not all paths could be looked into: {', '.join(skipped)}" if skipped else "all paths were looked into"
    return ok(
        {"files": listed, "matched": len(listed), "examined": examined, "skipped_paths": skipped, "msg": told},
        message=f"{len(listed)} found",
        warnings=tuple(skipped.values()),
    )


# --- how -------------------------------------------------------------------------------------------


def details(found: Stat) -> dict[str, Any]:
    """What stat and find tell of one entry, under Ansible's names."""
    rights = {
        f"{letter}{who}": bool(found.mode >> shift & bit)
        for who, shift in (("usr", 6), ("grp", 3), ("oth", 0))
        for letter, bit in (("r", 4), ("w", 2), ("x", 1))
    }
    return {
        "mode": show_mode(found.mode),
        "isdir": found.kind == "directory",
        "isreg": found.kind == "file",
        "islnk": found.kind == "link",
        "size": found.size,
        "mtime": found.mtime,
        "uid": found.uid,
        "gid": found.gid,
        "pw_name": found.owner,
        "gr_name": found.group,
        "isuid": bool(found.mode & 0o4000),
        "isgid": bool(found.mode & 0o2000),
        **rights,
    }


def digest(on: Transport, path: str, size: int, algorithm: Algorithm) -> str:
    """The checksum of a file of the host; large ones are read there."""
    name = "sha1" if algorithm == "checksum" else algorithm
    if size > LARGE and not on.dry:
        told = on.demand(Command((f"{name}sum", "--", path), changes=False)).text
        return told.lstrip("\\").split(" ")[0]
    return hashlib.new(name, on.read(path)).hexdigest()


class _Criteria:
    """What find keeps of what it sees."""

    def __init__(
        self,
        patterns: list[str],
        excludes: list[str],
        regex: bool,
        kind: FileType,
        hidden: bool,
        age: float | None,
        size: float | None,
        mode: Mode,
        exact: bool,
        contains: re.Pattern[bytes] | None,
        whole: bool,
    ) -> None:
        self.names = [_name_pattern(each, regex) for each in patterns]
        self.without = [_name_pattern(each, regex) for each in excludes]
        self.kind = kind
        self.hidden = hidden
        self.age = age
        self.size = size
        self.mode = mode
        self.exact = exact
        self.contains = contains
        self.whole = whole
        self.now = time.time()

    def hold(self, on: Transport, entry: Stat) -> bool:
        name = posixpath.basename(entry.path)
        return (
            self.kind in ("any", entry.kind)
            and (self.hidden or not name.startswith("."))
            and any(each.match(name) for each in self.names)
            and not any(each.match(name) for each in self.without)
            and self._beyond(self.now - entry.mtime, self.age)
            and self._beyond(entry.size, self.size)
            and self._has_mode(entry)
            and self._has_text(on, entry)
        )

    def _beyond(self, value: float, bound: float | None) -> bool:
        return bound is None or (value >= bound if bound >= 0 else value <= -bound)

    def _has_mode(self, entry: Stat) -> bool:
        if self.mode is None:
            return True
        wanted = parse_mode(self.mode, entry.mode, entry.kind == "directory")
        return entry.mode == wanted if self.exact else entry.mode & wanted == wanted

    def _has_text(self, on: Transport, entry: Stat) -> bool:
        if self.contains is None or entry.kind != "file":
            return self.contains is None or self.kind == "any"
        content = on.read(entry.path)
        if self.whole:
            return self.contains.search(content) is not None
        return any(self.contains.match(line) for line in content.splitlines())


def _name_pattern(text: str, regex: bool) -> re.Pattern[str]:
    try:
        return re.compile(text if regex else fnmatch.translate(text))
    except re.error as error:
        raise StepError(
            f"{text!r} is not a regular expression: {error}", remedy="Leave use_regex out for * and ?."
        ) from None


def _walk(
    on: Transport, folder: str, depth: int, follow: bool, hidden: bool, skipped: dict[str, str]
) -> Iterator[Stat]:
    try:
        entries = on.scan(folder)
    except StepError as error:
        skipped[folder] = error.message
        return
    for entry in entries:
        yield entry
        inside = entry.kind == "directory"
        if follow and entry.kind == "link":
            real = on.stat(entry.path, follow=True)
            inside = real is not None and real.kind == "directory"
        if inside and depth > 1 and (hidden or not posixpath.basename(entry.path).startswith(".")):
            yield from _walk(on, entry.path, depth - 1, follow, hidden, skipped)


def _amount(text: str | int | None, units: dict[str, int], what: str) -> float | None:
    """A number with a unit behind it, as in 2d or -10k; negative where it is an upper bound."""
    if text is None:
        return None
    found = re.fullmatch(r"(-?\d+)([a-z]?)\w*", str(text).strip().lower())
    if found is None or (found[2] and found[2] not in units):
        raise StepError(f"{what} {text!r} is not a number with a unit", remedy=f"Use one of: {', '.join(units)}.")
    return int(found[1]) * units.get(found[2], 1)


def _runner_path(scope: Scope, dest: str, flat: bool, host: str, path: str) -> Path:
    base = Path(str(scope.variables.get("playbook_dir", "."))) / Path(dest).expanduser()
    if flat:
        return base / posixpath.basename(path) if dest.endswith("/") else base
    inside = posixpath.normpath("/" + path).lstrip("/")
    return base / host / inside
