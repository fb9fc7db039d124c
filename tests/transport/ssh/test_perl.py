"""Small files go through the host's Perl, once there are some: what it costs, and what becomes of it."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ikoma_play.errors import IkomaError, StepError
from ikoma_play.model import Command
from ikoma_play.transport import ssh_perl
from ikoma_play.transport.base import Put
from ikoma_play.transport.shell import OutOfTime, Shell
from ikoma_play.transport.ssh import SshTransport
from ikoma_play.transport.ssh_perl import FEW, FEW_BEHIND_A_DOOR
from tests.parts.sshd import ROOT, Sshd
from tests.transport.conftest import with_perl


@pytest.fixture
def road(box: Sshd) -> Iterator[SshTransport]:
    road = SshTransport(box.host())
    yield road
    road.close()


@pytest.fixture
def place(road: SshTransport) -> Iterator[str]:
    folder = road.run(Command(("mktemp", "-d"))).text
    yield folder
    road.run(Command(("rm", "-rf", folder)))


def put(on: SshTransport, path: str, data: bytes) -> Put | None:
    with on.one_step():
        return on.put(path, data)


def opened(on: SshTransport) -> Shell:
    shell = on._perl._shell
    assert shell is not None, "no Perl is open"
    return shell


def gone(pid: int) -> bool:
    until = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def test_after_some_files_it_does_them(road: SshTransport, place: str) -> None:
    for number in range(FEW):
        assert put(road, f"{place}/{number}", b"x") == Put(None, True)
        assert road._perl._shell is None, "a few files are not worth its start"
    for number in range(FEW, 100):
        assert put(road, f"{place}/{number}", b"x") == Put(None, True)
    assert Path(f"/proc/{opened(road).pid}/comm").read_text() == "perl\n"
    assert len(road.scan(place)) == 100


def test_no_shell_has_a_part_in_it(road: SshTransport, place: str) -> None:
    """Files are put in place, looked at and read while each shell is stopped."""
    with_perl(road)
    shells = [shell.pid for shell in road._shells._idle]
    assert shells
    for pid in shells:
        os.kill(pid, signal.SIGSTOP)
    try:
        for data in (b"old", b"new"):
            for number in range(20):
                with road.one_step():
                    assert road.put(f"{place}/{number}", data) == Put(b"old" if data == b"new" else None, True)
                with road.one_step():
                    assert road.stat(f"{place}/{number}") is not None
                    assert road.read(f"{place}/{number}") == data
    finally:
        for pid in shells:
            os.kill(pid, signal.SIGCONT)


def test_another_user_has_one_of_its_own(box: Sshd) -> None:
    """Where sudo has to be asked first, more files come before it."""
    on = SshTransport(box.host(user="free"))
    try:
        root = on.become("root")
        assert isinstance(root, SshTransport)
        folder = root.run(Command(("mktemp", "-d"))).text
        for number in range(40):
            assert (root._perl._shell is None) is (number <= FEW_BEHIND_A_DOOR)
            put(root, f"{folder}/{number}", b"x")
        assert {entry.owner for entry in root.scan(folder)} == {"root"}
        assert Path(f"/proc/{opened(root).pid}").stat().st_uid == 0
        root.remove(folder)
    finally:
        on.close()


def test_a_host_without_it(road: SshTransport, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_perl, "PERL", "/nonexistent/perl")
    for number in range(20):
        assert put(road, f"{place}/{number}", b"x") == Put(None, True)
    assert road._perl._given_up and road._perl._shell is None
    assert len(road.scan(place)) == 20 and road.connection.opened == 1


def test_its_end_between_files_is_noticed(road: SshTransport, place: str) -> None:
    shell = opened(with_perl(road))
    os.kill(shell.pid, signal.SIGKILL)
    assert gone(shell.pid)
    while not shell.channel.closed:  # the SSH server tells of it
        time.sleep(0.01)
    for name in "ab":
        assert put(road, f"{place}/{name}", b"x") == Put(None, True)
    assert road.stat(f"{place}/a") is not None


@pytest.mark.parametrize("ending", [(signal.SIGKILL,), (signal.SIGTERM, signal.SIGCONT)], ids=["KILL", "TERM"])
def test_whoever_it_ends_under_is_told_so_and_a_look_is_taken_by_a_shell(
    road: SshTransport, place: str, ending: tuple[signal.Signals, ...]
) -> None:
    """Whether the file is in its place cannot be known; that of a look is not asked."""
    for looking in (False, True):
        with_perl(road)
        pid = opened(road).pid
        os.kill(pid, signal.SIGSTOP)
        killing = threading.Timer(0.3, lambda pid=pid: [os.kill(pid, each) for each in ending])
        killing.start()
        if looking:
            with road.one_step():
                assert road.stat(f"{place}/b") is None
        else:
            with pytest.raises(StepError, match=f"perl was ended while it worked on {place}/b"):
                put(road, f"{place}/b", b"x")
        killing.join()
        assert road._perl._shell is None
        assert [entry.path for entry in road.scan(place)] == []
        road._perl._given_up = False


def test_it_is_gone_with_the_connection(box: Sshd) -> None:
    for close in (SshTransport.close, lambda on: on.connection.lose()):
        on = SshTransport(box.host())
        pid = opened(with_perl(on)).pid
        close(on)
        assert gone(pid), "it stays as an orphan"
        on.close()


def test_it_comes_again_with_a_new_connection(road: SshTransport, place: str) -> None:
    pid = opened(with_perl(road)).pid
    road.connection.lose()
    for number in range(20):
        assert put(road, f"{place}/{number}", b"x") == Put(None, True)
    assert opened(road).pid != pid and road.connection.opened == 2


@pytest.mark.parametrize("sessions", [1, 2, 3])
def test_a_host_that_allows_few_sessions(own: Callable[..., Sshd], sessions: int) -> None:
    """It takes none that anything else needs."""
    on = SshTransport(own(f"MaxSessions {sessions}").host(user="free"))
    waiting = 'mkdir -p "$1"; : > "$1/$2"; while [ "$(ls "$1" | wc -l)" -lt "$3" ]; do sleep 0.05; done'

    def together(one: int) -> Command:
        """It ends once so many of its kind run."""
        return Command(("sh", "-c", waiting, "sh", f"{folder}/together", str(one), str(sessions)), timeout=60)

    try:
        folder = on.run(Command(("mktemp", "-d"))).text
        for number in range(20):
            assert put(on, f"{folder}/{number}", b"x") == Put(None, True)
        assert (on._perl._shell is None) is (sessions == 1)
        if sessions > 1:
            with ThreadPoolExecutor(sessions) as pool:
                assert all(pool.map(lambda one: on.run(together(one)).ok, range(sessions)))
                assert on._perl._shell is None, "it keeps a session that a command waits for"
            assert on.become("root").run(Command(("true",))).ok
        on.remove(f"{folder}/together")
        assert len(on.scan(folder)) == 20
    finally:
        on.close()


def test_it_keeps_its_session_however_long_it_takes_to_start(
    own: Callable[..., Sshd], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a host that allows two: a shell of the other kind does meanwhile."""
    hear, asked = Shell.hear, 0

    def late(shell: Shell, until: float | None) -> None:
        nonlocal asked
        if until == 0.0 and (asked := asked + 1) < 15:
            raise OutOfTime
        hear(shell, until)

    monkeypatch.setattr(Shell, "hear", late)
    on = SshTransport(own("MaxSessions 2").host(user="free"))
    try:
        folder = on.run(Command(("mktemp", "-d"))).text
        for number in range(10):
            assert put(on, f"{folder}/{number}", b"x") == Put(None, True)
        assert asked > 5 and on._perl._shell is not None
        opened(with_perl(on))
    finally:
        on.close()


