"""No secret is in any event: by the tool's declaration, by its name, by no_log, by what a tool keeps secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec import Struct
from msgspec.structs import asdict

from ikoma_play.engine import Options
from ikoma_play.engine.masking import MASK, Secrets, looks_secret
from ikoma_play.events import Event
from ikoma_play.model import Step
from tests.engine.golden import Ran, play

CANARY = "canary-7f3a\"'é"


def told(events: list[Event]) -> str:
    """Everything that the events say, but for the steps as they were written."""

    def plain(value: object) -> object:
        if isinstance(value, Step):
            return value.position.line
        if isinstance(value, Struct):
            return {name: plain(each) for name, each in asdict(value).items()}
        if isinstance(value, dict):
            return {str(key): plain(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(each) for each in value]
        return str(value)

    return json.dumps(plain(events), ensure_ascii=False)


def assert_silent(ran: Ran, *secrets: str) -> None:
    said = told(ran.events) + told([*ran.report.failures])
    for secret in secrets:
        for spelling in (secret, json.dumps(secret)[1:-1]):
            assert spelling not in said, f"{spelling!r} is told: …{said[max(0, said.find(spelling) - 200) :][:400]}…"
    assert MASK in said, "nothing was masked, so the test proves nothing"


ECHO = """{shell: 'echo "$X"', environment: {X: '{{ db_password }}'}}"""
CRY = """shell: 'echo "$X" >&2; exit 1', environment: {X: '{{ db_password }}'}"""


@pytest.mark.parametrize(
    "step",
    [
        pytest.param("{debug: {msg: 'is {{ db_password }}'}}", id="a variable by its name"),
        pytest.param(ECHO, id="in output"),
        pytest.param(f"{{{CRY}}}", id="in errors"),
        pytest.param("{copy: {content: '{{ db_password }}', dest: '{{ playbook_dir }}/x'}}", id="in diffs"),
        pytest.param("{name: 'with {{ db_password }}', debug: {msg: x}}", id="in titles"),
        pytest.param("{debug: {msg: '{{ item }}'}, loop: ['{{ db_password }}']}", id="in items"),
        pytest.param("{fail: {msg: '{{ db_password }}'}}", id="in failures"),
        pytest.param("{debug: {msg: '{{ env }}'}}", id="inside a mapping"),
        pytest.param("{debug: {msg: '{{ db_password | urlencode }}'}}", id="spelled for a URL"),
        pytest.param("{debug: {msg: '{{ env[db_password] }}'}}", id="in errors of templates"),
        pytest.param(f"{{{CRY}, retries: 1, delay: 0}}", id="in retries"),
    ],
)
def test_secrets_by_name(step: str, tmp_path: Path) -> None:
    secrets = json.dumps({"db_password": CANARY, "env": {"POSTGRES_PASSWORD": "other-canary-9"}}, ensure_ascii=False)
    play_text = f"- hosts: h1\n  vars: {secrets}\n  tasks: [{step}]\n"
    ran = play(tmp_path, play_text, options=Options(diff=True))
    assert_silent(ran, CANARY, "other-canary-9")


def test_no_log_hides_arguments_and_results(tmp_path: Path) -> None:
    ran = play(
        tmp_path,
        f"""
- hosts: h1
  tasks:
    - {{shell: "echo {CANARY[:11]}9", no_log: true, register: r}}
    - {{debug: {{msg: "{{{{ r.stdout }}}}"}}}}
    - {{shell: "echo {CANARY[:11]}8; false", no_log: true, ignore_errors: true, loop: [1]}}
""",
    )
    assert_silent(ran, f"{CANARY[:11]}9", f"{CANARY[:11]}8")
    assert ran.finished[0].outcome.hidden
    assert ran.finished[0].outcome.result is None
    assert not ran.finished[0].arguments


def test_extra_variables_and_urls(tmp_path: Path) -> None:
    ran = play(
        tmp_path,
        "- hosts: h1\n  tasks:\n    - debug: {msg: '{{ api_token }} {{ url }}'}\n",
        options=Options(extra_vars={"api_token": "extra-canary", "url": "postgresql://me:url-canary@host/db"}),
    )
    assert_silent(ran, "extra-canary", "url-canary")
    assert "postgresql://me:********@host/db" in ran.finished[0].outcome.message


@pytest.mark.parametrize(
    "name",
    ["password", "db_password", "POSTGRES_PASSWORD", "apiToken", "api_key", "API_KEY_HASH", "private_key", "dbPassword",
     "secret", "aws_secret_access_key", "passphrase", "ansible_become_pass"],
)  # fmt: skip
def test_names_that_look_secret(name: str) -> None:
    assert looks_secret(name)


@pytest.mark.parametrize("name", ["password_file", "token_url", "passenger", "secret_name", "keyboard", "app", "path"])
def test_names_that_do_not(name: str) -> None:
    assert not looks_secret(name)


def test_short_and_ordinary_values_do_not_make_output_unreadable() -> None:
    secrets = Secrets()
    for value in ("", "a", "abc", "true", "None"):
        secrets.see("password", value)
    assert secrets.mask("abc true None a") == "abc true None a"


def test_lines_of_a_key_are_masked_one_by_one() -> None:
    secrets = Secrets()
    secrets.see("private_key", "-----BEGIN KEY-----\nAAAABBBBCCCCDDDDEEEE\n-----END KEY-----\n")
    assert "AAAABBBB" not in secrets.mask("found AAAABBBBCCCCDDDDEEEE there")
