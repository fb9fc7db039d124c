"""The shell that stays open is as careful as a fresh one: nothing leaks from one command to the next."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ikoma_play.errors import Interrupted, StepError, TimedOut
from ikoma_play.model import Command
from ikoma_play.transport import ssh_shells
from ikoma_play.transport.framing import INLINE, Frame, prelude
from ikoma_play.transport.process import KEPT
from ikoma_play.transport.ssh import SshTransport
from ikoma_play.transport.ssh_shells import FEW
from tests.parts.chance import LONG
from tests.parts.sshd import ROOT, Sshd


@pytest.fixture(params=["bash", "sh"])
def on(box: Sshd, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshTransport]:
    """A host that has a bash, and one that has none: no command can tell."""
    if request.param == "sh":
        monkeypatch.setattr(ssh_shells, "PROGRAMS", "exec /bin/sh")
    road = SshTransport(box.host())
    assert ("bash" in road.run(sh("ps -o args= -p $PPID")).text) is (request.param == "bash")
    yield road
    road.close()


def sh(script: str, *words: str, **more: object) -> Command:
    return Command(("sh", "-c", script, "sh", *words), **more)  # type: ignore[arg-type]


def sleepers(mark: str) -> list[int]:
    """The processes that have `mark` in their arguments."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().split(b"\0")
        except OSError:
            continue
        if mark.encode() in words:
            found.append(int(place.parent.name))
    return found


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.05)


def test_one_connection_and_one_shell_for_all_commands(on: SshTransport) -> None:
    shells = {on.run(sh("echo $PPID")).text for _ in range(5)}
    assert len(shells) == 1 and on.connection.opened == 1
    before = on.round_trips
    on.run(sh("true"))
    assert on.round_trips == before + 1


def test_nothing_leaks_from_command_to_command(on: SshTransport) -> None:
    looking = sh("env | grep -v '^_=' | sort; pwd; umask; ulimit -n; trap; ls /proc/self/fd")
    before = on.run(looking).stdout
    on.run(sh("true", cwd="/usr", env={"LEAK": "x", "PATH": "/nowhere:/usr/bin:/bin"}))
    on.run(sh("cd /; umask 0; export LEAK=y; ulimit -n 64; trap '' TERM HUP; exec 5>/dev/null"))
    on.run(sh("exit 9", env={"LEAK": "z"}, stdin=b"words"))
    assert on.run(looking).stdout == before


def test_a_command_has_a_process_group_of_its_own_and_no_terminal(on: SshTransport) -> None:
    told = on.run(sh("ps -o pid=,pgid=,tty= -p $$")).text.split()
    assert told[0] == told[1] and told[2] == "?"
    for _ in range(2):
        assert on.run(sh("trap '' USR1; kill -USR1 0; kill 0; echo not reached")).exit_code == 128 + signal.SIGTERM
    assert on.connection.opened == 1 and on.run(sh("echo after")).text == "after"


def test_a_command_that_is_stopped_has_not_ended(on: SshTransport) -> None:
    result = on.run(sh("(sleep 0.3; kill -CONT $$) & kill -STOP $$; echo went on"))
    assert (result.text, result.exit_code) == ("went on", 0)


def test_what_cannot_be_started(on: SshTransport) -> None:
    missing, forbidden = on.run(Command(("nosuch", "-x"))), on.run(Command(("/etc/passwd",)))
    assert (missing.exit_code, missing.stderr) == (127, b"nosuch: command not found\n")
    assert (forbidden.exit_code, forbidden.stderr) == (126, b"/etc/passwd: cannot be executed: Permission denied\n")


def test_scripts_and_programs_have_shells_of_their_own_once_they_are_many(on: SshTransport) -> None:
    for _ in range(FEW):
        on.stat("/")
    assert len(on._shells._idle) == 1, "a few scripts are not worth a shell"
    for _ in range(3):
        on.stat("/")
        on.run(sh("true"))
    assert sorted(shell.for_programs for shell in on._shells._idle) == [False, True]


@pytest.mark.parametrize(
    "output", [b"", b"no newline", b"\n", b"\0\0\0", b"\x1e", b"\x1e" * 70, b"a\x1e", b"\r\n\x04\x1a\xff"]
)
def test_output_of_any_kind(on: SshTransport, output: bytes) -> None:
    result = on.run(sh("cat; printf %s e >&2", stdin=output))
    assert (result.stdout, result.stderr, result.exit_code) == (output, b"e", 0)
    result = on.run(sh("cat >&2", stdin=output))
    assert (result.stdout, result.stderr) == (b"", output)


