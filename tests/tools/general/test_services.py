"""service, systemd and cron on Debian hosts that run the real programs: one with systemd at work, one without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.errors import StepError
from ikoma_play.model import Command, Outcome
from ikoma_play.transport.base import Transport
from ikoma_play.transport.dry import DryTransport
from tests.parts.containers import container
from tests.tools.general import harness

UNIT = """[Unit]
Description=sleeps
[Service]
ExecStart=/bin/sleep infinity
ExecReload=/bin/touch /run/reloaded
[Install]
WantedBy=multi-user.target
"""
BROKEN = "[Service]\nType=oneshot\nExecStart=/bin/false\n"


@pytest.fixture(scope="module")
def systemd() -> Iterator[Transport]:
    with container(systemd=True) as host:
        yield host


@pytest.fixture(scope="module")
def scripts() -> Iterator[Transport]:
    with container(systemd=False) as host:
        yield host


def call(on: Transport, tool: str, **arguments: Any) -> Outcome:
    return harness.call(on, harness.RunScope(Path("/nowhere")), tool, arguments)


def came(on: Transport, tool: str, *calls: dict[str, Any]) -> list[str]:
    return [str(call(on, tool, **arguments).status) for arguments in calls]


def pid(on: Transport, name: str) -> str:
    return on.demand(Command(("systemctl", "show", "--property=MainPID", "--value", name))).text.strip()


def test_units(systemd: Transport) -> None:
    systemd.write("/etc/systemd/system/sleeps.service", UNIT.encode())
    one = {"name": "sleeps", "state": "started", "enabled": True}
    assert call(DryTransport(systemd), "systemd_service", daemon_reload=True, **one).status == "changed"
    assert pid(systemd, "sleeps") == "0", "a dry run started it"
    first = call(systemd, "systemd_service", daemon_reload=True, **one)
    assert first.status == "changed" and first.result["status"]["LoadState"] == "loaded"
    assert first.diffs[0].before == "disabled\ninactive\n" and first.diffs[0].after == "enabled\nactive (started)\n"
    before = pid(systemd, "sleeps")
    assert before != "0" and systemd.exists("/etc/systemd/system/multi-user.target.wants/sleeps.service")
    assert call(systemd, "systemd", **one).status == "ok"
    assert call(systemd, "service", **one).status == "ok" and pid(systemd, "sleeps") == before
    assert call(systemd, "service", name="sleeps.service", state="reloaded").status == "changed"
    assert pid(systemd, "sleeps") == before and systemd.exists("/run/reloaded")
    assert call(systemd, "service", name="sleeps", state="restarted").status == "changed"
    assert pid(systemd, "sleeps") not in ("0", before)
    stop = {"name": "sleeps", "state": "stopped", "enabled": False}
    assert came(systemd, "systemd", stop, stop) == ["changed", "ok"]
    assert pid(systemd, "sleeps") == "0"
    assert call(systemd, "service", name="sleeps", state="reloaded").status == "changed", "it is started then"
    mask, unmask = {"name": "sleeps2", "masked": True}, {"name": "sleeps2", "masked": False}
    systemd.write("/lib/systemd/system/sleeps2.service", UNIT.encode())
    assert came(systemd, "systemd_service", mask, mask, unmask, unmask) == ["changed", "ok", "changed", "ok"]
    assert came(systemd, "systemd_service", {"daemon_reload": True}) == ["ok"]


def test_units_that_cannot_be(systemd: Transport) -> None:
    systemd.write("/etc/systemd/system/broken.service", BROKEN.encode())
    call(systemd, "systemd_service", daemon_reload=True)
    with pytest.raises(StepError, match="systemd cannot start broken") as failed:
        call(systemd, "systemd_service", name="broken", state="started")
    assert failed.value.remedy == "Look at its log: journalctl -u broken."
    for arguments in ({"state": "started"}, {"enabled": True}, {"masked": False}):
        with pytest.raises(StepError, match="needs the argument 'name'"):
            call(systemd, "systemd_service", **arguments)
    for arguments in ({"state": "started"}, {"enabled": True}):
        with pytest.raises(StepError, match="there is no unit nosuch on this host"):
            call(systemd, "systemd_service", name="nosuch", **arguments)
        with pytest.raises(StepError, match="there is no unit nosuch on this host"):
            call(systemd, "service", name="nosuch", **arguments)


def test_scripts(scripts: Transport) -> None:
    start, stop = {"name": "cron", "state": "started"}, {"name": "cron", "state": "stopped"}
    assert call(DryTransport(scripts), "service", **start).status == "changed"
    assert came(scripts, "service", stop, start, start) == ["ok", "changed", "ok"]
    running = scripts.read("/var/run/crond.pid")
    assert came(scripts, "service", {"name": "cron", "state": "restarted", "sleep": 0.1}) == ["changed"]
    assert scripts.read("/var/run/crond.pid") != running
    assert came(scripts, "service", {"name": "cron", "state": "reloaded"}) == ["changed"]
    assert came(scripts, "service", {**start, "pattern": "/usr/sbin/cron"}) == ["ok"]
    assert came(scripts, "service", stop, stop) == ["changed", "ok"]
    off, on = {"name": "cron", "enabled": False}, {"name": "cron", "enabled": True}
    assert came(scripts, "service", on, off, off, on, on) == ["ok", "changed", "ok", "changed", "ok"]


def test_scripts_that_cannot_be(scripts: Transport) -> None:
    with pytest.raises(StepError, match="there is no service nosuch on this host: no systemd runs there"):
        call(scripts, "service", name="nosuch", state="started")
    with pytest.raises(StepError, match=r"there is no service \.\./x"):
        call(scripts, "service", name="../x", state="started")
    with pytest.raises(StepError, match="service needs state or enabled"):
        call(scripts, "service", name="cron")
    with pytest.raises(StepError, match="no systemd runs on this host"):
        call(scripts, "systemd_service", name="cron", state="started")
    scripts.write("/etc/init.d/odd", b"#!/bin/sh\necho odd >&2; exit 7\n", 0o755)
    with pytest.raises(StepError, match="cannot tell whether the service runs"):
        call(scripts, "service", name="odd", state="started")


def crontab(on: Transport, *words: str) -> str:
    return on.demand(Command(("crontab", *words, "-l"))).stdout.decode()


def test_crontabs(scripts: Transport) -> None:
    one = {"name": "backup", "job": "/bin/true", "minute": 5, "hour": "*/2"}
    assert call(DryTransport(scripts), "cron", **one).status == "changed"
    first = call(scripts, "cron", **one)
    assert first.status == "changed" and first.result == {"jobs": ["backup"], "envs": []}
    assert call(scripts, "cron", **one).status == "ok"
    assert crontab(scripts) == "#Ansible: backup\n5 */2 * * * /bin/true\n"
    other = {"name": "other", "job": "x % y 'z'", "special_time": "daily"}
    assert came(scripts, "cron", other, other) == ["changed", "ok"]
    moved = call(scripts, "cron", **{**one, "minute": "6", "backup": True})
    assert moved.diffs[0].before.splitlines()[1] == "5 */2 * * * /bin/true"
    assert b"5 */2" in scripts.read(moved.result["backup_file"])
    assert came(scripts, "cron", {**one, "minute": 6, "disabled": True}) == ["changed"]
    word = {"name": "MAILTO", "env": True, "job": "a@example.org"}
    assert came(scripts, "cron", word, word, {**word, "job": "b"}) == ["changed", "ok", "changed"]
    path = {"name": "PATH", "env": True, "job": "/bin", "insertafter": "MAILTO"}
    assert came(scripts, "cron", path, path) == ["changed", "ok"]
    assert crontab(scripts) == (
        'MAILTO="b"\nPATH="/bin"\n#Ansible: backup\n#6 */2 * * * /bin/true\n'
        "#Ansible: other\n@daily x % y 'z'\n"
    )  # fmt: skip
    gone = [{"name": "backup", "state": "absent"}] * 2 + [{"name": "MAILTO", "env": True, "state": "absent"}] * 2
    assert came(scripts, "cron", *gone) == ["changed", "ok", "changed", "ok"]
    scripts.demand(Command(("useradd", "-m", "joe")))
    assert came(scripts, "cron", {**one, "user": "joe"}, {**one, "user": "joe"}) == ["changed", "ok"]
    assert "5 */2 * * * /bin/true" in crontab(scripts, "-u", "joe") and "5 */2" not in crontab(scripts)
    scripts.demand(Command(("crontab", "-u", "joe", "-"), stdin=b"1 2 3 4 5 mine\n"))
    mine = {"name": "named", "user": "joe", "job": "mine", "minute": 1, "hour": 2, "day": 3, "month": 4, "weekday": 5}
    assert came(scripts, "cron", mine, mine) == ["changed", "ok"]
    assert crontab(scripts, "-u", "joe") == "#Ansible: named\n1 2 3 4 5 mine\n"


def test_files_of_jobs(scripts: Transport) -> None:
    one = {"name": "a", "job": "run me", "user": "root", "cron_file": "ikoma", "special_time": "reboot"}
    two = {"name": "b", "job": "me too", "user": "root", "cron_file": "ikoma", "weekday": "1-5"}
    assert call(DryTransport(scripts), "cron", **one).status == "changed" and not scripts.exists("/etc/cron.d/ikoma")
    assert came(scripts, "cron", one, one, two, two) == ["changed", "ok", "changed", "ok"]
    wanted = b"#Ansible: a\n@reboot root run me\n#Ansible: b\n* * * * 1-5 root me too\n"
    assert scripts.read("/etc/cron.d/ikoma") == wanted
    gone = [{"name": name, "cron_file": "/etc/cron.d/ikoma", "state": "absent"} for name in ("a", "b", "b")]
    assert came(scripts, "cron", *gone) == ["changed", "changed", "ok"]
    assert not scripts.exists("/etc/cron.d/ikoma"), "an empty file is removed"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": "a"}, "needs the argument 'job'"),
        ({"name": "a", "job": "x", "cron_file": "f"}, "needs the argument 'user'"),
        ({"name": "a", "job": "x", "user": "root", "cron_file": "/etc/crontab"}, "the system's own"),
        ({"name": "a", "job": "x\ny"}, "cannot hold a line break"),
        ({"name": "a", "job": "x", "minute": "1 2"}, "holds no blanks"),
        ({"name": "a", "job": "x", "hour": 1, "special_time": "daily"}, "special_time or minute"),
        ({"name": "a", "job": "x", "insertafter": "B"}, "are for variables"),
        ({"name": "A", "job": "x", "env": True, "insertafter": "B", "insertbefore": "C"}, "insertafter or"),
        ({"name": "A", "job": "x", "env": True, "insertafter": "NOSUCH"}, "sets no variable NOSUCH"),
        ({"name": "A B", "job": "x", "env": True}, "cannot be the name of a variable"),
        ({"name": "a", "job": "x", "user": "nobody-there"}, "cannot read the crontab of nobody-there"),
        ({"name": "a", "job": "x", "minute": "99"}, "cannot write the crontab"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_jobs_that_cannot_be(scripts: Transport, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(StepError, match=says):
        call(scripts, "cron", **arguments)
