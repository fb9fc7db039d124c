"""The same playbook on hosts reached over SSH: real OpenSSH servers, real Docker and PostgreSQL behind them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts.platform import Platform
from tests.parts.sshd import servers
from tests.parts.web import ask_json

from .conftest import DockerHost, make_docker_host

Fleet = dict[str, DockerHost]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, platform: Platform, python_base: str) -> Iterator[Fleet]:
    """Two hosts of one inventory, each behind an SSH server of its own, with applications of their own."""
    folder = tmp_path_factory.mktemp("fleet")
    made: Fleet = {}
    with servers() as site:
        running = [site.server().start(), site.server().start()]
        inventory: dict[str, Any] = {}
        try:
            for name, server in zip(("alpha", "beta"), running, strict=True):
                host = made[name] = make_docker_host(folder / name, platform, python_base)
                variables = json.loads((host.folder / "hosts.yml").read_text())
                reached = server.host(name, user="root").vars
                inventory[name] = {**variables["all"]["children"]["apps"]["hosts"]["here"], **reached}
            (folder / "hosts.yml").write_text(json.dumps({"all": {"children": {"apps": {"hosts": inventory}}}}))
            yield made
        finally:
            for host in made.values():
                host.clear()
            for server in running:
                server.stop()


def test_the_deploy_on_two_hosts(fleet: Fleet) -> None:
    alpha = fleet["alpha"]
    first = alpha.ikoma("run", "deploy", "-i", "../hosts.yml", "--json")
    for name, host in fleet.items():
        assert first.recap[name]["failed"] == 0, first
        assert ask_json(f"{host.url}/health")[0] == 200, f"{name} does not answer\n{first}"
    again = alpha.ikoma("run", "deploy", "-i", "../hosts.yml", "--json")
    assert {name: again.recap[name]["changed"] for name in fleet} == {"alpha": 0, "beta": 0}, again


def test_tools_tell_what_is_so_over_there(fleet: Fleet) -> None:
    beta = fleet["beta"]
    words = (f"appName={beta.app}", "-i", "../hosts.yml", "-l", "beta")
    backup = json.loads(beta.ikoma("exec", "db.backup", *words).out)
    assert Path(backup["backupPath"]).stat().st_size == backup["size"] > 0
    beta.compose("kill", "web")
    status = json.loads(beta.ikoma("exec", "apps.status", *words, expect=None).out)
    assert status["dockerRunning"] is False
    assert ask_json(f"{fleet['alpha'].url}/health")[0] == 200, "the other host's application is gone"
