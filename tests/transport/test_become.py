"""Another user of this machine by real sudo, su and doas, with and without a password.

The accounts and rules exist only in a mount namespace of the test: the machine's own files stay as they are.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.transport.conftest import open_folder

ROOT = os.geteuid() == 0
PACKAGE = Path(__file__).parents[2] / "ikoma_play"
PASSWORD = "it's another canary $x"  # than that of the tests of SSH, which look for theirs in the list of processes
ACCOUNTS = {"asker": 54001, "free": 54002, "stranger": 54003, "target": 54004}
DOAS = "permit asker\npermit nopass free\n"
RULES = "asker ALL=(ALL) ALL\nfree ALL=(ALL) NOPASSWD: ALL\nDefaults lecture=always\n"

TALE = """
import json, os, sys, time
from ikoma_play.errors import IkomaError
from ikoma_play.model import Command, Host
from ikoma_play.transport.local import LocalTransport

def tell(**values):
    print(json.dumps(values)); sys.stdout.flush()

here = LocalTransport(Host("here"))
told = json.loads(sys.argv[1])
try:
    on = here.become(told["user"], told.get("method", "sudo"), told.get("password"), told.get("flags", ""))
    exec(sys.stdin.read())
except IkomaError as error:
    tell(error=error.code, message=error.message, remedy=error.remedy, evidence=error.evidence)
"""


class Stage:
    """A machine with accounts and rules of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.open = folder / "open"
        shutil.copytree(PACKAGE, folder / "lib/ikoma_play", ignore=shutil.ignore_patterns("__pycache__"))
        self.open.mkdir()
        self.open.chmod(0o777)
        hashed = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=PASSWORD, capture_output=True, text=True,
                                check=True).stdout.strip()  # fmt: skip
        etc = folder / "etc"
        subprocess.run(["cp", "-a", "/etc", str(etc)], check=True)
        with (etc / "passwd").open("a") as users, (etc / "shadow").open("a") as shadow:
            for name, number in ACCOUNTS.items():
                users.write(f"{name}:x:{number}:{number}::/home/{name}:/bin/sh\n")
                shadow.write(f"{name}:{hashed}:19000:0:99999:7:::\n")
        with (etc / "group").open("a") as groups:
            groups.writelines(f"{name}:x:{number}:\n" for name, number in ACCOUNTS.items())
        for name, text, mode in (("sudoers", RULES, 0o440), ("doas.conf", DOAS, 0o400)):
            (etc / name).unlink(missing_ok=True)
            (etc / name).write_text(text)
            (etc / name).chmod(mode)
        subprocess.run(["chmod", "-R", "go+rX", str(folder / "lib")], check=True)

    def play(self, account: str, script: str, **told: Any) -> list[dict[str, Any]]:
        """What a script tells that runs as the account, with `on` the road to the other user."""
        binds = f"mount --bind {self.folder}/etc /etc"
        number = ACCOUNTS[account]
        demoted = f"setpriv --reuid={number} --regid={number} --clear-groups"
        python = next(path for path in (sys.executable, "/usr/bin/python3") if runs(path))
        argv = ["unshare", "--mount", "sh", "-c", f'{binds} && exec {demoted} "$@"', "sh", python, "-c", TALE]
        done = subprocess.run(
            [*argv, json.dumps(told)],
            input=script,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd="/",
            env={
                "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                "PYTHONPATH": str(self.folder / "lib"),
                "HIDDEN": "runner's own",
            },
        )
        assert done.returncode == 0, done.stderr
        assert PASSWORD not in done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


def runs(python: str) -> bool:
    asked = ["setpriv", "--reuid=54001", "--regid=54001", "--clear-groups", python, "-c", "print(1)"]
    return subprocess.run(asked, capture_output=True, check=False, cwd="/").returncode == 0


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    if not ROOT:
        pytest.fail("these tests make accounts in a namespace of their own: run them as root")
    with open_folder() as folder:
        yield Stage(folder)


