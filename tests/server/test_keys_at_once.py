"""Keys that the tool and the command line change at the same moment: nothing of either is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ikoma_play.model import Access, Host
from ikoma_play.platform import api_keys
from ikoma_play.platform.envfile import EnvFile
from ikoma_play.platform.key_file import KeyFile
from ikoma_play.tools.security import revoke, rotate
from ikoma_play.transport.local import LocalTransport
from tests.parts.command import CHECKOUT

CREATES = """
import sys
from pathlib import Path
from ikoma_play.model import Access
from ikoma_play.platform.key_file import KeyFile
for number in range(60):
    KeyFile(Path(sys.argv[1])).change(lambda keys: keys.create(f"made-{number}", Access.OBSERVER))
"""
ROTATES = """
import sys
from ikoma_play.cli.keys import Place
for number in range(15):
    print(Place.of(env_file=sys.argv[1]).rotate("platform", 3600.0), flush=True)
"""


@pytest.fixture
def on(tmp_path: Path) -> LocalTransport:
    (tmp_path / ".env").write_text(f"# ours\nAPI_KEY_HASH={api_keys.sha256('first')}\nOTHER=kept\n")
    return LocalTransport(Host("here", (), {"ikoma_env_file": str(tmp_path / ".env")}))


def meanwhile(program: str, place: Path) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", program, str(place)]
    return subprocess.Popen(
        argv, cwd=place.parent, env={"PYTHONPATH": str(CHECKOUT)}, stdout=subprocess.PIPE, text=True
    )


def test_two_processes_lose_no_key(on: LocalTransport, tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    file.change(lambda keys: keys.create("ci", Access.OPERATOR))
    file.change(lambda keys: keys.create("old", Access.OPERATOR))
    other = meanwhile(CREATES, file.path)
    shown = []
    while other.poll() is None or not shown:
        rotate(on, "ci", str(tmp_path / "ci.txt"))
        shown.append((tmp_path / "ci.txt").read_text().strip())
    assert revoke(on, "old").status.value == "changed" and revoke(on, "old").status.value == "ok"
    assert other.returncode == 0 and len(shown) > 1
    assert set(file.keys.by_name) == {"ci", *(f"made-{number}" for number in range(60))}
    assert all(file.keys.find(key) for key in shown), "each new value counts, until its grace period is over"
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert {each.name for each in tmp_path.iterdir()} == {".env", "ci.txt", "keys.json", "keys.json.lock"}
    json.loads(file.path.read_text())


def test_two_processes_rotate_the_platforms_own_key(on: LocalTransport, tmp_path: Path) -> None:
    env = tmp_path / ".env"
    other = meanwhile(ROTATES, env)
    shown = ["first"]
    while other.poll() is None:
        rotate(on, "platform", str(tmp_path / "own.txt"))
        shown.append((tmp_path / "own.txt").read_text().strip())
    assert other.returncode == 0 and other.stdout is not None
    shown += other.stdout.read().split()
    values = EnvFile(env.read_text()).values
    assert values["OTHER"] == "kept" and len(shown) > 16
    keys = KeyFile(tmp_path / "keys.json").keys
    assert all(keys.find(key, values["API_KEY_HASH"]) for key in shown), "nobody was locked out"


def test_a_named_file_of_keys_is_the_one_that_is_changed(on: LocalTransport, tmp_path: Path) -> None:
    with (tmp_path / ".env").open("a") as env:
        env.write(f"API_KEYS_FILE={tmp_path}/elsewhere.json\n")
    file = KeyFile(tmp_path / "elsewhere.json")
    file.change(lambda keys: keys.create("ci", Access.OPERATOR))
    rotate(on, "ci", str(tmp_path / "ci.txt"))
    assert file.keys.find((tmp_path / "ci.txt").read_text().strip()) and not (tmp_path / "keys.json").exists()
