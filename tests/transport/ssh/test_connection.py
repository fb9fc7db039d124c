"""Getting to a host, being let in, and what is said when it does not come to that."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.errors import TimedOut, Unreachable
from ikoma_play.model import Command, Host
from ikoma_play.transport import ssh
from ikoma_play.transport.connect import begin
from ikoma_play.transport.ssh import SshTransport
from ikoma_play.transport.ssh_connection import Connection
from tests.parts.sshd import PASSWORD, ROOT, Site, Sshd, descendants, free_port

Start = Callable[..., Sshd]


def reach(host: Host) -> SshTransport:
    """The road to a host that lets us in."""
    on = SshTransport(host)
    try:
        assert on.run(Command(("echo", "here"))).text == "here"
    finally:
        on.close()
    return on


def refused(host: Host) -> Unreachable:
    on = SshTransport(host)
    try:
        with pytest.raises(Unreachable) as caught:
            on.run(Command(("true",)))
    finally:
        on.close()
    assert caught.value.message.startswith(f"{host.name}: ") and PASSWORD not in str(vars(caught.value))
    return caught.value


def arguments(server: Sshd, *more: str, known: Path | None = None) -> str:
    return f"-F none -o IdentityAgent=none -o UserKnownHostsFile={known or server.known_hosts} " + " ".join(more)


@contextlib.contextmanager
def listener(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that is none of SSH; what `talk` does to each connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    taken, _ = server.accept()
                except OSError:
                    return
                talk(taken)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


# --- being let in ---


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize("passphrase", ["", "a pass phrase"])
def test_keys(site: Site, own: Start, kind: str, passphrase: str) -> None:
    key = site.new_key(f"key-{kind}-{len(passphrase)}", kind, passphrase)
    server = own(f"AuthorizedKeysFile {key}.pub", "PasswordAuthentication no")
    reach(server.host(ansible_ssh_private_key_file=str(key), ansible_ssh_private_key_passphrase=passphrase or None))


@pytest.mark.parametrize("given", [None, "another"])
def test_a_key_without_its_passphrase(site: Site, own: Start, given: str | None) -> None:
    key = site.new_key(f"locked-{given}", passphrase="a pass phrase")
    server = own(f"AuthorizedKeysFile {key}.pub", "PasswordAuthentication no")
    error = refused(server.host(ansible_ssh_private_key_file=str(key), ansible_ssh_private_key_passphrase=given))
    assert str(key) in error.message
    assert ("needs its passphrase" if given is None else "passphrase is another") in error.message


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_host_keys_of_each_kind(own: Start, kind: str) -> None:
    reach(own(host_key=kind).host())


def test_password(box: Sshd) -> None:
    reach(box.host(ansible_ssh_private_key_file=None, ansible_password=PASSWORD))
    error = refused(box.host(ansible_ssh_private_key_file=None, ansible_password="a wrong one"))
    assert "does not let us in" in error.message and "password (refused)" in error.message
    assert "a wrong one" not in str(vars(error))


def test_the_agent_has_the_key(site: Site, own: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    key = site.new_key("agents")
    server = own(f"AuthorizedKeysFile {key}.pub", "PasswordAuthentication no")
    place = site.folder / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(place)], stdout=subprocess.DEVNULL)
    try:
        wait_for(place.exists)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(place))
        subprocess.run(["ssh-add", "-q", str(key)], check=True, stderr=subprocess.DEVNULL)
        own_words = {"ansible_ssh_private_key_file": None,
                     "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={server.known_hosts}"}  # fmt: skip
        reach(server.host(**own_words))
        key.unlink()  # named, but only the agent has it
        reach(server.host(**own_words | {"ansible_ssh_private_key_file": str(key)}))
        subprocess.run(["ssh-add", "-q", "-D"], check=True, stderr=subprocess.DEVNULL)
        assert "agent" not in refused(server.host(**own_words)).message.partition("tried")[2].partition("no agent")[0]
    finally:
        agent.send_signal(signal.SIGTERM)
        agent.wait()


def test_a_wrong_key_is_told_with_all_that_was_tried(site: Site, box: Sshd) -> None:
    wrong, gone = site.new_key(f"wrong-{os.urandom(3).hex()}"), site.folder / "gone"
    more = arguments(box, f"-o IdentityFile={wrong}", f"-i {gone}")
    error = refused(box.host(ansible_ssh_common_args=more, ansible_ssh_private_key_file=None, user="deployer"))
    assert f"key {wrong} (refused)" in error.message and f"key {gone} (no such file)" in error.message
    assert f"127.0.0.1:{box.port}" in error.message and "ssh-copy-id" in error.remedy


# --- who the host is ---


def test_an_unknown_host_is_refused_with_what_accepts_it(own: Start, tmp_path: Path) -> None:
    server = own()
    known = tmp_path / "new/known_hosts"
    host = server.host(ansible_ssh_common_args=arguments(server, known=known))
    error = refused(host)
    shown = subprocess.run(["ssh-keygen", "-lf", f"{server.host_key}.pub"], capture_output=True, text=True, check=True)
    assert shown.stdout.split()[1] in error.message and not known.exists()
    command = error.remedy.partition("accept it: ")[2]
    known.parent.mkdir()
    subprocess.run(command, shell=True, check=True)
    reach(host)


def test_new_keys_are_noted_where_that_was_chosen(own: Start, tmp_path: Path) -> None:
    server, other = own(), own()
    known = tmp_path / "new/known_hosts"
    host = server.host(ikoma_host_keys="accept-new", ansible_ssh_common_args=arguments(server, known=known))
    reach(host)
    assert known.read_text().startswith(f"[127.0.0.1]:{server.port} ssh-ed25519 ")
    reach(server.host(ansible_ssh_common_args=arguments(server, known=known)))
    known.write_text(known.read_text().replace(f":{server.port} ", f":{other.port} "))
    changed = other.host(ikoma_host_keys="accept-new", ansible_ssh_common_args=arguments(other, known=known))
    assert "changed its host key" in refused(changed).message


def test_a_changed_key_is_refused_with_what_mends_it(own: Start, site: Site) -> None:
    server = own()
    other = site.new_key(f"other-{server.port}")
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {Path(f'{other}.pub').read_text()}")
    error = refused(server.host())
    assert "has changed its host key" in error.message and f"{server.known_hosts}:1" in error.message
    command = error.remedy.partition("set up anew: ")[2].partition(". If not")[0]
    subprocess.run(command, shell=True, check=True, capture_output=True)
    reach(server.host())


def test_hashed_names(own: Start) -> None:
    server = own()
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(server.known_hosts)], check=True, capture_output=True)
    assert "127.0.0.1" not in server.known_hosts.read_text()
    reach(server.host())


def test_the_key_that_is_known_is_asked_for(own: Start, site: Site) -> None:
    """A host with keys of several kinds of which only one is known."""
    second = site.new_key(f"second-{os.urandom(3).hex()}", "ecdsa")
    server = own(f"HostKey {second}", f"HostKey {site.new_key('third-' + os.urandom(3).hex(), 'rsa')}")
    words = Path(f"{second}.pub").read_text().split()
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {words[0]} {words[1]}\n")
    reach(server.host())


def test_a_revoked_key(own: Start) -> None:
    server = own()
    line = server.known_hosts.read_text()
    server.known_hosts.write_text(line + "@revoked * " + line.partition(" ")[2])
    assert "revoked" in refused(server.host()).message


def certified(site: Site, server: Sshd, *options: str) -> Path:
    """Sign the server's host key by a new authority, and start the server anew with the certificate."""
    authority = site.new_key(f"authority-{os.urandom(3).hex()}")
    argv = ["ssh-keygen", "-q", "-s", str(authority), "-I", "host", *(options or ("-h", "-n", "127.0.0.1"))]
    subprocess.run([*argv, f"{server.host_key}.pub"], check=True, capture_output=True)
    with (server.folder / "config").open("a") as config:
        config.write(f"HostCertificate {server.host_key}-cert.pub\n")
    server.stop()
    server.start()
    words = Path(f"{authority}.pub").read_text().split()
    server.known_hosts.write_text(f"@cert-authority [127.0.0.1]:* {words[0]} {words[1]}\n")
    return authority


