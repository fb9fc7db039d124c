"""The same playbook on hosts reached over SSH: real OpenSSH servers, real Docker and PostgreSQL behind them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts.chance import LONG
from tests.parts.command import CHECKOUT
from tests.parts.platform import Platform
from tests.parts.sshd import servers
from tests.parts.undone import difference, failing_after, steps
from tests.parts.web import ask, ask_json

from .conftest import DockerHost, make_docker_host
from .test_docker_undone import GUESTBOOK, state

Fleet = dict[str, DockerHost]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, platform: Platform, python_base: str) -> Iterator[Fleet]:
    """Two hosts of one inventory, each behind an SSH server of its own, with applications of their own."""
    folder = tmp_path_factory.mktemp("fleet")
    made: Fleet = {}
    with servers() as site:
        running = [site.server().start(), site.server().start()]
        inventory: dict[str, Any] = {}
        try:
            for name, server in zip(("alpha", "beta"), running, strict=True):
                host = made[name] = make_docker_host(folder / name, platform, python_base)
                variables = json.loads((host.folder / "hosts.yml").read_text())
                reached = server.host(name, user="root").vars
                inventory[name] = {**variables["all"]["children"]["apps"]["hosts"]["here"], **reached}
            (folder / "hosts.yml").write_text(json.dumps({"all": {"children": {"apps": {"hosts": inventory}}}}))
            yield made
        finally:
            for host in made.values():
                host.clear()
            for server in running:
                server.stop()


def test_the_deploy_on_two_hosts(fleet: Fleet) -> None:
    alpha = fleet["alpha"]
    first = alpha.ikoma("run", "deploy", "-i", "../hosts.yml", "--json")
    for name, host in fleet.items():
        assert first.recap[name]["failed"] == 0, first
        assert ask_json(f"{host.url}/health")[0] == 200, f"{name} does not answer\n{first}"
    again = alpha.ikoma("run", "deploy", "-i", "../hosts.yml", "--json")
    assert {name: again.recap[name]["changed"] for name in fleet} == {"alpha": 0, "beta": 0}, again


def second(folder: Path) -> Path:
    """A further release of the guestbook, with another image and a migration."""
    source = folder / "second"
    shutil.copytree(GUESTBOOK, source)
    (source / "migrations/003_add_mood.sql").write_text("ALTER TABLE entries ADD mood text;\n")
    server = source / "guestbook/server.py"
    server.write_text(server.read_text() + "# second\n")
    return source


def test_a_deploy_that_fails_on_one_host_is_undone_on_both(fleet: Fleet, tmp_path: Path) -> None:
    """`rollback_scope: all`: a release belongs on all hosts or none."""
    source = second(tmp_path)
    step = next(step for step in steps() if step.tool == "artifact.verify_release")
    playbook = failing_after(step, tmp_path / "failing")
    playbook.write_text(playbook.read_text().replace("  hosts: apps\n", "  hosts: apps\n  rollback_scope: all\n"))
    injected = tmp_path / "failing/roles/verify/tasks/main.yml"
    text = injected.read_text().replace("msg: injected", "msg: injected\n  when: inventory_hostname == 'beta'")
    injected.write_text(text)
    before = {name: state(host) for name, host in fleet.items()}
    words = ("-i", "../hosts.yml", "-e", f"source={source}", "--json")
    done = fleet["alpha"].ikoma("run", str(playbook), *words, expect=3)
    assert {name: done.recap[name]["failed"] for name in fleet} == {"alpha": 0, "beta": 1}, done
    for name, host in fleet.items():
        after = state(host)
        for what, was in before[name].items():
            assert after[what] == was, f"{what} of {name} differ\n{difference(was, after[what])}\n{done}"
        assert ask_json(f"{host.url}/health")[0] == 200, f"{name} does not answer\n{done}"


def test_the_emergency_rollback_on_two_hosts(fleet: Fleet, tmp_path: Path) -> None:
    """A second release goes out to both, and both go back to the first, with the rows that it had."""
    for name, host in fleet.items():
        ask(host.url, {"author": name, "message": "of the first"})
    alpha = fleet["alpha"]
    alpha.ikoma("run", "deploy", "-i", "../hosts.yml", "-e", f"source={second(tmp_path)}")
    columns = "SELECT count(*) FROM information_schema.columns WHERE column_name = 'mood'"
    for host in fleet.values():
        assert host.platform.psql(host.app, columns) == "1"
        ask(host.url, {"author": "Eve", "message": "too late"})
        host.compose("kill", "web")
    done = alpha.ikoma("run", "rollback", "-i", "../hosts.yml", "-e", "yes=true", "--json")
    for name, host in fleet.items():
        assert done.recap[name]["failed"] == 0, done
        page = ask(host.url)[1]
        assert f"{name}" in page and "of the first" in page and "too late" not in page, f"{name}\n{page}\n{done}"
        assert host.platform.psql(host.app, columns) == "0"
        assert not (host.place / "src/guestbook/server.py").read_text().endswith("# second\n")


def test_tools_tell_what_is_so_over_there(fleet: Fleet) -> None:
    beta = fleet["beta"]
    words = (f"appName={beta.app}", "-i", "../hosts.yml", "-l", "beta")
    backup = json.loads(beta.ikoma("exec", "db.backup", *words).out)
    assert Path(backup["backupPath"]).stat().st_size == backup["size"] > 0
    beta.compose("kill", "web")
    status = json.loads(beta.ikoma("exec", "apps.status", *words, expect=None).out)
    assert status["dockerRunning"] is False
    assert ask_json(f"{fleet['alpha'].url}/health")[0] == 200, "the other host's application is gone"


@pytest.mark.timeout(1500 if LONG else 300)
def test_a_large_database_passes_through_little_memory(fleet: Fleet) -> None:
    """1 GB where IKOMA_TESTS_LONG is set, 40 MB else: the runner's peak is that of a small one."""
    alpha = fleet["alpha"]
    alpha.ikoma("run", "deploy", "-i", "../hosts.yml", "-l", "alpha")
    megabytes = 1000 if LONG else 40
    filling = (
        "CREATE TABLE IF NOT EXISTS filling AS SELECT n, (SELECT string_agg(md5(n::text || i::text), '') "
        f"FROM generate_series(1, 32) AS i) AS text FROM generate_series(1, {megabytes * 1000}) AS n"
    )
    words = (f"appName={alpha.app}", "-i", "../hosts.yml", "-l", "alpha")
    empty, _ = _peak(alpha, "db.backup", *words)
    alpha.ikoma("exec", "db.seed", *words, f"sql={filling}")
    started = time.monotonic()
    made, backup = _peak(alpha, "db.backup", *words)
    halfway = time.monotonic()
    assert backup["size"] > megabytes * 1_000_000
    restored, _ = _peak(alpha, "db.restore", *words, f"backupPath={backup['backupPath']}")
    size, ended = backup["size"] / 1e6, time.monotonic()
    print(
        f"\n{size:.0f} MB: the runner took {made:.0f} MB and {halfway - started:.0f} s to back up, "
        f"{restored:.0f} MB and {ended - halfway:.0f} s to restore ({empty:.0f} MB for an empty one)"
    )
    assert max(made, restored) < 100
    rows = json.loads(alpha.ikoma("exec", "db.status", *words).out)
    assert rows["exists"] is True and "filling" in json.dumps(rows["tables"])


def _peak(host: DockerHost, *words: str) -> tuple[float, Any]:
    """The largest resident size of the runner in megabytes, and what the tool answered."""
    argv = [*host.ikoma.prefix, "-m", "ikoma_play", "exec", *words]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), **host.ikoma.environment}
    # A child's peak counts what it had before exec, which is this process' size: a small one starts it.
    starter = (
        "import os, subprocess, sys\n"
        "started = subprocess.Popen(sys.argv[1:])\n"
        "_, status, used = os.wait4(started.pid, 0)\n"
        "print(used.ru_maxrss, file=sys.stderr)\n"
        "os._exit(os.waitstatus_to_exitcode(status))"
    )
    done = subprocess.run(
        [sys.executable, "-c", starter, *argv],
        cwd=host.ikoma.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stderr.splitlines()[-1]) / 1024, json.loads(done.stdout)
