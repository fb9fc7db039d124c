"""What a person gets wrong: each ends in one clear error with its remedy, and nothing half-made."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts.command import CHECKOUT, Finished, Ikoma
from tests.parts.platform import free_port
from tests.parts.traces import processes_about

from .conftest import DockerHost

GUESTBOOK = CHECKOUT / "playbooks/examples/guestbook"
WRONG, FAILED, UNDONE, FAULTY = 1, 2, 3, 4  # exit codes


def says(finished: Finished, *words: str) -> None:
    """Every one of these words is in what was printed, in any case."""
    missing = [word for word in words if word.lower() not in finished.text.lower()]
    assert not missing, f"the message lacks {missing}\n{finished}"


def containers(host: DockerHost) -> list[str]:
    """The names of the application's containers, stopped ones too."""
    label = f"label=com.docker.compose.project={host.app}"
    argv = ["docker", "ps", "--all", "--filter", label, "--format", "{{.Names}} {{.State}}"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Ikoma]:
    """A folder with nothing in it, whose sandbox goes in the end."""
    ikoma = Ikoma(tmp_path)
    yield ikoma
    ikoma("run", "sandbox-down", "-e", "remove=true")
    assert processes_about(tmp_path) == {}


def source_with(folder: Path, compose: str | None = None) -> Path:
    """A copy of the guestbook, with another docker-compose.yml when one is given."""
    source = folder / "source"
    shutil.copytree(GUESTBOOK, source)
    if compose:
        (source / "docker-compose.yml").write_text(compose)
    return source


@pytest.mark.parametrize("name", ["../escape", "a b", "x" * 65, "-/etc", "a;reboot", "naïve"])
def test_an_unsafe_application_name_is_refused(bare: Ikoma, name: str) -> None:
    done = bare("run", "deploy", "-e", f"port={free_port()}", "-e", f'{{"app": "{name}"}}', expect=None)
    assert done.code in (FAILED, FAULTY), done
    says(done, "name", "letters")
    assert not (bare.folder / ".ikoma/apps").exists() or not list((bare.folder / ".ikoma/apps").iterdir())
    assert [path.name for path in bare.folder.iterdir()] in ([], [".ikoma"])


@pytest.mark.parametrize("name", ["../outside.sql", "/etc/outside.sql", "a/../../outside.sql"])
def test_a_backup_name_cannot_climb_out(deployed: tuple[DockerHost, Finished], name: str) -> None:
    host, _ = deployed
    done = host.ikoma("exec", "db.backup", f"appName={host.app}", f"backupName={name}", "-i", "hosts.yml", expect=None)
    assert done.code != 0, done
    says(done, "backupName")
    assert not list(host.folder.rglob("outside*")) and not Path("/etc/outside.sql").exists()


def test_a_source_that_is_not_there(bare: Ikoma) -> None:
    done = bare("run", "deploy", "-e", f"port={free_port()}", "-e", "source=./nowhere", expect=FAILED)
    says(done, "nowhere", "deploy.yml" if "deploy.yml" in done.text else "tasks/main.yml")


def test_an_env_with_a_missing_key(docker_host: DockerHost, tmp_path: Path) -> None:
    compose = (GUESTBOOK / "docker-compose.yml").read_text()
    compose = compose.replace(
        "environment:\n", "environment:\n      MAIL_KEY: ${MAIL_KEY:?the key of the mail service}\n"
    )
    docker_host.write_inventory(source=str(source_with(tmp_path, compose=compose)))
    done = docker_host.run("deploy", expect=FAILED)
    says(done, "MAIL_KEY", ".env")
    assert containers(docker_host) == []


def test_a_port_already_taken(docker_host: DockerHost) -> None:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", docker_host.port))
        holder.listen()
        done = docker_host.run("deploy", expect=UNDONE)
    says(done, str(docker_host.port), "port")
    assert containers(docker_host) == [], "a container was left behind"
    docker_host.run("deploy")


def test_a_port_already_taken_on_the_sandbox(bare: Ikoma) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        done = bare("run", "deploy", "-e", f"port={port}", expect=UNDONE)
    says(done, str(port), "port")


