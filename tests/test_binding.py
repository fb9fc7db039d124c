"""Written values become typed arguments, and everything wrong with them is said in plain words."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, Struct

from ikoma_play.arguments import AppName, FileMode, GitRef, Port, Seconds
from ikoma_play.binding import convert, faults, schema, wanted
from ikoma_play.errors import FaultsFound
from ikoma_play.language.faults import Faults
from ikoma_play.language.reader import read_yaml
from ikoma_play.model import Access, Outcome, ok
from ikoma_play.tool import Tool, tool


class Rule(Struct):
    name: str
    size: int = 1


@tool("db.tune", access=Access.ADMIN, changes=True, secrets=("password",), aliases={"dest": "path"})
def tune(
    on: Any, app_name: AppName, path: str | None = None, flag: bool = False, ports: list[int] | None = None,
    state: Literal["present", "absent"] = "present", mode: FileMode | None = None, wait: Seconds = 1.0,
    argv: list[str] | None = None, env: dict[str, str] | None = None, password: str = "", count: int = 1,
    rules: list[Rule] | None = None, anything: Any = None, *, scope: Any = None,
) -> Outcome:  # fmt: skip
    """Tune a database.

    app_name: the application
    """
    return ok()


@tool("set_facts", access=Access.ADMIN, changes=False, open=True)
def set_facts(on: Any, *, cacheable: bool = False, **values: Any) -> Outcome:
    """Set variables."""
    return ok()


TUNE: Tool = tune.tool  # type: ignore[attr-defined]
OPEN: Tool = set_facts.tool  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("given", "bound"),
    [
        ({}, {}),
        ({"flag": "yes"}, {"flag": True}),
        ({"flag": "Off"}, {"flag": False}),
        ({"flag": 1}, {"flag": True}),
        ({"count": "4"}, {"count": 4}),
        ({"wait": 2}, {"wait": 2.0}),
        ({"ports": "1, 2"}, {"ports": [1, 2]}),
        ({"ports": 3}, {"ports": [3]}),
        ({"ports": []}, {"ports": []}),
        ({"argv": "a,b"}, {"argv": ["a", "b"]}),
        ({"mode": "0644"}, {"mode": "0644"}),
        ({"mode": 0o644}, {"mode": 0o644}),
        ({"dest": "/x"}, {"path": "/x"}),
        ({"path": None}, {"path": None}),
        ({"count": None}, {}),
        ({"env": {"A": "1"}}, {"env": {"A": "1"}}),
        ({"rules": [{"name": "a", "size": "2"}]}, {"rules": [Rule("a", 2)]}),
        ({"anything": {"a": [1]}}, {"anything": {"a": [1]}}),
    ],
)
def test_values_are_taken_as_ansible_takes_them(given: dict[str, Any], bound: dict[str, Any]) -> None:
    assert TUNE.bind({"appName": "shop", **given}) == {"app_name": "shop", **bound}


@pytest.mark.parametrize(
    ("given", "code", "parts"),
    [
        ({"appName": "a/b"}, "wrong-type", ["'appName'", "1 to 64 letters", "'a/b'"]),
        ({"appName": "a\n"}, "wrong-type", ["'a\\n'"]),
        ({"appName": None}, "missing-argument", ["is empty", "the application"]),
        ({"appNmae": "a"}, "unknown-argument", ["Did you mean 'appName'?"]),
        ({"zzz": "a"}, "unknown-argument", ["It takes appName, path"]),
        ({5: "a"}, "unknown-argument", ["'5'"]),
        ({"path": 3.1}, "wrong-type", ["must be text, not 3.1", "3.10 becomes 3.1", "quote it"]),
        ({"path": True}, "wrong-type", ["must be text, not true", "quote it"]),
        ({"path": ["a"]}, "wrong-type", ["not a list"]),
        ({"flag": "maybe"}, "wrong-type", ["true or false", "'maybe'"]),
        ({"flag": 2}, "wrong-type", ["true or false"]),
        ({"count": "many"}, "wrong-type", ["a whole number", "'many'"]),
        ({"count": 1.5}, "wrong-type", ["a whole number", "1.5"]),
        ({"count": True}, "wrong-type", ["a whole number", "true"]),
        ({"wait": -1}, "wrong-type", ["a number of seconds from 0 up", "-1"]),
        ({"state": "presnt"}, "wrong-type", ["one of present or absent", "Did you mean 'present'?"]),
        ({"state": True}, "wrong-type", ["quote it"]),
        ({"ports": ["1", "x"]}, "wrong-type", ["a list of a whole number", "[1]"]),
        ({"argv": ["a", 1]}, "wrong-type", ["[1]", "Quote numbers"]),
        ({"env": {"A": 1}}, "wrong-type", ["a mapping of names to text", "Quote numbers"]),
        ({"env": "A=1"}, "wrong-type", ["a mapping"]),
        ({"rules": [{"nam": "a"}]}, "wrong-type", ["a mapping with name and size"]),
        ({"dest": "a", "path": "b"}, "duplicate-argument", ["already given as 'dest'"]),
    ],
)
def test_what_is_wrong_is_said_in_words(given: dict[Any, Any], code: str, parts: list[str]) -> None:
    found = faults(TUNE, {"appName": "shop", **given})
    assert [fault.code for fault in found] == [code], found
    said = f"{found[0].message}\n{found[0].remedy}"
    assert all(part in said for part in parts), said


def test_a_mapping_in_the_place_of_a_number_is_no_matter_of_quotes() -> None:
    assert faults(TUNE, {"appName": "shop", "count": {"a": 1}})[0].remedy == ""


def test_all_faults_come_at_once() -> None:
    with pytest.raises(FaultsFound) as error:
        TUNE.bind({"flag": "maybe", "count": "x", "nope": 1})
    assert [fault.code for fault in error.value.faults] == [
        "wrong-type", "wrong-type", "unknown-argument", "missing-argument",
    ]  # fmt: skip


def test_a_secret_is_not_in_the_message() -> None:
    for value in (["canary-4711"], 4711):
        said = repr(faults(TUNE, {"appName": "shop", "password": value}))
        assert "must be text" in said and "4711" not in said, said


def test_faults_know_where_the_argument_was_written() -> None:
    found = Faults()
    values = read_yaml("appName: shop\ncount: many\n", "play.yml", found)
    fault = faults(TUNE, values)[0]
    assert str(fault.position) == "play.yml:2:1"


def test_values_that_are_not_known_yet_are_not_judged() -> None:
    def final(value: Any) -> bool:
        return "{{" not in str(value)

    assert faults(TUNE, {"appName": "{{ app }}", "count": "{{ n }}", "flag": "{{ f }}"}, final) == []


def test_a_number_out_of_a_template_may_be_text() -> None:
    given = {"appName": "shop", "path": 8080, "argv": ["-p", 8080], "env": {"PORT": 8080}}
    bound = TUNE.bind(given, {"path", "argv", "env"})
    assert (bound["path"], bound["argv"], bound["env"]) == ("8080", ["-p", "8080"], {"PORT": "8080"})
    with pytest.raises(FaultsFound):
        TUNE.bind(given, {"path"})


@pytest.mark.parametrize("values", [[], "text", None, 5])
def test_arguments_are_a_mapping(values: Any) -> None:
    found = faults(TUNE, values)
    assert [fault.code for fault in found] == ["wrong-type"]


def test_an_open_tool_takes_everything() -> None:
    assert OPEN.bind({"cacheable": "no", "a": [1], "b": None}) == {"cacheable": False, "a": [1], "b": None}


def test_nesting_without_end_is_a_fault() -> None:
    value: Any = "x"
    for _ in range(5000):
        value = [value]
    assert [fault.code for fault in faults(TUNE, {"appName": "shop", "argv": value})] == ["wrong-type"]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (str, "text"),
        (int | None, "a whole number"),
        (str | int, "text or a whole number"),
        (list[str], "a list of text"),
        (dict[str, Any], "a mapping"),
        (Literal["a"], "'a'"),
        (Annotated[int, Meta(ge=1, le=5)], "a whole number, at least 1, at most 5"),
        (Port, "a port number from 1 to 65535"),
    ],
)
def test_types_in_words(kind: Any, words: str) -> None:
    assert wanted(kind) == words


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (AppName, ["a", "A-b_9", "x" * 64], ["", "x" * 65, "a b", "a/b", "é", "a\n", "../a", "a.b"]),
        (GitRef, ["v1.2.3", "feature/x", "a" * 40, "release+1"], ["-x", "/x", "a..b", "a b", "", "a\n", "x@{1}", "."]),
        (Port, [1, 65535, "80"], [0, 65536, "x"]),
    ],
)
def test_shared_types(kind: Any, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        convert(value, kind)
    for value in bad:
        with pytest.raises(ValueError):
            convert(value, kind)


def test_the_schema_tells_all() -> None:
    found = schema(TUNE)
    assert found["required"] == ["appName"]
    assert found["additionalProperties"] is False
    assert list(found["properties"]) == [parameter.wire for parameter in TUNE.parameters]
    assert found["properties"]["appName"]["pattern"].startswith("^[A-Za-z0-9_-]{1,64}$")
    assert found["properties"]["appName"]["description"].startswith("the application (")
    assert found["properties"]["flag"] == {"type": "boolean", "default": False}
    assert found["properties"]["password"]["writeOnly"] is True
    assert "Rule" in found["$defs"]
    assert schema(OPEN)["additionalProperties"] is True