def test_an_authority_vouches_for_the_host(own: Start, site: Site) -> None:
    server = own()
    authority = certified(site, server)
    reach(server.host())
    words = Path(f"{authority}.pub").read_text().split()
    with server.known_hosts.open("a") as known:
        known.write(f"@revoked * {words[0]} {words[1]}\n")
    assert "revoked" in refused(server.host()).message
    certified(site, server)
    server.known_hosts.write_text(f"@cert-authority * {words[0]} {words[1]}\n")
    assert "not known yet" in refused(server.host()).message, "another authority's word counted"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("-h", "-n", "other.example"), "for other.example, not for 127.0.0.1"),
        (("-h", "-n", "127.0.0.1", "-V", "20200101:20200102"), "expired"),
        (("-h", "-n", "127.0.0.1", "-V", "20990101:20990102"), "not valid yet"),
    ],
)
def test_certificates_that_do_not_hold(own: Start, site: Site, options: tuple[str, ...], why: str) -> None:
    server = own()
    certified(site, server, *options)
    assert why in refused(server.host()).message


# --- no way there ---


def test_nothing_listens() -> None:
    port = free_port()
    error = refused(Host("box", vars={"ansible_host": "127.0.0.1", "ansible_port": port}))
    assert f"127.0.0.1:{port} refuses the connection" in error.message and error.remedy


