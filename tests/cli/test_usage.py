"""The command used wrongly: exit code 1, one clear sentence with the likely correction, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ikoma_play import __version__
from tests.parts.command import CHECKOUT, Ikoma, python


@pytest.fixture
def ikoma(tmp_path: Path) -> Ikoma:
    return Ikoma(tmp_path)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["rnu", "deploy"], "Did you mean 'run'?"),
        (["deploy.yml"], "Did you mean 'run deploy.yml'?"),
        (["florb"], "run, check, plan"),
        (["run"], "Missing argument 'PLAYBOOK"),
        (["run", "deploy", "--profil"], "Did you mean '--profile'?"),
        (["run", "deploy", "--forks", "many"], "not a valid integer"),
        (["run", "deploy", "--forks", "0"], "0 is not in the range"),
        (["run", "deplyo"], "Did you mean 'deploy'?"),
        (["run", "nowhere/deploy.yml"], "There is no playbook nowhere/deploy.yml"),
        (["run", "."], "is a directory"),
        (["check"], "Missing argument"),
        (["check", "deploy", "-i", "nowhere.yml"], "There is no inventory nowhere.yml"),
        (["run", "deploy", "-e", "novalue"], "-e novalue sets no variable"),
        (["run", "deploy", "-e", "a-b=1"], "sets no variable"),
        (["run", "deploy", "-e", "@nowhere.yml"], "nowhere.yml"),
        (["run", "deploy", "-e", "{broken"], "-e"),
        (["run", "deploy", "-e", "[1, 2]"], "must be a mapping"),
        (["run", "deploy", "--junit", "nowhere/junit.xml"], "nowhere is no directory"),
        (["run", "x" * 300], f"cannot use {'x' * 80}…: file name too long"),
        (["run", "deploy", "-i", "x" * 300], "file name too long"),
        (["run", "deploy", "--become-password-file", "~nobody-has-this/x"], "a path begins with ~ and a name that no"),
        (["exec"], "Missing argument"),
        (["exec", "db.bakcup"], "Did you mean 'db.backup'?"),
        (["tools", "db.bakcup"], "Did you mean 'db.backup'?"),
        (["schema", "playbok"], "playbok"),
        (["inventory", "nobody"], "nobody"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use(ikoma: Ikoma, words: list[str], says: str) -> None:
    done = ikoma(*words, expect=1)
    assert done.err.startswith("error: "), done
    assert says in done.err, done
    assert done.out == "", f"errors belong on standard error\n{done}"
    assert list(ikoma.folder.iterdir()) == [], "something was made"


@pytest.mark.parametrize(
    ("words", "asked_for", "remedy"),
    [
        (["-k"], "SSH password", "--connection-password-file"),
        (["-K"], "BECOME password", "--become-password-file"),
        (["--vault-id", "prod@prompt"], "Vault password (prod)", "--vault-password-file"),
        (["--ask-vault-pass"], "Vault password", "--vault-password-file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_where_nobody_can_be_asked(tmp_path: Path, words: list[str], asked_for: str, remedy: str) -> None:
    """Away from any terminal a line of standard input answers; without one it is told what is missing."""
    (tmp_path / "p.yml").write_text("- {hosts: localhost, gather_facts: false, tasks: [{command: 'true'}]}\n")
    ikoma = Ikoma(tmp_path, prefix=("setsid", "-w", sys.executable))
    done = ikoma("run", "p.yml", *words, expect=1)
    assert f"there is nobody to ask for the {asked_for}" in done.err and remedy in done.err
    assert "Warning" not in done.err
    assert "Warning" not in ikoma("run", "p.yml", *words, typed="secret\n").err


def test_standard_input_is_a_password_or_a_file(tmp_path: Path) -> None:
    ikoma = Ikoma(tmp_path, prefix=("setsid", "-w", sys.executable))
    done = ikoma("vault", "encrypt", "-", typed="one\ntwo\n", expect=1)
    assert done.out == "" and "one" not in done.err
    assert "standard input cannot be both the New vault password and the file" in done.err


def test_fact_caching_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text("- {hosts: localhost, gather_facts: false, tasks: []}\n")
    done = Ikoma(tmp_path, {"ANSIBLE_CACHE_PLUGIN": "redis"})("run", "play.yml", expect=1)
    assert "ANSIBLE_CACHE_PLUGIN=redis: fact caching plugins are not part of ikoma-play" in done.err
    (tmp_path / "ansible.cfg").write_text("[defaults]\nforks = 5\nfact_caching = jsonfile\n")
    done = Ikoma(tmp_path)("check", "play.yml", expect=1)
    assert "ansible.cfg: fact_caching = jsonfile: fact caching plugins are not part" in done.err
    for text in ("[defaults]\nfact_caching = memory\n", "no ini at all", "[defaults]\nforks = %(x)s\n"):
        (tmp_path / "ansible.cfg").write_text(text)
        Ikoma(tmp_path, {"ANSIBLE_CACHE_PLUGIN": "memory"})("check", "play.yml")


def test_version_and_help(ikoma: Ikoma) -> None:
    assert ikoma("--version").out == f"ikoma-play {__version__}\n"
    text = ikoma("--help").out
    for command in ("run", "check", "plan", "exec", "tools", "inventory", "schema"):
        assert f"\n  {command} " in text, f"--help does not name {command}"
        assert "Usage: ikoma-play " + command in ikoma(command, "-h").out


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    script = f"{sys.executable} -m ikoma_play schema | head -n 1; echo codes ${{PIPESTATUS[*]}}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["{", "codes 0 0"]
    assert done.stderr == ""


def test_output_in_a_locale_that_cannot_show_it(tmp_path: Path) -> None:
    playbook = tmp_path / "p.yml"
    playbook.write_text(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - name: Grüße – ✓\n      debug: {msg: 日本}\n"
    )
    done = Ikoma(tmp_path, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})("run", "p.yml")
    assert done.out.isascii() and "ok: [localhost] Gr" in done.out


NO_SUCH_FILE = """
from ikoma_play.cli import commands, main
commands.COMMANDS["run"] = ("nothing_there", "")
raise SystemExit(main.main(["run", "x"]))
"""
IN_A_THREAD = """
import threading
from ikoma_play.cli import main

def work():
    thread = threading.Thread(target=lambda: {}["missing"])
    thread.start()
    thread.join()
    return 0

raise SystemExit(main.guarded(work))
"""


@pytest.mark.parametrize(
    ("script", "code", "said"),
    [(NO_SUCH_FILE, 2, "ModuleNotFoundError"), (IN_A_THREAD, 0, "KeyError: 'missing'")],
    ids=["subcommand", "thread"],
)
def test_a_mistake_of_ours_is_one_sentence_and_debugging_shows_the_rest(
    tmp_path: Path, script: str, code: int, said: str
) -> None:
    """A subcommand whose file is not there stands for any exception that nobody expected."""
    done = python(script, tmp_path)
    assert done.returncode == code
    assert f"ikoma-play itself failed: {said}" in done.stderr
    assert "IKOMA_DEBUG=1" in done.stderr and "Traceback" not in done.stderr
    assert "Traceback" in python(script, tmp_path, IKOMA_DEBUG="1").stderr
