"""The sandbox's supervisor: programs arrive intact, it outlives its starter, and nothing is left of a dead one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ikoma_play.errors import Refused, Unavailable
from ikoma_play.model import Host
from ikoma_play.platform import sandbox as sandboxes
from ikoma_play.platform.supervisor import Program, Supervisor
from ikoma_play.transport.connect import connect
from tests.parts.command import CHECKOUT
from tests.parts.sandbox import Sandbox

STRANGE = "100% %(here)s %d $HOME \"double\" 'single' ; # , = \\ tab\t line\nnext \u00e9"


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Sandbox(tmp_path).supervisor
    try:
        yield made
    finally:
        made.stop()


def python(name: str, code: str, folder: Path, **more: object) -> Program:
    return Program(name, (sys.executable, "-c", code), str(folder), {"PATH": os.environ["PATH"]}, **more)  # type: ignore[arg-type]


def wait_for(what: str, condition: object) -> None:
    deadline = time.monotonic() + 20
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.02)


def test_a_second_start_finds_it_running(supervisor: Supervisor) -> None:
    assert not supervisor.running()
    assert supervisor.start(), "a first start starts it"
    assert not supervisor.start(), "a second one finds it running"
    assert supervisor.stop()
    assert not supervisor.stop(), "a second stop finds nothing"
    assert sandboxes.processes([supervisor.root]) == []


@pytest.mark.parametrize("name", ["plain", "with space", "quote'\"", "per%cent %(here)s", "semi;colon # hash"])
def test_environment_arguments_and_directory_arrive_intact(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    supervisor = Sandbox(tmp_path / name).supervisor
    code = "import os, sys; print(repr([os.environ['STRANGE'], sys.argv[1], os.getcwd()]), flush=True)"
    argv = (sys.executable, "-c", code, STRANGE)
    program = Program("app.web", argv, str(tmp_path / name), {"STRANGE": STRANGE}, restart="never", settle=0)
    try:
        supervisor.start()
        supervisor.put(program)
        assert supervisor.program("app.web") == program, "what was put is not what is kept"
        supervisor.begin("app.web")
        wait_for("its output", lambda: supervisor.log("app.web"))
        assert supervisor.log("app.web") == repr([STRANGE, STRANGE, str(tmp_path / name)])
    finally:
        supervisor.stop()


def test_a_program_finds_only_its_own_environment(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_SECRET", "canary-in-the-runner")
    supervisor.start()
    code = "import os; print(sorted(os.environ), flush=True)"
    supervisor.put(python("app.web", code, supervisor.root, restart="never", settle=0))
    supervisor.begin("app.web")
    wait_for("its output", lambda: supervisor.log("app.web"))
    assert "RUNNER_SECRET" not in supervisor.log("app.web")
    for pid in sandboxes.processes([supervisor.root]):
        assert b"canary-in-the-runner" not in Path(f"/proc/{pid}/environ").read_bytes(), "the daemon took a secret over"


def test_no_secret_is_in_a_process_list_or_readable_by_others(supervisor: Supervisor) -> None:
    supervisor.start()
    program = python("app.web", "import time; time.sleep(60)", supervisor.root)
    supervisor.put(Program(**{**{key: getattr(program, key) for key in Program.__slots__}, "env": {"S": "canary-1"}}))
    supervisor.begin("app.web")
    password = supervisor._known()["password"]
    for pid in sandboxes.processes([supervisor.root]):
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert b"canary-1" not in command and password.encode() not in command
    for path in supervisor.folder.rglob("*"):
        if path.is_file() and ("canary-1" in path.read_text() or password in path.read_text()):
            assert path.stat().st_mode & 0o077 == 0, f"{path} can be read by others"
    assert supervisor.folder.stat().st_mode & 0o077 == 0


def test_it_outlives_the_program_that_started_it_and_holds_no_pipe_open(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; "
        "from tests.parts.sandbox import Sandbox; Sandbox(Path(sys.argv[2])).supervisor.start()"
    )
    supervisor = Sandbox(tmp_path).supervisor
    try:
        argv = [sys.executable, "-c", code, str(CHECKOUT), str(tmp_path)]
        # Reads to the end of the pipe: a daemon that kept it open would make this time out.
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert supervisor.running()
    finally:
        supervisor.stop()


def test_killed_with_its_programs_running_it_starts_anew(supervisor: Supervisor) -> None:
    supervisor.start()
    supervisor.put(python("app.web", "import time; time.sleep(60)", supervisor.root))
    supervisor.begin("app.web")
    state = supervisor.state("app.web")
    assert state is not None and state.pid
    daemon = int(supervisor._call("getPID"))
    os.kill(daemon, signal.SIGKILL)
    wait_for("its end", lambda: not sandboxes.alive(daemon))
    assert not supervisor.running() and supervisor.died()
    with pytest.raises(Unavailable, match="does not answer"):
        supervisor.state("app.web")
    assert supervisor.start()
    assert not sandboxes.alive(state.pid), "the orphan still runs beside its successor"
    assert supervisor.programs() == ["app.web"], "the program was forgotten"


def test_a_moved_directory_gets_a_daemon_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    old = Sandbox(tmp_path / "old").supervisor
    old.start()
    (tmp_path / "old").rename(tmp_path / "new")
    new = Sandbox(tmp_path / "new").supervisor
    try:
        assert not new.running(), "the daemon of the old place was taken for the new one's"
        assert new.start()
        assert sandboxes.processes([old.root]) == [], "the old place's daemon still runs"
    finally:
        new.stop()


def test_what_a_program_leaves_outside_its_group_ends_with_it(supervisor: Supervisor) -> None:
    code = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],"
        " start_new_session=True); print('ready', flush=True); time.sleep(60)"
    )
    supervisor.start()
    supervisor.put(python("app.web", code, supervisor.root))
    supervisor.begin("app.web")
    wait_for("its child", lambda: len(sandboxes.processes([supervisor.root], "app.web")) == 2)
    supervisor.drop("app.web")
    assert sandboxes.processes([supervisor.root], "app.web") == []
    assert supervisor.programs() == [] and not list((supervisor.folder / "logs").glob("app.web*"))


def test_the_log_is_told_by_lines_and_from_a_place_on(supervisor: Supervisor) -> None:
    supervisor.start()
    supervisor.put(python("app.web", "print(*range(5), sep='\\n')", supervisor.root, restart="never", settle=0))
    supervisor.begin("app.web")
    wait_for("its output", lambda: supervisor.log("app.web").endswith("4"))
    assert supervisor.log("app.web", 2) == "3\n4"
    assert supervisor.log("app.web", 0) == ""
    size = supervisor.log_size("app.web")
    assert supervisor.log("app.web", after=size) == ""
    assert supervisor.log("app.web", after=size - 4) == "3\n4"


def test_how_a_program_ended_is_told(supervisor: Supervisor) -> None:
    supervisor.start()
    supervisor.put(python("app.web", "import sys; sys.exit(3)", supervisor.root, restart="never"))
    supervisor.begin("app.web")
    wait_for("its end", lambda: supervisor.last_exit("app.web"))
    assert supervisor.last_exit("app.web") == "exit status 3"
    assert supervisor.last_exit("app.other") == ""


def test_a_program_that_cannot_start_says_why(supervisor: Supervisor) -> None:
    supervisor.start()
    supervisor.put(Program("app.web", ("no-such-program",), "/", {"PATH": "/nowhere"}, restart="never"))
    supervisor.begin("app.web")
    wait_for("its message", lambda: supervisor.log("app.web"))
    assert supervisor.log("app.web") == "cannot start: no-such-program: no such file or directory"


def test_a_path_it_cannot_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot lie in"):
        _ = Sandbox(tmp_path, ikoma_sandbox_root="/tmp/a[b").supervisor


def test_it_is_for_this_machine_only() -> None:
    elsewhere = connect(Host("far", vars={"ansible_host": "127.0.0.1"}))
    with pytest.raises(Refused, match="local processes run on this machine only"):
        Supervisor(elsewhere)


def test_a_daemon_that_hangs_is_replaced(supervisor: Supervisor) -> None:
    supervisor.start()
    daemon = int(supervisor._call("getPID"))
    os.kill(daemon, signal.SIGSTOP)
    assert supervisor.start(), "the one that hangs was taken for a running one"
    assert not sandboxes.alive(daemon) and supervisor.running()


def test_a_program_that_the_daemon_alone_has_forgotten_is_started(supervisor: Supervisor, tmp_path: Path) -> None:
    """As after a drop that was cut off: its files are there still."""
    supervisor.start()
    supervisor.put(python("shop.web", "import time; time.sleep(60)", tmp_path))
    supervisor._call("removeProcessGroup", "shop.web")
    assert supervisor.state("shop.web") is None and supervisor.program("shop.web") is not None
    supervisor.begin("shop.web")
    wait_for("the program", lambda: (state := supervisor.state("shop.web")) is not None and state.up)
