"""Every argument and alias that Ansible documents for a module is taken here, or said to be left out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.language import left_out
from ikoma_play.tools import TOOLS

NOT_ARGUMENTS = {"free_form", "free-form", "key_value"}  # how the documentation shows text without a name
NOT_THERE = {"approve", "authorized_key"}  # ours, and a collection's


@pytest.fixture(scope="module")
def documented() -> dict[str, Any]:
    names = [f"ansible.builtin.{name}" for name in TOOLS.names() if "." not in name and name not in NOT_THERE]
    program = Path(sys.executable).with_name("ansible-doc")
    told = subprocess.run([str(program), "-j", *names], capture_output=True, text=True, check=True)
    return {name.rpartition(".")[2]: about["doc"] for name, about in json.loads(told.stdout).items()}


def test_no_argument_is_missing(documented: dict[str, Any]) -> None:
    lacking, seen = [], set()
    for name, about in documented.items():
        tool = TOOLS.find(name)
        assert tool is not None
        taken = {parameter.wire for parameter in tool.parameters} | set(tool.aliases)
        for argument, option in (about.get("options") or {}).items():
            if argument in NOT_ARGUMENTS:
                continue
            if argument not in taken and left_out.argument(name, argument):
                seen.update({argument, f"{name}.{argument}"})
                continue
            lacking += [f"{name}: {each}" for each in (argument, *option.get("aliases", ())) if each not in taken]
    assert len(documented) > 40 and not lacking
    assert not set(left_out.ARGUMENTS) - seen, "these are no arguments of Ansible's, or not left out"
