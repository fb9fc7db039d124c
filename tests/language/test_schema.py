"""`ikoma-play schema` judged by a validator that is not ours: what ships is right, what is wrong is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from ikoma_play.language.keywords import LEVELS
from ikoma_play.language.reader import read
from ikoma_play.language.schema import schema
from ikoma_play.tools import TOOLS
from tests.ansible.test_beside import cases as compared
from tests.parts.command import CHECKOUT

PLAYBOOKS = sorted(path for path in (CHECKOUT / "playbooks").rglob("*.y*ml") if "examples" not in path.parts)
STEPS = sorted(path for kind in ("tasks", "handlers") for path in (CHECKOUT / "roles").glob(f"*/{kind}/*.yml"))


@cache
def validator(kind: str, part: str = "") -> jsonschema.Draft202012Validator:
    """For a whole document, or for a list of what a definition describes."""
    whole = schema(kind, TOOLS)
    jsonschema.Draft202012Validator.check_schema(whole)
    if part:
        whole = {**whole, "items": {"anyOf": [{"$ref": f"#/$defs/{name}"} for name in part.split()]}}
    return jsonschema.Draft202012Validator(whole)


def plain(path: Path) -> Any:
    """A document as JSON knows it."""
    from ikoma_play.language.faults import Faults

    return json.loads(json.dumps(read(str(path), Faults()), default=str))


def faults(document: Any, kind: str = "playbook", part: str = "") -> list[str]:
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}"
            for error in validator(kind, part).iter_errors(document)]  # fmt: skip


def playbook_schemas() -> Iterator[tuple[Path, str]]:
    yield from ((path, "") for path in PLAYBOOKS)
    yield from ((path, "step block") for path in STEPS if path.parent.name == "tasks")
    yield from ((path, "handler block") for path in STEPS if path.parent.name == "handlers")


@pytest.mark.parametrize(("path", "part"), list(playbook_schemas()), ids=lambda each: str(each)[-60:])
def test_what_ships_is_right(path: Path, part: str) -> None:
    assert faults(plain(path), part=part) == []


def test_the_shipped_inventory_is_right() -> None:
    assert faults(plain(CHECKOUT / "inventory.yml"), "inventory") == []


def test_the_compared_playbooks_are_right(tmp_path: Path) -> None:
    """What Ansible and we both run, an editor must not call wrong."""
    wrong = {}
    for number, case in enumerate(compared()):
        (tmp_path / f"{number}.yml").write_text(case.values[0]["playbook"], "utf-8")
        if found := faults(plain(tmp_path / f"{number}.yml")):
            wrong[case.id] = found
    assert not wrong, yaml.safe_dump(wrong, width=200)


def test_keywords_and_arguments_are_in_it() -> None:
    definitions = schema("playbook", TOOLS)["$defs"]
    for level, keywords in LEVELS.items():
        shape = definitions[level]
        properties = shape["anyOf"][1]["properties"] if level == "role" else shape["properties"]
        silent = [name for name in keywords if not properties[name].get("description")]
        assert not silent, f"{level} has no description of {silent}"
    for tool in TOOLS.all():
        properties = definitions[f"tool.{tool.name}"]["anyOf"][0]["properties"]
        missing = [one.wire for one in tool.parameters if one.wire not in properties]
        assert not missing, f"{tool.name}: {missing} are not in the schema"
        assert tool.name in definitions["step"]["properties"]
        assert tool.dotted or f"ansible.builtin.{tool.name}" in definitions["handler"]["properties"]


@pytest.mark.parametrize(
    "text",
    [
        "[{hosts: all, tsaks: []}]",
        "[{tasks: []}]",
        "{hosts: all}",
        "[{hosts: all, tasks: [{debug: {msg: a}, copy: {dest: a}}]}]",
        "[{hosts: all, tasks: [{name: nothing}]}]",
        "[{hosts: all, tasks: [{debug: {mgs: a}}]}]",
        "[{hosts: all, tasks: [{no_such_tool: {}}]}]",
        "[{hosts: all, tasks: [{debug: {msg: a}, become: maybe}]}]",
        "[{hosts: all, tasks: [{debug: {msg: a}, retries: often}]}]",
        "[{hosts: all, tasks: [{debug: {msg: a}, register: 1a}]}]",
        "[{hosts: all, tasks: [{debug: {msg: a}, loop_control: {var: a}}]}]",
        "[{hosts: all, tasks: [{copy: {dest: a, backup: [1]}}]}]",
        "[{hosts: all, tasks: [{file: {path: a, state: gone}}]}]",
        "[{hosts: all, tasks: [{rescue: []}]}]",
        "[{hosts: all, tasks: debug}]",
        "[{hosts: all, strategy: quick}]",
        "[{hosts: all, order: up}]",
        "[{hosts: all, connection: winrm}]",
        "[{hosts: all, schedule: {zone: UTC}}]",
        "[{hosts: all, schedule: {cron: '@daily', catch_up: maybe}}]",
        "[{hosts: all, handlers: [{listen: a}]}]",
        "[{hosts: all, roles: {a: 1}}]",
        "[{hosts: all, vars_prompt: [{prompt: a}]}]",
        "[{import_playbook: a.yml, tasks: []}]",
        "[{hosts: all, tasks: [{db.backup: {appNme: a}}]}]",
        "[{hosts: all, tasks: [{debug: {msg: a}, listen: b}]}]",
    ],
)
def test_what_is_wrong_is_not_right(text: str) -> None:
    assert faults(yaml.safe_load(text)), "nobody would see that in an editor"


@pytest.mark.parametrize(
    "text",
    ["[a]", "{all: {host: {a: {}}}}", "{all: {hosts: [a]}}", "{all: {vars: {1a: 2}}}", "{all: {children: [a]}}",
     "{all: {hosts: {a: {ansible_become: [1]}}}}"],
)  # fmt: skip
def test_wrong_inventories_are_not_right(text: str) -> None:
    assert faults(yaml.safe_load(text), "inventory")
