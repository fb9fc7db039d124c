"""Files are loaded when something of them is first used, so several threads may load at once.

Python locks a module while it loads it, a part of a library (`docker.errors`) before the library itself. Where one
thread asks for a part and another for the library, whose own first lines load that part, each waits for the other:
Python notices, and one of them fails with _DeadlockError.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "ikoma_play"
FILES = sorted(PACKAGE.rglob("*.py"))

# The libraries that load their own parts, and that we load late. msgspec is there before any thread.
LATE = {"docker", "jinja2", "paramiko", "psycopg", "requests"}

AT_ONCE = """
import importlib, random, sys, threading

sys.setswitchinterval(1e-6)
seed, *names = sys.argv[1:]
for first in ("ikoma_play.tool", "ikoma_play.transport.lean_paramiko"):  # as each command, each connection does
    importlib.import_module(first)
begin, chance = threading.Barrier(12), random.Random(seed)

def load(order):
    begin.wait()
    for name in order:
        try:
            importlib.import_module(name)
        except BaseException as error:
            print(f"{name}: {type(error).__name__}: {error}")

threads = [threading.Thread(target=load, args=(chance.sample(names, len(names)),)) for _ in range(12)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(names), "loaded")
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


@pytest.mark.parametrize("seed", range(3))
def test_all_files_are_loaded_by_many_threads_at_once(seed: int) -> None:
    names = [
        ".".join(("ikoma_play", *path.relative_to(PACKAGE).with_suffix("").parts))
        for path in FILES
        if not path.stem.startswith("__")
    ]
    done = subprocess.run(
        [sys.executable, "-c", AT_ONCE, str(seed), *names], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.stdout, done.stderr) == (f"{len(names)} loaded\n", "")
