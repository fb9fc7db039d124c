"""How many calls a second the server answers, beside a bare Bottle handler on the same WSGI server.

python tests/benchmarks/http_load.py [SECONDS] [CONNECTIONS] [ROUNDS]     rounds in turn, medians
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.parts.platform import free_port  # noqa: E402
from tests.parts.serving import Service  # noqa: E402

SCRIPT = """\
wrk.method = "POST"
wrk.body = "{}"
wrk.headers["X-Api-Key"] = "%s"
wrk.headers["X-Role"] = "observer"
"""


@dataclass(frozen=True)
class Load:
    """What wrk saw: requests a second, the 99th percentile in milliseconds, answers that were not 200; and how
    many microseconds of computing a request took the server."""

    rate: float
    p99: float
    bad: int
    computing: float


@dataclass(frozen=True)
class Contender:
    """A server that is measured."""

    port: int
    pid: int

    def computed(self) -> float:
        """Seconds that it has computed since its start."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def asked(
    server: Contender, script: Path, seconds: int, connections: int, path: str = "/execute/apps.list"
) -> Load:  # fmt: skip
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "--latency", "-s", str(script)]
    before = server.computed()
    said = subprocess.run(
        [*argv, f"http://127.0.0.1:{server.port}{path}"], capture_output=True, text=True, check=True
    ).stdout  # fmt: skip
    computed = server.computed() - before
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", said)
    requests = re.search(r"(\d+) requests in", said)
    assert rate is not None, said
    assert p99 is not None, said
    assert requests is not None, said
    bad = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", said)))
    bad += sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", said)))
    took = float(p99[1]) * {"us": 0.001, "ms": 1, "s": 1000}[p99[2]]
    return Load(float(rate[1]), took, bad, computed / int(requests[1]) * 1e6)


@contextmanager
def running(argv: list[str], port: int, folder: Path) -> Iterator[Contender]:
    """A server whose log nobody reads, from when it answers."""
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    process = subprocess.Popen(argv, cwd=folder, env=environment, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield Contender(port, process.pid)
    finally:
        process.terminate()
        process.wait()


def compared(folder: Path, seconds: int, connections: int, rounds: int = 3) -> tuple[list[Load], list[Load]]:
    """Rounds of the bare server and of ours, in turn. Ours writes no access log, since the bare one has none."""
    service = Service(folder, words=("--log-level", "warning"))
    service.apps.mkdir()
    service.write_env()
    port, digest = free_port(), hashlib.sha256(service.key.encode()).hexdigest()
    bare = [
        sys.executable,
        str(ROOT / "tests/benchmarks/bare_server.py"),
        str(port),
        str(folder / "bare.jsonl"),
        digest,
    ]
    script = folder / "post.lua"
    script.write_text(SCRIPT % service.key)
    bare_loads, ours = [], []
    with running(service.argv(), service.port, folder) as mine, running(bare, port, folder) as theirs:
        for server in (mine, theirs):
            asked(server, script, 1, connections)
        for _ in range(rounds):
            bare_loads.append(asked(theirs, script, seconds, connections))
            ours.append(asked(mine, script, seconds, connections))
    return bare_loads, ours


def ratio(bare_loads: list[Load], ours: list[Load]) -> float:
    """The median over the rounds of our requests a second to the bare server's."""
    return statistics.median(mine.rate / theirs.rate for mine, theirs in zip(ours, bare_loads, strict=True))


def main(seconds: int = 5, connections: int = 16, rounds: int = 5) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bare_loads, ours = compared(Path(folder), seconds, connections, rounds)
    for name, loads in (("bare", bare_loads), ("ikoma-play", ours)):
        rate, p99, computing = (
            statistics.median(getattr(load, what) for load in loads) for what in ("rate", "p99", "computing")
        )
        print(
            f"{name:10}  {rate:7.0f} requests/s  p99 {p99:6.1f} ms  {computing:5.0f} µs of computing a request"
            f"  bad {sum(load.bad for load in loads)}"
        )
    print(f"ratio {ratio(bare_loads, ours):.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