def test_two_at_once(road: SshTransport, place: str) -> None:
    """What finds it busy goes through a shell."""
    with_perl(road)

    def puts(name: str) -> list[Put | None]:
        return [put(road, f"{place}/{name}{number}", name.encode()) for number in range(30)]

    with ThreadPoolExecutor(4) as pool:
        for done in pool.map(puts, "abcd"):
            assert set(done) <= {Put(None, True), None}
    for entry in road.scan(place):
        assert road.read(entry.path) == Path(entry.path).name[0].encode()


# What is there, as a script in a directory: it makes x/file, or what is in its place.
THERE = {
    "nothing": "",
    "same": "printf data > x/file",
    "old": "printf old > x/file",
    "empty": ": > x/file",
    "special mode": "printf old > x/file; chmod 4711 x/file",
    "unreadable": "printf old > x/file; chmod 000 x/file",
    "large": "head -c 20000 /dev/zero > x/file",
    "as large as may be": "head -c 16384 /dev/zero > x/file",
    "directory": "mkdir x/file",
    "fifo": "mkfifo x/file",
    "link": "ln -s ../aim x/file; printf old > aim",
    "link to nothing": "ln -s none x/file",
    "link to itself": "ln -s file x/file",
    "no directory": "rmdir x",
    "a file in place of the directory": "rmdir x; : > x",
    "a link in place of the directory": "rmdir x; mkdir y; ln -s y x; printf old > y/file",
    "a closed directory": "printf old > x/file; chmod 000 x",
    "a directory that is not ours": "printf old > x/file; chmod 555 x",
    "a directory of a group": "chmod 2775 x",
    "two names": "printf old > x/file; ln x/file other",
    "another's": "printf old > x/file; sudo chown root:root x/file",
    "another's, the same": "printf data > x/file; sudo chown root:root x/file",
    "another group's": "printf old > x/file; sudo chgrp root x/file; sudo chmod 664 x/file",
    "nobody's": "printf data > x/file; sudo chown 4000000:4000001 x/file",
    "access lists": "setfacl -d -m u:root:rwx,g::rwx x",
}


