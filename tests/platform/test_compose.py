"""Services in real containers: brought up, looked at, restarted, taken down; and every way that can fail."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.errors import NotFound, Refused, StepError, Unavailable, Unhealthy
from ikoma_play.model import Host
from ikoma_play.platform.compose import ComposeRuntime
from ikoma_play.transport.dry import DryTransport
from ikoma_play.transport.local import LocalTransport
from tests.parts.applications import WEB, Application, application
from tests.parts.platform import free_port

LOOPING = "services: {{web: {{image: {image}, restart: always, command: [sh, -c, 'echo last words; exit 3']}}}}\n"


@pytest.fixture
def app(docker_engine: None, tmp_path: Path) -> Iterator[Application]:
    with application(tmp_path) as made:
        yield made


def web(busybox: str, port: int, more: str = "") -> str:
    return WEB.format(image=busybox, port=port, more=more)


def test_up_looks_down(app: Application, busybox: str) -> None:
    port = free_port()
    app.write(web(busybox, port))
    assert [(service.name, service.state) for service in app.runtime.services(app.name)] == [("web", "missing")]
    assert app.runtime.up(app.name, 60), "a first start changes something"
    (service,) = app.runtime.services(app.name)
    assert (service.state, service.health, service.ports) == ("running", "healthy", (f"127.0.0.1:{port}",))
    assert service.good and service.id and service.started_at
    image = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{.Id}}", busybox], capture_output=True, text=True, check=True
    )
    assert service.image == image.stdout.strip()

    assert not app.runtime.up(app.name, 60), "a second start changes nothing"
    assert app.runtime.services(app.name)[0].id == service.id
    assert not list(app.runtime.ports(app.name)), "its own port is not taken by something else"

    app.runtime.restart(app.name, 60)
    (again,) = app.runtime.services(app.name)
    assert again.good and again.id == service.id and again.started_at != service.started_at

    assert app.runtime.down(app.name)
    assert app.traces() == {}
    assert not app.runtime.down(app.name)


def test_a_changed_file_makes_its_service_anew_and_removes_orphans(app: Application, busybox: str) -> None:
    other = f"  other: {{image: {busybox}, init: true, command: [sleep, '600']}}\n"
    app.write(web(busybox, free_port(), other))
    app.runtime.up(app.name, 60)
    before = {service.name: service.id for service in app.runtime.services(app.name)}
    app.write(web(busybox, free_port()))
    assert app.runtime.up(app.name, 60)
    after = {service.name: service.id for service in app.runtime.services(app.name)}
    assert set(after) == {"web"} and after["web"] != before["web"]
    assert len(app.traces()["containers"]) == 1, "the container of a service that is gone stays"


def test_images_are_built_and_only_a_changed_source_changes_anything(app: Application, busybox: str) -> None:
    port = free_port()
    app.write(web(f"{app.name}:built", port, "    build: ./src\n"))
    (app.folder / "src").mkdir()
    recipe = app.folder / "src/Dockerfile"
    recipe.write_text(f"FROM {busybox}\nCOPY page /page\n")
    (app.folder / "src/page").write_text("one")
    assert app.runtime.up(app.name, 60)
    assert not app.runtime.up(app.name, 60), "the same source must not change anything"
    first = app.runtime.services(app.name)[0].image
    (app.folder / "src/page").write_text("two")
    assert app.runtime.up(app.name, 60), "a changed source must be built and started"
    assert app.runtime.services(app.name)[0].image != first


def test_logs(app: Application, busybox: str) -> None:
    lines = "for n in 1 2 3; do echo line $$n; done; echo to-stderr >&2; sleep 600"
    app.write(
        f"services: {{a: {{image: {busybox}, init: true, stop_grace_period: 0s, command: [sh, -c, '{lines}']}}}}\n"
    )
    app.runtime.up(app.name, 60)
    everything = app.runtime.logs(app.name)
    said = [line.partition("| ")[2] for line in everything.splitlines()]
    assert "to-stderr" in said, "standard error belongs to the log"
    assert [line for line in said if line != "to-stderr"] == ["line 1", "line 2", "line 3"]
    assert len(app.runtime.logs(app.name, "a", tail=2).splitlines()) == 2
    with pytest.raises(NotFound, match="service b"):
        app.runtime.logs(app.name, "b")


def test_a_service_that_others_wait_for_may_finish(app: Application, busybox: str) -> None:
    app.write(
        "services:\n"
        f"  prepare: {{image: {busybox}, command: ['true']}}\n"
        f"  web: {{image: {busybox}, init: true, command: [sleep, '600'],"
        " depends_on: {prepare: {condition: service_completed_successfully}}}\n"
    )
    assert app.runtime.up(app.name, 60)
    assert {service.name: service.good for service in app.runtime.services(app.name)} == {"prepare": True, "web": True}
    assert not app.runtime.up(app.name, 60)


def test_an_external_network_is_made_and_said(app: Application, busybox: str) -> None:
    name = f"{app.name}-net"
    networks = f"    networks: [platform]\nnetworks: {{platform: {{name: {name}, external: true}}}}\n"
    app.write(web(busybox, free_port(), networks))
    runtime = app.runtime
    try:
        assert runtime.up(app.name, 60)
        assert any(name in note for note in runtime.notes), runtime.notes
        again = app.runtime
        assert not again.up(app.name, 60) and not again.notes
    finally:
        app.runtime.down(app.name)
        app.docker("network", "rm", name)


FAILURES: list[tuple[str, str, type[StepError], list[str]]] = [
    ("exits", "command: [sh, -c, 'echo last words; exit 3']", Unhealthy, ["web", "exited with code 3", "last words"]),
    ("exits well", "command: [echo, last words]", Unhealthy, ["web", "exited with code 0", "last words"]),
    (
        "crashes",
        "restart: always, command: [sh, -c, 'echo last words; exit 3']",
        Unhealthy,
        ["web", "again and again", "last words", "exit code was 3"],
    ),
    (
        "is unhealthy",
        "init: true, command: [sleep, '600'], healthcheck: {test: 'echo sick; exit 1', interval: 200ms, retries: 2}",
        Unhealthy,
        ["web", "health check", "sick"],
    ),
    ("has no such command", "command: [nosuch]", StepError, ["nosuch", "executable file not found"]),
    ("has no such folder", "working_dir: /, user: nobodyhere", StepError, ["nobodyhere"]),
]


@pytest.mark.parametrize(("how", "service", "error", "says"), FAILURES, ids=[row[0] for row in FAILURES])
def test_a_service_that_fails_is_named_with_its_words_and_nothing_stays(
    app: Application, busybox: str, how: str, service: str, error: type[StepError], says: list[str]
) -> None:
    app.write(f"services: {{web: {{image: {busybox}, stop_grace_period: 0s, {service}}}}}\n")
    with pytest.raises(error) as caught:
        app.runtime.up(app.name, 30)
    told = f"{caught.value.message}\n{caught.value.remedy}\n{caught.value.evidence}"
    assert all(words in told for words in says), told
    assert "Nothing was left behind" in caught.value.remedy
    assert app.traces() == {}, "something of the failed attempt stayed"


def test_a_service_that_never_becomes_healthy_is_given_up_in_time(app: Application, busybox: str) -> None:
    check = "healthcheck: {test: 'echo not yet; exit 1', interval: 100ms, retries: 10000}"
    app.write(
        f"services: {{web: {{image: {busybox}, init: true, stop_grace_period: 0s, command: [sleep, '600'],"
        f" {check}}}}}\n"
    )
    with pytest.raises(Unhealthy) as caught:
        app.runtime.up(app.name, 2)
    assert "did not become healthy within 2 s" in caught.value.message
    assert "not yet" in caught.value.evidence
    assert app.traces() == {}


def test_a_dependency_that_fails_is_the_one_named(app: Application, busybox: str) -> None:
    app.write(
        "services:\n"
        f"  web: {{image: {busybox}, command: [sleep, '600'], depends_on: {{db: {{condition: service_healthy}}}}}}\n"
        f"  db: {{image: {busybox}, init: true, stop_grace_period: 0s, command: [sleep, '600'],"
        " healthcheck: {test: 'echo no disk; exit 1', interval: 200ms, retries: 2}}\n"
    )
    with pytest.raises(Unhealthy) as caught:
        app.runtime.up(app.name, 30)
    assert "db" in caught.value.message and "no disk" in caught.value.evidence
    assert app.traces() == {}


def test_a_missing_image_is_told_from_other_failures(app: Application) -> None:
    image = f"{app.name}/nothing:1"
    app.write(f"services: {{web: {{image: '{image}'}}}}\n")
    with pytest.raises(NotFound) as caught:
        app.runtime.up(app.name, 30)
    assert image in caught.value.message and "docker pull" in caught.value.remedy
    assert app.traces() == {}


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ("FROM {busybox}\nRUN echo building; exit 7\n", ["could not be built", "building"]),
        ("FROM nowhere.invalid/base:1\n", ["base image", "nowhere.invalid/base"]),
        ("FRUM x\n", ["could not be built", "FRUM"]),
    ],
)
def test_a_build_that_fails_shows_its_output(app: Application, busybox: str, recipe: str, says: list[str]) -> None:
    app.write("services: {web: {build: ./src}}\n")
    (app.folder / "src").mkdir()
    (app.folder / "src/Dockerfile").write_text(recipe.format(busybox=busybox))
    with pytest.raises(StepError) as caught:
        app.runtime.up(app.name, 30)
    told = f"{caught.value.message}\n{caught.value.evidence}"
    assert all(words.lower() in told.lower() for words in says), told
    assert app.traces() == {}
    for step in re.findall("Running in ([0-9a-f]+)", told):
        assert not app.docker("ps", "--all", "--quiet", "--filter", f"id={step}"), "the build's container stayed"


def test_a_port_taken_by_a_process_is_refused_before_anything_starts(app: Application, busybox: str) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        app.write(web(busybox, port))
        with pytest.raises(Refused) as caught:
            app.runtime.up(app.name, 30)
        ((service, number, who),) = app.runtime.ports(app.name)
    assert str(port) in caught.value.message and "process" in caught.value.message
    assert "PORT" in caught.value.remedy
    assert (service, number) == ("web", port) and "process" in who
    assert app.traces() == {}


def test_a_port_taken_by_another_application_names_its_container(
    app: Application, busybox: str, tmp_path: Path
) -> None:
    port = free_port()
    with application(tmp_path) as other:
        other.write(web(busybox, port)).runtime.up(other.name, 60)
        app.write(web(busybox, port))
        with pytest.raises(Refused) as caught:
            app.runtime.up(app.name, 30)
        assert f"container {other.name}-web-1" in caught.value.message
        assert app.traces() == {}
        assert other.runtime.services(other.name)[0].good, "the other application must not notice"


def test_a_failed_update_leaves_the_former_version_running(app: Application, busybox: str) -> None:
    port = free_port()
    app.write(web(busybox, port)).runtime.up(app.name, 60)
    (before,) = app.runtime.services(app.name)
    app.write(LOOPING.format(image=busybox))
    with pytest.raises(Unhealthy) as caught:
        app.runtime.up(app.name, 30)
    assert "The version that ran before is running again." in caught.value.remedy
    (after,) = app.runtime.services(app.name)
    assert after.good and after.image == before.image and after.ports == before.ports


def test_an_update_that_cannot_even_start_leaves_the_former_containers_untouched(
    app: Application, busybox: str
) -> None:
    app.write(web(busybox, free_port())).runtime.up(app.name, 60)
    before = app.runtime.services(app.name)[0].id
    app.write(f"services: {{web: {{image: '{app.name}/nothing:1'}}}}\n")
    with pytest.raises(NotFound) as caught:
        app.runtime.up(app.name, 30)
    assert "What ran before still runs, untouched." in caught.value.remedy
    assert app.traces()["containers"] == [before[:12]]


def test_variables_come_from_env_and_not_from_the_surroundings(
    app: Application, busybox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREETING", "of the runner")
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "stranger")
    compose = (
        f"services: {{web: {{image: {busybox}, command: [echo, '$GREETING'],"
        " environment: {X: '${OTHER:-mine}'}}}\n"
    )
    monkeypatch.setenv("OTHER", "of the runner")
    app.write(compose, "GREETING='of .env: $5'\n")
    config: Any = app.runtime.config(app.name)
    assert config["name"] == app.project
    assert config["services"]["web"]["command"] == ["echo", "of .env: $5"]
    assert config["services"]["web"]["environment"] == {"X": "mine"}


def test_missing_variables_are_all_named_before_anything_starts(app: Application, busybox: str) -> None:
    app.write(f"services: {{web: {{image: {busybox}, command: ['${{A}}', '${{B:?b}}', '${{C:-c}}']}}}}\n")
    with pytest.raises(StepError) as caught:
        app.runtime.up(app.name, 30)
    assert "A, B" in caught.value.message and ".env" in caught.value.message
    assert app.traces() == {}


def test_a_broken_compose_file_names_file_and_line(app: Application) -> None:
    app.write("services:\n  web:\n    image: x\n   ports: []\n")
    for deed in (lambda: app.runtime.up(app.name, 30), lambda: app.runtime.config(app.name)):
        with pytest.raises(StepError) as caught:
            deed()
        assert f"{app.folder}/docker-compose.yml:4" in caught.value.message


def test_what_only_docker_compose_knows_is_told_in_its_words(app: Application) -> None:
    app.write("services: {web: {image: x, network_mode: host, networks: [default]}}\n")
    with pytest.raises(StepError) as caught:
        app.runtime.config(app.name)
    assert str(app.folder) in caught.value.message and "network_mode" in caught.value.message


def test_secrets_of_env_are_in_no_error(app: Application, busybox: str) -> None:
    app.write(
        f"services: {{web: {{image: {busybox}, command: [sh, -c, 'echo it is $DB_PASSWORD; exit 1']}}}}\n",
        "DB_PASSWORD=canary-4711\n",
    )
    with pytest.raises(Unhealthy) as caught:
        app.runtime.up(app.name, 30)
    error = caught.value
    assert "it is ********" in error.evidence
    assert "canary-4711" not in f"{error} {error.message} {error.remedy} {error.evidence}"


def test_down_works_when_the_compose_file_broke_meanwhile(app: Application, busybox: str) -> None:
    app.write(web(busybox, free_port())).runtime.up(app.name, 60)
    app.write("services: [")
    assert [service.good for service in app.runtime.services(app.name)] == [True]
    assert app.runtime.down(app.name)
    assert app.traces() == {}


def test_a_project_of_another_directory_is_not_touched(app: Application, busybox: str, tmp_path: Path) -> None:
    app.write(web(busybox, free_port())).runtime.up(app.name, 60)
    other = Application(tmp_path / "elsewhere", name=app.name).write(web(busybox, free_port()))
    for deed in (lambda: other.runtime.up(app.name, 30), lambda: other.runtime.down(app.name)):
        with pytest.raises(Refused, match="already belongs to"):
            deed()
    assert app.runtime.services(app.name)[0].good


def test_restart_of_what_was_never_deployed(app: Application, busybox: str) -> None:
    app.write(web(busybox, free_port()))
    with pytest.raises(NotFound) as caught:
        app.runtime.restart(app.name, 30)
    assert "deploy.up" in caught.value.remedy


def test_check_mode_changes_nothing_and_tells_what_would(app: Application, busybox: str) -> None:
    app.write(web(busybox, free_port()))
    dry = ComposeRuntime(DryTransport(app.on))
    assert dry.up(app.name, 30)
    assert app.traces() == {}
    app.runtime.up(app.name, 60)
    assert not ComposeRuntime(DryTransport(app.on)).up(app.name, 30)
    app.write(web(busybox, free_port()))
    assert ComposeRuntime(DryTransport(app.on)).up(app.name, 30), "a changed port must be seen"
    assert ComposeRuntime(DryTransport(app.on)).down(app.name)
    assert app.runtime.services(app.name)[0].good


def test_an_engine_that_is_down(app: Application, busybox: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app.write(web(busybox, free_port()))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert app.runtime.available()[0] is False
    for deed in (lambda: app.runtime.up(app.name, 30), lambda: app.runtime.services(app.name)):
        with pytest.raises(Unavailable) as caught:
            deed()
        assert "Docker Engine" in caught.value.message and caught.value.remedy


def test_two_looks_at_once_do_not_disturb_each_other(app: Application, busybox: str) -> None:
    app.write(web(busybox, free_port())).runtime.up(app.name, 60)
    found: list[bool] = []
    threads = [threading.Thread(target=lambda: found.append(app.runtime.services(app.name)[0].good)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4


def test_available_names_the_versions(docker_engine: None) -> None:
    good, said = ComposeRuntime(LocalTransport(Host("here"))).available()
    assert good and "Docker Engine" in said and "Docker Compose" in said
