"""A wheel carries what the checkout has: code, playbooks, roles, inventory; it works away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.parts.command import CHECKOUT

SHIPPED = ("playbooks/", "roles/", "inventory.yml")


def run(*argv: str | Path, cwd: Path, **environ: str) -> str:
    done = subprocess.run(
        [str(word) for word in argv],
        cwd=cwd,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"$ {' '.join(map(str, argv))}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git has of the checkout, and what is new in it, copied: building leaves nothing behind in the checkout."""
    folder = tmp_path_factory.mktemp("source")
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=CHECKOUT).split("\0")
    for name in filter(None, listed):
        if (CHECKOUT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((CHECKOUT / name).read_bytes())
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", target, source, cwd=target)
    (found,) = target.glob("*.whl")
    return found


def files_of(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_has_every_shipped_file_dotfiles_too(source: Path, wheel: Path) -> None:
    here = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file() and path.relative_to(source).as_posix().startswith(SHIPPED)
    }
    prefix = "ikoma_play/share/"
    there = {name.removeprefix(prefix) for name in files_of(wheel) if name.startswith(prefix)}
    assert there == here
    assert any(Path(name).name.startswith(".") for name in there), "no dotfile is among them any more"


def test_the_wheel_has_the_code_and_nothing_else(source: Path, wheel: Path) -> None:
    names = files_of(wheel)
    code = {path.relative_to(source).as_posix() for path in (source / "ikoma_play").rglob("*.py")}
    assert code <= names
    files = (source / "ikoma_play").rglob("*")
    data = {path.relative_to(source).as_posix() for path in files if path.suffix in (".sql", ".pl")}
    assert "ikoma_play/transport/small_files.pl" in data
    assert data | {"ikoma_play/py.typed"} <= names
    roots = {name.partition("/")[0] for name in names}
    assert len(roots) == 2 and "ikoma_play" in roots, f"the wheel installs {sorted(roots)}"


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package installed, scripts and all; its libraries come from this environment."""
    target = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", target, wheel, cwd=target)
    return target


@pytest.mark.parametrize(
    "words", [("plan", "deploy"), ("check", "deploy"), ("inventory",), ("run", "deploy", "--list-tasks")]
)
def test_the_shipped_playbooks_are_found_anywhere(installed: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    out = run(installed / "bin" / "ikoma-play", *words, cwd=tmp_path, PYTHONPATH=str(installed))
    assert ("sandbox" if words[0] == "inventory" else "deploy") in out.lower()
    assert list(tmp_path.iterdir()) == []


def test_a_playbook_and_inventory_of_ones_own_come_first(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "playbooks").mkdir()
    own = "- name: My own deploy\n  hosts: mine\n  gather_facts: false\n  tasks:\n    - name: Only this\n      debug:\n"
    (tmp_path / "playbooks" / "deploy.yml").write_text(own)
    (tmp_path / "inventory.yml").write_text("all:\n  hosts:\n    mine:\n      ansible_connection: local\n")
    command = installed / "bin" / "ikoma-play"
    out = run(command, "run", "deploy", cwd=tmp_path, PYTHONPATH=str(installed))
    assert "PLAY My own deploy (mine)" in out and "ok: [mine] Only this" in out


def test_a_source_distribution_has_them_too(source: Path, tmp_path: Path) -> None:
    script = "import sys; sys.path.insert(0, '.'); from setuptools.build_meta import build_sdist as b; b(sys.argv[1])"
    run(sys.executable, "-m", "pip", "install", "-q", "--target", tmp_path / "tools", "setuptools>=65.5", cwd=tmp_path)
    run(sys.executable, "-c", script, tmp_path, cwd=source, PYTHONPATH=str(tmp_path / "tools"))
    (archive,) = tmp_path.glob("*.tar.gz")
    names = run("tar", "-tzf", archive, cwd=tmp_path)
    for name in (
        "/setup.py",
        "/inventory.yml",
        "/playbooks/deploy.yml",
        "/playbooks/examples/guestbook/.env.example",
        "/LICENSE",
    ):
        assert name + "\n" in names, f"{name} is not in the source distribution"
