"""What happens to real hosts in the middle of a step: told in time and as what it is, no other host harmed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.parts.command import CHECKOUT, Finished, Ikoma
from tests.parts.hosts import Machine, Net, net

WITHIN = 60.0  # seconds for what takes five on a quiet machine

# alpha is at work for as long as nobody stops it; the others are done at once.
PLAY = [{"hosts": "all", "steps": [
    {"name": "before", "command": "touch /root/before"},
    {"name": "at work", "shell": "echo $$ > /root/begun; exec sleep $(cat /root/seconds)"},
    {"name": "after", "command": "touch /root/after"},
]}]  # fmt: skip


@pytest.fixture(scope="module")
def fleet() -> Iterator[Net]:
    with net() as made:
        for name in ("alpha", "beta", "gamma"):
            made.host(name, container=("--tmpfs", "/small:size=256k") if name == "alpha" else ())
        yield made


@pytest.fixture
def alpha(fleet: Net) -> Machine:
    for machine in fleet.hosts.values():
        seconds = 300 if machine.name == "alpha" else 0
        machine.do("sh", "-c", f"rm -f /root/before /root/begun /root/after; echo {seconds} > /root/seconds")
    return fleet.hosts["alpha"]


@pytest.fixture
def ikoma(fleet: Net, tmp_path: Path) -> Ikoma:
    (tmp_path / "play.yml").write_text(json.dumps(PLAY))
    return fleet.ikoma(tmp_path)


def start(ikoma: Ikoma, *words: str) -> subprocess.Popen[str]:
    argv = [*ikoma.prefix, "-m", "ikoma_play", "run", "play.yml", "-i", "hosts.yml", "--json", *words]
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {"PYTHONPATH": str(CHECKOUT)}
    return subprocess.Popen(argv, cwd=ikoma.folder, env=environment, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip


def during(ikoma: Ikoma, alpha: Machine, happens: Callable[[], object]) -> Finished:
    """The run that has `happens` happen while alpha is at work and the others are done with it."""
    running = start(ikoma)
    try:
        others = [machine for machine in alpha.net.hosts.values() if machine is not alpha]
        wait_for(lambda: alpha.has("/root/begun") and all(other.has("/root/begun") for other in others))
        happens()
        begun = time.monotonic()
        out, err = running.communicate(timeout=WITHIN)
        assert time.monotonic() - begun < WITHIN
        return Finished(tuple(running.args), running.returncode, out, err)  # type: ignore[arg-type]
    finally:
        running.kill()
        running.wait()


def told(finished: Finished, host: str = "alpha") -> str:
    """What the host's last outcome says went wrong, with its remedy."""
    outcomes = [event["outcome"] for event in finished.events
                if event["event"] == "step_finished" and event["host"] == host]  # fmt: skip
    return json.dumps(outcomes[-1]["failure"])


def unharmed(finished: Finished, alpha: Machine) -> None:
    """Only alpha is out of reach; the others went on to the end."""
    assert finished.code == 6, finished
    assert finished.recap["alpha"]["unreachable"] == 1 and finished.recap["alpha"]["failed"] == 0, finished
    for name, machine in alpha.net.hosts.items():
        assert machine.has("/root/after") is (machine is not alpha), f"{name}\n{finished}"
        if machine is not alpha:
            assert finished.recap[name]["unreachable"] == finished.recap[name]["failed"] == 0, finished


def goes_on(ikoma: Ikoma, alpha: Machine, finished: Finished | None = None) -> None:
    """With the cause mended the run goes on from the step that the host was lost in."""
    alpha.do("sh", "-c", "echo 0 > /root/seconds; rm /root/before")
    run = [finished.events[0]["run"]] if finished else ["--retry-unfinished"]  # the newest run, which died
    again = ikoma("runs", "resume", *run, "--json")
    assert again.recap["alpha"]["unreachable"] == 0 and alpha.has("/root/after"), again
    assert not alpha.has("/root/before"), "a step that was done is done again"


def wait_for(condition: Callable[[], object], seconds: float = WITHIN) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.1)


# --- the network ---


def test_packets_are_swallowed(ikoma: Ikoma, alpha: Machine) -> None:
    try:
        finished = during(ikoma, alpha, alpha.swallow)
        unharmed(finished, alpha)
        assert "has not answered for 3 s" in told(finished) and "network cut" in told(finished)
        refused = ikoma("exec", "ping", "-l", "alpha", "-i", "hosts.yml", expect=6)
        assert "10.99.1.2:22 does not answer within 5 s" in refused.text
    finally:
        alpha.swallow("-D")
    goes_on(ikoma, alpha, finished)


def test_the_cable_is_pulled(ikoma: Ikoma, alpha: Machine) -> None:
    try:
        finished = during(ikoma, alpha, alpha.unplug)
        unharmed(finished, alpha)
        assert "has not answered for 3 s" in told(finished) or "was lost" in told(finished), finished
    finally:
        alpha.plug_in()
    goes_on(ikoma, alpha, finished)


