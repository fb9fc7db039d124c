"""git with real repositories on this machine."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.errors import CommandFailed, NotFound, Refused
from ikoma_play.model import Host, Outcome, Status
from ikoma_play.tools.general.repository import _without_password
from ikoma_play.transport.base import Transport
from ikoma_play.transport.dry import DryTransport
from ikoma_play.transport.local import LocalTransport
from tests.tools.general import harness


class Origin:
    """A repository with a past: two commits on main, a tag on the first, a branch."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "origin"
        self.path.mkdir()
        self.git("init", "-q", "-b", "main")
        self.first = self.commit("one")
        self.git("tag", "-a", "v1", "-m", "the first")
        self.git("branch", "side")
        self.second = self.commit("two")

    def git(self, *words: str) -> str:
        argv = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", *words]
        return subprocess.run(argv, cwd=self.path, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, content: str) -> str:
        (self.path / "file").write_text(content)
        self.git("add", ".")
        self.git("commit", "-q", "-m", content)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    return Origin(tmp_path)


def git(origin: Origin, on: Transport | None = None, **arguments: Any) -> Outcome:
    values = {"repo": str(origin.path), "dest": str(origin.path.parent / "copy"), **arguments}
    return harness.call(on or LocalTransport(Host("here")), harness.RunScope(origin.path), "git", values)


def content(origin: Origin) -> str:
    return (origin.path.parent / "copy/file").read_text()


def test_a_new_working_copy(origin: Origin) -> None:
    outcome = git(origin)
    assert outcome.status is Status.CHANGED and content(origin) == "two"
    assert (outcome.result["before"], outcome.result["after"]) == (None, origin.second)
    assert git(origin).status is Status.OK


def test_what_is_new_is_fetched(origin: Origin) -> None:
    git(origin)
    third = origin.commit("three")
    assert git(origin, update=False).status is Status.OK and content(origin) == "two"
    outcome = git(origin)
    assert (outcome.result["before"], outcome.result["after"]) == (origin.second, third)
    assert outcome.diffs[0].after == f"{third}\n" and content(origin) == "three"


@pytest.mark.parametrize("version", ["v1", "side", "first commit", "short"])
@pytest.mark.parametrize("depth", [None, 1])
def test_versions(origin: Origin, version: str, depth: int | None) -> None:
    origin.git("config", "uploadpack.allowAnySHA1InWant", "true")
    version = {"first commit": origin.first, "short": origin.first[:10]}.get(version, version)
    repo = f"file://{origin.path}"
    outcome = git(origin, repo=repo, version=version, depth=depth)
    assert outcome.result["after"] == origin.first and content(origin) == "one"
    assert git(origin, repo=repo, version=version, depth=depth).status is Status.OK
    assert git(origin, repo=repo, version="main", depth=depth).result["after"] == origin.second
    assert git(origin, repo=repo, version=version, depth=depth).status is Status.CHANGED and content(origin) == "one"


def test_a_moved_tag_and_a_rewritten_branch(origin: Origin) -> None:
    git(origin, version="v1")
    origin.git("tag", "-f", "v1", origin.second)
    assert git(origin, version="v1").result["after"] == origin.second
    git(origin, version="side")
    origin.git("checkout", "-q", "--orphan", "new")
    rewritten = origin.commit("other past")
    origin.git("branch", "-f", "side")
    assert git(origin, version="side").result["after"] == rewritten


def test_changes_of_its_own_are_kept_unless_forced(origin: Origin) -> None:
    git(origin)
    (origin.path.parent / "copy/file").write_text("mine")
    (origin.path.parent / "copy/untracked").write_text("mine")
    with pytest.raises(Refused, match="changes of its own: file") as caught:
        git(origin, version="v1")
    assert "force" in caught.value.remedy and content(origin) == "mine"
    assert git(origin, version="v1", force=True).status is Status.CHANGED and content(origin) == "one"
    assert (origin.path.parent / "copy/untracked").exists()


def test_another_address(origin: Origin) -> None:
    git(origin)
    moved = origin.path.rename(origin.path.parent / "moved")
    outcome = git(origin, repo=str(moved))
    assert outcome.status is Status.CHANGED and outcome.result["remote_url_changed"]
    assert git(origin, repo=str(moved)).status is Status.OK


def test_in_a_check(origin: Origin) -> None:
    dry = DryTransport(LocalTransport(Host("here")))
    outcome = git(origin, dry, version="v1")
    assert outcome.status is Status.CHANGED and outcome.result["after"] == origin.first
    assert not (origin.path.parent / "copy").exists()
    git(origin)
    assert git(origin, dry).status is Status.OK
    third = origin.commit("three")
    assert git(origin, dry).result["after"] == third and content(origin) == "two"
    with pytest.raises(NotFound):
        git(origin, dry, version="nope")


def test_what_is_not_there_leaves_nothing(origin: Origin) -> None:
    with pytest.raises(NotFound, match="has no nope"):
        git(origin, version="nope")
    with pytest.raises(CommandFailed, match="cannot ask") as caught:
        git(origin, repo=str(origin.path.parent / "gone"))
    assert caught.value.remedy
    assert not (origin.path.parent / "copy").exists()


def test_something_else_is_in_the_way(origin: Origin) -> None:
    (origin.path.parent / "copy").mkdir()
    (origin.path.parent / "copy/mine").write_text("x")
    with pytest.raises(Refused, match="no working copy"):
        git(origin)
    with pytest.raises(NotFound):
        git(origin, dest=str(origin.path.parent / "other"), clone=False)


def test_bare(origin: Origin) -> None:
    assert git(origin, bare=True).result["after"] == origin.second
    assert git(origin, bare=True).status is Status.OK
    third = origin.commit("three")
    assert git(origin, bare=True).result["after"] == third


def test_submodules(origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, (key, value) in enumerate({"protocol.file.allow": "always"}.items()):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", key)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    (tmp_path / "below").mkdir()
    inner = Origin(tmp_path / "below")
    origin.git("submodule", "add", "-q", str(inner.path), "sub")
    origin.git("commit", "-q", "-m", "sub")
    git(origin)
    assert (tmp_path / "copy/sub/file").read_text() == "two"


def test_a_password_in_the_address_is_shown_and_kept_nowhere(origin: Origin) -> None:
    address, env, _ = _without_password("https://me:canary@example.com/x.git")
    assert address == "https://example.com/x.git"
    assert env["GIT_CONFIG_VALUE_0"] == "https://example.com/" and "canary" in env["GIT_CONFIG_KEY_0"]
    assert _without_password("git@example.com:x.git") == ("git@example.com:x.git", {}, ())
    with pytest.raises(CommandFailed) as caught:
        git(origin, repo="http://me:canary@127.0.0.1:9/x.git")
    assert "canary" not in caught.value.message + caught.value.evidence
    assert "127.0.0.1" in caught.value.evidence
