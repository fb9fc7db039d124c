"""The platform's own tools: what they say about a host, and the sandbox's parts up, down and away."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ikoma_play import __version__
from ikoma_play.model import Host
from ikoma_play.platform import sandbox as sandboxes
from ikoma_play.tools import TOOLS
from ikoma_play.tools.platform import CAPABILITIES
from ikoma_play.transport.local import LocalTransport
from tests.parts.applications import WEB, application
from tests.parts.platform import Platform, free_port
from tests.parts.sandbox import Sandbox, SmallDisk
from tests.parts.traces import listens, processes_about


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox that was not started yet."""
    made = Sandbox(tmp_path)
    try:
        yield made
    finally:
        made.supervisor.stop()


def deployed(sandbox: Sandbox) -> int:
    """An application that runs; the port that it listens on."""
    port = free_port()
    sandbox.app("web", {".env": f"PORT={port}\n"})
    assert sandbox.runtime.up("web", 60)
    return port


def test_info_names_the_nineteen_tools_in_order_and_the_further_ones(stopped: Sandbox) -> None:
    result = stopped.call("platform.info").result
    assert result["version"] == __version__ and result["uptime"] > 0
    assert result["capabilities"] == list(CAPABILITIES) and len(set(CAPABILITIES)) == 19
    for name in (*result["capabilities"], *result["extensions"]):
        assert name in TOOLS.names(), f"{name} is no tool"
    assert {"platform.up", "platform.down", "db.restore"} <= set(result["extensions"])
    assert not set(result["extensions"]) & set(CAPABILITIES) and "copy" not in result["extensions"]
    assert result["limits"]["appNameLength"] == 64


def test_check_tells_each_part_apart(stopped: Sandbox) -> None:
    before = stopped.call("platform.check").result
    assert before["healthy"] is False
    assert before["checks"] == {"docker": False, "postgres": False, "appsRoot": True}
    assert "platform.up" in before["details"]["docker"] and "platform.up" in before["details"]["postgres"]

    stopped.call("platform.up")
    after = stopped.call("platform.check").result
    assert after["healthy"] is True and set(after["checks"].values()) == {True}
    assert "local processes" in after["details"]["docker"], "it does not say that there is no Docker here"
    assert "PostgreSQL 18" in after["details"]["postgres"] and "GiB free" in after["details"]["disk"]

    stopped.supervisor.end("ikoma-postgres")
    without = stopped.call("platform.check").result
    assert without["checks"] == {"docker": True, "postgres": False, "appsRoot": True}
    assert without["healthy"] is False and "is not running" in without["details"]["postgres"]


