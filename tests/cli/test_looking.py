"""The subcommands that run no playbook: check, plan, exec, inventory, tools, schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ikoma_play.tools import TOOLS
from tests.parts.command import Ikoma

INVENTORY = """
all:
  hosts:
    web1: {ansible_connection: local, ansible_password: canary-secret}
  children:
    databases:
      hosts:
        db1: {ansible_connection: local}
      children:
        replicas:
          hosts:
            db2: {ansible_host: 192.0.2.7}
"""


@pytest.fixture
def ikoma(tmp_path: Path) -> Ikoma:
    return Ikoma(tmp_path)


# --- check ---


def test_check_finds_every_fault_at_once(ikoma: Ikoma) -> None:
    (ikoma.folder / "p.yml").write_text(
        "- hosts: localhost\n  gather_fact: false\n  tasks:\n    - comand: ls\n    - copy: {dst: x, content: y}\n"
        "    - debug: {msg: hi}\n      wenn: true\n"
    )
    done = ikoma("check", "p.yml", expect=4)
    for place, guess in (
        ("p.yml:2:3", "gather_facts"),
        ("p.yml:4:7", "command"),
        ("p.yml:5", "dest"),
        ("p.yml:7", "when"),
    ):
        assert place in done.out and guess in done.out, done
    assert "    gather_fact" in done.out.replace("  gather_fact", "    gather_fact") and "^" in done.out
    assert "nothing was run." in done.out.splitlines()[-1]


def test_check_for_programs(ikoma: Ikoma) -> None:
    (ikoma.folder / "p.yml").write_text("- hosts: localhost\n  tasks:\n    - comand: ls\n")
    (fault, *_) = json.loads(ikoma("check", "p.yml", "--json", expect=4).out)["faults"]
    assert (fault["file"], fault["line"], fault["column"]) == ("p.yml", 3, 7)
    assert fault["code"] and "comand" in fault["message"] and "command" in fault["remedy"]


def test_check_of_what_is_right_counts(ikoma: Ikoma) -> None:
    (ikoma.folder / "p.yml").write_text("- hosts: localhost\n  tasks:\n    - ping:\n    - debug:\n")
    assert ikoma("check", "p.yml").out == "p.yml: no faults (1 play, 2 steps in 1 file)\n"
    assert json.loads(ikoma("check", "p.yml", "--json").out) == {"faults": []}


def test_check_finds_faults_of_inventory_and_playbook_together(ikoma: Ikoma) -> None:
    (ikoma.folder / "inventory.yml").write_text("all:\n  hots:\n    a:\n")
    (ikoma.folder / "p.yml").write_text("- hosts: all\n  tasks:\n    - comand: ls\n")
    done = ikoma("check", "p.yml", expect=4)
    assert "inventory.yml:2:3" in done.out and "p.yml:3:7" in done.out


@pytest.mark.parametrize(
    "text",
    ["", "{", "- hosts: [", "\x00", "- hosts: a\n\ttasks: b\n", "&a [*a]", "- - - x", "!!python/object:os.system x"],
)
def test_no_yaml_ends_in_a_traceback(ikoma: Ikoma, text: str) -> None:
    (ikoma.folder / "p.yml").write_text(text)
    done = ikoma("check", "p.yml", expect=4)
    assert "p.yml" in done.out and "itself failed" not in done.text


# --- plan ---


def test_plan_shows_what_would_undo_each_step(ikoma: Ikoma) -> None:
    (ikoma.folder / "p.yml").write_text(
        "- name: For {{ who }}\n  hosts: localhost\n  vars: {who: you}\n  tasks:\n"
        "    - name: Make\n      command: ls\n      rollback:\n        - name: Unmake\n          command: ls\n"
        "    - name: Keep\n      command: ls\n    - name: Look\n      ping:\n"
    )
    text = ikoma("plan", "p.yml").out
    assert text.startswith("For you  localhost\n")
    assert [line.split() for line in text.splitlines() if line.startswith("    ")] == [
        ["1", "Make", "command", "undone", "by:", "Unmake"],
        ["2", "Keep", "command", "cannot", "be", "undone"],
        ["3", "Look", "ping"],
    ]
    steps = json.loads(ikoma("plan", "p.yml", "--json").out)
    assert [(step["title"], step["tool"], step["undo"]) for step in steps] == [
        ("Make", "command", ["Unmake"]), ("Keep", "command", []), ("Look", "ping", []),
    ]  # fmt: skip


def test_plan_without_a_playbook_lists_them(ikoma: Ikoma) -> None:
    out = ikoma("plan").out
    listed = dict(line.split("  ", 1) for line in out.splitlines() if "  " in line)
    assert listed["deploy"].strip().endswith("from its source to a verified release."), out
    assert {"backup", "restore", "sandbox-down"} <= set(listed), out
    assert all(purpose.endswith(".") for purpose in listed.values()), f"a purpose is no whole sentence\n{out}"


# --- exec ---


def test_exec_prints_the_result_as_json(ikoma: Ikoma) -> None:
    done = ikoma("exec", "command", "echo hello world", "-l", "localhost")
    assert json.loads(done.out)["stdout"] == "hello world"
    assert done.err == ""
    assert json.loads(ikoma("exec", "debug", "msg=a b=c {x}", "-l", "localhost").out) == {"msg": "a b=c {x}"}


def test_exec_takes_values_by_the_type_that_the_tool_declares(ikoma: Ikoma) -> None:
    (ikoma.folder / "a.txt").write_text("x")
    (ikoma.folder / "sub").mkdir()
    (ikoma.folder / "sub" / "b.txt").write_text("x")
    found = json.loads(
        ikoma("exec", "find", "paths=[.]", "recurse=yes", "patterns=*.txt", "depth=5", "-l", "localhost").out
    )
    assert found["matched"] == 2
    ikoma("exec", "copy", "dest=version", "content=1.10", "-l", "localhost")
    assert (ikoma.folder / "version").read_text() == "1.10", "text that looks like a number is still text"


def test_exec_runs_on_the_only_host_of_the_inventory(ikoma: Ikoma) -> None:
    (ikoma.folder / "inventory.yml").write_text("all: {hosts: {here: {ansible_connection: local}}}\n")
    assert json.loads(ikoma("exec", "ping").out) == {"ping": "pong"}


def test_exec_with_several_hosts(ikoma: Ikoma) -> None:
    (ikoma.folder / "inventory.yml").write_text(INVENTORY)
    done = ikoma("exec", "ping", expect=1)
    assert "The inventory has 3 hosts" in done.err and "-l HOST" in done.err
    answers = json.loads(ikoma("exec", "ping", "-l", "web1,db1").out)
    assert answers == {"web1": {"ping": "pong"}, "db1": {"ping": "pong"}}
    assert "No host matches" in ikoma("exec", "ping", "-l", "nothing*", expect=1).err


def test_exec_that_fails(ikoma: Ikoma) -> None:
    done = ikoma("exec", "command", "ls /nowhere-at-all", "-l", "localhost", expect=2)
    assert done.err.startswith("failed: command on localhost\n") and "| ls: cannot access" in done.err
    assert json.loads(done.out)["rc"] == 2, "what the failed step returns is still there to be read"
    assert json.loads(ikoma("exec", "ping", "-l", "localhost", "--json").out)["status"] == "ok"


def test_exec_used_wrongly_says_what_is_missing(ikoma: Ikoma) -> None:
    done = ikoma("exec", "db.backup", "app=x", expect=1)
    assert "appName" in done.err and "ikoma-play tools db.backup" in done.err and done.out == ""
    assert "is not KEY=VALUE" in ikoma("exec", "ping", "word", expect=1).err


def test_exec_in_check_mode(ikoma: Ikoma) -> None:
    done = ikoma("exec", "file", "path=made", "state=directory", "-l", "localhost", "--check", "-v")
    assert "changed: " in done.err and not (ikoma.folder / "made").exists()


# --- inventory ---


def test_inventory_as_a_tree(ikoma: Ikoma) -> None:
    (ikoma.folder / "inventory.yml").write_text(INVENTORY)
    assert [line.rstrip() for line in ikoma("inventory").out.splitlines()] == [
        "all",
        "  web1        local",
        "  databases",
        "    db1       local",
        "    replicas",
        "      db2     ssh, 192.0.2.7",
        "",
        "3 hosts in inventory.yml",
    ]
    limited = ikoma("inventory", "-l", "replicas").out
    assert "db2" in limited and "web1" not in limited


def test_inventory_shows_no_secret(ikoma: Ikoma) -> None:
    (ikoma.folder / "inventory.yml").write_text(INVENTORY)
    for words in (("web1",), ("--json",), ("-v",), ("--host", "web1"), ("--list",)):
        done = ikoma("inventory", *words)
        assert "ansible_password" in done.out and "canary" not in done.out, done


def test_inventory_for_programs_can_be_read_back(ikoma: Ikoma) -> None:
    (ikoma.folder / "inventory.yml").write_text(INVENTORY)
    data = json.loads(ikoma("inventory", "--json").out)
    assert data["databases"] == {"children": ["replicas"], "hosts": ["db1"]}
    script = ikoma.folder / "again"
    script.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(data)}\nEND\n")
    script.chmod(0o755)
    assert json.loads(ikoma("inventory", "-i", "again", "--json").out).keys() == data.keys()


# --- tools and schema ---


def test_tools_lists_every_tool(ikoma: Ikoma) -> None:
    out = ikoma("tools").out
    for name in TOOLS.names():
        assert f"\n  {name} " in out, f"{name} is not listed"
    listed = json.loads(ikoma("tools", "--json").out)
    assert [tool["name"] for tool in listed] == TOOLS.names()


@pytest.mark.parametrize("name", TOOLS.names())
def test_every_tool_says_what_it_does_and_takes(name: str) -> None:
    """Nobody looks at a table with holes in it: each tool and each argument is described in its declaration."""
    tool = TOOLS.find(name)
    assert tool is not None and tool.summary.endswith("."), f"{name} has no summary, or it is no sentence"
    undescribed = [parameter.wire for parameter in tool.parameters if not parameter.description]
    assert not undescribed, f"{name} does not say what {undescribed} are"


def test_one_tool(ikoma: Ikoma) -> None:
    out = ikoma("tools", "db.backup").out
    assert "Role: operator; it changes the host." in out and "  appName     text  required" in out
    data = json.loads(ikoma("tools", "db.backup", "--json").out)
    assert data["role"] == "operator" and data["arguments"]["required"] == ["appName"]
    assert ikoma("tools", "ansible.builtin.copy").out == ikoma("tools", "copy").out


@pytest.mark.parametrize("kind", [(), ("playbook",), ("inventory",)])
def test_schema(ikoma: Ikoma, kind: tuple[str, ...]) -> None:
    assert json.loads(ikoma("schema", *kind).out)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
