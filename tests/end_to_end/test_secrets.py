"""Canary secrets are planted, and everything that the program wrote is searched for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.parts.command import Finished, Ikoma
from tests.parts.platform import free_port
from tests.parts.traces import files_below, processes_about

from .conftest import DockerHost

CANARY = "canary-5e1f-τὸ-κανάρι"
PASSWORD = "canary/pass%word&7c2d"
# The only files that may hold a value of .env: .env itself, what starts the services with it (again), and what
# a step keeps to undo itself.
KEEPERS = (".env", "supervisor/programs/", ".ikoma/deployed.json", ".ikoma/undo/")


def found(finished: Finished) -> list[str]:
    """The lines of the output that hold a canary, also one that JSON or a URL has written otherwise."""
    spellings = [CANARY, json.dumps(CANARY)[1:-1], "canary-5e1f", PASSWORD, "pass%25word", "canary/pass"]
    return [line for line in finished.text.splitlines() if any(spelling in line for spelling in spellings)]


def in_files(folder: Path) -> list[str]:
    """Files that hold a canary and should not, or that others than their owner may read."""
    holding = [
        name
        for name, content in files_below(folder).items()
        if (b"canary-5e1f" in content or b"canary/pass" in content) and name != "hosts.yml"  # which the test wrote
    ]
    assert holding, "no file holds a canary at all: they were not planted"
    return [
        name
        for name in holding
        if not any(keeper in name for keeper in KEEPERS) or (folder / name).stat().st_mode & 0o077
    ]


def test_on_the_sandbox(tmp_path: Path) -> None:
    ikoma = Ikoma(tmp_path)
    env = json.dumps({"env": {"PORT": free_port(), "API_TOKEN": CANARY, "DATABASE_KEY": PASSWORD}})
    try:
        for words in ([], ["-v"], ["--diff", "-vvv"], ["--json"], ["--check", "--diff"]):
            done = ikoma("run", "deploy", "-e", env, *words)
            assert found(done) == [], f"run {' '.join(words)} shows a secret"
        changed = json.dumps({"env": json.loads(env)["env"] | {"API_TOKEN": f"{CANARY}-changed"}})
        assert found(ikoma("run", "deploy", "-e", changed, "--diff")) == [], "the diff of .env shows a secret"
        for tool in ("apps.status", "apps.health", "apps.validate", "apps.env.example", "artifact.verify_release"):
            assert found(ikoma("exec", tool, "appName=guestbook", expect=None)) == [], f"{tool} shows a secret"
        assert in_files(tmp_path) == [], "a file other than .env holds a secret"
        for pid, command in processes_about(tmp_path).items():
            assert "canary" not in command, f"the process list shows a secret: {pid} {command}"
    finally:
        ikoma("run", "sandbox-down", "-e", "remove=true")


def test_on_docker(docker_host: DockerHost) -> None:
    env = {
        "PORT": docker_host.port,
        "BASE_IMAGE": docker_host.base_image,
        "IKOMA_NETWORK": docker_host.platform.network,
        "API_TOKEN": CANARY,
    }
    docker_host.write_inventory(env=env)
    for words in ([], ["--diff", "-vvv"], ["--json"]):
        done = docker_host.run("deploy", *words)
        assert found(done) == [] and docker_host.platform.password not in done.text, done
    docker_host.write_inventory(env=env | {"PORT": 1, "GUESTBOOK_TITLE": CANARY})
    failing = docker_host.run("deploy", "-v", "--diff", expect=None)
    assert found(failing) == [], "a failing deploy shows a secret"
    assert in_files(docker_host.folder) == [], "a file other than .env holds a secret"
    secret = docker_host.platform.password.encode()
    holding = [name for name, content in files_below(docker_host.folder).items() if secret in content]
    assert all(any(keeper in name for keeper in KEEPERS) for name in holding), f"the password is in {holding}"


@pytest.mark.parametrize("words", [(), ("--json",), ("-vvv",)])
def test_what_a_host_prints_is_masked_by_value(tmp_path: Path, words: tuple[str, ...]) -> None:
    """A step that echoes a secret, and one that fails with it on standard error."""
    (tmp_path / ".env").write_text(f"API_TOKEN={CANARY}\n")
    (tmp_path / "echo.yml").write_text(
        "- hosts: localhost\n"
        "  tasks:\n"
        "    - name: Hidden\n"
        f"      command: echo {CANARY}\n"
        "      no_log: true\n"
        "    - name: Fails\n"
        f"      command: sh -c 'echo {CANARY} >&2; exit 3'\n"
        "      no_log: true\n"
    )
    done = Ikoma(tmp_path)("run", "echo.yml", *words, expect=2)
    assert found(done) == [], "no_log shows what it should hide"
