"""The lookup `password`: passwords that are made once and kept in files of the runner."""

from __future__ import annotations

import os
import random
import re
import secrets
import shlex
import string
from pathlib import Path
from typing import Any

from .filters_secret import password_hash
from .lookup_table import Asker, named

_NOWHERE = Path("/dev/null")
_SALT = string.ascii_letters + string.digits
_SALT_SIZES = {"md5": 8, "md5_crypt": 8, "bcrypt": 22, "blowfish": 22}


@named("password")
def password(templar: Asker, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    """The password kept in each file, made when the file is not there; its hash where `encrypt` names one.

    With `seed` the same one is made each time. What is hashed keeps its salt beside it in the file.
    """
    return [_password(str(term), options) for term in terms]


def _password(term: str, options: dict[str, Any]) -> str:
    path_text, *pairs = shlex.split(term)
    given = {**options, **dict(pair.split("=", 1) for pair in pairs)}
    path, encrypt = Path(path_text), given.get("encrypt")
    kept = path != _NOWHERE and path.exists()
    made, said = _read(path) if kept else (_made(given), {})
    if encrypt and "salt" not in said:
        said["salt"] = "".join(secrets.choice(_SALT) for _ in range(_SALT_SIZES.get(encrypt, 16)))
        if encrypt in ("bcrypt", "blowfish"):
            said["ident"] = given.get("ident") or "2b"
        kept = False
    if path != _NOWHERE and not kept:
        _keep(path, " ".join([made, *(f"{name}={value}" for name, value in said.items())]) + "\n")
    return password_hash(made, str(encrypt), said["salt"], ident=said.get("ident")) if encrypt else made


def _made(given: dict[str, Any]) -> str:
    choice = secrets.choice if given.get("seed") is None else random.Random(given["seed"]).choice
    letters = _alphabet(given.get("chars", ["ascii_letters", "digits", ".,:-_"]))
    return "".join(choice(letters) for _ in range(int(given.get("length", 20))))


def _read(path: Path) -> tuple[str, dict[str, str]]:
    """The password in a file, and its salt and ident where they are kept beside it."""
    line = path.read_text(encoding="utf-8").partition("\n")[0]
    said = dict(re.findall(r" (salt|ident)=(\S+)", line))
    return re.sub(r" salt=\S+( ident=\S+)?$", "", line), said


def _keep(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as kept:
        kept.write(line)


def _alphabet(chars: Any) -> str:
    parts = chars if isinstance(chars, list) else str(chars).split(",")
    return "".join(getattr(string, part, part) for part in parts)
