"""The embedded PostgreSQL: as root and as an ordinary user, on its own, killed, moved, and without a secret shown."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ikoma_play.errors import Refused, Unavailable
from ikoma_play.platform import postgres_embedded
from ikoma_play.platform import sandbox as sandboxes
from tests.parts.command import CHECKOUT
from tests.parts.sandbox import Sandbox, SmallDisk
from tests.parts.users import NOBODY, ordinary_user


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox that was not started yet."""
    made = Sandbox(tmp_path)
    try:
        yield made
    finally:
        made.supervisor.stop()


def postmaster(sandbox: Sandbox) -> int:
    return int((sandbox.cluster.data / "postmaster.pid").read_text().split("\n", 1)[0])


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_started_used_stopped_started(stopped: Sandbox) -> None:
    cluster = stopped.cluster
    assert cluster.coordinates() is None and not cluster.running()
    assert cluster.start(), "a first start makes and starts it"
    assert not cluster.start(), "a second one finds it running"
    known = cluster.coordinates()
    assert known is not None
    asked = "SELECT current_setting('listen_addresses'), current_setting('unix_socket_directories'),"
    asked += " current_setting('fsync'), current_setting('server_encoding'), current_user"
    assert stopped.sql("postgres", asked) == [("127.0.0.1", "", "on", "UTF8", "ikoma")]
    assert stopped.sql("postgres", "SELECT DISTINCT auth_method FROM pg_hba_file_rules") == [("scram-sha-256",)]
    stopped.sql("postgres", "CREATE TABLE kept AS SELECT 1 AS it")
    assert stopped.supervisor.stop() and not cluster.running()
    with socket.socket() as probe:
        assert probe.connect_ex((known.host, known.port)), "its port is still taken"
    assert cluster.start() and cluster.coordinates() == known, "it did not keep its port and password"
    assert stopped.sql("postgres", "SELECT it FROM kept") == [(1,)]


def test_the_password_is_only_in_a_file_for_its_owner(stopped: Sandbox) -> None:
    stopped.cluster.start()
    known = stopped.cluster.coordinates()
    assert known is not None and known.password
    for pid in sandboxes.processes([stopped.root]):
        assert known.password.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    holding = [p for p in stopped.root.rglob("*") if p.is_file() and known.password.encode() in p.read_bytes()]
    assert [path.name for path in holding] == ["server.json"]
    assert holding[0].stat().st_mode & 0o077 == 0
    assert known.password not in repr(stopped.server.address)


def test_killed_with_its_supervisor_it_recovers(stopped: Sandbox) -> None:
    stopped.cluster.start()
    stopped.sql("postgres", "CREATE TABLE kept AS SELECT 1 AS it")
    old = postmaster(stopped)
    for pid in (int(stopped.supervisor._call("getPID")), old):
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda pid=pid: not sandboxes.alive(pid))  # type: ignore[misc]
    assert stopped.cluster.start()
    assert postmaster(stopped) != old
    assert stopped.sql("postgres", "SELECT it FROM kept") == [(1,)]


def test_an_orphan_is_stopped_before_a_new_one_starts(stopped: Sandbox) -> None:
    stopped.cluster.start()
    old, daemon = postmaster(stopped), int(stopped.supervisor._call("getPID"))
    with stopped.server.connect() as client:  # a client must not make it wait
        os.kill(daemon, signal.SIGKILL)
        wait_for(lambda: not sandboxes.alive(daemon))
        assert sandboxes.alive(old)
        assert stopped.cluster.start()
        assert not sandboxes.alive(old) and client.pgconn is not None
        client.close()


def test_a_lock_file_that_names_another_process_is_no_obstacle(stopped: Sandbox) -> None:
    stopped.cluster.start()
    stopped.supervisor.stop()
    lines = [str(os.getpid()), str(stopped.cluster.data), "0", "1", "", "127.0.0.1", "0 0", "ready"]
    (stopped.cluster.data / "postmaster.pid").write_text("\n".join(lines) + "\n")
    assert stopped.cluster.start()
    assert stopped.sql("postgres", "SELECT 1") == [(1,)]


def test_a_taken_port_moves_it(stopped: Sandbox) -> None:
    stopped.cluster.start()
    known = stopped.cluster.coordinates()
    assert known is not None
    stopped.supervisor.stop()
    with socket.create_server((known.host, known.port)):
        assert stopped.cluster.start()
        moved = stopped.cluster.coordinates()
        assert moved is not None and moved.port != known.port and moved.password == known.password
        assert stopped.sql("postgres", "SELECT 1") == [(1,)]


