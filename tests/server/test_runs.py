"""Playbooks over HTTP: started, followed, cancelled, resumed, undone; and requests that are made twice."""

from __future__ import annotations

import json
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

SLOW = """\
- hosts: all
  gather_facts: false
  vars: {ikoma_role: operator}
  steps:
    - name: First
      command: touch {{ marks }}/first
      rollback:
        - command: rm {{ marks }}/first
    - name: Wait
      command: sh -c 'while [ ! -e {{ marks }}/go ]; do sleep 0.05; done'
    - name: Last
      command: touch {{ marks }}/last
"""
QUICK = """\
- hosts: all
  gather_facts: false
  vars: {ikoma_role: observer, said: nothing}
  steps:
    - debug: {msg: "{{ said }}"}
"""
JUDGES = """\
- hosts: all
  gather_facts: false
  vars: {ikoma_role: observer, said: 'true'}
  steps:
    - debug: {msg: "judged"}
      when: "{{ said }}"
"""
ADMIN = "- hosts: all\n  gather_facts: false\n  steps:\n    - command: id\n"
FAULTY = "- hosts: all\n  steps:\n    - comand: id\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("runs")
    write_playbooks(folder)
    with serving(folder) as service:
        yield service


def write_playbooks(folder: Path) -> None:
    (folder / "playbooks").mkdir()
    for name, text in (("slow", SLOW), ("quick", QUICK), ("judges", JUDGES), ("admin", ADMIN), ("faulty", FAULTY)):
        (folder / f"playbooks/{name}.yml").write_text(text)


def post(service: Service, path: str, body: Any = None, key: str = "", role: str = "", once: str = "") -> Answer:
    headers = {"X-Api-Key": key or service.key, **({"X-Role": role} if role else {})}
    return service.ask("POST", path, json.dumps(body or {}), {**headers, **({"Idempotency-Key": once} if once else {})})


def get(service: Service, path: str, key: str = "") -> Answer:
    return service.ask("GET", path, None, {"X-Api-Key": key or service.key})


def state(service: Service, run: str) -> str:
    return str(get(service, f"/runs/{run}").data["state"])


def start(service: Service, marks: Path, **more: Any) -> str:
    """The slow playbook, at its second step."""
    marks.mkdir(exist_ok=True)
    answer = post(service, "/runs", {"playbook": "slow", "variables": {"marks": str(marks)}}, **more)
    assert answer.status == 202, answer
    service.until(lambda: (marks / "first").exists())
    return str(answer.data["run"])


def test_a_run_from_beginning_to_end(server: Service, tmp_path: Path) -> None:
    answer = post(server, "/runs", {"playbook": "slow", "variables": {"marks": str(tmp_path)}}, role="operator")
    assert answer.status == 202 and answer.headers["location"] == f"/runs/{answer.data['run']}", answer
    run = answer.data["run"]
    assert state(server, run) == "running"
    (tmp_path / "go").touch()
    server.until(lambda: state(server, run) == "done")
    shown = get(server, f"/runs/{run}").data
    assert [step["title"] for step in shown["steps"]] == ["First", "Wait", "Last"] and shown["key"] == "platform"
    assert run in [each["id"] for each in get(server, "/runs").data["runs"]]
    # The run does not wait for the line about its start.
    lines = sorted((line for line in server.audited() if line["run"] == run), key=lambda line: str(line["timestamp"]))
    assert [line["capability"] for line in lines] == ["runs.start", "command", "command", "command"]
    assert {line["key"] for line in lines} == {"platform"} and {line["role"] for line in lines} == {"operator"}
    assert lines[0]["requestId"] == answer.headers["x-request-id"] and len({line["requestId"] for line in lines}) == 4


def test_text_from_outside_is_never_a_template(server: Service) -> None:
    told = "{{ lookup('pipe', 'id') }} \u2028 \U0001f600 \x85 'x' \"y\" \\ # : -"
    run = post(server, "/runs", {"playbook": "quick", "variables": {"said": told}}).data["run"]
    server.until(lambda: state(server, run) == "done")
    assert get(server, f"/runs/{run}").data["steps"][0]["outcome"]["message"] == told


