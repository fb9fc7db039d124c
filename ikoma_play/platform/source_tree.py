"""A directory of the runner as a source: its files with their digests, packed for the way to a host."""

from __future__ import annotations

import hashlib
import os
import posixpath
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from msgspec import Struct

from ..errors import NotFound, Refused, StepError

# Not part of a source: git's own, derived files, and what belongs to one machine (secrets, our sandbox).
_NOWHERE = frozenset({".git", "__pycache__"})
_NOT_ON_TOP = frozenset({".env", ".ikoma"})
_CHUNK = 1 << 20


class Entry(Struct, frozen=True):
    """A file, or a link that stays inside the tree; `path` is relative, `target` a link's text."""

    path: str
    mode: int
    size: int
    mtime: int
    sha256: str
    target: str = ""


class SourceTree(Struct, frozen=True):
    """The files of a directory, sorted by path."""

    root: Path
    entries: tuple[Entry, ...]

    @property
    def digest(self) -> str:
        """Another one when any path, content, link or executable bit differs."""
        lines = (f"{entry.mode & 0o111:o} {entry.path}\0{entry.sha256}{entry.target}\n" for entry in self.entries)
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def pack(self, file: IO[bytes]) -> None:
        """Write everything as a tar archive. Raises StepError when a file changed or went away meanwhile."""
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for folder in self._folders():
                made = tarfile.TarInfo(folder)
                made.type, made.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(made)
            for entry in self.entries:
                made = tarfile.TarInfo(entry.path)
                made.mtime = entry.mtime
                if entry.target:
                    made.type, made.linkname, made.mode = tarfile.SYMTYPE, entry.target, 0o777
                    archive.addfile(made)
                    continue
                made.mode, made.size = entry.mode, entry.size
                try:
                    with (self.root / entry.path).open("rb") as content:
                        archive.addfile(made, content)
                except OSError as error:
                    raise StepError(f"{self.root / entry.path} changed while it was copied: {error.strerror}") from None

    def _folders(self) -> list[str]:
        found: set[str] = set()
        for entry in self.entries:
            folder = posixpath.dirname(entry.path)
            while folder and folder not in found:
                found.add(folder)
                folder = posixpath.dirname(folder)
        return sorted(found)


def source_tree(root: Path) -> SourceTree:
    """The files of a directory of the runner.

    Raises NotFound, Refused (a link that leads out of it, something that is no file), StepError (unreadable)."""
    if not root.is_dir():
        raise NotFound(
            f"the source {root} is no directory on this machine",
            remedy="Check the path, or give a git URL; relative paths count from the working directory.",
        )
    try:
        entries = tuple(sorted(_walk(root, root), key=lambda entry: entry.path))
    except OSError as error:
        raise StepError(f"the source cannot be read: {error.filename}: {error.strerror}") from None
    return SourceTree(root, entries)


def _walk(root: Path, folder: Path) -> Iterator[Entry]:
    with os.scandir(folder) as listing:
        listed = sorted(listing, key=lambda entry: entry.name)
    for item in listed:
        if item.name in _NOWHERE or (folder == root and item.name in _NOT_ON_TOP):
            continue
        path = Path(item.path)
        relative = path.relative_to(root).as_posix()
        status = item.stat(follow_symlinks=False)
        if item.is_symlink():
            yield Entry(relative, 0o777, 0, int(status.st_mtime), "", _inside(root, path, relative))
        elif item.is_dir(follow_symlinks=False):
            yield from _walk(root, path)
        elif item.is_file(follow_symlinks=False):
            mode = 0o755 if status.st_mode & 0o111 else 0o644
            yield Entry(relative, mode, status.st_size, int(status.st_mtime), _sha256(path))
        else:
            raise Refused(f"{path} is neither a file nor a directory nor a link", remedy="Take it out of the source.")


def _inside(root: Path, path: Path, relative: str) -> str:
    target = str(path.readlink())
    leads_to = posixpath.normpath(posixpath.join(posixpath.dirname(relative), target))
    if posixpath.isabs(target) or leads_to == ".." or leads_to.startswith("../"):
        raise Refused(
            f"the link {path} leads out of the source, to {target}",
            remedy="Put the file itself there, or take the link out of the source.",
        )
    return target


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
