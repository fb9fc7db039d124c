"""This machine: what the contract leaves to each transport, above all files when things go wrong."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.errors import NotFound, StepError, Unavailable
from ikoma_play.model import Command, Host
from ikoma_play.transport.base import Transport
from ikoma_play.transport.local import LocalTransport

ROOT = os.geteuid() == 0
AS = ["itself"] + (["nobody"] if ROOT else [])


@pytest.fixture(params=AS)
def on(request: pytest.FixtureRequest, folder: Path) -> Transport:
    """This machine as the user that the tests run as, and where that is root, through another user's shell."""
    here = LocalTransport(Host("here"))
    if request.param == "itself":
        return here
    folder.chmod(0o777)
    return here.become("nobody")


def test_output_goes_to_a_file_of_the_host(on: Transport, folder: Path) -> None:
    result = on.run(Command(("sh", "-c", "printf 'a\\0b'; echo told >&2; exit 3"), stdout_to=f"{folder}/out"))
    assert (folder / "out").read_bytes() == b"a\0b"
    assert (result.exit_code, result.stdout, result.stderr) == (3, b"", b"told\n")
    assert (folder / "out").stat().st_mode & 0o777 == 0o600, "what a command prints may be secret"


def test_output_to_a_directory_that_is_not_there(on: Transport, folder: Path) -> None:
    try:
        result = on.run(Command(("echo", "x"), stdout_to=f"{folder}/no/out"))
    except NotFound as error:
        assert "no/out" in error.message
    else:
        assert not result.ok and b"no/out" in result.stderr


def test_parents_of_a_new_file_must_exist(on: Transport, folder: Path) -> None:
    with pytest.raises(NotFound, match="gone"):
        on.write(f"{folder}/gone/file", b"x")
    assert list(folder.iterdir()) == []


def test_a_file_that_another_user_keeps_to_itself(folder: Path) -> None:
    """As an ordinary user, with the cause and the remedy."""
    here = LocalTransport(Host("here"))
    on = here.become("nobody") if ROOT else here
    closed = folder / "closed"
    closed.mkdir(0o700 if ROOT else 0o000)
    if ROOT:
        folder.chmod(0o755)
    for deed in (lambda: on.write(f"{closed}/a", b"x"), lambda: on.stat(f"{closed}/a"), lambda: on.read(f"{closed}/a"),
                 lambda: on.scan(str(closed))):  # fmt: skip
        with pytest.raises(StepError, match="permission denied") as caught:
            deed()
        assert "become" in caught.value.remedy


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system with room for 64 KiB; in a place of its own where that needs no root."""
    mounted = folder / "small"
    mounted.mkdir()
    mount(["-t", "tmpfs", "-o", "size=64k,mode=1777", "tmpfs", str(mounted)])
    yield mounted
    subprocess.run([*elevated(), "umount", "-l", str(mounted)], check=True)


def elevated() -> list[str]:
    return [] if ROOT else ["sudo", "-n"]


def mount(arguments: list[str]) -> None:
    subprocess.run([*elevated(), "mount", *arguments], check=True)


def test_no_space_leaves_the_old_file_and_no_half_one(on: Transport, small_disk: Path) -> None:
    on.write(f"{small_disk}/a", b"old")
    with pytest.raises(Unavailable, match="no space left") as caught:
        on.write(f"{small_disk}/a", b"x" * 300_000)
    assert "df -h" in caught.value.remedy
    assert (small_disk / "a").read_bytes() == b"old"
    assert [path.name for path in small_disk.iterdir()] == ["a"], "half a file is left"


def test_a_read_only_file_system(on: Transport, small_disk: Path) -> None:
    mount(["-o", "remount,ro", str(small_disk)])
    with pytest.raises(StepError, match="read-only") as caught:
        on.write(f"{small_disk}/a", b"x")
    assert "remount" in caught.value.remedy


def test_a_replaced_file_keeps_its_owner(folder: Path) -> None:
    if not ROOT:  # only root can own a file as somebody else
        return
    on = LocalTransport(Host("here"))
    on.write(f"{folder}/a", b"1", 0o640)
    on.chown(f"{folder}/a", "nobody", "daemon")
    on.write(f"{folder}/a", b"2")
    there = on.stat(f"{folder}/a")
    assert there is not None and (there.owner, there.group, there.mode) == ("nobody", "daemon", 0o640)


def test_an_interrupted_run_leaves_no_process(folder: Path) -> None:
    on = LocalTransport(Host("here"))

    def interrupt(data: bytes) -> None:
        (folder / "pid").write_bytes(data)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        on.run(Command(("sh", "-c", "echo $$; exec sleep 55")), interrupt)
    assert not Path(f"/proc/{(folder / 'pid').read_text().strip()}").exists()


class Endless:
    """Content that never ends; tells when it is under way."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def read(self, size: int) -> bytes:
        self.sign.touch()
        time.sleep(0.01)
        return b"x" * 1000


@pytest.mark.parametrize("there", [False, True])
def test_a_writer_that_is_killed_leaves_nothing(tmp_path: Path, there: bool) -> None:
    folder, sign = tmp_path / "folder", tmp_path / "sign"
    folder.mkdir()
    if there:
        (folder / "f").write_text("former")
    writer = os.fork()
    if not writer:
        with suppress(BaseException):
            LocalTransport(Host("here")).write(str(folder / "f"), Endless(sign))  # type: ignore[arg-type]
        os._exit(1)
    while not sign.exists():
        time.sleep(0.01)
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    assert [path.name for path in folder.iterdir()] == (["f"] if there else [])
    assert not there or (folder / "f").read_text() == "former"


def test_a_file_system_without_nameless_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def refuse(path: str, flags: int, *more: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), path)
        return opened(path, flags, *more)

    monkeypatch.setattr(os, "open", refuse)
    on = LocalTransport(Host("here"))
    for content in (b"one", b"two"):
        on.write(str(tmp_path / "f"), content, 0o640)
        assert (tmp_path / "f").read_bytes() == content
    with pytest.raises(ZeroDivisionError):
        on.write(str(tmp_path / "f"), Broken())  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["f"] and (tmp_path / "f").read_bytes() == b"two"
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o640


class Broken:
    def read(self, size: int) -> bytes:
        raise ZeroDivisionError


def test_what_a_killed_writer_left_is_swept_by_the_next_one(tmp_path: Path) -> None:
    on = LocalTransport(Host("here"))
    left, written, other = (tmp_path / name for name in (".f.0123456789ab", ".f.ba9876543210", ".g.0123456789ab"))
    for path in (left, written, other):
        path.write_text("half")
    with written.open("a") as somebody:
        fcntl.flock(somebody, fcntl.LOCK_EX)
        on.write(str(tmp_path / "f"), b"whole")
        assert sorted(path.name for path in tmp_path.iterdir()) == [written.name, other.name, "f"]
    on.write(str(tmp_path / "f"), b"again")
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "f"]
