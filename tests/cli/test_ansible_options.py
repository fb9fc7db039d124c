"""The options that people know from ansible-playbook, each with what it does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ikoma_play.cli.run import command
from tests.parts.command import Ikoma

PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - {name: one, debug: {msg: "{{ a | default('-') }} {{ b | default('-') }} {{ c | default('-') }}"}, tags: x}
    - {name: two, command: id -un, changed_when: false, register: r, tags: y}
    - {name: three, debug: {msg: "by {{ r.stdout | default('nobody') }}"}}
"""
FAILING = """
- hosts: all
  gather_facts: false
  tasks:
    - {command: "true", notify: told}
    - {fail: {msg: enough}}
  handlers: [{name: told, debug: {msg: the handler ran}}]
"""
LOCAL = ("-i", "h1,", "--connection", "local")


@pytest.fixture
def ikoma(tmp_path: Path) -> Ikoma:
    (tmp_path / "p.yml").write_text(PLAYBOOK)
    (tmp_path / "failing.yml").write_text(FAILING)
    (tmp_path / "v.json").write_text('{"c": "of the file"}')
    return Ikoma(tmp_path)


# Options of ansible-playbook that are left out on purpose: using one is an error that says so.
LEFT_OUT = {"--module-path", "-M", "--sftp-extra-args", "--scp-extra-args"}


def test_no_option_is_missing() -> None:
    """What `ansible-playbook --help` names, `ikoma-play run` takes, or says that it is left out."""
    asked = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "--help"], capture_output=True, text=True, check=True
    )
    said = " ".join(re.findall(r"^  (-.*?)(?:  |$)", asked.stdout, re.M))
    theirs = set(re.findall(r"(?<!\S)--?[a-zA-Z][\w-]*", said))
    here = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    lacking = theirs - here - {"-h", "--help", "--version"}
    assert len(theirs) > 40 and not lacking, f"ikoma-play run does not know {sorted(lacking)}"


@pytest.mark.parametrize("option", sorted(LEFT_OUT))
def test_what_is_left_out_is_said_to_be(ikoma: Ikoma, option: str) -> None:
    done = ikoma("run", "p.yml", *LOCAL, option, "x", expect=1)
    assert "is not part of ikoma-play" in done.err


def test_options_that_are_for_the_connection(ikoma: Ikoma) -> None:
    (ikoma.folder / "pw").write_text("open sesame\n")
    words = ("--flush-cache", "--ssh-common-args", "-o ProxyJump=none", "--become-password-file", "pw")
    assert "yaml - -" in ikoma("run", "p.yml", *LOCAL, "-e", "{a: yaml}", *words).out
    assert "is empty" not in ikoma("run", "p.yml", *LOCAL, "--conn-pass-file", "nowhere", expect=1).err


def test_several_inventories_and_three_forms_of_variables(ikoma: Ikoma) -> None:
    words = ("-i", "h1,", "-i", "h2,", "-c", "local", "-e", "a=1", "-e", '{"b": 2}', "--extra-vars", "@v.json")
    out = ikoma("run", "p.yml", *words).out
    assert out.count("1 2 of the file") == 2 and "PLAY all (h1, h2)" in out
    assert "yaml - -" in ikoma("run", "p.yml", *LOCAL, "-e", "{a: yaml}").out


def test_begin_at_a_step(ikoma: Ikoma) -> None:
    out = ikoma("run", "p.yml", *LOCAL, "--start-at-task", "three").out
    assert "by nobody" in out and "] one" not in out
    assert "h1: ok=1" in out


@pytest.mark.parametrize(
    ("option", "says", "says_not"),
    [
        ("--list-tasks", ["one", "two", "three", "[y]"], ["hosts (1)"]),
        ("--list-hosts", ["hosts (1):", "h1"], ["two"]),
        ("--list-tags", ["tags: x, y"], ["two"]),
        ("--syntax-check", ["p.yml: no faults"], ["two"]),
    ],
)
def test_looking_runs_nothing(ikoma: Ikoma, option: str, says: list[str], says_not: list[str]) -> None:
    out = ikoma("run", "p.yml", *LOCAL, option).out
    assert all(text in out for text in says) and not any(text in out for text in says_not)
    assert "RECAP" not in out and not (ikoma.folder / ".ikoma").exists()


def test_handlers_after_a_failure(ikoma: Ikoma) -> None:
    assert "the handler ran" not in ikoma("run", "failing.yml", *LOCAL, expect=None).out
    assert "the handler ran" in ikoma("run", "failing.yml", *LOCAL, "--force-handlers", expect=None).out


def test_another_user(ikoma: Ikoma) -> None:
    words = ("--become", "--become-user", "nobody", "--become-method", "sudo")
    assert "by nobody" in ikoma("run", "p.yml", *LOCAL, *words).out
    assert "by nobody" in ikoma("run", "p.yml", *LOCAL, "-b", "--become-user", "nobody").out


def test_the_password_of_the_vault(ikoma: Ikoma) -> None:
    (ikoma.folder / "pw").write_text("open sesame\n")
    (ikoma.folder / "secret.json").write_text(json.dumps({"a": "opened"}))
    ikoma("vault", "encrypt", "--vault-password-file", "pw", "secret.json")
    assert "ANSIBLE_VAULT" in (ikoma.folder / "secret.json").read_text()
    words = ["run", "p.yml", *LOCAL, "-e", "@secret.json", "--json"]
    steps = ikoma(*words, "--vault-password-file", "pw").steps("ok")
    assert steps == ["one", "two", "three"]
    away = Ikoma(ikoma.folder, prefix=("setsid", "-w", sys.executable))  # without a terminal standard input answers
    done = away(*words, "--ask-vault-pass", typed="open sesame\n")
    assert "Vault password" in done.err and "open sesame" not in done.text
    assert ikoma(*words, expect=4).code == 4, "without a password it is closed"


def test_roles_on_the_path(ikoma: Ikoma, tmp_path: Path) -> None:
    (tmp_path / "elsewhere/r/tasks").mkdir(parents=True)
    (tmp_path / "elsewhere/r/tasks/main.yml").write_text("- debug: {msg: from the path}\n")
    (tmp_path / "roles.yml").write_text("- {hosts: all, gather_facts: false, roles: [r]}\n")
    ikoma("run", "roles.yml", *LOCAL, expect=4)
    found = Ikoma(tmp_path, {"ANSIBLE_ROLES_PATH": f"/nowhere:{tmp_path}/elsewhere"})("run", "roles.yml", *LOCAL)
    assert "from the path" in found.out
