"""`ikoma-play keys`: made, listed, rotated, revoked; shown once and kept nowhere."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from ikoma_play.platform.api_keys import sha256
from ikoma_play.platform.key_file import KeyFile
from tests.parts.command import Ikoma


@pytest.fixture
def platform(tmp_path: Path) -> Ikoma:
    """A platform's directory with an .env of its own."""
    (tmp_path / ".env").write_text(f"# mine\nAPI_KEY_HASH={sha256('first')}\nHTTP_PORT=3000\n")
    return Ikoma(tmp_path, {"IKOMA_ENV_FILE": str(tmp_path / ".env"), "AUDIT_LOG": str(tmp_path / "audit.jsonl")})


def keys(of: Ikoma) -> KeyFile:
    return KeyFile(of.folder / "keys.json")


def test_a_key_is_shown_once_and_kept_nowhere(platform: Ikoma) -> None:
    made = platform(
        "keys", "create", "ci", "--role", "operator", "--app", "shop", "--host", "web-*", "--expires", "90d"
    )
    shown = made.out.strip()
    found = keys(platform).keys.find(shown)
    assert found is not None and (found.role, found.applications, found.hosts) == ("operator", ("shop",), ("web-*",))
    assert shown not in made.err and (platform.folder / "keys.json").stat().st_mode & 0o777 == 0o600
    kept = b"".join(path.read_bytes() for path in platform.folder.rglob("*") if path.is_file())
    assert shown.encode() not in kept and shown not in platform("keys", "list").text
    rows = json.loads(platform("keys", "list", "--json").out)
    assert [row["name"] for row in rows] == ["platform", "ci"] and sha256(shown) not in json.dumps(rows)
    assert "web-*  shop" in platform("keys").out


def test_rotate_and_revoke(platform: Ikoma) -> None:
    first = platform("keys", "create", "ci", "--role", "builder").out.strip()
    second = platform("keys", "rotate", "ci").out.strip()
    assert all(keys(platform).keys.find(key) for key in (first, second))
    platform("keys", "revoke", "ci", "--old")
    assert keys(platform).keys.find(first) is None and keys(platform).keys.find(second)
    third = platform("keys", "rotate", "ci", "--grace", "0").out.strip()
    assert keys(platform).keys.find(second) is None
    platform("keys", "revoke", "ci")
    assert keys(platform).keys.find(third) is None
    audit = [json.loads(line) for line in (platform.folder / "audit.jsonl").read_text().splitlines()]
    assert [line["capability"] for line in audit] == [
        "keys.create", "keys.rotate", "keys.revoke", "keys.rotate", "keys.revoke",
    ]  # fmt: skip
    assert not any(key in json.dumps(audit) for key in (first, second, third))


def test_the_platforms_own_key_is_rotated_in_its_env(platform: Ikoma) -> None:
    env = platform.folder / ".env"
    shown = platform("keys", "rotate", "platform", "--grace", "1h").out.strip()
    new = hashlib.sha256(shown.encode()).hexdigest()
    assert env.read_text() == f"# mine\nAPI_KEY_HASH={new}\nHTTP_PORT=3000\n" and env.stat().st_mode & 0o777 == 0o600
    held = keys(platform).keys
    assert held.find("first", new) and held.find(shown, new) and held.find(shown) is None
    platform("keys", "revoke", "platform", "--old")
    assert keys(platform).keys.find("first", new) is None
    assert "Rotate it" in platform("keys", "revoke", "platform", expect=2).err


WRONG = [
    (("create", "a b", "--role", "admin"), 2, "cannot be the name of a key"),
    (("create", "x"), 1, "Missing option '--role'"),
    (("create", "x", "--role", "root"), 1, "'root' is not one of"),
    (("create", "x", "--role", "admin", "--expires", "soon"), 1, "--expires soon is no time"),
    (("create", "x", "--role", "admin", "--expires", "2001-01-01"), 2, "would have expired"),
    (("rotate", "nobody"), 2, "there is no key nobody"),
    (("rotate", "nobody", "--grace", "long"), 1, "--grace long is no span of time"),
    (("revoke", "nobody"), 2, "there is no key nobody"),
]


@pytest.mark.parametrize(("words", "code", "said"), WRONG, ids=[" ".join(row[0]) for row in WRONG])
def test_mistakes_are_told_and_change_nothing(platform: Ikoma, words: tuple[str, ...], code: int, said: str) -> None:
    done = platform("keys", *words, expect=code)
    assert said in done.err and done.out == "" and not (platform.folder / "keys.json").exists()


def test_a_damaged_file_and_a_log_that_cannot_be_written(platform: Ikoma) -> None:
    (platform.folder / "keys.json").write_text("{")
    assert "is no file of keys" in platform("keys", "create", "x", "--role", "admin", expect=2).err
    assert (platform.folder / "keys.json").read_text() == "{"
    os.mkfifo(platform.folder / "pipe")
    for words in (("create", "x", "--role", "admin"), ("list",)):
        assert "pipe is no regular file" in platform("keys", *words, "--file", "pipe", expect=2).err
    assert (platform.folder / "pipe").is_fifo()
    nowhere = Ikoma(platform.folder, {**platform.environment, "AUDIT_LOG": "/proc/nothing/audit.jsonl"})
    assert "nothing was changed" in nowhere("keys", "create", "y", "--role", "admin", expect=1).err
