"""Releases recorded, verified against what really runs, and the runbook of an application."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.errors import NotFound
from ikoma_play.model import Status
from ikoma_play.platform import releases
from ikoma_play.transport.dry import DryTransport
from tests.parts.applications import WEB, Application, SecretsKept, application
from tests.parts.platform import Platform, free_port

BUILT = "    build: ./src\n"


@pytest.fixture
def app(platform: Platform, busybox: str, tmp_path: Path) -> Iterator[Application]:
    """An application with code, a migration and a database, deployed."""
    with application(tmp_path, ikoma_env_file=str(platform.env_file)) as made:
        source = tmp_path / "source"
        (source / "migrations").mkdir(parents=True)
        (source / "Dockerfile").write_text(f"FROM {busybox}\nCOPY page /page\n")
        (source / "page").write_text("one")
        (source / "migrations/001_a.sql").write_text("CREATE TABLE a (b int);")
        text = WEB.format(image=f"{made.name}:built", port=free_port(), more=BUILT)
        (source / "docker-compose.yml").write_text(text)
        made.call("apps.init")
        made.call("apps.source", source=str(source))
        (made.folder / ".env").write_text(f"POSTGRES_DB={made.name}\nPOSTGRES_PASSWORD=canary-4711\n")
        made.call("db.create")
        made.call("db.migrate")
        made.call("deploy.up")
        yield made
        platform.psql("postgres", f'DROP DATABASE IF EXISTS "{made.name}" WITH (FORCE)')


def failed(app: Application, **scope: Any) -> dict[str, str]:
    """The checks that did not pass, with their details."""
    result = app.call("artifact.verify_release", scope=SecretsKept(scope)).result
    assert result["summary"] and result["verified"] == all(check["passed"] for check in result["checks"])
    return {check["name"]: check["details"] for check in result["checks"] if not check["passed"]}


def test_a_fresh_deploy_is_verified(app: Application) -> None:
    result = app.call("artifact.verify_release").result
    assert result["verified"] is True, result
    names = [check["name"] for check in result["checks"]]
    assert names == ["release", "services", "images", "source", "configuration", "database", "migrations"]


def test_every_difference_fails_its_own_check(app: Application, busybox: str, platform: Platform) -> None:
    (app.folder / "src/page").write_text("hacked")
    assert set(failed(app)) == {"source"}
    (app.folder / "src/page").write_text("one")

    compose = app.folder / "docker-compose.yml"
    before = compose.read_text()
    compose.write_text(before + "# another\n")
    assert set(failed(app)) == {"configuration"}
    compose.write_text(before)

    migration = app.folder / "migrations/002_b.sql"
    migration.write_text("SELECT 1;")
    assert failed(app) == {"migrations": "002_b.sql is pending"}
    migration.unlink()

    first = app.folder / "migrations/001_a.sql"
    first.write_text("CREATE TABLE a (b text);")
    assert "001_a.sql changed after it was applied" in failed(app)["migrations"]
    first.write_text("CREATE TABLE a (b int);")

    platform.stop()
    try:
        assert set(failed(app)) == {"database", "migrations"}
    finally:
        platform.start()

    url = "http://127.0.0.1:9/health"
    assert "does not answer" in failed(app, health_url=url)["health"]
    assert failed(app) == {}, "everything was put back"


def test_another_running_image_is_found(app: Application, busybox: str) -> None:
    subprocess.run(["docker", "tag", busybox, f"{app.name}:built"], check=True)
    by_hand = ["docker", "compose", "up", "--detach", "--no-build", "--wait"]
    subprocess.run(by_hand, cwd=app.folder, check=True, capture_output=True)
    wrong = failed(app)
    assert set(wrong) == {"images"} and "web runs" in wrong["images"] and "recorded was" in wrong["images"]


def test_a_service_that_is_gone_or_stopped_is_found(app: Application) -> None:
    (container,) = app.traces()["containers"]
    app.docker("stop", "--time", "1", container)
    assert "web is exited" in failed(app)["services"]
    app.call("deploy.down")
    wrong = failed(app)
    assert "web is missing" in wrong["services"] and "web does not run" in wrong["images"]


def test_nothing_recorded_is_not_verified(app: Application) -> None:
    for path in (app.folder / ".ikoma/releases").iterdir():
        path.unlink()
    assert set(failed(app)) == {"release"}


def test_the_same_is_recorded_once(app: Application) -> None:
    again = app.call("artifact.record_release")
    assert again.status is Status.OK
    named = app.call("artifact.record_release", ref="v1.0")
    assert named.status is Status.CHANGED and named.result["release"]["ref"] == "v1.0"
    assert app.call("artifact.record_release", ref="v1.0").status is Status.OK
    (release,) = app.call("artifact.releases").result
    assert release["version"] == "v1.0" and release["migrations"].keys() == {"001_a.sql"}
    assert release["images"]["web"] == app.runtime.services(app.name)[0].image


def test_a_new_version_is_a_new_release_and_found_by_name(app: Application) -> None:
    app.call("artifact.record_release", ref="v1")
    app.call("db.backup")
    source = app.root / "source"
    (source / "page").write_text("two")
    app.call("apps.source", source=str(source))
    assert failed(app).keys() >= {"source"}
    would = app.call("artifact.record_release", through=DryTransport(app.on))
    assert would.status is Status.CHANGED and len(app.call("artifact.releases").result) == 1
    app.call("deploy.up")
    assert failed(app) == {}
    app.call("artifact.record_release", ref="v2", scope=SecretsKept({"health_url": "http://127.0.0.1:1/health"}))
    new, old = app.call("artifact.releases").result
    assert (new["ref"], old["ref"]) == ("v2", "v1") and new["id"] > old["id"]
    assert new["backup"].startswith(str(app.root / "backups")) and new["healthUrl"] == "http://127.0.0.1:1/health"
    assert new["images"] != old["images"] and new["tree"] != old["tree"]
    for wanted, version in (("v1", "v1"), (old["id"], "v1"), ("v2", "v2")):
        assert releases.find(app.on, app.name, wanted).version == version
    with pytest.raises(NotFound) as caught:
        releases.find(app.on, app.name, "v3")
    assert "v2, v1" in caught.value.remedy


def test_a_record_that_is_none_is_passed_over(app: Application) -> None:
    (app.folder / ".ikoma/releases/29990101T000000000Z-aaaa.json").write_text("{")
    (app.folder / ".ikoma/releases/notes.txt").write_text("x")
    assert len(app.call("artifact.releases").result) == 1
    assert failed(app) == {}


@pytest.mark.parametrize(("lang", "heading"), [("fr", "## Procédure de rollback"), ("en", "## Rollback procedure")])
def test_the_runbook_has_real_values_and_no_secret(
    app: Application, platform: Platform, lang: str, heading: str
) -> None:
    app.call("db.backup", backupName="last.sql")
    outcome = app.call("artifact.generate_runbook", lang=lang)
    result = outcome.result
    assert set(result) == {
        "appName",
        "version",
        "deployedAt",
        "config",
        "healthChecks",
        "rollbackProcedure",
        "markdown",
    }
    text = result["markdown"]
    assert heading in text and app.name in text and str(app.folder) in text
    assert "last.sql" in text, "the rollback must name the backup that there is"
    assert result["config"]["services"][0]["ports"][0] in text
    assert any("wget" in check["command"] for check in result["healthChecks"])
    assert "POSTGRES_PASSWORD" in text
    everything = json.dumps(result)
    assert "canary" not in everything and platform.password not in everything
    assert app.call("artifact.generate_runbook").result["markdown"].startswith("# Runbook de ")


def test_the_runbook_of_what_was_never_deployed(platform: Platform, tmp_path: Path) -> None:
    with application(tmp_path, ikoma_env_file=str(platform.env_file)) as fresh:
        fresh.call("apps.init")
        result = fresh.call("artifact.generate_runbook", lang="en").result
        assert result["deployedAt"] is None and "never" in result["markdown"]


def test_what_is_not_there(docker_engine: None, tmp_path: Path) -> None:
    with application(tmp_path) as absent:
        for tool in ("verify_release", "record_release", "releases", "generate_runbook"):
            with pytest.raises(NotFound, match="no application"):
                absent.call(f"artifact.{tool}")


def test_images_of_releases_are_named_and_put_back(app: Application) -> None:
    first = app.call("artifact.record_release", ref="v1").result["release"]
    app.call("artifact.verify_release")
    source = app.root / "source"
    (source / "page").write_text("two")
    app.call("apps.source", source=str(source))
    app.call("deploy.up")
    second = app.call("artifact.record_release", ref="v2").result["release"]
    for release in (first, second):
        (image,) = app.docker("image", "inspect", "-f", "{{.Id}}", f"ikoma/{app.project}:{release['id']}-web")
        assert image == release["images"]["web"]

    app.call("apps.source.restore", release="v1")
    assert app.call("artifact.previous_release").result["release"]["id"] == first["id"], "it is cut off here"
    app.call("apps.env.restore", release="v1")
    up = app.call("deploy.up", release="v1")
    assert app.call("artifact.previous_release").result["release"]["id"] == first["id"], "it was not verified yet"
    assert app.runtime.services(app.name)[0].image == first["images"]["web"]
    newest = app.call("artifact.releases").result[0]
    assert newest["restores"] == first["id"] and newest["id"] not in (first["id"], second["id"]), up
    assert failed(app) == {}
    app.call("artifact.prune", keepReleases=1)
    left = app.docker("images", "--format", "{{.Tag}}", f"ikoma/{app.project}")
    assert sorted(left) == sorted(f"{id}-web" for id in (first["id"], newest["id"]))
    app.call("apps.remove", backup=False)
    assert app.docker("images", "--quiet", f"ikoma/{app.project}") == []
