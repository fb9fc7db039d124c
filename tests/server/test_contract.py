"""What the server promises: statuses, bodies, roles, the audit line of each call."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from ikoma_play.tools import TOOLS
from tests.parts.command import CHECKOUT
from tests.parts.serving import Service, serving

HOLD = """
import sys, time
from ikoma_play.journal.locks import Locks
from ikoma_play.journal.opening import open_store
Locks(open_store("sqlite:.ikoma/journal.db")).take(sys.argv[1], "20260101-000000-held")
print("held", flush=True)
time.sleep(60)
"""


def holding(service: Service, lock: str) -> subprocess.Popen[str]:
    """A process that holds a lock of the server's journal."""
    argv = [sys.executable, "-c", HOLD, lock]
    held = subprocess.Popen(
        argv, cwd=service.folder, env={"PYTHONPATH": str(CHECKOUT)}, stdout=subprocess.PIPE, text=True
    )
    assert held.stdout is not None
    assert held.stdout.readline() == "held\n"
    return held


def test_a_tool_answers_with_its_result(service: Service) -> None:
    made = service.call("apps.init", {"appName": "shop"}, role="builder")
    assert made.status == 200
    assert made.data["success"] is True
    assert made.result["details"]["path"] == str(service.apps / "shop")
    assert (service.apps / "shop/docker-compose.yml").is_file()
    assert "shop" in service.call("apps.list").result
    assert "POSTGRES_DB=" in service.call("apps.env.example", {"appName": "shop"}).result


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", ""]
)
def test_the_body_is_json_whatever_its_content_type_says(service: Service, content_type: str) -> None:
    answer = service.call("apps.status", {"appName": "none"}, headers={"Content-Type": content_type})
    assert answer.result["exists"] is False


@pytest.mark.parametrize("body", ["", "{}", "  \n", "\ufeff{}"])
def test_an_empty_body_is_no_arguments(service: Service, body: str) -> None:
    assert service.call("apps.list", body.encode()).status == 200


def test_raw_line_breaks_inside_strings_are_taken(service: Service) -> None:
    """As the runbook's migration sends them: the SQL's own line breaks, between quotes."""
    body = '{"appName":"shop","sql":"CREATE TABLE a (\n\tid int\n);\r\n"}'
    answer = service.call("db.migrate", body)
    assert answer.status == 500, "there is no PostgreSQL here, and the body was understood"
    assert answer.data["code"] == "unavailable"
    assert service.audited()[-1]["arguments"]["sql"] == "CREATE TABLE a (\n\tid int\n);\r\n"


def test_every_wrong_field_is_named(service: Service) -> None:
    answer = service.call("deploy.up", {"appname": "shop", "env": 3, "timeout": "soon", "more": 1})
    assert answer.status == 400
    assert set(answer.data["fields"]) == {"appname", "appName", "env", "timeout", "more"}
    assert answer.data["success"] is False


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("[]", "must be a JSON object"),
        ("nonsense", "not JSON"),
        ('{"appName": "a", "appName": "b"}', "twice"),
        ('{"appName": NaN}', "NaN"),
        ('{"appName": 1e999}', "too large"),
        (b'{"appName": "\xff"}', "not UTF-8"),
        ('{"appName": "a\\u0000"}', "null byte"),
        ('{"appName": "\\ud800"}', "surrogate"),
        ('{"a":' * 40 + "1" + "}" * 40, "nested"),
        ("[" * 200_000, "nested"),
    ],
)
def test_bodies_that_are_refused(service: Service, body: str | bytes, said: str) -> None:
    answer = service.call("apps.status", body)
    assert answer.status == 400, answer
    assert said in answer.data["error"]


def test_a_body_that_is_too_large_is_refused(service: Service) -> None:
    answer = service.call("apps.status", "x" * (1024 * 1024 + 1))
    assert (answer.status, answer.data["code"]) == (413, "too-large")


def test_an_unknown_tool_is_named_with_its_neighbour(service: Service) -> None:
    answer = service.call("deploy.upp", {})
    assert answer.status == 404
    assert "Did you mean 'deploy.up'?" in answer.data["error"]


