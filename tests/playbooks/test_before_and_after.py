"""The lists before and after a deployment: every box is looked at, ticked from evidence, and told with its remedy."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.parts.applications import application
from tests.parts.command import Finished, Ikoma
from tests.parts.platform import free_port
from tests.parts.receivers import webhook
from tests.parts.sandbox import Sandbox, SmallDisk, sandbox
from tests.parts.serving import serving

__all__ = ["sandbox"]


def preflight(on: Any, **values: Any) -> dict[str, Any]:
    """The details of each box that is not ticked, by its name."""
    found = on.call("platform.preflight", **values).result
    assert found["ready"] == all(one["done"] for one in found["boxes"]) == (not found["missing"]), found
    return {one["box"]: one["details"] for one in found["boxes"] if not one["done"]}


def test_every_box_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    (tmp_path / "file").write_text("in the way")
    source = tmp_path / "source"
    source.mkdir()
    url = f"postgresql://ikoma:canary-88@127.0.0.1:{free_port()}/postgres"
    with application(tmp_path, ikoma_apps_root=str(tmp_path / "file"), ikoma_postgres=url) as app:
        found = preflight(app, source=str(source), server=True)
        said = {
            "server": "systemctl start ikoma-play",
            "key": "ikoma-play keys create",
            "docker": "Start it (systemctl start docker)",
            "postgres": "is not running",
            "appsRoot": "is no directory",
            "source": "has no compose file",
        }
        assert found.keys() == said.keys(), found
        assert all(words in found[box] for box, words in said.items()), found
        assert "canary-88" not in json.dumps(found)
        assert "there is no source" in preflight(app, source=str(tmp_path / "nosuch"))["source"]


def test_variables_that_nobody_gives_are_named(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yml").write_text(
        "services:\n  web: {image: x, environment: {A: $FIRST, B: '${SECOND:?it is needed}', C: '${THIRD:-3}'}}\n"
    )
    found = preflight(sandbox, source=str(tmp_path), env={"FIRST": 1})
    assert list(found) == ["environment"] and "needs SECOND, which neither env nor" in found["environment"], found
    assert preflight(sandbox, source=str(tmp_path), env={"FIRST": 1, "SECOND": 2}) == {}


def test_an_applications_directory_without_space_is_no_place_for_a_deploy(sandbox: Sandbox, tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "small") as place:
        small = Sandbox(sandbox.folder, ikoma_apps_root=str(place))
        assert "nearly full" in preflight(small)["appsRoot"]


def test_an_applications_directory_on_a_read_only_disk(sandbox: Sandbox, tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "small", "200m") as place:
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        said = preflight(Sandbox(sandbox.folder, ikoma_apps_root=str(place / "apps")))["appsRoot"]
        assert said == f"the disk of {place} is mounted read-only. See why (dmesg), then remount it"


def test_a_served_host_ticks_every_box(sandbox: Sandbox) -> None:
    with serving(sandbox.folder / "server") as server:
        server.write_env(HTTP_PORT=str(server.port))
        host = Sandbox(sandbox.folder, ikoma_env_file=str(server.env_file))
        server.env_file.chmod(0o644)
        assert "chmod 600" in preflight(host, server=True)["key"]
        server.env_file.chmod(0o600)
        assert preflight(host, server=True) == {}
        hosts = {"all": {"children": {"apps": {"hosts": {"sandbox": dict(host.on.host.vars)}}}}}
        (sandbox.folder / "hosts.yml").write_text(json.dumps(hosts))
        told = Ikoma(sandbox.folder)("run", "preflight", "-i", "hosts.yml").text
        assert "[x] ikoma-play is installed and running" in told and "[ ]" not in told, told
    missing = Ikoma(sandbox.folder)("run", "preflight", "-i", "hosts.yml", expect=2).text
    assert "[ ] ikoma-play is installed and running" in missing and "[x] the API key" in missing, missing
    Ikoma(sandbox.folder)("run", "preflight", "-i", "hosts.yml", "-e", "server=false")


def test_a_deploy_ends_with_the_list_and_tells_the_team_once(tmp_path: Path) -> None:
    port = free_port()
    with webhook() as hook:
        variables = {"ikoma_contacts": {"devs": {"webhook": hook.url}}, "ikoma_team": ["devs"]}
        (tmp_path / "more.json").write_text(json.dumps(variables))
        ikoma = Ikoma(tmp_path)

        def run(playbook: str, *words: str, expect: int = 0) -> Finished:
            return ikoma("run", playbook, "-e", f"port={port}", "-e", "@more.json", *words, expect=expect)

        try:
            first = run("deploy").text
            assert "[x] the team is notified" in first and "[ ] alerts are configured" in first, first
            assert "[x] the runbook is up to date" in first, first
            assert "[ ] a backup is there and restores" in first, first
            again = run("deploy", "--json")
            assert not again.steps("changed"), again
            assert len(hook.bodies) == 1 and "guestbook" in hook.bodies[0]["text"], hook.bodies
            assert "nobody is called first" in run("try-alerts", expect=2).text
            variables["ikoma_contacts"] = {"devs": {"webhook": hook.url}, "on-call": {"command": ["false"]}}
            (tmp_path / "more.json").write_text(json.dumps(variables))
            assert "not arrived, and waiting in the outbox: on-call" in run("try-alerts", expect=2).text
            run("backup")
            refused = run("checklist", expect=2).text
            assert "alerts are configured, and one has arrived at everybody" in refused.partition("not done")[2], (
                refused
            )
            variables["ikoma_contacts"]["on-call"] = {"command": ["true"]}
            (tmp_path / "more.json").write_text(json.dumps(variables))
            run("try-alerts")
            runbook = tmp_path / ".ikoma/apps/guestbook/.ikoma/runbook.md"
            kept = runbook.read_text()
            runbook.write_text(kept.replace("guestbook", "another"))
            told = run("checklist", expect=2).text
            assert "the runbook is up to date could not be proved" in told and "artifact.write_runbook" in told, told
            assert "[x] a backup is there and restores" in run("deploy").text
            assert runbook.read_text() == kept
            assert "[x] a backup is there, with its checksum" in run("deploy", "-e", "checklist_trial_most=1").text
            ticked = run("checklist").text
            assert ticked.count("[x]") == 8 and "[ ]" not in ticked, ticked
        finally:
            run("sandbox-down", "-e", "remove=true")
