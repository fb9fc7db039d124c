"""What variables, ssh's arguments and ssh's configuration come to, and which of them wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ikoma_play.errors import UsageError
from ikoma_play.model import Host
from ikoma_play.transport import lean_paramiko
from ikoma_play.transport.ssh_settings import Settings, settings


def said(config: str = "", folder: Path | None = None, name: str = "box", **variables: Any) -> Settings:
    if folder is not None:
        (folder / "config").write_text(config)
        variables = {"ansible_ssh_common_args": f"-F {folder / 'config'}", **variables}
    else:
        variables = {"ansible_ssh_common_args": "-F none", **variables}
    return settings(Host(name, vars=variables))


def test_nothing_said() -> None:
    plain = said()
    assert (plain.address, plain.port, plain.host_keys) == ("box", 22, "refuse")
    assert plain.keys == () and plain.default_keys and plain.use_agent and plain.jump is None
    assert plain.known_name == "box" and plain.known_hosts[0].endswith("/.ssh/known_hosts")


def test_the_words_of_a_host_and_those_of_all(tmp_path: Path) -> None:
    """The first word counts; patterns, several names, `!`, `=` and comments are ssh's."""
    config = (
        "# comment\nHost box other\n  HostName 192.0.2.7\n  Port=2222\n  User first\n"
        "Host !box *\n  User never\nHost *\n  User second\n  IdentityFile ~/one\n  IdentityFile /two\n"
        "  IdentitiesOnly yes\n  ConnectTimeout 3\n  ServerAliveInterval 5\n  ServerAliveCountMax 2\n"
    )
    found = said(config, tmp_path)
    assert (found.address, found.port, found.user) == ("192.0.2.7", 2222, "first")
    assert found.keys == (str(Path("~/one").expanduser()), "/two") and not found.use_agent
    assert (found.timeouts.connect, found.timeouts.alive, found.timeouts.alive_count) == (3, 5, 2)
    assert found.known_name == "[192.0.2.7]:2222"
    assert said(config, tmp_path, name="third").user == "never"


def test_variables_win_over_arguments_and_arguments_over_the_configuration(tmp_path: Path) -> None:
    config = "Host *\n  Port 1\n  User config\n  ServerAliveInterval 9\n  IdentityFile /config\n"
    arguments = f"-F {tmp_path / 'config'} -o Port=2 -l arguments -i /arguments -o 'ServerAliveInterval 8'"
    found = said(config, tmp_path, ansible_ssh_common_args=arguments)
    assert (found.port, found.user, found.timeouts.alive) == (2, "arguments", 8)
    assert found.keys == ("/arguments", "/config")
    found = said(
        config, tmp_path, ansible_ssh_common_args=arguments, ansible_port=3, ansible_user="variable",
        ansible_ssh_private_key_file="/variable", ansible_host="192.0.2.9", ansible_timeout=4,
    )  # fmt: skip
    assert (found.address, found.port, found.user, found.timeouts.connect) == ("192.0.2.9", 3, "variable", 4)
    assert found.keys[0] == "/variable"
    more = said(config, tmp_path, ansible_ssh_args="-o Port=5", ansible_ssh_extra_args="-p 6")
    assert more.port in (5, 6)


