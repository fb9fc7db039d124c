"""A bare Debian host, reached over SSH, becomes a platform: with systemd, a Docker Engine of its own and PostgreSQL.

The tests stand in the order of the host's life. The installation is the real one, by the host's apt.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts.bare import BareHost, bare_host, compose_plugin, fetch_wheels
from tests.parts.chance import LONG
from tests.parts.command import CHECKOUT, Finished
from tests.parts.images import postgres_image, python_image

pytestmark = pytest.mark.timeout(1800)
PATIENCE = 900.0  # seconds that an installation may take on a machine with much else to do
KEY_FILE = "/opt/ikoma/api-key.txt"
ASK = """
import json, sys, urllib.request
key, tool = sys.argv[1:]
request = urllib.request.Request(f"http://127.0.0.1:3000/execute/{tool}", b"{}", {"X-Api-Key": key})
try:
    with urllib.request.urlopen(request) as answer:
        print(json.dumps(json.load(answer)["result"]))
except urllib.error.HTTPError as refused:
    print(refused.code)
"""


def variables() -> dict[str, Any]:
    return {
        "compose_plugin": compose_plugin(),
        "postgres_image": postgres_image(),
        "server_packages": ["python3-venv"],  # git is for sources in repositories
        "app": "guestbook",
        "source": str(CHECKOUT / "playbooks/examples/guestbook"),
        "env": {"PORT": 8080, "BASE_IMAGE": python_image()},
    }


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, docker_engine: None) -> Iterator[BareHost]:
    folder, wheels = tmp_path_factory.mktemp("bare"), tmp_path_factory.mktemp("wheels")
    fetching = threading.Thread(target=fetch_wheels, args=(wheels,))  # while the first run installs packages
    fetching.start()
    try:
        with bare_host(folder, wheels) as host:
            host.write_inventory(**variables())
            yield host
    finally:
        fetching.join()


@pytest.fixture(scope="module")
def engine(bare: BareHost) -> BareHost:
    """The host with its Docker Engine and the images; tests of one module may run in several processes."""
    platform(bare, "--tags", "docker")
    bare.load(postgres_image(), python_image())
    return bare


@pytest.fixture(scope="module")
def ready(engine: BareHost) -> BareHost:
    platform(engine)
    return engine


def platform(host: BareHost, *words: str, expect: int = 0) -> Finished:
    return host.ikoma("run", "platform", "-i", "hosts.yml", *words, expect=expect, timeout=PATIENCE)


def refused(host: BareHost, *words: str) -> str:
    return platform(host, *words, expect=2).text


def test_hosts_that_cannot_become_one_are_left_alone(bare: BareHost) -> None:
    before = bare.do("dpkg-query", "--show")
    other = "cp /etc/os-release /root/kept; rm /etc/os-release; sed s/^ID=.*/ID=fedora/ /root/kept > /etc/os-release"
    bare.do("sh", "-c", other)
    assert "this works on Debian 12, Ubuntu 22.04 and newer ones" in refused(bare, "--check")
    bare.do("mv", "/root/kept", "/etc/os-release")
    assert "GiB free, and this takes 999999" in refused(bare, "--check", "-e", "docker_least_space=999999")
    bare.do("sh", "-c", "useradd --create-home deployer && cp -r /root/.ssh ~deployer/ && chown -R deployer ~deployer")
    told = refused(bare, "--check", "-e", "ansible_user=deployer")
    assert "installing needs root, and we are deployer on bare" in told
    assert bare.do("dpkg-query", "--show") == before


def test_an_installation_that_is_cut_off_is_completed_by_the_next(bare: BareHost) -> None:
    argv = [sys.executable, "-m", "ikoma_play", "run", "platform", "-i", "hosts.yml", "--tags", "docker"]
    environment = {**os.environ, **bare.ikoma.environment, "PYTHONPATH": str(CHECKOUT)}
    runner = subprocess.Popen(argv, cwd=bare.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    until = time.monotonic() + PATIENCE
    while "install" not in bare.try_to("sh", "-c", "grep -s ' unpacked \\| install ' /var/log/dpkg.log | grep docker"):
        assert runner.poll() is None and time.monotonic() < until, "it was to be killed while it unpacks packages"
        time.sleep(0.1)
    runner.send_signal(signal.SIGKILL)
    runner.communicate()
    platform(bare, "--tags", "docker")
    assert "20.10" in bare.do("docker", "info", "--format", "{{.ServerVersion}}")


@pytest.mark.parametrize(("options", "remedy"), [("size=4k", "Free some disk space"), ("ro", "remount it")])
def test_a_disk_that_takes_nothing(bare: BareHost, options: str, remedy: str) -> None:
    """Where the settings lie: full, or mounted read-only. The next tests complete it."""
    bare.do("mkdir", "-p", "/opt/ikoma")
    bare.do("mount", "-t", "tmpfs", "-o", options, "tmpfs", "/opt/ikoma")
    try:
        bare.try_to("sh", "-c", "head -c 4096 /dev/zero > /opt/ikoma/filler")
        told = refused(bare, "--tags", "platform", "--no-rollback")
    finally:
        bare.do("umount", "/opt/ikoma")
    assert remedy in told and "/opt/ikoma" in told, told


def test_every_box_is_ticked_in_the_end(engine: BareHost) -> None:
    done = platform(engine)
    assert done.text.count("[x]") == 5 and "[ ]" not in done.text, done
    assert f"the key of the server is in {KEY_FILE} on bare" in done.text
    for unit in ("docker", "ikoma-play"):
        states = engine.do("systemctl", "is-enabled", unit), engine.do("systemctl", "is-active", unit)
        assert states == ("enabled", "active"), unit
    preflight = engine.ikoma("run", "preflight", "-i", "hosts.yml")
    assert preflight.text.count("[x]") == 7, preflight


def test_the_key_opens_and_is_seen_in_one_place_only(ready: BareHost) -> None:
    key = ready.do("cat", KEY_FILE)
    kept = [KEY_FILE, "/opt/ikoma/.env"]
    assert ready.do("stat", "--format", "%a %U", *kept).split("\n") == ["600 root", "600 root"]
    assert json.loads(ready.do("python3", "-c", ASK, key, "platform.check"))["healthy"] is True
    assert ready.do("python3", "-c", ASK, "another", "platform.check") == "401"
    password = ready.do("sed", "-n", "s/^POSTGRES_PASSWORD=//p", "/opt/ikoma/.env")
    here = [path for path in (*ready.folder.iterdir(), Path(os.environ["AUDIT_LOG"])) if path.is_file()]
    written = b"".join(path.read_bytes() for path in here)
    assert key and password and b"keys.create" in written
    assert key.encode() not in written and password.encode() not in written
    there = ready.do("grep", "-rlF", key, "/opt", "/etc", "/var/log", "/var/lib/ikoma", "/srv")
    assert there == KEY_FILE


def changed(host: BareHost, *words: str) -> list[str]:
    return platform(host, "--json", *words).steps("changed")


def test_the_second_run_changes_nothing(ready: BareHost) -> None:
    assert changed(ready) == []
    told = refused(ready, "-e", "docker_least=99.0", "--tags", "docker")
    assert "is older than 99.0; it was left alone" in told


def test_it_is_the_same_from_the_host_itself(ready: BareHost) -> None:
    """The program that was installed there brings itself, and finds nothing to do."""
    given = {name: ready.variables[name] for name in ("postgres_image", "server_packages", "server_pip_args")}
    local = ("env", "IKOMA_STATE=sqlite:/var/lib/ikoma/journal.db", "ikoma-play", "run", "platform")
    out = ready.do(*local, "-i", "/opt/ikoma/inventory.yml", "--json", "-e", json.dumps(given))
    last: dict[str, Any] = json.loads(out.splitlines()[-1])
    assert last["hosts"]["bare"]["changed"] == 0 and last["hosts"]["bare"]["ok"] > 20, last


def test_a_server_that_is_killed_comes_back(ready: BareHost) -> None:
    before = ready.do("systemctl", "show", "--property=MainPID", "--value", "ikoma-play")
    ready.do("systemctl", "kill", "--signal", "SIGKILL", "ikoma-play")
    assert ready.ikoma("run", "preflight", "-i", "hosts.yml", "-e", "server=false").text.count("[x]") == 5
    until = time.monotonic() + 60
    while "401" not in ready.try_to("python3", "-c", ASK, "none", "apps.list"):
        assert time.monotonic() < until, ready.try_to("journalctl", "-u", "ikoma-play")
        time.sleep(0.5)
    assert ready.do("systemctl", "show", "--property=MainPID", "--value", "ikoma-play") not in ("0", before)


def test_a_compose_file_of_somebody_else_stays(ready: BareHost) -> None:
    ready.do("sh", "-c", "mkdir -p /opt/other && echo 'services: {}' > /opt/other/docker-compose.yml")
    told = refused(ready, "-e", "ikoma_env_file=/opt/other/.env", "--tags", "platform")
    assert "/opt/other/docker-compose.yml was not written by ikoma-play and was left alone" in told
    assert ready.do("cat", "/opt/other/docker-compose.yml") == "services: {}"


def deploys(host: BareHost) -> None:
    host.ikoma("run", "deploy", "-i", "hosts.yml", timeout=PATIENCE)
    status = json.loads(host.ikoma("exec", "apps.status", "appName=guestbook", "-i", "hosts.yml").out)
    assert status["health"] == "healthy" and status["dbExists"]
    key = host.do("cat", KEY_FILE)
    assert json.loads(host.do("python3", "-c", ASK, key, "apps.list")) == ["guestbook"]


if LONG:

    def test_it_deploys(bare: BareHost) -> None:
        deploys(bare)

    @pytest.mark.parametrize("more", [{"postgres_from": "package", "platform_user": "ikoma"}], ids=["package"])
    def test_other_ways(tmp_path: Path, docker_engine: None, more: dict[str, Any]) -> None:
        """PostgreSQL of the distribution, and a user of the platform's own, whom deploys then become."""
        wheels = tmp_path / "wheels"
        wheels.mkdir()
        (tmp_path / "bare").mkdir()
        with bare_host(tmp_path / "bare", fetch_wheels(wheels)) as host:
            host.do("sh", "-c", "apt-get -qq update && apt-get -qq install -y --no-install-recommends sudo")
            host.write_inventory(**variables(), **more)
            platform(host)
            host.load(python_image())
            assert changed(host) == []
            assert host.do("stat", "--format", "%a %U", "/opt/ikoma/.env") == "600 ikoma"
            assert host.do("systemctl", "show", "--property=User", "--value", "ikoma-play") == "ikoma"
            host.write_inventory(ansible_become=True, ansible_become_user="ikoma")
            deploys(host)
