"""Text of a host, of a client or by a lookup is never taken for an expression: it could run anything on the runner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.parts.command import Finished, Ikoma

# What a host that somebody else controls might print.
SAID = "lookup('pipe', 'touch reached') == ''"
THERE = "hostvars[inventory_hostname].r.stdout"
WAYS: list[dict[str, Any]] = [
    {"assert": {"that": "{{ r.stdout }}"}},
    {"assert": {"that": "{{ r.rc }} == 0"}},
    {"assert": {"that": ["true", "{{ through }}"]}},
    {"debug": {"var": "{{ r.stdout }}"}},
    {"command": "true", "when": "{{ r.stdout }}"},
    {"command": "true", "when": "{{ through }}"},
    {"command": "true", "when": f"{{{{ {THERE} }}}}"},
    {"command": "true", "when": "{{ deep }}"},
    {"command": "true", "when": "{{ [inventory_hostname] | map('extract', hostvars, ['r', 'stdout']) | first }}"},
    {"command": "true", "when": "{{ item }}", "loop": ["{{ r.stdout }}"]},
    {"command": "true", "when": "{{ item }}", "loop": [f"{{{{ {THERE} }}}}"]},
    {"command": "true", "when": "{{ item }}", "with_lines": ["cat said"]},
    {"command": "true", "when": "{{ lookup('file', 'said') }}"},
    {"command": "true", "when": "{{ lookup('pipe', 'cat said') }}"},
    {"command": "true", "changed_when": "{{ r.stdout }}"},
    {"command": "true", "when": "{{ sent }}"},
    {"command": "true", "when": "{{ nested.text }}"},
    {"assert": {"that": "{{ by_way }}"}},
    {"command": "true", "failed_when": "{{ r.stdout }}"},
    {"command": "true", "register": "u", "until": "{{ r.stdout }}", "retries": 1, "delay": 0},
]


def run(folder: Path, *steps: dict[str, Any]) -> Finished:
    (folder / "said").write_text(SAID)
    (folder / "hosts.yml").write_text("all: {hosts: {here: {ansible_connection: local}}}")
    (folder / "sent.yml").write_text(f'sent: !unsafe "{SAID}"\nnested: {{text: !unsafe "{SAID}"}}\n')
    names = {"by_way": "{{ nested.text }}", "through": "{{ r.stdout }}", "deep": f"{{{{ {THERE} }}}}"}
    first = {"command": "cat said", "args": {"chdir": str(folder)}, "register": "r"}
    play = {"hosts": "all", "gather_facts": False, "vars": names, "tasks": [first, *steps]}
    (folder / "p.yml").write_text(json.dumps([play]))
    return Ikoma(folder)("run", "p.yml", "-i", "hosts.yml", "-e", "@sent.yml", "--json", expect=None)


@pytest.mark.parametrize("way", WAYS, ids=json.dumps)
def test_it_is_refused(tmp_path: Path, way: dict[str, Any]) -> None:
    done = run(tmp_path, way)
    assert not (tmp_path / "reached").exists(), f"the runner ran what the host said\n{done}"
    assert done.code == 2 and "would run text that came from a host, a client or a lookup" in done.text, done


def test_what_the_playbook_says_of_it_is_no_text_of_the_host(tmp_path: Path) -> None:
    """Values that are true or false, and expressions that the playbook itself has, in variables and loops."""
    own = [
        {"assert": {"that": ["{{ r is success }}", "r.rc == 0", "{{ item }} is defined", "{{ r.rc == 0 }}"]},
         "loop": ["r", "through"]},
        {"debug": {"var": "{{ item }}"}, "loop": ["r.rc"]},
        {"command": "true", "when": ["{{ item }}", "{{ r is changed }}", "r.stdout is search('lookup')"],
         "loop": ["r.rc == 0"]},
    ]  # fmt: skip
    done = run(tmp_path, *own)
    assert done.code == 0 and done.recap["here"]["skipped"] == 0, done
