"""Tools that speak HTTP: uri asks and looks at the answer, get_url brings a file to the host."""

from __future__ import annotations

import hashlib
import json
import posixpath
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...errors import StepError, Unhealthy
from ...model import Access, Diff, Outcome, Progress, Status, changed, ok
from ...tool import Scope, tool
from ...transport.base import Transport
from ...transport.faults import demand_replaceable
from .placing import Attributes, Mode, described, host_path, place
from .sources import one_file

if TYPE_CHECKING:
    from .http import Answer, Request

# What speaks HTTP is loaded when a tool does: checking a playbook that names uri stays quick.
Follow = Literal["all", "none", "safe", "urllib2", "yes", "no"]
Format = Literal["json", "raw", "form-urlencoded", "form-multipart"]
KEPT = 16 * 2**20  # bytes of an answer that uri keeps
CHUNK = 2**18


def _asks_for_no_more(arguments: Mapping[str, Any]) -> bool:
    """Whether the request may be sent twice (RFC 9110, 9.2.2)."""
    return str(arguments.get("method", "GET")).upper() not in ("POST", "PATCH")


# A look by default; but any method can be asked for, and any address that the host can reach.
@tool(
    "uri",
    access=Access.ADMIN,
    changes=True,
    repeatable=_asks_for_no_more,
    secrets=("url_password",),
    aliases={"user": "url_username", "password": "url_password"},
)
def uri(
    on: Transport,
    *,
    scope: Scope,
    url: str,
    method: str = "GET",
    status_code: list[int] | None = None,
    return_content: bool = False,
    body: Any = None,
    body_format: Format = "raw",
    headers: dict[str, str | int | float | bool] | None = None,
    url_username: str | None = None,
    url_password: str | None = None,
    force_basic_auth: bool = False,
    timeout: float = 30,
    follow_redirects: Follow = "safe",
    validate_certs: bool = True,
    ca_path: str | None = None,
    client_cert: str | None = None,
    client_key: str | None = None,
    use_proxy: bool = True,
    unix_socket: str | None = None,
    http_agent: str = "ikoma-play",
    dest: str | None = None,
    src: str | None = None,
    creates: str | None = None,
    removes: str | None = None,
    mode: Mode = None,
    owner: str | None = None,
    group: str | None = None,
) -> Outcome:
    """Ask a web address and look at the answer.

    url: the address, as seen from the host
    method: GET, POST, PUT, …
    status_code: the statuses that are good; default 200
    return_content: return the body as content
    body: what is sent; a mapping or list is written as body_format says
    body_format: json, form-urlencoded, form-multipart (names to text, or to filename, content, mime_type), or raw
    headers: further headers
    url_username: a user for basic authentication
    url_password: that user's password
    force_basic_auth: accepted for Ansible's sake; credentials are sent at once in any case
    timeout: seconds to wait for the network
    follow_redirects: safe (GET and HEAD), all or none
    validate_certs: demand a trusted certificate
    ca_path: a file of the runner with the certificates of those that are trusted
    client_cert: a file of the runner with a certificate to show
    client_key: that certificate's key, when it is in a file of its own
    use_proxy: use the proxy that the runner's environment names
    http_agent: what is said for a browser's name
    unix_socket: a socket of the host, instead of the address's own host and port
    dest: a file of the host that takes the body
    mode: that file's mode
    owner: that file's owner
    group: that file's group
    src: a file of the runner that is sent as the body
    creates: nothing is asked where this path is there already
    removes: nothing is asked where this path is not there
    """
    from .http import Request, answered, basic, shown_url

    for path, wanted, says in ((creates, False, "exists"), (removes, True, "does not exist")):
        if path is not None and on.exists(host_path(on, path)) is not wanted:
            return ok({"status": -1, "url": url}, message=f"not asked, since {path} {says}")
    if on.dry:  # what it asks about may be the work of steps that were not done
        return Outcome(Status.SKIPPED, {"url": shown_url(url)}, "not asked in a check")
    sent, kind = _body(scope, body, body_format, src)
    given = {name: str(text) for name, text in (headers or {}).items()}
    given = ({"Content-Type": kind} if kind and "content-type" not in map(str.lower, given) else {}) | given
    given.setdefault("User-Agent", http_agent)
    if url_username is not None:
        given["Authorization"] = basic(url_username, url_password or "")
    request = Request(
        url, method, given, sent, timeout, follow_redirects, validate_certs, ca_path, client_cert, client_key,
        use_proxy, unix_socket,
    )  # fmt: skip
    started = time.monotonic()
    with answered(on, request) as answer:
        content = _read(answer, url)
        values = _values(answer, content, time.monotonic() - started)
    good = status_code or [200]
    if answer.status not in good:
        accepted = " or ".join(map(str, good))
        raise Unhealthy(
            f"{shown_url(url)} answered {answer.status} {answer.reason}, not {accepted}",
            remedy="Look at the service's log, or add the status to status_code if it is as it should be.",
            evidence=content[:2000].decode("utf-8", "replace").strip(),
            result=values | {"content": content.decode("utf-8", "replace")},
        )
    if return_content:
        values["content"] = content.decode(_charset(answer), "replace")
    if dest is not None:
        target = host_path(on, dest)
        if (there := on.stat(target, follow=True)) is not None and there.kind == "directory":
            target = posixpath.join(target, _file_name(answer))
        placed = place(on, target, content, Attributes(mode, owner, group))
        values |= {"path": target, **described(on.stat(target))}
        return (changed if placed.changed else ok)(values, diffs=placed.diffs)
    return ok(values, message=f"{answer.status} {answer.reason}")


