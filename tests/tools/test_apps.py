"""The tools apps.*: on real Docker and a real PostgreSQL."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.errors import FaultsFound, NotFound, Refused, StepError
from ikoma_play.model import Status
from ikoma_play.platform.envfile import EnvFile
from ikoma_play.transport.dry import DryTransport
from tests.parts.applications import WEB, Application, SecretsKept, application
from tests.parts.platform import Platform, free_port

NEEDY = """\
services:
  web:
    image: x
    command: ["${PORT:?the port}", "${MAIL_KEY:?the key of the mail service}", "${TITLE:-none}", "${PLAIN}"]
    environment:
      POSTGRES_HOST: ${POSTGRES_HOST:-postgres}
      POSTGRES_DB: ${POSTGRES_DB:?the database}
      POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:?its password}
"""


@pytest.fixture
def app(docker_engine: None, tmp_path: Path) -> Iterator[Application]:
    """An application on a host without PostgreSQL."""
    with application(tmp_path) as made:
        yield made


@pytest.fixture
def with_database(platform: Platform, tmp_path: Path) -> Iterator[Application]:
    """An application on a host with the platform's PostgreSQL."""
    with application(tmp_path, ikoma_env_file=str(platform.env_file)) as made:
        yield made
        platform.psql("postgres", f'DROP DATABASE IF EXISTS "{made.name}" WITH (FORCE)')


def web(busybox: str, port: int) -> str:
    return WEB.format(image=busybox, port=port, more="")


# --- init, list, names ---


def test_init_makes_the_runbooks_structure_and_overwrites_nothing(app: Application) -> None:
    first = app.call("apps.init")
    assert first.status is Status.CHANGED
    assert first.result["success"] is True and first.result["details"]["path"] == str(app.folder)
    assert {path.name for path in app.folder.iterdir()} == {
        "config",
        "migrations",
        "seeds",
        "src",
        "docker-compose.yml",
    }
    (app.folder / "docker-compose.yml").write_text("mine")
    (app.folder / "seeds").rmdir()
    second = app.call("apps.init")
    assert second.status is Status.CHANGED and second.result["details"]["made"] == ["seeds/"]
    assert (app.folder / "docker-compose.yml").read_text() == "mine"
    assert app.call("apps.init").status is Status.OK
    assert app.call("apps.list").result == [app.name]


def test_init_leaves_a_compose_file_of_another_name_alone(app: Application) -> None:
    app.folder.mkdir(parents=True)
    (app.folder / "compose.yaml").write_text("services: {}")
    app.call("apps.init")
    assert not (app.folder / "docker-compose.yml").exists()


def test_init_in_check_mode(app: Application) -> None:
    assert app.call("apps.init", through=DryTransport(app.on)).status is Status.CHANGED
    assert not app.folder.exists()


@pytest.mark.parametrize("name", ["../escape", "a b", "", "x" * 65, "a/b", ".", "a\n", "naïve", "a;b", "$(id)", "a\0b"])
def test_unsafe_names_are_refused_by_every_tool(app: Application, tmp_path: Path, name: str) -> None:
    bad = Application(app.root, app.variables, name=name)
    for tool in ("apps.init", "apps.status", "apps.remove", "deploy.up", "artifact.verify_release"):
        with pytest.raises(FaultsFound, match="appName"):
            bad.call(tool)
    assert [path.name for path in tmp_path.iterdir()] == []


