"""hostname in a namespace of its own; known_hosts as the real ssh-keygen reads it."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.errors import StepError
from ikoma_play.model import Host, Outcome, Status
from ikoma_play.transport.dry import DryTransport
from ikoma_play.transport.local import LocalTransport
from tests.tools.general import harness
from tests.tools.general.stage import play, staged, statuses


def test_hostname(tmp_path: Path) -> None:
    before = socket.gethostname()
    one = {"tool": "hostname", "name": "ikoma-test-host"}
    with staged(tmp_path) as folder:
        told = play(folder, {**one, "dry": True}, one, one, {"tool": "command", "cmd": "uname -n"},
                    {"tool": "command", "cmd": "cat /etc/hostname"}, {"tool": "hostname", "name": "-bad-"})  # fmt: skip
    assert statuses(told) == ["changed", "changed", "ok", "changed", "changed", "failed"]
    assert told[3]["result"]["stdout"] == told[4]["result"]["stdout"] == "ikoma-test-host"
    assert socket.gethostname() == before


def key(folder: Path, kind: str) -> str:
    """A new public key, without its comment."""
    name = folder / f"key-{len(list(folder.iterdir()))}"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", name], check=True)
    return " ".join(Path(f"{name}.pub").read_text().split()[:2])


def known_hosts(folder: Path, dry: bool = False, **arguments: Any) -> Outcome:
    on = LocalTransport(Host("here"))
    values = {"path": f"{folder}/ssh/known_hosts", **arguments}
    return harness.call(DryTransport(on) if dry else on, harness.RunScope(folder), "known_hosts", values)


def found(folder: Path, name: str) -> list[str]:
    """The keys that ssh itself finds for a name."""
    asked = ["ssh-keygen", "-F", name, "-f", folder / "ssh/known_hosts"]
    printed = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    return [" ".join(line.split()[1:3]) for line in printed.splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize("name", ["example.com", "[example.com]:2222"])
def test_known_hosts(tmp_path: Path, name: str, hashed: bool) -> None:
    first, second, other = key(tmp_path, "ed25519"), key(tmp_path, "ed25519"), key(tmp_path, "ecdsa")
    one = {"name": name, "key": f"{name} {first}", "hash_host": hashed}
    assert known_hosts(tmp_path, dry=True, **one).status is Status.CHANGED and not (tmp_path / "ssh").exists()
    assert known_hosts(tmp_path, **one).status is Status.CHANGED
    assert known_hosts(tmp_path, **one).status is Status.OK
    assert known_hosts(tmp_path, **{**one, "key": f"# a remark\n{name} {other}\n"}).status is Status.CHANGED
    assert found(tmp_path, name) == [first, other]
    assert known_hosts(tmp_path, **{**one, "key": f"{name} {second}"}).status is Status.CHANGED
    assert sorted(found(tmp_path, name)) == sorted([second, other]), "the former key of this type is still trusted"
    assert (name in (tmp_path / "ssh/known_hosts").read_text()) is not hashed
    assert known_hosts(tmp_path, name=name, state="absent").status is Status.CHANGED
    assert known_hosts(tmp_path, name=name, state="absent").status is Status.OK
    assert found(tmp_path, name) == []


def test_keys_that_are_none(tmp_path: Path) -> None:
    for wrong in ({}, {"key": "nonsense"}, {"key": "other.com ssh-ed25519 AAAA"}):
        with pytest.raises(StepError):
            known_hosts(tmp_path, name="example.com", **wrong)