@tool("get_url", access=Access.ADMIN, changes=True, secrets=("url_password",), aliases={
    "username": "url_username", "password": "url_password",
})  # fmt: skip
def get_url(
    on: Transport,
    *,
    url: str,
    dest: str,
    checksum: str | None = None,
    force: bool = False,
    mode: Mode = None,
    owner: str | None = None,
    group: str | None = None,
    backup: bool = False,
    headers: dict[str, str | int | float | bool] | None = None,
    url_username: str | None = None,
    url_password: str | None = None,
    force_basic_auth: bool = False,
    timeout: float = 10,
    validate_certs: bool = True,
    ca_path: str | None = None,
    client_cert: str | None = None,
    client_key: str | None = None,
    use_proxy: bool = True,
    http_agent: str = "ikoma-play",
) -> Outcome:
    """Download a file to the host.

    Where the file is there already, nothing is downloaded unless its checksum is another one or force is set.

    url: the address, as seen from the host
    dest: the file; in a directory, it gets the name that the address or the server gives
    checksum: algorithm:digest that the file must have, as in sha256:…; the digest may be the address of a list
    force: download again, and replace the file if it differs
    mode: "0644", or "u=rw,g=r,o="
    owner: a user's name or number
    group: a group's name or number
    backup: keep what was there beside it
    headers: further headers
    url_username: a user for basic authentication
    url_password: that user's password
    force_basic_auth: accepted for Ansible's sake; credentials are sent at once in any case
    timeout: seconds to wait for the network
    validate_certs: demand a trusted certificate
    ca_path: a file of the runner with the certificates of those that are trusted
    client_cert: a file of the runner with a certificate to show
    client_key: that certificate's key, when it is in a file of its own
    use_proxy: use the proxy that the runner's environment names
    http_agent: what is said for a browser's name
    """
    import tempfile

    from .http import Request, answered, basic, shown_url

    given = {"User-Agent": http_agent} | {name: str(text) for name, text in (headers or {}).items()}
    if url_username is not None:
        given["Authorization"] = basic(url_username, url_password or "")
    request = Request(
        url, "GET", given, None, timeout, "all", validate_certs, ca_path, client_cert, client_key, use_proxy
    )
    attributes = Attributes(mode, owner, group)
    path = host_path(on, dest)
    there = on.stat(path, follow=True)
    folder = path.endswith("/") or (there is not None and there.kind == "directory")
    if not folder:
        demand_replaceable(path, there)  # before it is read, to be compared
    wanted = _wanted_digest(on, checksum, request) if checksum else None
    kept = there is not None and not folder and not force and (wanted is None or _digest(on, path, wanted) == wanted[1])
    if kept:
        placed = place(on, path, on.read(path), attributes)
        values = {"dest": path, "url": shown_url(url), **described(on.stat(path, follow=True))}
        return (changed if placed.changed else ok)(values, "the file is there already", diffs=placed.diffs)
    if on.dry:
        values = {"dest": path, "url": shown_url(url)}
        return changed(values, "would download", diffs=(Diff(path, "", f"(what {shown_url(url)} gives)\n"),))
    started = time.monotonic()
    with tempfile.NamedTemporaryFile() as spool:
        with answered(on, request) as answer:
            if answer.status != 200:
                raise StepError(
                    f"{shown_url(url)} answered {answer.status} {answer.reason}",
                    remedy="Check the address, and the credentials if it asks for them.",
                    result={"status_code": answer.status, "url": shown_url(url), "msg": answer.reason},
                )
            if folder:
                path = posixpath.join(path, _file_name(answer))
            size, sums = _spooled(on, answer, spool, wanted[0] if wanted else "sha256")
        if wanted is not None and sums[wanted[0]] != wanted[1]:
            raise StepError(
                f"{shown_url(url)} gave a file with the {wanted[0]} {sums[wanted[0]]}, not {wanted[1]}",
                remedy="Do not use this file until you know why; then correct checksum.",
            )
        placed = place(on, path, Path(spool.name), attributes, backup=backup)
    values = {
        "dest": path, "url": shown_url(url), "status_code": 200, "checksum_dest": sums["sha1"],
        "checksum_src": sums["sha1"], "elapsed": round(time.monotonic() - started), **placed.extra,
        **described(on.stat(path)),
    }  # fmt: skip
    return (changed if placed.changed else ok)(values, f"OK ({size} bytes)", diffs=placed.diffs)


# --- how -------------------------------------------------------------------------------------------