@pytest.mark.parametrize("key", ["", "wrong", "KEY", "é", "a" * 5000])
def test_without_a_valid_key_nobody_gets_in(service: Service, key: str) -> None:
    answer = service.call("apps.list", key=key.encode().decode("latin-1"))
    assert answer.status == 401
    assert answer.data["success"] is False
    assert service.audited()[-1]["capability"] == "authentication"


def test_health_needs_no_key_and_says_little(service: Service) -> None:
    answer = service.ask("GET", "/health")
    assert answer.status == 200
    assert set(answer.data) == {"status", "version"}
    assert answer.data["status"] == "ok"


def test_capabilities_need_a_key_and_know_the_role(service: Service) -> None:
    assert service.ask("GET", "/capabilities").status == 401
    asked = service.ask("GET", "/capabilities", headers={"X-Api-Key": service.key, "X-Role": "operator"}).data
    allowed = {each["name"]: each["allowed"] for each in asked["capabilities"]}
    assert (allowed["deploy.up"], allowed["db.create"], allowed["command"]) == (True, False, False)
    assert "include_tasks" not in allowed, "what steers a playbook is no call"


@pytest.mark.parametrize(
    "tool", [tool for tool in TOOLS.all() if tool.dotted and tool.access], ids=lambda tool: tool.name
)
def test_a_lower_role_is_refused_with_what_it_needs(service: Service, tool: object) -> None:
    answer = service.call(tool.name, {"appName": "shop"}, role="observer")  # type: ignore[attr-defined]
    assert answer.status == 403
    assert (answer.data["required"], answer.data["current"]) == (tool.access.label, "observer")  # type: ignore[attr-defined]


def test_a_word_that_is_no_role_is_refused(service: Service) -> None:
    answer = service.call("apps.list", role="opperator")
    assert answer.status == 400
    assert "X-Role" in answer.data["fields"]
    assert "operator" in answer.data["remedy"]


def test_a_host_that_is_not_in_the_inventory_is_refused(service: Service) -> None:
    assert service.call("apps.list", {"host": "localhost"}).status == 200
    answer = service.call("apps.list", {"host": "elsewhere"})
    assert answer.status == 400
    assert "host" in answer.data["fields"]


def test_what_a_client_sends_is_no_template(service: Service) -> None:
    answer = service.call("command", {"argv": ["echo", "{{ 6 * 7 }}", "{% raw %}"]})
    assert answer.result["stdout"] == "{{ 6 * 7 }} {% raw %}"


def test_a_failing_tool_is_told_without_a_traceback(service: Service) -> None:
    answer = service.call("apps.health", {"appName": "nowhere"})
    assert answer.status == 500
    assert answer.data["success"] is False
    assert "nowhere" in answer.data["error"]
    assert "Traceback" not in answer.text


def test_what_nobody_foresaw_is_answered_logged_and_audited(tmp_path: Path) -> None:
    """The server is given a part that breaks. The log says where; what an error says may hold a value, and is told
    nowhere."""
    (tmp_path / "sitecustomize.py").write_text(
        "from ikoma_play.server.calls import Calls\n\n\n"
        "def broken(*_):\n    raise RuntimeError('a fault of our own')\n\n\n"
        "Calls._performed = broken\n"
    )
    with serving(tmp_path / "server", environment={"PYTHONPATH": f"{tmp_path}{os.pathsep}{CHECKOUT}"}) as service:
        answer = service.call("apps.init", {"appName": "a"}, headers={"X-Request-Id": "broken.1"})
        assert (answer.status, answer.data["code"], answer.data["success"]) == (500, "internal", False)
        assert "Traceback" not in answer.text and "of our own" not in answer.text
        (line,) = service.audited()
        assert (line["capability"], line["result"], line["requestId"]) == ("apps.init", "error", "broken.1")
        assert line["arguments"] == {"appName": "a"} and "the server itself failed" in line["error"]
        service.until(lambda: any(said["event"] == "fault" for said in service.lines))
        (said,) = (said for said in service.lines if said["event"] == "fault")
        assert (said["error"], said["requestId"]) == ("RuntimeError", "broken.1") and "broken" in said["where"][-1]
        assert "of our own" not in json.dumps(service.lines)
        assert service.ask("GET", "/health").status == 200, "the server goes on"


