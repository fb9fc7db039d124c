"""The source of an application put in place: the code at `src/`, and what belongs beside it.

A new tree is made beside the old one and renamed, so that a failure leaves the former one. Of the compose
file and the folders migrations/, seeds/ and config/ each file then takes its place in the application's
directory. There the source wins: a file that apps.init or an earlier source brought is replaced or, where
the source no longer has it, removed; one that somebody changed by hand is kept beside as NAME.bak.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import posixpath
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import NotFound, Refused, StepError, Unavailable, last_lines
from ..model import Command, Host, Progress
from ..transport.base import Transport
from . import compose_file, git
from .application import demand
from .skeleton import GENERATED
from .source_tree import source_tree

FOLDERS = ("migrations", "seeds", "config")
RECORD = ".ikoma/source.json"
_PARTS_LIMIT = 64 * 2**20  # bytes that migrations, seeds and config may have together


@dataclass(frozen=True, slots=True)
class Placed:
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


@dataclass
class _Parts:
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
            raise Refused(f"{path} is a {there.kind}, the source has a directory there", remedy="Move it away.")
        if self.on.mkdir(path):
            self._later(self.on.remove, path)

    def _remember(self, target: str, before: bytes | None) -> None:
        if before is None:
            self._later(self.on.remove, target)
        else:
            self._later(self.on.write, target, before)

    def _later(self, verb: Callable[..., object], *arguments: object) -> None:
        self.undo.append(lambda: verb(*arguments))


def put_in_place(on: Transport, app: str, source: str, ref: str | None) -> Placed:
    """Put a directory of the runner or a git reference in place.

    Raises NotFound (no such application, directory or reference), Refused (a link that leads out of the
    source), Unavailable (repository cannot be read, disk full); the former source then stays."""
    folder = demand(on, app)
    _sweep(on, folder)
    known = _known(on, folder)
    local = Path(source).expanduser()
    if git.is_remote(source) or (ref is not None) or _is_bare_repository(local):
        return _from_git(on, folder, source, ref, known)
    return _from_directory(on, folder, local, known)


def current(on: Transport, app: str) -> dict[str, Any]:
    """What is recorded of the application's source; {} where nothing is."""
    return _known(on, demand(on, app))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# --- a directory of the runner ---


def _from_directory(on: Transport, folder: str, local: Path, known: Mapping[str, Any]) -> Placed:
    root = local.resolve()
    _refuse_own_folder(on, folder, root)
    tree = source_tree(root)
    parts = {entry.path: tree.read(entry.path) for entry in tree.entries if _is_part(entry.path) and not entry.target}
    _refuse_empty(parts, tree.entries, str(root))
    same = known.get("tree") == tree.digest and _as_recorded(on, folder, known)
    listed = {entry.path: [entry.size, entry.mtime] for entry in tree.entries if not entry.target}
    record = {"source": str(root), "ref": "", "commit": _commit_of(root), "tree": tree.digest, "files": listed}

    def stage(target: str) -> None:
        on.mkdir(target)
        on.progress(Progress(f"copying {len(tree.entries)} files", 0, len(tree.entries)))
        with tempfile.TemporaryFile() as archive:
            tree.pack(archive)
            archive.seek(0)
            result = on.run(Command(("tar", "-x", "-f", "-", "--no-same-owner", "-C", target), stdin=archive))
        if not result.ok:
            raise _not_copied(last_lines(result))

    return _swap(on, folder, record, parts, known, None if same else stage)


def _as_recorded(on: Transport, folder: str, known: Mapping[str, Any]) -> bool:
    """Whether each file of the last source still lies in src/ as it was written; further ones do not matter."""
    src = posixpath.join(folder, "src")
    there = {posixpath.relpath(entry.path, src): entry for entry in on.scan(src, recurse=True) if entry.kind == "file"}
    return all(
        path in there and [there[path].size, int(there[path].mtime)] == expected
        for path, expected in known.get("files", {}).items()
    )


def _commit_of(root: Path) -> str:
    """The commit of a directory that is a git checkout; "" where it is none, differs from it, or has no git."""
    if not (root / ".git").exists():
        return ""
    try:
        here = _this_machine()
        return git.head(here, str(root)) if git.clean(here, str(root)) else ""
    except StepError:
        return ""


def _refuse_own_folder(on: Transport, folder: str, root: Path) -> None:
    if on.local and root.is_relative_to(folder):
        raise Refused(f"the source {root} is the application's own directory", remedy="Name where it comes from.")


# --- git ---


