"""Who has something done over HTTP: the key's name is with the release, the run and the lock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ikoma_play.model import Access
from ikoma_play.platform.key_file import KeyFile
from tests.parts.applications import WEB
from tests.parts.platform import free_port
from tests.parts.serving import Service, serving

from .test_runs import get, post, state

DEPLOY = """\
- hosts: all
  gather_facts: false
  vars: {ikoma_actor: somebody else}
  steps:
    - deploy.up: {appName: whose}
    - debug: {msg: "{{ ikoma_actor }}"}
"""


@pytest.fixture
def server(tmp_path: Path, docker_engine: None) -> Iterator[Service]:
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks/up.yml").write_text(DEPLOY)
    with serving(tmp_path) as service:
        yield service
        service.call("deploy.down", {"appName": "whose"})


def test_the_name_of_the_key_is_with_what_it_did(server: Service, busybox: str) -> None:
    file = KeyFile(server.folder / "keys.json")
    ci = file.change(lambda keys: keys.create("ci", Access.OPERATOR))
    bot = file.change(lambda keys: keys.create("bot", Access.ADMIN))
    compose = server.apps / "whose/docker-compose.yml"
    compose.parent.mkdir()
    compose.write_text(WEB.format(image=busybox, port=free_port(), more=""))
    assert server.call("deploy.up", {"appName": "whose"}, key=ci).status == 200
    compose.write_text(WEB.format(image=busybox, port=free_port(), more=""))
    run = post(server, "/runs", {"playbook": "up"}, key=bot).data["run"]
    server.until(lambda: state(server, run) == "done", 60)
    releases = server.call("artifact.releases", {"appName": "whose"}).result
    assert [release["who"] for release in releases] == ["bot", "ci"]
    shown = get(server, f"/runs/{run}").data
    assert shown["who"] == "bot" and shown["steps"][-1]["outcome"]["message"] == "bot", "no playbook says otherwise"
    whose = {row["what"]: row["who"] for row in get(server, "/runs").data["runs"]}
    assert whose["POST /execute/deploy.up"] == "ci"
