"""What `ansible-playbook --syntax-check` refuses, `ikoma-play check` refuses too, and says where and why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ansible.beside import HERE, Ansible
from tests.engine.golden import ONE_HOST
from tests.parts.command import Ikoma

CASES: list[dict[str, Any]] = yaml.safe_load((HERE / "syntax.yml").read_text())


@pytest.fixture(scope="module")
def ansible(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ansible]:
    found = Ansible(tmp_path_factory.mktemp("ansible"))
    yield found
    found.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_what_ansible_refuses_is_refused_with_its_place(case: dict[str, Any], ansible: Ansible, tmp_path: Path) -> None:
    folder = tmp_path / "case"
    given = {key: value for key, value in case.items() if key in ("playbook", "files")}
    theirs = ansible(folder, {**given, "inventory": ONE_HOST, "arguments": ["--syntax-check"]})
    assert theirs.code != 0, f"ansible-playbook accepts it:\n{theirs.log}"
    ours = Ikoma(folder)("check", "site.yml", "-i", "hosts", expect=None)
    assert ours.code != 0, f"accepted here; ansible-playbook says:\n{theirs.log}"
    missing = [words for words in case["says"] if words not in ours.text]
    assert not missing, f"{missing} not in:\n{ours.text}"