# --- the host ---


def test_the_ssh_server_is_killed(ikoma: Ikoma, alpha: Machine) -> None:
    pid = ""

    def kill() -> None:
        nonlocal pid
        pid = alpha.do("cat", "/root/begun").strip()
        alpha.do("pkill", "-KILL", "sshd")

    finished = during(ikoma, alpha, kill)
    unharmed(finished, alpha)
    assert "was lost while" in told(finished) and "resume the run" in told(finished)
    refused = ikoma("exec", "ping", "-l", "alpha", "-i", "hosts.yml", expect=6)
    assert "10.99.1.2:22 refuses the connection: nothing listens there" in refused.text
    wait_for(lambda: not alpha.has(f"/proc/{pid}"))  # what ran on the lost connection is ended there
    alpha.do("/usr/sbin/sshd", "-E", "/var/log/sshd", "-f", "/keys/sshd_config")
    goes_on(ikoma, alpha, finished)


def test_the_host_is_rebooted(ikoma: Ikoma, alpha: Machine) -> None:
    finished = during(ikoma, alpha, alpha.reboot)
    unharmed(finished, alpha)
    assert "alpha: " in told(finished)
    goes_on(ikoma, alpha, finished)


def test_a_host_that_accepts_and_never_answers(ikoma: Ikoma, alpha: Machine) -> None:
    """Its kernel takes connections, and none of its programs runs."""
    try:
        finished = during(ikoma, alpha, alpha.freeze)
        unharmed(finished, alpha)
        assert "has not answered for 3 s" in told(finished)
        refused = ikoma("exec", "ping", "-l", "alpha", "-i", "hosts.yml", expect=6)
        assert "accepts connections but says nothing: no SSH banner within 5 s" in refused.text
    finally:
        alpha.thaw()
    goes_on(ikoma, alpha, finished)


def test_a_full_disk_over_there(fleet: Net, ikoma: Ikoma, alpha: Machine) -> None:
    large = "x" * 300_000
    step = {"copy": {"content": large, "dest": "{{ '/small' if inventory_hostname == 'alpha' else '/root' }}/large"}}
    (ikoma.folder / "full.yml").write_text(json.dumps([{"hosts": "all", "steps": [step]}]))
    finished = ikoma("run", "full.yml", "-i", "hosts.yml", "--json", expect=2)
    assert finished.recap["alpha"]["failed"] == 1 and finished.recap["alpha"]["unreachable"] == 0
    assert "no space left on device" in told(finished) and "df -h" in told(finished)
    assert fleet.hosts["beta"].has("/root/large") and fleet.hosts["gamma"].has("/root/large")
    assert alpha.do("ls", "-A", "/small") == "", "half a file was left behind"


def test_few_sessions_and_few_connections_in_the_making(tmp_path: Path) -> None:
    """One session at a time is enough, also for steps as another user; a host that closes some connections is asked
    again."""
    with net() as few:
        few.host("alpha", ("MaxSessions 1", "MaxStartups 1:100:1"))
        ikoma = few.ikoma(tmp_path)
        steps = [
            {"command": "id -un", "register": "first"},
            {"command": "id -un", "become": True, "become_user": "target", "register": "second"},
            {"command": "id -un", "register": "third"},
            {"assert": {"that": "[first.stdout, second.stdout, third.stdout] == ['root', 'target', 'root']"}},
        ]
        (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "all", "steps": steps}]))
        holding = "import socket, time; s = socket.create_connection(('10.99.1.2', 22)); print('held', flush=True); " \
                  "time.sleep(1.5)"  # fmt: skip
        holder = subprocess.Popen([*ikoma.prefix, "-c", holding], stdout=subprocess.PIPE)
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        try:
            ikoma("run", "play.yml", "-i", "hosts.yml")
        finally:
            holder.wait()


# --- the runner ---


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_runner_that_ends_leaves_nothing_at_work(ikoma: Ikoma, alpha: Machine, number: signal.Signals) -> None:
    """By the second Ctrl-C, which stops at once, or by a kill that it never sees."""

    def end() -> None:
        nonlocal pid
        pid = alpha.do("cat", "/root/begun").strip()
        assert alpha.has(f"/proc/{pid}")
        for _ in range(2 if number is signal.SIGINT else 1):
            runner.send_signal(number)
            time.sleep(0.5)

    pid = ""
    runner = start(ikoma, "-l", "alpha")
    try:
        wait_for(lambda: alpha.do("cat", "/root/begun").strip().isdigit())
        end()
        assert runner.wait(WITHIN) == (130 if number is signal.SIGINT else -signal.SIGKILL)
        wait_for(lambda: not alpha.has(f"/proc/{pid}"))
    finally:
        runner.kill()
        runner.communicate()
    goes_on(ikoma, alpha)
