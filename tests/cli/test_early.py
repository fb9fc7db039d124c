"""Which hosts a run begins to connect to before it asks for them: those that its first step is sure to reach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ikoma_play.cli import early, loading, resume
from tests.parts.command import Ikoma, python

INVENTORY = """
all:
  vars: {ansible_user: deployer}
  hosts:
    web1: {ansible_host: 192.0.2.1}
    web2: {ansible_host: 192.0.2.2, ansible_port: 2222}
    here: {ansible_connection: local}
"""
STEP = "[{command: uptime}]"


def begun(tmp_path: Path, play: str, monkeypatch: pytest.MonkeyPatch, **given: Any) -> dict[str, dict[str, Any]]:
    """The hosts that are begun with, and what is known of them."""
    (tmp_path / "inventory.yml").write_text(INVENTORY)
    (tmp_path / "play.yml").write_text(f"- {play}\n")
    begun: dict[str, dict[str, Any]] = {}
    monkeypatch.setattr(
        "ikoma_play.transport.connect.begin",
        lambda hosts, names: begun.update((host.name, host.vars) for host in hosts),
    )
    loaded = loading.load([str(tmp_path / "play.yml")], [str(tmp_path / "inventory.yml")], given.pop("extra_vars", ()))
    early.begin(loaded, {**resume.of_options(), **given})
    return begun


@pytest.mark.parametrize(
    "play",
    [
        f"{{hosts: all, tasks: {STEP}}}",
        "{hosts: all, gather_facts: true, tasks: [{debug: {msg: hello}}]}",
        "{hosts: all, tasks: [{block: [{command: uptime}], rescue: [{command: 'true'}]}]}",
    ],
)
def test_all_hosts_of_a_plain_play(tmp_path: Path, play: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = begun(tmp_path, play, monkeypatch)
    assert list(found) == ["web1", "web2", "here"]
    assert found["web2"]["ansible_host"] == "192.0.2.2" and found["web2"]["ansible_port"] == 2222
    assert found["web2"]["ansible_user"] == "deployer"


@pytest.mark.parametrize(
    "play",
    [
        "{hosts: all, tasks: [{command: uptime, when: wanted | default(false)}]}",
        "{hosts: all, tasks: [{command: uptime, delegate_to: localhost}]}",
        "{hosts: all, tasks: [{command: uptime, run_once: true}]}",
        "{hosts: all, tasks: [{command: uptime, loop: []}]}",
        "{hosts: all, tasks: [{command: uptime, remote_user: other}]}",
        "{hosts: all, tasks: [{command: uptime, tags: never}]}",
        "{hosts: all, tasks: [{debug: {msg: hello}}, {command: uptime}]}",
        "{hosts: '{{ which }}', tasks: [{command: uptime}]}",
        f"{{hosts: all, serial: 1, tasks: {STEP}}}",
        f"{{hosts: all, vars_prompt: [{{name: ansible_user}}], tasks: {STEP}}}",
        f"{{hosts: all, vars: {{ansible_user: '{{{{ who }}}}'}}, tasks: {STEP}}}",
        "{hosts: all, tasks: []}",
    ],
)
def test_nobody_where_it_is_not_sure(tmp_path: Path, play: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert begun(tmp_path, play, monkeypatch, extra_vars=("which=all", "who=me")) == {}


@pytest.mark.parametrize(
    "given", [{"tags": ("some",)}, {"start_at": "x"}, {"one_by_one": True}, {"ask_pass": True}, {"limit": "nobody*"}]
)
def test_nobody_where_options_leave_it_open(tmp_path: Path, given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert begun(tmp_path, f"{{hosts: all, tasks: {STEP}}}", monkeypatch, **given) == {}


def test_limit_forks_and_what_the_play_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play = f"{{hosts: all, vars: {{ansible_user: root}}, tasks: {STEP}}}"
    assert {name: said["ansible_user"] for name, said in begun(tmp_path, play, monkeypatch, limit="web*").items()} == {
        "web1": "root", "web2": "root"
    }  # fmt: skip
    assert list(begun(tmp_path, play, monkeypatch, forks=1)) == ["web1"]
    only = begun(tmp_path, play, monkeypatch, extra_vars=("ansible_user=deploy",), limit="web1", timeout=3)
    assert only["web1"]["ansible_user"] == "deploy" and only["web1"]["ansible_timeout"] == 3


def test_what_is_wrong_with_a_host_is_told_by_its_step(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("Host *\n  User deploy\nPort\n")
    (tmp_path / "inventory.yml").write_text(
        "all: {hosts: {web1: {ansible_ssh_common_args: -F config}, here: {ansible_connection: local}}}\n"
    )
    (tmp_path / "p.yml").write_text(f"- {{hosts: all, gather_facts: false, tasks: {STEP}}}\n")
    done = Ikoma(tmp_path)("run", "p.yml", "-i", "inventory.yml", expect=2)
    assert "config:3: 'Port' is no line of an SSH configuration" in done.text
    assert "changed: [here]" in done.text and "itself failed" not in done.text


DIALLED = """
import importlib.abc, socket, sys, threading
from ikoma_play.model import Host
from ikoma_play.transport import connect

listening = socket.create_server(("127.0.0.1", 0))
dialled = threading.Event()
threading.Thread(target=lambda: (listening.accept(), dialled.set()), daemon=True).start()

class Library(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "paramiko":
            print("first" if dialled.wait(10) else "late")

sys.meta_path.insert(0, Library())
about = {"ansible_host": "127.0.0.1", "ansible_port": listening.getsockname()[1], "ansible_ssh_common_args": "-F none"}
connect.begin([Host("wrong", (), {"ansible_port": "many"}), Host("web1", (), about)])
"""


def test_hosts_are_dialled_before_what_speaks_ssh_is_loaded(tmp_path: Path) -> None:
    """Also behind one that cannot be: what is wrong with it is told by its step."""
    assert python(DIALLED, tmp_path).stdout.split() == ["first"]
