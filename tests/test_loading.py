"""Files are loaded when something of them is first used, so several threads may load at once.

Python locks a module while it loads it, a part of a library (`docker.errors`) before the library itself. Where one
thread asks for a part and another for the library, whose own first lines load that part, each waits for the other:
Python notices, and one of them fails with _DeadlockError.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.parts.command import python

PACKAGE = Path(__file__).resolve().parents[1] / "ikoma_play"
FILES = sorted(PACKAGE.rglob("*.py"))

# The libraries that load their own parts, and that we load late. msgspec is there before any thread.
LATE = {"docker", "jinja2", "paramiko", "psycopg", "requests"}

# One thread has come as far as docker's first part when another begins to load the SDK ahead, and gets its time.
MEANWHILE = """
import sys, time
from ikoma_play import tool
from ikoma_play.errors import Unavailable
from ikoma_play.model import Host
from ikoma_play.platform import engine
from ikoma_play.transport.local import LocalTransport

class Meanwhile:
    def find_spec(self, name, path=None, target=None):
        if name == "docker.api":
            sys.meta_path.remove(self)
            engine.preload()
            time.sleep(0.5)

sys.meta_path.insert(0, Meanwhile())
try:
    with engine.engine(LocalTransport(Host("here", (), {}))):
        pass
except Unavailable as error:
    print(error.message)
"""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_library_is_asked_for_before_its_parts(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"), str(path))
    wrong = [
        f"{path.name}:{node.lineno} names {name}: write `from {name.partition('.')[0]} import …`"
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names])
        if getattr(node, "level", 0) == 0 and name.partition(".")[0] in LATE and "." in name
    ]
    assert not wrong, "\n".join(wrong)


def test_the_docker_sdk_is_loaded_ahead_while_it_is_loaded(tmp_path: Path) -> None:
    done = python(MEANWHILE, tmp_path, DOCKER_HOST="unix:///nowhere/docker.sock")
    assert (done.stdout, done.stderr) == ("the Docker Engine of here does not answer\n", "")