@pytest.mark.parametrize("target", ["/", "../../elsewhere"])
def test_an_application_that_is_a_link_is_refused(app: Application, tmp_path: Path, target: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    app.folder.parent.mkdir()
    app.folder.symlink_to(target)
    for tool in ("apps.init", "apps.status", "apps.validate", "deploy.up", "apps.remove"):
        if tool == "apps.validate":
            assert "link" in app.call(tool).result["errors"][0]
            continue
        with pytest.raises(Refused, match="link"):
            app.call(tool)
    assert app.call("apps.list").result == []
    assert app.folder.is_symlink() and list((tmp_path / "elsewhere").iterdir()) == []


def test_a_link_to_secrets_in_the_directory_is_refused(app: Application) -> None:
    app.call("apps.init")
    (app.folder / ".env").symlink_to("/etc/shadow")
    with pytest.raises(Refused) as caught:
        app.call("apps.env.write", values={"A": "b"})
    assert ".env" in caught.value.message
    with pytest.raises(Refused):
        app.call("deploy.up")


# --- .env ---


def test_env_example_names_everything_with_its_reason_and_no_secret(app: Application) -> None:
    app.write(NEEDY, "POSTGRES_PASSWORD=canary-4711\n")
    text = app.call("apps.env.example").result
    assert "# the key of the mail service\nMAIL_KEY=\n" in text
    assert "# TITLE=none\n" in text and f"POSTGRES_DB={app.name}\n" in text
    assert "canary" not in text
    assert EnvFile(text).values.keys() == {"PORT", "MAIL_KEY", "PLAIN", "POSTGRES_DB", "POSTGRES_PASSWORD"}
    (app.folder / "src").mkdir()
    (app.folder / "src/.env.example").write_text("# ours\nPORT=1\n")
    text = app.call("apps.env.example").result
    assert text.startswith("# ours\nPORT=1\n") and text.count("PORT=") == 1 and "MAIL_KEY=" in text


def test_env_example_without_a_compose_file(app: Application) -> None:
    app.folder.mkdir(parents=True)
    text = app.call("apps.env.example").result
    assert {"PORT", "NODE_ENV", "POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD"} <= EnvFile(text).values.keys()


def test_missing_keys_are_all_named_and_nothing_is_written(app: Application) -> None:
    app.write(NEEDY)
    (app.folder / ".env").unlink()
    values = {"POSTGRES_DB": "d", "POSTGRES_PASSWORD": "canary-4711", "POSTGRES_HOST": "h"}
    with pytest.raises(Refused) as caught:
        app.call("apps.env.write", values=values)
    assert "PORT (the port), MAIL_KEY (the key of the mail service), PLAIN" in caught.value.message
    assert "apps.env.write" in caught.value.remedy
    assert "canary" not in f"{caught.value.message}{caught.value.remedy}"
    assert not (app.folder / ".env").exists()


def test_layers_of_env(with_database: Application, platform: Platform) -> None:
    app = with_database.write(NEEDY, "# kept\nPLAIN=old\nTITLE=mine\n")
    scope = SecretsKept()
    outcome = app.call("apps.env.write", scope=scope, values={"PORT": 3000, "MAIL_KEY": "canary-mail", "PLAIN": "new"})
    assert outcome.status is Status.CHANGED
    values = EnvFile((app.folder / ".env").read_text()).values
    assert values == {
        "PLAIN": "new",
        "TITLE": "mine",
        "PORT": "3000",
        "MAIL_KEY": "canary-mail",
        "POSTGRES_HOST": "postgres",
        "POSTGRES_DB": app.name,
        "POSTGRES_PASSWORD": platform.password,
    }
    assert (app.folder / ".env").stat().st_mode & 0o777 == 0o600
    assert (app.folder / ".env").read_text().startswith("# kept\n")
    said = json.dumps([outcome.result, outcome.message])
    assert "canary" not in said and platform.password not in said and "3000" not in said
    assert set(scope.kept) == {"canary-mail", platform.password}, "a port must not be masked everywhere"
    assert app.call("apps.env.write", values={}).status is Status.OK


def test_a_value_that_somebody_wrote_goes_before_the_platforms(with_database: Application) -> None:
    app = with_database.write(NEEDY, "POSTGRES_PASSWORD=own-password\nPORT=1\nMAIL_KEY=k\nPLAIN=\n")
    app.call("apps.env.write", values={"POSTGRES_HOST": "elsewhere"})
    values = EnvFile((app.folder / ".env").read_text()).values
    assert (values["POSTGRES_PASSWORD"], values["POSTGRES_HOST"]) == ("own-password", "elsewhere")
    assert values["POSTGRES_DB"] == app.name


def test_what_the_platform_filled_in_follows_the_server(platform: Platform, tmp_path: Path) -> None:
    def url(password: str) -> str:
        return f"postgresql://ikoma:{password}@db.example.org:5432/postgres"

    with application(tmp_path, ikoma_postgres=url("first-password")) as app:
        app.write(NEEDY, "PORT=1\nMAIL_KEY=k\nPLAIN=\n").call("apps.env.write", values={})
        moved = Application(app.root, {"ikoma_postgres": url("second-password")}, app.name)
        outcome = moved.call("apps.env.write", values={})
        assert outcome.result["details"]["changed"] == ["POSTGRES_PASSWORD"]
        moved.call("apps.env.write", values={"POSTGRES_PASSWORD": "own-password"})
        assert app.call("apps.env.write", values={}).status is Status.OK, "a value given by a person stays"


@pytest.mark.parametrize("values", [{"A B": "x"}, {"": "x"}, {"A=B": "x"}, {"A\nB": "x"}, {"A": "x\0y"}])
def test_names_and_values_that_no_env_can_hold(app: Application, values: dict[str, str]) -> None:
    app.write("services: {web: {image: x}}\n")
    with pytest.raises(Refused):
        app.call("apps.env.write", values=values)
    assert (app.folder / ".env").read_text() == ""


def test_a_broken_env_names_its_line(app: Application) -> None:
    app.write("services: {web: {image: x}}\n", "A=1\nthis is nothing\n")
    with pytest.raises(StepError, match=r"\.env:2: "):
        app.call("apps.env.write", values={"B": "2"})
    assert not app.call("apps.validate").result["valid"]


# --- validate ---


def test_a_valid_application(app: Application, busybox: str) -> None:
    app.write(web(busybox, free_port()))
    assert app.call("apps.validate").result == {"valid": True, "errors": []}


def test_everything_wrong_is_said_at_once(app: Application, busybox: str) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        app.write(web(busybox, port) + "  built: {build: ./src}\n  absent: {build: ./gone}\n")
        (app.folder / "src").mkdir()
        (app.folder / "migrations").mkdir()
        (app.folder / "migrations/001_a.sql").write_text("SELECT 1;")
        (app.folder / "migrations/1_b.sql").write_text("SELECT 1;")
        outcome = app.call("apps.validate")
    assert outcome.result["valid"] is False
    told = "\n".join(outcome.result["errors"])
    for words in (
        f"port {port}",
        "Dockerfile",
        "gone, which is not there",
        "001_a.sql and 1_b.sql have the same number",
    ):
        assert words in told, told


@pytest.mark.parametrize(
    ("compose", "says"),
    [
        (NEEDY, "PORT, MAIL_KEY, PLAIN, POSTGRES_DB, POSTGRES_PASSWORD"),
        ("services:\n  web: [\n", "docker-compose.yml:3"),
        ("services: {web: {image: x, prots: []}}", "Did you mean ports?"),
        ("", "empty"),
    ],
)
def test_invalid_compose_files_are_answers_and_no_errors(app: Application, compose: str, says: str) -> None:
    app.write(compose)
    result = app.call("apps.validate").result
    assert result["valid"] is False and says in "\n".join(result["errors"]), result


def test_an_application_that_is_not_there_is_not_valid(app: Application) -> None:
    result = app.call("apps.validate").result
    assert result["valid"] is False and "apps.init" in result["errors"][0]
    app.folder.mkdir(parents=True)
    assert "no compose file" in app.call("apps.validate").result["errors"][0]


def test_an_env_that_others_can_read_is_a_warning(app: Application, busybox: str) -> None:
    app.write(web(busybox, free_port()))
    (app.folder / ".env").chmod(0o644)
    outcome = app.call("apps.validate")
    assert outcome.result["valid"] and "chmod 600" in outcome.warnings[0]


def test_an_old_migration_that_changed_is_named(with_database: Application, busybox: str) -> None:
    app = with_database.write(web(busybox, free_port()))
    (app.folder / "migrations").mkdir()
    first = app.folder / "migrations/002_a.sql"
    first.write_text("SELECT 1;")
    app.call("db.create")
    app.call("db.migrate")
    assert app.call("apps.validate").result["valid"]
    (app.folder / "migrations/001_late.sql").write_text("SELECT 1;")
    assert "001_late.sql comes before 002_a.sql" in app.call("apps.validate").result["errors"][0]
    (app.folder / "migrations/001_late.sql").unlink()
    first.write_text("SELECT 2;")
    assert "002_a.sql changed after it was applied" in app.call("apps.validate").result["errors"][0]


# --- status, health, logs, remove ---


def test_status_and_health_through_an_applications_life(
    with_database: Application, busybox: str, platform: Platform
) -> None:
    app = with_database
    nothing = app.call("apps.status").result
    assert nothing == {
        "name": app.name,
        "exists": False,
        "dockerRunning": False,
        "dbExists": False,
        "health": "unknown",
        "services": [],
    }
    port = free_port()
    app.write(web(busybox, port), f"POSTGRES_DB={app.name}\n").call("db.create")
    status = app.call("apps.status").result
    assert (status["exists"], status["dockerRunning"], status["dbExists"], status["health"]) == (
        True,
        False,
        True,
        "unknown",
    )
    app.call("deploy.up")
    status = app.call("apps.status").result
    assert (status["dockerRunning"], status["health"]) == (True, "healthy")
    assert [(entry["name"], entry["health"]) for entry in status["services"]] == [("web", "healthy")]
    url = f"http://127.0.0.1:{port}/health"
    healthy = app.call("apps.health", healthUrl=url).result
    assert healthy["status"] == "healthy"
    assert healthy["details"]["docker"] is True and healthy["details"]["database"] is True
    assert healthy["details"]["answer"] == "200 OK"

    missing = app.call("apps.health", scope=SecretsKept({"health_url": url + "/nothing"})).result
    assert missing["status"] == "unhealthy" and "404" in missing["details"]["answer"]

    platform.stop()
    try:
        sick = app.call("apps.health").result
    finally:
        platform.start()
    assert sick["status"] == "unhealthy"
    assert sick["details"]["docker"] is True and sick["details"]["database"] is False

    app.call("deploy.down")
    gone = app.call("apps.health", healthUrl=url).result
    assert gone["status"] == "unhealthy" and gone["details"]["docker"] is False
    assert "does not answer" in gone["details"]["answer"]


def test_logs_of_an_application(app: Application, busybox: str) -> None:
    app.write(f"services: {{a: {{image: {busybox}, init: true, command: [sh, -c, 'echo hello; sleep 600']}}}}\n")
    app.call("deploy.up")
    assert "hello" in app.call("apps.logs").result
    with pytest.raises(NotFound, match="service b"):
        app.call("apps.logs", service="b")


def test_remove_takes_a_last_backup_and_leaves_nothing(
    with_database: Application, busybox: str, platform: Platform
) -> None:
    app = with_database.write(web(busybox, free_port()), "POSTGRES_DB=x\n")
    app.call("db.create")
    app.call("db.migrate", sql="CREATE TABLE kept (word text); INSERT INTO kept VALUES ('treasure');")
    app.call("deploy.up")
    foreseen = app.call("apps.remove", through=DryTransport(app.on))
    assert foreseen.status is Status.CHANGED and app.folder.exists()
    assert app.runtime.services(app.name)[0].good

    outcome = app.call("apps.remove")
    assert outcome.status is Status.CHANGED
    details: dict[str, Any] = outcome.result["details"]
    assert details["removed"] == ["services", "database", "files"]
    assert "treasure" in Path(details["backupPath"]).read_text()
    assert not app.folder.exists() and app.traces() == {}
    assert platform.psql("postgres", f"SELECT 1 FROM pg_database WHERE datname = '{app.name}'") == ""
    again = app.call("apps.remove")
    assert again.status is Status.OK and again.result["success"] is True


def test_remove_without_a_backup(with_database: Application) -> None:
    app = with_database
    app.call("apps.init")
    app.call("db.create")
    outcome = app.call("apps.remove", backup=False)
    assert outcome.result["details"]["backupPath"] == ""
    assert not (app.root / "backups").exists() and not app.folder.exists()


def test_remove_of_what_is_half_gone(with_database: Application, busybox: str) -> None:
    app = with_database.write(web(busybox, free_port()))
    app.call("deploy.up")
    for path in (app.folder / "docker-compose.yml", app.folder / ".env"):
        path.unlink()
    assert app.call("apps.remove").result["details"]["removed"] == ["services", "files"]
    assert app.traces() == {}


def test_remove_touches_nothing_when_the_backup_cannot_be_made(with_database: Application, busybox: str) -> None:
    app = with_database.write(web(busybox, free_port()))
    app.call("db.create")
    app.call("deploy.up")
    (app.root / "backups").write_text("a file where the directory should be")
    with pytest.raises(StepError):
        app.call("apps.remove")
    assert app.folder.exists() and app.runtime.services(app.name)[0].good


def test_source_through_the_tool(app: Application, tmp_path: Path) -> None:
    app.call("apps.init")
    (tmp_path / "code").mkdir()
    (tmp_path / "code/main.py").write_text("print(1)")
    outcome = app.call("apps.source", source=str(tmp_path / "code"))
    assert outcome.status is Status.CHANGED
    assert outcome.result["files"] == 1 and outcome.result["tree"] and outcome.result["commit"] == ""
    assert app.call("apps.source", source=str(tmp_path / "code"), ref=None).status is Status.OK
    for ref in ("--upload-pack=x", "-b", "a..b", "a b"):
        with pytest.raises(FaultsFound, match="ref"):
            app.call("apps.source", source=str(tmp_path / "code"), ref=ref)
