"""Every golden case below cases/, through the language and the engine on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.engine.golden import ONE_HOST, cases, options_of, play


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in cases()])
def test_case(case: dict[str, Any], tmp_path: Path) -> None:
    for name, text in case.get("files", {}).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    ran = play(tmp_path, case["playbook"], case.get("inventory", ONE_HOST), options_of(case))
    told = [(event.title, event.outcome.failure) for event in ran.report.failures]

    if "hosts" in case:
        expected = {host: {n: c for n, c in counts.items() if c} for host, counts in case["hosts"].items()}
        got = {host: ran.counts(host) for host in ran.report.hosts}
        assert got == expected, f"the counts differ; failures: {told}; order: {ran.order()}"
    if "said" in case:
        assert ran.said() == case["said"], f"debug said something else; failures: {told}"
    if "order" in case:
        assert ran.order() == case["order"], f"steps ran in another order; failures: {told}"
    for name, text in case.get("made", {}).items():
        assert (tmp_path / name).read_text() == text, f"{name} holds something else"
    for name in case.get("not_made", ()):
        assert not (tmp_path / name).exists(), f"{name} is there"
    if "undone" in case:
        assert ran.report.undone is case["undone"], f"undone is wrong; failures: {told}"
    if "error" in case:
        assert told, "nothing failed"
        failure = told[0][1]
        assert failure is not None
        assert case["error"] in f"{failure.message}\n{failure.evidence}\n{failure.remedy}", (
            f"the failure says {failure}"
        )
