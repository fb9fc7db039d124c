"""Small files are compared where they go and put there by one and the same question."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from ikoma_play.errors import StepError, Unavailable
from ikoma_play.model import Command
from ikoma_play.tools.general.copying import Manner, at_once
from ikoma_play.tools.general.placing import Attributes
from ikoma_play.transport.base import Put
from ikoma_play.transport.ssh import SshTransport
from ikoma_play.transport.ssh_files import SMALL
from tests.parts.sshd import ROOT

LARGEST = Random(1).randbytes(16384)  # the same in every process that runs the tests


@pytest.fixture
def place(on: SshTransport) -> Iterator[str]:
    folder = on.run(Command(("mktemp", "-d"))).text
    yield folder
    on.run(Command(("rm", "-rf", folder)))


@pytest.mark.parametrize(
    ("there", "data"),
    [
        (None, b"new\n"),
        (None, b""),
        (None, bytes(range(256))),
        pytest.param(None, LARGEST, id="the largest, new"),
        (b"", b""),
        (b"", b"x"),
        (b"same\n", b"same\n"),
        (b"same", b"other"),
        (b"ab\0", b"ab\n"),
        (b"ab\n", b"ab\0"),
        (b"a\n\n", b"a\n"),
        (b"it's \\0101 $HOME `id` %s\n", b"it's \\0101 $HOME `id` %s\n"),
        (b"caf\xc3\xa9\n", b"caf\xe9e\n"),
        pytest.param(LARGEST, b"short", id="the largest, before"),
    ],
)
@pytest.mark.parametrize("name", ["plain", "it's a 'name' $(id)\nof two lines", "-n"])
def test_what_was_there_is_told_and_what_shall_be_there_is(
    on: SshTransport, place: str, there: bytes | None, data: bytes, name: str
) -> None:
    path = f"{place}/{name}"
    if there is not None:
        on.write(path, there, 0o640)
    on.run(Command(("true",)))
    with on.one_step():
        before = on.round_trips
        put = on.put(path, data)
        seen = on.stat(path)
        assert on.read(path) == data
        assert on.round_trips == before + 1
    assert put == Put(there, there != data)
    assert on.read(path) == data
    assert on.stat(path) == seen and seen is not None
    assert seen.mode == (0o644 if there is None else 0o640)
    assert [entry.path for entry in on.scan(place)] == [path]


@pytest.mark.parametrize("mode", [0o600, 0o755, 0o4755, 0o400])
def test_the_mode_of_what_is_written(on: SshTransport, place: str, mode: int) -> None:
    with on.one_step():
        assert on.put(f"{place}/a", b"one", mode) == Put(None, True)
        assert on.stat(f"{place}/a").mode == mode  # type: ignore[union-attr]
    assert on.stat(f"{place}/a").mode == mode  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "make",
    [
        'ln -s other "$1"',
        'ln -s none "$1"',
        'mkdir "$1"',
        'mkfifo "$1"',
        'head -c 20000 /dev/zero > "$1"',
        'rmdir "${1%/*}"',
        'echo secret > "$1"; chmod 000 "$1"',
    ],
)
def test_what_is_no_small_file_is_left_and_looked_at(on: SshTransport, place: str, make: str) -> None:
    path = f"{place}/a"
    on.demand(Command(("sh", "-c", f'echo > "${{1%/*}}/other"; rm "${{1%/*}}/other"; {make}', "sh", path)))
    was = on.stat(path), on.stat(path, follow=True)
    if was[0] is not None and was[0].mode == 0 and on.run(Command(("id", "-u"))).text == "0":
        return  # who may read everything
    with on.one_step():
        before = on.round_trips
        assert on.put(path, b"never\n") is None
        assert (on.stat(path), on.stat(path, follow=True)) == was
        assert on.round_trips == before + 1
    assert (on.stat(path), on.stat(path, follow=True)) == was


def test_without_a_step_or_after_a_look_nothing_is_put(on: SshTransport, place: str) -> None:
    assert on.put(f"{place}/a", b"x") is None
    with on.one_step():
        assert on.put(f"{place}/a", b"x" * 16385) is None
        assert on.stat(f"{place}/a") is None
        assert on.put(f"{place}/a", b"x") is None
    assert on.scan(place) == []


def test_a_place_that_cannot_be_written(on: SshTransport, place: str) -> None:
    on.run(Command(("chmod", "555", place)))
    try:
        if on.run(Command(("id", "-u"))).text == "0":
            return
        with on.one_step(), pytest.raises(StepError, match=r"cannot write .*permission denied"):
            on.put(f"{place}/a", b"x")
    finally:
        on.run(Command(("chmod", "755", place)))


@pytest.mark.skipif(not ROOT, reason="mounting takes root")
def test_a_full_disk_leaves_the_old_file(full_disk: tuple[SshTransport, str]) -> None:
    on, folder = full_disk
    with on.one_step(), pytest.raises(Unavailable, match="no space left"):
        on.put(f"{folder}/kept", b"n" * 10_000)


@pytest.mark.parametrize(
    ("mode", "owner", "manner", "trips"),
    [
        (None, None, Manner(), [1, 1, 1]),
        ("0600", None, Manner(), [1, 1, 1]),
        ("u=rw,go=", None, Manner(), None),  # depends on what is there
        (None, "me", Manner(), [1, 1, 1]),
        (None, None, Manner(backup=True), None),
        (None, None, Manner(force=False), None),
        (None, None, Manner(follow=True), None),
        (None, None, Manner(validate="test -s %s"), None),
    ],
)
def test_a_tool_asks_once_where_what_is_there_does_not_matter(
    on: SshTransport, place: str, mode: Any, owner: str | None, manner: Manner, trips: list[int] | None
) -> None:
    asked = Attributes(mode, on.run(Command(("id", "-un"))).text if owner else None)
    taken = []
    for content, changed in ((b"one", True), (b"one", False), (b"two", True)):
        before = on.round_trips
        with on.one_step():
            done = at_once(on, f"{place}/a", content, asked, manner)
        taken.append(on.round_trips - before)
        if trips is None:
            assert done is None and taken[-1] == 0
            continue
        assert done is not None and (done.status.value == "changed") is changed
        assert (done.result["size"], done.result["mode"]) == (3, "0600" if mode else "0644")
        assert [(diff.before, diff.after) for diff in done.diffs] == (
            [("" if content == b"one" else "one", content.decode())] if changed else []
        )
    assert trips is None or taken == trips


@pytest.mark.parametrize("there", [None, b"before"])
def test_what_the_disk_does_not_take_leaves_things_as_they_were(
    on: SshTransport, place: str, there: bytes | None
) -> None:
    path, beside = f"{place}/a", f"{place}/.a.beside"
    if there is not None:
        on.write(path, there)
    script = f"sync() {{ return 1; }}\ncontent() {{ printf new; }}\n{SMALL}"
    assert not on.run_script(script, path, place, beside, "", "133", "").ok
    assert [entry.path for entry in on.scan(place)] == ([path] if there is not None else [])
    if there is not None:
        assert on.read(path) == there
