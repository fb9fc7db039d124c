"""Services as local processes: brought up, looked at, changed, taken down; and every way that can fail."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ikoma_play.errors import NotFound, Refused, Unavailable, Unhealthy
from ikoma_play.platform import sandbox as sandboxes
from ikoma_play.platform.runtime import Service
from tests.parts.platform import free_port
from tests.parts.sandbox import COMPOSE, WEB, Sandbox, SmallDisk, sandbox

__all__ = ["sandbox"]


@dataclass
class App:
    sandbox: Sandbox
    name: str
    port: int
    folder: Path

    def env(self, **values: str) -> None:
        known = {"PORT": str(self.port), "SICK": str(self.folder / "sick"), **values}
        (self.folder / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in known.items()))

    def up(self, timeout: float = 60) -> bool:
        return self.sandbox.runtime.up(self.name, timeout)

    def services(self) -> dict[str, Service]:
        return {service.name: service for service in self.sandbox.runtime.services(self.name)}

    def says(self) -> str:
        return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5).read().decode()


@pytest.fixture
def app(sandbox: Sandbox) -> Iterator[App]:
    name = f"app-{secrets.token_hex(3)}"
    made = App(sandbox, name, free_port(), sandbox.app(name, {}))
    made.env()
    try:
        yield made
    finally:
        (made.folder / "docker-compose.yml").write_text(COMPOSE)
        sandbox.runtime.down(name)


def test_up_looks_restarts_down(app: App) -> None:
    assert app.services()["web"].state == "missing"
    assert app.up(), "a first start changes something"
    web = app.services()["web"]
    assert (web.state, web.health, web.ports) == ("running", "healthy", (f"127.0.0.1:{app.port}",))
    assert web.good and web.id and web.started_at and web.image.startswith("sha256:")
    assert app.says() == "hello"

    assert not app.up(), "a second start changes nothing"
    assert app.services()["web"].id == web.id
    assert not list(app.sandbox.runtime.ports(app.name)), "its own port is not taken by something else"
    assert "listening on" in app.sandbox.runtime.logs(app.name)

    app.sandbox.runtime.restart(app.name, 60)
    again = app.services()["web"]
    assert again.good and again.image == web.image

    assert app.sandbox.runtime.down(app.name)
    assert app.services()["web"].state == "missing"
    assert sandboxes.processes([app.sandbox.root], f"{app.name}.web") == []
    assert not (app.sandbox.root / "images" / app.name).exists(), "its code was left"
    assert not app.sandbox.runtime.down(app.name), "a second stop changes nothing"


def test_the_definition_and_the_code_make_the_difference(app: App) -> None:
    app.up()
    first = app.services()["web"]
    app.env(SAYS="50% 'quoted'".replace("'", '"'))
    assert app.up() and app.says() == '50% "quoted"'
    second = app.services()["web"]
    assert second.image != first.image and second.id != first.id
    code = app.folder / "src/web.py"
    code.write_text(WEB.replace(".encode())", ".encode() + b' again')"))
    assert app.says() == '50% "quoted"', "what runs changed under its feet"
    assert app.up() and app.says() == '50% "quoted" again'
    app.env()
    code.write_text(WEB)
    assert app.up()
    assert app.services()["web"].image == first.image, "the same code and definition have another digest"
    assert len(list((app.sandbox.root / "images" / app.name).iterdir())) == 1, "old code was kept"


def test_health_is_asked_now(app: App) -> None:
    app.up()
    (app.folder / "sick").touch()
    web = app.services()["web"]
    assert web.state == "running" and web.health in ("unhealthy", "starting")  # starting: it is young
    assert not web.good and "503" in web.detail
    (app.folder / "sick").unlink()
    assert app.services()["web"].good


def test_a_service_that_never_becomes_healthy_is_stopped_again(app: App) -> None:
    (app.folder / "sick").touch()
    with pytest.raises(Unhealthy) as failed:
        app.up()
    assert failed.value.message == "service web is unhealthy; stopped again: web"
    assert "503 sick" in failed.value.evidence and "listening on" in failed.value.evidence
    assert app.services()["web"].state == "missing", "it was left half up"


def test_a_change_that_fails_gives_way_to_what_ran_before(app: App) -> None:
    app.up()
    before = app.services()["web"]
    app.env(SAYS="canary-secret-value", SICK="/")
    with pytest.raises(Unhealthy) as failed:
        app.up()
    assert failed.value.message == "service web is unhealthy; running again as before: web"
    assert app.says() == "hello" and app.services()["web"].image == before.image

    (app.folder / "src/web.py").write_text("import sys; sys.exit('password is hunter22')")
    app.env(DB_PASSWORD="hunter22")
    with pytest.raises(Unhealthy) as crashed:
        app.up()
    assert "starts and ends again and again (exit status 1); running again as before: web" in crashed.value.message
    assert "password is ********" in crashed.value.evidence, "a secret of .env came out with the log"
    assert app.says() == "hello", "the code that ran before did not come back"


def test_a_service_that_crashes_later_is_not_healthy(app: App) -> None:
    compose = COMPOSE.replace("restart: unless-stopped", 'restart: "no"')
    (app.folder / "docker-compose.yml").write_text(compose)
    app.up()
    state = app.sandbox.supervisor.state(f"{app.name}.web")
    assert state is not None
    os.kill(state.pid, signal.SIGKILL)
    deadline = threading.Event()
    for _ in range(200):
        if app.services()["web"].state == "exited":
            break
        deadline.wait(0.05)
    web = app.services()["web"]
    assert (web.state, web.health, web.good) == ("exited", "unhealthy", False)
    assert app.up(), "what ended is started again"
    assert app.services()["web"].good


@pytest.mark.parametrize("running", [False, True])
def test_a_taken_port_is_refused_before_anything_is_touched(app: App, running: bool) -> None:
    if running:
        app.up()
    with socket.create_server(("127.0.0.1", 0)) as other:
        app.port, old = other.getsockname()[1], app.port
        app.env()
        with pytest.raises(Refused) as refused:
            app.up()
        assert f"port {app.port} of service web is taken by" in refused.value.message
        assert f"(process {os.getpid()})" in refused.value.message
        assert [(name, port) for name, port, _ in app.sandbox.runtime.ports(app.name)] == [("web", app.port)]
    app.port = old
    if running:
        assert app.says() == "hello", "what ran was stopped for a change that could not be"
    else:
        assert app.services()["web"].state == "missing"


def test_the_port_of_another_application_names_it(app: App) -> None:
    app.up()
    other = App(app.sandbox, f"{app.name}-b", app.port, app.sandbox.app(f"{app.name}-b", {}))
    other.env()
    with pytest.raises(Refused, match=f"is taken by service web of application {app.name}"):
        other.up()


def test_services_wait_for_what_they_need(app: App) -> None:
    order = app.folder / "order"
    note = f"import time; open({str(order)!r}, 'a').write(%r); %s"
    needs = "depends_on: {prepare: {condition: service_completed_successfully}, web: {condition: service_healthy}}"
    services = {
        "prepare": ("", note % ("prepare ", "time.sleep(.3)")),
        "late": (needs, note % ("late ", "time.sleep(60)")),
    }
    more = "".join(
        f"  {name}:\n    build: ./src\n    command: ['python3', {name}.py]\n    {needs}\n"
        for name, (needs, _) in services.items()
    )
    (app.folder / "docker-compose.yml").write_text(COMPOSE + more)
    for name, (_, code) in services.items():
        (app.folder / f"src/{name}.py").write_text(code)
    assert app.up()
    assert order.read_text() == "prepare late "
    found = app.services()
    assert found["prepare"].finished and found["prepare"].good, "a service that ended as it should is good"
    assert found["late"].state == "running"
    assert not app.up(), "what ended well is not started again"

    (app.folder / "docker-compose.yml").write_text(COMPOSE)
    assert app.up(), "services that are no longer declared are stopped"
    assert app.sandbox.supervisor.programs().count(f"{app.name}.late") == 0


def test_after_a_killed_supervisor_up_brings_everything_back(app: App) -> None:
    app.up()
    daemon = int(app.sandbox.supervisor._call("getPID"))
    os.kill(daemon, signal.SIGKILL)
    for _ in range(200):
        if not sandboxes.alive(daemon):
            break
        threading.Event().wait(0.05)
    assert app.services()["web"].state == "exited", "a service without a supervisor was called running"
    assert app.up(), "nothing was started"
    assert app.services()["web"].good and app.says() == "hello"
    assert app.sandbox.cluster.running(), "PostgreSQL did not come back"


def test_a_full_disk_stops_nothing(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "small", "8m") as small:
        made = Sandbox(small, ikoma_postgres="")
        try:
            made.call("platform.up")
            app = App(made, "web", free_port(), made.app("web", {}))
            app.env()
            app.up()
            (app.folder / "src/large").write_bytes(bytes(5 << 20))
            with pytest.raises(Unavailable, match=r"the disk of .* is full") as failed:
                app.up()
            assert failed.value.remedy and app.says() == "hello"
            assert len(list((made.root / "images/web").iterdir())) == 1, "a half copy was left"
        finally:
            made.supervisor.stop()


def test_check_mode_tells_and_does_nothing(app: App) -> None:
    from ikoma_play.platform.process import ProcessRuntime

    dry = ProcessRuntime(app.sandbox.dry)
    assert dry.up(app.name, 60) and app.services()["web"].state == "missing"
    assert not dry.down(app.name)
    app.up()
    assert not dry.up(app.name, 60) and dry.down(app.name) and app.services()["web"].good


def test_what_is_not_there_is_told(app: App) -> None:
    with pytest.raises(NotFound, match="is not deployed"):
        app.sandbox.runtime.restart(app.name, 60)
    with pytest.raises(NotFound, match="there is no process of"):
        app.sandbox.runtime.logs(app.name)
    app.up()
    with pytest.raises(NotFound) as missing:
        app.sandbox.runtime.logs(app.name, "nosuch")
    assert missing.value.remedy == "It has processes of: web."


def test_a_compose_file_that_broke_still_shows_what_runs(app: App) -> None:
    app.up()
    (app.folder / "docker-compose.yml").write_text("services: [")
    assert app.services()["web"].state == "running"
