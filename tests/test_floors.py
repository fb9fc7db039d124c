"""The layout of the code: imports go down the floors and never in circles; files stay small; words stay ours.

Read from the syntax trees, so imports inside functions and under TYPE_CHECKING count like all others.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ikoma_play"

# A room is a folder of the package or a file beside them; it may import from lower floors only.
FLOORS = {
    "": 0,  # ikoma_play/__init__.py: the version
    "model": 1,
    "events": 2,
    "lean": 1,
    "spelling": 1,
    "shipped": 1,
    "errors": 2,
    "tool": 3,
    "binding": 3,
    "arguments": 3,
    "language": 4,
    "transport": 4,
    "journal": 4,
    "audit": 4,
    "platform": 5,
    "document": 5,
    "notify": 5,  # who is told, over the journal's outbox
    "tools": 6,
    "engine": 6,
    "console": 7,
    "server": 7,
    "cli": 8,
    "__main__": 9,
}

# Neighbours on one floor that may know each other, and why.
NEIGHBOURS = {
    ("tool", "binding"): "a tool binds its arguments; loaded when the first one is bound",
    ("binding", "tool"): "binding works on what a tool declares",
    ("arguments", "tool"): "kinds of arguments are declared for tools",
    ("binding", "arguments"): "binding knows the kinds of arguments",
}

# Rooms that know less than their floor would let them.
BLIND = {
    "transport": {"tool", "binding", "arguments"},
    "engine": {"platform"},
    "console": {"language", "transport", "journal", "platform", "tools", "engine", "tool", "binding", "arguments"},
}

# Modules that need each other, each set with its reason.
CIRCLES = {
    frozenset({"tool", "binding"}): "binding is loaded only when arguments are bound, which `check` and --help do not",
    frozenset(
        {"platform.runtime", "platform.compose", "platform.process"}
    ): "the interface hands out what implements it",
}

LONGEST = 400

# What Ansible calls things is for the parser to know; these are the words of other programs, not ours.
NOT_OURS = {"task", "tasks", "job", "jobs", "action", "actions", "module", "modules", "context", "contexts",
            "manager", "managers", "helper", "helpers", "util", "utils"}  # fmt: skip
WORDS_KNOWN_IN = {"language": "the parser that accepts them", "tools": "tools have Ansible's names and arguments"}
NAMES_ALLOWED = {
    "module_defaults": "Ansible's keyword",
    "include_tasks": "Ansible's tool",
    "import_tasks": "Ansible's tool",
    "tasks_from": "Ansible's argument",
    "context": "Docker's build context",
    "_HELPER": "git's credential helper",
    "_module_of": "Python's own modules are meant",
    "modules": "Python's own modules are meant",
    "module": "Python's own modules are meant",
    "error_task_class": "waitress' own attribute",
    "task_class": "waitress' own attribute",
}


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name below it; a folder's own name for its `__init__`."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def room(module: str) -> str:
    return module.partition(".")[0]


def imports(module: str, path: Path) -> Iterator[tuple[str, int]]:
    """What a module imports of the package, with the line; `from . import x` means x where that is a module."""
    known = modules()
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] == "ikoma_play"]
            yield from ((name.partition(".")[2], node.lineno) for name in names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, package)
            if base is None:
                continue
            for alias in node.names:
                below = f"{base}.{alias.name}" if base else alias.name
                yield (below if below in known else base), node.lineno
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and module != "tools":
            # Only the index of tools may name modules that are imported by name.
            name = node.value.removeprefix("ikoma_play.")
            if name != node.value and name in known:
                yield name, node.lineno


def _base(node: ast.ImportFrom, package: str) -> str | None:
    """The module that `from … import` names, below the package; None for others' modules."""
    if node.level == 0:
        name = node.module or ""
        return name.partition(".")[2] if name.split(".")[0] == "ikoma_play" else None
    parts = package.split(".") if package else []
    parts = parts[: len(parts) - (node.level - 1)]
    return ".".join([*parts, *((node.module or "").split(".") if node.module else [])])


MODULES = modules()


def test_every_room_has_a_floor() -> None:
    homeless = {room(module) for module in MODULES} - set(FLOORS)
    assert not homeless, f"give these rooms a floor in FLOORS: {sorted(homeless)}"


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module or "ikoma_play")
def test_imports_go_down(module: str) -> None:
    here, wrong = room(module), []
    for imported, line in imports(module, MODULES[module]):
        there = room(imported)
        down = FLOORS[there] < FLOORS[here] and there not in BLIND.get(here, ())
        if there != here and not down and (here, there) not in NEIGHBOURS:
            wrong.append(f"{MODULES[module].relative_to(ROOT)}:{line} imports {imported or 'ikoma_play'}")
    assert not wrong, "imports that do not go down the floors:\n" + "\n".join(wrong)


def test_no_circles() -> None:
    graph = {
        module: {imported for imported, _ in imports(module, path) if imported in MODULES and imported != module}
        for module, path in MODULES.items()
    }
    knots = [knot for knot in _knots(graph) if not any(knot <= declared for declared in CIRCLES)]
    assert not knots, f"modules that import each other in a circle: {[sorted(knot) for knot in knots]}"


def _knots(graph: dict[str, set[str]]) -> list[frozenset[str]]:
    """The sets of modules that can all be reached from one another."""

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        ahead = [start]
        while ahead:
            for found in graph[ahead.pop()] - seen:
                seen.add(found)
                ahead.append(found)
        return seen

    reached = {module: reach(module) for module in graph}
    return sorted(
        {frozenset(other for other in graph if other in reached[module] and module in reached[other]) | {module}
         for module in graph if module in reached[module]},
        key=sorted,
    )  # fmt: skip


def test_a_circle_would_be_found() -> None:
    assert _knots({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [frozenset("abc")]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module or "ikoma_play")
def test_nouns_are_structs(module: str) -> None:
    """msgspec.Struct is defined in a fiftieth of the time that a frozen dataclass takes; mypy does not notice where
    `replace` and `asdict` of the one are called on the other."""
    imports = (node for node in ast.walk(tree(MODULES[module])) if isinstance(node, (ast.Import, ast.ImportFrom)))
    names = {getattr(node, "module", None) or alias.name for node in imports for alias in node.names}
    assert "dataclasses" not in names, "use msgspec.Struct, and replace and asdict of msgspec.structs"


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module or "ikoma_play")
def test_files_stay_small(module: str) -> None:
    path = MODULES[module]
    lines = len(path.read_text("utf-8").splitlines())
    shown = str(path.relative_to(PACKAGE))
    assert lines <= LONGEST, f"{shown} has {lines} lines: split it"


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module or "ikoma_play")
def test_names_are_our_own_words(module: str) -> None:
    if room(module) in WORDS_KNOWN_IN:
        return
    path = MODULES[module]
    names = [(path.stem, 1), *_names(tree(path))]
    wrong = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for name, line in names
        if name not in NAMES_ALLOWED and NOT_OURS.intersection(_words(name))
    ]
    assert not wrong, "names with words that are not ours:\n" + "\n".join(sorted(set(wrong)))


def _names(of: ast.Module) -> Iterator[tuple[str, int]]:
    """What a module itself names: functions, classes, parameters, variables, attributes it sets."""
    for node in ast.walk(of):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name, node.lineno
            case ast.arg():
                yield node.arg, node.lineno
            case ast.Name(ctx=ast.Store()):
                yield node.id, node.lineno
            case ast.Attribute(ctx=ast.Store()):
                yield node.attr, node.lineno


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z]+|[A-Z][a-z]*", name) and [
        word.lower() for part in name.split("_") for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", part)
    ]
