"""The runbook, as it stands: every shell block of it is run by bash, in order, against a server on port 3000.

Only paths of the host lead elsewhere. Between its phases the test does what the runbook takes for done: the author
of the application has written its compose file and first migration, a release was tagged, a backup has its name.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.parts.command import CHECKOUT
from tests.parts.images import run
from tests.parts.platform import Platform, free_port
from tests.parts.serving import Service, serving

RUNBOOK = (Path(__file__).with_name("runbook.fr.md")).read_text("utf-8")
PASSWORD = "mot_de_passe_securise_ici"  # the runbook's own
ENDLESS = "logs -f"  # follows until it is stopped

COMPOSE_FILE = """\
services:
  web:
    build:
      context: ./src
      args: {{BASE_IMAGE: "{base}"}}
    environment:
      PORT: ${{PORT}}
      POSTGRES_HOST: ${{POSTGRES_HOST:-postgres}}
      POSTGRES_PORT: ${{POSTGRES_PORT:-5432}}
      POSTGRES_DB: ${{POSTGRES_DB}}
      POSTGRES_USER: ${{POSTGRES_USER}}
      POSTGRES_PASSWORD: ${{POSTGRES_PASSWORD}}
    ports: ["127.0.0.1:{port}:${{PORT}}"]
    networks: [platform]
    healthcheck:
      test: ["CMD", "python3", "-m", "guestbook.check"]
      interval: 1s
      timeout: 5s
      retries: 20
    init: true
    stop_grace_period: 2s
networks:
  platform: {{name: "${{IKOMA_NETWORK:-ikoma}}", external: true}}
"""


@dataclass(frozen=True)
class Block:
    """A shell block under its heading."""

    title: str
    text: str


def blocks() -> Iterator[Block]:
    title, lines, inside = "", list[str](), False
    for line in RUNBOOK.splitlines():
        if line.startswith("```") and inside:
            yield Block(title, "\n".join(lines))
            inside = False
        elif line.startswith("```bash"):
            lines, inside = [], True
        elif inside:
            lines.append(line)
        elif line.startswith("#"):
            title = line.lstrip("# ").strip()


@dataclass
class Desk:
    """Where the person sits who types the runbook: the host's paths, the server, what was printed."""

    place: Path
    platform: Platform
    service: Service
    base_image: str
    published: int = field(default_factory=free_port)
    new_key: str = ""

    def path(self, of_host: str) -> Path:
        return self.place / of_host.lstrip("/")

    @property
    def app(self) -> Path:
        return self.path("/srv/apps/myapp")

    def redirected(self, text: str) -> str:
        roots = ("/srv/apps", "/opt/ikoma", "/var/backups/ikoma", "/var/log/ikoma", "/chemin/vers/source")
        return re.sub("|".join(map(re.escape, roots)), lambda found: str(self.path(found[0])), text)

    def type(self, block: Block) -> str:
        """Run a block with bash; what it printed on both streams."""
        argv = ["bash", "-c", self.redirected(block.text)]
        if ENDLESS in block.text:
            argv = ["timeout", "--signal=INT", "3", *argv]
        done = subprocess.run(
            argv, cwd=self.place, env={**os.environ, "API_KEY": self.service.key}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=180, check=False,
        )  # fmt: skip
        expected = (124, 130) if ENDLESS in block.text else (0,)
        assert done.returncode in expected, f"bash ended with {done.returncode}\n{block.text}\n{done.stdout}"
        return done.stdout

    def rows(self, sql: str) -> str:
        return self.platform.psql("myapp", sql)


def answers(printed: str) -> list[Any]:
    """The JSON values in what a block printed, between whatever else it did."""
    found: list[Any] = []
    decoder = json.JSONDecoder()
    at = 0
    while (at := printed.find("{", at)) >= 0:
        try:
            value, at = decoder.raw_decode(printed, at)
            found.append(value)
        except ValueError:
            at += 1
    return found


def results(printed: str) -> list[Any]:
    """The results of the calls that a block made, which all went well."""
    found = answers(printed)
    assert all(each.get("success") is True or "status" in each for each in found), printed
    return [each.get("result", each) for each in found]


# --- what the runbook takes for done ---


def write_application(desk: Desk) -> None:
    """The author's part, after the structure is there: how the application runs, and its first migration."""
    (desk.app / "docker-compose.yml").write_text(COMPOSE_FILE.format(base=desk.base_image, port=desk.published))
    migration = CHECKOUT / "playbooks/examples/guestbook/migrations/001_create_entries.sql"
    shutil.copy(migration, desk.app / "migrations/001_init.sql")


