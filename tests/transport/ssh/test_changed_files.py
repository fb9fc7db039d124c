"""Only what changed goes over: of a large file by rsync or by its blocks' hashes, of a tree by those of its files."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from ikoma_play.errors import StepError, Unavailable, Unreachable
from ikoma_play.model import Command, Outcome, Progress
from ikoma_play.tools.general.file import file
from ikoma_play.tools.general.placing import Attributes, Manner
from ikoma_play.tools.general.sources import on_runner
from ikoma_play.tools.general.trees import bring_tree
from ikoma_play.transport import ssh_send
from ikoma_play.transport.ssh import SshTransport
from ikoma_play.transport.ssh_rsync import Rsync
from tests.parts.sshd import ROOT, Sshd

SIZE = 13_000_000


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each large file has taken, one number a piece."""
    counted: list[int] = []
    read = ssh_send._Answer.read

    def counting(self: ssh_send._Answer, size: int = -1) -> bytes:
        data = read(self, size)
        counted.append(len(data))
        return data

    monkeypatch.setattr(ssh_send._Answer, "read", counting)
    return counted


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How the runner's rsyncs ended; one that had to be killed has a number below zero."""
    codes: list[int] = []
    leave = Rsync.__exit__

    def leaving(self: Rsync, *raised: object) -> None:
        leave(self, *raised)
        if self._process is not None:
            codes.append(self._process.returncode)

    monkeypatch.setattr(Rsync, "__exit__", leaving)
    return codes


@pytest.fixture(params=["rsync", "blocks"])
def way(request: pytest.FixtureRequest, own: Callable[..., Sshd], tmp_path: Path) -> Iterator[tuple[str, Sshd]]:
    """A host that has rsync, and one whose PATH has everything else."""
    if request.param == "rsync":
        yield request.param, own()
        return
    programs = Path(own().site.folder) / "programs"
    if not programs.exists():
        programs.mkdir(mode=0o755)
        for place in ("/bin", "/usr/bin", "/sbin", "/usr/sbin"):
            for program in Path(place).iterdir():
                if program.name != "rsync" and not (programs / program.name).exists():
                    (programs / program.name).symlink_to(program)
    yield request.param, own(f"SetEnv PATH={programs}")


def digest(on: SshTransport, path: str) -> str:
    return on.run(Command(("sha256sum", path))).text.split()[0].lstrip("\\")


def test_of_a_large_file_only_what_changed_is_sent(
    way: tuple[str, Sshd], tmp_path: Path, sent: list[int], ended: list[int]
) -> None:
    name, server = way
    on = SshTransport(server.host())
    folder = on.run(Command(("mktemp", "-d"))).text
    source, target = tmp_path / "large", f"{folder}/it's large"
    content = bytearray(os.urandom(SIZE))
    told: list[Progress] = []
    on.progress = told.append
    assert on.run(Command(("sh", "-c", "command -v rsync"))).ok is (name == "rsync")

    def send(mode: int | None = None) -> int:
        source.write_bytes(content)
        sent.clear()
        told.clear()
        on.send(source, target, mode)
        assert (
            on.run(Command(("sha256sum", target))).text.split()[0].lstrip("\\") == hashlib.sha256(content).hexdigest()
        )
        assert [entry.path for entry in on.scan(folder)] == [target], "something is left beside it"
        assert told[-1].done == told[-1].total == len(content)
        return sum(sent)

    try:
        assert send(0o640) > SIZE
        content[5_000_000:5_000_010] = b"0123456789"
        assert send() < 1_200_000, "a few bytes in the middle"
        content += os.urandom(300_000)
        assert send() < 2_200_000, "some more at the end"
        content[:] = content[2**22 : 2**23] + content[: 2**22] + content[2**23 : 11_000_000]
        assert send() < 1_200_000, "two parts changed places, and it became shorter"
        content[100:100] = b"inserted"
        assert send() < (200_000 if name == "rsync" else len(content) + 100_000), "some more at the beginning"
        there = on.stat(target)
        assert there is not None and there.mode == 0o640, "the mode of what was there is kept"
        assert ended == ([0] * 4 if name == "rsync" else [])
    finally:
        on.remove(folder)
        on.close()


def test_a_changed_file_that_was_broken_off_is_gone_on_with(
    way: tuple[str, Sshd], tmp_path: Path, sent: list[int]
) -> None:
    """Most of it is new: the second attempt does not send again what has come by the first."""
    _, server = way
    on = SshTransport(server.host())
    folder = on.run(Command(("mktemp", "-d"))).text
    source, target = tmp_path / "large", f"{folder}/large"
    content = os.urandom(SIZE)
    try:
        source.write_bytes(content)
        on.send(source, target)
        changed = content[:2_000_000] + os.urandom(SIZE - 2_000_000)
        source.write_bytes(changed)
        drops = [True]

        def drop(progress: Progress) -> None:
            if progress.done > SIZE / 2 and drops:
                drops.pop()
                server.drop_connections()

        on.progress = drop
        sent.clear()
        with pytest.raises(Unreachable, match="was lost while the host worked on"):
            on.send(source, target)
        assert digest(on, target) == hashlib.sha256(content).hexdigest()
        sent.clear()
        on.send(source, target)
        assert digest(on, target) == hashlib.sha256(changed).hexdigest()
        assert sum(sent) < SIZE - 4_000_000, "it began anew"
        assert [entry.path for entry in on.scan(folder)] == [target]
    finally:
        on.remove(folder)
        on.close()


