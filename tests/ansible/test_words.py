"""Every word that playbooks are promised to understand (words.yml) is used by some case that is run."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from jinja2 import nodes
from jinja2.ext import do, loopcontrols

from ikoma_play.tools import TOOLS
from tests.ansible.beside import HERE

CONDITIONS = ("when", "until", "failed_when", "changed_when", "that", "break_when", "var")
LOOKING = ("lookup", "query", "q")
_PARSER = jinja2.Environment(extensions=[do, loopcontrols])
_FOLDERS = ("ansible/cases", "engine/cases")
_TOOL_CASES = HERE.parent / "tools/general"


class Loader(yaml.SafeLoader):
    """Any tag is as good as none."""


def _untagged(loader: Loader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return f"{node.tag} {node.value}"
    return loader.construct_sequence(node) if isinstance(node, yaml.SequenceNode) else {}


Loader.add_multi_constructor("!", _untagged)


class Words(set[tuple[str, str]]):
    """What a case uses, as pairs of a kind and a word."""

    def text(self, text: str, bare: bool = False) -> None:
        """A template, or with `bare` an expression without braces."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of escapes that mean nothing
                tree = _PARSER.parse(f"{{{{ {text} }}}}" if bare and "{{" not in text else text)
        except jinja2.TemplateError:
            return
        for node in tree.find_all((nodes.Filter, nodes.Test, nodes.Call, nodes.Name)):
            if isinstance(node, nodes.Filter | nodes.Test):
                self.add(("filters" if isinstance(node, nodes.Filter) else "tests", short(node.name)))
                if node.name in ("select", "reject", "selectattr", "rejectattr"):
                    at = 0 if node.name in ("select", "reject") else 1
                    self.argument("tests", node.args, at)
                elif node.name == "map":
                    self.argument("filters", node.args, 0)
            elif isinstance(node, nodes.Name):
                self.add(("names", node.name))
            elif isinstance(node.node, nodes.Name):
                self.add(("functions", node.node.name))
                if node.node.name in LOOKING:
                    self.argument("lookups", node.args, 0)
        for name in re.findall(r"ansible_(?:facts\.|facts\[')?(\w+)", text):
            self.add(("facts", name))

    def argument(self, kind: str, given: list[nodes.Expr], at: int) -> None:
        if len(given) > at and isinstance(found := given[at], nodes.Const):
            self.add((kind, short(str(found.value))))

    def value(self, value: Any, under: tuple[str, ...] = ()) -> None:
        """A part of a YAML file, and the keys that it is under."""
        if isinstance(value, Mapping):
            for key, inner in value.items():
                self.key(str(key), inner, under)
        elif isinstance(value, list):
            for inner in value:
                self.value(inner, under)
        elif under:
            for said in {str(value), *re.split(r"[ ,]+", str(value))}:
                self.add(("keys", f"{under[-1]}={said}"))
            if isinstance(value, str):
                self.text(value, under[-1] in CONDITIONS)

    def key(self, key: str, inner: Any, under: tuple[str, ...]) -> None:
        self.add(("keys", key))
        self.add(("keys", short(key)))
        if under:
            self.add(("keys", f"{short(under[-1])}.{key}"))
        if key in TOOLS:
            self.add(("tools", key))
            self.add(("tools", short(key)))
        if key in ("action", "local_action"):
            self.add(("tools", str(inner.get("module") if isinstance(inner, dict) else inner).split()[0]))
        if key == "hosts" and isinstance(inner, str):
            self.add(("patterns", inner))
        if key == "serial":
            self.add(("patterns", f"serial {inner}"))
        if key.startswith("with_"):
            self.add(("lookups", key.removeprefix("with_")))
        self.text(key)
        self.value(inner, (*under, key))


def short(name: str) -> str:
    return re.sub(r"^ansible\.(builtin|legacy)\.", "", name)


def used_by(case: Mapping[str, Any]) -> Words:
    """What one case uses: its playbook, files, inventory and options."""
    words = Words()
    texts = {"site.yml": case["playbook"], **case.get("files", {})}
    for name, text in texts.items():
        for part in (name, *(str(parent) + "/" for parent in Path(name).parents)):
            words.update(("files", piece) for piece in (part, "/".join(part.split("/")[-2:]), Path(part).name + "/"))
        words.add(("texts", text))
        try:
            found = list(yaml.load_all(text, Loader)) if name.endswith((".yml", ".yaml")) else []
        except yaml.YAMLError:
            found = []
        for document in found:
            words.value(document)
        if not found:
            words.text(text)
    words.add(("inventories", case.get("inventory", "")))
    for name, value in case.get("options", {}).items():
        words.add(("options", name))
        words.update(("options", f"{name}={each}") for each in (value if isinstance(value, list) else [value]))
    return words


@cache
def used() -> frozenset[tuple[str, str]]:
    """What all cases use that are run through an engine, and the tools that tests of their own call."""
    found = Words()
    for folder in _FOLDERS:
        for path in (HERE.parent / folder).glob("*.yml"):
            for case in yaml.safe_load_all(path.read_text(encoding="utf-8")):
                if not case.get("long"):  # seldom run
                    found |= used_by(case)
    for path in _TOOL_CASES.glob("*.py"):
        found.update(("tools", name) for name in re.findall(r'"(\w+)"', path.read_text(encoding="utf-8")))
    return frozenset(found)


def promised() -> Iterator[tuple[str, str, str]]:
    """Section, kind and word, or its pattern, of the list."""
    for section, kinds in yaml.safe_load((HERE / "words.yml").read_text(encoding="utf-8")).items():
        for kind, words in kinds.items():
            for word in words.split() if isinstance(words, str) else words:
                yield section, kind, word if isinstance(words, str) else words[word]


@pytest.mark.parametrize(("section", "kind"), sorted({(section, kind) for section, kind, _ in promised()}))
def test_every_word_has_a_case(section: str, kind: str) -> None:
    words = [word for where, what, word in promised() if (where, what) == (section, kind)]
    there = {word for what, word in used() if what == kind}
    if kind in ("patterns", "inventories", "texts"):
        lacking = [word for word in words if not any(re.search(word, text, re.M) for text in there)]
    else:
        lacking = [word for word in words if word not in there]
    assert not lacking, f"no case uses these {kind} of the {section}: {' '.join(lacking)}"
