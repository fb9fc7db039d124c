"""This very program as a wheel, made from the files that run now: what a host installs is what the runner has."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from .. import __version__, shipped
from ..errors import NotFound

NAME = "ikoma-play"
_STEM = NAME.replace("-", "_")
_LEFT_OUT = {"__pycache__", ".git", ".ikoma", ".DS_Store"}
_WHEEL = "Wheel-Version: 1.0\nGenerator: ikoma-play\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_WHEN = (1980, 1, 1, 0, 0, 0)  # of every file, so that the same files give the same wheel


def wheel() -> tuple[str, bytes]:
    """The wheel's file name and its content. Its version ends with a digest of what is in it, so that pip tells
    another state of the same version apart. Raises NotFound where the program was never installed."""
    try:
        installed = distribution(NAME)
    except PackageNotFoundError:
        raise NotFound(
            "this program is not installed, so its name and requirements are not known",
            remedy="Install it with pip, or name a package for the host.",
        ) from None
    files = dict(_files())
    whole = hashlib.sha256("\n".join(sorted(installed.requires or ())).encode())
    for name, data in sorted(files.items()):
        whole.update(f"{name}\0{len(data)}\0".encode() + data)
    version = f"{__version__}+{whole.hexdigest()[:12]}"
    info = f"{_STEM}-{version}.dist-info"
    files |= {f"{info}/{name}": text.encode() for name, text in _about(installed, version)}
    files[f"{info}/RECORD"] = _record(files, f"{info}/RECORD")
    return f"{_STEM}-{version}-py3-none-any.whl", _packed(files)


def _files() -> Iterator[tuple[str, bytes]]:
    """The package's files, and the playbooks, roles and inventory, where a wheel has them."""
    yield from _below(shipped.PACKAGE, "ikoma_play")
    if shipped.root() != shipped.PACKAGE / "share":  # a checkout
        yield "ikoma_play/share/inventory.yml", shipped.inventory().read_bytes()
        for folder in (shipped.playbooks(), shipped.roles()):
            yield from _below(folder, f"ikoma_play/share/{folder.name}")


def _below(folder: Path, prefix: str) -> Iterator[tuple[str, bytes]]:
    for file in sorted(folder.rglob("*")):
        within = file.relative_to(folder)
        if file.is_file() and not _LEFT_OUT.intersection(within.parts) and file.suffix != ".pyc":
            yield f"{prefix}/{within.as_posix()}", file.read_bytes()


def _about(installed: Distribution, version: str) -> Iterator[tuple[str, str]]:
    metadata = installed.read_text("METADATA") or installed.read_text("PKG-INFO") or ""
    head, gap, body = metadata.partition("\n\n")
    yield "METADATA", re.sub(r"^Version: .*$", f"Version: {version}", head, flags=re.M) + gap + body
    yield "entry_points.txt", installed.read_text("entry_points.txt") or ""
    yield "WHEEL", _WHEEL


def _record(files: dict[str, bytes], own: str) -> bytes:
    lines = []
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(data)}\n")
    return "".join([*lines, f"{own},,\n"]).encode()


def _packed(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _WHEN)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o100644 << 16
            archive.writestr(entry, data)
    return packed.getvalue()
