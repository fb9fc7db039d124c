"""The dry transport: it records what it is asked to change, changes nothing, and shows what would be there."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ikoma_play.errors import NotFound
from ikoma_play.model import Command, Host
from ikoma_play.transport.dry import Change, DryTransport
from ikoma_play.transport.local import LocalTransport


@pytest.fixture
def on() -> DryTransport:
    return DryTransport(LocalTransport(Host("here")))


def picture(folder: Path) -> str:
    seen = [(str(path), path.lstat().st_mode, path.is_file() and path.read_bytes()) for path in folder.rglob("*")]
    return hashlib.sha256(repr(sorted(seen, key=lambda each: each[0])).encode()).hexdigest()


def test_looks_go_through_and_changes_are_recorded(on: DryTransport, folder: Path) -> None:
    change = Command(("touch", f"{folder}/a"))
    assert on.run(change).ok and on.run(change).stdout == b""
    assert on.run(Command(("echo", "look"), changes=False)).text == "look"
    assert on.recorded == [change, change]
    assert not (folder / "a").exists()


def test_output_to_a_file_is_a_change(on: DryTransport, folder: Path) -> None:
    on.run(Command(("echo", "x"), changes=False, stdout_to=f"{folder}/out"))
    assert len(on.recorded) == 1 and not (folder / "out").exists()


def test_nothing_on_the_disk_changes(on: DryTransport, folder: Path) -> None:
    (folder / "tree").mkdir()
    (folder / "tree/file").write_text("kept")
    before = picture(folder)
    on.write(f"{folder}/tree/file", b"new", 0o600)
    on.write(f"{folder}/other", b"new")
    on.mkdir(f"{folder}/a/b")
    on.chmod(f"{folder}/tree", 0o700)
    on.chown(f"{folder}/tree", "daemon", "daemon")
    on.symlink("x", f"{folder}/link")
    on.rename(f"{folder}/tree", f"{folder}/moved")
    on.remove(f"{folder}/moved")
    assert picture(folder) == before
    verbs = [change.verb for change in on.recorded if isinstance(change, Change)]
    assert verbs == ["write", "write", "mkdir", "mkdir", "chmod", "chown", "symlink", "rename", "remove"]


def test_what_would_be_removed_is_not_there(on: DryTransport, folder: Path) -> None:
    (folder / "tree/deep").mkdir(parents=True)
    (folder / "tree/deep/file").write_text("x")
    on.remove(f"{folder}/tree")
    assert on.stat(f"{folder}/tree/deep/file") is None
    assert list(on.scan(f"{folder}/tree", recurse=True)) == []
    with pytest.raises(NotFound, match="would not be there"):
        on.read(f"{folder}/tree/deep/file")
    on.mkdir(f"{folder}/tree")
    assert on.exists(f"{folder}/tree") and not on.exists(f"{folder}/tree/deep")


def test_a_moved_tree_shows_what_it_holds(on: DryTransport, folder: Path) -> None:
    (folder / "a/deep").mkdir(parents=True)
    (folder / "a/deep/file").write_text("old")
    on.write(f"{folder}/a/deep/new", b"new")
    on.rename(f"{folder}/a", f"{folder}/b")
    assert on.read(f"{folder}/b/deep/file") == b"old" and on.read(f"{folder}/b/deep/new") == b"new"
    names = [entry.path.removeprefix(f"{folder}/") for entry in on.scan(str(folder), recurse=True)]
    assert names == ["b", "b/deep", "b/deep/file", "b/deep/new"]


def test_a_mode_that_would_change(on: DryTransport, folder: Path) -> None:
    (folder / "a").write_text("content")
    on.chmod(f"{folder}/a", 0o600)
    on.chown(f"{folder}/a", "daemon")
    there = on.stat(f"{folder}/a")
    assert there is not None and (there.mode, there.owner, there.size) == (0o600, "daemon", 7)
    assert on.read(f"{folder}/a") == b"content"


def test_another_user_shares_the_record(on: DryTransport, folder: Path) -> None:
    import getpass

    other = on.become(getpass.getuser())
    assert other.dry
    other.write(f"{folder}/a", b"x")
    assert on.read(f"{folder}/a") == b"x" and len(on.recorded) == 1