def _from_git(on: Transport, folder: str, source: str, ref: str | None, known: Mapping[str, Any]) -> Placed:
    src = posixpath.join(folder, "src")
    path = None if git.is_remote(source) else Path(source).expanduser().resolve()
    if path is not None and not path.is_dir():
        raise NotFound(f"the source {path} is no directory on this machine", remedy="Check the path, or give a URL.")
    repository = git.repository(source if path is None else str(path))
    here = path is None or on.local
    reader = on if here else _this_machine()
    commit = git.resolve(reader, repository, ref)
    at = git.head(on, src)
    same = bool(at) and at.startswith(commit) and known.get("source") == repository.url and git.clean(on, src)
    record: dict[str, Any] = {"source": repository.url, "ref": ref or "", "files": {}}
    if on.dry and not same:
        return Placed(repository.url, ref or "", commit, "", 0, True)

    def stage(target: str) -> None:
        on.progress(Progress(f"cloning {repository.url}"))
        if here:
            git.checkout(on, repository, commit, target)
            return
        with tempfile.TemporaryDirectory() as between:
            clone = Path(between, "clone")
            git.checkout(reader, repository, commit, str(clone))
            on.upload(clone, target)

    if same:
        record |= {"commit": at, "tree": git.tree(on, src), "count": git.files(on, src)}
        return _swap(on, folder, record, _parts_on_host(on, src), known, None)
    with _staged(on, folder) as target:
        stage(target)
        record |= {"commit": git.head(on, target), "tree": git.tree(on, target), "count": git.files(on, target)}
        parts = _parts_on_host(on, target)
        _refuse_empty(parts, record["count"], repository.url)
        return _swap(on, folder, record, parts, known, None, ready=target)


def _parts_on_host(on: Transport, tree: str) -> dict[str, bytes]:
    """The files of a checkout that belong beside src/; links are not followed."""
    found = [entry for entry in on.scan(tree) if entry.kind == "file"]
    for name in FOLDERS:
        there = on.stat(posixpath.join(tree, name))
        if there and there.kind == "directory":
            found += [entry for entry in on.scan(there.path, recurse=True) if entry.kind == "file"]
    wanted = [(posixpath.relpath(entry.path, tree), entry) for entry in found]
    wanted = [(path, entry) for path, entry in wanted if _is_part(path)]
    if sum(entry.size for _, entry in wanted) > _PARTS_LIMIT:
        raise Refused(
            f"{', '.join(FOLDERS)} of the source are larger than {_PARTS_LIMIT >> 20} MB together",
            remedy="Keep data out of them.",
        )
    return {path: on.read(entry.path) for path, entry in wanted}


def _is_bare_repository(path: Path) -> bool:
    return (path / "HEAD").is_file() and (path / "objects").is_dir() and (path / "refs").is_dir()


# --- both ---


def _is_part(path: str) -> bool:
    top, _, below = path.partition("/")
    if top in FOLDERS and below:
        return posixpath.basename(path) != ".gitkeep"
    return path in compose_file.NAMES


def _refuse_empty(parts: Mapping[str, bytes], rest: Any, source: str) -> None:
    if not parts and not rest:
        raise Refused(f"the source {source} is empty", remedy="Check the path and the reference.")


def _swap(
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
    writing = _Parts(on, folder)
    with contextlib.ExitStack() as stack:
        if stage is not None:
            ready = stack.enter_context(_staged(on, folder))
            stage(ready)
        if ready is not None:
            stack.enter_context(_renamed(on, folder, ready))
        try:
            for path, data in sorted(parts.items()):
                writing.put(path, data, _replaceable(path, placed))
            for path in _superseded(on, folder, parts, placed):
                writing.drop(path, _replaceable(path, placed))
            record = {**record, "placed": {path: digest(data) for path, data in sorted(parts.items())}}
            _keep_record(on, folder, record, known)
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


def _replaceable(path: str, placed: Mapping[str, str]) -> set[str]:
    made = GENERATED.get(path)
    return {placed.get(path, "")} | ({digest(made.encode())} if made is not None else set())


def _sweep(on: Transport, folder: str) -> None:
    """What a run that died left behind goes away; the former tree comes back where no new one took its place."""
    src = posixpath.join(folder, "src")
    for entry in on.scan(posixpath.join(folder, ".ikoma")):
        name = posixpath.basename(entry.path)
        if name.startswith("former-") and not on.exists(src):
            on.rename(entry.path, src)
        elif name.startswith(("former-", "incoming-")):
            on.remove(entry.path)


@contextlib.contextmanager
def _staged(on: Transport, folder: str) -> Iterator[str]:
    """A path in the application's directory for a tree in the making; what is left there goes away."""
    on.mkdir(posixpath.join(folder, ".ikoma"), 0o700)
    target = posixpath.join(folder, ".ikoma", f"incoming-{secrets.token_hex(6)}")
    try:
        yield target
    finally:
        on.remove(target)


@contextlib.contextmanager
def _renamed(on: Transport, folder: str, ready: str) -> Iterator[None]:
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


def _not_copied(said: str) -> StepError:
    if "No space left" in said:
        return Unavailable(
            "the source cannot be copied: the disk is full; the former source stays",
            remedy="Free some disk space (df -h shows how much is left) and run this again.",
            evidence=said,
        )
    return StepError("the source cannot be copied; the former source stays", remedy="See what tar says.", evidence=said)


def _known(on: Transport, folder: str) -> dict[str, Any]:
    try:
        found = json.loads(on.read(posixpath.join(folder, RECORD)))
    except (StepError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _keep_record(on: Transport, folder: str, record: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    if record == known:
        return
    on.mkdir(posixpath.join(folder, ".ikoma"), 0o700)
    on.write(posixpath.join(folder, RECORD), json.dumps(record, indent=1, sort_keys=True).encode(), 0o600)


def _this_machine() -> Transport:
    from ..transport.local import LocalTransport

    return LocalTransport(Host("localhost"))
