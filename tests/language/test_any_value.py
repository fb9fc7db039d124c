"""Every keyword with values of every wrong kind, and YAML at its strangest: faults, never another error."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ikoma_play.language.keywords import LEVELS
from ikoma_play.tools import TOOLS as REAL
from tests.language.test_strange_input import QUICK, run_through

VALUES: dict[str, Any] = {
    "nothing": None, "true": True, "zero": 0, "negative": -1, "huge": 10**400, "fraction": 0.5,
    "infinite": float("inf"),
    "nan": float("nan"), "empty text": "", "blank": " ", "text": "text", "template": "{{ a }}", "half": "{{ a",
    "control": "a\x07b\x85", "list": [], "lists": [[[1]]], "list of nothing": [None], "mapping": {},
    "keyed": {1: {None: 2}},
    "mappings": [{"a": 1}], "date": date(2020, 1, 1), "binary": b"\xff",
    "long": "x" * 5_000,
}  # fmt: skip


def document(level: str, name: str, value: Any) -> list[Any]:
    """A play in which a keyword of this level has this value."""
    step = {"debug": {"msg": "a"}, "loop": [1]}
    if level == "play":
        return [{"hosts": "all", "tasks": [step], name: value}]
    if level == "import":
        return [{"import_playbook": "other.yml", name: value}]
    if level == "role":
        return [{"hosts": "all", "roles": [{"role": "r", name: value}]}]
    if level == "block":
        return [{"hosts": "all", "tasks": [{"block": [step], name: value}]}]
    if level == "handler":
        return [{"hosts": "all", "tasks": [step], "handlers": [{**step, "name": "h", name: value}]}]
    if level == "loop_control":
        return [{"hosts": "all", "tasks": [{**step, "loop_control": {name: value}}]}]
    if level == "schedule":
        return [{"hosts": "all", "name": "a", "schedule": {"cron": "@daily", name: value}, "tasks": [step]}]
    if level == "vars_prompt":
        return [{"hosts": "all", "vars_prompt": [{"name": "a", name: value}], "tasks": [step]}]
    return [{"hosts": "all", "tasks": [{**step, name: value}]}]


@pytest.mark.parametrize("level", LEVELS)
def test_every_keyword_with_every_kind_of_value(level: str, tmp_path: Path) -> None:
    (tmp_path / "other.yml").write_text("- {hosts: all, tasks: []}\n")
    (tmp_path / "roles/r/tasks").mkdir(parents=True)
    (tmp_path / "roles/r/tasks/main.yml").write_text("- debug: {msg: a}\n")
    for name in LEVELS[level]:
        for value in VALUES.values():
            run_through(tmp_path, yaml.safe_dump(document(level, name, value), allow_unicode=True))


@pytest.mark.parametrize("kind", VALUES)
def test_every_argument_with_every_kind_of_value(kind: str) -> None:
    """The real tools' arguments, and whole tools, with it: faults or none, nothing else."""
    for tool in REAL.all():
        for parameter in tool.parameters:
            for fault in tool.faults({parameter.wire: VALUES[kind]}):
                assert fault.message


NAMES = st.sampled_from(["a", "b", "c"])
PIECES = st.one_of(
    st.tuples(NAMES, st.sampled_from(["[1, 2]", "{x: 1}", "text", "{{ a }}", "[*a, *b]", "{<<: *a}", "*a"])).map(
        lambda pair: f"&{pair[0]} {pair[1]}"
    ),
    NAMES.map(lambda name: f"*{name}"),
    NAMES.map(lambda name: f"{{<<: *{name}, hosts: all}}"),
    st.just("{<<: [*a, *b], <<: *c}"),
    st.just("!!set {a, b}"), st.just("!!omap [a: 1]"), st.just("!!binary aGk="),
    st.just("!!python/object:os.system {}"),
    st.just("!unsafe '{{ a }}'"), st.just("!vault x"), st.just("? [a, b]\n      : c"), st.just("\t- tab"),
    st.just("1_000"),
    st.just("2001-12-14t21:59:43.10-05:00"), st.just("0b1010"), st.just("190:20:30"), st.just("=" ), st.just("<<"),
)  # fmt: skip


@QUICK
@given(pieces=st.lists(st.tuples(st.sampled_from(["vars", "tasks", "hosts", "tags", "environment", "roles"]), PIECES),
                       max_size=6))  # fmt: skip
def test_anchors_merges_and_tags(tmp_path: Path, pieces: list[tuple[str, str]]) -> None:
    run_through(tmp_path, "- hosts: all\n" + "".join(f"  {key}: {piece}\n" for key, piece in pieces))


@settings(QUICK, max_examples=15)
@given(depth=st.integers(1, 3000), kind=st.sampled_from(["[", "{a: ", "- ", "block", "(", "not "]))
def test_any_depth(tmp_path: Path, depth: int, kind: str) -> None:
    if kind == "block":
        text = "- hosts: all\n  tasks:\n" + "".join(f"{' ' * (4 + 2 * n)}- block:\n" for n in range(min(depth, 400)))
    elif kind in ("(", "not "):
        text = f'- hosts: all\n  tasks: [{{debug: , when: "{kind * depth}a"}}]\n'
    else:
        text = f"- hosts: all\n  vars:\n    a: {kind * depth}\n"
    run_through(tmp_path, text)
