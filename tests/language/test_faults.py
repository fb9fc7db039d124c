"""Golden cases: files as somebody writes them, and every fault that must be named, with its place and remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ikoma_play.language import explain
from ikoma_play.model import Fault

from .conftest import every_fault

CASES = Path(__file__).parent / "cases"


def cases() -> Iterator[Any]:
    for file in sorted(CASES.glob("*.yml")):
        for case in yaml.safe_load(file.read_text("utf-8")):
            yield pytest.param(case, id=f"{file.stem}: {case['name']}")


def in_short(fault: Fault) -> str:
    warning = "warning " if fault.warning else ""
    return f"{fault.position or '-'} {warning}{fault.code}"


@pytest.mark.parametrize("case", list(cases()))
def test_every_fault_is_named_where_it_is(case: Mapping[str, Any], write: Callable[[Mapping[str, str]], Path]) -> None:
    files = case["files"] if "files" in case else {"play.yml": case["play"]}
    write(files)
    found = every_fault(files, case.get("extra_vars", {}))
    expected = case.get("faults", [])
    told = "\n\n".join(map(explain, found)) or "no faults"
    assert [in_short(fault) for fault in found] == [entry["at"] for entry in expected], told
    for fault, entry in zip(found, expected, strict=True):
        whole = f"{fault.message}\n{fault.remedy}"
        for part in entry.get("says", []):
            assert part in whole, f"{part!r} is not said in\n{explain(fault)}"
