"""Commands over SSH at the transport's level, side by side with paramiko by hand and with one `ssh` and one script.

    python tests/benchmarks/ssh_commands.py [ROUNDS]

Real OpenSSH servers on loopback; each way connects, runs its commands and closes; rounds in turn; medians.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import paramiko

from ikoma_play.model import Command
from ikoma_play.transport.ssh import SshTransport
from tests.parts.sshd import Sshd, servers

HOSTS, FORKS = 20, 20


def ours(server: Sshd, count: int) -> None:
    on = SshTransport(server.host())
    for number in range(count):
        assert on.run(Command(("echo", str(number)))).text == str(number)
    on.close()


def by_hand(server: Sshd, count: int, nodelay: bool) -> None:
    client = paramiko.SSHClient()
    client.load_host_keys(str(server.known_hosts))
    client.connect("127.0.0.1", server.port, server.host().vars["ansible_user"], key_filename=str(server.site.key),
                   allow_agent=False, look_for_keys=False)  # fmt: skip
    transport = client.get_transport()
    assert transport is not None
    if nodelay:
        import socket

        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for number in range(count):
        _, out, err = client.exec_command(f"echo {number}")
        assert out.read() == b"%d\n" % number and not err.read() and out.channel.recv_exit_status() == 0
    client.close()


def one_script(server: Sshd, count: int) -> None:
    """The floor: no answer is waited for between the commands."""
    script = "\n".join(f"/bin/echo {number}" for number in range(count))
    argv = ["ssh", "-F", "none", "-i", str(server.site.key), "-o", f"UserKnownHostsFile={server.known_hosts}",
            "-p", str(server.port), f"{server.host().vars['ansible_user']}@127.0.0.1", "sh"]  # fmt: skip
    done = subprocess.run(argv, input=script, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == count


WAYS: dict[str, Callable[[Sshd, int], None]] = {
    "ikoma-play": ours,
    "paramiko, TCP_NODELAY": lambda server, count: by_hand(server, count, True),
    "paramiko": lambda server, count: by_hand(server, count, False),
    "one ssh, one script": one_script,
}


def fleet(way: Callable[[Sshd, int], None], targets: list[Sshd], count: int) -> float:
    begun = time.monotonic()
    with ThreadPoolExecutor(FORKS) as pool:
        list(pool.map(lambda server: way(server, count), targets))
    return time.monotonic() - begun


def table(title: str, targets: list[Sshd], count: int, rounds: int) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, way in WAYS.items():
            seconds[name].append(fleet(way, targets, count))
    mine = statistics.median(seconds["ikoma-play"])
    print(f"\n{title} (median of {rounds} rounds)")
    for name, taken in seconds.items():
        middle = statistics.median(taken)
        print(f"  {name:24} {middle * 1000:8.0f} ms   {middle / mine:5.2f} ×   from {min(taken) * 1000:.0f}")


def single(server: Sshd) -> None:
    """One command on a connection that is open already."""
    on = SshTransport(server.host())
    taken = []
    for _ in range(300):
        begun = time.perf_counter()
        on.run(Command(("echo", "x")))
        taken.append(time.perf_counter() - begun)
    on.close()
    low, middle = min(taken), statistics.median(taken)
    print(f"\none command on an open connection: median {middle * 1000:.2f} ms, best {low * 1000:.2f} ms")


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with servers() as site:
        boxes = [site.server() for _ in range(HOSTS)]
        try:
            for server in boxes:
                server.start()
            single(boxes[0])
            table("1 host × 50 commands", boxes[:1], 50, rounds)
            table(f"{HOSTS} hosts × 20 commands, {FORKS} threads", boxes, 20, rounds)
        finally:
            for server in boxes:
                server.stop()
    print(f"\npeak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main()
