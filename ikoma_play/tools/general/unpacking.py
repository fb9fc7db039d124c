"""The tool unarchive: what is in a tar or zip archive, put below a directory of the host."""

from __future__ import annotations

import fnmatch
import posixpath
import re
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from msgspec import Struct

from ...errors import NotFound, StepError, Unavailable
from ...model import Access, Command, Diff, Outcome, Result, changed, ok
from ...tool import Scope, tool
from ...transport.base import Transport
from .placing import Attributes, Mode, described, host_path, place, settle, settle_all
from .sources import one_file

# How an archive begins → the option of tar that reads it; tar itself cannot tell when it reads a stream.
PACKED = {b"\x1f\x8b": "-z", b"BZh": "-j", b"\xfd7zXZ": "-J", b"\x28\xb5\x2f\xfd": "--zstd"}
ZIP = b"PK"
# What tar finds different that is not for an archive to say: who owns a file is asked for by owner and group.
OWNERSHIP = re.compile(r": (Uid|Gid) differs$")
_ABSENT = re.compile(r"^tar: (.+): not found in archive$", re.MULTILINE | re.IGNORECASE)


class Archive(Struct, frozen=True):
    """An archive: an open file of the runner, or a path of the host."""

    name: str
    head: bytes
    stream: BinaryIO | None = None

    @property
    def option(self) -> list[str]:
        return [option for magic, option in PACKED.items() if self.head.startswith(magic)]


@tool("unarchive", access=Access.ADMIN, changes=True)
def unarchive(
    on: Transport,
    *,
    scope: Scope,
    src: str,
    dest: str,
    remote_src: bool = False,
    copy: bool | None = None,
    creates: str | None = None,
    list_files: bool = False,
    include: list[str] | None = None,
    exclude: list[str] | None = None,
    keep_newer: bool = False,
    extra_opts: list[str] | None = None,
    mode: Mode = None,
    owner: str | None = None,
    group: str | None = None,
) -> Outcome:
    """Unpack a tar or zip archive into a directory of the host.

    src: the archive, of the runner (of the host with remote_src)
    dest: the directory; it must be there
    remote_src: src is on the host
    copy: false is remote_src: true
    creates: a path; nothing is unpacked where it is there already
    list_files: also return the names of what is in the archive
    include: only these members
    exclude: without these members
    keep_newer: leave files alone that are newer than the archive's
    extra_opts: further options for tar
    mode: "0644", or "u=rw,g=r,o=", for everything in the archive
    owner: a user's name or number
    group: a group's name or number
    """
    dest = host_path(on, dest).rstrip("/") or "/"
    if creates is not None and on.exists(posixpath.join(dest, host_path(on, creates))):
        return ok({"dest": dest, "src": src}, message=f"not unpacked, since {creates} exists")
    there = on.stat(dest, follow=True)
    if there is None or there.kind != "directory":
        raise NotFound(
            f"the directory {dest} is not there", remedy=f"Make it first: file: path={dest} state=directory."
        )
    choice = _Choice(tuple(include or ()), tuple(exclude or ()), keep_newer, tuple(extra_opts or ()))
    with _opened(on, scope, src, remote_src or copy is False) as archive:
        if archive.head.startswith(ZIP):
            altered, diffs, names = _unzip(on, archive, dest, choice, Attributes(mode, owner, group))
        else:
            altered, diffs, names = _untar(on, archive, dest, choice)
            if mode is not None or owner is not None or group is not None:
                asked, paths = Attributes(mode, owner, group), [posixpath.join(dest, name) for name in names]
                found = zip(paths, on.look(paths), strict=True)
                settled, differences = settle_all(on, [(path, asked, there) for path, there in found if there])
                altered |= settled
                diffs += differences
    values: dict[str, Any] = {"dest": dest, "src": archive.name, **described(on.stat(dest, follow=True))}
    if list_files:
        values["files"] = names
    return (changed if altered else ok)(values, diffs=tuple(diffs))


