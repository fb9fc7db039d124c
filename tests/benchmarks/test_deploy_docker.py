"""What ikoma-play adds to a deploy on Docker: the same deploy beside a shell script of the same commands."""

from __future__ import annotations

import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.end_to_end.conftest import DockerHost
from tests.parts.chance import LONG
from tests.parts.command import CHECKOUT, Ikoma
from tests.parts.platform import Platform, free_port

ROUNDS = 3 if LONG else 2
SCRIPT = Path(__file__).with_name("deploy_docker.sh")


def test_a_deploy_on_docker_costs_little_more_than_its_commands(
    tmp_path: Path, platform: Platform, python_base: str
) -> None:
    """At most 15 % or 1 s more than the shell script, whichever is larger; medians of rounds run in turn."""
    for deploy in (_by_script, _by_playbook):  # once unmeasured: the image's layers come into the build cache
        _round(tmp_path, platform, python_base, deploy)
    times: dict[str, list[float]] = {"script": [], "playbook": []}
    for _ in range(ROUNDS):
        times["script"].append(_round(tmp_path, platform, python_base, _by_script))
        times["playbook"].append(_round(tmp_path, platform, python_base, _by_playbook))
    script, playbook = (statistics.median(times[name]) for name in ("script", "playbook"))
    sys.stdout.write(
        f"\ndeploy on Docker, medians of {ROUNDS}: shell script {script:.2f} s, ikoma-play {playbook:.2f} s,"
        f" ratio {playbook / script:.2f}\n"
    )
    assert playbook <= max(script * 1.15, script + 1.0), times


def _round(folder: Path, platform: Platform, base_image: str, deploy: Callable[[DockerHost], None]) -> float:
    """One deploy of a fresh application, in seconds; what it made goes away again, unmeasured."""
    place = folder / secrets.token_hex(4)
    place.mkdir()
    host = DockerHost(Ikoma(place), platform, base_image, f"guestbook-{secrets.token_hex(3)}", free_port())
    host.write_inventory()
    try:
        start = time.perf_counter()
        deploy(host)
        return time.perf_counter() - start
    finally:
        host.clear()


def _by_playbook(host: DockerHost) -> None:
    host.run("deploy")


def _by_script(host: DockerHost) -> None:
    env = host.folder / "env"
    env.write_text(
        f"PORT={host.port}\nPOSTGRES_DB={host.app}\nPOSTGRES_USER={host.platform.user}\n"
        f"POSTGRES_PASSWORD={host.platform.password}\n"
        f"BASE_IMAGE={host.base_image}\nIKOMA_NETWORK={host.platform.network}\n"
    )
    source = CHECKOUT / "playbooks/examples/guestbook"
    argv = ["sh", SCRIPT, host.app, source, host.folder / "apps", host.platform.folder, env]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, capture_output=True)
