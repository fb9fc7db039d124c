"""Another user of an SSH host, by real sudo and su, with and without a password."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from ikoma_play.errors import StepError, TimedOut
from ikoma_play.model import Command
from ikoma_play.transport.base import Transport
from ikoma_play.transport.ssh import SshTransport
from tests.parts.sshd import PASSWORD, Sshd

WAYS = {
    "sudo": ("free", "target", {}),
    "sudo as root": ("free", "root", {}),
    "sudo with a password": ("asker", "target", {"password": PASSWORD}),
    "sudo with a password that is not asked for": ("free", "target", {"password": PASSWORD}),
    "sudo with flags": ("free", "target", {"flags": "-H -n"}),
    "su": ("deployer", "target", {"method": "su", "password": PASSWORD}),
    "su as root": ("deployer", "root", {"method": "su", "password": PASSWORD}),
    "su by root": ("root", "target", {"method": "su"}),
}


@pytest.fixture
def become(box: Sshd, request: pytest.FixtureRequest) -> Callable[..., Transport]:
    def road(account: str, user: str, **way: str) -> Transport:
        first = SshTransport(box.host(user=account))
        request.addfinalizer(first.close)
        return first.become(user, **way)

    return road


@pytest.mark.parametrize(("account", "user", "way"), WAYS.values(), ids=WAYS)
def test_commands_and_files_are_the_other_users(
    become: Callable[..., Transport], account: str, user: str, way: dict[str, str]
) -> None:
    on = become(account, user, **way)
    told = on.run(Command(("sh", "-c", 'id -un; cat; printf "%s" "$WORD"; echo err >&2; exit 3'), stdin=b"in\0",
                          env={"WORD": "a'b\n"}))  # fmt: skip
    assert (told.exit_code, told.stdout, told.stderr) == (3, f"{user}\nin\0a'b\n".encode(), b"err\n")
    assert on.run(Command(("cat",), timeout=30)).stdout == b""
    assert "LC_ALL=C" not in on.run(Command(("env",))).text.splitlines()
    home = on.run(Command(("sh", "-c", "mktemp -d"))).text
    on.write(f"{home}/a", b"small")
    on.write(f"{home}/b", bytes(200_000), 0o640)
    small, large = on.stat(f"{home}/a"), on.stat(f"{home}/b")
    assert small is not None and (small.owner, small.mode) == (user, 0o644)
    assert large is not None and (large.owner, large.mode, large.size) == (user, 0o640, 200_000)
    assert on.remove(home)


def test_the_home_may_be_closed_to_the_other_user(become: Callable[..., Transport]) -> None:
    """Of whoever logs in, as root's is; find fails in such a directory, wherever it looks."""
    on = become("root", "target", method="su")
    assert on.run(Command(("test", "-x", "/root"))).exit_code == 1
    assert "/usr/bin" in [entry.path for entry in on.scan("/usr")]


def test_one_connection_and_a_shell_for_each_user(box: Sshd) -> None:
    first = SshTransport(box.host(user="asker"))
    try:
        other = first.become("target", password=PASSWORD)
        shells = {road.run(Command(("sh", "-c", "echo $PPID"))).text for road in (first, other, first, other)}
        assert len(shells) == 2 and first.connection.opened == 1
        assert first.become("target", password=PASSWORD) is other
    finally:
        first.close()


def test_the_password_is_sent_once_and_seen_nowhere(box: Sshd) -> None:
    first = SshTransport(box.host(user="asker"))
    seen: list[bytes] = []

    def look(data: bytes) -> None:
        for place in (*Path("/proc").glob("[0-9]*/cmdline"), *Path("/proc").glob("[0-9]*/environ")):
            with contextlib.suppress(OSError):
                seen.append(place.read_bytes())

    try:
        result = first.become("target", password=PASSWORD).run(Command(("sh", "-c", "echo x; sleep 0.2; cat")), look)
        assert result.stdout == b"x\n", "the password reached the command"
        assert len(seen) > 3 and not [each for each in seen if PASSWORD.encode() in each]
    finally:
        first.close()


@pytest.mark.parametrize(
    ("account", "way", "remedy"),
    [
        ("asker", {}, "ansible_become_password"),
        ("asker", {"password": "a wrong one"}, "Check the password"),
        ("deployer", {"password": PASSWORD}, "may do so"),
        ("deployer", {"method": "su", "password": "a wrong one"}, "Check the password"),
        ("deployer", {"method": "su"}, "ansible_become_password"),
        ("deployer", {"method": "doas"}, "ansible_become_password"),
    ],
    ids=[
        "no password",
        "a wrong password",
        "no right",
        "a wrong password for su",
        "no password for su",
        "no right by doas",
    ],
)
def test_it_is_refused(become: Callable[..., Transport], account: str, way: dict[str, str], remedy: str) -> None:
    on = become(account, "target", **way)
    with pytest.raises(StepError, match="cannot become target by") as caught:
        on.run(Command(("id",)))
    assert remedy in caught.value.remedy + caught.value.message
    assert "a wrong one" not in str(vars(caught.value)) and PASSWORD not in str(vars(caught.value))


def test_a_way_that_is_not_known(become: Callable[..., Transport]) -> None:
    with pytest.raises(StepError, match="by magic"):
        become("free", "target", method="magic")


def test_the_other_users_commands_are_killed_when_time_is_up(become: Callable[..., Transport]) -> None:
    for account, way in (("free", {}), ("asker", {"password": PASSWORD})):
        on = become(account, "target", **way)
        with pytest.raises(TimedOut) as caught:
            on.run(Command(("sh", "-c", "trap '' TERM; echo $$; sleep 44; sleep 44"), timeout=1.5))
        assert not Path(f"/proc/{int(caught.value.evidence)}").exists()
        assert on.run(Command(("id", "-un"))).text == "target"