class _Choice(Struct, frozen=True):
    """Which members, and how."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    keep_newer: bool = False
    options: tuple[str, ...] = ()

    def takes(self, name: str) -> bool:
        """Whether a member of a zip archive is among those asked for."""
        return not _among(self.exclude, name) and (not self.include or _among(self.include, name))


def _among(patterns: Iterable[str], name: str) -> bool:
    return any(fnmatch.fnmatch(name.rstrip("/"), pattern.rstrip("/")) for pattern in patterns)


@contextmanager
def _opened(on: Transport, scope: Scope, src: str, on_host: bool) -> Iterator[Archive]:
    if not on_host:
        if "://" in src:
            raise StepError("unarchive does not download", remedy="Use get_url first, then remote_src: true.")
        path = one_file(scope.find("files", src), "src of unarchive")
        with path.open("rb") as stream:
            head = stream.read(8)
            stream.seek(0)
            yield Archive(str(path), head, stream)
        return
    path_there = host_path(on, src)
    if on.stat(path_there, follow=True) is None:
        raise NotFound(f"{path_there} is not there on {on.host.name}", remedy="Check src.")
    head = on.demand(Command(("head", "-c", "8", "--", path_there), changes=False)).stdout
    yield Archive(path_there, head)


def _not_held(archive: Archive, wanted: str) -> NotFound:
    return NotFound(f"{archive.name} holds no {wanted}", remedy="Check include, and what the archive holds.")


def _untar(on: Transport, archive: Archive, dest: str, choice: _Choice) -> tuple[bool, list[Diff], list[str]]:
    """Unpack with the host's tar, where tar says that something differs."""
    listed = _tar(on, archive, ("-t",), choice, changes=False)
    if not listed.ok:
        told = listed.stderr.decode("utf-8", "replace").strip()
        if absent := _ABSENT.search(told):
            raise _not_held(archive, absent[1])
        raise StepError(
            f"{archive.name} is not an archive that tar can read",
            remedy="Check that the whole file is there and that it is a tar or zip archive.",
            evidence=told,
        )
    names = [name.removeprefix("./") for name in listed.text.splitlines() if name not in (".", "./")]
    climbing = [name for name in names if name.startswith("/") or ".." in name.split("/")]
    if climbing:
        raise StepError(f"{archive.name} holds {climbing[0]}, which leads out of {dest}", remedy="Do not trust it.")
    compared = _tar(on, archive, ("-d", "-C", dest), choice, changes=False)
    found = compared.stdout + compared.stderr
    different = [
        line
        for line in found.decode("utf-8", "replace").splitlines()
        if line.strip() and not OWNERSHIP.search(line) and not line.startswith("tar: Exiting")
    ]
    if not different:
        return False, [], names
    newer = ("--keep-newer-files",) if choice.keep_newer else ()
    unpacked = _tar(on, archive, ("-x", "-p", *newer, "-C", dest), choice, changes=True)
    if not unpacked.ok:
        told = unpacked.stderr.decode("utf-8", "replace").strip()
        if "No space left" in told:
            raise Unavailable(f"no space left while unpacking {archive.name}", remedy="Free disk space.", evidence=told)
        raise StepError(f"tar could not unpack {archive.name} into {dest}", evidence=told)
    if choice.keep_newer and not on.dry:
        after = _tar(on, archive, ("-d", "-C", dest), choice, changes=False)
        if after.stdout + after.stderr == found:
            return False, [], names
    return True, [Diff(dest, "\n".join(different) + "\n", f"as in {archive.name}\n")], names


def _tar(on: Transport, archive: Archive, action: tuple[str, ...], choice: _Choice, changes: bool) -> Result:
    if archive.stream is not None:
        archive.stream.seek(0)
    excluded = tuple(f"--exclude={pattern}" for pattern in choice.exclude)
    source = "-" if archive.stream is not None else archive.name
    argv = ("tar", *action, *archive.option, *choice.options, *excluded, "-f", source, *choice.include)
    return on.run(Command(argv, stdin=archive.stream, env={"LC_ALL": "C"}, changes=changes))


def _unzip(
    on: Transport, archive: Archive, dest: str, choice: _Choice, asked: Attributes
) -> tuple[bool, list[Diff], list[str]]:
    """Unpack file by file: zip archives say nothing of owners, and not every host has unzip."""
    altered = False
    diffs: list[Diff] = []
    names: list[str] = []
    try:
        opened = zipfile.ZipFile(archive.stream if archive.stream is not None else BytesIO(on.read(archive.name)))
    except zipfile.BadZipFile as error:
        raise StepError(f"{archive.name} is a broken zip archive: {error}", remedy="Get the whole file.") from None
    with opened:
        for pattern in choice.include:
            if not any(_among((pattern,), name) for name in opened.namelist()):
                raise _not_held(archive, pattern)
        for member in opened.infolist():
            if not choice.takes(member.filename):
                continue
            name = member.filename
            if name.startswith("/") or ".." in Path(name).parts:
                raise StepError(f"{archive.name} holds {name}, which leads out of {dest}", remedy="Do not trust it.")
            names.append(name)
            path = posixpath.join(dest, name.rstrip("/"))
            kind = member.external_attr >> 16
            if member.is_dir():
                made = on.mkdir(path)
                settled, differences = settle(on, path, asked)
                altered |= made or settled
                diffs += [Diff(path, "", "(directory)\n")] if made else list(differences)
                continue
            altered |= on.mkdir(posixpath.dirname(path))
            mode = asked.mode if asked.mode is not None else (kind & 0o777) or None
            if kind & 0o170000 == 0o120000:
                altered |= _link(on, path, opened.read(member).decode(), dest, diffs)
                continue
            placed = place(on, path, opened.read(member), Attributes(mode, asked.owner, asked.group))
            altered |= placed.changed
            diffs += placed.diffs
    return altered, diffs, names


def _link(on: Transport, path: str, target: str, dest: str, diffs: list[Diff]) -> bool:
    leads_to = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    if not (leads_to + "/").startswith(dest.rstrip("/") + "/"):
        raise StepError(f"the archive holds a link {path} that leads out of {dest}", remedy="Do not trust it.")
    there = on.stat(path)
    if there is not None and there.kind == "link" and there.target == target:
        return False
    on.symlink(target, path)
    diffs.append(Diff(path, "", f"(link) {target}\n"))
    return True
