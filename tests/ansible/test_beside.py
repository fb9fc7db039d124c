"""The same playbook text here and in Ansible: exit code, counts by host, what debug said, files and their modes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ansible.beside import HERE, Ansible, ours
from tests.engine import golden


def cases() -> Iterator[Any]:
    """The engine's golden cases that Ansible has too, and those that are here to be compared."""
    for name, case in golden.cases():
        if case.get("ansible", True):
            yield pytest.param(case, id=f"engine/{name}")
    for path in sorted((HERE / "cases").glob("*.yml")):
        for case in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            yield pytest.param(case, id=f"{path.stem}: {case['name']}")


@pytest.fixture(scope="session")
def ansible(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ansible]:
    found = Ansible(tmp_path_factory.mktemp("ansible"))
    yield found
    found.close()


@pytest.mark.parametrize("case", list(cases()))
def test_the_same_as_ansible(case: dict[str, Any], ansible: Ansible, tmp_path: Path) -> None:
    theirs = ansible(tmp_path / "case", case)
    found = ours(tmp_path / "case", case)
    if case.get("ansible") == "unordered":
        for said in (*theirs.said.values(), *found.said.values()):
            said.sort()
    differ = [name for name in ("code", "hosts", "said", "files") if getattr(found, name) != getattr(theirs, name)]
    assert not differ, "\n".join(
        [f"{name}: here {getattr(found, name)}\n  in Ansible {getattr(theirs, name)}" for name in differ]
        + [f"failed here:\n{found.log}", f"Ansible said:\n{theirs.log}"]
    )


def test_there_are_enough_of_them() -> None:
    assert len(list(cases())) >= 150
