"""What the tests of SSH share: the servers' site, and a server for those that change nothing about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ikoma_play.model import Command
from ikoma_play.transport.ssh import SshTransport
from tests.parts.sshd import Site, Sshd, servers
from tests.transport.conftest import with_perl


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


@pytest.fixture(params=["shells", "Perl"])
def full_disk(box: Sshd, request: pytest.FixtureRequest) -> Iterator[tuple[SshTransport, str]]:
    """A file system of 64 KB of the server's own namespace, with a file `kept` that says old, and not a byte more."""
    on = SshTransport(box.host(user="root"))
    try:
        by(request.param, on)
        folder = on.run(Command(("mktemp", "-d"))).text
        on.demand(Command(("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder)))
        try:
            on.write(f"{folder}/kept", b"old")
            on.run(Command(("sh", "-c", 'head -c 1000000 /dev/zero > "$1/filler"', "sh", folder)))
            yield on, folder
            assert on.read(f"{folder}/kept") == b"old"
            assert sorted(entry.path for entry in on.scan(folder)) == [f"{folder}/filler", f"{folder}/kept"]
        finally:
            on.demand(Command(("umount", folder)))
            on.remove(folder)
    finally:
        on.close()


@pytest.fixture(params=["shells", "Perl"])
def on(box: Sshd, request: pytest.FixtureRequest) -> Iterator[SshTransport]:
    """A host that has a Perl, and one that has none: nobody can tell but by the clock."""
    road = by(request.param, SshTransport(box.host()))
    yield road
    road.close()


def by(what: str, on: SshTransport) -> SshTransport:
    if what == "Perl":
        return with_perl(on)
    on._perl._given_up = True
    return on