def test_events_can_be_followed_and_taken_up_again(server: Service, tmp_path: Path) -> None:
    run = start(server, tmp_path)
    heard: list[str] = []

    def follow(after: str) -> None:
        answer = server.ask("GET", f"/runs/{run}/events", None, {"X-Api-Key": server.key, "Last-Event-ID": after})
        heard.append(answer.text)

    listener = threading.Thread(target=follow, args=("0",))
    listener.start()
    connection = server.connect()
    connection.request("GET", f"/runs/{run}/events", None, {"X-Api-Key": server.key})
    live = connection.getresponse()
    first = b""
    while b"run_started" not in first:
        first += live.read1(65536)
    assert state(server, run) == "running", "events come while it runs"
    connection.close()
    (tmp_path / "go").touch()
    listener.join(60)
    events = parsed(heard[0])
    assert [event["event"] for _, event in events] == [
        "run_started", "play_started", *["step_started", "step_finished"] * 3, "run_finished",
    ]  # fmt: skip
    assert [number for number, _ in events] == list(range(1, 10)) and heard[0].endswith("event: end\ndata: {}\n\n")
    follow("7")
    assert parsed(heard[1]) == events[7:]
    assert "Last-Event-ID" in get(server, f"/runs/{run}/events?after=x").data["error"]


def parsed(text: str) -> list[tuple[int, dict[str, Any]]]:
    found = []
    for part in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in part.splitlines() if ": " in line and not line.startswith(":"))
        if "id" in lines:
            found.append((int(lines["id"]), json.loads(lines["data"])))
    return found


def test_cancel_then_resume_then_undo(server: Service, tmp_path: Path) -> None:
    run = start(server, tmp_path)
    assert post(server, f"/runs/{run}/resume").status == 409
    assert post(server, f"/runs/{run}/cancel", role="operator").status == 202
    (tmp_path / "go").touch()
    server.until(lambda: state(server, run) == "interrupted")
    assert not (tmp_path / "last").exists()
    assert post(server, f"/runs/{run}/cancel").status == 409
    assert post(server, f"/runs/{run}/resume", role="operator").status == 202
    server.until(lambda: state(server, run) == "done")
    assert (tmp_path / "last").exists()
    assert post(server, f"/runs/{run}/rollback").status == 202
    server.until(lambda: state(server, run) == "undone")
    assert not (tmp_path / "first").exists()
    assert post(server, f"/runs/{run}/rollback").status == 409
    what = [line["capability"] for line in server.audited() if line["run"] == run]
    assert [word for word in what if word.startswith("runs.")] == [
        "runs.start", "runs.resume", "runs.cancel", "runs.cancel", "runs.resume", "runs.rollback", "runs.rollback",
    ]  # fmt: skip


REFUSED = [
    ({}, "", 400, "playbook is missing"),
    ({"playbook": "nothing"}, "", 404, "there is no playbook 'nothing'"),
    ({"playbook": "../playbooks/quick"}, "", 404, "there is no playbook"),
    ({"playbook": "/etc/passwd"}, "", 404, "there is no playbook"),
    ({"playbook": "faulty"}, "", 400, "comand"),
    ({"playbook": "quick", "more": 1}, "", 400, "more: there is no such field"),
    ({"playbook": "quick", "variables": []}, "", 400, "variables: must be"),
    ({"playbook": "quick", "variables": {"a b": 1}}, "", 400, "variables: must be"),
    ({"playbook": "quick", "tags": "x"}, "", 400, "tags: must be"),
    ({"playbook": "quick", "limit": "nobody"}, "", 404, "nobody"),
    ({"playbook": "admin"}, "builder", 403, "needs the role admin"),
    ({"playbook": "slow"}, "observer", 403, "needs the role operator"),
    ({"playbook": "quick", "variables": {"ikoma_apps_root": "/"}}, "builder", 403, "ikoma_apps_root"),
    ({"playbook": "quick", "variables": {"ansible_host": "x"}}, "builder", 403, "ansible_host"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "role", "status", "said"), REFUSED, ids=[str(row[:2]) for row in REFUSED])
