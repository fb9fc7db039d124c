"""The README's main job: the standard playbook on the shipped inventory's sandbox."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from tests.parts.command import CHECKOUT, Ikoma
from tests.parts.platform import free_port
from tests.parts.traces import files_below, listens, processes_about
from tests.parts.users import NOBODY, ordinary_user
from tests.parts.web import ask, ask_json

from .conftest import Sandbox

PHASES = (
    "Before the start",
    "Phase 1: Initialisation",
    "Phase 2: Configuration",
    "Phase 3: Database",
    "Phase 4: Deployment",
    "Phase 5: Verification",
)


def test_the_output_names_the_phases_in_order_and_ends_with_the_url(sandbox: Sandbox) -> None:
    out = sandbox.deployed.out
    places = [out.find(phase) for phase in PHASES]
    assert -1 not in places and places == sorted(places), f"the phases are not shown in order\n{out}"
    assert sandbox.url in out.splitlines()[-1], f"the last line does not hold the URL\n{out}"


def test_the_application_answers_and_keeps_entries(sandbox: Sandbox) -> None:
    status, health = ask_json(f"{sandbox.url}/health")
    assert (status, health["database"]) == (200, "ok")
    status, page = ask(sandbox.url, {"author": "Ada", "place": "London", "message": "<b>first!</b>"})
    assert status == 200
    assert "&lt;b&gt;first!&lt;/b&gt;" in page, "the page does not list the stored entry, escaped"
    assert "came with the seed" in page, "the page does not list the seeded entry"


def test_a_second_run_changes_nothing(sandbox: Sandbox) -> None:
    again = sandbox.ikoma("run", "deploy", "-e", f"port={sandbox.port}", "--json")
    assert again.steps("changed") == [], f"steps changed something in a second run\n{again}"
    assert again.recap["sandbox"]["changed"] == 0
    assert again.recap["sandbox"]["failed"] == 0


def test_the_tools_report_the_release(sandbox: Sandbox) -> None:
    def result(tool: str) -> dict:
        return json.loads(sandbox.ikoma("exec", tool, "appName=guestbook").out)

    assert result("artifact.verify_release")["verified"] is True
    status = result("apps.status")
    assert (status["exists"], status["dbExists"], status["health"]) == (True, True, "healthy")
    assert result("apps.health")["status"] == "healthy"
    tables = result("db.status")["tables"]
    assert "entries" in str(tables), f"db.status does not list the application's table: {tables}"


def test_everything_lies_below_dot_ikoma(sandbox: Sandbox) -> None:
    assert [path.name for path in sandbox.folder.iterdir()] == [".ikoma"]
    app = sandbox.app
    assert (app / ".env").stat().st_mode & 0o777 == 0o600, ".env can be read by others"
    for name in ("docker-compose.yml", "config", "migrations/001_create_entries.sql", "src/guestbook/server.py"):
        assert (app / name).exists(), f"{name} did not take its place in the application's directory"


def test_down_leaves_nothing_and_up_again_finds_the_entries(tmp_path: Path) -> None:
    folder, temporary = tmp_path / "here", tmp_path / "tmp"
    folder.mkdir()
    temporary.mkdir()
    ikoma = Ikoma(folder, {"TMPDIR": str(temporary)})
    port = free_port()
    deploy = ("run", "deploy", "-e", f"port={port}")
    ikoma(*deploy)
    database_port = json.loads((folder / ".ikoma/postgres/server.json").read_text())["port"]
    ask(f"http://127.0.0.1:{port}/", {"author": "Bo", "message": "still here tomorrow?"})
    assert listens(port) and listens(database_port) and processes_about(folder)

    down = ikoma("run", "sandbox-down")
    assert processes_about(folder) == {}, f"processes outlived the sandbox\n{down}"
    assert not listens(port) and not listens(database_port), f"a port stayed taken\n{down}"
    assert (folder / ".ikoma/apps/guestbook/.env").exists(), "the application's files went without being asked to"
    assert ikoma("run", "sandbox-down", "--json").recap["sandbox"]["changed"] == 0, "a second stop changed something"

    ikoma(*deploy)
    assert "still here tomorrow?" in ask(f"http://127.0.0.1:{port}/")[1], "the entries did not outlive a stop"

    ikoma("run", "sandbox-down", "-e", "remove=true")
    assert processes_about(folder) == {} and not listens(port)
    assert list(folder.iterdir()) == [], "sandbox-down with remove=true left files"
    assert files_below(temporary) == {}, "temporary files were left"


def test_check_mode_changes_nothing(tmp_path: Path) -> None:
    ikoma = Ikoma(tmp_path)
    ikoma("run", "deploy", "--check", "-e", f"port={free_port()}", expect=None)
    assert list(tmp_path.iterdir()) == [], "--check made files"
    assert processes_about(tmp_path) == {}, "--check started processes"


def test_an_ordinary_user_needs_no_root() -> None:
    port = free_port()
    with ordinary_user() as ikoma:
        try:
            ikoma("run", "deploy", "-e", f"port={port}")
            assert ask_json(f"http://127.0.0.1:{port}/health")[0] == 200
            owners = {path.stat().st_uid for path in (ikoma.folder / ".ikoma").rglob("*")}
            assert owners == {NOBODY if os.geteuid() == 0 else os.geteuid()}, "files belong to somebody else"
        finally:
            ikoma("run", "sandbox-down", "-e", "remove=true")
        assert processes_about(ikoma.folder) == {}
        assert not (ikoma.folder / ".ikoma").exists()


def test_a_sandbox_of_somebody_else_is_refused_with_the_reason() -> None:
    with ordinary_user() as ikoma:
        locked = ikoma.folder / ".ikoma/supervisor"
        locked.mkdir(parents=True)
        for place in (locked.parent, locked):
            os.chown(place, NOBODY, NOBODY)
        locked.chmod(0o500)
        refused = ikoma("run", "sandbox-down", expect=2)
        assert str(locked) in refused.text and "permission denied" in refused.text, refused
        assert "fault of ikoma-play" not in refused.text, refused


def test_releases_of_a_git_source(tmp_path: Path) -> None:
    """Two tags of a repository, deployed one after the other: each a recorded release, the second with a migration."""
    repository, folder = tmp_path / "repository", tmp_path / "here"
    folder.mkdir()
    shutil.copytree(CHECKOUT / "playbooks/examples/guestbook", repository)
    _git(repository, "init", "--quiet", "--initial-branch=main")
    _tag(repository, "v1.0")
    (repository / "migrations/003_add_mood.sql").write_text("ALTER TABLE entries ADD COLUMN mood text;\n")
    _tag(repository, "v1.1")
    ikoma, port = Ikoma(folder), free_port()
    deploy = ("run", "deploy", "-e", f"port={port}", "-e", f"source={repository}", "-e")
    try:
        ikoma(*deploy, "ref=v1.0")
        assert not (folder / ".ikoma/apps/guestbook/migrations/003_add_mood.sql").exists()
        second = ikoma(*deploy, "ref=v1.1", "--json")
        assert "Apply the migrations" in second.steps("changed"), second
        again = ikoma(*deploy, "ref=v1.1", "--json")
        assert again.steps("changed") == [], again
        releases = json.loads(ikoma("exec", "artifact.releases", "appName=guestbook").out)
        assert [release["ref"] for release in releases] == ["v1.1", "v1.0"], releases
        assert json.loads(ikoma("exec", "artifact.verify_release", "appName=guestbook").out)["verified"] is True
    finally:
        ikoma("run", "sandbox-down", "-e", "remove=true")


def _tag(repository: Path, name: str) -> None:
    _git(repository, "add", "--all")
    _git(repository, "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "--message", name)
    _git(repository, "tag", name)


def _git(repository: Path, *words: str) -> None:
    subprocess.run(["git", "-C", repository, *words], check=True, capture_output=True)
