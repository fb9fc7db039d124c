"""Files of an SSH host: few round trips, nothing half-made, nothing sent that is there already."""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ikoma_play.errors import NotFound, StepError, Unavailable, Unreachable
from ikoma_play.model import Command, Progress
from ikoma_play.transport.ssh import SshTransport
from ikoma_play.transport.ssh_shells import FEW
from tests.parts.sshd import ROOT, Sshd


@pytest.fixture
def place(on: SshTransport) -> Iterator[str]:
    """A directory of the host's that belongs to the one who logs in."""
    folder = on.run(Command(("mktemp", "-d"))).text
    yield folder
    on.run(Command(("rm", "-rf", folder)))


def test_each_verb_is_one_round_trip(on: SshTransport, place: str) -> None:
    for _ in range(FEW + 1):
        on.stat(place)  # until there is a shell for scripts
    for verb in (
        lambda: on.write(f"{place}/a", b"x" * 10_000, 0o755),
        lambda: on.write(f"{place}/a", b"y"),
        lambda: on.read(f"{place}/a"),
        lambda: on.stat(f"{place}/a"),
        lambda: on.scan(place, recurse=True),
        lambda: on.mkdir(f"{place}/b/c/d"),
        lambda: on.rename(f"{place}/a", f"{place}/b/a"),
        lambda: on.symlink("b", f"{place}/l"),
        lambda: on.chmod(f"{place}/b/a", 0o600),
        lambda: on.remove(f"{place}/b"),
    ):
        before = on.round_trips
        verb()
        assert on.round_trips == before + 1


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 3_000_000])
def test_content_of_any_size(on: SshTransport, place: str, size: int) -> None:
    data = os.urandom(size)
    on.write(f"{place}/bytes", data)
    on.write(f"{place}/source", io.BytesIO(data))
    assert on.read(f"{place}/bytes") == data == on.read(f"{place}/source")


@pytest.mark.skipif(not ROOT, reason="mounting takes root")
@pytest.mark.parametrize("size", [100, 100_000])
def test_a_full_disk_leaves_the_old_file(full_disk: tuple[SshTransport, str], size: int) -> None:
    on, folder = full_disk
    with pytest.raises(Unavailable, match="no space left") as caught:
        on.write(f"{folder}/kept", b"n" * size)
    assert "disk space" in caught.value.remedy


def test_what_goes_wrong_has_its_cause(on: SshTransport, place: str) -> None:
    for path, kind, said in (
        ("/proc/ikoma", StepError, "cannot write /proc/ikoma"),
        (f"{place}/none/a", NotFound, "no such file or directory"),
        ("/usr/ikoma", StepError, "permission denied" if not ROOT or on.run(Command(("id", "-u"))).text != "0" else ""),
    ):
        for data in (b"x", bytes(100_000)):
            with pytest.raises(kind, match=said):
                on.write(path, data)
    with pytest.raises(StepError, match="cannot make the directory"):
        on.mkdir("/proc/ikoma/a")
    with pytest.raises(NotFound, match="cannot rename"):
        on.rename(f"{place}/none", f"{place}/other")
    with pytest.raises(NotFound, match="cannot change the mode"):
        on.chmod(f"{place}/none", 0o600)


def test_a_tree_goes_in_one_stream_and_only_what_changed(on: SshTransport, place: str, tmp_path: Path) -> None:
    source = tmp_path / "tree"
    for number in range(60):
        file = source / f"d{number % 7}" / f"it's {number}\n.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(number * 50))
    (source / ("long" * 40)).write_bytes(b"x")
    (source / "program").write_bytes(b"#!/bin/sh\n")
    (source / "program").chmod(0o755)
    told: list[Progress] = []
    on.progress = told.append
    before = on.round_trips
    assert on.upload(source, f"{place}/to") == 62
    assert on.round_trips <= before + 4
    assert told[-1].done == told[-1].total > 60
    for file in source.rglob("*"):
        if file.is_file():
            assert on.read(f"{place}/to/{file.relative_to(source)}") == file.read_bytes()
    there = on.stat(f"{place}/to/program")
    assert there is not None and there.mode == 0o755
    assert not [entry for entry in on.scan(f"{place}/to") if ".ikoma" in entry.path]
    assert on.upload(source, f"{place}/to") == 0
    (source / "d1" / "it's 1\n.txt").write_bytes(b"z" * 50)  # the same size, another content
    (source / "program").chmod(0o700)
    assert on.upload(source, f"{place}/to") == 2
    assert on.read(f"{place}/to/d1/it's 1\n.txt") == b"z" * 50


