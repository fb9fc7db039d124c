"""Keys of the server: who may come in and what for, and what becomes of the file that holds them."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from ikoma_play.errors import NotFound, Refused, StepError, Unavailable
from ikoma_play.model import Access
from ikoma_play.platform.api_keys import Keys, new, platform_hash, sha256
from ikoma_play.platform.key_file import KeyFile


def test_a_key_opens_and_nothing_else_does() -> None:
    keys, ci = Keys().create("ci", Access.OPERATOR)
    keys, bot = keys.create("bot", Access.OBSERVER, expires=time.time() + 60)
    assert (found := keys.find(ci)) is not None and (found.name, found.access) == ("ci", Access.OPERATOR)
    assert (found := keys.find(bot)) is not None and found.name == "bot"
    for wrong in ("", "x", ci[:-1], ci + " ", sha256(ci), "\ud800"):
        assert keys.find(wrong) is None
    assert keys.find(bot, now=time.time() + 61) is None
    assert ci not in keys.text and sha256(ci) in keys.text


def test_limits_to_hosts_and_applications() -> None:
    keys, _ = Keys().create("ci", Access.OPERATOR, hosts=["web-*"], applications=["shop", "blog-*"])
    key = keys.by_name["ci"]
    assert key.allows_host("web-1") and not key.allows_host("db")
    assert key.allows_application("shop") and key.allows_application("blog-2") and not key.allows_application("shop2")
    assert not key.allows_application(None), "what is about no application is not for such a key"
    free = Keys().create("all", Access.ADMIN)[0].by_name["all"]
    assert free.allows_host("db") and free.allows_application(None)


def test_rotation_leaves_the_old_key_for_a_while() -> None:
    keys, first = Keys().create("ci", Access.OPERATOR)
    second, third, fourth = new(), new(), new()
    keys = keys.rotate("ci", 100, second)
    keys = keys.rotate("ci", 50, third)
    now = time.time()
    assert all(keys.find(each) for each in (first, second, third))
    assert [keys.find(each, now=now + 60) is not None for each in (first, second, third)] == [True, False, True]
    assert keys.find(first, now=now + 101) is None
    keys = keys.rotate("ci", 0, fourth)
    assert keys.find(third) is None and keys.find(fourth) and keys.find(first)
    assert keys.revoke("ci", only_old=True).find(first) is None
    assert keys.revoke("ci").find(fourth) is None


def test_the_platforms_own_key() -> None:
    keys, old, other = Keys(), sha256("old"), sha256("new")
    assert keys.find("old") is None
    assert (found := keys.find("old", old)) is not None and (found.name, found.role) == ("platform", "admin")
    keys = Keys.parse(keys.retire_platform(old, grace=100).text)
    assert keys.find("old", other) and keys.find("new", other)
    assert keys.find("old", other, now=time.time() + 101) is None
    assert keys.revoke("platform", only_old=True).find("old", other) is None
    with pytest.raises(Refused, match="without another"):
        keys.revoke("platform")
    assert platform_hash({"API_KEY_HASH": f" {old.upper()} "}) == old
    assert platform_hash({}) is None and platform_hash({"API_KEY_HASH": ""}) is None
    with pytest.raises(StepError, match="64 hexadecimal"):
        platform_hash({"API_KEY_HASH": "secret"})


def test_names_that_cannot_be() -> None:
    keys, _ = Keys().create("ci", Access.OPERATOR)
    for name in ("", "a b", "../x", "x" * 65, "platform", "a\n", "cli:root"):
        with pytest.raises(Refused):
            keys.create(name, Access.ADMIN)
    with pytest.raises(Refused, match="already"):
        keys.create("ci", Access.ADMIN)
    with pytest.raises(Refused, match="expired"):
        keys.create("late", Access.ADMIN, expires=time.time() - 1)
    for wrong in (lambda: keys.rotate("cli", 0, new()), lambda: keys.revoke("cli")):
        with pytest.raises(NotFound) as caught:
            wrong()
        assert "ci" in caught.value.remedy


def test_what_is_written_is_read_back() -> None:
    keys, _ = Keys().create("ci", Access.OPERATOR, expires=time.time() + 9, hosts=["a"], applications=["b", "c"])
    keys = keys.rotate("ci", 60, new())
    assert Keys.parse(keys.text) == keys
    assert Keys.parse("") == Keys() == Keys.parse("\n")


DAMAGED = ["{", "[]", '"x"', "{}", '{"version":2,"keys":[]}', '{"version":1,"keys":[{"name":"x"}]}',
           '{"version":1,"keys":[{"name":"x","role":"root","sha256":"' + "0" * 64 + '"}]}',
           '{"version":1,"keys":[{"name":"x","role":"admin","sha256":"abc"}]}', '{"version":1,"keys":5}']  # fmt: skip


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_file_opens_nothing_and_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(StepError, match=r"keys\.json is no file of keys") as caught:
        _ = KeyFile(path).keys
    assert caught.value.remedy and path.read_text() == text


def test_a_change_is_seen_at_once_by_those_who_have_the_file_open(tmp_path: Path) -> None:
    path = tmp_path / "new" / "keys.json"
    server, here = KeyFile(path), KeyFile(path)
    assert server.keys.find("x") is None
    shown = here.change(lambda keys: keys.create("ci", Access.OPERATOR))
    assert server.keys.find(shown)
    assert path.stat().st_mode & 0o777 == 0o600
    assert {each.name for each in path.parent.iterdir()} == {"keys.json", "keys.json.lock"}
    here.change(lambda keys: (keys.revoke("ci"), None))
    assert server.keys.find(shown) is None


def test_many_change_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    makers = [
        threading.Thread(
            target=lambda name=name: KeyFile(path).change(lambda keys: keys.create(name, Access.OBSERVER))  # type: ignore[misc]
        )
        for name in map(str, range(20))
    ]
    for maker in makers:
        maker.start()
    while any(maker.is_alive() for maker in makers):
        if path.exists():
            json.loads(path.read_text())  # always whole
    assert len(list(KeyFile(path).keys)) == 20


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be"):
        KeyFile(tmp_path / "file" / "keys.json").change(lambda keys: keys.create("ci", Access.ADMIN))
