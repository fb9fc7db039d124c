"""Every golden case on this machine and dry: outcome, files, the second time, and nothing changed when dry.

A case:

    name: what it shows
    before: {file: text or {content, mode, link}}      on the host; a name with / at its end is a directory
    runner: {file: …}                                   the runner's files
    variables: {…}
    arguments: {…}                                      DIR is the host's folder
    status: changed                                     default; or ok, skipped
    fails: {code: …, message: …, remedy: …}             instead of status
    result: {…}                                         what the result must hold; /…/ is a pattern
    diff: [[before, after], …]                          the diffs' texts
    after: {file: …}                                    everything that is there then; default: as before
    added: {file: …}                                    instead of after: what came on top, or gone: [file]
    again: ok                                           the second call's status; false: it is not called again
    check: changed                                      the status when dry, default as status; fails as fails
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.errors import StepError
from ikoma_play.model import Host, Outcome
from ikoma_play.transport.dry import DryTransport
from ikoma_play.transport.local import LocalTransport
from tests.tools.general import harness

CASES = harness.load_cases()
NAMES = [name for name, _ in CASES]


@pytest.fixture
def host(tmp_path: Path) -> Path:
    os.umask(0o022)
    folder = tmp_path / "host"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(("name", "case"), CASES, ids=NAMES)
def test_on_this_machine(name: str, case: dict[str, Any], host: Path, tmp_path: Path) -> None:
    scope = _prepared(case, host, tmp_path)
    before = harness.picture(host)
    on = LocalTransport(Host("here"))
    outcome = _call(on, scope, case, host)
    _judge(outcome, case, case.get("status", "changed"), case.get("fails"), host)
    expected = _expected(case, host, before)
    assert harness.picture(host) == expected, f"{name}: the files after it are not as they should be"
    again = case.get("again", "ok")
    if isinstance(outcome, Outcome) and again:
        second = _call(on, scope, case, host)
        assert isinstance(second, Outcome), f"{name}: the second time it failed: {second}"
        assert second.status == again, f"{name}: the second time it was {second.status}, not {again}: {second.diffs}"
        assert harness.picture(host) == expected, f"{name}: the second time changed files"


@pytest.mark.parametrize(("name", "case"), CASES, ids=NAMES)
def test_dry(name: str, case: dict[str, Any], host: Path, tmp_path: Path) -> None:
    scope = _prepared(case, host, tmp_path)
    scope.check = True
    before = harness.picture(host)
    on = DryTransport(LocalTransport(Host("here")))
    outcome = _call(on, scope, case, host)
    fails = None if "check" in case else case.get("fails")
    status = case.get("check", case.get("status", "changed"))
    _judge(outcome, case, status, fails, host, dry=True)
    assert harness.picture(host) == before, f"{name}: the check changed files"
    if status != "changed":
        assert not on.recorded, f"{name}: said to be {status}, but would have done {on.recorded}"


def _prepared(case: dict[str, Any], host: Path, tmp_path: Path) -> harness.RunScope:
    runner = tmp_path / "runner"
    runner.mkdir()
    harness.grow(host, case.get("before", {}))
    harness.grow(runner, case.get("runner", {}))
    return harness.RunScope(runner, harness.placed(case.get("variables", {}), host))


def _call(on: Any, scope: harness.RunScope, case: dict[str, Any], host: Path) -> Outcome | StepError:
    try:
        return harness.call(on, scope, case["tool"], harness.placed(case.get("arguments", {}), host))
    except StepError as error:
        return error


def _judge(
    outcome: Outcome | StepError, case: dict[str, Any], status: str, fails: Any, host: Path, dry: bool = False
) -> None:
    if fails is not None:
        assert isinstance(outcome, StepError), f"it should have failed with {fails}, but was {outcome}"
        found = {"code": outcome.code, "message": outcome.message, "remedy": outcome.remedy,
                 "evidence": outcome.evidence, "result": outcome.returned}  # fmt: skip
        assert not (wrong := harness.differences(found, harness.placed(fails, host), "failure")), wrong
        return
    assert isinstance(outcome, Outcome), f"it failed: {outcome.failure}"
    assert outcome.status == status, f"it was {outcome.status}, not {status}: {outcome}"
    if not dry or "check" not in case:
        wrong = harness.differences(outcome.result or {}, harness.placed(case.get("result", {}), host))
        assert not wrong, wrong
        if "diff" in case:
            texts = [[diff.before, diff.after] for diff in outcome.diffs]
            assert texts == harness.placed(case["diff"], host), f"the diffs are {texts}"


def _expected(case: dict[str, Any], host: Path, before: dict[str, Any]) -> dict[str, Any]:
    if "after" in case:
        return harness.expected_picture(host, case["after"])
    kept = {name: entry for name, entry in before.items() if name not in case.get("gone", ())}
    return dict(sorted((kept | harness.expected_picture(host, case.get("added", {}))).items()))
