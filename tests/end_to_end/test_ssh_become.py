"""Another user by sudo, su and doas as a real Debian has them, with passwords, over SSH as an ordinary user."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts.command import Ikoma
from tests.parts.hosts import HOST_PASSWORD, Net, net

STEPS = [
    {"shell": "id -un; printf 'err\\n' >&2; head -c 300000 /dev/zero | tr '\\0' z | wc -c", "register": "said"},
    {"assert": {"that": ["said.stdout_lines == [user, '300000']", "said.stderr == 'err'"], "quiet": True}},
    {"copy": {"src": "binary", "dest": "/tmp/{{ method }}", "mode": "0600"}},
    {"shell": "cat > /tmp/{{ method }}-2; tty", "args": {"stdin": "no newline", "stdin_add_newline": False},
     "register": "said", "failed_when": "said.stdout != 'not a tty'"},
    {"shell": "sha256sum < /tmp/{{ method }}; stat -c '%U %a' /tmp/{{ method }}; cat /tmp/{{ method }}-2; exit 3",
     "register": "said", "failed_when": "said.rc != 3"},
    {"assert": {"that": ["said.stdout_lines[1:] == [user ~ ' 600', 'no newline']",
                         "said.stdout_lines[0][:64] == lookup('file', 'binary.sha256')"], "quiet": True}},
    {"command": "sleep 300", "timeout": 1, "register": "late", "ignore_errors": True},
    {"shell": "sleep 0.1; ps -eo user:20,args | grep -c '[s]leep 300'", "register": "left",
     "failed_when": "left.stdout != '0'"},
]  # fmt: skip


@pytest.fixture(scope="module")
def few() -> Iterator[Net]:
    with net() as made:
        made.host("alpha")
        yield made


@pytest.fixture
def ikoma(few: Net, tmp_path: Path) -> Ikoma:
    data = os.urandom(200_000)
    (tmp_path / "binary").write_bytes(data)
    (tmp_path / "binary.sha256").write_text(hashlib.sha256(data).hexdigest())
    ikoma = few.ikoma(tmp_path)
    hosts = tmp_path / "hosts.yml"
    hosts.write_text(hosts.read_text().replace('"ansible_user": "root"', '"ansible_user": "deployer"'))
    return ikoma


@pytest.mark.parametrize("user", ["root", "target"])
@pytest.mark.parametrize("method", ["sudo", "su", "doas"])
def test_the_whole_step_is_the_other_users(few: Net, ikoma: Ikoma, method: str, user: str) -> None:
    play = {"hosts": "all", "become": True, "become_method": method, "become_user": user, "steps": STEPS,
            "vars": {"method": method, "user": user, "ansible_become_password": HOST_PASSWORD}}  # fmt: skip
    few.hosts["alpha"].do("rm", "-f", f"/tmp/{method}", f"/tmp/{method}-2")
    (ikoma.folder / "play.yml").write_text(json.dumps([play]))
    said = ikoma("run", "play.yml", "-i", "hosts.yml", "-vvv")
    assert HOST_PASSWORD not in said.text


@pytest.mark.parametrize("password", ["a wrong one", None])
@pytest.mark.parametrize("method", ["sudo", "su", "doas"])
def test_without_the_right_password(few: Net, ikoma: Ikoma, method: str, password: str | None) -> None:
    given = {} if password is None else {"ansible_become_password": password}
    play = {"hosts": "all", "become": True, "become_method": method, "steps": [{"command": "touch /root/never"}],
            "vars": given}  # fmt: skip
    (ikoma.folder / "play.yml").write_text(json.dumps([play]))
    said = ikoma("run", "play.yml", "-i", "hosts.yml", expect=2)
    assert f"cannot become root by {method}" in said.text and not few.hosts["alpha"].has("/root/never")
    assert ("Check the password" if password else "ansible_become_password") in said.text, said
    assert few.hosts["alpha"].do("sh", "-c", "ls -d /tmp/.ikoma.* 2>/dev/null") == "", "pipes are left behind"
