"""One file of 100 MB to a host, beside `scp`, in turns; ours is on the host's disk when it is told as done."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from ikoma_play.transport.ssh import SshTransport
from tests.parts.sshd import Sshd, servers

SIZE = 100_000_000
ROUNDS = 3


def by_us(box: Sshd, source: Path, target: str) -> None:
    """From no connection to none: what a step pays that is the first one on its host."""
    on = SshTransport(box.host())
    assert on.upload(source, target) == 1
    on.close()


def by_scp(box: Sshd, source: Path, target: str) -> None:
    said = box.host().vars
    argv = ["scp", "-q", *str(said["ansible_ssh_common_args"]).split(), "-i", str(box.site.key), "-P", str(box.port),
            str(source), f"{said['ansible_user']}@127.0.0.1:{target}"]  # fmt: skip
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def test_a_large_file_is_as_fast_as_by_scp(tmp_path: Path) -> None:
    source = tmp_path / "large"
    source.write_bytes(os.urandom(SIZE))
    ways = {"scp": by_scp, "ikoma-play": by_us}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    with servers() as site:
        box = site.server().start()
        try:
            for number in range(ROUNDS + 1):
                for name, way in ways.items():
                    target = f"/tmp/{site.folder.name}-{number}"
                    begun = time.perf_counter()
                    way(box, source, target)
                    taken[name].append(time.perf_counter() - begun)
                    assert Path(target).stat().st_size == SIZE
                    Path(target).unlink()
        finally:
            box.stop()
    scp, ours = (statistics.median(seconds[1:]) for seconds in taken.values())
    sys.stdout.write(f"\n100 MB: scp {scp:.2f} s, ikoma-play {ours:.2f} s, {scp / ours:.2f} times as fast\n")
    assert ours < scp * 1.5, taken