def test_a_name_without_an_address() -> None:
    error = refused(Host("box", vars={"ansible_host": "no-such-host.invalid"}))
    assert "no address for the name no-such-host.invalid" in error.message and error.remedy


def test_a_host_that_does_not_answer() -> None:
    """A listener whose queue is full drops what comes, as a firewall would."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        queued = [socket.socket() for _ in range(4)]
        for each in queued:
            each.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                each.connect(("127.0.0.1", port))
        begun = time.monotonic()
        error = refused(Host("box", vars={"ansible_host": "127.0.0.1", "ansible_port": port, "ansible_timeout": 1}))
        assert "does not answer within 1 s" in error.message and time.monotonic() - begun < 30
        for each in queued:
            each.close()


def test_a_banner_that_never_comes() -> None:
    kept = []
    with listener(kept.append) as port:
        error = refused(Host("box", vars={"ansible_host": "127.0.0.1", "ansible_port": port, "ansible_timeout": 1}))
    assert "accepts connections but says nothing" in error.message


def test_something_that_is_not_ssh() -> None:
    with listener(lambda taken: taken.close()) as port:
        error = refused(Host("box", vars={"ansible_host": "127.0.0.1", "ansible_port": port}))
    assert "closed the connection before" in error.message and "MaxStartups" in error.remedy


# --- lost on the way ---


def test_a_lost_connection_is_opened_anew(own: Start) -> None:
    server = own()
    on = SshTransport(server.host())
    try:
        on.run(Command(("true",)))
        for _ in range(2):
            server.drop_connections()
            wait_for(lambda: not on.connection.alive)
            assert on.run(Command(("echo", "again"))).text == "again"
        assert on.connection.opened == 3
    finally:
        on.close()


def test_a_command_in_flight_when_the_connection_is_lost(own: Start) -> None:
    server = own()
    on = SshTransport(server.host())
    try:
        with pytest.raises(Unreachable, match="was lost while sh ran") as caught:
            on.run(Command(("sh", "-c", "echo begun; sleep 30")), lambda data: server.drop_connections())
        assert "not known" in caught.value.remedy
        assert on.run(Command(("echo", "again"))).text == "again"
    finally:
        on.close()


def test_an_account_that_may_run_nothing(box: Sshd) -> None:
    error = refused(box.host(user="barred"))
    assert "starts no /bin/sh" in error.message and "not available" in error.evidence


def test_a_shell_that_ended_while_nobody_used_it(own: Start) -> None:
    """Nothing was asked of it yet, so the command gets another one."""
    on = SshTransport(own().host())
    try:
        shell = int(on.run(Command(("sh", "-c", "echo $PPID"))).text)
        os.kill(shell, signal.SIGKILL)
        wait_for(lambda: all(idle.channel.closed for idle in on._shells._idle))
        assert on.run(Command(("echo", "x"))).text == "x" and on.connection.opened == 1
    finally:
        on.close()


def test_a_host_that_falls_silent_is_noticed(own: Start) -> None:
    """Its system still confirms what it gets, but nobody answers."""
    server = own()
    silent = "-o ServerAliveInterval=0.3 -o ServerAliveCountMax=2"
    on = SshTransport(server.host(ansible_ssh_extra_args=silent))
    stopped: list[int] = []

    def stop(data: bytes) -> None:
        if not stopped:
            stopped.extend(server.connections())
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)

    try:
        begun = time.monotonic()
        with pytest.raises(Unreachable, match="has not answered for"):
            on.run(Command(("sh", "-c", "echo begun; sleep 30; echo never")), stop)
        assert time.monotonic() - begun < 25
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        on.close()


def test_a_silent_command_on_a_host_that_answers_goes_on(own: Start) -> None:
    on = SshTransport(own().host(ansible_ssh_extra_args="-o ServerAliveInterval=0.1 -o ServerAliveCountMax=2"))
    try:
        assert on.run(Command(("sh", "-c", "sleep 2; echo done"))).text == "done"
    finally:
        on.close()


def test_no_further_session(own: Start) -> None:
    """More threads than the host allows sessions: they wait for one another."""
    on = SshTransport(own("MaxSessions 2").host())
    said = []

    def ask() -> None:
        said.append(on.run(Command(("sh", "-c", "sleep 0.2; echo x"))).text)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    on.close()
    assert said == ["x"] * 6


def test_a_single_session(own: Start) -> None:
    """Users take turns with it, and what takes too long is ended without another one to do it from."""
    server = own("MaxSessions 1")
    on = SshTransport(server.host(user="free" if ROOT else None))
    try:
        if ROOT:
            said = [road.run(Command(("id", "-un"))).text for _ in range(2) for road in (on, on.become("target"))]
            assert said == ["free", "target"] * 2 and on.connection.opened == 1
        with pytest.raises(TimedOut) as caught:
            on.run(Command(("sh", "-c", "echo $$; exec sleep 300"), timeout=1.5))
        wait_for(lambda: not Path(f"/proc/{int(caught.value.evidence)}").exists())
        assert on.run(Command(("echo", "again"))).text == "again"
    finally:
        on.close()


def test_more_connections_in_the_making_than_the_host_takes(own: Start) -> None:
    server = own("MaxStartups 2:90:3")
    roads = [SshTransport(server.host(f"box{number}")) for number in range(12)]
    said: list[Any] = []

    def ask(on: SshTransport) -> None:
        try:
            said.append(on.run(Command(("echo", "x"))).text)
        except Unreachable as error:
            said.append(error)

    threads = [threading.Thread(target=ask, args=(on,)) for on in roads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for on in roads:
        on.close()
    wrong = [each for each in said if each != "x"]
    assert len(said) == 12 and all(re.search("closed the connection|MaxStartups", str(vars(each))) for each in wrong)
    assert said.count("x") >= 6, wrong


# --- other ways there ---


def test_by_way_of_jump_hosts(site: Site, own: Start, tmp_path: Path) -> None:
    """Two in a chain; ports of the loopback cannot tell them apart, the servers' logs can."""
    first, second, last, blocked = own(), own(), own(), own("AllowTcpForwarding no")
    user = last.host().vars["ansible_user"]
    config = tmp_path / "config"
    known = tmp_path / "known"
    known.write_text("".join(server.known_hosts.read_text() for server in (first, second, last, blocked)))
    common = f"IdentityFile {site.key}\n  UserKnownHostsFile {known}\n  User {user}\n  IdentityAgent none\n"
    included = tmp_path / "more.conf"
    included.write_text(f"Host one\n  HostName 127.0.0.1\n  Port {first.port}\n  {common}")
    config.write_text(
        f"Include {included}\n"
        f"Host two\n  HostName 127.0.0.1\n  Port {second.port}\n  ProxyJump one\n  {common}"
        f"Host three\n  HostName 127.0.0.1\n  Port {last.port}\n  ProxyJump two\n  {common}"
        f"Host four\n  HostName 127.0.0.1\n  Port {last.port}\n  ProxyJump blocked\n  {common}"
        f"Host blocked\n  HostName 127.0.0.1\n  Port {blocked.port}\n  {common}"
        f"Host round\n  HostName 127.0.0.1\n  ProxyJump round\n"
    )
    home = {"ansible_ssh_common_args": f"-F {config}"}
    for name in ("one", "two", "three"):
        reach(Host(name, vars=home))
    assert "Accepted publickey" in first.log() and "Accepted publickey" in second.log()
    error = refused(Host("four", vars=home))
    assert "the jump host" in error.message and f"cannot reach 127.0.0.1:{last.port}" in error.message
    roads = [SshTransport(Host("three", vars=home)) for _ in range(3)]
    before = first.log().count("Accepted publickey")
    for on in roads:
        assert on.run(Command(("echo", "x"))).text == "x"
    assert first.log().count("Accepted publickey") == before + 1, "the jump host's connection is not shared"
    for on in roads:
        on.close()
    wait_for(lambda: not descendants(first._process.pid))  # type: ignore[union-attr]


