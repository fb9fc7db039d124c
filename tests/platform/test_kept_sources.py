"""Former sources: kept whole, shared where they are the same, found out when changed, put back as they were."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ikoma_play.errors import NotFound, Refused
from ikoma_play.model import Host
from ikoma_play.platform import kept_sources, source
from ikoma_play.transport.base import Transport
from ikoma_play.transport.local import LocalTransport


@pytest.fixture
def on(tmp_path: Path) -> Transport:
    return LocalTransport(Host("here", (), {"ikoma_apps_root": str(tmp_path / "apps")}))


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "apps/shop"
    folder.mkdir(parents=True)
    return folder


def bring(on: Transport, folder: Path, files: dict[str, str]) -> str:
    """A source with these files put in place and kept; its key."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if name.endswith(".sh") else 0o644)
    source.put_in_place(on, "shop", str(folder), None)
    return kept_sources.keep(on, "shop")


ONE = {
    "code.py": "one",
    "run.sh": "#!/bin/sh\n",
    "same": "s" * 9000,
    "migrations/001_a.sql": "SELECT 1;",
    "compose.yaml": "a: 1",
}


def test_a_former_source_comes_back_as_it_was(on: Transport, app: Path, tmp_path: Path) -> None:
    first = bring(on, tmp_path / "one", ONE)
    assert kept_sources.keep(on, "shop") == first, "the same source is kept once"
    two = {
        "code.py": "two",
        "migrations/002_b.sql": "SELECT 2;",
        "migrations/001_a.sql": "SELECT 1;",
        "compose.yaml": "b: 2",
    }
    second = bring(on, tmp_path / "two", {**two, "same": "s" * 9000})
    assert second != first and kept_sources.in_place(on, "shop", second)
    (app / "compose.yaml").write_text("changed: by hand")
    (app / "src/code.py").write_text("changed by hand")

    placed = kept_sources.put_back(on, "shop", first)
    assert placed.changed and placed.kept == ("compose.yaml.bak",)
    assert (app / "src/code.py").read_text() == "one" and (app / "src/run.sh").stat().st_mode & 0o111
    assert sorted(path.name for path in (app / "migrations").iterdir()) == ["001_a.sql"]
    assert (app / "compose.yaml").read_text() == "a: 1"
    assert (app / "compose.yaml.bak").read_text() == "changed: by hand"
    assert source.current(on, "shop")["source"] == str(tmp_path / "one")
    assert not kept_sources.put_back(on, "shop", first).changed, "it is in place already"
    assert not source.put_in_place(on, "shop", str(tmp_path / "one"), None).changed, "its own source has nothing to add"
    assert not list((app / ".ikoma").glob("incoming-*")) and not list((app / ".ikoma").glob("former-*"))


def test_what_two_have_in_common_is_on_the_disk_once(on: Transport, app: Path, tmp_path: Path) -> None:
    first = bring(on, tmp_path / "one", ONE)
    second = bring(on, tmp_path / "one", {**ONE, "code.py": "two"})
    home = app / ".ikoma/sources"
    inodes = [(home / key / "src" / name).stat().st_ino for key in (first, second) for name in ("same", "code.py")]
    assert inodes[0] == inodes[2] and inodes[1] != inodes[3]
    assert (app / "src/same").stat().st_ino not in inodes, "what is in use can be written into, and must be its own"
    (app / "src/same").write_text("scribbled")
    assert kept_sources.sound(on, "shop", first) and kept_sources.sound(on, "shop", second)


def test_a_copy_that_was_changed_is_refused(on: Transport, app: Path, tmp_path: Path) -> None:
    first = bring(on, tmp_path / "one", ONE)
    bring(on, tmp_path / "two", {**ONE, "code.py": "two"})
    for change in ("src/code.py", "compose.yaml", "source.json"):
        path = app / ".ikoma/sources" / first / change
        before = path.read_bytes()
        path.write_bytes(before + b" ")
        with pytest.raises(Refused, match="not what was kept"):
            kept_sources.put_back(on, "shop", first)
        path.write_bytes(before)
    (app / ".ikoma/sources" / first / "src/run.sh").chmod(0o644)
    with pytest.raises(Refused):
        kept_sources.put_back(on, "shop", first)
    assert (app / "src/code.py").read_text() == "two", "the present source must stay"
    with pytest.raises(NotFound, match="is not kept"):
        kept_sources.put_back(on, "shop", "0" * 40)


def test_a_checkout_keeps_its_history_and_shares_its_objects(on: Transport, app: Path, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    mail = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")

    def git(*words: str, at: Path = repository) -> str:
        return subprocess.run(["git", *mail, *words], cwd=at, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet", "--initial-branch=main")
    for tag in ("v1", "v2"):
        (repository / "code.py").write_text(tag)
        git("add", "--all")
        git("commit", "--quiet", "--message", tag)
        git("tag", tag)
    source.put_in_place(on, "shop", str(repository), "v1")
    first = kept_sources.keep(on, "shop")
    objects = {path.name: path.stat().st_ino for path in (app / "src/.git/objects").rglob("*") if path.is_file()}
    kept = app / ".ikoma/sources" / first / "src/.git/objects"
    assert objects == {path.name: path.stat().st_ino for path in kept.rglob("*") if path.is_file()}
    source.put_in_place(on, "shop", str(repository), "v2")
    kept_sources.put_back(on, "shop", first)
    assert git("describe", "--tags", "--exact-match", at=app / "src") == "v1"
    assert git("status", "--porcelain", at=app / "src") == ""
    assert not source.put_in_place(on, "shop", str(repository), "v1").changed


def test_names_that_are_hard_to_quote(on: Transport, app: Path, tmp_path: Path) -> None:
    odd = {"with space": "a", "new\nline": "b", "-n": "c", "back\\slash": "d", "ünïcode": "e", "$HOME": "f"}
    first = bring(on, tmp_path / "one", {**ONE, **odd})
    bring(on, tmp_path / "two", {**ONE, **odd, "code.py": "two", "more": "x"})
    kept_sources.put_back(on, "shop", first)
    assert {name: (app / "src" / name).read_text() for name in odd} == odd
    assert not (app / "src/more").exists()
