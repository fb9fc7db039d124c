"""Whatever the input: a model or FaultsFound, never another error, never without end."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ikoma_play.errors import FaultsFound, TemplateFailed
from ikoma_play.language import check, explain, load_inventory, load_playbook
from ikoma_play.language.keywords import KEYWORDS
from ikoma_play.language.templating import Templar
from ikoma_play.model import Playbook

from .conftest import TOOLS

KEYS = sorted({keyword.name for keyword in KEYWORDS} | set(TOOLS.names()) | {"import_tasks", "import_role", "<<", "a"})
TEXTS = ["{{ a }}", "{{ a", "{% if %}", "auto", "x.yml", "play.yml", "all", "a=b c", "free", "1:2", "~[", "*"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(TEXTS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4) | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)
PLAYS = st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6), max_size=3)
WORDS = [
    "- ",
    "hosts: ",
    "tasks:\n",
    "    ",
    "  ",
    "\n",
    "\t",
    "{{ ",
    " }}",
    "'",
    '"',
    "&a ",
    "*a",
    "<<: ",
    "!vault ",
    "!unsafe ",
    "!!int ",
    "? ",
    ": ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "#",
    "---\n",
    "...\n",
    "%YAML 1.1\n",
    "debug: ",
    "block:\n",
    "\x00",
    "\ufeff",
    "é",
    "\u2028",
    "0x",
    "1e999",
    ".inf",
    "12:30",
    "0o7",
    "=",
    "~",
    "@",
    "`",
    ">\n",
]
FRAGMENTS = st.lists(st.sampled_from([*WORDS, "|\n"]) | st.text(max_size=5), max_size=30).map("".join)

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@contextmanager
def only_faults() -> Iterator[None]:
    try:
        yield
    except FaultsFound as error:
        for fault in error.faults:
            assert explain(fault)


def run_through(folder: Path, text: str) -> None:
    """Read, checked and explained: nothing but FaultsFound may come of it."""
    path = folder / "play.yml"
    path.write_text(text, "utf-8", errors="surrogatepass")
    with only_faults():
        playbook = load_playbook(str(path), TOOLS)
        assert isinstance(playbook, Playbook)
        for fault in check(playbook, load_inventory(["web1,"]), TOOLS, {}):
            assert explain(fault)


@QUICK
@given(plays=PLAYS)
def test_any_values_for_any_keywords(tmp_path: Path, plays: Any) -> None:
    run_through(tmp_path, yaml.safe_dump(plays, allow_unicode=True))


@QUICK
@given(text=FRAGMENTS)
def test_any_text(tmp_path: Path, text: str) -> None:
    run_through(tmp_path, text)


@QUICK
@given(values=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4))
def test_any_step(tmp_path: Path, values: Any) -> None:
    run_through(tmp_path, yaml.safe_dump([{"hosts": "all", "tasks": [values], "handlers": [values]}]))


TOKENS = [
    *"'\"()[]{}|.,:-~*%\\$?_1é \n\x00", "a", "a.b", "==", "and ", "not ", "in ", "is ", "if ", " else ", "1e999", "**",
    "//", "%}", "{{", "}}", "{%", "{#", "true", "none", "default(", "lookup('env', ", "range(",
]  # fmt: skip
EXPRESSIONS = st.lists(st.sampled_from(TOKENS), max_size=9).map("".join)


@QUICK
@given(text=EXPRESSIONS)
def test_any_expression(tmp_path: Path, text: str) -> None:
    step = {"command": "true", "when": text, "changed_when": [text], "loop": f"{{{{ {text} }}}}", "vars": {"b": text}}
    run_through(tmp_path, yaml.safe_dump([{"hosts": "all", "tasks": [step, {"assert": {"that": [text]}}]}]))
    templar = Templar({"a": {"b": [1, "two"]}})
    for work in (templar.test, templar.render):
        with suppress(TemplateFailed):
            work(text)


@QUICK
@given(text=FRAGMENTS, name=st.sampled_from(["inventory.yml", "inventory", "inventory.ini"]))
def test_any_inventory(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / name).write_text(text, "utf-8", errors="surrogatepass")
    with only_faults():
        inventory = load_inventory([str(tmp_path / name)])
        inventory.select("all:!a[0]")


@QUICK
@given(values=VALUES, name=st.sampled_from(["hosts", "vars", "children", "all"]))
def test_any_values_in_an_inventory(tmp_path: Path, values: Any, name: str) -> None:
    path = tmp_path / "inventory.yml"
    path.write_text(yaml.safe_dump({"all": {name: values}, "web": {"children": {"all": values}}}), "utf-8")
    with only_faults():
        load_inventory([str(path)]).select("all")


@QUICK
@given(pattern=st.text(alphabet="abw1:,!&*?[]~^-.()\\ ", max_size=14))
def test_any_pattern(pattern: str) -> None:
    inventory = load_inventory(["web1,web2,a,b,"])
    with only_faults():
        inventory.select(pattern)


def bomb() -> str:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    return "- hosts: all\n  vars:\n" + "".join(f"    {line}\n" for line in lines)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (bomb(), "too-large"),
        ("[" * 100_000, "too-deep"),
        ("{a: " * 100_000, "too-deep"),
        ("- hosts: all\n  tasks:\n    - block:\n" + "".join(
            f"{' ' * (8 + 2 * n)}- block:\n" for n in range(200)), "too-deep"),
        ("- hosts: all\n  vars: &a\n    b: *a\n", "recursive-alias"),
        ("- hosts: all\n  name: " + "x" * 100_000 + "\n  tsaks: []\n", "unknown-keyword"),
        ("- hosts: all\n  name: " + "{{" * 50_000 + "\n", "unquoted-template"),
        ("- hosts: all\n  tasks: [debug: {msg: \"" + "{{ " + "(" * 3000 + "\"}]\n", "template"),
    ],
)  # fmt: skip
def test_input_that_means_harm(tmp_path: Path, text: str, code: str) -> None:
    path = tmp_path / "play.yml"
    path.write_text(text, "utf-8")
    found = []
    try:
        found = check(load_playbook(str(path), TOOLS), load_inventory(["a,"]), TOOLS, {})
    except FaultsFound as error:
        found = list(error.faults)
    assert code in [fault.code for fault in found], "\n".join(map(explain, found))
    assert all(len(explain(fault)) < 2000 for fault in found), "a fault shows too much of its line"


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    random.seed(7)
    path = tmp_path / "play.yml"
    for _ in range(50):
        path.write_bytes(random.randbytes(200))
        with only_faults():
            load_playbook(str(path), TOOLS)


@pytest.mark.parametrize("path", ["/dev/null", "/", "/nowhere", "a\0b"])
def test_paths_that_are_no_playbooks(path: str) -> None:
    with pytest.raises(FaultsFound):
        load_playbook(path, TOOLS)
