"""Tools that change parts of a text file of the host: lineinfile, blockinfile, replace."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from msgspec import Struct

from ...errors import NotFound, StepError
from ...model import Access, Outcome, changed, ok
from ...tool import tool
from ...transport.base import Transport
from . import undoing
from .placing import Attributes, Mode, described, host_path, place, read_if_there, resolved, settle

State = Literal["present", "absent"]


class Place(Struct, frozen=True):
    """Where new lines go that replace none: after or before the lines that a pattern finds, or an end."""

    after: str | None
    before: str | None
    first: bool = False

    def index(self, lines: list[str]) -> int:
        """The line that the new ones come before; the end where nothing is said or found."""
        if self.before == "BOF" or self.after == "BOF":
            return 0
        text = self.before if self.before is not None else self.after
        if text is None or text == "EOF":
            return len(lines)
        pattern = regular(text)
        found = [number for number, line in enumerate(lines) if pattern.search(line)]
        if not found:
            return len(lines)
        number = found[0] if self.first else found[-1]
        return number if self.before is not None else number + 1


class Edit(Struct, frozen=True):
    """How the edited file is written back."""

    path: str
    attributes: Attributes
    backup: bool
    validate: str | None
    create: bool = False
    encoding: str = "utf-8"


@tool("lineinfile", access=Access.ADMIN, changes=True, undo=undoing.LINES, aliases={
    "dest": "path", "destfile": "path", "name": "path", "regex": "regexp", "value": "line",
})  # fmt: skip
def lineinfile(
    on: Transport,
    *,
    path: str,
    line: str | None = None,
    regexp: str | None = None,
    search_string: str | None = None,
    state: State = "present",
    backrefs: bool = False,
    insertafter: str | None = None,
    insertbefore: str | None = None,
    firstmatch: bool = False,
    create: bool = False,
    backup: bool = False,
    validate: str | None = None,
    mode: Mode = None,
    owner: str | None = None,
    group: str | None = None,
    encoding: str = "utf-8",
) -> Outcome:
    r"""See to it that a line is in a text file, or is not.

    path: the file
    line: the line; for absent, the lines that are exactly this
    regexp: the line to replace (the last that it finds), or the lines to remove
    search_string: the same, as plain text
    state: present or absent
    backrefs: line holds \1 and \g<name> from regexp; nothing happens where regexp finds nothing
    insertafter: a regular expression for the line that a new one comes after, or EOF
    insertbefore: a regular expression for the line that a new one comes before, or BOF
    firstmatch: take the first line that is found, instead of the last
    create: make the file when it is not there
    backup: keep the former file beside it
    validate: a command that checks the new file, with %s for its name, before it takes its place
    mode: "0644", or "u=rw,g=r,o="
    owner: a user's name or number
    group: a group's name or number
    encoding: the encoding of the file
    """
    if regexp is not None and search_string is not None:
        raise StepError("lineinfile takes regexp or search_string, not both", remedy="Leave one of them out.")
    if insertafter is not None and insertbefore is not None:
        raise StepError("lineinfile takes insertafter or insertbefore, not both", remedy="Leave one of them out.")
    edit = Edit(path, Attributes(mode, owner, group), backup, validate, create, encoding)
    finds = _finder(regexp, search_string)
    if state == "absent":
        if line is None and finds is None:
            raise StepError("lineinfile needs line, regexp or search_string to remove something")
        return _without(on, edit, finds or (lambda each: each == line))
    if line is None:
        raise StepError("lineinfile needs the line that shall be present", remedy="Say which: line: …")
    if backrefs and regexp is None:
        raise StepError("backrefs needs regexp", remedy="Say what to look for: regexp: …")

    def edited(text: str) -> tuple[str, str]:
        lines, ends = _split(text)
        there = [number for number, each in enumerate(lines) if finds is not None and finds(each)]
        if there:
            number = there[0] if firstmatch else there[-1]
            new = _expanded(regular(regexp).search(lines[number]), line) if backrefs and regexp else line
            if lines[number] == new:
                return text, ""
            lines[number] = new
            return _joined(lines, ends), "line replaced"
        if backrefs or line in lines:
            return text, ""
        at = Place(insertafter, insertbefore, firstmatch).index(lines)
        lines.insert(at, line)
        ends.insert(at, _newline(ends))
        return _joined(lines, ends), "line added"

    return rewrite(on, edit, edited)


@tool("blockinfile", access=Access.ADMIN, changes=True, undo=undoing.LINES, aliases={
    "dest": "path", "destfile": "path", "name": "path", "content": "block",
})  # fmt: skip
def blockinfile(
    on: Transport,
    *,
    path: str,
    block: str = "",
    state: State = "present",
    marker: str = "# {mark} ANSIBLE MANAGED BLOCK",
    marker_begin: str = "BEGIN",
    marker_end: str = "END",
    insertafter: str | None = None,
    insertbefore: str | None = None,
    append_newline: bool = False,
    prepend_newline: bool = False,
    create: bool = False,
    backup: bool = False,
    validate: str | None = None,
    mode: Mode = None,
    owner: str | None = None,
    group: str | None = None,
    encoding: str = "utf-8",
) -> Outcome:
    """See to it that lines between two marking lines are in a text file, or are not.

    path: the file
    block: the lines; an empty block is removed
    state: present or absent
    marker: the marking lines, {mark} stands for marker_begin and marker_end
    marker_begin: what {mark} is in the first
    marker_end: what {mark} is in the last
    insertafter: a regular expression for the line that a new block comes after, or EOF
    insertbefore: a regular expression for the line that a new block comes before, or BOF
    append_newline: an empty line after the block
    prepend_newline: an empty line before the block
    create: make the file when it is not there
    backup: keep the former file beside it
    validate: a command that checks the new file, with %s for its name, before it takes its place
    mode: "0644", or "u=rw,g=r,o="
    owner: a user's name or number
    group: a group's name or number
    encoding: the encoding of the file
    """
    if insertafter is not None and insertbefore is not None:
        raise StepError("blockinfile takes insertafter or insertbefore, not both", remedy="Leave one of them out.")
    edit = Edit(path, Attributes(mode, owner, group), backup, validate, create, encoding)
    first, last = marker.replace("{mark}", marker_begin), marker.replace("{mark}", marker_end)
    if "{mark}" not in marker or first == last:
        raise StepError("the two markers of blockinfile must differ", remedy="Put {mark} into marker.")
    wanted = [first, *block.rstrip("\n").split("\n"), last] if block.strip("\n") and state == "present" else []

    def edited(text: str) -> tuple[str, str]:
        lines, _ = _split(text)
        at, until = _marked(lines, first, last)
        if at is None:
            at = until = Place(insertafter, insertbefore).index(lines)
        new = list(wanted)
        if wanted and prepend_newline and at > 0 and lines[at - 1] != "":
            new.insert(0, "")
        if wanted and append_newline and until < len(lines) and lines[until] != "":
            new.append("")
        if lines[at:until] == new:
            return text, ""
        said = "block removed" if not wanted else "block inserted" if at == until else "block updated"
        lines[at:until] = new
        newline = "\r\n" if "\r\n" in text else "\n"
        # A file without a newline at its end keeps it so, unless the block is now its end.
        ended = text.endswith("\n") or not text or (bool(wanted) and at + len(new) == len(lines))
        return newline.join(lines) + (newline if ended and lines else ""), said

    if not wanted and read_if_there(on, resolved(on, host_path(on, path))) is None:
        return ok({"path": path, "msg": "the file is not there"}, message="the file is not there")
    return rewrite(on, edit, edited)


def _finds_nothing_again(arguments: Mapping[str, Any]) -> bool:
    """Whether what comes in is surely none of what is looked for."""
    into = str(arguments.get("replace", ""))
    try:
        return "\\" not in into and not re.search(str(arguments["regexp"]), into, re.MULTILINE)
    except (KeyError, re.error):
        return False


@tool(
    "replace",
    access=Access.ADMIN,
    changes=True,
    repeatable=_finds_nothing_again,
    undo=undoing.LINES,
    aliases={"dest": "path", "destfile": "path", "name": "path"},
)
def replace(
    on: Transport,
    *,
    path: str,
    regexp: str,
    replace: str = "",
    after: str | None = None,
    before: str | None = None,
    backup: bool = False,
    validate: str | None = None,
    mode: Mode = None,
    owner: str | None = None,
    group: str | None = None,
    encoding: str = "utf-8",
) -> Outcome:
    r"""Replace every place that a regular expression finds in a text file.

    path: the file
    regexp: what to look for; ^ and $ are the ends of lines
    replace: what comes in its place, with \1 and \g<name>; nothing when left out
    after: only behind what this regular expression finds
    before: only ahead of what this regular expression finds
    backup: keep the former file beside it
    validate: a command that checks the new file, with %s for its name, before it takes its place
    mode: "0644", or "u=rw,g=r,o="
    owner: a user's name or number
    group: a group's name or number
    encoding: the encoding of the file
    """
    pattern = regular(regexp, re.MULTILINE)
    edit = Edit(path, Attributes(mode, owner, group), backup, validate, False, encoding)

    def edited(text: str) -> tuple[str, str]:
        start, end = _section(text, after, before)
        if start is None:
            return text, ""
        try:
            part, count = pattern.subn(replace, text[start:end])
        except (re.error, IndexError) as error:
            raise StepError(f"replace {replace!r} does not fit regexp {regexp!r}: {error}") from None
        new = text[:start] + part + text[end:]
        return new, f"{count} replacements made" if new != text else ""

    return rewrite(on, edit, edited)


# --- how -------------------------------------------------------------------------------------------


def rewrite(on: Transport, edit: Edit, edited: Callable[[str], tuple[str, str]]) -> Outcome:
    """Let `edited` make the file's new text and say what it did; links are followed to the file."""
    path = resolved(on, host_path(on, edit.path))
    there = on.stat(path)
    if there is not None and there.kind == "directory":
        raise StepError(f"{path} is a directory", remedy="Name a file.")
    if there is None and not edit.create:
        raise NotFound(f"{path} is not there", remedy="Check path, or say create: true.")
    content = b"" if there is None else on.read(path)
    try:
        text = content.decode(edit.encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise StepError(f"{path} is not text in {edit.encoding}: {error}", remedy="Say its encoding.") from None
    new, said = edited(text)
    if there is not None and new == text:
        altered, diffs = settle(on, path, edit.attributes)
        values: dict[str, Any] = {"path": path, "msg": "", **described(on.stat(path))}
        return (changed if altered else ok)(values, diffs=diffs)
    placed = place(on, path, new.encode(edit.encoding), edit.attributes, backup=edit.backup, validate=edit.validate)
    values = {"path": path, "msg": said, "backup": placed.backup, **placed.extra, **described(on.stat(path))}
    return changed(values, message=said, diffs=placed.diffs)


def regular(text: str | None, flags: int = 0) -> re.Pattern[str]:
    try:
        return re.compile(text or "", flags)
    except re.error as error:
        raise StepError(
            f"{text!r} is not a regular expression: {error}", remedy="Escape what is meant as it is."
        ) from None


def _finder(regexp: str | None, search: str | None) -> Callable[[str], bool] | None:
    if regexp is not None:
        pattern = regular(regexp)
        return lambda line: pattern.search(line) is not None
    if search is not None:
        return lambda line: search in line
    return None


def _without(on: Transport, edit: Edit, goes: Callable[[str], bool]) -> Outcome:
    if read_if_there(on, resolved(on, host_path(on, edit.path))) is None:
        return ok({"path": edit.path, "found": 0, "msg": "file not present"}, message="the file is not there")
    removed = 0

    def edited(text: str) -> tuple[str, str]:
        nonlocal removed
        lines, ends = _split(text)
        kept = [(line, end) for line, end in zip(lines, ends, strict=True) if not goes(line)]
        removed = len(lines) - len(kept)
        return "".join(line + end for line, end in kept), f"{removed} line(s) removed" if removed else ""

    outcome = rewrite(on, edit, edited)
    outcome.result["found"] = removed
    return outcome


def _split(text: str) -> tuple[list[str], list[str]]:
    """Lines without their ends, and the ends; only line feeds end lines."""
    parts = text.split("\n")
    lines = parts[:-1] if parts[-1] == "" else parts
    ends = ["\n"] * (len(parts) - 1) + [""] * (len(lines) - len(parts) + 1)
    for number, line in enumerate(lines):
        if line.endswith("\r") and ends[number]:
            lines[number], ends[number] = line[:-1], "\r\n"
    return lines, ends


def _joined(lines: list[str], ends: list[str]) -> str:
    """The text; every line but the last has an end."""
    newline = _newline(ends)
    return "".join(
        line + (end or (newline if number < len(lines) - 1 else ""))
        for number, (line, end) in enumerate(zip(lines, ends, strict=True))
    )


def _newline(ends: list[str]) -> str:
    return "\r\n" if "\r\n" in ends else "\n"


def _expanded(found: re.Match[str] | None, line: str) -> str:
    assert found is not None
    try:
        return found.expand(line)
    except (re.error, IndexError) as error:
        raise StepError(f"line {line!r} does not fit regexp: {error}", remedy="Check the numbers behind \\.") from None


def _marked(lines: list[str], first: str, last: str) -> tuple[int | None, int]:
    """Where the marked block begins and ends: the last pair of markers."""
    ends = [number for number, line in enumerate(lines) if line == last]
    starts = [number for number, line in enumerate(lines) if line == first]
    if not starts or not ends:
        return None, 0
    start = starts[-1]
    end = next((number for number in ends if number > start), None)
    if end is None:
        return None, 0
    return start, end + 1


def _section(text: str, after: str | None, before: str | None) -> tuple[int | None, int]:
    """The part of the text that is looked at; None where its ends are not found."""
    start, end = 0, len(text)
    if after is not None:
        found = regular(after, re.DOTALL).search(text)
        if found is None:
            return None, 0
        start = found.end()
    if before is not None:
        found = regular(before, re.DOTALL).search(text, start)
        if found is None:
            return None, 0
        end = found.start()
    return start, end