def test_files_that_are_included(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more/a.conf").write_text("Host box\n  User included\n  Include loop.conf\n")
    (tmp_path / "more/loop.conf").write_text("Include loop.conf\n")  # one that includes itself
    assert said("Include more/*.conf\nHost *\n  User late\n", tmp_path).user == "included"
    assert said("Include none.conf\nHost *\n  User late\n", tmp_path).user == "late"


def test_an_include_may_be_set_off_by_a_tab(tmp_path: Path) -> None:
    (tmp_path / "more.conf").write_text("User included\n")
    assert said("Include\tmore.conf\n", tmp_path).user == "included"


DEBIAN = "Include none.d/*.conf\n# comment\nHost *\n    SendEnv LANG LC_*\n    HashKnownHosts yes\n"
MANY = "".join(f"Host web{number}\n  HostName 192.0.2.{number}\n  Port=22{number:02}\n" for number in range(50))


@pytest.mark.parametrize(("config", "times"), [(DEBIAN, 0), (MANY, 1)], ids=["nothing of ours", "fifty hosts"])
def test_a_configuration_is_taken_in_once_for_all_hosts(
    config: str, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, real = [], lean_paramiko.paramiko.SSHConfig.from_text
    monkeypatch.setattr(lean_paramiko.paramiko.SSHConfig, "from_text", lambda text: taken.append(text) or real(text))
    config = f"# {tmp_path}\n{config}"  # none that another test has had
    for number in range(50):
        found = said(config, tmp_path, name=f"web{number}")
        assert (found.address, found.port) == ((f"192.0.2.{number}", 2200 + number) if times else (f"web{number}", 22))
    assert len(taken) == times


@pytest.mark.parametrize(
    ("said_of_time", "seconds"), [("7", 7), ("90s", 90), ("1m30s", 90), ("1H", 3600), ("none", 10), ("0.5", 0.5)]
)
def test_times_as_ssh_writes_them(said_of_time: str, seconds: float, tmp_path: Path) -> None:
    assert said(f"ConnectTimeout {said_of_time}\n", tmp_path).timeouts.connect == seconds


def test_jump_hosts_in_a_chain(tmp_path: Path) -> None:
    config = "Host gate\n  HostName 192.0.2.1\n  User keeper\n"
    found = said(config, tmp_path, ansible_ssh_extra_args="-J gate,other@[2001:db8::1]:2200")
    last = found.jump
    assert last is not None and (last.address, last.port, last.user) == ("2001:db8::1", 2200, "other")
    first = last.jump
    assert first is not None and (first.address, first.user, first.jump) == ("192.0.2.1", "keeper", None)
    assert said("Host *\n  ProxyJump none\n", tmp_path).jump is None


def test_a_proxy_command(tmp_path: Path) -> None:
    config = "Host box\n  HostName 192.0.2.7\n  Port 23\n  User me\n  ProxyCommand relay %h:%p %r 100%%\n"
    assert said(config, tmp_path).proxy_command == "relay 192.0.2.7:23 me 100%"
    assert said("Host *\n  ProxyCommand none\n", tmp_path).proxy_command is None


def test_who_the_host_is_known_as(tmp_path: Path) -> None:
    config = "Host *\n  HostKeyAlias alias\n  UserKnownHostsFile /a ~/b\n  GlobalKnownHostsFile /c\n  Port 2200\n"
    found = said(config, tmp_path)
    assert found.known_name == "alias"
    assert found.known_hosts == ("/a", str(Path("~/b").expanduser()), "/c")


@pytest.mark.parametrize(
    ("variables", "policy"),
    [
        ({}, "refuse"),
        ({"ikoma_host_keys": "accept-new"}, "accept-new"),
        ({"ansible_host_key_checking": False}, "accept-new"),
        ({"ansible_ssh_extra_args": "-o StrictHostKeyChecking=no"}, "accept-new"),
        ({"ansible_ssh_extra_args": "-o StrictHostKeyChecking=no", "ikoma_host_keys": "refuse"}, "refuse"),
        ({"ansible_ssh_extra_args": "-o StrictHostKeyChecking=ask"}, "refuse"),
    ],
)
def test_unknown_host_keys(variables: dict[str, Any], policy: str) -> None:
    """A changed key is refused with each of them."""
    assert said(**variables).host_keys == policy


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"ansible_port": "many"}, "ansible_port is to be a number"),
        ({"ansible_timeout": "long"}, "ansible_timeout is to be a number"),
        ({"ikoma_host_keys": "perhaps"}, "ikoma_host_keys cannot be 'perhaps'"),
        ({"ansible_ssh_common_args": "-F /none/config"}, "cannot read the SSH configuration /none/config"),
    ],
)
def test_what_cannot_be(variables: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        said(**variables)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("Host box\n  Port 22\ngarbage\n", "config:3: 'garbage' is no line of an SSH configuration"),
        ("Include more.conf\n", "more.conf:2: 'Nothing' is no line"),
        ('Host "box\n  Port 22\n', "config:1: no closing quotation"),
        ('Include "box\n', "config:1: no closing quotation"),
        ("Match host\n  Port 22\n", "config cannot be used for box: Missing parameter to Match 'host'"),
        ("CanonicalizeHostname yes\n", "config cannot be used for box: it lacks canonicaldomains"),
        (
            "CanonicalizeHostname yes\nCanonicalDomains none.invalid\nCanonicalizeFallbackLocal no\n",
            "config cannot be used for box: there is no such host in its CanonicalDomains",
        ),
        ("Port many\n", "Port is to be a number, not 'many'"),
        ("ConnectTimeout soon\n", "ConnectTimeout is to be a time such as 90, 30s or 1m30s, not 'soon'"),
        ("ServerAliveInterval 5 minutes\n", "ServerAliveInterval is to be a time"),
        ("ServerAliveCountMax few\n", "ServerAliveCountMax is to be a number, not 'few'"),
    ],
)
def test_what_a_configuration_cannot_say(config: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "more.conf").write_text("User me\nNothing\n")
    with pytest.raises(UsageError, match=words):
        said(config, tmp_path)


def test_the_home_of_a_user_whom_nobody_knows(tmp_path: Path) -> None:
    """The path stays as it is, and whoever opens it says that it is not there."""
    path = "~nobody-has-this-name/key"
    assert said("Include ~nobody-has-this-name/config\n", tmp_path, ansible_ssh_private_key_file=path).keys == (path,)


def test_arguments_that_are_not_closed() -> None:
    with pytest.raises(UsageError, match="ansible_ssh_extra_args: no closing quotation"):
        said(ansible_ssh_extra_args="-o 'Port=22")


def test_no_secret_is_shown() -> None:
    found = said(ansible_password="canary-1", ansible_ssh_private_key_passphrase="canary-2")
    assert (found.password, found.passphrase) == ("canary-1", "canary-2") and "canary" not in repr(found)


def test_match_exec_is_asked(tmp_path: Path) -> None:
    """What paramiko leaves to another library, which is loaded only for it."""
    config = "Match exec true\n  User yes\nMatch exec false\n  Port 99\n"
    found = said(config, tmp_path)
    assert (found.user, found.port) == ("yes", 22)
