"""Encrypted files and values: beside the real ansible-vault, in both directions, and in runs that show none of it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ikoma_play.language.vault import DEFAULT, Password, VaultError, decrypt, encrypt
from tests.parts.command import Ikoma

PLAIN = 'word: "canary-in-file"\nnested: {deep: "canary-in-depth", number: 3}\n'
CANARIES = ("canary-in-file", "canary-in-depth", "canary-in-line")
PLAY = """
- hosts: localhost
  gather_facts: false
  vars_files: [vars.yml]
  tasks:
    - debug: {msg: "{{ inline }} {{ word }} {{ nested.deep }}"}
    - copy: {content: "{{ inline }} {{ word }} {{ nested.deep }}", dest: out}
    - command: cat out
    - template: {src: secret.j2, dest: rendered}
  vars:
"""


@pytest.fixture
def ikoma(tmp_path: Path) -> Ikoma:
    (tmp_path / "pw").write_text("open sesame\n")
    (tmp_path / "other").write_text("not it")
    (tmp_path / "vars.yml").write_text(PLAIN)
    return Ikoma(tmp_path)


def ansible_vault(ikoma: Ikoma, *words: str, given: str = "") -> str:
    """The real ansible-vault's standard output."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-vault"), *words],
        cwd=ikoma.folder, input=given, capture_output=True, text=True, check=False,
        env={**os.environ, "ANSIBLE_HOME": str(ikoma.folder / "home"), "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("password", "header"), [
    (("--vault-password-file", "pw"), "$ANSIBLE_VAULT;1.1;AES256\n"),
    (("--vault-id", "prod@pw"), "$ANSIBLE_VAULT;1.2;AES256;prod\n"),
])  # fmt: skip
def test_ansible_reads_what_we_write(ikoma: Ikoma, password: tuple[str, str], header: str) -> None:
    path = ikoma.folder / "vars.yml"
    path.chmod(0o640)
    ikoma("vault", "encrypt", "vars.yml", *password)
    written = path.read_text()
    assert written.startswith(header)
    assert "canary" not in written
    assert path.stat().st_mode & 0o777 == 0o640
    assert ansible_vault(ikoma, "view", "vars.yml", *password) == PLAIN


@pytest.mark.parametrize("password", [("--vault-password-file", "pw"), ("--vault-id", "prod@pw")])
def test_we_read_what_ansible_writes(ikoma: Ikoma, password: tuple[str, str]) -> None:
    ansible_vault(ikoma, "encrypt", "vars.yml", *password)
    assert ikoma("vault", "view", "vars.yml", *password).out == PLAIN
    assert ikoma("vault", "view", "vars.yml", "--vault-id", "a@other", "--vault-id", "b@pw").out == PLAIN
    refused = ikoma("vault", "view", "vars.yml", "--vault-password-file", "other", expect=1)
    assert "none of the vault passwords decrypts this" in refused.err
    ikoma("vault", "decrypt", "vars.yml", *password)
    assert (ikoma.folder / "vars.yml").read_text() == PLAIN


def test_what_comes_from_a_pipe_is_read_and_not_replaced(ikoma: Ikoma) -> None:
    os.mkfifo(ikoma.folder / "pipe")
    writing = threading.Thread(target=(ikoma.folder / "pipe").write_text, args=("secret",), daemon=True)
    writing.start()
    done = ikoma("vault", "encrypt", "pipe", "--vault-password-file", "pw", expect=1)
    writing.join(10)
    assert "cannot write pipe: it is no regular file" in done.err and (ikoma.folder / "pipe").is_fifo()


def test_a_run_uses_what_is_encrypted_and_shows_none_of_it(ikoma: Ikoma) -> None:
    password = ("--vault-password-file", "pw")
    inline = ansible_vault(ikoma, "encrypt_string", "--stdin-name", "inline", *password, given="canary-in-line")
    (ikoma.folder / "p.yml").write_text(PLAY + "".join(f"    {line}\n" for line in inline.splitlines()))
    (ikoma.folder / "secret.j2").write_text("{{ word | upper }}")
    ansible_vault(ikoma, "encrypt", "vars.yml", "secret.j2", *password)
    for more in (("-vvv", "--diff"), ("--json",)):
        (ikoma.folder / "out").unlink(missing_ok=True)
        done = ikoma("run", "p.yml", *password, *more)
        assert not [canary for canary in CANARIES if canary in done.text], done
        assert (ikoma.folder / "out").read_text() == "canary-in-line canary-in-file canary-in-depth"
    assert (ikoma.folder / "rendered").read_text() == "CANARY-IN-FILE"