def test_a_circle_of_jumps(tmp_path: Path) -> None:
    from ikoma_play.errors import UsageError

    config = tmp_path / "config"
    config.write_text("Host *\n  ProxyJump gate\n")
    with pytest.raises(UsageError, match="by way of itself"):
        SshTransport(Host("box", vars={"ansible_ssh_common_args": f"-F {config}"}))


def test_by_way_of_a_program(box: Sshd) -> None:
    line = f"ssh -F none -i {box.site.key} -o UserKnownHostsFile={box.known_hosts} -o IdentityAgent=none -W %h:%p " \
           f"-p {box.port} {box.host().vars['ansible_user']}@127.0.0.1"  # fmt: skip
    reach(box.host(ansible_ssh_extra_args=f'-o ProxyCommand="{line}"'))
    error = refused(box.host(ansible_ssh_extra_args="-o ProxyCommand=false"))
    assert "closed the connection before" in error.message


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.02)


# --- begun before anybody asked ---


def test_who_asks_for_a_connection_that_was_begun_gets_it(own: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server, opened = own(), []
    once = Connection._opened_once
    monkeypatch.setattr(Connection, "_opened_once", lambda self: opened.append(1) or once(self))
    begin([server.host()])
    on = reach(server.host())
    assert on.connection.opened == len(opened) == 1
    assert not ssh._begun


def test_a_connection_that_was_begun_in_vain_is_told_and_tried_once(
    site: Site, own: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, tries = own(), []
    once = Connection._opened_once
    monkeypatch.setattr(Connection, "_opened_once", lambda self: tries.append(1) or once(self))
    wrong = site.new_key(f"wrong-{os.urandom(3).hex()}")
    host = server.host(ansible_ssh_private_key_file=str(wrong))
    begin([host])
    on = SshTransport(host)
    try:
        with pytest.raises(Unreachable, match="does not let us in"):
            on.run(Command(("true",)))
        assert len(tries) == 1
        with pytest.raises(Unreachable, match="does not let us in"):
            on.run(Command(("true",)))
        assert len(tries) == 2, "who asks again has it tried again"
    finally:
        on.close()


def test_nothing_is_begun_on_this_machine() -> None:
    begin([Host("localhost"), Host("here", (), {"ansible_connection": "local"})])
    assert not ssh._begun


def test_what_a_connection_never_needs_is_not_loaded(box: Sshd) -> None:
    script = (
        "import json, sys\n"
        "from ikoma_play.model import Command, Host\n"
        "from ikoma_play.transport.connect import connect\n"
        "on = connect(Host('box', vars=json.loads(sys.argv[1])))\n"
        "assert on.run(Command(('true',))).ok\n"
        "on.close()\n"
        "print(*sys.modules)\n"
    )
    argv = [sys.executable, "-c", script, json.dumps(dict(box.host().vars))]
    loaded = set(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split())
    assert "paramiko" in loaded
    assert sorted(loaded & {"encodings.idna", "importlib.metadata", "invoke"}) == []
