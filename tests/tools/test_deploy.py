"""The tools deploy.*: honest about success, about changes, and about what a failure left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ikoma_play.errors import NotFound, StepError, Unhealthy
from ikoma_play.model import Status
from ikoma_play.platform.envfile import EnvFile
from ikoma_play.transport.dry import DryTransport
from tests.parts.applications import WEB, Application, SecretsKept, application
from tests.parts.platform import free_port

GREETING = """\
services:
  web:
    image: {image}
    command: ["sh", "-c", "test $$GREETING = hello || {{ echo $$GREETING; exit 3; }}; exec sleep 600"]
    environment: {{GREETING: "${{GREETING:-hello}}"}}
    init: true
    stop_grace_period: 0s
"""


@pytest.fixture
def app(docker_engine: None, tmp_path: Path) -> Iterator[Application]:
    with application(tmp_path) as made:
        yield made


def test_up_restart_down(app: Application, busybox: str) -> None:
    app.write(WEB.format(image=busybox, port=free_port(), more=""))
    first = app.call("deploy.up")
    assert first.status is Status.CHANGED and first.result["success"] is True and first.result["message"]
    assert [entry["health"] for entry in first.result["details"]["services"]] == ["healthy"]
    assert first.result["details"]["release"]
    second = app.call("deploy.up")
    assert second.status is Status.OK, "a second deploy of the same changes nothing"
    assert second.result["details"]["release"] == first.result["details"]["release"]

    restarted = app.call("deploy.restart")
    assert restarted.status is Status.CHANGED
    assert restarted.result["details"]["services"][0]["health"] == "healthy"

    assert app.call("deploy.down").status is Status.CHANGED
    assert app.traces() == {}
    assert app.call("deploy.down").status is Status.OK


def test_up_writes_the_given_variables_first(app: Application, busybox: str) -> None:
    app.write(WEB.format(image=busybox, port="${PORT:?the port}", more=""))
    port, scope = free_port(), SecretsKept()
    outcome = app.call("deploy.up", scope=scope, env={"PORT": port, "API_TOKEN": "canary-4711"})
    assert EnvFile((app.folder / ".env").read_text()).values == {"PORT": str(port), "API_TOKEN": "canary-4711"}
    assert outcome.result["details"]["env"] == ["API_TOKEN", "PORT"]
    assert "canary" not in json.dumps(outcome.result) and "canary-4711" in scope.kept
    assert app.call("deploy.up", env={"PORT": str(port)}).status is Status.OK


def test_a_failed_up_puts_env_back_and_the_former_version(app: Application, busybox: str) -> None:
    app.write(GREETING.format(image=busybox), "# mine\n").call("deploy.up")
    with pytest.raises(Unhealthy) as caught:
        app.call("deploy.up", env={"GREETING": "canary-greeting"}, timeout=30)
    assert "exited with code 3" in caught.value.message
    assert (app.folder / ".env").read_text() == "# mine\n"
    assert app.runtime.services(app.name)[0].good, "what ran before must run again"


def test_a_first_up_that_fails_leaves_nothing(app: Application, busybox: str) -> None:
    app.write(GREETING.format(image=busybox), "GREETING=other\n")
    with pytest.raises(Unhealthy):
        app.call("deploy.up")
    assert app.traces() == {}
    assert app.call("artifact.releases").result == [], "what failed is no release"


def test_check_mode(app: Application, busybox: str) -> None:
    app.write(GREETING.format(image=busybox))
    assert app.call("deploy.up", through=DryTransport(app.on)).status is Status.CHANGED
    assert app.traces() == {} and not (app.folder / ".ikoma").exists()
    app.call("deploy.up")
    assert app.call("deploy.up", through=DryTransport(app.on)).status is Status.OK
    assert app.call("deploy.restart", through=DryTransport(app.on)).status is Status.CHANGED
    assert app.call("deploy.down", through=DryTransport(app.on)).status is Status.CHANGED
    assert app.runtime.services(app.name)[0].good
    dry = DryTransport(app.on)
    assert app.call("deploy.up", through=dry, env={"GREETING": "hello"}).status is Status.CHANGED
    assert (app.folder / ".env").read_text() == ""


def test_what_is_not_there(app: Application, busybox: str) -> None:
    for tool in ("deploy.up", "deploy.down", "deploy.restart"):
        with pytest.raises(NotFound, match="no application"):
            app.call(tool)
    app.write(GREETING.format(image=busybox))
    with pytest.raises(NotFound) as caught:
        app.call("deploy.restart")
    assert "deploy.up" in caught.value.remedy
    (app.folder / "docker-compose.yml").unlink()
    with pytest.raises(NotFound, match="no compose file"):
        app.call("deploy.up")


def test_a_missing_variable_is_named_before_anything_starts(app: Application, busybox: str) -> None:
    app.write(WEB.format(image=busybox, port="${PORT:?the port}", more=""))
    with pytest.raises(StepError) as caught:
        app.call("deploy.up")
    assert "PORT" in caught.value.message and ".env" in caught.value.message
    assert app.traces() == {}


def test_an_upper_case_name_is_one_project_with_what_is_typed_there(app: Application, busybox: str) -> None:
    """`docker compose -f …/docker-compose.yml logs`, typed by hand, must find the same containers."""
    named = Application(app.root, app.variables, f"_My-App-{app.name}")
    try:
        named.write(GREETING.format(image=busybox)).call("deploy.up")
        listed = app.docker("compose", "-f", str(named.folder / "docker-compose.yml"), "ps", "--quiet")
        assert listed == [named.runtime.services(named.name)[0].id]
    finally:
        named.clear()


def test_check_mode_sees_what_steps_before_would_have_changed(app: Application, busybox: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "docker-compose.yml").write_text(GREETING.format(image=busybox) + "    build: ./src\n")
    (source / "Dockerfile").write_text(f"FROM {busybox}\n")
    dry = DryTransport(app.on)
    for tool, values in (("apps.init", {}), ("apps.source", {"source": str(source)}), ("deploy.up", {})):
        assert app.call(tool, through=dry, **values).status is Status.CHANGED
    assert app.call("apps.validate", through=dry).result["valid"]
    assert app.call("artifact.record_release", through=dry).status is Status.CHANGED
    assert not app.folder.exists() and app.traces() == {}

    app.write(GREETING.format(image=busybox)).call("deploy.up")
    later = DryTransport(app.on)
    assert app.call("deploy.up", through=later).status is Status.OK
    later.write(str(app.folder / "docker-compose.yml"), GREETING.format(image="another").encode())
    assert app.call("deploy.up", through=later).status is Status.CHANGED, "the file that would be written counts"