def test_marks_in_the_output_are_only_output(on: SshTransport) -> None:
    """A command that prints what every earlier command's end looked like, and what ends could look like."""
    forged = b"".join(b"\x1e" + mark + end for mark in (b"0" * 32, os.urandom(16).hex().encode())
                      for end in (b"0;", b";", b"cd;", b"ready\n", b"go\n", b"127;"))  # fmt: skip
    for _ in range(3):
        result = on.run(sh("cat; cat >&2 < /dev/null; exit 4", stdin=forged))
        assert (result.stdout, result.exit_code) == (forged, 4)
    assert on.run(sh("echo after")).text == "after"


def test_each_frame_has_a_mark_of_its_own_that_the_command_cannot_see(on: SshTransport) -> None:
    marks = {Frame(Command(("true",))).nonce for _ in range(100)}
    assert len(marks) == 100 and all(len(mark) == 32 for mark in marks)
    seen = on.run(
        sh("tr '\\0' '\\n' < /proc/$$/environ; tr '\\0' '\\n' < /proc/$$/cmdline; tr '\\0' ' ' < /proc/$PPID/cmdline")
    )
    assert not re.search(rb"[0-9a-f]{32}|ikoma_", seen.stdout)


def test_half_a_mark_at_the_end_of_a_piece(on: SshTransport) -> None:
    mark = os.urandom(16).hex()
    result = on.run(sh(f"printf '\\036{mark[:7]}'; sleep 0.1; printf '{mark[7:]}0;'; sleep 0.1; printf '\\036'"))
    assert result.stdout == f"\x1e{mark}0;\x1e".encode()


