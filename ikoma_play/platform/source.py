"""The source of an application put in place: the code at `src/`, and what belongs beside it.

A new tree is made beside the old one and renamed, so that a failure leaves the former one. Of the compose
file and the folders migrations/, seeds/ and config/ each file then takes its place in the application's
directory. There the source wins: a file that apps.init or an earlier source brought is replaced or, where
the source no longer has it, removed; one that somebody changed by hand is kept beside as NAME.bak.
"""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import NotFound, Refused, StepError, last_lines
from ..model import Command, Host, Progress
from ..transport.base import Transport
from . import git
from .application import demand
from .source_placing import FOLDERS, Placed, is_part, known_source, not_copied, staged, swap, sweep
from .source_tree import source_tree

_PARTS_LIMIT = 64 * 2**20  # bytes that migrations, seeds and config may have together


def put_in_place(on: Transport, app: str, source: str, ref: str | None) -> Placed:
    """Put a directory of the runner or a git reference in place.

    Raises NotFound (no such application, directory or reference), Refused (a link that leads out of the
    source), Unavailable (repository cannot be read, disk full); the former source then stays."""
    folder = demand(on, app)
    sweep(on, folder)
    known = known_source(on, folder)
    local = Path(source).expanduser()
    if git.is_remote(source) or (ref is not None) or _is_bare_repository(local):
        return _from_git(on, folder, source, ref, known)
    return _from_directory(on, folder, local, known)


def current(on: Transport, app: str) -> dict[str, Any]:
    """What is recorded of the application's source; {} where nothing is."""
    return known_source(on, demand(on, app))


# --- a directory of the runner ---


def _from_directory(on: Transport, folder: str, local: Path, known: Mapping[str, Any]) -> Placed:
    root = local.resolve()
    _refuse_own_folder(on, folder, root)
    tree = source_tree(root)
    parts = {entry.path: tree.read(entry.path) for entry in tree.entries if is_part(entry.path) and not entry.target}
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
            raise not_copied(last_lines(result))

    return swap(on, folder, record, parts, known, None if same else stage)


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
        return swap(on, folder, record, _parts_on_host(on, src), known, None)
    with staged(on, folder) as target:
        stage(target)
        record |= {"commit": git.head(on, target), "tree": git.tree(on, target), "count": git.files(on, target)}
        parts = _parts_on_host(on, target)
        _refuse_empty(parts, record["count"], repository.url)
        return swap(on, folder, record, parts, known, None, ready=target)


def _parts_on_host(on: Transport, tree: str) -> dict[str, bytes]:
    """The files of a checkout that belong beside src/; links are not followed."""
    found = [entry for entry in on.scan(tree) if entry.kind == "file"]
    for name in FOLDERS:
        there = on.stat(posixpath.join(tree, name))
        if there and there.kind == "directory":
            found += [entry for entry in on.scan(there.path, recurse=True) if entry.kind == "file"]
    wanted = [(posixpath.relpath(entry.path, tree), entry) for entry in found]
    wanted = [(path, entry) for path, entry in wanted if is_part(path)]
    if sum(entry.size for _, entry in wanted) > _PARTS_LIMIT:
        raise Refused(
            f"{', '.join(FOLDERS)} of the source are larger than {_PARTS_LIMIT >> 20} MB together",
            remedy="Keep data out of them.",
        )
    return {path: on.read(entry.path) for path, entry in wanted}


def _is_bare_repository(path: Path) -> bool:
    return (path / "HEAD").is_file() and (path / "objects").is_dir() and (path / "refs").is_dir()


# --- both ---


def _refuse_empty(parts: Mapping[str, bytes], rest: Any, source: str) -> None:
    if not parts and not rest:
        raise Refused(f"the source {source} is empty", remedy="Check the path and the reference.")


def _this_machine() -> Transport:
    from ..transport.local import LocalTransport

    return LocalTransport(Host("localhost"))
