"""What copy and assemble take from: a file or a folder, of the runner or of the host."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from ...errors import IkomaError, NotFound, StepError
from ...transport.base import Transport

VAULT = b"$ANSIBLE_VAULT;"


class Entry(Struct, frozen=True):
    """Something to copy: `name` is relative to the source; a link's content is its target."""

    name: str
    kind: str
    mode: int
    content: bytes | Path = b""
    secret: bool = False  # it is encrypted on the runner

    def read(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


class Source(Struct, frozen=True):
    """A file, or a folder with everything below it, folders before what they hold."""

    path: str
    folder: bool
    entries: tuple[Entry, ...]

    @property
    def name(self) -> str:
        return posixpath.basename(self.path.rstrip("/"))


def one_file(path: Path, asked: str) -> Path:
    """The path of a file of the runner; `asked` names the argument. Raises StepError where it is a directory."""
    if not path.is_file():
        raise StepError(f"{asked} is no file: {path}", remedy="Name a file of the runner.")
    return path


def on_runner(path: Path, follow: bool, decrypt: bool = False) -> Source:
    """Files of the runner; encrypted ones as what they hold where `decrypt` says so. Raises StepError."""

    def file(name: str, path: Path) -> Entry:
        mode = path.stat().st_mode & 0o7777
        if decrypt and is_encrypted(path):
            return Entry(name, "file", mode, decrypted(path), secret=True)
        return Entry(name, "file", mode, path)

    def walk(folder: Path) -> Iterator[Entry]:
        for each in sorted(folder.iterdir()):
            name = each.relative_to(path).as_posix()
            if each.is_symlink() and not follow:
                yield Entry(name, "link", 0o777, str(each.readlink()).encode())
            elif each.is_dir():
                yield Entry(name, "directory", each.stat().st_mode & 0o7777)
                yield from walk(each)
            elif each.is_file():
                yield file(name, each)

    if path.is_dir():
        return Source(str(path), True, tuple(walk(path)))
    return Source(str(path), False, (file(path.name, path),))


def is_encrypted(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(VAULT)) == VAULT


def decrypted(path: Path) -> bytes:
    """What an encrypted file of the runner holds. Raises StepError."""
    from ...language.vault import KEYS

    try:
        return KEYS.decrypt(path.read_text(encoding="utf-8"))
    except IkomaError as error:
        raise StepError(f"{path}: {error.message}", remedy=error.remedy) from None


def on_host(on: Transport, src: str, follow: bool) -> Source:
    there = on.stat(src, follow=True)
    if there is None:
        raise NotFound(f"{src} is not there on {on.host.name}", remedy="Check src; remote_src looks on the host.")
    if there.kind != "directory":
        name = posixpath.basename(src.rstrip("/"))
        return Source(src, False, (Entry(name, "file", there.mode, on.read(src)),))

    def walk(folder: str) -> Iterator[Entry]:
        for each in on.scan(folder):
            name = posixpath.relpath(each.path, src)
            real = on.stat(each.path, follow=True) if each.kind == "link" and follow else each
            if real is None or real.kind == "link":
                yield Entry(name, "link", 0o777, each.target.encode())
            elif real.kind == "directory":
                yield Entry(name, "directory", real.mode)
                yield from walk(each.path)
            elif real.kind == "file":
                yield Entry(name, "file", real.mode, on.read(each.path))

    return Source(src, True, tuple(walk(src)))
