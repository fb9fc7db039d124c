"""What uses the disk, and what is freed: on a Docker Engine of the test's own, with real images and backups."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts.applications import Application, application
from tests.parts.command import Ikoma
from tests.parts.engine import OwnEngine
from tests.parts.sandbox import SmallDisk

COMPOSE = """\
services:
  web:
    build: {{context: ./src}}
    network_mode: none
    init: true
    command: ["sleep", "600"]
    stop_grace_period: 1s
"""


@pytest.fixture(scope="module")
def own_engine(busybox: str) -> Iterator[OwnEngine]:
    engine = OwnEngine()
    try:
        engine.start().take(busybox)
        yield engine
    finally:
        engine.end()


@pytest.fixture
def shop(own_engine: OwnEngine, tmp_path: Path, busybox: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Application]:
    """An application that was deployed twice, so that two releases are recorded, and then once past the platform."""
    monkeypatch.setenv("DOCKER_HOST", own_engine.address)
    with application(tmp_path) as app:
        app.write(COMPOSE.format())
        for _ in range(2):
            layer(app, busybox)
            app.call("deploy.up")
        yield app


def layer(app: Application, base: str) -> None:
    """Source whose image has half a megabyte of its own."""
    (app.folder / "src").mkdir(exist_ok=True)
    (app.folder / "src/data").write_bytes(os.urandom(2**19))
    (app.folder / "src/Dockerfile").write_text(f"FROM {base}\nCOPY data /data\n")


def build_with_cache(engine: OwnEngine, source: Path) -> None:
    """Build by the engine's own BuildKit, which keeps a cache; asked past the command, which wants buildx for it."""
    with subprocess.Popen(["tar", "-C", str(source), "-c", "."], stdout=subprocess.PIPE) as context:
        argv = ["curl", "--silent", "--show-error", "--unix-socket", engine.address.removeprefix("unix://"),
                "--header", "Content-Type: application/x-tar", "--data-binary", "@-",
                "http://engine/build?version=2&t=built"]  # fmt: skip
        told = subprocess.run(argv, stdin=context.stdout, capture_output=True, text=True, check=True).stdout
    assert '"error' not in told, told
    engine.docker("rmi", "--force", "built")


def backups(app: Application, count: int) -> list[Path]:
    """As db.backup leaves them, the oldest first."""
    folder = app.root / "backups"
    (folder / ".ikoma").mkdir(parents=True, exist_ok=True)
    made = []
    for number in range(count):
        path = folder / f"{app.name}-2026010{number + 1}.sql"
        path.write_text(f"-- backup {number} {secrets.token_hex(2000)}\n")
        kept: dict[str, Any] = {"app": app.name, "created_at": f"2026-01-0{number + 1}T00:00:00Z"}
        kept["migrations"] = {"001_first.sql": "5" * 64}
        (folder / ".ikoma" / f"{path.name}.json").write_text(json.dumps(kept))
        seal(path)
        made.append(path)
    return made


def seal(path: Path) -> None:
    path.with_name(path.name + ".sha256").write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")


def images(engine: OwnEngine) -> set[str]:
    return set(engine.docker("images", "--all", "--quiet", "--no-trunc").split())


def prune(app: Application, *what: str, **more: Any) -> dict[str, Any]:
    result: dict[str, Any] = app.call("platform.prune", what=list(what), **more).result
    return result


def test_images_that_nothing_needs_go_and_all_others_stay(
    shop: Application, own_engine: OwnEngine, busybox: str
) -> None:
    needed = images(own_engine)
    for _ in range(2):  # the second takes the first one's name
        layer(shop, busybox)
        own_engine.docker("build", "--quiet", "--tag", "pulled:elsewhere", str(shop.folder / "src"))
    spare = images(own_engine) - needed - set(own_engine.docker("images", "-q", "--no-trunc", "pulled").split())

    told = shop.call("platform.disk").result
    use = next(one for one in told["uses"] if one["kind"] == "images")
    assert use["freeable"] >= 2**19, f"the spare image is not told\n{use}"
    reasons = {item["name"]: item["why"] for item in use["items"]}
    assert reasons["pulled:elsewhere"] == "it was not built here", reasons

    freed = prune(shop, "images")
    assert freed["bytesFreed"] >= 2**19 and len(freed["freed"]["images"]["removed"]) == 1, freed
    left = images(own_engine)
    assert needed <= left, "an image of a container or a release is gone"
    assert not spare & left and own_engine.docker("images", "-q", "pulled:elsewhere"), "not just the spare one went"
    assert prune(shop, "images")["bytesFreed"] == 0
    assert prune(shop, "buildCache")["success"]


def test_a_stopped_application_keeps_the_images_of_its_releases(shop: Application, own_engine: OwnEngine) -> None:
    prune(shop, "images")  # what another test left
    before = images(own_engine)
    shop.call("deploy.down")
    assert not own_engine.docker("ps", "--all", "--quiet")
    prune(shop, "images")
    assert images(own_engine) == before
    shop.call("deploy.up")


def test_releases_of_another_list_of_applications_stay(
    shop: Application, own_engine: OwnEngine, tmp_path: Path
) -> None:
    """Two hosts of inventories may be one engine, each with applications of its own."""
    shop.call("deploy.down")
    names = own_engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}", f"ikoma/{shop.project}").split()
    assert len(names) == 2
    (tmp_path / "elsewhere").mkdir()
    with application(tmp_path / "elsewhere") as other:
        prune(other, "images")
        told = other.call("platform.disk").result["uses"][0]["items"]
    assert any(f"{names[0]} keeps a release" in item["why"] for item in told), told
    left = own_engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}", f"ikoma/{shop.project}").split()
    assert left == names
    shop.call("deploy.up")


