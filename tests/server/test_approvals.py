"""A run that waits for a person: seen, answered by who may, and by nobody else; across the ends of processes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.audit.verifying import verify
from ikoma_play.model import Access
from ikoma_play.platform.key_file import KeyFile
from tests.parts.serving import Answer, Service, serving

from .test_runs import get, parsed, post, state

ASK = """\
- hosts: all
  gather_facts: false
  vars: {ikoma_role: operator}
  steps:
    - name: First
      command: touch {{ marks }}/first
      rollback:
        - command: rm {{ marks }}/first
    - name: Ask
      approve: {message: "Deploy {{ app | default('it') }}?", role: builder, timeout: "{{ seconds | default(60) }}"}
      register: said
    - name: Last
      copy: {dest: "{{ marks }}/last", content: "{{ said.by }}: {{ said.reason }}"}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("approvals")
    write_playbook(folder)
    with serving(folder) as service:
        yield service


def write_playbook(folder: Path) -> None:
    (folder / "playbooks").mkdir()
    (folder / "playbooks/ask.yml").write_text(ASK)


def key(service: Service, name: str, access: Access, **limits: Any) -> str:
    return KeyFile(service.folder / "keys.json").change(lambda keys: keys.create(name, access, **limits))


def start(service: Service, marks: Path, by: str = "", **variables: Any) -> str:
    """The run, once it waits."""
    marks.mkdir(exist_ok=True)
    answer = post(service, "/runs", {"playbook": "ask", "variables": {"marks": str(marks), **variables}}, key=by)
    assert answer.status == 202, answer
    run = str(answer.data["run"])
    service.until(lambda: state(service, run) == "waiting")
    return run


def answer(service: Service, run: str, approve: Any, reason: str = "", **more: Any) -> Answer:
    return post(service, f"/runs/{run}/approve", {"approve": approve, "reason": reason}, **more)


def test_a_run_waits_and_a_yes_lets_it_go_on(server: Service, tmp_path: Path) -> None:
    starter, boss = key(server, "starter", Access.OPERATOR), key(server, "boss", Access.BUILDER)
    run = start(server, tmp_path, starter)
    shown = get(server, f"/runs/{run}").data
    (question,) = shown["approvals"]
    assert (question["question"], question["role"], question["answer"]) == ("Deploy it?", "builder", "")
    assert 0 < question["until"] - time.time() <= 60
    assert [row["state"] for row in get(server, "/runs").data["runs"] if row["id"] == run] == ["waiting"]
    metrics = get(server, "/metrics").text
    assert "ikoma_runs_waiting 1.0" in metrics and "ikoma_runs_running 0.0" in metrics, metrics
    events = server.connect()
    events.request("GET", f"/runs/{run}/events", None, {"X-Api-Key": server.key})
    heard = events.getresponse()
    lower = answer(server, run, True, key=starter)
    assert (lower.status, lower.data["required"], lower.data["current"]) == (403, "builder", "operator")
    assert answer(server, run, True, key=boss, role="operator").status == 403, "X-Role lowers"
    assert state(server, run) == "waiting"
    yes = answer(server, run, True, "tests are green", key=boss, once="yes")
    assert yes.status == 202 and yes.data["run"] == run
    assert answer(server, run, True, "tests are green", key=boss, once="yes").headers["idempotent-replayed"] == "true"
    server.until(lambda: state(server, run) == "done")
    assert (tmp_path / "last").read_text() == "boss: tests are green"
    told = {event["event"]: event for _, event in parsed(heard.read().decode())}
    events.close()
    assert told["step_waits"]["question"]["text"] == "Deploy it?"
    assert told["step_waits"]["question"]["number"] == question["number"]
    (question,) = get(server, f"/runs/{run}").data["approvals"]
    assert (question["answer"], question["who"], question["comment"]) == ("yes", "boss", "tests are green")
    lines = [line for line in server.audited() if line["run"] == run and line["capability"] == "runs.approve"]
    assert [(line["key"], line["result"]) for line in lines] == [
        ("starter", "error"), ("boss", "error"), ("boss", "success"),
    ]  # fmt: skip
    assert lines[-1]["arguments"] == {"approve": True, "reason": "tests are green", "run": run}


def test_a_no_undoes_the_run(server: Service, tmp_path: Path) -> None:
    run = start(server, tmp_path)
    assert answer(server, run, False, "too risky").status == 202
    server.until(lambda: state(server, run) == "undone")
    assert not (tmp_path / "first").exists() and not (tmp_path / "last").exists()
    failed = [step for step in get(server, f"/runs/{run}").data["steps"] if step["state"] == "failed"]
    assert failed[0]["outcome"]["failure"]["message"] == "refused by platform: too risky"


