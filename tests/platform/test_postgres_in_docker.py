"""A PostgreSQL server that only containers know by name, found from the host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ikoma_play.model import Command, Host, Result
from ikoma_play.platform.postgres import Server
from ikoma_play.transport.local import LocalTransport
from tests.parts.images import run
from tests.parts.platform import Platform


class Watched(LocalTransport):
    """Counts the commands that it runs."""

    ran = 0

    def run(self, command: Command, on_output: Callable[[bytes], None] | None = None) -> Result:
        self.ran += 1
        return super().run(command, on_output)


@pytest.fixture
def on(platform: Platform) -> Watched:
    return Watched(Host("here", (), {"ikoma_env_file": str(platform.env_file)}))


def test_it_is_looked_up_once_while_the_road_is_open(on: Watched) -> None:
    assert Server(on).check().startswith("PostgreSQL")
    ran = on.ran
    assert Server(on).check().startswith("PostgreSQL")
    assert on.ran == ran, "the container was looked for again"


def test_applications_are_told_the_name_that_they_know(on: Watched, platform: Platform) -> None:
    said = Server(on).coordinates("shop")
    assert (said["POSTGRES_HOST"], said["POSTGRES_PORT"], said["POSTGRES_DB"]) == ("postgres", "5432", "shop")
    assert said["POSTGRES_PASSWORD"] == platform.password


def test_a_container_that_comes_back_elsewhere_is_found_again(tmp_path: Path, busybox: str) -> None:
    platform = Platform(tmp_path).up()
    squatter = f"{platform.network}-squatter"
    try:
        road = Watched(Host("here", (), {"ikoma_env_file": str(platform.env_file)}))
        Server(road).check()
        before = Server(road).address.host
        platform.stop()
        run("docker", "run", "--detach", "--name", squatter, "--network", platform.network, busybox, "sleep", "300")
        platform.start()
        assert Server(road).check().startswith("PostgreSQL")
        assert Server(road).address.host != before, "the address was to be another one for this test"
    finally:
        run("docker", "rm", "--force", squatter)
        platform.down()
