"""Vault passwords from files, programs and the terminal."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ..errors import UsageError
from ..language.vault import DEFAULT, KEYS, Password
from .asking import hidden

NOBODY = "Name a file that holds it, or a program that prints it: --vault-password-file FILE"


def take(option: str, given: str | Sequence[str] | bool) -> None:
    """Put what an option names into the keyring. Raises UsageError."""
    if option == "vault_ask":
        KEYS.add(Password(DEFAULT, _asked(DEFAULT)))
        return
    for source in [given] if isinstance(given, str) else list(given) if not isinstance(given, bool) else ():
        label, at, place = source.rpartition("@") if option == "vault_id" else ("", "", source)
        label = label if at and label else DEFAULT
        KEYS.add(Password(label, _asked(label) if option == "vault_id" and place == "prompt" else read(place)))


def _asked(label: str) -> bytes:
    named = f" ({label})" if label != DEFAULT else ""
    return hidden(f"Vault password{named}", NOBODY).encode()


def read(place: str, what: str = "vault password") -> bytes:
    """The password in a file, or what a program prints. Raises UsageError."""
    path = Path(place).expanduser()
    try:
        if path.is_file() and os.access(path, os.X_OK):
            done = subprocess.run([str(path.absolute())], stdout=subprocess.PIPE, check=False)
            if done.returncode:
                raise UsageError(f"{place} ended with exit code {done.returncode} instead of printing a {what}")
            found = done.stdout
        else:
            found = path.read_bytes()
    except OSError as error:
        remedy = "A program must begin with #!; a file that is none must not be executable."
        raise UsageError(f"no {what} from {place}: {error.strerror}", remedy=remedy) from None
    if not found.strip():
        raise UsageError(f"the {what} in {place} is empty")
    return found.strip(b"\r\n")
