"""A Docker host with two releases of the guestbook from a git repository, for the tests of the rollback."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import DockerHost, make_docker_host
from tests.parts.command import CHECKOUT, Finished
from tests.parts.platform import Platform
from tests.parts.sandbox import SmallDisk
from tests.parts.web import ask

HALF = """\
-- ikoma: no-transaction
ALTER TABLE entries DROP COLUMN message;
DELETE FROM entries;
SELECT nosuch;
"""
AUTHORS = ("Ada", "Grace", "Lynn")
COLUMNS = "id, author, place, message, written_at"


def git(folder: Path, *words: str) -> None:
    mail = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    subprocess.run(["git", *mail, *words], cwd=folder, check=True, capture_output=True)


def make_repository(folder: Path) -> Path:
    """The guestbook, looked at more often, in three tags: v2 brings a column, v3 a migration that breaks half-way."""
    shutil.copytree(CHECKOUT / "playbooks/examples/guestbook", folder, ignore=shutil.ignore_patterns("__pycache__"))
    compose = folder / "docker-compose.yml"
    compose.write_text(compose.read_text().replace("interval: 2s", "interval: 1s"))
    git(folder, "init", "--quiet", "--initial-branch=main")
    for tag, name, sql in (
        ("v1", "", ""),
        ("v2", "003_mood.sql", "ALTER TABLE entries ADD COLUMN mood text NOT NULL DEFAULT 'good';\n"),
        ("v3", "004_half.sql", HALF),
    ):
        if sql:
            (folder / "migrations" / name).write_text(sql)
        (folder / "guestbook/release.txt").write_text(f"{tag}\n")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", tag)
        git(folder, "tag", tag)
    return folder


@dataclass
class Released:
    """A host on which v2 serves after v1; `rows` are those of v1 when v2 was deployed."""

    host: DockerHost
    rows: str = ""

    @property
    def place(self) -> Path:
        return self.host.place

    def deploy(self, ref: str, *words: str, expect: int | None = 0) -> Finished:
        return self.host.run("deploy", "-e", f"ref={ref}", *words, expect=expect)

    def to_v2(self) -> Released:
        """v2 serves, with v1 before it; where an earlier test left that so, nothing is done."""
        known = self.host.execute("artifact.releases") if self.place.exists() else []
        if not known:
            self.deploy("v1")
            for author in AUTHORS:
                ask(self.host.url, {"author": author, "place": "here", "message": f"{author} was here"})
        if not known or known[0]["ref"] != "v2" or not self.host.compose("ps", "--quiet", "web"):
            self.rows = self.table(COLUMNS)
            self.deploy("v2")
        return self

    def table(self, columns: str) -> str:
        return self.host.platform.psql(self.host.app, f"SELECT {columns} FROM entries ORDER BY id")

    def release(self) -> str:
        """What the running container says its release is, beside what is recorded."""
        told = self.host.compose("exec", "-T", "web", "cat", "guestbook/release.txt").strip()
        newest: dict[str, Any] = self.host.execute("artifact.releases")[0]
        assert newest["ref"] == told and newest["verified"], f"{told} runs, recorded is {newest}"
        return told


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with SmallDisk(tmp_path_factory.mktemp("small") / "disk", "2g") as place:
        yield place


@pytest.fixture(scope="module")
def host_with_releases(
    tmp_path_factory: pytest.TempPathFactory, small_disk: Path, platform: Platform, python_base: str
) -> Iterator[Released]:
    """Applications and backups lie on a small disk of their own, reached by links."""
    folder = tmp_path_factory.mktemp("rollback")
    repository = make_repository(folder / "repository")
    host = make_docker_host(folder / "host", platform, python_base)
    (host.folder / "apps").rmdir()
    for name in ("apps", "backups"):
        (small_disk / name).mkdir()
        (host.folder / name).symlink_to(small_disk / name)
    host.write_inventory(source=str(repository))
    try:
        yield Released(host)
    finally:
        host.clear()


@pytest.fixture
def released(host_with_releases: Released) -> Released:
    return host_with_releases.to_v2()
