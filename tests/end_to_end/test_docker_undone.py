"""A deploy on real Docker that fails leaves all as it was: files, rows, containers, images, networks, volumes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.engine import PlannedStep
from ikoma_play.model import Host
from tests.parts.command import CHECKOUT, Finished
from tests.parts.images import run
from tests.parts.platform import Platform
from tests.parts.undone import difference, failing_after, rows, steps, tree
from tests.parts.web import ask, ask_json

from .conftest import DockerHost, make_docker_host

GUESTBOOK = CHECKOUT / "playbooks/examples/guestbook"
CHOSEN = [next(step for step in steps() if step.tool == tool) for tool in ("db.migrate", "artifact.verify_release")]


def state(host: DockerHost) -> dict[str, Any]:
    """What of the host has to be as it was. A container that was brought back is another one of the same image."""
    mine = ("--filter", f"label=com.docker.compose.project={host.app}")
    containers = run("docker", "ps", "--all", *mine, "--format", "{{.Names}}").stdout.split()
    look = ("docker", "inspect", "--format", "{{.Name}} {{.Image}} {{.State.Status}} {{.State.Health.Status}}")
    variables = {"ikoma_env_file": str(host.platform.env_file), "ansible_connection": "local"}
    return {
        "files": tree(host.folder, (r"\.ikoma(/journal|$)", r"failing(/|$)", r"audit\.jsonl")),
        "rows": rows(Host("here", vars=variables), host.app),
        "containers": run(*look, *containers).stdout.splitlines() if containers else [],
        "images": {name for name in _images() if host.app in name},
        "networks": run("docker", "network", "ls", *mine, "--format", "{{.Name}}").stdout.split(),
        "volumes": run("docker", "volume", "ls", *mine, "--format", "{{.Name}}").stdout.split(),
    }


def _images() -> list[str]:
    return run("docker", "images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").stdout.splitlines()


def fails_and_is_undone(host: DockerHost, step: PlannedStep, source: Path) -> Finished:
    before = state(host)
    done = host.run(str(failing_after(step, host.folder / "failing")), "-e", f"source={source}", "--json", expect=3)
    after = state(host)
    for what, was in before.items():
        assert after[what] == was, f"{what} differ\n{difference(was, after[what])}\n{done}"
    return done


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guestbook with a volume and a mounted directory, and a health check that looks more often."""
    place = tmp_path_factory.mktemp("source") / "first"
    shutil.copytree(GUESTBOOK, place, ignore=shutil.ignore_patterns("__pycache__"))
    compose = place / "docker-compose.yml"
    text = compose.read_text().replace("interval: 2s", "interval: 1s")
    text = text.replace("    init: true\n", '    init: true\n    volumes: ["./uploads:/uploads", "things:/things"]\n')
    compose.write_text(text + "\nvolumes:\n  things:\n")
    return place


@pytest.fixture(scope="module")
def second(source: Path) -> Path:
    """A further release of it, with another image and a migration."""
    place = source.with_name("second")
    shutil.copytree(source, place)
    (place / "migrations/003_add_mood.sql").write_text("ALTER TABLE entries ADD mood text;\n")
    server = place / "guestbook/server.py"
    server.write_text(server.read_text() + "# second\n")
    return place


@pytest.fixture(scope="module")
def serving(
    tmp_path_factory: pytest.TempPathFactory, platform: Platform, python_base: str, source: Path
) -> Iterator[DockerHost]:
    """A first release that serves, with an entry that somebody wrote."""
    host = make_docker_host(tmp_path_factory.mktemp("undone"), platform, python_base)
    try:
        host.run("deploy", "-e", f"source={source}")
        ask(host.url, {"author": "Ada", "message": "written meanwhile"})
        (host.place / "uploads/picture").write_text("of Ada")
        yield host
    finally:
        host.clear()


@pytest.mark.parametrize("step", CHOSEN[1:], ids=[step.title for step in CHOSEN[1:]])
def test_a_first_deploy_that_fails_leaves_no_trace(docker_host: DockerHost, source: Path, step: PlannedStep) -> None:
    fails_and_is_undone(docker_host, step, source)
    assert not list((docker_host.folder / "apps").iterdir())


@pytest.mark.parametrize("step", CHOSEN, ids=[step.title for step in CHOSEN])
def test_a_second_deploy_that_fails_leaves_the_first_serving(
    serving: DockerHost, second: Path, step: PlannedStep
) -> None:
    fails_and_is_undone(serving, step, second)
    assert ask_json(f"{serving.url}/health")[1]["entries"] == 2
    assert "written meanwhile" in ask(serving.url)[1]
    assert serving.execute("artifact.verify_release")["verified"] is True
