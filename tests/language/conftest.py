"""A small toolbox of the tests' own, and ways to read playbooks that a test writes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta

from ikoma_play.errors import FaultsFound
from ikoma_play.language import check, in_order, load_inventory, load_playbook
from ikoma_play.model import Access, Fault, Outcome, Playbook, ok
from ikoma_play.tool import Toolbox, Undo, tool


@tool("debug", access=Access.OBSERVER, changes=False)
def debug(on: Any, *, msg: Any = None, var: str | None = None) -> Outcome:
    """Say something.

    msg: what to say
    """
    return ok()


@tool("command", access=Access.ADMIN, changes=True, free_form="cmd", aliases={"_raw_params": "cmd"})
def command(on: Any, *, cmd: str | None = None, argv: list[str] | None = None, chdir: str | None = None) -> Outcome:
    """Run a command."""
    return ok()


KEPT = Undo("the former file comes back", dict, dict, lambda *_: ok())


@tool("copy", access=Access.ADMIN, changes=True, undo=KEPT)
def copy(
    on: Any, *, dest: str, src: str | None = None, content: str | None = None, mode: str | int | None = None,
    state: Literal["present", "absent"] = "present", remote_src: bool = False,
) -> Outcome:  # fmt: skip
    """Copy a file."""
    return ok()


@tool("template", access=Access.ADMIN, changes=True, lasting="nobody kept the former file")
def template(on: Any, *, src: str, dest: str) -> Outcome:
    """Write a rendered template."""
    return ok()


@tool("assert", access=Access.OBSERVER, changes=False)
def assert_(on: Any, *, that: str | bool | list[str | bool]) -> Outcome:
    """Go on only if it holds."""
    return ok()


@tool("set_fact", access=Access.OBSERVER, changes=False, open=True)
def set_fact(on: Any, *, cacheable: bool = False, **values: Any) -> Outcome:
    """Set variables."""
    return ok()


@tool("include_vars", access=Access.ADMIN, changes=False, free_form="file")
def include_vars(on: Any, *, file: str | None = None, name: str | None = None) -> Outcome:
    """Read variables."""
    return ok()


@tool("include_tasks", access=Access.ADMIN, changes=False, free_form="file")
def include_tasks(on: Any, *, file: str, apply: dict[str, Any] | None = None) -> Outcome:
    """Run the steps of a file."""
    return ok()


@tool("include_role", access=Access.ADMIN, changes=False, aliases={"role": "name"})
def include_role(
    on: Any, *, name: str, tasks_from: str = "main", public: bool = False, apply: dict[str, Any] | None = None
) -> Outcome:
    """Run a role."""
    return ok()


@tool("meta", access=Access.ADMIN, changes=False, free_form="do")
def meta(on: Any, *, do: Literal["flush_handlers", "noop"]) -> Outcome:
    """Steer the engine."""
    return ok()


@tool("apps.init", access=Access.BUILDER, changes=True)
def init(on: Any, app_name: Annotated[str, Meta(pattern="^[a-z]+$", description="a name in small letters")]) -> Outcome:
    """Make an application.

    app_name: the application
    """
    return ok()


TOOLS = Toolbox({__name__: [
    "debug", "command", "copy", "template", "assert", "set_fact", "include_vars", "include_tasks", "include_role",
    "meta", "apps.init",
]})  # fmt: skip


@pytest.fixture
def tools() -> Toolbox:
    return TOOLS


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, Any]], Path]:
    """Writes files below an empty directory and makes it the working directory, so that positions are short."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANSIBLE_ROLES_PATH", raising=False)

    def put(files: Mapping[str, str | bytes]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
            if str(text).startswith("#!"):
                os.chmod(path, 0o755)  # noqa: PTH101
        return tmp_path

    return put


@pytest.fixture
def read(write: Callable[[Mapping[str, str]], Path], tools: Toolbox) -> Callable[..., Playbook]:
    """A playbook from its text, with further files beside it."""

    def load(text: str, **files: str) -> Playbook:
        write({"play.yml": text, **{name.replace("__", "/"): content for name, content in files.items()}})
        return load_playbook("play.yml", tools)

    return load


def every_fault(files: Mapping[str, str], extra_vars: Mapping[str, Any]) -> list[Fault]:
    """What is said about play.yml and the inventory among these files."""
    found: list[Fault] = []
    source = next((name for name in files if name.startswith("inventory")), "web1,db1,")
    try:
        inventory = load_inventory([source])
    except FaultsFound as error:
        found += error.faults
        inventory = error.partial
    if "play.yml" in files:
        try:
            playbook = load_playbook("play.yml", TOOLS)
        except FaultsFound as error:
            found += error.faults
            playbook = error.partial
        found += check(playbook, inventory, TOOLS, extra_vars, found)
        found += playbook.warnings
    return in_order(dict.fromkeys(found))
