"""The lowest rank of Ansible's order, what is typed (`-u`, `-c`, `--become-user`, `--private-key`), beside role
defaults, inventory variables, keywords and `-e` that say the same. Real SSH logins, here and in ansible-playbook.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ansible.beside import Ansible, told
from tests.parts.command import Ikoma
from tests.parts.sshd import ROOT, Sshd, servers

pytestmark = pytest.mark.skipif(not ROOT, reason="logging in as several users takes root")

SHOW = [{"raw": "id -un", "register": "r", "changed_when": False}, {"debug": {"msg": "{{ r.stdout | trim }}"}}]
PLAYS: list[dict[str, Any]] = [
    {"hosts": "all:!locked", "tasks": SHOW},
    {"hosts": "bare", "roles": ["user"]},
    {"hosts": "bare", "remote_user": "odd", "tasks": SHOW},
    {"hosts": "here:there", "become": True, "tasks": SHOW},
    {"hosts": "here", "become": True, "roles": ["becoming"]},
    {"hosts": "here", "become": True, "become_user": "games", "tasks": SHOW},
    {"hosts": "locked", "tasks": SHOW},
]
TYPED = ("-u", "deployer", "-c", "ssh", "--become-user", "daemon", "--private-key")
EXTRA = {"ansible_user": "target", "ansible_become_user": "nobody"}
LOWEST = {  # by host, in order: what is typed counts where nothing else says it
    "bare": ["deployer", "free", "odd"],  # typed < role defaults, typed < keywords
    "held": ["target"],  # typed < inventory variables
    "here": ["root", "daemon", "nobody", "games"],  # -c < ansible_connection; --become-user as -u
    "there": ["root", "nobody"],  # --become-user < inventory variables
}
HIGHEST = {"bare": ["target"] * 3, "held": ["target"], "here": ["root", *["nobody"] * 3], "there": ["root", "nobody"],
           "locked": ["target"]}  # fmt: skip


@pytest.fixture(scope="module")
def box() -> Iterator[Sshd]:
    with servers() as site:
        server = site.server()
        site.new_key("wrong")
        try:
            yield server.start()
        finally:
            server.stop()


def case(box: Sshd, key: str, extra: dict[str, str]) -> dict[str, Any]:
    road = box.host(user="").vars
    common = {name: road[name] for name in ("ansible_host", "ansible_port", "ansible_ssh_common_args")}
    wrong = str(box.site.folder / "wrong")
    hosts: dict[str, dict[str, str]] = {
        "bare": {}, "held": {"ansible_user": "target"}, "here": {"ansible_connection": "local"},
        "there": {"ansible_connection": "local", "ansible_become_user": "nobody"},
        "locked": {"ansible_user": "asker", "ansible_ssh_private_key_file": wrong},
    }  # fmt: skip
    return {
        "playbook": json.dumps([{"gather_facts": False, **play} for play in PLAYS]),
        "inventory_at": "hosts.yml", "inventory": json.dumps({"all": {"vars": common, "hosts": hosts}}),
        "files": {
            "roles/user/defaults/main.yml": '{"ansible_user": "free"}', "roles/user/tasks/main.yml": json.dumps(SHOW),
            "roles/becoming/defaults/main.yml": '{"ansible_become_user": "nobody"}',
            "roles/becoming/tasks/main.yml": json.dumps(SHOW),
        },
        "arguments": [*TYPED, str(box.site.folder / key), *(["-e", json.dumps(extra)] if extra else [])],
    }  # fmt: skip


def said_by_both(folder: Path, case: dict[str, Any]) -> dict[str, list[str]]:
    """What debug said by host, which is the same here and in Ansible."""
    ansible = Ansible(folder / "ansible")
    try:
        theirs = ansible(folder / "case", case)
    finally:
        ansible.close()
    done = Ikoma(folder / "case")("run", "-i", "hosts.yml", "site.yml", *case["arguments"], "--json", expect=None)
    said: dict[str, list[str]] = {}
    for event in done.events:
        if event["event"] == "step_finished" and "msg" in (event["outcome"].get("result") or {}):
            said.setdefault(event["host"], []).append(told(event["outcome"]["result"]["msg"]))
    assert said == theirs.said, f"{done}\nAnsible:\n{theirs.log}"
    return said


def test_what_is_typed_ranks_below_all_that_says_the_same(box: Sshd, tmp_path: Path) -> None:
    assert said_by_both(tmp_path, case(box, "client", {})) == LOWEST


def test_extra_variables_rank_above_what_is_typed(box: Sshd, tmp_path: Path) -> None:
    key = {"ansible_ssh_private_key_file": str(box.site.key)}
    assert said_by_both(tmp_path, case(box, "wrong", EXTRA | key)) == HIGHEST


def test_hosts_are_limited_to_those_of_a_file(tmp_path: Path) -> None:
    steps = [{"debug": {"msg": "{{ ansible_play_hosts_all }}"}}]
    case = {
        "playbook": json.dumps([{"hosts": "all", "gather_facts": False, "tasks": steps}]),
        "inventory_at": "hosts.yml", "inventory": json.dumps({"all": {"hosts": {"a": {}, "b": {}, "c": {}, "d": {}}}}),
        "files": {"only": "a\nc\nd\n"}, "arguments": ["--limit", "@only,!d"],
    }  # fmt: skip
    assert list(said_by_both(tmp_path, case)) == ["a", "c"]
