"""A step that waits for a person: at a terminal, and answered from another one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.audit.verifying import verify
from tests.parts.command import CHECKOUT, Ikoma
from tests.parts.terminal import Terminal

ASKING = """\
- hosts: localhost
  gather_facts: false
  steps:
    - name: First
      command: touch first
      rollback:
        - command: rm first
    - name: Ask
      approve: {message: "Deploy v2?", timeout: %s}
      register: said
    - debug: {msg: "{{ said.by }} said {{ said.approved }} since {{ said.reason }}"}
"""


@pytest.fixture
def ikoma(tmp_path: Path) -> Ikoma:
    (tmp_path / "ask.yml").write_text(ASKING % 60)
    (tmp_path / "soon.yml").write_text(ASKING % 0.5)
    return Ikoma(tmp_path, {"AUDIT_LOG": str(tmp_path / "audit.jsonl")})


@pytest.fixture
def background(ikoma: Ikoma) -> Iterator[subprocess.Popen[str]]:
    """The asking run without a terminal, which waits."""
    process = started(ikoma)
    yield process
    process.kill()
    process.wait()


def started(ikoma: Ikoma, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), **ikoma.environment}
    process = subprocess.Popen(
        [sys.executable, "-m", "ikoma_play", *(words or ("run", "ask.yml")), "--await-approval"],
        cwd=ikoma.folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if "waiting:" in line:
            return process
    raise AssertionError("it does not wait")


def newest(ikoma: Ikoma) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ikoma("runs", "show", "--json").out)
    return found


def test_at_a_terminal_a_person_is_asked_until_the_answer_is_one(ikoma: Ikoma) -> None:
    terminal = Terminal(ikoma, "run", "ask.yml")
    terminal.until("and why:")
    assert "Deploy v2?" in terminal.plain and "ikoma-play runs approve" in terminal.plain
    terminal.type("perhaps\n")
    terminal.until("and why:")
    terminal.type("Yes, all is green\n")
    assert terminal.end() == 0 and "said True since all is green" in terminal.plain
    (asked,) = newest(ikoma)["approvals"]
    assert (asked["answer"], asked["comment"]) == ("yes", "all is green") and asked["who"].startswith("cli:")


def test_a_no_at_the_terminal_undoes_what_was_done(ikoma: Ikoma) -> None:
    terminal = Terminal(ikoma, "run", "ask.yml")
    terminal.until("and why:")
    terminal.type("no too risky\n")
    assert terminal.end() == 3 and "too risky" in terminal.plain and not (ikoma.folder / "first").exists()
    step = next(step for step in newest(ikoma)["steps"] if step["tool"] == "approve")
    assert step["outcome"]["failure"]["code"] == "not-approved"
    assert step["outcome"]["result"]["approved"] is False and step["outcome"]["result"]["by"].startswith("cli:")


def test_an_interruption_ends_the_waiting_and_a_resumed_run_asks_again(ikoma: Ikoma) -> None:
    terminal = Terminal(ikoma, "run", "ask.yml")
    terminal.until("and why:")
    terminal.type("\x03")
    assert terminal.end() == 130 and (ikoma.folder / "first").exists()
    assert newest(ikoma)["state"] == "interrupted" and newest(ikoma)["approvals"][0]["answer"] == "withdrawn"
    again = Terminal(ikoma, "runs", "resume")
    again.until("and why:")
    again.type("y\n")
    assert again.end() == 0 and [each["answer"] for each in newest(ikoma)["approvals"]] == ["withdrawn", "yes"]


def test_without_a_terminal_it_fails_at_once_and_says_how_it_goes(ikoma: Ikoma) -> None:
    done = ikoma("run", "ask.yml", expect=3)
    assert "no terminal" in done.out and "--await-approval" in done.out and "POST /runs/RUN/approve" in done.out
    assert newest(ikoma)["approvals"] == []


def test_a_check_asks_nobody(ikoma: Ikoma) -> None:
    assert "said False" in ikoma("run", "ask.yml", "--check").out


def test_nobody_answers_in_time(ikoma: Ikoma) -> None:
    done = ikoma("run", "soon.yml", "--await-approval", expect=3)
    assert "nobody has answered within 0.5 s: Deploy v2?" in done.out and not (ikoma.folder / "first").exists()


def test_it_is_answered_from_another_terminal(ikoma: Ikoma, background: subprocess.Popen[str]) -> None:
    run = newest(ikoma)
    assert run["state"] == "waiting" and "waiting" in ikoma("runs").out
    shown = ikoma("runs", "show").out
    assert "Deploy v2?" in shown and f"ikoma-play runs approve {run['id']}" in shown
    assert "under way" in ikoma("runs", "resume", run["id"], expect=1).err
    assert "Approved: Deploy v2?" in ikoma("runs", "approve", run["id"], "--reason", "tested").out
    assert background.wait(30) == 0 and background.stdout is not None
    assert "said True since tested" in background.stdout.read()
    assert "nothing in it waits" in ikoma("runs", "approve", run["id"], expect=1).err
    shown = ikoma("runs", "show").out
    assert re.search(r"approved by cli:\S+: tested", shown), shown
    lines = [json.loads(line) for line in (ikoma.folder / "audit.jsonl").read_text().splitlines()]
    assert [line["capability"] for line in lines] == ["command", "runs.approve", "approve", "debug"]
    answer = lines[1]
    assert answer["arguments"]["approve"] is True and answer["arguments"]["reason"] == "tested"
    assert answer["run"] == run["id"] and answer["key"].startswith("cli:") and answer["host"] == "localhost"
    assert not verify(ikoma.folder / "audit.jsonl").findings


def test_killed_while_it_waits_it_goes_on_with_the_same_question(
    ikoma: Ikoma, background: subprocess.Popen[str]
) -> None:
    run = newest(ikoma)["id"]
    background.send_signal(signal.SIGKILL)
    background.wait()
    assert "died" in ikoma("runs", "approve", run, expect=1).err
    again = started(ikoma, "runs", "resume", run)
    ikoma("runs", "approve", run[:15], "--refuse", "--reason", "no")
    assert again.wait(30) == 3 and not (ikoma.folder / "first").exists()
    (asked,) = newest(ikoma)["approvals"]
    assert (asked["answer"], asked["comment"]) == ("no", "no")
