"""Passwords that are typed: to log in over SSH (-k), and to become another user there and here (-K)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts.command import Ikoma
from tests.parts.sshd import PASSWORD, ROOT, Sshd, servers
from tests.parts.terminal import Terminal

PLAY = [{"hosts": "all", "steps": [
    {"name": "who logs in", "command": "id -un"},
    {"name": "who becomes", "command": "id -un", "become": True},
]}]  # fmt: skip


@pytest.fixture(scope="module")
def box() -> Iterator[Sshd]:
    if not ROOT:
        pytest.fail("these tests make accounts in a namespace of their own: run them as root")
    with servers() as site:
        server = site.server().start()
        yield server
        server.stop()


@pytest.fixture
def ikoma(box: Sshd, tmp_path: Path) -> Ikoma:
    host = dict(box.host(user="asker", ansible_ssh_private_key_file=None).vars)
    (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"box": host}}}))
    (tmp_path / "play.yml").write_text(json.dumps(PLAY))
    return Ikoma(tmp_path)


def typed(ikoma: Ikoma, login: str, become: str) -> tuple[int, str]:
    terminal = Terminal(ikoma, "run", "play.yml", "-i", "hosts.yml", "-k", "-K", "-vv")
    said = ""
    for question, answer in (("SSH password", login), ("BECOME password", become)):
        terminal.until(question)
        said += terminal.seen
        time.sleep(0.2)  # until the terminal shows nothing of what is typed
        terminal.type(f"{answer}\n")
    code = terminal.end()
    said += terminal.seen
    for secret in {PASSWORD, login, become} - {""}:
        assert secret not in said, "a password is on the terminal"
    return code, terminal.plain


@pytest.mark.parametrize("become", [PASSWORD, ""], ids=["typed", "the same"])
def test_both_are_asked_for_once_and_shown_nowhere(ikoma: Ikoma, become: str) -> None:
    code, said = typed(ikoma, PASSWORD, become)
    assert code == 0 and "stdout: asker" in said and "stdout: root" in said, said
    kept = b"".join(file.read_bytes() for file in (ikoma.folder / ".ikoma").rglob("*") if file.is_file())
    assert PASSWORD.encode() not in kept, "a password is in the journal"


@pytest.mark.parametrize(
    ("login", "become", "code", "words"),
    [
        ("not the one", PASSWORD, 6, "password (refused)"),
        (PASSWORD, "not the one", 2, "cannot become root by sudo"),
    ],
)
def test_a_wrong_one_is_told_as_what_it_is(ikoma: Ikoma, login: str, become: str, code: int, words: str) -> None:
    ended, said = typed(ikoma, login, become)
    assert ended == code and words in said, said
