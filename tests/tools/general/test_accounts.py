"""group, user and authorized_key with the system's own programs, on an /etc that only the test sees."""

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

CHECKOUT = Path(__file__).parents[3]
# A copy of /etc over the real one, in a mount namespace; homes lie in the test's folder.
NAMESPACE = """
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/upper,workdir=$1/work" /etc
shift
exec "$@"
"""
SCRIPT = """
import json, sys
from pathlib import Path
from ikoma_play.errors import StepError
from ikoma_play.model import Host
from ikoma_play.transport.dry import DryTransport
from ikoma_play.transport.local import LocalTransport
from tests.tools.general import harness

folder = Path(sys.argv[1])
for step in json.load(sys.stdin):
    on = LocalTransport(Host("here"))
    on = DryTransport(on) if step.pop("dry", False) else on
    try:
        outcome = harness.call(on, harness.RunScope(folder), step.pop("tool"), step)
        print(json.dumps({"status": outcome.status, "result": outcome.result,
                          "diff": [[each.before, each.after] for each in outcome.diffs]}))
    except StepError as error:
        print(json.dumps({"status": "failed", "message": error.message, "evidence": error.evidence}))
"""
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGq8 me@here"
OTHER = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7 other"
HASH = "$6$canary$abcdefgh"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.fail("these tests make users on an /etc of their own: run them as root")
    (tmp_path / "etc").mkdir()
    yield tmp_path
    shutil.rmtree(tmp_path / "etc", ignore_errors=True)


def play(folder: Path, *steps: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps one after another on one copy of /etc, and what each came to."""
    argv = ["unshare", "--mount", "sh", "-c", NAMESPACE, "sh", str(folder / "etc"), sys.executable, "-c", SCRIPT]
    done = subprocess.run(
        [*argv, str(folder)], input=json.dumps(steps), capture_output=True, text=True, cwd=CHECKOUT, timeout=120,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == len(steps)
    return told


def statuses(told: list[dict[str, Any]]) -> list[str]:
    return [each["status"] for each in told]


def test_groups(folder: Path) -> None:
    one = {"tool": "group", "name": "ikoma-g", "gid": 54321}
    told = play(folder, {**one, "dry": True}, one, one, {**one, "gid": 54322}, {**one, "gid": 54322},
                {"tool": "group", "name": "ikoma-g", "state": "absent"},
                {"tool": "group", "name": "ikoma-g", "state": "absent"})  # fmt: skip
    assert statuses(told) == ["changed", "changed", "ok", "changed", "ok", "changed", "ok"]
    assert told[1]["result"]["gid"] == 54321 and told[3]["diff"] == [["gid 54321\n", "gid 54322\n"]]


def test_users(folder: Path) -> None:
    one = {"tool": "user", "name": "ikoma-u", "uid": 54321, "home": f"{folder}/home", "shell": "/bin/sh",
           "comment": "A Name", "groups": ["daemon", "bin"]}  # fmt: skip
    told = play(
        folder, {**one, "dry": True}, one, one,
        {"tool": "user", "name": "ikoma-u", "groups": ["daemon"], "append": True},
        {"tool": "user", "name": "ikoma-u", "groups": ["mail"], "append": True},
        {"tool": "user", "name": "ikoma-u", "groups": ["mail"], "shell": "/bin/bash"},
        {"tool": "user", "name": "ikoma-u", "groups": ["mail"], "shell": "/bin/bash"},
        {"tool": "user", "name": "ikoma-u", "state": "absent", "remove": True},
        {"tool": "user", "name": "ikoma-u", "state": "absent"},
    )  # fmt: skip
    assert statuses(told) == ["changed", "changed", "ok", "ok", "changed", "changed", "ok", "changed", "ok"]
    made = told[1]["result"]
    assert (made["uid"], made["home"], made["comment"], made["groups"]) == (
        54321, f"{folder}/home", "A Name", "bin,daemon",
    )  # fmt: skip
    assert told[4]["result"]["groups"] == "bin,daemon,mail" and told[5]["result"]["groups"] == "mail"
    assert told[5]["diff"] == [["shell /bin/sh\ngroups bin,daemon,mail\n", "shell /bin/bash\ngroups mail\n"]]
    assert not (folder / "home").exists(), "the home directory was not removed"


def test_passwords(folder: Path) -> None:
    one = {"tool": "user", "name": "ikoma-u", "password": HASH, "create_home": False}
    told = play(
        folder, one, one, {**one, "password": "$6$other$x", "update_password": "on_create"},
        {**one, "password": "$6$canary$other"}, {"tool": "user", "name": "ikoma-u", "password_lock": True},
        {"tool": "user", "name": "ikoma-u", "password_lock": True},
    )  # fmt: skip
    assert statuses(told) == ["changed", "ok", "ok", "changed", "changed", "ok"]
    assert "canary" not in json.dumps(told)


def test_users_that_cannot_be(folder: Path) -> None:
    told = play(folder, {"tool": "user", "name": "ikoma-u", "group": "no-such-group"},
                {"tool": "user", "name": "root", "group": "no-such-group"},
                {"tool": "user", "name": "bad name"})  # fmt: skip
    assert statuses(told) == ["failed"] * 3
    assert "cannot make the user ikoma-u" in told[0]["message"] and "no-such-group" in told[0]["evidence"]
    assert told[1]["message"] == "there is no group no-such-group"


def test_keys(folder: Path) -> None:
    file = folder / "home/.ssh/authorized_keys"
    made = {"tool": "user", "name": "ikoma-u", "uid": 54321, "home": f"{folder}/home"}
    one = {"tool": "authorized_key", "user": "ikoma-u", "key": KEY}
    told = play(folder, made, {**one, "dry": True}, one, one, {**one, "key": OTHER},
                {**one, "key_options": "no-pty", "comment": "new"})  # fmt: skip
    assert statuses(told) == ["changed", "changed", "changed", "ok", "changed", "changed"]
    assert file.read_text() == f"no-pty {KEY.replace('me@here', 'new')}\n{OTHER}\n"
    found, above = file.stat(), file.parent.stat()
    assert (found.st_uid, found.st_mode & 0o777, above.st_uid, above.st_mode & 0o777) == (54321, 0o600, 54321, 0o700)
    told = play(folder, made, {**one, "exclusive": True}, {**one, "state": "absent"}, {**one, "state": "absent"},
                {**one, "key": "nonsense"}, {**one, "user": "no-such-user"})  # fmt: skip
    assert statuses(told)[1:] == ["changed", "changed", "ok", "failed", "failed"]
    assert file.read_text() == ""