WAYS = [
    ("free", {"method": "sudo"}),
    ("asker", {"method": "sudo", "password": PASSWORD}),
    ("free", {"method": "sudo", "password": PASSWORD}),  # it is not asked for, and must not reach the command
    ("free", {"method": "sudo", "flags": "-H -E -n"}),
    ("stranger", {"method": "su", "password": PASSWORD}),
    ("free", {"method": "doas"}),
    ("asker", {"method": "doas", "password": PASSWORD}),
    ("free", {"method": "doas", "password": PASSWORD}),
]
NAMES = ["sudo", "sudo with a password", "sudo with a password that is not asked for", "sudo with flags", "su", "doas",
         "doas with a password", "doas with a password that is not asked for"]  # fmt: skip


@pytest.mark.parametrize(("account", "way"), WAYS, ids=NAMES)
def test_a_command_runs_as_the_other_user(stage: Stage, account: str, way: dict[str, str]) -> None:
    script = """
result = on.run(Command(("sh", "-c", "id -un; pwd; cat; printf %s \\"$SECRET\\"; echo err >&2; exit 3"),
                        stdin=b"input\\0", cwd="/usr", env={"SECRET": "a'b\\n\\n c\\n"}))
tell(code=result.exit_code, out=result.stdout.decode(), err=result.stderr.decode())
result = on.run(Command(("printf", "%s|", "a b", "$HOME", "it's", "-n")))
tell(out=result.stdout.decode())
result = on.run(Command(("cat",)))
tell(out=result.stdout.decode(), code=result.exit_code)
"""
    first, words, nothing = stage.play(account, script, user="target", **way)
    assert first == {"code": 3, "out": "target\n/usr\ninput\0a'b\n\n c\n", "err": "err\n"}
    assert words["out"] == "a b|$HOME|it's|-n|"
    assert nothing == {"out": "", "code": 0}


@pytest.mark.parametrize(("account", "way"), WAYS, ids=NAMES)
def test_files_are_the_other_users(stage: Stage, account: str, way: dict[str, str], request: Any) -> None:
    name = f"{stage.open}/{abs(hash(request.node.name))}"
    script = f"""
on.mkdir({name!r})
on.write({name + "/a"!r}, b"one")
on.write({name + "/a"!r}, bytes(range(256)), 0o640)
there = on.stat({name + "/a"!r})
tell(owner=there.owner, mode=there.mode, size=there.size, same=on.read({name + "/a"!r}) == bytes(range(256)),
     names=[entry.path for entry in on.scan({name!r})])
on.run(Command(("echo", "x"), stdout_to={name + "/out"!r}))
tell(owner=on.stat({name + "/out"!r}).owner, out=on.read({name + "/out"!r}).decode())
"""
    told, out = stage.play(account, script, user="target", **way)
    assert told == {"owner": "target", "mode": 0o640, "size": 256, "same": True, "names": [f"{name}/a"]}
    assert out == {"owner": "target", "out": "x\n"}


@pytest.mark.parametrize(("account", "way"), WAYS, ids=NAMES)
def test_our_directory_may_be_closed_to_the_other_user(stage: Stage, account: str, way: dict[str, str]) -> None:
    script = """
import tempfile
os.chdir(tempfile.mkdtemp())
tell(found="/usr/bin" in [entry.path for entry in on.scan("/usr")], at=on.run(Command(("pwd",))).text)
os.rmdir(os.getcwd())
"""
    assert stage.play(account, script, user="target", **way) == [{"found": True, "at": "/"}]