def test_a_full_disk_leaves_the_large_file_that_was_there(way: tuple[str, Sshd], tmp_path: Path) -> None:
    if not ROOT:
        return
    _, server = way
    on = SshTransport(server.host(user="root"))
    folder = on.run(Command(("mktemp", "-d"))).text
    on.demand(Command(("mount", "-t", "tmpfs", "-o", "size=17m", "tmpfs", folder)))
    source = tmp_path / "large"
    try:
        content = os.urandom(SIZE)
        source.write_bytes(content)
        on.send(source, f"{folder}/large")
        source.write_bytes(os.urandom(SIZE))
        with pytest.raises(Unavailable, match="no space left") as caught:
            on.send(source, f"{folder}/large")
        assert "disk space" in caught.value.remedy
        assert digest(on, f"{folder}/large") == hashlib.sha256(content).hexdigest()
    finally:
        on.demand(Command(("umount", folder)))
        on.remove(folder)
        on.close()


def test_a_tree_takes_a_handful_of_round_trips_however_many_files_it_has(on: SshTransport, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for number in range(150):
        file = tree / f"d{number % 5}" / f"it's {number}\n.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{number}\n")
    (tree / "empty").mkdir()
    (tree / "d0/link").symlink_to("../empty")
    folder = on.run(Command(("mktemp", "-d"))).text
    root = f"{folder}/to"
    user = on.run(Command(("id", "-un"))).text

    def bring(most: int) -> tuple[str, set[str]]:
        before = on.round_trips
        with on.one_step():
            source, files = on_runner(tree, follow=False), Attributes("0640", owner=user)
            outcome = bring_tree(on, source, root, files, Attributes("0750", owner=user), Manner())
        assert on.round_trips - before <= most, f"{on.round_trips - before} round trips"
        return outcome.status, {diff.label.removeprefix(root).strip("/") for diff in outcome.diffs}

    try:
        status, told = bring(10)
        assert status == "changed" and len(told) == 150 + 5 + 1 + 1 + 1
        there = {entry.path.removeprefix(f"{root}/"): entry for entry in on.scan(root, recurse=True)}
        assert len(there) == 150 + 5 + 1 + 1 and there["d0/link"].target == "../empty"
        assert {entry.mode for entry in there.values() if entry.kind == "file"} == {0o640}
        assert {entry.mode for entry in there.values() if entry.kind == "directory"} == {0o750}
        assert bring(6) == ("ok", set())
        for number in (7, 8, 9):
            (tree / f"d{number % 5}" / f"it's {number}\n.txt").write_text("?\n")
        (tree / "d1/new").write_text("new")
        on.chmod(f"{root}/d4", 0o700)
        status, told = bring(14)
        assert (status, told) == (
            "changed",
            {"d1/new", "d4 (attributes)", *(f"d{n % 5}/it's {n}\n.txt" for n in (7, 8, 9))},
        )
        assert on.read(f"{root}/d2/it's 7\n.txt") == b"?\n" and on.read(f"{root}/d1/new") == b"new"
        assert bring(6) == ("ok", set())
    finally:
        on.remove(folder)


def test_a_tree_is_given_its_owner_at_once(box: Sshd, tmp_path: Path) -> None:
    if not ROOT:
        return
    for number in range(40):
        (tmp_path / f"{number}\n").write_text("x")
    on = SshTransport(box.host(user="root"))
    root = on.run(Command(("mktemp", "-d"))).text

    def few(change: Callable[[], Outcome]) -> Outcome:
        before = on.round_trips
        with on.one_step():
            outcome = change()
        assert on.round_trips - before <= 10, f"{on.round_trips - before} round trips"
        return outcome

    def bring(owner: str, mode: str) -> Outcome:
        asked = Attributes(mode, owner, owner)
        return bring_tree(on, on_runner(tmp_path, follow=True), root, asked, Attributes(None, owner, owner), Manner())

    def recurse(owner: str) -> Outcome:
        return file(on, path=root, state="directory", recurse=True, owner=owner, mode="u=rwX,go=rX")

    try:
        for change, owner, mode in (
            (partial(bring, "deployer", "4755"), "deployer", 0o4755),  # a change of owner takes the set-user bit away
            (partial(bring, "daemon", "4755"), "daemon", 0o4755),
            (partial(recurse, "deployer"), "deployer", 0o755),
        ):
            assert few(change).status == "changed"
            assert {(entry.owner, entry.mode) for entry in on.scan(root)} == {(owner, mode)}
            outcome = few(change)
            assert (outcome.status, outcome.diffs) == ("ok", ())
        with pytest.raises(StepError, match="there is no user nobody-of-this-name"):
            recurse("nobody-of-this-name")
    finally:
        on.remove(root)
        on.close()


def test_a_tree_keeps_the_owner_of_what_was_there(box: Sshd, tmp_path: Path) -> None:
    if not ROOT:
        return
    on = SshTransport(box.host(user="root"))
    folder = on.run(Command(("mktemp", "-d"))).text
    try:
        for name in ("a", "b", "c"):
            on.write(f"{folder}/{name}", b"old")
            on.chown(f"{folder}/{name}", "deployer", "deployer")
            (tmp_path / name).write_text("new")
        bring_tree(on, on_runner(tmp_path, follow=True), folder, Attributes(), Attributes(), Manner())
        found = on.scan(folder)
        assert [(entry.owner, entry.group, on.read(entry.path)) for entry in found] == [
            ("deployer", "deployer", b"new")
        ] * 3
    finally:
        on.remove(folder)
        on.close()


def test_rsync_is_here() -> None:
    """What the tests above stand on."""
    assert shutil.which("rsync") is not None
