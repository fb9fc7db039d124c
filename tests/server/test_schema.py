"""schemathesis against /openapi.json: whatever is sent, the answer is one that the document promises.

The server runs with --check, so that what an administrator's random calls would do is told and not done.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS, load_all_checks, not_a_server_error

from ikoma_play.model import Access
from ikoma_play.platform.api_keys import Keys
from tests.parts.serving import Service, serving

load_all_checks()
LONG = bool(os.environ.get("IKOMA_TESTS_LONG"))
EXAMPLES = 100 if LONG else 2
MODES = schemathesis.GenerationMode
# Left out: our arguments are read as generously over HTTP as in a playbook ("5" for 5, a comma-separated text for a
# list), so not all that the schema excludes is refused; a failing tool answers 500, which is looked at below; and
# response times are the machine's.
LEFT_OUT = ("negative_data_rejection", "not_a_server_error", "max_response_time")
# Tools that wait for minutes, look through whole disks or ask the network, as they are told to.
SLOW = ("wait_for", "wait_for_connection", "find", "apt", "package", "pip", "git", "get_url", "uri", "setup", "fetch",
        "async_status", "assemble", "slurp", "unarchive", "copy", "script")  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, dict[str, str]]]:
    folder = tmp_path_factory.mktemp("schema")
    keys, shown = Keys(), dict[str, str]()
    for access in Access:
        keys, shown[access.label] = keys.create(access.label, access)
    (folder / "keys.json").write_text(keys.text)
    with serving(folder, words=("--check",)) as service:
        yield service, shown


def harmless(body: Any, place: Path) -> Any:
    """The body without null bytes, which no text may hold and JSON Schema cannot well say; a random directory of the
    runner, which could be the whole disk, becomes one of the test's."""
    if isinstance(body, str):
        return body.replace("\0", "")
    if isinstance(body, list):
        return [harmless(each, place) for each in body]
    if isinstance(body, dict):
        if isinstance(body.get("source"), str):
            body = {**body, "source": f"{place}/{body['source']}".replace("/..", "")}
        return {harmless(name, place): harmless(each, place) for name, each in body.items()}
    return body


def worth_asking(role: str, operation: Any) -> bool:
    """An administrator calls everything; others what they just may and what they just may not."""
    needed = operation.definition.raw.get("x-role")
    if operation.path.removeprefix("/execute/") in SLOW:
        return False
    return LONG or role == "admin" or needed is None or 0 <= Access[needed.upper()] - Access[role.upper()] <= 1


@pytest.mark.parametrize("role", [access.label for access in Access])
def test_every_answer_is_one_that_was_promised(
    role: str, served: tuple[Service, dict[str, str]], tmp_path: Path
) -> None:
    service, keys = served
    address = f"http://127.0.0.1:{service.port}"
    headers = {"X-Api-Key": keys[role]}
    document = service.ask("GET", "/openapi.json", headers=headers).data
    schema = schemathesis.openapi.from_dict(document)
    left_out = [check for check in CHECKS.get_all() if check.__name__ in LEFT_OUT]
    assert not_a_server_error in left_out
    asked: set[int] = set()

    def attempt(operation: Any, mode: Any) -> None:
        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=EXAMPLES, deadline=None, database=None, derandomize=not LONG,
            phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def ask(case: Any) -> None:
            case.body = harmless(case.body, tmp_path)
            response = case.call(base_url=address, headers=headers, timeout=120)
            case.validate_response(response, headers=headers, excluded_checks=left_out)
            asked.add(response.status_code)
            if response.status_code == 500:
                said = response.json()
                assert said["code"] != "internal", f"{case.method} {case.path} {case.body!r}: {said}"

        ask()

    for found in schema.get_all_operations():
        operation = found.ok()
        if worth_asking(role, operation):
            takes = {"requestBody", "parameters"} & set(operation.definition.raw)
            for mode in MODES if takes else [MODES.POSITIVE]:
                attempt(operation, mode)
    assert {200, 400} <= asked
    assert asked <= {200, 202, 400, 401, 403, 404, 405, 409, 422, 500}, asked