@pytest.fixture(scope="module")
def both(box: Sshd) -> Iterator[tuple[SshTransport, SshTransport]]:
    """Two roads to one host: on the first there is no Perl."""
    roads = SshTransport(box.host(user="free")), with_perl(SshTransport(box.host(user="free")))
    roads[0]._perl._given_up = True
    yield roads
    for road in roads:
        road.close()


@pytest.mark.skipif(not ROOT, reason="several users take root")
@pytest.mark.parametrize("mode", [None, 0o600, 0o2755], ids=["no mode", "0600", "2755"])
@pytest.mark.parametrize("there", THERE)
def test_it_does_and_says_what_shells_do_and_say(
    both: tuple[SshTransport, SshTransport], there: str, mode: int | None
) -> None:
    came = []
    for on in both:
        folder = on.run(Command(("mktemp", "-d"))).text
        try:
            came.append([*_came_of(on, folder, there, mode)])
        finally:
            on.run(Command(("sudo", "rm", "-rf", folder)))
    assert came[1] == came[0]
    assert both[1]._perl._shell is not None, "a shell was asked"


def _came_of(on: SshTransport, folder: str, there: str, mode: int | None) -> Iterator[object]:
    """What each verb says of x/file, and what the directory is like after it; paths without the directory."""
    path = f"{folder}/x/file"
    verbs: dict[str, Callable[[], object]] = {
        "stat": lambda: on.stat(path),
        "follow": lambda: on.stat(path, follow=True),
        "put": lambda: on.put(path, b"data", mode),
        "write": lambda: on.write(path, b"data", mode),
        "write what was written": lambda: on.write(path, b"again\0\n", mode),
    }
    for name, verb in verbs.items():
        on.demand(Command(("sh", "-c", f"sudo rm -rf aim other x y; umask 022; mkdir x; {THERE[there]}"), cwd=folder))
        with on.one_step():
            try:
                said = str(verb())
            except IkomaError as error:
                said = str(error).replace("not a directory", "no such file or directory")  # dash tells both alike
        looking = "sudo find . -printf '%p %y %m %s %u %g %l %n\\n' -type f -exec cat {} ';' | sort"
        found = on.demand(Command(("sh", "-c", looking), cwd=folder)).text
        yield name, re.sub(r"mtime=[0-9.]+", "", said).replace(folder, ""), re.sub(r"[.]\w+[.][0-9a-f]{12}", "", found)
