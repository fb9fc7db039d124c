"""Every implementation of Transport, each one parameter of the fixture that the contract suite runs on."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ikoma_play.model import Host
from ikoma_play.transport.base import Transport
from ikoma_play.transport.dry import DryTransport
from ikoma_play.transport.local import LocalTransport
from ikoma_play.transport.ssh import SshTransport
from tests.parts.sshd import Sshd, servers

NOBODY = 65534
Open = Callable[[Path], Transport]


def local(folder: Path) -> Transport:
    return LocalTransport(Host("here"))


def dry(folder: Path) -> Transport:
    return DryTransport(LocalTransport(Host("here")))


def other_user(folder: Path) -> Transport:
    """Root's way to another user; everything goes through commands, as over SSH."""
    os.chown(folder, NOBODY, pwd.getpwnam("nobody").pw_gid)
    return LocalTransport(Host("here")).become("nobody")


def with_perl(on: SshTransport) -> SshTransport:
    """The road once the host's Perl is there, which otherwise a few files come before."""
    perl = on._perl
    perl._few = 0
    latest = time.monotonic() + 30
    while perl._ready() is None:
        assert time.monotonic() < latest and not perl._given_up, "the host's Perl says nothing"
        time.sleep(0.01)
    return on


ROADS: dict[str, Open] = {"local": local, "dry": dry}
if os.geteuid() == 0:
    ROADS["other user"] = other_user

# As the one who runs the tests: over SSH, and over SSH as root by sudo. They need a server, see `ssh`.
OVER_SSH: dict[str, Callable[[Sshd], Transport]] = {
    "ssh": lambda server: SshTransport(server.host(user=getpass.getuser())),
}
if os.geteuid() == 0:
    OVER_SSH["ssh, sudo"] = lambda server: SshTransport(server.host(user="free")).become("root")


@pytest.fixture(scope="session")
def server() -> Iterator[Sshd]:
    """One server for all tests that only need some."""
    with servers() as site:
        server = site.server()
        try:
            yield server.start()
        finally:
            server.stop()


@pytest.fixture(params=[*ROADS, *OVER_SSH])
def road(request: pytest.FixtureRequest, folder: Path) -> Iterator[Transport]:
    over_ssh = OVER_SSH.get(request.param)
    on = over_ssh(request.getfixturevalue("server")) if over_ssh else ROADS[request.param](folder)
    yield on
    on.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory of the host that the road may do anything in; not pytest's, which only its own user may enter."""
    os.umask(0o022)
    with open_folder() as made:
        yield made


@contextmanager
def open_folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="ikoma-test-"))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made)