def test_an_answer_in_time_or_none(server: Service, tmp_path: Path) -> None:
    run = start(server, tmp_path, seconds=0.5)
    server.until(lambda: state(server, run) == "undone")
    assert answer(server, run, True).status == 409
    assert get(server, f"/runs/{run}").data["approvals"][0]["answer"] == "late"


def test_what_is_no_answer_is_none(server: Service, tmp_path: Path) -> None:
    run = start(server, tmp_path)
    for body in ({}, {"approve": "yes"}, {"approve": 1}, {"approve": True, "reason": 7}, {"approve": True, "by": "me"},
                 {"approve": True, "number": 0}, {"approve": True, "reason": "x" * 1001}):  # fmt: skip
        refused = post(server, f"/runs/{run}/approve", body)
        assert refused.status == 400 and refused.data["fields"], (body, refused)
    assert post(server, f"/runs/{run}/approve", {"approve": True, "number": 9}).status == 409
    assert answer(server, "20260101-000000-aaaa", True).status == 404
    shop = key(server, "shop", Access.ADMIN, applications=["shop"])
    assert answer(server, run, True, key=shop).status == 404, "a limited key answers its own runs only"
    assert state(server, run) == "waiting"
    assert post(server, f"/runs/{run}/cancel").status == 202
    server.until(lambda: state(server, run) == "interrupted")
    refused = answer(server, run, True)
    assert (refused.status, refused.data["code"]) == (409, "not-waiting") and "interrupted" in refused.data["error"]
    assert get(server, f"/runs/{run}").data["approvals"][0]["answer"] == "withdrawn"
    assert not (tmp_path / "last").exists(), "cancelled, it goes no further"


def test_two_answers_at_once_are_one(server: Service, tmp_path: Path) -> None:
    run = start(server, tmp_path)
    came: list[int] = []
    callers = [threading.Thread(target=lambda: came.append(answer(server, run, True).status)) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sorted(came) == [202, *[409] * 7], came
    server.until(lambda: state(server, run) == "done")


def test_approve_is_no_tool_to_call(server: Service) -> None:
    assert server.call("approve", {"message": "x"}).status == 404
    paths = get(server, "/openapi.json").data["paths"]
    assert "/runs/{run}/approve" in paths and "/execute/approve" not in paths


def test_a_server_that_is_killed_or_stopped_while_a_step_waits(tmp_path: Path) -> None:
    write_playbook(tmp_path)
    with serving(tmp_path) as service:
        killed = start(service, tmp_path / "killed")
        assert service.process is not None
        service.process.send_signal(signal.SIGKILL)
        service.process.wait()
        service.process = None
        service.start()
        assert state(service, killed) == "waiting", "the run is a process of its own"
        assert answer(service, killed, True, "after").status == 202
        service.until(lambda: state(service, killed) == "done")
        assert (tmp_path / "killed/last").read_text() == "platform: after"

        alone = start(service, tmp_path / "alone")
        os.kill(_pid(tmp_path, alone), signal.SIGKILL)
        service.until(lambda: state(service, alone) == "died")
        assert answer(service, alone, True).status == 409
        assert post(service, f"/runs/{alone}/resume").status == 202
        service.until(lambda: state(service, alone) == "waiting")
        assert len(get(service, f"/runs/{alone}").data["approvals"]) == 1, "the same question"

        assert service.stop() == 0, "a run that waits keeps no server from stopping"
        service.start()
        assert state(service, alone) == "interrupted"
        assert post(service, f"/runs/{alone}/resume").status == 202
        service.until(lambda: state(service, alone) == "waiting")
        assert answer(service, alone, True).status == 202
        service.until(lambda: state(service, alone) == "done")
        answers = [each["answer"] for each in get(service, f"/runs/{alone}").data["approvals"]]
        # It counts as waiting from the moment it is taken up, by the question that it left: stopped before it has come
        # to that step again, it leaves it a second time.
        assert answers in (["withdrawn", "yes"], ["yes"])
        assert not verify(service.audit_log).findings


def _pid(folder: Path, run: str) -> int:
    """The process of a run, by the journal."""
    import sqlite3

    with sqlite3.connect(folder / ".ikoma/journal.db") as connection:
        (pid,) = connection.execute("SELECT pid FROM runs WHERE id = ?", (run,)).fetchone()
    return int(pid)