def tag_release(desk: Desk) -> None:
    source = desk.app / "src"
    git = ("git", "-C", str(source), "-c", "user.name=a", "-c", "user.email=a@example.org")
    run(*git, "init", "--quiet")
    run(*git, "add", "--all")
    run(*git, "commit", "--quiet", "-m", "the release before")
    run(*git, "tag", "tag-release-precedent")
    (source / "broken.txt").write_text("the release that is taken back")
    run(*git, "add", "--all")
    run(*git, "commit", "--quiet", "-m", "a release that does not work")


def lose_data(desk: Desk) -> None:
    tag_release(desk)
    made = next(desk.path("/var/backups/ikoma").glob(f"myapp-{time.strftime('%Y')}*.sql"))
    shutil.copy(made, desk.path("/var/backups/ikoma/myapp-20260101.sql"))
    desk.rows("DELETE FROM entries")


def write_down_rows(desk: Desk) -> None:
    desk.rows("INSERT INTO entries (author, message) VALUES ('Ada', 'before the backup')")


def bring_up(desk: Desk) -> None:
    assert desk.service.call("deploy.up", {"appName": "myapp"}).status == 200


def fail_once(desk: Desk) -> None:
    assert desk.service.call("apps.health", {"appName": "gone"}).status == 500


# --- what the runbook says that a block gives ---


def initialised(desk: Desk, printed: str) -> None:
    (made,) = results(printed)
    assert made["details"]["path"] == str(desk.app)
    listed = printed.splitlines()
    for name in ("config", "migrations", "seeds", "docker-compose.yml"):
        assert any(line.endswith(f" {name}") for line in listed), f"ls shows no {name}: {printed}"


def configured(desk: Desk, printed: str) -> None:
    for name in ("PORT", "POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD"):
        assert re.search(rf"^{name}=", printed, re.M), f"the example lacks {name}: {printed}"
    assert "POSTGRES_PASSWORD=mot_de_passe" in (desk.app / ".env").read_text()
    assert (desk.app / "src/Dockerfile").is_file()


def has_database(desk: Desk, printed: str) -> None:
    created, migrated, status = results(printed)
    assert (created["exists"], created["name"]) == (True, "myapp")
    assert migrated["success"] is True
    assert len(migrated["applied"]) == 1
    assert "entries" in status["tables"]
    assert desk.rows("SELECT count(*) FROM entries") == "0"


def deployed(desk: Desk, printed: str) -> None:
    validated, up, status = results(printed)
    assert validated == {"valid": True, "errors": []}
    assert up["success"] is True
    assert (status["dockerRunning"], status["dbExists"], status["health"]) == (True, True, "healthy")


def verified(desk: Desk, printed: str) -> None:
    release, health, own = results(printed)
    assert release["verified"] is True, release
    assert health["status"] == "healthy"
    assert own["status"] == "ok"


def restarted(desk: Desk, printed: str) -> None:
    assert results(printed)[0]["success"] is True
    assert container_of(desk) != ""


def stopped(desk: Desk, printed: str) -> None:
    assert results(printed)[0]["success"] is True
    assert container_of(desk) == ""


def backed_up(desk: Desk, printed: str) -> None:
    backup = results(printed)[0]["backupPath"]
    assert re.fullmatch(r"myapp-\d{8}\.sql", Path(backup).name)
    assert "before the backup" in Path(backup).read_text()


def followed(desk: Desk, printed: str) -> None:
    assert "web" in printed, "docker compose finds no logs of the application"


def diagnosed(desk: Desk, printed: str) -> None:
    assert "web-1" in printed
    assert "services:" in printed, "the configuration is not shown"


def connected(desk: Desk, printed: str) -> None:
    assert results(printed)[0]["exists"] is True
    assert re.search(r"^\s+1$", printed, re.M), f"SELECT 1 gives no 1: {printed}"


def measured(desk: Desk, printed: str) -> None:
    assert str(desk.app) in printed


def rolled_back(desk: Desk, printed: str) -> None:
    down, up, release = results(printed)
    assert down["success"] is True
    assert up["success"] is True
    assert release["verified"] is True, release
    assert desk.rows("SELECT message FROM entries") == "before the backup", "the rows of the backup are not back"
    assert not (desk.app / "src/broken.txt").exists()


def platform_is_well(desk: Desk, printed: str) -> None:
    expected = json.loads(re.findall(r"^```json\n(.*?)^```", RUNBOOK, re.M | re.S)[0])
    result = results(printed)[0]
    assert {name: result[name] for name in expected} == expected


def application_is_well(desk: Desk, printed: str) -> None:
    assert results(printed)[0]["status"] == "healthy"


