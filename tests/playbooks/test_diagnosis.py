"""Each cause of the troubleshooting guide brought about for real: diagnosis names it first, and with its evidence."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.parts.applications import WEB, Application, application
from tests.parts.command import Finished, Ikoma
from tests.parts.platform import Platform, free_port
from tests.parts.sandbox import SmallDisk

DATABASE = """\
    environment:
      POSTGRES_HOST: ${POSTGRES_HOST:-postgres}
      POSTGRES_PORT: ${POSTGRES_PORT:-5432}
      POSTGRES_DB: ${POSTGRES_DB}
      POSTGRES_USER: ${POSTGRES_USER}
      POSTGRES_PASSWORD: ${POSTGRES_PASSWORD}
"""


class Shop:
    """A small web application with a database on this machine's Docker, up and healthy."""

    def __init__(self, app: Application, platform: Platform, image: str) -> None:
        self.app, self.platform, self.port = app, platform, free_port()
        self.compose = WEB.format(image=image, port="${PORT}", more=DATABASE)
        self.ikoma = Ikoma(app.root)
        variables = {"ansible_connection": "local", "app": app.name, **app.on.host.vars}
        hosts = {"all": {"children": {"apps": {"hosts": {"here": variables}}}}}
        (app.root / "hosts.yml").write_text(json.dumps(hosts))

    @property
    def env(self) -> dict[str, str]:
        ours = self.platform
        return {
            "PORT": str(self.port), "POSTGRES_HOST": "postgres", "POSTGRES_PORT": "5432", "POSTGRES_DB": self.app.name,
            "POSTGRES_USER": ours.user, "POSTGRES_PASSWORD": ours.password,
        }  # fmt: skip

    def write(self, compose: str | None = None, drop: str = "", **env: str) -> None:
        values = {name: value for name, value in (self.env | env).items() if name != drop}
        self.app.write(compose or self.compose, "".join(f"{name}={value}\n" for name, value in values.items()))

    def deploy(self) -> None:
        self.write()
        self.app.call("db.create")
        self.app.call("deploy.up")
        assert self.causes() == [], "nothing was wrong yet"

    def compose_up(self) -> None:
        """As a person would, past our own checks."""
        self.app.docker("compose", "--project-directory", str(self.app.folder), "up", "--detach")

    def causes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.app.call("apps.diagnose").result["causes"]
        return found

    def first(self, name: str, *evidence: str) -> dict[str, Any]:
        causes = self.causes()
        assert causes, f"{name} was not noticed"
        first = causes[0]
        assert first["cause"] == name, f"{name} is not the first of {json.dumps(causes, indent=1)}"
        said = " ".join((first["message"], first["evidence"]))
        assert all(word in said for word in evidence), f"{evidence} are not all in: {said}"
        assert first["remedy"] and first["evidence"], first
        return first

    def fix(self, playbook: str, *words: str, expect: int = 0) -> Finished:
        return self.ikoma("run", playbook, "-i", "hosts.yml", "-e", "yes=true", *words, expect=expect)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, platform: Platform, busybox: str) -> Iterator[Shop]:
    with application(tmp_path_factory.mktemp("shop"), ikoma_env_file=str(platform.env_file)) as app:
        made = Shop(app, platform, busybox)
        try:
            made.deploy()
            yield made
        finally:
            platform.psql("postgres", f'DROP DATABASE IF EXISTS "{app.name}" WITH (FORCE)')


@pytest.fixture(autouse=True)
def as_it_was(shop: Shop) -> Iterator[None]:
    yield
    shop.write()


# --- containers do not start ---


def test_a_broken_compose_file(shop: Shop) -> None:
    shop.write(shop.compose.replace("    init: true", "    init: [maybe"))
    first = shop.first("compose-file", "docker-compose.yml:", "init: [maybe")
    assert first["fix"] == "", "a person must correct it"
    told = shop.fix("fix-containers", expect=2)
    assert "docker-compose.yml:" in told.text, told


def test_a_key_that_env_lacks_is_written(shop: Shop) -> None:
    shop.write(drop="POSTGRES_PASSWORD")
    shop.first("env-missing", "POSTGRES_PASSWORD", ".env")
    shop.fix("fix-containers", "-e", json.dumps({"env": {"POSTGRES_PASSWORD": shop.platform.password}}))
    assert shop.causes() == []
    told = shop.ikoma("run", "diagnose", "-i", "hosts.yml").text
    assert f"nothing is wrong with {shop.app.name}" in told


def test_a_port_that_another_process_has(shop: Shop) -> None:
    shop.app.call("deploy.down")
    with socket.create_server(("127.0.0.1", shop.port)):
        shop.first("port-taken", str(shop.port), "process ")
        told = shop.ikoma("run", "diagnose", "-i", "hosts.yml", expect=2).text
        assert "1. port-taken" in told and "Mend it: ikoma-play run fix-containers" in told, told
        shop.port = free_port()
        shop.fix("fix-containers", "-e", json.dumps({"env": {"PORT": shop.port}}))
    assert shop.causes() == []


