"""Which lines of known_hosts are about a host: as ssh-keygen finds them, in long files too."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from ikoma_play.transport.known_hosts import KnownHosts, line

NAMES = ["web1", "web2", "db.example.org", "[web1]:2222", "10.0.0.7", "nobody"]
LINES = [
    "web1",
    "web2,10.0.0.7",
    "WEB1,web2",
    "*.example.org",
    "*.example.org,!db.example.org",
    "web?",
    "[web1]:2222",
    "web1,web1",
    "@revoked web1",
    "@cert-authority *",
]


def blob(number: int) -> bytes:
    kind, key = b"ssh-ed25519", number.to_bytes(32, "big")
    return len(kind).to_bytes(4, "big") + kind + len(key).to_bytes(4, "big") + key


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every line once as it is and, where it names hosts, once hashed; nothing else about any other."""
    folder = tmp_path_factory.mktemp("known")
    hashed = folder / "hashed"
    hashed.write_text("".join(line(name, blob(90 + at)) + "\n" for at, name in enumerate(NAMES[:-1])))
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", hashed], check=True, capture_output=True)
    plain = [line(names, blob(at)) for at, names in enumerate(LINES)]
    many = [line(f"other{at}", blob(200 + at)) for at in range(300)]
    known = folder / "known_hosts"
    known.write_text("\n".join(["# a remark", "", *plain[:5], *many, *plain[5:], hashed.read_text()]))
    return known


@pytest.mark.parametrize("name", [*NAMES, "Web1", "other299"])
def test_as_ssh_keygen_finds_them(file: Path, name: str) -> None:
    done = subprocess.run(["ssh-keygen", "-F", name, "-f", file], capture_output=True, text=True, check=False)
    told = [int(number) for number in re.findall(r"found: line (\d+)", done.stdout)]
    assert [entry.line for entry in KnownHosts([str(file)]).entries(name)] == told


def test_a_line_that_is_added_is_seen_at_once(tmp_path: Path) -> None:
    known = KnownHosts([str(tmp_path / "known_hosts")])
    assert known.entries("web1") == []
    known.add("web1", blob(1))
    known.add("web1", blob(1))
    assert [entry.blob for entry in known.entries("web1")] == [blob(1)]
