"""Tools that bring content to a host: copy, template, assemble."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from pathlib import Path
from typing import Any, Literal

from msgspec.structs import replace

from ...errors import StepError
from ...model import Access, Diff, Outcome, changed, ok
from ...tool import Scope, tool
from ...transport.base import Transport
from . import undoing
from .modes import is_absolute, parse_mode
from .placing import (
    Attributes,
    Manner,
    Mode,
    Placed,
    described,
    host_path,
    place,
    resolved,
    settle,
    text_diff,
)
from .sources import on_host, on_runner
from .trees import bring_tree


@tool("copy", access=Access.ADMIN, changes=True, undo=undoing.COPY)
def copy(
    on: Transport,
    *,
    scope: Scope,
    dest: str,
    src: str | None = None,
    content: Any = None,
    mode: Mode = None,
    owner: str | None = None,
    group: str | None = None,
    directory_mode: Mode = None,
    backup: bool = False,
    force: bool = True,
    validate: str | None = None,
    remote_src: bool = False,
    follow: bool = False,
    local_follow: bool = True,
    checksum: str | None = None,
    decrypt: bool = True,
) -> Outcome:
    """Copy a file or a tree to the host, or write the content given here.

    dest: where on the host; a directory when it ends with / or is one
    src: a file or directory of the runner (of the host with remote_src); with / at its end, what is in it
    content: the file's content, instead of src; anything but text is written as JSON
    mode: "0644", "u=rw,g=r,o=", or "preserve": as the source has it
    owner: a user's name or number
    group: a group's name or number
    directory_mode: the mode of directories that are made; default as the system gives
    backup: keep what was there beside it
    force: also replace a file that is there and differs
    validate: a command that checks the new file, with %s for its name, before it takes its place
    remote_src: src is on the host
    follow: write through a link at dest, instead of replacing it
    local_follow: copy what links in src lead to, instead of links
    checksum: the SHA-1 that the source must have
    decrypt: copy what a source holds that is encrypted with a vault; false: copy it as it is
    """
    if (src is None) == (content is None):
        raise StepError("copy takes src or content, one of them", remedy="Say what to copy: copy: src: …")
    manner = Manner(backup, validate, force, follow)
    asked = Attributes(mode, owner, group)
    dest = host_path(on, dest)
    if content is not None:
        body = as_content(content)
        if (done := at_once(on, dest, body, asked, manner)) is not None:
            return done
        if dest.endswith("/") or _is_directory(on, dest):
            raise StepError(f"copy cannot write content to {dest}: it is a directory", remedy="Name a file in dest.")
        return bring(on, dest, body, asked, manner)
    assert src is not None
    if remote_src:
        source = on_host(on, src, local_follow)
    else:
        source = on_runner(scope.find("files", src), local_follow, decrypt)
    if source.folder:
        root = dest.rstrip("/") or "/"
        if not src.endswith("/"):
            root = posixpath.join(root, source.name)
        return bring_tree(on, source, root, asked, Attributes(directory_mode, owner, group), manner)
    file = source.entries[0]
    if checksum is not None and (found := hashlib.sha1(file.read()).hexdigest()) != checksum:
        raise StepError(
            f"{src} has the SHA-1 {found}, not {checksum}", remedy="Get the right file, or correct checksum."
        )
    asked = asked.preserving(file.mode)
    done = at_once(on, dest, file.content, asked, manner, source.path)
    if done is None:
        if dest.endswith("/") or _is_directory(on, dest):
            if dest.endswith("/"):
                on.mkdir(dest.rstrip("/") or "/", 0o755)
            dest = posixpath.join(dest, source.name)
        done = bring(on, dest, file.content, asked, manner, source.path)
    return _quiet(done, file.secret)


@tool("template", access=Access.ADMIN, changes=True, undo=undoing.TEMPLATE)
def template(
    on: Transport,
    *,
    scope: Scope,
    src: str,
    dest: str,
    mode: Mode = None,
    owner: str | None = None,
    group: str | None = None,
    backup: bool = False,
    force: bool = True,
    validate: str | None = None,
    follow: bool = False,
    newline_sequence: Literal["\n", "\r", "\r\n", "\\n", "\\r", "\\r\\n"] = "\n",
    trim_blocks: bool = True,
    lstrip_blocks: bool = False,
    block_start_string: str | None = None,
    block_end_string: str | None = None,
    variable_start_string: str | None = None,
    variable_end_string: str | None = None,
    comment_start_string: str | None = None,
    comment_end_string: str | None = None,
    output_encoding: str = "utf-8",
) -> Outcome:
    """Render a template of the runner to a file of the host.

    src: the template; looked for in templates/ of the role, then beside the playbook
    dest: where on the host; a directory when it ends with / or is one
    mode: "0644", "u=rw,g=r,o=", or "preserve": as the template has it
    owner: a user's name or number
    group: a group's name or number
    backup: keep what was there beside it
    force: also replace a file that is there and differs
    validate: a command that checks the new file, with %s for its name, before it takes its place
    follow: write through a link at dest, instead of replacing it
    newline_sequence: how lines end
    trim_blocks: take the newline after a block's tag away
    lstrip_blocks: take blanks before a block's tag away
    block_start_string: what a block's tag begins with, instead of {%
    block_end_string: what a block's tag ends with, instead of %}
    variable_start_string: what an expression begins with, instead of {{
    variable_end_string: what an expression ends with, instead of }}
    comment_start_string: what a comment begins with, instead of {#
    comment_end_string: what a comment ends with, instead of #}
    output_encoding: the encoding of the file
    """
    source = scope.find("templates", src)
    dest = host_path(on, dest)
    options: dict[str, Any] = {
        "newline_sequence": newline_sequence.replace("\\n", "\n").replace("\\r", "\r"),
        "trim_blocks": trim_blocks,
        "lstrip_blocks": lstrip_blocks,
    }
    delimiters = {
        "block_start_string": block_start_string,
        "block_end_string": block_end_string,
        "variable_start_string": variable_start_string,
        "variable_end_string": variable_end_string,
        "comment_start_string": comment_start_string,
        "comment_end_string": comment_end_string,
    }
    options |= {name: text for name, text in delimiters.items() if text is not None}

    def rendered(dest: str) -> bytes:
        text = scope.render_file(source, options, template_destpath=dest)
        try:
            return text.encode(output_encoding)
        except (LookupError, UnicodeEncodeError) as error:
            raise StepError(f"{source} cannot be written in {output_encoding}: {error}") from None

    asked = Attributes(mode, owner, group).preserving(source.stat().st_mode & 0o7777)
    manner = Manner(backup, validate, force, follow)
    data = None
    if on.at_once and not dest.endswith("/"):  # before it is known whether it is a directory
        data = rendered(dest)
        if (done := at_once(on, dest, data, asked, manner, str(source))) is not None:
            return done
    if dest.endswith("/") or _is_directory(on, dest):
        dest = posixpath.join(dest, source.name.removesuffix(".j2") if dest.endswith("/") else source.name)
        data = None  # which may say where it is
    return bring(on, dest, rendered(dest) if data is None else data, asked, manner, str(source))


@tool("assemble", access=Access.ADMIN, changes=True)
def assemble(
    on: Transport,
    *,
    scope: Scope,
    src: str,
    dest: str,
    delimiter: str | None = None,
    regexp: str | None = None,
    remote_src: bool = True,
    ignore_hidden: bool = False,
    mode: Mode = None,
    owner: str | None = None,
    group: str | None = None,
    backup: bool = False,
    validate: str | None = None,
    decrypt: bool = True,
) -> Outcome:
    r"""Put a file together from the files of a directory, in the order of their names.

    src: the directory with the fragments
    dest: the file that is made
    delimiter: what stands between fragments; \n is a newline
    regexp: only fragments whose names it matches
    remote_src: src is on the host; false: on the runner
    ignore_hidden: leave out names with a dot first
    mode: "0644", or "u=rw,g=r,o="
    owner: a user's name or number
    group: a group's name or number
    backup: keep what was there beside it
    validate: a command that checks the new file, with %s for its name, before it takes its place
    decrypt: take what fragments of the runner hold that are encrypted with a vault; false: take them as they are
    """
    if remote_src:
        source = on_host(on, host_path(on, src), True)
    else:
        source = on_runner(scope.find("files", src), True, decrypt)
    if not source.folder:
        raise StepError(f"{src} is not a directory", remedy="Name the directory that holds the fragments.")
    pattern = re.compile(regexp) if regexp is not None else None
    parts = [
        entry.read()
        for entry in source.entries
        if entry.kind == "file"
        and "/" not in entry.name
        and not (ignore_hidden and entry.name.startswith("."))
        and (pattern is None or pattern.search(entry.name))
    ]
    between = (delimiter or "").replace("\\n", "\n").encode()
    if between and not between.endswith(b"\n"):
        between += b"\n"
    whole = b""
    for number, part in enumerate(parts):
        if number:
            whole += (b"" if whole.endswith(b"\n") or not between else b"\n") + between
        whole += part
    attributes = Attributes(mode, owner, group)
    made = bring(on, host_path(on, dest), whole, attributes, Manner(backup, validate), src)
    return _quiet(made, any(entry.secret for entry in source.entries))


# --- One file --------------------------------------------------------------------------------------


def at_once(
    on: Transport, dest: str, content: bytes | Path, asked: Attributes, manner: Manner, src: str = ""
) -> Outcome | None:
    """One small file put in place without looking first, where what is there does not matter; None where it may."""
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    if size > on.at_once or dest.endswith("/") or manner != Manner() or not is_absolute(asked.mode):
        return None
    content = content if isinstance(content, bytes) else content.read_bytes()
    put = on.put(dest, content, None if asked.mode is None else parse_mode(asked.mode, 0))
    if put is None:
        return None
    diffs = (text_diff(dest, put.before, content),) if put.changed else ()
    other, more = settle(on, dest, asked)
    return _told(on, dest, content, Placed(put.changed or other, (*diffs, *more)), src)


def bring(on: Transport, dest: str, content: bytes | Path, asked: Attributes, manner: Manner, src: str = "") -> Outcome:
    """One file put in place, and what the tools return about it."""
    if manner.follow:
        dest = resolved(on, dest)
    if not manner.force and on.exists(dest):
        placed = Placed(False)
    else:
        placed = place(on, dest, content, asked, backup=manner.backup, validate=manner.validate)
    return _told(on, dest, content, placed, src)


def _told(on: Transport, dest: str, content: bytes | Path, placed: Placed, src: str) -> Outcome:
    values = {"dest": dest, "path": dest, "checksum": _sha1(content), **placed.extra, **described(on.stat(dest))}
    if src:
        values["src"] = src
    return (changed if placed.changed else ok)(values, diffs=placed.diffs)


def as_content(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return json.dumps(value, ensure_ascii=False).encode()


def _sha1(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha1(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha1").hexdigest()


def _is_directory(on: Transport, path: str) -> bool:
    there = on.stat(path, follow=True)
    return there is not None and there.kind == "directory"


def _quiet(outcome: Outcome, secret: bool) -> Outcome:
    """The outcome without its differences where what was copied is encrypted on the runner."""
    if not secret or not outcome.diffs:
        return outcome
    hidden = (Diff(outcome.diffs[0].label, "", "(what is encrypted on the runner)\n"),)
    return replace(outcome, diffs=hidden)