def _body(scope: Scope, body: Any, form: Format, src: str | None) -> tuple[bytes | None, str]:
    """What is sent, and its type."""
    from urllib.parse import urlencode

    if src is not None:
        if body is not None:
            raise StepError("uri takes body or src, not both", remedy="Leave one of them out.")
        return one_file(scope.find("files", src), "src of uri").read_bytes(), "application/octet-stream"
    if body is None:
        return None, ""
    if form == "json":
        return (body if isinstance(body, str) else json.dumps(body)).encode(), "application/json"
    if form == "form-urlencoded":
        text = body if isinstance(body, str) else urlencode(body, doseq=True)
        return text.encode(), "application/x-www-form-urlencoded"
    if form == "form-multipart":
        from .multipart import multipart

        return multipart(body, lambda name: one_file(scope.find("files", name), "filename of a field"))
    return (body if isinstance(body, str) else json.dumps(body)).encode(), ""


def _read(answer: Answer, url: str) -> bytes:
    from .http import shown_url

    content = answer.body.read(KEPT + 1)
    if len(content) > KEPT:
        raise StepError(
            f"{shown_url(url)} answered with more than {KEPT // 2**20} MB", remedy="Download it with get_url instead."
        )
    return content


def _values(answer: Answer, content: bytes, seconds: float) -> dict[str, Any]:
    """What uri returns: the answer's head, its headers under their names, its JSON made values."""
    from .http import shown_url

    values: dict[str, Any] = {}
    for name in answer.headers:
        values[name.lower().replace("-", "_")] = ", ".join(answer.headers.get_all(name, []))
    values |= {
        "status": answer.status,
        "url": shown_url(answer.url),
        "redirected": answer.redirected,
        "elapsed": int(seconds),
        "cookies": answer.cookies,
        "cookies_string": "; ".join(f"{name}={text}" for name, text in answer.cookies.items()),
        "msg": f"{answer.reason} ({len(content)} bytes)",
    }
    if answer.headers.get_content_type().endswith(("/json", "+json")):
        try:
            values["json"] = json.loads(content)
        except ValueError:
            values["msg"] += ", and its JSON does not parse"
    return values


def _charset(answer: Answer) -> str:
    charset = answer.headers.get_content_charset("utf-8")
    try:
        "".encode(charset)
    except LookupError:
        return "utf-8"
    return charset


def _file_name(answer: Answer) -> str:
    """The name that the server gives the file, or the address's last part; never a path."""
    from email.message import Message
    from urllib.parse import unquote, urlsplit

    head = Message()
    head["Content-Disposition"] = answer.headers.get("Content-Disposition", "")
    name = posixpath.basename((head.get_filename() or "").replace("\\", "/"))
    if name in ("", ".", ".."):
        name = posixpath.basename(unquote(urlsplit(answer.url).path))
    return "index.html" if name in ("", ".", "..") else name


def _spooled(on: Transport, answer: Answer, spool: Any, algorithm: str) -> tuple[int, dict[str, str]]:
    """The body, written to a file of the runner: its size and its digests."""
    from .http import shown_url

    sums = {name: hashlib.new(name) for name in {"sha1", algorithm}}
    total = int(answer.headers.get("Content-Length") or 0)
    size = 0
    while data := answer.body.read(CHUNK):
        spool.write(data)
        for each in sums.values():
            each.update(data)
        size += len(data)
        on.progress(Progress(f"downloading {_file_name(answer)}", size, total))
    if total and size < total:
        raise StepError(f"{shown_url(answer.url)} broke off after {size} of {total} bytes", remedy="Try again.")
    spool.flush()
    return size, {name: each.hexdigest() for name, each in sums.items()}


def _wanted_digest(on: Transport, checksum: str, request: Request) -> tuple[str, str]:
    """The algorithm and the digest; an address instead of a digest leads to a list of them."""
    from urllib.parse import urlsplit

    from .http import Request, answered

    algorithm, colon, digest = checksum.partition(":")
    if not colon or algorithm not in hashlib.algorithms_available:
        raise StepError(f"{checksum!r} is not a checksum", remedy="Write algorithm:digest, as in sha256:0a1b….")
    if "://" not in digest:
        return algorithm, digest.strip().lower()
    name = posixpath.basename(urlsplit(request.url).path)
    with answered(on, Request(digest, headers=request.headers, timeout=request.timeout, follow="all",
                              validate_certs=request.validate_certs, ca_path=request.ca_path)) as answer:  # fmt: skip
        lines = [line.split() for line in _read(answer, digest).decode("utf-8", "replace").splitlines()]
    for words in lines:
        if len(words) == 1 and len(lines) == 1:
            return algorithm, words[0].lower()
        if len(words) == 2 and posixpath.basename(words[1].lstrip("*")) == name:
            return algorithm, words[0].lower()
    raise StepError(f"{digest} has no checksum for {name}", remedy="Check the address of the list of checksums.")


def _digest(on: Transport, path: str, wanted: tuple[str, str]) -> str:
    return hashlib.new(wanted[0], on.read(path)).hexdigest()