def test_an_image_that_is_not_there(shop: Shop) -> None:
    shop.app.call("deploy.down")
    shop.write(shop.compose.replace("image: ", "image: nosuch-"))
    shop.first("image-missing", "nosuch-")
    shop.write()
    shop.first("not-running")
    shop.fix("fix-containers")
    assert shop.causes() == []


def test_a_service_that_crashes_again_and_again(shop: Shop) -> None:
    broken = shop.compose.replace("mkdir -p /www", "echo the canary died; sleep 0.5; exit 3")
    shop.write(broken.replace("    init: true", "    init: true\n    restart: always"))
    shop.compose_up()
    until = time.monotonic() + 30
    while not any(cause["cause"] == "crash-loop" for cause in shop.causes()) and time.monotonic() < until:
        time.sleep(0.2)
    for _ in range(8):  # now waiting to be started again, now started and not healthy yet
        shop.first("crash-loop", "the canary died", "web", "again and again")
        time.sleep(0.2)
    shop.write()
    shop.fix("fix-containers")
    assert shop.causes() == []


def test_a_service_that_is_unhealthy(shop: Shop) -> None:
    shop.app.docker("compose", "--project-directory", str(shop.app.folder), "exec", "web", "rm", "/www/health")
    until = time.monotonic() + 30
    while not shop.causes() and time.monotonic() < until:
        time.sleep(0.1)
    shop.first("unhealthy", "404")
    shop.fix("fix-containers")
    assert shop.causes() == []


def test_an_engine_that_does_not_answer(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{shop.app.root}/nobody.sock")
    first = shop.first("engine-down", "does not answer")
    assert first["fix"] == "fix-docker"


# --- the database connection fails ---


def test_a_database_that_is_missing_is_made_from_the_backup(shop: Shop) -> None:
    platform, name = shop.platform, shop.app.name
    platform.psql(name, "CREATE TABLE kept AS SELECT 41 + 1 AS answer")
    shop.app.call("db.backup")
    platform.psql("postgres", f'DROP DATABASE "{name}" WITH (FORCE)')
    shop.first("database-missing", name)
    shop.fix("fix-database")
    assert shop.causes() == [] and platform.psql(name, "SELECT answer FROM kept") == "42"


@pytest.mark.parametrize(
    ("cause", "env"),
    [
        ("database-password", {"POSTGRES_PASSWORD": "not the one"}),
        ("database-settings", {"POSTGRES_USER": "somebody"}),
        ("database-settings", {"POSTGRES_DB": "elsewhere"}),
        ("database-settings", {"POSTGRES_PORT": "5433"}),
        ("database-settings", {"POSTGRES_HOST": "127.0.0.1"}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_coordinates_that_are_not_the_servers(shop: Shop, cause: str, env: dict[str, str]) -> None:
    shop.write(**env)
    name, value = next(iter(env.items()))
    said = shop.first(cause, name)
    assert name == "POSTGRES_PASSWORD" or value in said["message"], said
    assert shop.platform.password not in json.dumps(said), "the server's password was shown"


def test_wrong_coordinates_are_mended(shop: Shop) -> None:
    shop.write(POSTGRES_PASSWORD="not the one", POSTGRES_USER="somebody")
    shop.first("database-settings", "POSTGRES_USER is somebody")
    done = shop.fix("fix-database")
    assert shop.causes() == [] and shop.platform.password not in done.text


def test_a_server_that_is_down_is_started(shop: Shop) -> None:
    shop.platform.stop()
    try:
        shop.first("database-server-down", "PostgreSQL")
        shop.fix("fix-database")
        assert shop.causes() == []
    finally:
        shop.platform.start()


def test_connections_that_are_all_taken(shop: Shop) -> None:
    with ExitStack() as clients:

        def more(count: int) -> None:
            for _ in range(count):
                url = f"{shop.platform.url}?application_name=a-greedy-client"
                clients.enter_context(closing(psycopg.connect(url)))

        more(97)
        shop.first("database-connections", "97", "a-greedy-client")
        with pytest.raises(psycopg.OperationalError):
            more(4)  # the superuser's reserve too
        shop.first("database-connections", "too many clients")
    until = time.monotonic() + 10
    while shop.causes() and time.monotonic() < until:
        time.sleep(0.1)
    assert shop.causes() == [], "the connections were given back"


# --- the disk is full ---


def test_a_disk_that_is_full(shop: Shop, tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "small") as place, application(tmp_path, ikoma_apps_root=str(place)) as app:
        (place / app.name).mkdir()
        (place / app.name / "docker-compose.yml").write_text("services:\n  web: {image: nosuch}\n")
        with pytest.raises(OSError, match="No space left"):
            (place / app.name / "core").write_bytes(b"x" * 2**21)
        causes = app.call("apps.diagnose").result["causes"]
        assert causes[0]["cause"] == "disk-full" and str(place) in causes[0]["message"], causes
        assert causes[0]["fix"] == "fix-disk"
        told = app.call("platform.disk").result
        largest = next(use for use in told["uses"] if use["kind"] == "applications")["items"][0]
        assert told["full"] and largest["name"] == app.name and largest["bytes"] > 900_000, told
