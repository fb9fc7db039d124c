"""Ansible's order of precedence: every neighbouring pair, and what hosts see of one another."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from ikoma_play.language.templating import Layer
from ikoma_play.language.variables import HostVariables, HostVars, Layers, Named, PlayVariables
from ikoma_play.model import Host, Play, Position, RoleRef, Step

HERE = Position("p.yml", 1)
RANKS = [
    "role defaults",
    "inventory",
    "facts",
    "play vars",
    "vars_prompt",
    "vars_files",
    "role vars",
    "block vars",
    "step vars",
    "include_vars",
    "set_fact and register",
    "role params",
    "include params",
    "extra vars",
]


def view(ranks: dict[str, Any]) -> Any:
    """`x` as it is seen where each of these ranks gives it its own name for a value."""

    def at(rank: str) -> dict[str, Any]:
        return {"x": rank} if rank in ranks else {}

    role = RoleRef("r", "/r", at("role defaults"), at("role vars"), at("role params"))
    play = Play("all", HERE, (), roles=(role,), vars=at("play vars"))
    step = Step("debug", {}, HERE, role=role, vars=(at("block vars"), at("step vars")))
    host = HostVariables(Host("h", (), at("inventory")), Layer(at("extra vars")), {})
    host.facts.update(at("facts"))
    host.included.update(at("include_vars"))
    host.results.update(at("set_fact and register"))
    host.files = (Layer(at("vars_files")),)
    variables = PlayVariables(play, Layers(), at("vars_prompt"))
    return host.view(variables, step, (Layer(at("include params")),))


@pytest.mark.parametrize(("below", "above"), list(pairwise(RANKS)))
def test_neighbours(below: str, above: str) -> None:
    assert view({below: 1, above: 1})["x"] == above
    assert view({below: 1})["x"] == below


def test_all_at_once() -> None:
    for number, rank in enumerate(RANKS):
        assert view(dict.fromkeys(RANKS[: number + 1]))["x"] == rank


def test_a_name_that_nobody_gave() -> None:
    with pytest.raises(KeyError):
        view({})["x"]
    assert "x" not in view({})


def test_the_roles_of_a_play_are_seen_by_all_of_it() -> None:
    role = RoleRef("r", "/r", {"d": 1}, {"v": 2})
    play = PlayVariables(Play("all", HERE, (), roles=(role,)), Layers())
    host = HostVariables(Host("h"), Layer({}), {})
    seen = host.view(play, Step("debug", {}, HERE))
    assert (seen["d"], seen["v"]) == (1, 2)


def test_a_step_of_a_role_sees_its_own_role_first() -> None:
    one, two = RoleRef("one", "/one", {"d": 1}, {"v": 1}), RoleRef("two", "/two", {"d": 2}, {"v": 2})
    play = PlayVariables(Play("all", HERE, (), roles=(one, two)), Layers())
    host = HostVariables(Host("h"), Layer({}), {})
    for role, value in ((one, 1), (two, 2)):
        seen = host.view(play, Step("debug", {}, HERE, role=role))
        assert (seen["d"], seen["v"], seen["role_name"]) == (value, value, role.name)


def test_what_was_set_is_never_a_template() -> None:
    host = HostVariables(Host("h", (), {"mine": "{{ 1 + 1 }}"}), Layer({}), {})
    host.results["said"] = "{{ 1 + 1 }}"
    host.included["more"] = "{{ mine + 1 }}"
    seen = host.view(PlayVariables(Play("all", HERE, ()), Layers()))
    assert (seen["mine"], seen["said"], seen["more"]) == (2, "{{ 1 + 1 }}", 3)


def test_hostvars_have_nothing_but_their_entries() -> None:
    variables = HostVars(lambda: ["h"], lambda name: {"layers": 1, "find": 2} if name == "h" else None)
    assert isinstance(variables["h"], Named)
    assert variables["h"]["layers"] == 1
    assert not hasattr(variables["h"], "layers")
    assert list(variables) == ["h"]
    assert "other" not in variables