def test_a_half_made_cluster_gives_way(stopped: Sandbox) -> None:
    (stopped.cluster.folder / "data.part").mkdir(parents=True)
    (stopped.cluster.folder / "data.part/PG_VERSION").write_text("18\n")
    assert stopped.cluster.start()
    assert not (stopped.cluster.folder / "data.part").exists()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda cluster: (cluster.folder / "server.json").unlink(), "with it the password"),
        (lambda cluster: (cluster.data / "PG_VERSION").write_text("12\n"), "was made by PostgreSQL 12"),
        (lambda cluster: (cluster.data / "postgresql.conf").write_text("nonsense"), "does not start"),
    ],
)
def test_what_is_broken_is_told(stopped: Sandbox, spoil: Callable[..., object], said: str) -> None:
    stopped.cluster.start()
    stopped.supervisor.stop()
    spoil(stopped.cluster)
    with pytest.raises(Unavailable, match=said) as failed:
        stopped.cluster.start()
    assert failed.value.remedy
    assert not stopped.cluster.running()


def test_a_full_disk_leaves_no_half_cluster(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "small", "12m") as small:
        made = Sandbox(small)
        try:
            with pytest.raises(Unavailable, match="the disk is full") as failed:
                made.call("platform.up")
            assert "df -h" in failed.value.remedy
            assert [path.name for path in made.cluster.folder.iterdir()] == ["lock"]
        finally:
            made.supervisor.stop()


def test_another_server_on_its_files_is_refused(stopped: Sandbox) -> None:
    cluster = stopped.cluster
    cluster.start()
    stopped.supervisor.stop()
    programs = postgres_embedded.binaries()
    assert programs is not None
    argv = [*cluster._account(programs), str(programs / "postgres"), "-D", str(cluster.data)]
    options = ["-c", f"port={postgres_embedded.free_port()}", "-c", "unix_socket_directories="]
    other = subprocess.Popen([*argv, *options], stderr=subprocess.DEVNULL)
    try:
        wait_for(cluster._accepts)
        with pytest.raises(Refused, match="another PostgreSQL"):
            cluster.start()
    finally:
        other.send_signal(signal.SIGINT)
        other.wait(20)


@pytest.mark.parametrize("open_to_all", [True, False], ids=["where nobody may look", "where only root may look"])
def test_where_no_user_namespace_is_allowed_root_runs_it_as_nobody(
    monkeypatch: pytest.MonkeyPatch, open_to_all: bool
) -> None:
    """Without root there is nothing to choose: it runs as who we are."""
    monkeypatch.setattr(postgres_embedded, "_NAMESPACE", ("false",))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755 if open_to_all else 0o700)
        _runs_as_nobody(Sandbox(Path(folder)), monkeypatch)


def _runs_as_nobody(made: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        made.cluster.start()
        owner = Path(f"/proc/{postmaster(made)}").stat().st_uid
        assert owner == (NOBODY if os.geteuid() == 0 else os.geteuid())
        assert made.sql("postgres", "SELECT 1") == [(1,)]
        monkeypatch.undo()
        made.supervisor.stop()
        made.cluster.start()
        assert made.sql("postgres", "SELECT 1") == [(1,)], "the files' owner was not put right"
    finally:
        made.supervisor.stop()


def test_root_without_either_way_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Sandbox(tmp_path)
    monkeypatch.setattr(postgres_embedded, "_NAMESPACE", ("false",))
    monkeypatch.setattr(postgres_embedded, "_DEMOTED", ("false",))
    monkeypatch.setattr(postgres_embedded, "_SEEING", ())
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    try:
        with pytest.raises(Unavailable, match="refuses to run as root") as failed:
            made.cluster.start()
        assert "ordinary user" in failed.value.remedy
    finally:
        made.supervisor.stop()


USE = """
import sys
from ikoma_play.model import Host
from ikoma_play.tools import TOOLS
from ikoma_play.transport.local import LocalTransport
root = sys.argv[1]
places = {"sandbox_root": root, "apps_root": root + "/apps", "backups_root": root + "/backups"}
variables = {"ikoma_runtime": "process", "ikoma_postgres": "embedded"}
on = LocalTransport(Host("here", (), {**variables, **{f"ikoma_{name}": place for name, place in places.items()}}))
def call(tool, **arguments):
    return TOOLS.find(tool).function(on, **TOOLS.find(tool).bind(arguments))
try:
    call("platform.up")
    call("db.create", appName="x")
    print(call("db.migrate", appName="x", sql="CREATE TABLE t ()").status)
    print(call("db.backup", appName="x", backupName="x.sql").status)
    print(call("db.restore", appName="x", backupPath="x.sql").status)
    print(call("db.status", appName="x").result["tables"])
finally:
    print(call("platform.down", remove=True).status)
"""


def test_an_ordinary_user_needs_no_root() -> None:
    with ordinary_user() as ikoma:
        root = ikoma.folder / ".ikoma"
        done = subprocess.run(
            [*ikoma.prefix, "-c", USE, str(root)],
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), **ikoma.environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=ikoma.folder,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split("\n") == ["changed", "changed", "changed", "['t']", "changed", ""]
        assert not root.exists() and sandboxes.processes([root]) == []