def test_extra_variables_may_be_encrypted_as_a_file_or_one_by_one(ikoma: Ikoma) -> None:
    password = ("--vault-password-file", "pw")
    inline = ansible_vault(ikoma, "encrypt_string", "--stdin-name", "inline", *password, given="canary-in-line")
    (ikoma.folder / "single.yml").write_text(inline)
    ansible_vault(ikoma, "encrypt", "vars.yml", *password)
    (ikoma.folder / "p.yml").write_text(PLAY.replace("  vars_files: [vars.yml]\n", "") + "    a: 1\n")
    (ikoma.folder / "secret.j2").write_text("x")
    given = ("-e", "@vars.yml", "-e", "@single.yml")
    done = ikoma("run", "p.yml", *given, *password, "-vvv", "--diff")
    assert not [canary for canary in CANARIES if canary in done.text], done
    assert (ikoma.folder / "out").read_text() == "canary-in-line canary-in-file canary-in-depth"
    refused = ikoma("run", "p.yml", *given, expect=4)
    assert "vars.yml:1:1: vars.yml: this is encrypted, and no vault password was given" in refused.text


def test_what_is_encrypted_is_copied_as_what_it_holds_and_not_shown(ikoma: Ikoma) -> None:
    password = ("--vault-password-file", "pw")
    (ikoma.folder / "p.yml").write_text(
        "- hosts: localhost\n  tasks:\n    - copy: {src: vars.yml, dest: out}\n"
        "    - copy: {src: tree/, dest: copied}\n    - assemble: {src: tree, dest: whole, remote_src: false}\n"
    )
    (ikoma.folder / "tree").mkdir()
    (ikoma.folder / "tree" / "a").write_text("canary-in-tree\n")
    ansible_vault(ikoma, "encrypt", "vars.yml", "tree/a", *password)
    done = ikoma("run", "p.yml", "--diff", *password)
    assert "canary" not in done.text, done
    assert (ikoma.folder / "out").read_text() == PLAIN
    assert (ikoma.folder / "copied" / "a").read_text() == (ikoma.folder / "whole").read_text() == "canary-in-tree\n"
    refused = ikoma("run", "p.yml", expect=2)
    assert "vars.yml: this is encrypted, and no vault password was given" in refused.text


def test_without_a_password_a_file_is_a_fault_and_a_value_fails_its_step(ikoma: Ikoma) -> None:
    password = ("--vault-password-file", "pw")
    (ikoma.folder / "p.yml").write_text(PLAY + "    inline: 1\n")
    (ikoma.folder / "secret.j2").write_text("x")
    ikoma("vault", "encrypt", "vars.yml", *password)
    faulty = ikoma("check", "p.yml", expect=4)
    assert "vars.yml:1:1: vars.yml: this is encrypted, and no vault password was given [encrypted]" in faulty.out
    assert "1 fault," in faulty.out, "variables of a file that cannot be read are not called undefined"
    inline = ansible_vault(ikoma, "encrypt_string", "--stdin-name", "inline", *password, given="canary-in-line")
    steps = "- hosts: localhost\n  tasks:\n    - debug: {msg: '{{ inline }}'}\n  vars:\n"
    (ikoma.folder / "p.yml").write_text(steps + "".join(f"    {line}\n" for line in inline.splitlines()))
    failed = ikoma("run", "p.yml", expect=2)
    assert "no vault password was given" in failed.text
    assert "--vault-password-file" in failed.text


def test_wrong_use_changes_no_file(ikoma: Ikoma) -> None:
    password = ("--vault-password-file", "pw")
    assert "is not encrypted" in ikoma("vault", "decrypt", "vars.yml", *password, expect=1).err
    ikoma("vault", "encrypt", "vars.yml", *password)
    before = (ikoma.folder / "vars.yml").read_bytes()
    assert "encrypted already" in ikoma("vault", "encrypt", "vars.yml", *password, expect=1).err
    assert "Choose one" in ikoma("vault", "encrypt", "pw", "--vault-id", "a@pw", "--vault-id", "b@other", expect=1).err
    assert (ikoma.folder / "vars.yml").read_bytes() == before
    script = ikoma.folder / "ask"
    script.write_text("#!/bin/sh\ncat pw\n")
    script.chmod(0o755)
    assert ikoma("vault", "view", "vars.yml", "--vault-password-file", "ask").out == PLAIN


@pytest.mark.parametrize("data", [b"", b"x" * 15, b"y" * 16, bytes(range(256)) * 40])
def test_any_bytes_come_back(data: bytes) -> None:
    assert decrypt(encrypt(data, Password(DEFAULT, b"secret")), b"secret") == data


@pytest.mark.parametrize("text", [
    "$ANSIBLE_VAULT;1.1;AES256\nzz", "$ANSIBLE_VAULT;1.1;AES256\n", "$ANSIBLE_VAULT;9;AES256\n00",
    "$ANSIBLE_VAULT;1.1;ROT13\n00", "$ANSIBLE_VAULT;", "$ANSIBLE_VAULT;1.1;AES256\n0a0a0a",
])  # fmt: skip
def test_a_damaged_text_is_named_as_such(text: str) -> None:
    with pytest.raises(VaultError):
        decrypt(text, b"secret")
