"""`ikoma-play vault`: files that Ansible Vault reads, and the other way round."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import click

from ..errors import UsageError
from ..language.vault import DEFAULT, KEYS, Password, VaultError, encrypt, is_encrypted
from . import options, status
from .asking import answered, hidden
from .vaults import NOBODY

files = click.argument("files", metavar="FILE...", nargs=-1, required=True)


@click.group("vault")
def command() -> None:
    """Encrypt, decrypt and view files in Ansible Vault's format.

    A FILE of - is standard input, the answer then goes to standard output.
    """


@command.command("encrypt")
@files
@options.vault_passwords
@click.option("--encrypt-vault-id", "label", metavar="ID", help="The vault id whose password encrypts.")
def encrypt_files(files: tuple[str, ...], label: str | None) -> int:
    """Encrypt files in place."""
    password = _password(label)
    for name in files:
        data = _read(name)
        if is_encrypted(data):
            raise UsageError(f"{name} is encrypted already")
        _write(name, encrypt(data, password).encode())
    return status.DONE


@command.command("decrypt")
@files
@options.vault_passwords
def decrypt_files(files: tuple[str, ...]) -> int:
    """Decrypt files in place."""
    for name in files:
        _write(name, _decrypted(name))
    return status.DONE


@command.command("view")
@files
@options.vault_passwords
def view_files(files: tuple[str, ...]) -> int:
    """Print what encrypted files hold; nothing is written."""
    for name in files:
        sys.stdout.buffer.write(_decrypted(name))
    sys.stdout.flush()
    return status.DONE


def _password(label: str | None) -> Password:
    known = [password for password in KEYS if label is None or password.label == label]
    if not known and label is not None and KEYS:
        raise UsageError(f"no password was given for the vault id {label}", remedy=f"Add --vault-id {label}@FILE.")
    if len(known) > 1:
        labels = " and ".join(dict.fromkeys(password.label for password in known))
        raise UsageError(f"passwords were given for {labels}", remedy="Choose one with --encrypt-vault-id.")
    if known:
        return known[0]
    return Password(label or DEFAULT, hidden("New vault password", NOBODY, twice=True).encode())


def _decrypted(name: str) -> bytes:
    data = _read(name)
    if not is_encrypted(data):
        raise UsageError(f"{name} is not encrypted")
    if not KEYS:
        KEYS.add(Password(DEFAULT, hidden("Vault password", NOBODY).encode()))
    try:
        return KEYS.decrypt(data.decode("ascii", "replace"))
    except VaultError as error:
        raise UsageError(f"{name}: {error.message}", remedy=error.remedy) from None


def _read(name: str) -> bytes:
    if name == "-":
        if answered:
            raise UsageError(f"standard input cannot be both the {answered[0]} and the file", remedy=NOBODY)
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}") from None


def _write(name: str, data: bytes) -> None:
    """Whole or not at all, with the mode that the file had."""
    if name == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        return
    path = Path(name).resolve()
    try:
        before = path.stat()
        if not path.is_file():
            raise UsageError(f"cannot write {name}: it is no regular file")
        made, beside = tempfile.mkstemp(dir=path.parent, prefix=".vault-")
        try:
            with os.fdopen(made, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(beside).chmod(before.st_mode & 0o7777)
            if os.geteuid() == 0:
                os.chown(beside, before.st_uid, before.st_gid)
            Path(beside).replace(path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(f"cannot write {name}: {error.strerror}") from None
