"""What the tests of SSH share: the servers' site, and a server for those that change nothing about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ikoma_play.transport.ssh import SshTransport
from tests.parts.sshd import Site, Sshd, servers


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    with servers() as site:
        yield site


@pytest.fixture(scope="session")
def box(site: Site) -> Iterator[Sshd]:
    """A server that all may use and nobody may stop."""
    server = site.server()
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def own(site: Site) -> Iterator[Callable[..., Sshd]]:
    """A server of the test's own, with options of sshd_config."""
    made: list[Sshd] = []

    def start(*options: str, **more: Any) -> Sshd:
        made.append(site.server(options=options, **more))
        return made[-1].start()

    yield start
    for server in made:
        server.stop()


@pytest.fixture
def on(box: Sshd) -> Iterator[SshTransport]:
    road = SshTransport(box.host())
    yield road
    road.close()