def test_a_build_cache_that_fills_the_disk(tmp_path: Path, busybox: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with SmallDisk(tmp_path / "docker", "180m") as place:
        engine = OwnEngine(place / "data")
        try:
            engine.start().take(busybox)
            monkeypatch.setenv("DOCKER_HOST", engine.address)
            with application(tmp_path) as app:
                app.write(COMPOSE.format())
                (app.folder / "src").mkdir()
                (app.folder / "src/data").write_bytes(os.urandom(30 * 2**20))
                (app.folder / "src/Dockerfile").write_text(f"FROM {busybox}\nCOPY data /data\n")
                build_with_cache(engine, app.folder / "src")
                (first, *_) = app.call("apps.diagnose").result["causes"]
                assert first["cause"] == "disk-full" and str(place) in first["message"], first
                largest = first["evidence"].splitlines()[1]
                assert re.fullmatch(r"buildCache: [\d.]+ MiB, of which [\d.]+ MiB can be freed", largest), first

                variables = {"ansible_connection": "local", **app.on.host.vars}
                hosts = {"all": {"children": {"apps": {"hosts": {"here": variables}}}}}
                (tmp_path / "hosts.yml").write_text(json.dumps(hosts))
                done = Ikoma(tmp_path)("run", "fix-disk", "-i", "hosts.yml", "-e", "yes=true")
                assert re.search(r"freed: .*buildCache \d\d", done.text), done
                causes = app.call("apps.diagnose").result["causes"]
                assert "disk-full" not in [cause["cause"] for cause in causes], causes
                assert engine.docker("images", "--quiet", busybox), "what was not built here is gone"
        finally:
            engine.end()


def test_the_last_good_backup_stays_whatever_is_asked(tmp_path: Path) -> None:
    with application(tmp_path, ikoma_runtime="process") as app:
        first, second, third, fourth = backups(app, 4)
        for damaged in (third, fourth):
            damaged.write_text("-- cut sh")
        freed = prune(app, "backups", keepBackups=1)
        assert sorted(path.name for path in first.parent.glob("*.sql")) == [second.name, fourth.name], freed
        assert (
            freed["bytesFreed"] == freed["freed"]["backups"]["bytes"] > 4000
            and not first.with_name(first.name + ".sha256").exists()
        )
        assert prune(app, "backups", keepBackups=1)["bytesFreed"] == 0

        second.write_text("-- damaged too")
        backups(app, 1)[0].write_text("-- and this")
        assert prune(app, "backups", keepBackups=1)["bytesFreed"] == 0, "where no backup can be proved, none may go"


def test_half_written_dumps_go_when_nobody_writes_them(tmp_path: Path) -> None:
    with application(tmp_path, ikoma_runtime="process") as app:
        folder = app.root / "backups"
        folder.mkdir()
        for name in ("old.sql.1.part", "young.sql.2.part"):
            (folder / name).write_bytes(b"x" * 1000)
        os.utime(folder / "old.sql.1.part", (time.time() - 7200,) * 2)
        freed = prune(app, "leftovers")
        assert freed["bytesFreed"] == 1000 and [path.name for path in folder.iterdir()] == ["young.sql.2.part"]


def test_the_playbook_asks_tells_and_frees(tmp_path: Path) -> None:
    with application(tmp_path, ikoma_runtime="process") as app:
        made = backups(app, 4)
        variables = {"ansible_connection": "local", **app.on.host.vars}
        (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"children": {"apps": {"hosts": {"here": variables}}}}}))
        ikoma = Ikoma(tmp_path)
        run = ("run", "fix-disk", "-i", "hosts.yml")
        refused = ikoma(*run, "-e", "yes=false", expect=2)
        assert "Nothing was deleted" in refused.text and made[0].exists()
        foreseen = ikoma(*run, "-e", "yes=false", "--check")
        assert re.search(r"would be freed: backups [\d.]+ KiB", foreseen.text) and made[0].exists(), foreseen
        assert " freed: backups " in ikoma(*run, "-e", "yes=true").text
        assert not made[0].exists() and made[1].exists()


def test_an_engine_that_died_is_started_again(tmp_path: Path, docker_engine: None) -> None:
    engine = OwnEngine().start()
    try:
        with application(tmp_path) as app:
            variables = {"ansible_connection": "local", **app.on.host.vars}
            # What `systemctl restart docker` is elsewhere: this engine has no service unit.
            again = "import subprocess as s, sys; s.Popen(sys.argv[1:], start_new_session=True, stdout=-3, stderr=-3)"
            variables["restart_docker"] = [sys.executable, "-c", again, *engine.argv]
            hosts = {"all": {"children": {"apps": {"hosts": {"here": variables}}}}}
            (tmp_path / "hosts.yml").write_text(json.dumps(hosts))
            ikoma = Ikoma(tmp_path, {"DOCKER_HOST": engine.address})
            engine.stop()
            check = json.loads(ikoma("exec", "platform.check", "-i", "hosts.yml").out)
            assert not check["checks"]["docker"] and "does not answer" in check["details"]["docker"]
            refused = ikoma("run", "fix-docker", "-i", "hosts.yml", "-e", "yes=false", expect=2)
            assert "Nothing was restarted" in refused.text
            ikoma("run", "fix-docker", "-i", "hosts.yml", "-e", "yes=true")
            assert json.loads(ikoma("exec", "platform.check", "-i", "hosts.yml").out)["checks"]["docker"]
    finally:
        engine.end()