def test_one_file_is_uploaded_as_a_file(on: SshTransport, place: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(200_000))
    assert on.upload(file, f"{place}/as another") == 1
    assert on.upload(file, f"{place}/as another") == 0
    assert on.read(f"{place}/as another") == file.read_bytes()


def test_an_upload_that_cannot_be_is_told(on: SshTransport, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/a").write_text("x")
    with pytest.raises(StepError, match="cannot write /proc/ikoma"):
        on.upload(tmp_path / "tree", "/proc/ikoma")


def test_much_goes_over_at_a_good_rate_and_stays_out_of_memory(box: Sshd, tmp_path: Path) -> None:
    """In a process of its own, whose peak is told: 200 MB from a file, to a file, and back as a stream."""
    import sys

    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(200_000_000)
    script = """
import json, resource, sys
from ikoma_play.model import Command, Host
from ikoma_play.transport.ssh import SshTransport
on = SshTransport(Host("box", vars=json.loads(sys.argv[1])))
on.run(Command(("true",)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
target = on.run(Command(("mktemp",))).text
with open(sys.argv[2], "rb") as file:
    on.write(target, file)
print(on.stat(target).size, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
on.remove(target)
on.close()
"""
    import json

    vars_ = json.dumps(dict(box.host().vars))
    done = subprocess.run([sys.executable, "-c", script, vars_, str(big)], capture_output=True, text=True, check=True)
    size, grown = (int(word) for word in done.stdout.split())
    assert size == 200_000_000 and grown < 60, f"{grown} MB more for 200 MB that only passed through"


def test_within_a_step_one_look_answers_several_questions(on: SshTransport, place: str) -> None:
    """What putting a file in place asks about it: two round trips where it is new, one where it is the same."""
    from ikoma_play.tools.general.copying import Manner, bring
    from ikoma_play.tools.general.placing import Attributes

    trips = []
    for content in (b"one", b"one", b"two"):
        before = on.round_trips
        with on.one_step():
            outcome = bring(on, f"{place}/a", content, Attributes("0640"), Manner())
        trips.append(on.round_trips - before)
        assert (outcome.result["mode"], outcome.result["size"]) == ("0640", 3)
        assert on.read(f"{place}/a") == content
    assert trips == [2, 1, 2], trips


def test_what_was_seen_is_forgotten_with_a_change_and_with_time(on: SshTransport, place: str) -> None:
    path = f"{place}/a"
    script = ("sh", "-c", 'echo longer > "$1"; chmod 600 "$1"', "sh", path)
    on.write(path, b"x")
    with on.one_step():
        assert on.stat(path).size == 1  # type: ignore[union-attr]
        on.run(Command(script))
        assert (on.stat(path).mode, on.read(path)) == (0o600, b"longer\n")  # type: ignore[union-attr]
        on.remove(path)
        assert on.stat(path) is None and on.stat(path, follow=True) is None
        on.write(path, b"y" * 100_000)
        assert on.stat(path).size == 100_000  # type: ignore[union-attr]
        assert on.stat(path).size == 100_000  # type: ignore[union-attr]
        subprocess.run(["sh", "-c", f"sleep 0.3; rm {path}"], check=False)
        assert on.stat(path) is None or not ROOT
    assert on.glances.find(on.who, path) is None


def test_looks_within_a_step_are_as_right_as_others(on: SshTransport, place: str) -> None:
    make = 'cd "$1"; mkdir d; echo x > d/f; ln -s f d/l; ln -s none d/b; ln -s d dl; echo > "d/n\nl"'
    on.run(Command(("sh", "-c", make, "sh", place)))
    names = ("d", "d/f", "d/l", "d/b", "dl", "dl/f", "d/n\nl", "none", "none/below", "d/f/below", "d/", ".", "dl/l")
    for name in names:
        path = f"{place}/{name}"
        plain = on.stat(path), on.stat(path, follow=True)
        with on.one_step():
            assert (on.stat(path), on.stat(path, follow=True)) == plain, name
            parent = posixpath.dirname(path)
            assert on.stat(parent) is not None or name == "none/below"
        assert on.stat(parent) == on.stat(parent)


def test_a_large_file_goes_on_where_it_was_broken_off(own: Callable[..., Sshd], tmp_path: Path) -> None:
    """The connection is lost after a third; the rest is all that is sent by the next one. Other content starts anew."""
    server = own()
    source, size = tmp_path / "large", 30_000_000
    source.write_bytes(os.urandom(size))
    on = SshTransport(server.host())
    told: list[float] = []

    def drop(progress: Progress) -> None:
        told.append(progress.done)
        assert progress.total == size
        if progress.done > size / 3 and drops:
            drops.pop()
            server.drop_connections()

    try:
        folder = on.run(Command(("mktemp", "-d"))).text
        target, part = f"{folder}/it's large", f"{folder}/.it's large.ikoma-part"
        drops = [True]
        on.progress = drop
        with pytest.raises(Unreachable, match="was lost while the host worked on"):
            on.send(source, target, 0o640)
        there = on.stat(part)
        assert there is not None and there.size > size / 10 and there.mode == 0o600 and on.stat(target) is None
        told.clear()
        on.send(source, target, 0o640)
        assert told[0] > there.size and told[-1] == size, "it did not go on where it was"
        now = on.stat(target)
        assert now is not None and (now.size, now.mode) == (size, 0o640) and on.stat(part) is None
        sums = on.run(Command(("sha256sum", target))).text.split()[0].lstrip("\\")
        assert sums == hashlib.sha256(source.read_bytes()).hexdigest()
        on.write(part, b"something else" * 1_000_000)  # by nobody's hash a beginning of it
        told.clear()
        on.send(source, target)
        assert told[0] < 2_000_000 and on.run(Command(("sha256sum", target))).text.split()[0].lstrip("\\") == sums
        now = on.stat(target)
        assert now is not None and now.mode == 0o640, "the mode of what was there is kept"
        assert [entry.path for entry in on.scan(folder)] == [target]
        on.remove(folder)
    finally:
        on.close()


def test_two_who_send_the_same_file_do_not_mix(own: Callable[..., Sshd], tmp_path: Path) -> None:
    server = own()
    roads = [SshTransport(server.host()) for _ in range(3)]
    folder = roads[0].run(Command(("mktemp", "-d"))).text
    sources = [tmp_path / str(number) for number in range(3)]
    for source in sources:
        source.write_bytes(os.urandom(20_000_000))
    threads = [threading.Thread(target=on.send, args=(source, f"{folder}/same"))
               for on, source in zip(roads, sources, strict=True)]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    sums = roads[0].run(Command(("sha256sum", f"{folder}/same"))).text.split()[0]
    assert sums in [hashlib.sha256(source.read_bytes()).hexdigest() for source in sources]
    assert [entry.path for entry in roads[0].scan(folder)] == [f"{folder}/same"]
    roads[0].remove(folder)
    for on in roads:
        on.close()


def test_what_keeps_a_large_file_from_its_place(on: SshTransport, place: str, tmp_path: Path) -> None:
    source = tmp_path / "large"
    source.write_bytes(bytes(9_000_000))
    on.mkdir(f"{place}/directory")
    with pytest.raises(StepError, match="is a directory"):
        on.send(source, f"{place}/directory")
    with pytest.raises(NotFound, match="no such file or directory"):
        on.send(source, f"{place}/none/file")
    on.demand(Command(("mkfifo", f"{place}/pipe")))
    with pytest.raises(StepError, match="not a regular file"):
        on.send(source, f"{place}/pipe")
    assert sorted(entry.path for entry in on.scan(place)) == [f"{place}/directory", f"{place}/pipe"]
    assert on.run(Command(("echo", "next"))).text == "next"