def test_what_is_refused_starts_nothing(server: Service, body: Any, role: str, status: int, said: str) -> None:
    before = len(get(server, "/runs?most=500").data["runs"])
    answer = post(server, "/runs", body, role=role)
    assert answer.status == status and said in answer.data["error"], answer
    assert len(get(server, "/runs?most=500").data["runs"]) == before
    line = server.audited()[-1]
    assert (line["capability"], line["result"]) == ("runs.start", "error")


def test_what_a_client_sends_is_no_expression(server: Service, tmp_path: Path) -> None:
    for said, ends in (("false", "done"), (f"lookup('pipe', 'touch {tmp_path}/reached') == ''", "failed")):
        run = post(server, "/runs", {"playbook": "judges", "variables": {"said": said}}).data["run"]
        server.until(lambda run=run, ends=ends: state(server, run) == ends)  # type: ignore[misc]
    assert not (tmp_path / "reached").exists(), "the server ran what a client sent"


def test_a_limited_key_sees_and_starts_its_own_only(server: Service, tmp_path: Path) -> None:
    file = KeyFile(server.folder / "keys.json")
    shop = file.change(lambda keys: keys.create("shop", Access.OPERATOR, applications=["shop"]))
    other = file.change(lambda keys: keys.create("other", Access.OPERATOR, hosts=["elsewhere"]))
    foreign = post(server, "/runs", {"playbook": "quick", "variables": {"said": "x"}}).data["run"]
    for key, variables in ((shop, {}), (shop, {"app": "blog"}), (other, {"app": "shop"})):
        assert post(server, "/runs", {"playbook": "quick", "variables": variables}, key=key).status == 403
    mine = post(server, "/runs", {"playbook": "quick", "variables": {"app": "shop", "said": "x"}}, key=shop)
    assert mine.status == 202
    assert [row["id"] for row in get(server, "/runs", key=shop).data["runs"]] == [mine.data["run"]]
    assert get(server, f"/runs/{foreign}", key=shop).status == 404
    assert post(server, f"/runs/{foreign}/rollback", key=shop).status == 404


def test_the_same_idempotency_key_never_executes_twice(server: Service, tmp_path: Path) -> None:
    first = server.call("apps.init", {"appName": "once"}, headers={"Idempotency-Key": "k1"})
    again = server.call("apps.init", {"appName": "once"}, headers={"Idempotency-Key": "k1"})
    assert first.text == again.text and again.headers["idempotent-replayed"] == "true"
    assert len([line for line in server.audited() if line["arguments"].get("appName") == "once"]) == 1
    other = server.call("apps.init", {"appName": "other"}, headers={"Idempotency-Key": "k1"})
    assert other.status == 422 and other.data["code"] == "reused"
    failed = [server.call("db.create", {"appName": "once"}, headers={"Idempotency-Key": "k2"}) for _ in range(2)]
    assert failed[0].status == 500 and failed[0].text == failed[1].text
    wrong = [server.call("apps.init", {}, headers={"Idempotency-Key": "k3"}) for _ in range(2)]
    assert [each.status for each in wrong] == [400, 400]
    assert server.call("apps.init", {"appName": "now"}, headers={"Idempotency-Key": "k3"}).status == 200
    assert server.call("apps.list", headers={"Idempotency-Key": "a b"}).status == 400
    body = {"playbook": "quick", "variables": {"said": "once"}}
    runs = [post(server, "/runs", body, once="r1") for _ in range(3)]
    assert {each.status for each in runs} == {202} and len({each.data["run"] for each in runs}) == 1