def test_check_of_directories_where_applications_cannot_lie(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = Sandbox(tmp_path, ikoma_apps_root=str(tmp_path / "file/apps")).call("platform.check").result
    assert result["checks"]["appsRoot"] is False and "is no directory" in result["details"]["appsRoot"]


def test_check_of_a_full_disk(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "small", "8m") as small:
        result = Sandbox(small).call("platform.check").result
    assert result["checks"]["appsRoot"] is False and "is nearly full" in result["details"]["appsRoot"]


def test_check_of_docker_hosts(platform: Platform, tmp_path: Path) -> None:
    variables = {"ikoma_runtime": "compose", "ikoma_postgres": platform.url, "ikoma_apps_root": str(tmp_path / "apps")}
    on = LocalTransport(Host("docker", (), variables))
    check, up, down = (TOOLS.find(f"platform.{name}") for name in ("check", "up", "down"))
    assert check and up and down
    result = check.function(on).result
    assert result["healthy"] is True and "Docker Engine" in result["details"]["docker"], result
    assert up.function(on).status == "ok", "there is nothing of ours to start on such a host"
    platform.stop()
    try:
        assert check.function(on).result["checks"] == {"docker": True, "postgres": False, "appsRoot": True}
    finally:
        platform.start()
    assert down.function(on).status == "ok" and not (tmp_path / "apps").exists()


def test_down_stops_the_applications_of_docker_hosts(busybox: str, tmp_path: Path) -> None:
    with application(tmp_path) as app:
        app.write(WEB.format(image=busybox, port=free_port(), more=""))
        app.runtime.up(app.name, 60)
        down = TOOLS.find("platform.down")
        assert down is not None
        assert down.function(app.on).status == "changed" and app.traces() == {}
        assert down.function(app.on).status == "ok"


def test_up_down_up_again(stopped: Sandbox) -> None:
    assert stopped.call("platform.up", stopped.dry).status == "changed"
    assert not stopped.root.exists(), "check mode made something"
    assert stopped.call("platform.up").status == "changed"
    assert stopped.call("platform.up").status == "ok"
    assert stopped.call("platform.up", stopped.dry).status == "ok"
    port, known = deployed(stopped), stopped.cluster.coordinates()
    assert known is not None and listens(port) and listens(known.port)

    assert stopped.call("platform.down", stopped.dry).status == "changed" and listens(port)
    assert stopped.call("platform.down").status == "changed"
    assert processes_about(stopped.folder) == {}, "processes are left"
    assert not listens(port) and not listens(known.port)
    assert stopped.call("platform.down").status == "ok"
    assert stopped.call("platform.down", stopped.dry).status == "ok"

    assert stopped.call("platform.up").status == "changed"
    assert stopped.runtime.services("web")[0].state == "exited", "what was stopped on purpose came back by itself"
    assert stopped.runtime.up("web", 60) and listens(port)


def test_after_a_crash_up_brings_the_applications_back(stopped: Sandbox) -> None:
    stopped.call("platform.up")
    port = deployed(stopped)
    for pid in sandboxes.processes([stopped.root]):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while sandboxes.processes([stopped.root]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert stopped.call("platform.up").status == "changed"
    while not listens(port):
        assert time.monotonic() < deadline, "the application did not come back"
        time.sleep(0.05)
    assert stopped.call("platform.check").result["healthy"] is True


def test_down_finds_orphans_of_a_killed_supervisor(stopped: Sandbox) -> None:
    stopped.call("platform.up")
    port = deployed(stopped)
    os.kill(int(stopped.supervisor._call("getPID")), signal.SIGKILL)
    assert stopped.call("platform.down").status == "changed"
    assert processes_about(stopped.folder) == {} and not listens(port)


def test_down_with_remove_takes_what_is_ours_and_nothing_else(stopped: Sandbox) -> None:
    stopped.call("platform.up")
    deployed(stopped)
    (stopped.root / "audit.jsonl").write_text("{}\n")
    (stopped.root / "mine.txt").write_text("not made by ikoma-play")
    assert stopped.call("platform.down", stopped.dry, remove=True).status == "changed"
    assert (stopped.root / "postgres/data").is_dir(), "check mode deleted something"
    first = stopped.call("platform.down", remove=True)
    assert first.status == "changed" and str(stopped.root / "postgres") in first.result["removed"]
    assert [path.name for path in stopped.root.iterdir()] == ["mine.txt"]
    assert stopped.call("platform.down", remove=True).status == "ok"
    (stopped.root / "mine.txt").unlink()

    stopped.call("platform.up")
    assert stopped.call("platform.down", remove=True).status == "changed"
    assert not stopped.root.exists()


def test_down_with_remove_keeps_directories_that_lie_elsewhere(tmp_path: Path) -> None:
    elsewhere = tmp_path / f"srv-{secrets.token_hex(3)}"
    (elsewhere / "apps/web").mkdir(parents=True)
    made = Sandbox(tmp_path, ikoma_apps_root=str(elsewhere / "apps"), ikoma_backups_root=str(elsewhere / "backups"))
    made.call("platform.up")
    made.call("platform.down", remove=True)
    assert (elsewhere / "apps/web").is_dir()


def test_a_directory_that_the_sandbox_never_claimed_is_not_touched(stopped: Sandbox) -> None:
    for name in ("postgres", "supervisor", "apps"):
        (stopped.root / name).mkdir(parents=True)
    assert stopped.call("platform.down", remove=True).status == "ok"
    assert sorted(path.name for path in stopped.root.iterdir()) == ["apps", "postgres", "supervisor"]


def test_runners_at_once_start_one_of_each(stopped: Sandbox) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(3) as pool:
        found: list[Any] = list(pool.map(lambda _: stopped.call("platform.up").status, range(3)))
    assert "changed" in found
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in sandboxes.processes([stopped.root])]
    assert len([command for command in commands if b"supervisord.conf" in command]) == 1
    assert stopped.call("platform.check").result["healthy"] is True


def test_an_orphan_that_holds_a_port_of_a_removed_sandbox_is_found(stopped: Sandbox) -> None:
    """Somebody deletes .ikoma by hand while it runs, and starts again."""
    import shutil

    stopped.call("platform.up")
    port = deployed(stopped)
    shutil.rmtree(stopped.root)
    assert listens(port)
    stopped.call("platform.up")
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)), "the orphan still has the port"


def test_each_tool_that_changes_something_says_how_it_is_undone_or_why_it_is_not() -> None:
    silent = [tool.name for tool in TOOLS.all() if tool.dotted and tool.changes and not (tool.undo or tool.lasting)]
    assert silent == []
    both = [tool.name for tool in TOOLS.all() if tool.undo and (tool.lasting or not tool.changes)]
    assert both == [], "a tool says two things about its undoing"
