"""The same playbook on real Docker, and whether the tools say what is really so."""

from __future__ import annotations

import subprocess

from tests.parts.command import Finished
from tests.parts.images import run
from tests.parts.web import ask, ask_json

from .conftest import DockerHost

Deployed = tuple[DockerHost, Finished]


def test_the_deploy_ends_verified_and_prints_the_url(deployed: Deployed) -> None:
    host, printed = deployed
    assert host.url in printed.out.splitlines()[-1], f"the last line does not hold the URL\n{printed}"
    status, health = ask_json(f"{host.url}/health")
    assert (status, health["entries"]) == (200, 1)
    assert host.execute("artifact.verify_release")["verified"] is True
    assert host.execute("apps.status")["dockerRunning"] is True


def test_the_application_runs_in_a_healthy_container(deployed: Deployed) -> None:
    host, _ = deployed
    container = host.compose("ps", "--quiet", "web").strip()
    assert run("docker", "inspect", "--format", "{{.State.Health.Status}}", container).stdout.strip() == "healthy"
    page = ask(host.url, {"author": "Ada", "message": "from a container"})[1]
    assert "from a container" in page
    rows = host.platform.psql(host.app, "SELECT author FROM entries WHERE message = 'from a container'")
    assert rows == "Ada", "the entry is not in the platform's PostgreSQL"


def test_a_second_run_changes_nothing(deployed: Deployed) -> None:
    host, _ = deployed
    before = host.compose("ps", "--quiet", "web")
    again = host.run("deploy", "--json")
    assert again.steps("changed") == [], f"steps changed something in a second run\n{again}"
    assert again.recap["here"]["changed"] == 0
    assert host.compose("ps", "--quiet", "web") == before, "the container was made anew"


def test_health_and_verification_say_when_the_database_is_gone(docker_host: DockerHost) -> None:
    docker_host.run("deploy")
    docker_host.platform.stop()
    try:
        health = docker_host.execute("apps.health", expect=None)
        assert health["status"] == "unhealthy", health
        verification = docker_host.execute("artifact.verify_release", expect=None)
        assert verification["verified"] is False, verification
        assert docker_host.execute("apps.status", expect=None)["health"] == "unhealthy"
    finally:
        docker_host.platform.start()
    assert docker_host.execute("apps.health")["status"] == "healthy", "the database is back, and health does not say so"


def test_a_changed_image_is_not_the_verified_release(docker_host: DockerHost) -> None:
    docker_host.run("deploy")
    recipe = docker_host.place / "src/Dockerfile"
    recipe.write_text(recipe.read_text() + "ENV CHANGED=by-hand\n")
    docker_host.compose("up", "--detach", "--build", "--wait")
    verification = docker_host.execute("artifact.verify_release", expect=None)
    assert verification["verified"] is False, verification
    failed = [check for check in verification["checks"] if not check["passed"]]
    assert any("image" in f"{check['name']} {check['details']}".lower() for check in failed), failed


def test_a_service_that_died_is_started_again(docker_host: DockerHost) -> None:
    docker_host.run("deploy")
    docker_host.compose("kill", "web")
    assert docker_host.execute("apps.status", expect=None)["dockerRunning"] is False
    again = docker_host.run("deploy", "--json")
    assert len(again.steps("changed")) == 1, f"only the start of the services had something to do\n{again}"
    assert ask_json(f"{docker_host.url}/health")[0] == 200


def test_stop_restart_and_remove(docker_host: DockerHost) -> None:
    docker_host.run("deploy")
    first = docker_host.compose("ps", "--quiet", "web")
    docker_host.execute("deploy.restart")
    assert ask_json(f"{docker_host.url}/health")[0] == 200
    docker_host.execute("deploy.down")
    assert docker_host.compose("ps", "--all", "--quiet") == "", "containers stayed"
    docker_host.execute("deploy.up")
    assert docker_host.compose("ps", "--quiet", "web") not in ("", first)
    docker_host.execute("apps.remove")
    assert not docker_host.place.exists(), "the application's directory stayed"
    names = docker_host.platform.psql("postgres", "SELECT datname FROM pg_database").splitlines()
    assert docker_host.app not in names, "the database stayed"
    left = subprocess.run(
        ["docker", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={docker_host.app}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert left.stdout == "", "containers stayed"
    assert list((docker_host.folder / "backups").rglob("*.sql")), "no last backup was taken"
