"""Forms with files, as web pages send them: multipart/form-data."""

from __future__ import annotations

import mimetypes
import posixpath
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...errors import StepError

KNOWN = ("filename", "content", "mime_type", "multipart_encoding")


def multipart(fields: Any, find: Callable[[str], Path]) -> tuple[bytes, str]:
    """The body for a mapping of names to values, and its Content-Type. `find` gives a file of the runner.

    A value is text, or a mapping: `filename` (read where there is no `content`), `content`, `mime_type`.
    """
    if not isinstance(fields, Mapping) or not fields:
        raise StepError("form-multipart wants a mapping of names to values as its body",
                        remedy="Write body: {name: value, file: {filename: path}}.")  # fmt: skip
    parts = [_part(str(name), value, find) for name, value in sorted(fields.items(), key=lambda pair: str(pair[0]))]
    boundary = f"----ikoma-{secrets.token_hex(16)}"
    lines = b"".join(b"--%b\r\n%b\r\n" % (boundary.encode(), part) for part in parts)
    return lines + b"--%b--\r\n" % boundary.encode(), f"multipart/form-data; boundary={boundary}"


def _part(name: str, value: Any, find: Callable[[str], Path]) -> bytes:
    head = f'Content-Disposition: form-data; name="{_quoted(name)}"'
    if not isinstance(value, Mapping):
        return f"{head}\r\n\r\n{value}".encode()
    if unknown := [key for key in value if key not in KNOWN]:
        raise StepError(f"a field of form-multipart knows no '{unknown[0]}'", remedy=f"It takes {', '.join(KNOWN)}.")
    file, content = value.get("filename"), value.get("content")
    if file is None and content is None:
        raise StepError(f"the field '{name}' of form-multipart has neither filename nor content")
    kind = value.get("mime_type") or (mimetypes.guess_type(str(file))[0] if file else None) or "text/plain"
    data = str(content).encode() if content is not None else find(str(file)).read_bytes()
    if content is None and kind == "text/plain" and not str(file).endswith(".txt"):
        kind = "application/octet-stream"
    if file is not None:
        head += f'; filename="{_quoted(posixpath.basename(str(file)))}"'
    return f"{head}\r\nContent-Type: {kind}\r\n".encode() + _encoded(data, value.get("multipart_encoding"))


def _encoded(data: bytes, how: Any) -> bytes:
    """The rest of a part's head, and its data in the encoding that was asked for."""
    if how in (None, "binary"):
        return b"\r\n" + data
    if how in ("base64", "7or8bit"):
        import base64

        if how == "7or8bit":
            return b"Content-Transfer-Encoding: 8bit\r\n\r\n" + data
        return b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(data).rstrip()
    raise StepError(f"multipart_encoding cannot be {how!r}", remedy="Use base64 or 7or8bit, or leave it out.")


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", " ").replace("\n", " ")
