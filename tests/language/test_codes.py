"""The codes of findings: all of them are in the table and in the README, and a comment silences what it may."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ikoma_play.language.codes import ALWAYS_TOLD, SILENCED_BY_COMMENT
from ikoma_play.model import Fault
from tests.parts.command import CHECKOUT

from .conftest import every_fault
from .test_faults import cases

_ADDING = ("add", "_fault", "Fault")


def written() -> Iterator[str]:
    """Every code that the language's source names where it adds a fault."""
    for path in [*(CHECKOUT / "ikoma_play/language").glob("*.py"), CHECKOUT / "ikoma_play/binding.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in _ADDING:
                first = node.args[0] if node.args else None
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    yield first.value


def test_the_table_has_every_code() -> None:
    table = {*SILENCED_BY_COMMENT, *ALWAYS_TOLD}
    assert set(written()) <= table
    elsewhere = {"left-out", "recursive-alias", "unknown-alias", "unquoted-template"}  # said by a variable
    assert table - set(written()) <= elsewhere, "the table has codes that nothing finds"


def test_the_readme_has_the_table() -> None:
    rows = ["| code | what was found |", "| --- | --- |"]
    rows += [f"| `{code}` | {about} |" for code, about in SILENCED_BY_COMMENT.items()]
    table = "\n".join(rows)
    readme = (CHECKOUT / "README.md").read_text()
    assert table in readme, f"the README should have\n\n{table}\n"
    rest = ", ".join(f"`{code}`" for code in ALWAYS_TOLD)
    assert rest in " ".join(readme.split()), f"the README should have\n\n{rest}\n"


def found_in(files: Mapping[str, str], case: Mapping[str, Any], code: str) -> list[Fault]:
    return [fault for fault in every_fault(files, case.get("extra_vars", {})) if fault.code == code]


def commented(files: Mapping[str, str], fault: Fault) -> dict[str, str] | None:
    """The files with the comment above the line; None where that makes it something else than YAML."""
    assert fault.position is not None
    name = fault.position.file
    if not isinstance(files.get(name), str) or not name.endswith((".yml", ".yaml")):
        return None
    lines = files[name].split("\n")
    line = lines[fault.position.line - 1]
    lines.insert(fault.position.line - 1, f"{line[: len(line) - len(line.lstrip())]}# ikoma-play: allow {fault.code}")
    changed = "\n".join(lines)
    try:
        same = yaml.compose(changed) is not None and yaml.serialize(yaml.compose(changed)) == yaml.serialize(
            yaml.compose(files[name])
        )
    except yaml.YAMLError:
        return None
    return {**files, name: changed} if same else None


EXAMPLES: list[Mapping[str, Any]] = [case.values[0] for case in cases()]


def silent(code: str, write: Callable[[Mapping[str, str]], Path]) -> list[bool]:
    """Of each finding of this code in the golden cases, whether a comment silences it."""
    came = []
    for case in EXAMPLES:
        if not any(entry["at"].endswith(f" {code}") for entry in case.get("faults", [])):
            continue
        files = case["files"] if "files" in case else {"play.yml": case["play"]}
        write(files)
        before = found_in(files, case, code)
        for fault in before:
            changed = commented(files, fault) if fault.position else None
            if changed is not None:
                write(changed)
                came.append(len(found_in(changed, case, code)) < len(before))
                write(files)
    return came


def test_every_code_has_a_case() -> None:
    found = {entry["at"].split()[-1] for case in EXAMPLES for entry in case.get("faults", [])}
    assert not ({*SILENCED_BY_COMMENT, *ALWAYS_TOLD} - found), "no golden case finds these"


@pytest.mark.parametrize("code", SILENCED_BY_COMMENT)
def test_a_comment_silences_it(code: str, write: Callable[[Mapping[str, str]], Path]) -> None:
    came = silent(code, write)
    assert came, f"no golden case finds {code} where a comment could stand"
    assert any(came) if code in ("missing-file", "no-hosts") else all(came)


@pytest.mark.parametrize("code", ["wrong-type", "unknown-tool", "unknown-argument", "missing-role", "left-out"])
def test_what_leaves_nothing_to_run_is_always_told(code: str, write: Callable[[Mapping[str, str]], Path]) -> None:
    came = silent(code, write)
    assert came and not any(came)
