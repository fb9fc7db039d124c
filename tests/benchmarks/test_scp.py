"""One file of 100 MB to a host, beside `scp`, in turns: whole processes' work, ours in a process of its own too."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.parts.sshd import Sshd, servers

SIZE = 100_000_000
ROUNDS = 3
OURS = """
import json, sys
from pathlib import Path
from ikoma_play.model import Host
from ikoma_play.transport.ssh import SshTransport
on = SshTransport(Host("box", vars=json.loads(sys.argv[1])))
assert on.upload(Path(sys.argv[2]), sys.argv[3]) == 1
on.close()
"""


def by_scp(box: Sshd, source: Path, target: str) -> list[str]:
    said = box.host().vars
    return ["scp", "-q", *str(said["ansible_ssh_common_args"]).split(), "-i", str(box.site.key), "-P", str(box.port),
            str(source), f"{said['ansible_user']}@127.0.0.1:{target}"]  # fmt: skip


def test_a_large_file_is_as_fast_as_by_scp(tmp_path: Path) -> None:
    source = tmp_path / "large"
    source.write_bytes(os.urandom(SIZE))
    taken: dict[str, list[float]] = {"scp": [], "ikoma-play": []}
    with servers() as site:
        box = site.server().start()
        try:
            for number in range(ROUNDS + 1):
                for who, seconds in taken.items():
                    target = f"/tmp/{site.folder.name}-{who}-{number}"
                    argv = by_scp(box, source, target)
                    if who != "scp":
                        argv = [sys.executable, "-c", OURS, json.dumps(dict(box.host().vars)), str(source), target]
                    begun = time.perf_counter()
                    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
                    seconds.append(time.perf_counter() - begun)
                    assert Path(target).stat().st_size == SIZE
                    Path(target).unlink()
        finally:
            box.stop()
    scp, ours = (statistics.median(seconds[1:]) for seconds in taken.values())
    sys.stdout.write(f"\n100 MB: scp {scp:.2f} s, ikoma-play {ours:.2f} s, {scp / ours:.2f} times as fast\n")
    assert ours < scp * 1.5, taken