def rotated(desk: Desk, printed: str) -> None:
    desk.new_key = desk.path("/opt/ikoma/api-key.txt").read_text().strip()
    assert len(desk.new_key) == 44
    old, new = desk.service.key, desk.new_key
    assert desk.service.call("apps.list", key=new).status == 200, "the new key is not taken up"
    assert desk.service.call("apps.list", key=old).status == 401, "of two lines the last one counts"
    desk.service.key = new
    assert hashlib.sha256(new.encode()).hexdigest() in desk.path("/opt/ikoma/.env").read_text()


def audited(desk: Desk, printed: str) -> None:
    lines = answers(printed)
    assert {"apps.init", "db.migrate", "deploy.up", "db.backup"} <= {line["capability"] for line in lines}
    everything = answers(desk.path("/var/log/ikoma/audit.jsonl").read_text())
    of_app = [line for line in everything if '"appName":"myapp"' in json.dumps(line, separators=(",", ":"))]
    errors = [line for line in everything if line["result"] == "error"]
    assert errors, "an operation failed, and is not found"
    assert lines == [*everything[-100:], *of_app, *errors], "tail, grep and jq find other lines than there are"
    assert PASSWORD not in printed, "the audit log holds the database's password"


def container_of(desk: Desk) -> str:
    return run("docker", "compose", "-f", str(desk.app / "docker-compose.yml"), "ps", "--quiet").stdout.strip()


def nothing(desk: Desk) -> None:
    """The runbook takes nothing for done."""


Check = Callable[[Desk, str], None]
# The heading of each block: what is done before it, and what it must give.
STEPS: dict[str, tuple[Callable[[Desk], None], Check]] = {
    "Phase 1 : Initialisation": (nothing, initialised),
    "Phase 2 : Configuration": (write_application, configured),
    "Phase 3 : Configuration de la Base de Données": (nothing, has_database),
    "Phase 4 : Déploiement": (nothing, deployed),
    "Phase 5 : Vérification": (nothing, verified),
    "Redémarrer l'Application": (write_down_rows, restarted),
    "Arrêter l'Application": (nothing, stopped),
    "Créer une Sauvegarde de Base de Données": (nothing, backed_up),
    "Consulter les Logs de l'Application": (bring_up, followed),
    "Problème : Les conteneurs ne démarrent pas": (nothing, diagnosed),
    "Problème : La connexion à la base de données échoue": (nothing, connected),
    "Problème : Espace disque plein": (nothing, measured),
    "Rollback d'Urgence": (lose_data, rolled_back),
    "Santé de la Plateforme": (nothing, platform_is_well),
    "Santé de l'Application": (nothing, application_is_well),
    "Rotation de la Clé API": (nothing, rotated),
    "Examiner le Journal d'Audit": (fail_once, audited),
}


def test_every_block_of_the_runbook_has_its_check() -> None:
    assert [block.title for block in blocks()] == list(STEPS)


@pytest.fixture
def desk(tmp_path: Path, docker_engine: None, python_base: str) -> Iterator[Desk]:
    platform = Platform(tmp_path / "opt/ikoma", "ikoma", "ikoma", PASSWORD)
    settings = {
        "APPS_ROOT": str(tmp_path / "srv/apps"),
        "BACKUPS_ROOT": str(tmp_path / "var/backups/ikoma"),
        "AUDIT_LOG": str(tmp_path / "var/log/ikoma/audit.jsonl"),
    }
    for folder in ("srv/apps", "var/backups/ikoma", "var/log/ikoma"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copytree(CHECKOUT / "playbooks/examples/guestbook", tmp_path / "chemin/vers/source")
    try:
        platform.up()
        service = Service(tmp_path / "server")
        settings["API_KEY_HASH"] = hashlib.sha256(service.key.encode()).hexdigest()
        with platform.env_file.open("a") as file:
            file.write("".join(f"{name}={value}\n" for name, value in settings.items()))
        more = {"env_path": platform.env_file, "key": service.key, "port": 3000, "bind": False}
        with serving(tmp_path / "server", **more) as service:
            yield Desk(tmp_path, platform, service, python_base)
    finally:
        compose = tmp_path / "srv/apps/myapp/docker-compose.yml"
        if compose.exists():
            argv = ["docker", "compose", "-f", str(compose), "down", "--rmi", "local", "--timeout", "1"]
            subprocess.run(argv, capture_output=True, check=False)
        platform.down()


def test_the_runbook_runs_as_it_stands(desk: Desk) -> None:
    for block in blocks():
        prepare, check = STEPS[block.title]
        prepare(desk)
        print(f"\n== {block.title}")
        printed = desk.type(block)
        print(printed)
        check(desk, printed)
