"""schemathesis against /openapi.json: whatever is sent, the answer is one that the document promises.

The server runs with --check, so that what an administrator's random calls would do is told and not done.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.core import NOT_SET
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from ikoma_play.model import Access
from ikoma_play.platform.api_keys import Keys
from tests.parts.chance import LONG
from tests.parts.serving import Service, serving

EXAMPLES = 100 if LONG else 2
MODES = schemathesis.GenerationMode
CONFIG = {"checks": {"max_response_time": 60.0}}
NUMBER = re.compile(r"\s*[+-]?\d+(\.\d*)?\s*")
WORDS = ("yes", "on", "true", "1", "y", "t", "no", "off", "false", "0", "n", "f")
PATHS = ("source", "src", "path", "paths", "dest", "chdir", "executable", "virtualenv", "requirements")
ADDRESSES = {
    "url": "http://127.0.0.1:9",
    "repo": "http://127.0.0.1:9",
    "host": "127.0.0.1",
    "index_url": "http://127.0.0.1:9",
}
WAITS = ("timeout", "delay", "sleep", "connect_timeout", "retries")


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
    """The body without null bytes, which no text may hold and JSON Schema cannot well say; what could be the whole
    disk becomes a directory of the test's, what could be anywhere a closed port here, and no wait is over a second."""
    if isinstance(body, str):
        return body.replace("\0", "")
    if isinstance(body, list):
        return [harmless(each, place) for each in body]
    if isinstance(body, dict):
        return {harmless(name, place): bounded(name, harmless(each, place), place) for name, each in body.items()}
    return body


def bounded(name: str, value: Any, place: Path) -> Any:
    """One argument that leads nowhere else and takes no longer; of a wrong type it stays as it is."""
    if isinstance(value, str) and name in PATHS:
        return f"{place}/{value}".replace("/..", "")
    if isinstance(value, str) and name in ADDRESSES:
        return ADDRESSES[name]
    if isinstance(value, list) and name in PATHS:
        return [bounded(name, each, place) for each in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and name in WAITS:
        return min(value, 1)
    return value


def freely_read(body: Any, shape: Any) -> Any:
    """The body as the document says that it is read: text that says a number or a truth for it, comma-separated
    text or a single value for a list, null for what is left out."""
    if isinstance(body, dict):
        shapes = shape.get("properties", {})
        return {name: freely_read(each, shapes.get(name, {})) for name, each in body.items() if each is not None}
    kinds = {shape.get("type"), *(each.get("type") for each in shape.get("anyOf", ()))}
    if isinstance(body, str) and "string" not in kinds:
        if "boolean" in kinds and body.strip().lower() in WORDS:
            return True
        if kinds & {"integer", "number"} and NUMBER.fullmatch(body):
            return float(body) if "." in body else int(body)
        if "array" in kinds:
            return [each.strip() for each in body.split(",")] if body.strip() else []
    if isinstance(body, (int, float)) and "array" in kinds and not kinds & {"integer", "number", "boolean", "string"}:
        return [body]
    return body


def harmlessly_wrong(case: Any) -> bool:
    """Whether what is wrong with a request never comes to the server, or is nothing to it: the key is sent with every
    one, and names in the query that nobody asked for are passed over."""
    wrong = getattr(case.meta.phase.data, "mutations", ())
    return bool(wrong) and all(
        each.original_value == "X-Api-Key"
        or (each.parameter_location is ParameterLocation.QUERY and each.keywords == ("additionalProperties",))
        for each in wrong
    )


def left_out(case: Any, response: Any) -> list[Any]:
    """The checks that this one answer need not stand: a tool that fails answers 500 and says so, a name for a request
    that stood for another one is refused however well it is formed, and a body that is read freely, or none where
    none is needed, is not refused."""
    code = response.json().get("code") if response.status_code in (422, 500) else None
    if response.status_code == 500 and case.path.startswith("/execute/") and code != "internal":
        return [not_a_server_error]
    if code == "reused":
        return [positive_data_acceptance]
    if harmlessly_wrong(case):
        return [negative_data_rejection]
    wrong = {place for place, part in case.meta.components.items() if part.mode.is_negative}
    if response.status_code == 200 and wrong <= {ParameterLocation.BODY}:
        wanted = next(iter(case.operation.body), None)
        if case.body is NOT_SET or (wanted and wanted.is_valid(freely_read(case.body, wanted.definition["schema"]))):
            return [negative_data_rejection]
    return []


def worth_asking(role: str, operation: Any) -> bool:
    """An administrator calls everything; others what they just may and what they just may not."""
    needed = operation.definition.raw.get("x-role")
    return LONG or role == "admin" or needed is None or 0 <= Access[needed.upper()] - Access[role.upper()] <= 1


@pytest.mark.timeout(7200 if LONG else 600)
@pytest.mark.parametrize("role", [access.label for access in Access])
def test_every_answer_is_one_that_was_promised(
    role: str, served: tuple[Service, dict[str, str]], tmp_path: Path
) -> None:
    service, keys = served
    address = f"http://127.0.0.1:{service.port}"
    headers = {"X-Api-Key": keys[role]}
    document = service.ask("GET", "/openapi.json", headers=headers).data
    schema = schemathesis.openapi.from_dict(document, config=SchemathesisConfig.from_dict(CONFIG))
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
            case.validate_response(response, headers=headers, excluded_checks=left_out(case, response))
            asked.add(response.status_code)

        ask()

    for found in schema.get_all_operations():
        operation = found.ok()
        if worth_asking(role, operation):
            takes = {"requestBody", "parameters"} & set(operation.definition.raw)
            for mode in MODES if takes else [MODES.POSITIVE]:
                attempt(operation, mode)
    assert {200, 400} <= asked
    assert asked <= {200, 202, 400, 401, 403, 404, 405, 409, 422, 500}, asked