def test_a_compose_file_that_does_not_parse(docker_host: DockerHost, tmp_path: Path) -> None:
    broken = (GUESTBOOK / "docker-compose.yml").read_text().replace("    ports:\n", "   ports:\n")
    docker_host.write_inventory(source=str(source_with(tmp_path, compose=broken)))
    done = docker_host.run("deploy", expect=FAILED)
    says(done, "docker-compose.yml", "line")
    assert containers(docker_host) == []


def test_a_service_that_never_becomes_healthy(docker_host: DockerHost, tmp_path: Path) -> None:
    sick = (GUESTBOOK / "docker-compose.yml").read_text()
    sick = sick.replace('["CMD", "python3", "-m", "guestbook.check"]', '["CMD", "python3", "-c", "exit(\'spleen\')"]')
    sick = sick.replace("start_period: 20s", "start_period: 0s").replace("retries: 5", "retries: 1")
    docker_host.write_inventory(source=str(source_with(tmp_path, compose=sick)))
    done = docker_host.run("deploy", expect=UNDONE)
    says(done, "web", "spleen", "health")
    assert not any(line.endswith("running") for line in containers(docker_host)), "an unhealthy container goes on"


def test_a_migration_that_fails_leaves_nothing_of_a_first_deploy(docker_host: DockerHost, tmp_path: Path) -> None:
    source = source_with(tmp_path)
    (source / "migrations/003_broken.sql").write_text("CREATE TABLE half (id int);\nCREATE TABEL wrong (id int);\n")
    docker_host.write_inventory(source=str(source))
    done = docker_host.run("deploy", expect=UNDONE)
    says(done, "003_broken.sql", "TABEL")
    databases = docker_host.platform.psql("postgres", "SELECT datname FROM pg_database").split()
    assert docker_host.app not in databases, "the database that this deploy made was left behind"
    assert not docker_host.place.exists()


def test_postgresql_that_refuses(docker_host: DockerHost) -> None:
    url = docker_host.platform.url.replace(docker_host.platform.password, "wrong-canary-4711")
    docker_host.write_inventory(ikoma_postgres=url)
    done = docker_host.run("deploy", expect=FAILED)
    says(done, "password", "ikoma_postgres")
    assert "wrong-canary-4711" not in done.text, "the password was printed"
    assert not docker_host.place.exists(), "the directory was made though the check before the start failed"


def test_postgresql_that_does_not_run(docker_host: DockerHost) -> None:
    docker_host.write_inventory(ikoma_postgres=f"postgresql://ikoma:x@127.0.0.1:{free_port()}/postgres")
    says(docker_host.run("deploy", expect=FAILED), "PostgreSQL", "not running")
    assert not docker_host.place.exists()


def test_a_full_disk(docker_host: DockerHost) -> None:
    apps = docker_host.folder / "apps"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", apps], check=True)
    try:
        done = docker_host.run("deploy", expect=FAILED)
        says(done, "space")
        left = [path.name for path in apps.rglob("*") if path.is_file() and path.stat().st_size == 0]
        assert left == [], "empty files were left where nothing could be written"
    finally:
        subprocess.run(["umount", apps], check=True)


def test_a_docker_engine_that_does_not_answer(docker_host: DockerHost) -> None:
    ikoma = Ikoma(docker_host.folder, {"DOCKER_HOST": "unix:///nowhere/docker.sock"})
    done = ikoma("run", "deploy", "-i", "hosts.yml", expect=FAILED)
    says(done, "Docker")
    assert not docker_host.place.exists()


def test_a_faulty_playbook_runs_nothing_and_names_every_fault(tmp_path: Path) -> None:
    (tmp_path / "wrong.yml").write_text(
        "- hosts: apps\n"
        "  tasks:\n"
        "    - name: First\n"
        "      apps.inti: {appName: x}\n"
        "    - name: Second\n"
        "      db.backup: {appNam: x}\n"
        "    - name: Third\n"
        "      command: touch ran\n"
        "      whne: true\n"
    )
    done = Ikoma(tmp_path)("run", "wrong.yml", expect=FAULTY)
    says(done, "wrong.yml:4:", "apps.init", "wrong.yml:6:", "appName", "wrong.yml:9:", "when")
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.yml"], "something ran"


def test_a_playbook_that_is_not_there(tmp_path: Path) -> None:
    done = Ikoma(tmp_path)("run", "depoly", expect=None)
    assert done.code in (WRONG, FAULTY), done
    says(done, "depoly", "deploy")