@pytest.mark.parametrize(
    ("account", "way", "remedy"),
    [
        ("asker", {}, "ansible_become_password"),
        ("asker", {"password": "wrong"}, "Check the password"),
        ("stranger", {}, "ansible_become_password"),
        ("stranger", {"password": PASSWORD}, "may do so"),
        ("stranger", {"method": "su", "password": "wrong"}, "Check the password"),
        ("asker", {"method": "doas"}, "ansible_become_password"),
        ("asker", {"method": "doas", "password": "wrong"}, "Check the password"),
        ("stranger", {"method": "doas", "password": PASSWORD}, "may do so"),
    ],
    ids=[
        "no password",
        "a wrong password",
        "no right and no password",
        "no right",
        "a wrong password for su",
        "no password for doas",
        "a wrong password for doas",
        "no right by doas",
    ],
)
def test_it_is_refused(stage: Stage, account: str, way: dict[str, str], remedy: str) -> None:
    (told,) = stage.play(account, 'tell(code=on.run(Command(("id",))).exit_code)', user="target", **way)
    assert told["error"] == "step-failed" and "cannot become target" in told["message"]
    assert remedy in told["remedy"]


def test_a_user_that_is_not_there(stage: Stage) -> None:
    (told,) = stage.play("free", "tell()", user="no-such-user")
    assert told["error"] == "not-found" and "no such user" in told["message"]


def test_a_way_that_is_not_known(stage: Stage) -> None:
    (told,) = stage.play("free", "tell()", user="target", method="magic")
    assert "sudo, su, doas" in told["remedy"]


def test_a_directory_that_is_not_there(stage: Stage) -> None:
    (told,) = stage.play("free", 'on.run(Command(("id",), cwd="/no such place"))', user="target")
    assert told["error"] == "not-found" and "/no such place" in told["message"]


def test_a_command_that_is_not_there(stage: Stage) -> None:
    (told,) = stage.play("free", 'tell(code=on.run(Command(("no-such-command",))).exit_code)', user="target")
    assert told["code"] == 127


def test_the_other_users_processes_are_killed_when_time_is_up(stage: Stage) -> None:
    script = """
from ikoma_play.errors import TimedOut
try:
    on.run(Command(("sh", "-c", "trap '' TERM; echo $$; sleep 44; sleep 44"), timeout=1.0))
except TimedOut as error:
    pid = int(error.evidence)
    until = time.monotonic() + 5  # killed it is; whoever inherited it may take a moment to bury it
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < until:
        time.sleep(0.02)
    tell(there=os.path.exists(f"/proc/{pid}"))
"""
    for way in ({}, {"password": PASSWORD}, {"password": PASSWORD, "method": "doas"}):
        (told,) = stage.play("asker" if way else "free", script, user="target", **way)
        assert told == {"there": False}, "the command is still running"


def test_no_secret_is_in_a_process_list(stage: Stage) -> None:
    script = f"""
from pathlib import Path
seen = []
def look(data):
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            seen.append(path.read_bytes().replace(b"\\0", b" ").decode("utf-8", "replace"))
        except OSError:
            pass
on.run(Command(("sh", "-c", "echo now; sleep 0.3"), env={{"SECRET": "canary-in-env"}}), look)
words = [{PASSWORD!r}, "canary-in-" + "env"]
tell(seen=len(seen), leaked=[line for line in seen for word in words
     if word in line and "import json, os, sys, time" not in line])
"""
    (told,) = stage.play("asker", script, user="target", password=PASSWORD)
    assert told["seen"] > 3 and told["leaked"] == []


def test_root_hands_nothing_of_its_own_to_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from ikoma_play.model import Command, Host
    from ikoma_play.transport.local import LocalTransport

    if not ROOT:
        return
    monkeypatch.setenv("IKOMA_CANARY", "canary")
    on = LocalTransport(Host("here")).become("nobody")
    printed = on.run(Command(("env",))).text
    assert "canary" not in printed and "USER=nobody" in printed
    groups = on.run(Command(("id", "-G"))).text.split()
    assert "0" not in groups, "root's groups are still there"
    monkeypatch.chdir(tmp_path)  # which is root's alone
    fresh = LocalTransport(Host("here")).become("nobody")
    assert "/usr/bin" in [entry.path for entry in fresh.scan("/usr")]


def test_becoming_oneself_is_the_same_road() -> None:
    import getpass

    from ikoma_play.model import Host
    from ikoma_play.transport.local import LocalTransport

    on = LocalTransport(Host("here"))
    assert on.become(getpass.getuser()) is on