def test_a_locked_application_says_by_whom(service: Service) -> None:
    """Another process has it: a run from the command line, say."""
    service.call("apps.init", {"appName": "busy"})
    holder = holding(service, f"application busy on {platform.node()}")
    try:
        answer = service.call("deploy.down", {"appName": "busy"})
        assert answer.status == 409
        assert f"process {holder.pid}" in answer.data["error"]
    finally:
        holder.kill()
        holder.wait()
    assert service.call("deploy.down", {"appName": "busy"}).status != 409, "the lock of a dead process is none"


def test_each_call_is_one_line_of_the_audit_log(service: Service) -> None:
    before = len(service.audited())
    answers = [
        service.call("apps.list", headers={"X-Request-Id": "my-own.id"}),
        service.call("apps.list", {"x": 1}),
        service.call("no.tool"),
        service.call("apps.init", {"appName": "a"}, role="observer"),
        service.call("apps.health", {"appName": "gone"}, role="observer"),
    ]
    assert [answer.status for answer in answers] == [200, 400, 404, 403, 500]
    lines = service.audited()[before:]
    assert [line["capability"] for line in lines] == ["apps.list", "apps.list", "no.tool", "apps.init", "apps.health"]
    assert [line["result"] for line in lines] == ["success", "error", "error", "error", "error"]
    assert lines[0]["requestId"] == answers[0].headers["x-request-id"] == "my-own.id"
    assert lines[4]["role"] == "observer"
    assert lines[4]["arguments"] == {"appName": "gone"}
    assert '"appName":"gone"' in service.audit_log.read_text().splitlines()[-1]


def test_secrets_in_arguments_are_in_no_log(service: Service) -> None:
    service.call("apps.init", {"appName": "vault"})
    secret = "the-canary-of-secrets-91"
    service.call("apps.env.write", {"appName": "vault", "values": {"API_TOKEN": secret, "PORT": 80}})
    service.call("apps.env.write", {"appName": "vault", "values": {"API_TOKEN": secret}}, role="observer")
    service.call("apps.env.write", {"appName": "vault", "values": {"API_TOKEN": secret}, "password": secret})
    assert secret in (service.apps / "vault/.env").read_text()
    assert secret not in service.audit_log.read_text()
    assert secret not in json.dumps(service.lines)
    journal = b"".join(path.read_bytes() for path in (service.folder / ".ikoma").iterdir() if path.is_file())
    assert secret.encode() not in journal


def test_answers_carry_security_headers_and_an_id(service: Service) -> None:
    for answer in (service.call("apps.list"), service.call("apps.list", key=""), service.ask("GET", "/nothing")):
        headers = answer.headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["content-type"] == "application/json"
        assert headers["x-request-id"]
        assert headers["server"] == "ikoma-play"


def test_other_methods_are_told_the_right_one(service: Service) -> None:
    answer = service.ask("GET", "/execute/apps.list", headers={"X-Api-Key": service.key})
    assert answer.status == 405
    assert "POST" in answer.headers["allow"]


def test_limits_say_when_to_come_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    env = {"RATE_LIMIT_PER_KEY": "3", "RATE_LIMIT_FAILURES": "2", "RATE_LIMIT_PER_ADDRESS": "100"}
    with serving(tmp_path_factory.mktemp("limits"), env=env) as service:
        statuses = [service.call("apps.list").status for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        refused = service.call("apps.list")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert [service.call("apps.list", key="wrong").status for _ in range(3)] == [401, 401, 429]
        assert service.call("apps.list").status == 429, "an address that guesses keys is not even looked at"
        lines = [line for line in service.audited() if line["capability"] == "authentication"]
        assert len(lines) == 2, "failed attempts are in the audit log, and cannot flood it"
        service.write_env(RATE_LIMIT_PER_KEY="0", RATE_LIMIT_FAILURES="0")
        assert service.call("apps.list").status == 200, "a changed .env counts without a restart"
