"""group, user and authorized_key with the system's own programs, on an /etc that only the test sees."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.general.stage import play, staged, statuses

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGq8 me@here"
OTHER = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7 other"
HASH = "$6$canary$abcdefgh"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with staged(tmp_path) as folder:
        yield folder


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


def test_ages_and_keys(folder: Path) -> None:
    one = {"tool": "user", "name": "ikoma-u", "home": f"{folder}/home", "expires": 1_893_456_000, "umask": "0027",
           "password_expire_max": 90, "password_expire_min": 1, "password_expire_warn": 7,
           "password_expire_account_disable": 30, "generate_ssh_key": True, "ssh_key_type": "ed25519",
           "ssh_key_comment": "of ikoma"}  # fmt: skip
    told = play(folder, {**one, "dry": True}, one, one, {**one, "expires": -1, "password_expire_max": 60},
                {"tool": "command", "cmd": "getent shadow ikoma-u"},
                {"tool": "stat", "path": f"{folder}/home/.ssh/id_ed25519"},
                {"tool": "stat", "path": f"{folder}/home"},
                {"tool": "user", "name": "ikoma-u", "state": "absent", "remove": True})  # fmt: skip
    assert statuses(told[:4]) == ["changed", "changed", "ok", "changed"], told
    made = told[1]["result"]
    assert made["ssh_public_key"].startswith("ssh-ed25519 ") and made["ssh_public_key"].endswith(" of ikoma")
    assert made["ssh_key_file"].endswith("/.ssh/id_ed25519") and "SHA256:" in made["ssh_fingerprint"]
    assert told[4]["result"]["stdout"].split(":")[3:] == ["1", "60", "7", "30", "", ""]
    assert told[5]["result"]["stat"]["mode"] == "0600" and told[5]["result"]["stat"]["uid"] == made["uid"]
    assert told[6]["result"]["stat"]["mode"] == "0750"


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
