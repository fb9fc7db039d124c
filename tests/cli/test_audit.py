"""`ikoma-play audit`, and what runs and `exec` write into the log."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.parts.command import Ikoma

PLAYBOOK = """\
- hosts: all
  gather_facts: false
  vars: {token: hunter2-hunter2}
  tasks:
    - command: echo one
    - name: Skipped
      command: echo two
      when: false
    - name: Hidden
      command: echo "{{ token }}"
      no_log: true
    - name: In an argument
      shell: "echo {{ token }}; false"
      ignore_errors: true
    - name: Once an item
      command: "echo {{ item }}"
      loop: [a, b]
    - apps.logs: {appName: myapp}
"""


@pytest.fixture
def here(tmp_path: Path) -> Ikoma:
    """A directory with a playbook and an inventory whose host names a log."""
    (tmp_path / "p.yml").write_text(PLAYBOOK)
    folder = tmp_path / "{{ inventory_hostname }}"
    (tmp_path / "inventory.yml").write_text(
        f"all: {{hosts: {{box: {{ansible_connection: local, ikoma_audit_log: '{folder}/audit.jsonl',\n"
        f"      ikoma_apps_root: '{tmp_path}/apps', ikoma_runtime: process, ikoma_env_file: '{tmp_path}/.env'}}}}}}\n"
    )
    return Ikoma(tmp_path, {"AUDIT_LOG": ""})


def lines(ikoma: Ikoma) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (ikoma.folder / "box" / "audit.jsonl").read_text().splitlines()]


def test_steps_are_written_like_calls(here: Ikoma) -> None:
    here("run", "p.yml", expect=2)
    run = json.loads(here("runs", "list", "--json").out)[0]["id"]
    found = lines(here)
    assert [(line["capability"], line["result"]) for line in found] == [
        ("command", "success"), ("command", "success"), ("shell", "error"), ("command", "success"),
        ("apps.logs", "error"),
    ]  # fmt: skip
    user = json.loads(here("runs", "list", "--json").out)[0]["who"]
    for number, line in enumerate(found, 1):
        assert {
            "host": "box",
            "key": f"cli:{user}",
            "run": run,
            "role": "admin",
            "number": number,
        }.items() <= line.items()
        assert line["timestamp"].endswith("Z") and line["duration"] > 0 and line["requestId"]
    assert found[1]["arguments"] == {} and found[4]["arguments"] == {"appName": "myapp"}
    assert "myapp" in found[4]["error"] and found[0]["error"] is None
    assert "hunter2" not in json.dumps(found)
    assert here("audit", "verify").out.startswith("✓ 5 lines in 1 file: whole, up to 5:")


def test_the_runbooks_own_searches_find_the_lines(here: Ikoma) -> None:
    here("run", "p.yml", expect=2)
    log = str(here.folder / "box" / "audit.jsonl")
    found = subprocess.run(["grep", '"appName":"myapp"', log], capture_output=True, text=True, check=True).stdout
    assert json.loads(found)["capability"] == "apps.logs"
    if shutil.which("jq"):
        query = subprocess.run(
            ["jq", "-r", 'select(.result == "error") | .capability', log], capture_output=True, text=True, check=True
        )
        assert query.stdout.split() == ["shell", "apps.logs"]


def test_exec_is_written_and_check_is_not(here: Ikoma) -> None:
    here("run", "p.yml", "--check", expect=None)
    assert not (here.folder / "box").exists()
    here("exec", "apps.list")
    here("exec", "apps.init", "appName=shop")
    here("exec", "apps.init", "appName=shop", "--check")
    assert [line["capability"] for line in lines(here)] == ["apps.list", "apps.init"]


def test_show_filters(here: Ikoma) -> None:
    here("exec", "apps.init", "appName=shop")
    here("exec", "apps.status", "appName=blog", expect=None)
    here("run", "p.yml", expect=2)
    run = lines(here)[-1]["run"]

    def shown(*words: str) -> list[str]:
        return [json.loads(line)["capability"] for line in here("audit", "show", "--json", *words).out.splitlines()]

    assert shown("--app", "shop") == ["apps.init"]
    assert shown("--tool", "shell") == ["shell"]
    assert shown("--result", "error") == ["shell", "apps.logs"]
    assert len(shown("--run", run)) == 5 == len(shown("--run", run[:-1]))
    assert shown("-n", "1") == ["apps.logs"]
    assert len(shown("--since", "1h")) == 7 and shown("--until", "2001-01-01") == [] == shown("--host", "other")
    table = here("audit").out.splitlines()
    assert table[0].split() == ["time", "tool", "host", "by", "role", "result", "took", "arguments"] and len(table) == 8
    assert here("audit", "show", "--app", "nothing").out == "No such call.\n"
    assert "is no time" in here("audit", "show", "--since", "yesterday", expect=1).err


def test_verify_says_where(here: Ikoma) -> None:
    here("run", "p.yml", expect=2)
    log = here.folder / "box" / "audit.jsonl"
    known = here("audit", "verify").out.split()[-1]
    text = log.read_text()
    log.write_text(text.replace('"result":"error"', '"result":"success"', 1))
    done = here("audit", "verify", expect=2)
    assert f"{log}:3: was changed\n" in done.out and "✗ 5 lines in 1 file: not as written in 1 place" in done.out
    assert json.loads(here("audit", "verify", "--json", expect=2).out)["findings"][0]["line"] == 3
    log.write_text(text)
    here("audit", "verify", "--known", known)
    assert "not the one known" in here("audit", "verify", "--known", f"5:{'0' * 64}", expect=2).out
    assert "NUMBER:HASH" in here("audit", "verify", "--known", "x", expect=1).err
    assert "no audit log" in here("audit", "verify", "--file", "nothing", expect=2).err


def test_nothing_runs_where_the_named_log_cannot_be_written(here: Ikoma) -> None:
    (here.folder / "box").write_text("in the way")
    done = here("run", "p.yml", expect=1)
    assert "nothing was run: the audit log" in done.err and "box is no directory" in done.err
    assert "nothing was run" in here("exec", "apps.init", "appName=shop", expect=1).err
    assert not (here.folder / "apps").exists()
    looked = here("exec", "apps.list")
    assert "warning: this is not in the audit log" in looked.err and json.loads(looked.out) == []


def test_a_log_that_is_no_file_has_no_head(here: Ikoma) -> None:
    (here.folder / "box/audit.jsonl").mkdir(parents=True)
    assert "audit.jsonl is no regular file" in here("run", "p.yml", expect=1).err
    assert [entry.name for entry in (here.folder / "box").iterdir()] == ["audit.jsonl"]


@pytest.mark.parametrize("name", ["ikoma_audit_log", "ikoma_env_file"])
@pytest.mark.parametrize("value", ["\0log", "", 7, ["log"]], ids=str)
def test_what_is_no_path_is_refused_before_anything_runs(here: Ikoma, name: str, value: object) -> None:
    hosts = {"box": {"ansible_connection": "local", name: value}}
    (here.folder / "inventory.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
    assert f"{name} of host box must be a path" in here("run", "p.yml", expect=1).err


def test_a_log_that_is_lost_on_the_way_stops_the_run_before_the_next_step(here: Ikoma) -> None:
    (here.folder / "p.yml").write_text(
        "- hosts: all\n  gather_facts: false\n  tasks:\n"
        f"    - shell: 'rm -r {here.folder}/box; echo > {here.folder}/box'\n"
        f"    - command: touch {here.folder}/second\n"
    )
    done = here("run", "p.yml", expect=2)
    assert "the audit log" in done.text and not (here.folder / "second").exists()


def test_a_chain_with_a_key(here: Ikoma) -> None:
    key = here.folder / "chain.key"
    key.write_text("0123456789abcdef0123\n")
    (here.folder / ".env").write_text(f"AUDIT_KEY_FILE={key}\n")
    here("exec", "apps.list")
    assert "chained with a key" in here("audit", "verify", expect=2).err
    assert "whole" in here("audit", "verify", "--key-file", str(key)).out
    key.write_text("short")
    assert "less than 16 bytes" in here("exec", "apps.init", "appName=x", expect=1).err


def test_audit_log_in_env_counts_most(here: Ikoma) -> None:
    (here.folder / ".env").write_text(f"AUDIT_LOG={here.folder}/x.jsonl\nAUDIT_LOG={here.folder}/other.jsonl\n")
    here("exec", "apps.list")
    assert (here.folder / "other.jsonl").exists() and not (here.folder / "box").exists()
    assert (here.folder / "other.jsonl").stat().st_mode & 0o077 == 0o040
