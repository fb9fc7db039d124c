"""How a source takes its place: a new tree beside src/ that is renamed, and files beside src/, with the way back."""

from __future__ import annotations

import contextlib
import hashlib
import json
import posixpath
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct, field

from ..errors import Refused, StepError, Unavailable
from ..transport.base import Transport
from . import compose_file
from .skeleton import GENERATED

FOLDERS = ("migrations", "seeds", "config")
RECORD = ".ikoma/source.json"


class Placed(Struct, frozen=True):
    """What the application's source is now. `replaced`, `removed` and `kept` name files beside src/."""

    source: str
    ref: str
    commit: str
    tree: str
    files: int
    changed: bool
    replaced: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()  # the .bak of files changed by hand


class Parts(Struct):
    """Writing the parts beside src/, with the way back."""

    on: Transport
    folder: str
    undo: list[Callable[[], object]] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def put(self, path: str, data: bytes, known: set[str]) -> None:
        """`known` are the digests of what may be replaced without a backup."""
        target = posixpath.join(self.folder, path)
        there = self.on.stat(target)
        if there and there.kind == "directory":
            raise Refused(f"{target} is a directory, the source has a file there", remedy="Move it away.")
        before = self.on.read(target) if there and there.kind == "file" else None
        if before == data:
            return
        if there:
            self._keep(path, target, before, known)
        self._make_folder(posixpath.dirname(target))
        self._remember(target, before)
        self.on.write(target, data, 0o644)
        self.replaced.append(path)

    def drop(self, path: str, known: set[str]) -> None:
        target = posixpath.join(self.folder, path)
        there = self.on.stat(target)
        if there is None or there.kind == "directory":
            return
        before = self.on.read(target) if there.kind == "file" else None
        self._keep(path, target, before, known)
        self._remember(target, before)
        self.on.remove(target)
        self.removed.append(path)

    def go_back(self) -> None:
        for step in reversed(self.undo):
            with contextlib.suppress(StepError):
                step()

    def _keep(self, path: str, target: str, before: bytes | None, known: set[str]) -> None:
        if before is not None and digest(before) not in known:
            self.on.write(f"{target}.bak", before)
            self.kept.append(f"{path}.bak")

    def _make_folder(self, path: str) -> None:
        if path == self.folder:
            return
        self._make_folder(posixpath.dirname(path))
        there = self.on.stat(path)
        if there and there.kind != "directory":
            raise Refused(f"{path} is a {there.noun}, the source has a directory there", remedy="Move it away.")
        if self.on.mkdir(path):
            self._later(self.on.remove, path)

    def _remember(self, target: str, before: bytes | None) -> None:
        if before is None:
            self._later(self.on.remove, target)
        else:
            self._later(self.on.write, target, before)

    def _later(self, verb: Callable[..., object], *arguments: object) -> None:
        self.undo.append(lambda: verb(*arguments))


def swap(
    on: Transport,
    folder: str,
    record: dict[str, Any],
    parts: Mapping[str, bytes],
    known: Mapping[str, Any],
    stage: Callable[[str], None] | None,
    ready: str | None = None,
) -> Placed:
    """Give src/ the tree that `stage` makes or that lies ready, then the parts theirs; all of it or nothing."""
    placed: Mapping[str, str] = known.get("placed", {})
    writing = Parts(on, folder)
    with contextlib.ExitStack() as stack:
        if stage is not None:
            ready = stack.enter_context(staged(on, folder))
            stage(ready)
        if ready is not None:
            stack.enter_context(renamed(on, folder, ready))
        try:
            for path, data in sorted(parts.items()):
                writing.put(path, data, replaceable(path, placed))
            for path in _superseded(on, folder, parts, placed):
                writing.drop(path, replaceable(path, placed))
            record = {**record, "placed": {path: digest(data) for path, data in sorted(parts.items())}}
            keep_record(on, folder, record, known)
        except BaseException:
            writing.go_back()
            raise
    return Placed(
        record["source"],
        record["ref"],
        record["commit"],
        record["tree"],
        record.get("count", len(record["files"])),
        ready is not None or bool(writing.replaced or writing.removed),
        tuple(writing.replaced),
        tuple(writing.removed),
        tuple(writing.kept),
    )


def _superseded(on: Transport, folder: str, parts: Mapping[str, bytes], placed: Mapping[str, str]) -> Iterator[str]:
    """What an earlier source brought and this one does not, and compose files under another name."""
    yield from (path for path in sorted(placed) if path not in parts)
    if any(name in parts for name in compose_file.NAMES):
        for name in compose_file.NAMES:
            if name not in parts and name not in placed and on.exists(posixpath.join(folder, name)):
                yield name


def replaceable(path: str, placed: Mapping[str, str]) -> set[str]:
    made = GENERATED.get(path)
    return {placed.get(path, "")} | ({digest(made.encode())} if made is not None else set())


def sweep(on: Transport, folder: str) -> None:
    """What a run that died left behind goes away; the former tree comes back where no new one took its place."""
    src = posixpath.join(folder, "src")
    for entry in on.scan(posixpath.join(folder, ".ikoma")):
        name = posixpath.basename(entry.path)
        if name.startswith("former-") and not on.exists(src):
            on.rename(entry.path, src)
        elif name.startswith(("former-", "incoming-")):
            on.remove(entry.path)


@contextlib.contextmanager
def staged(on: Transport, folder: str) -> Iterator[str]:
    """A path in the application's directory for a tree in the making; what is left there goes away."""
    on.mkdir(posixpath.join(folder, ".ikoma"), 0o700)
    target = posixpath.join(folder, ".ikoma", f"incoming-{secrets.token_hex(6)}")
    try:
        yield target
    finally:
        on.remove(target)


@contextlib.contextmanager
def renamed(on: Transport, folder: str, ready: str) -> Iterator[None]:
    """src/ is the new tree inside the block, and stays it when the block ends well."""
    src = posixpath.join(folder, "src")
    former = posixpath.join(folder, ".ikoma", f"former-{secrets.token_hex(6)}")
    had = on.exists(src)
    if had:
        on.rename(src, former)
    try:
        on.rename(ready, src)
        yield
    except BaseException:
        on.remove(src)
        if had:
            on.rename(former, src)
        raise
    on.remove(former)


def is_part(path: str) -> bool:
    top, _, below = path.partition("/")
    if top in FOLDERS and below:
        return posixpath.basename(path) != ".gitkeep"
    return path in compose_file.NAMES


def not_copied(said: str) -> StepError:
    if "No space left" in said:
        return Unavailable(
            "the source cannot be copied: the disk is full; the former source stays",
            remedy="Free some disk space (df -h shows how much is left) and run this again.",
            evidence=said,
        )
    return StepError("the source cannot be copied; the former source stays", remedy="See what tar says.", evidence=said)


def known_source(on: Transport, folder: str) -> dict[str, Any]:
    try:
        found = json.loads(on.read(posixpath.join(folder, RECORD)))
    except (StepError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def keep_record(on: Transport, folder: str, record: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    if record == known:
        return
    on.mkdir(posixpath.join(folder, ".ikoma"), 0o700)
    on.write(posixpath.join(folder, RECORD), json.dumps(record, indent=1, sort_keys=True).encode(), 0o600)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
