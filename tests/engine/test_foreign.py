"""Text of a host, of a client or by a lookup is never taken for an expression: it could run anything on the runner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.model import Access, Outcome, ok
from ikoma_play.tool import Tool, tool
from ikoma_play.transport.base import Transport
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
    {"include_tasks": "inner.yml", "loop": ["{{ r.stdout }}"]},
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
    (folder / "inner.yml").write_text('[{"command": "true", "when": "{{ item }}"}]')
    (folder / "hosts.yml").write_text("all: {hosts: {here: {ansible_connection: local}}}")
    (folder / "sent.yml").write_text(f'sent: !unsafe "{SAID}"\nnested: {{text: !unsafe "{SAID}"}}\n')
    names = {
        "broken": "ftp://x",
        "by_way": "{{ nested.text }}",
        "through": "{{ r.stdout }}",
        "deep": f"{{{{ {THERE} }}}}",
    }
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
        {"include_tasks": "inner.yml", "loop": ["r.rc == 0"]},
        {"command": "true", "when": ["{{ item }}", "{{ r is changed }}", "r.stdout is search('lookup')"],
         "loop": ["r.rc == 0"]},
    ]  # fmt: skip
    done = run(tmp_path, *own)
    assert done.code == 0 and done.recap["here"]["skipped"] == 0, done


def test_an_expression_is_one_under_each_name_of_its_argument() -> None:
    """Also under an alias, whose text is not to get past."""

    @tool("weigh", access=Access.ADMIN, changes=False, expressions=["weight"], aliases={"kg": "weight"})
    def weigh(on: Transport, *, weight: str, name: str = "") -> Outcome:
        """Weigh.

        weight: an expression
        name: none
        """
        return ok()

    found: Tool = weigh.tool  # type: ignore[attr-defined]
    assert [each for each in ("weight", "kg", "name", "nosuch") if found.evaluates(each)] == ["weight", "kg"]


def test_a_condition_that_is_none_is_shown_as_it_is_written(tmp_path: Path) -> None:
    failed = run(tmp_path, {"assert": {"that": "{{ broken }}"}}).events[-2]["outcome"]["failure"]
    assert (failed["message"], failed["evidence"]) == ("unexpected ':'", "ftp://x"), failed


def test_what_is_shown_more_talkative_only_is_skipped(tmp_path: Path) -> None:
    done = run(tmp_path, {"debug": {"msg": "m", "verbosity": 10**12}})
    assert done.code == 0 and done.recap["here"]["skipped"] == 1, done
