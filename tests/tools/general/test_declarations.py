"""The general tools as they are declared: every one can be loaded, and says what each argument is."""

from __future__ import annotations

import pytest

from ikoma_play.tools import TOOLS

GENERAL = [name for name, module in TOOLS._module_of.items() if ".general." in module]


@pytest.mark.parametrize("name", GENERAL)
def test_every_argument_is_described(name: str) -> None:
    tool = TOOLS.find(name)
    assert tool is not None and tool.summary.endswith("."), f"{name} says not what it does"
    silent = [parameter.wire for parameter in tool.parameters if not parameter.description]
    assert not silent, f"{name} says not what these are: {silent}"
    assert tool.schema()["type"] == "object"
    assert TOOLS.find(f"ansible.builtin.{name}") is tool


@pytest.mark.parametrize("name", GENERAL)
def test_over_http_only_admins_reach_the_host(name: str) -> None:
    """What runs, writes, reads or evaluates anything at all is for admins; the rest touches nothing."""
    tool = TOOLS.find(name)
    assert tool is not None
    harmless = {"approve", "fail", "ping", "set_fact", "pause", "wait_for_connection"}
    assert (tool.access.label == "admin") is (name not in harmless)