def test_the_end_of_a_program_comes_in_one_piece() -> None:
    """What bash writes at once the server sends at once, and each packet costs."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # keeps apart what was written apart
    with ours, its, subprocess.Popen(["/bin/bash"], stdin=subprocess.PIPE, stdout=its, stderr=subprocess.DEVNULL,
                                     start_new_session=True) as bash:  # fmt: skip
        ours.settimeout(60)
        assert bash.stdin is not None
        bash.stdin.write(prelude("mark"))
        bash.stdin.flush()
        assert ours.recv(1000).startswith(b"\x1emark")
        frame = Frame(Command(("echo", "word")))
        bash.stdin.write(frame.text())
        bash.stdin.close()
        assert ours.recv(1000) == b"word\n"
        assert ours.recv(1000) == frame.mark + b"0;" + frame.ready


def test_a_command_that_reads_standard_input_gets_only_its_own(on: SshTransport) -> None:
    assert on.run(sh("cat", timeout=30)).stdout == b""
    assert on.run(sh("head -c 1", stdin=b"echo wrong\n" * 100, timeout=30)).stdout == b"e"
    assert on.run(sh("echo next")).text == "next"


def test_input_that_is_not_read_is_not_run(on: SshTransport, tmp_path: Path) -> None:
    """What is left of a long input must not be taken for commands by the shell that was to hand it on."""
    trap = f"/tmp/ikoma-trap-{os.getpid()}"
    line = f"touch {trap}\n".encode()
    for size in (INLINE // len(line), 200_000):
        assert on.run(sh("exit 5", stdin=line * size, timeout=60)).exit_code == 5
        assert on.run(sh("echo next")).text == "next"
    assert not Path(trap).exists()


MUCH = """
import hashlib, json, resource, sys
from ikoma_play.model import Command, Host
from ikoma_play.transport.ssh import SshTransport
on = SshTransport(Host("box", vars=json.loads(sys.argv[1])))
on.run(Command(("true",)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
seen, count = hashlib.sha256(), 0
def watch(data):
    global count
    seen.update(data)
    count += len(data)
result = on.run(Command(("sh", "-c", "head -c $1 /dev/zero; printf end", "sh", sys.argv[2])), watch)
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
look = r"sed -n 's/VmHWM:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/$PPID/status"
there = on.run(Command(("sh", "-c", look))).text
on.close()
print(json.dumps([count, seen.hexdigest(), len(result.stdout), result.dropped, grown, int(there)]))
"""


@pytest.mark.timeout(900 if LONG else 300)
def test_output_without_end_is_handed_on_and_not_kept(box: Sshd) -> None:
    """2.2 GB where IKOMA_TESTS_LONG is set, 150 MB else: the memory it takes here and there is the same."""
    size = 2_200_000_000 if LONG else 150_000_000
    expected = hashlib.sha256()
    for _ in range(size // 1_000_000):
        expected.update(bytes(1_000_000))
    expected.update(b"end")
    argv = [sys.executable, "-c", MUCH, json.dumps(dict(box.host().vars)), str(size)]
    started = time.monotonic()
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    count, seen, kept, dropped, grown, there = json.loads(done.stdout)
    took = time.monotonic() - started
    print(f"\n{size / 1e6:.0f} MB in {took:.0f} s: the runner took {grown} MB more, the host's shell {there} kB")
    assert (count, seen) == (size + 3, expected.hexdigest())
    assert (kept, dropped) == (KEPT, size + 3 - KEPT)
    assert grown < KEPT / 2**20 + 40, f"{grown} MB more for output that is only handed on"
    assert there < 10_000, f"the host's shell takes {there} kB"


def test_a_long_input_from_a_source_is_read_piece_by_piece(on: SshTransport) -> None:
    class Source(io.RawIOBase):
        left = 60_000_000
        largest = 0

        def read(self, size: int = -1) -> bytes:
            given = min(size, self.left)
            self.left -= given
            self.largest = max(self.largest, given)
            return b"x" * given

    source = Source()
    assert on.run(sh("wc -c", stdin=source)).text == "60000000"  # type: ignore[arg-type]
    assert 0 < source.largest <= 2**20


def test_a_source_that_fails_ends_the_command(on: SshTransport) -> None:
    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        on.run(sh("cat", stdin=Broken(), timeout=60))  # type: ignore[arg-type]
    assert on.run(sh("echo next")).text == "next"


def test_a_command_that_kills_its_shell(on: SshTransport) -> None:
    with pytest.raises(StepError, match="the shell was ended while sh ran") as caught:
        on.run(sh("echo said before; kill -9 $PPID; sleep 0.2"))
    assert "said before" in caught.value.evidence
    assert on.run(sh("echo next")).text == "next"
    assert on.connection.opened == 1, "the connection was given up with the shell"


def test_time_is_up_and_the_whole_group_with_it(on: SshTransport) -> None:
    mark = f"{os.urandom(4).hex()}77"
    number = str(int(mark, 16) % 100000 + 1000)
    with pytest.raises(TimedOut) as caught:
        script = "trap '' TERM INT HUP; echo begun; sleep $1 & (sleep $1) & sleep $1; sleep $1"
        on.run(sh(script, number, timeout=1.5))
    assert caught.value.evidence == "begun"
    assert sleepers(number) == [], "children of the command outlived it"
    assert on.run(sh("echo next; umask")).stdout.startswith(b"next\n")


def test_what_is_left_behind_does_not_speak_into_the_next_command(on: SshTransport) -> None:
    """A daemon that keeps the command's output open: the shell is not used again, and does not stay for it."""
    for start in ("(sleep 0.3; echo late; sleep 20) &", "setsid sh -c 'sleep 0.3; echo late >&2; sleep 20' &"):
        first = on.run(sh(f"{start} echo $PPID $!"))
        shell, pid = (int(word) for word in first.text.split())
        try:
            assert first.seconds < 10
            until = time.monotonic() + 0.6
            while time.monotonic() < until:
                told = on.run(sh("echo $PPID; echo e >&2"))
                assert told.stdout.strip().isdigit() and told.stderr == b"e\n"
                assert int(told.text) != shell, "the shell is used although something has its output"
            assert Path(f"/proc/{pid}").exists(), "what was left behind on purpose was killed"
            assert not Path(f"/proc/{shell}").exists(), "the old shell is still there"
        finally:
            on.run(sh("kill $(ps -o pid= --ppid $1) $1", str(pid)))


def test_a_daemon_that_lets_go_of_everything_costs_no_shell(on: SshTransport) -> None:
    let_go = "while [ -e /proc/$!/fd/9 ]; do sleep 0.01; done"  # a busy host takes a moment for it
    first = on.run(sh(f"setsid sleep 15 > /dev/null 2>&1 < /dev/null 9>&- & {let_go}; echo $PPID $!"))
    shell, pid = first.text.split()
    try:
        assert on.run(sh("echo $PPID")).text == shell
    finally:
        on.run(Command(("kill", pid)))


def test_a_later_timeout_does_not_touch_what_an_earlier_command_started(on: SshTransport) -> None:
    pid = on.run(sh("sleep 25 > /dev/null 2>&1 9>&- & echo $!")).text
    try:
        with pytest.raises(TimedOut):
            on.run(sh("sleep 25", timeout=0.3))
        assert Path(f"/proc/{pid}/stat").exists()
    finally:
        on.run(Command(("kill", pid)))


def test_threads_get_a_shell_each(on: SshTransport) -> None:
    said: list[str] = []

    def ask(number: int) -> None:
        for _ in range(5):
            said.append(on.run(sh(f"sleep 0.02; echo {number}")).text)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(said) == sorted(str(number) for number in range(6) for _ in range(5))
    assert on.connection.opened == 1


def test_an_interrupted_command_is_ended_on_the_host(on: SshTransport) -> None:
    number = str(int(os.urandom(3).hex(), 16) + 1000)

    def interrupt(data: bytes) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        on.run(sh(f"echo begun; exec sleep {number}"), interrupt)
    assert sleepers(number) == []


def test_closing_ends_what_still_runs(box: Sshd) -> None:
    on = SshTransport(box.host())
    number = str(int(os.urandom(3).hex(), 16) + 1000)
    begun = threading.Event()

    def work() -> None:
        with pytest.raises(Interrupted, match="closed while sh ran"):
            on.run(sh(f"echo begun; exec sleep {number}"), lambda data: begun.set())

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(30)
    on.close()
    thread.join(30)
    assert not thread.is_alive() and sleepers(number) == []


def test_standard_output_to_a_file_of_the_host(on: SshTransport) -> None:
    home = on.run(sh("echo $HOME")).text
    result = on.run(sh("printf 'a\\0b'; echo e >&2; umask", stdout_to=f"{home}/out"))
    assert (result.stdout, result.stderr) == (b"", b"e\n")
    assert on.read(f"{home}/out").startswith(b"a\0b00")
    there = on.stat(f"{home}/out")
    assert there is not None and there.mode == 0o600
    with pytest.raises(StepError, match="cannot write /proc/none/out"):
        on.run(sh("echo", stdout_to="/proc/none/out"))


@pytest.mark.parametrize("wrong", [Command(("echo", "a\0b")), Command(("echo",), env={"a b": "c"})])
def test_what_no_command_can_be_given(on: SshTransport, wrong: Command) -> None:
    with pytest.raises(StepError):
        on.run(wrong)
    assert on.run(sh("echo next")).text == "next"


def test_start_up_files_that_print(box: Sshd, site: object) -> None:
    """bash reads ~/.bashrc for a command over SSH; what that prints is nobody's output."""
    if not ROOT:
        return
    home = Path(box.site.homes) / "odd"
    (home / ".bashrc").write_text("echo welcome; echo and beware >&2; export FROM_RC=1\n")
    on = SshTransport(box.host(user="odd"))
    try:
        result = on.run(sh("echo $FROM_RC"))
        assert (result.stdout, result.stderr) == (b"1\n", b"")
    finally:
        on.close()
        (home / ".bashrc").unlink()


def test_what_watches_over_the_commands_is_no_program(box: Sshd) -> None:
    """A program would be one more to start, and stay on the host for a while after the shell."""
    road = SshTransport(box.host())
    looking = sh("sleep 0.3; ps -o args= -s $(ps -o sid= -p $$)")
    shells = [line for line in road.run(looking).text.splitlines() if "ps -o" not in line and "sleep 0" not in line]
    road.close()
    assert len(shells) == 2 and all(line.startswith("/bin/bash") for line in shells), shells


def test_a_killed_runner_leaves_nothing_running(own: Callable[..., Sshd]) -> None:
    """The connection goes away without a word: what ran on it is ended, what was set free before is not."""
    server = own()
    numbers = [str(int(os.urandom(3).hex(), 16) + 1000) for _ in range(3)]
    script = """
import json, os, signal, sys
from ikoma_play.model import Command, Host
from ikoma_play.transport.ssh import SshTransport
on = SshTransport(Host("box", vars=json.loads(sys.argv[1])))
on.run(Command(("sh", "-c", "setsid sleep $1 > /dev/null 2>&1 < /dev/null 9>&- &", "sh", sys.argv[4])))
road = on.become("root") if sys.argv[2] == "root" else on
line = "trap '' TERM HUP; echo begun; (sleep $1) & sleep $1; sleep $1"
road.run(Command(("sh", "-c", line, "sh", sys.argv[3])), lambda data: os.kill(os.getpid(), signal.SIGKILL))
"""
    try:
        for user, number in zip(("free", "root") if ROOT else ("",), numbers, strict=False):
            host = server.host(user=user or None)
            argv = [sys.executable, "-c", script, json.dumps(dict(host.vars)), user, number, numbers[2]]
            assert subprocess.run(argv, check=False).returncode == -signal.SIGKILL
            assert sleepers(number), "it did not run"
            wait_for(lambda number=number: not sleepers(number))  # type: ignore[misc]
            wait_for(lambda: not server.connections(), 30)
            assert sleepers(numbers[2]), "what was left behind on purpose was ended too"
    finally:
        for pid in sleepers(numbers[2]):
            os.kill(pid, signal.SIGKILL)