def test_twenty_at_once_with_one_key_are_one(server: Service) -> None:
    answers: list[Answer] = []

    def call() -> None:
        answers.append(server.call("apps.init", {"appName": "twenty"}, headers={"Idempotency-Key": "many"}))

    callers = [threading.Thread(target=call) for _ in range(20)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert {answer.status for answer in answers} <= {200, 409, 503}
    assert len([line for line in server.audited() if line["arguments"].get("appName") == "twenty"]) == 1


def test_long_tools_answer_at_once_where_it_is_preferred(server: Service, tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = f"while [ ! -e {go} ]; do sleep 0.05; done; echo done"
    answer = server.call("shell", {"cmd": script}, headers={"Prefer": "respond-async"})
    assert answer.status == 202
    run = answer.data["run"]
    assert state(server, run) == "running" and post(server, f"/runs/{run}/cancel").status == 409
    go.touch()
    server.until(lambda: state(server, run) == "done")
    assert get(server, f"/runs/{run}").data["steps"][0]["outcome"]["result"]["stdout"] == "done"
    looked = server.call("apps.list", headers={"Prefer": "respond-async"})
    assert looked.status == 202, "what only looks too"
    assert server.call("apps.nothing", headers={"Prefer": "respond-async"}).status == 404
    assert server.call("apps.init", headers={"Prefer": "respond-async"}).status == 400


def test_kill_9_in_the_middle(tmp_path: Path) -> None:
    write_playbooks(tmp_path)
    with serving(tmp_path) as service:
        marks = tmp_path / "marks"
        run = start(service, marks, once="start")
        calls: list[Answer | OSError] = []
        script = {"cmd": f"echo x >> {tmp_path}/executed; sleep 20"}

        def call() -> None:
            try:
                calls.append(service.call("shell", script, headers={"Idempotency-Key": "cut"}))
            except OSError as error:
                calls.append(error)

        caller = threading.Thread(target=call)
        caller.start()
        service.until(lambda: (tmp_path / "executed").exists())
        acknowledged = [service.call("apps.init", {"appName": f"a{number}"}) for number in range(3)]
        assert service.process is not None
        service.process.send_signal(signal.SIGKILL)
        service.process.wait()
        caller.join()
        service.process = None
        service.start()
        # The run is a process of its own and goes on; what was one call is known to have died.
        assert state(service, run) == "running"
        states = {row["what"]: row["state"] for row in get(service, "/runs").data["runs"]}
        assert states["POST /execute/shell"] == "died"
        again = service.call("shell", script, headers={"Idempotency-Key": "cut"})
        assert (again.status, again.data["code"]) == (409, "interrupted") and again.data["run"]
        assert (tmp_path / "executed").read_text() == "x\n"
        body = {"playbook": "slow", "variables": {"marks": str(marks)}}
        assert post(service, "/runs", body, once="start").data["run"] == run
        (marks / "go").touch()
        service.until(lambda: state(service, run) == "done")
        metrics = get(service, "/metrics").text
        assert "ikoma_locks_held 0.0" in metrics and "ikoma_runs_running 0.0" in metrics
        assert not verify(service.audit_log).findings
        ids = [line["requestId"] for line in service.audited()]
        assert all(ids.count(answer.headers["x-request-id"]) == 1 for answer in acknowledged)


def test_a_server_that_stops_lets_runs_finish_their_step(tmp_path: Path) -> None:
    write_playbooks(tmp_path)
    with serving(tmp_path) as service:
        run = start(service, tmp_path / "marks")
        assert service.process is not None
        connection = service.connect()
        connection.request("GET", f"/runs/{run}/events", None, {"X-Api-Key": service.key})
        stream = connection.getresponse()
        os.kill(service.process.pid, signal.SIGTERM)
        stopper = threading.Thread(target=lambda: service.process and service.process.wait())
        stopper.start()
        service.until(lambda: any(line["event"] == "stopping" for line in service.lines))
        time.sleep(0.3)  # in which it tells its runs
        (tmp_path / "marks/go").touch()
        stopper.join(60)
        service.process = None
        heard = stream.read().decode()  # it ends in order, and is taken up where it ended
        service.start()
        assert state(service, run) == "interrupted" and not (tmp_path / "marks/last").exists()
        assert post(service, f"/runs/{run}/resume").status == 202
        service.until(lambda: state(service, run) == "done")
        last = parsed(heard)[-1][0]
        headers = {"X-Api-Key": service.key, "Last-Event-ID": str(last)}
        rest = service.ask("GET", f"/runs/{run}/events", None, headers).text
        numbers = [number for number, _ in parsed(heard) + parsed(rest)]
        assert "event: end" not in heard and rest.endswith("event: end\ndata: {}\n\n")
        assert numbers == list(range(1, len(numbers) + 1)) and 0 < last < len(numbers)
