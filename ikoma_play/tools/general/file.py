"""The tool file: that something is there or not, what kind it is, and its attributes."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct

from ...errors import NotFound, Refused, StepError
from ...model import Access, Command, Diff, Outcome, changed, ok
from ...tool import tool
from ...transport.base import Stat, Transport
from . import undoing
from .placing import Attributes, Mode, demand_parent, described, host_path, settle, settle_all

State = Literal["absent", "directory", "file", "hard", "link", "touch"]


class Wanted(Struct, frozen=True):
    """What is asked for at `path`."""

    path: str
    attributes: Attributes
    src: str | None = None
    recurse: bool = False
    force: bool = False
    follow: bool = True
    modification_time: str | None = None
    access_time: str | None = None


@tool("file", access=Access.ADMIN, changes=True, undo=undoing.FILE, aliases={"dest": "path", "name": "path"})
def file(
    on: Transport,
    *,
    path: str,
    state: State | None = None,
    src: str | None = None,
    mode: Mode = None,
    owner: str | None = None,
    group: str | None = None,
    recurse: bool = False,
    force: bool = False,
    follow: bool = True,
    modification_time: str | None = None,
    access_time: str | None = None,
) -> Outcome:
    """Make or remove files, directories and links, and set their attributes.

    path: what this is about
    state: absent (also whole trees), directory (with its parents), file (must be there), link, hard, touch
    src: what a link leads to
    mode: "0644", or "u=rw,g=r,o="
    owner: a user's name or number
    group: a group's name or number
    recurse: set the attributes of everything in the directory too
    force: make links to what is not there, and replace files by links
    follow: set the attributes of what a link leads to
    modification_time: for touch: preserve, now, or a time as 202601312359.59
    access_time: for touch: preserve, now, or a time as 202601312359.59
    """
    path = host_path(on, path)
    path = path.rstrip("/") or "/"
    there = on.stat(path)
    if state is None:
        state = _state_of(on, path, there, recurse, src)
    if src is not None and state not in ("link", "hard"):
        raise StepError(f"src is for links, not for state {state}", remedy="Say state: link, or leave src out.")
    if recurse and state != "directory":
        raise StepError(f"recurse is for directories, not for state {state}", remedy="Say state: directory.")
    asked = Attributes(mode, owner, group)
    wanted = Wanted(path, asked, src, recurse, force, follow, modification_time, access_time)
    altered, diffs = STATES[state](on, wanted, there)
    values: dict[str, Any] = {"path": path, "dest": path, **described(on.stat(path))}
    if state == "hard":
        values["state"] = "hard"
    if src is not None:
        values["src"] = src
    return (changed if altered else ok)(values, diffs=diffs)


def _state_of(on: Transport, path: str, there: Stat | None, recurse: bool, src: str | None) -> State:
    """The state that a step means which names none: what is there."""
    if recurse:
        return "directory"
    if there is not None and there.kind == "directory":
        return "directory"
    if src is not None and there is not None and there.kind == "link":
        return "link"
    return "file"


def _absent(on: Transport, wanted: Wanted, there: Stat | None) -> tuple[bool, tuple[Diff, ...]]:
    if there is None:
        return False, ()
    if wanted.path == "/":
        raise Refused("file does not remove /", remedy="Name what is to go.")
    on.remove(wanted.path)
    return True, (Diff(wanted.path, f"({there.kind})\n", ""),)


def _file(on: Transport, wanted: Wanted, there: Stat | None) -> tuple[bool, tuple[Diff, ...]]:
    real = on.stat(wanted.path, follow=True) if wanted.follow else there
    if real is None:
        raise NotFound(
            f"{wanted.path} is not there", remedy="Say what it shall be: state: touch, directory or link, or use copy."
        )
    if real.kind == "directory" and there is not None and there.kind == "directory":
        raise StepError(f"{wanted.path} is a directory, not a file", remedy="Say state: directory.")
    return settle(on, wanted.path, wanted.attributes, wanted.follow)


def _directory(on: Transport, wanted: Wanted, there: Stat | None) -> tuple[bool, tuple[Diff, ...]]:
    real = on.stat(wanted.path, follow=True)
    if real is not None and real.kind != "directory":
        raise StepError(f"{wanted.path} is a {real.noun}, not a directory", remedy="Remove it first, or name another.")
    if real is None and there is not None:
        raise StepError(f"{wanted.path} is a link that leads nowhere", remedy="Remove it first.")
    altered, diffs = False, []
    if real is None:
        for folder in _missing(on, wanted.path):
            on.mkdir(folder)
            settle(on, folder, wanted.attributes)
            diffs.append(Diff(folder, "", "(directory)\n"))
        altered = True
    else:
        altered, differences = settle(on, wanted.path, wanted.attributes, wanted.follow)
        diffs += differences
    if wanted.recurse:
        below = on.scan(wanted.path, recurse=True)
        settled, differences = settle_all(on, [(entry.path, wanted.attributes, entry) for entry in below])
        altered |= settled
        diffs += differences
    return altered, tuple(diffs)


def _missing(on: Transport, path: str) -> list[str]:
    """The directories to be made for `path`, outermost first."""
    missing: list[str] = []
    while path and path != "/" and on.stat(path, follow=True) is None:
        missing.insert(0, path)
        path = posixpath.dirname(path)
    return missing


def _link(on: Transport, wanted: Wanted, there: Stat | None) -> tuple[bool, tuple[Diff, ...]]:
    if wanted.src is None:
        if there is None or there.kind != "link":
            raise StepError(f"the link {wanted.path} needs src", remedy="Say what it leads to: src: …")
        return settle(on, wanted.path, Attributes(None, wanted.attributes.owner, wanted.attributes.group), follow=False)
    src = host_path(on, wanted.src)
    leads_to = posixpath.join(posixpath.dirname(wanted.path), src)
    if not wanted.force and on.stat(leads_to, follow=True) is None:
        raise NotFound(f"the link {wanted.path} would lead nowhere: {leads_to} is not there", remedy="Say force: true.")
    owned = Attributes(None, wanted.attributes.owner, wanted.attributes.group)
    if there is not None and there.kind == "link" and there.target == src:
        return _with_target_mode(on, wanted, settle(on, wanted.path, owned, follow=False))
    if there is not None and there.kind != "link":
        _make_room(on, wanted, there)
    demand_parent(on, wanted.path)
    on.symlink(src, wanted.path)
    settle(on, wanted.path, owned, follow=False)
    before = "" if there is None else f"({there.kind}) {there.target}".rstrip() + "\n"
    _with_target_mode(on, wanted, (True, ()))
    return True, (Diff(wanted.path, before, f"(link) {src}\n"),)


def _with_target_mode(
    on: Transport, wanted: Wanted, so_far: tuple[bool, tuple[Diff, ...]]
) -> tuple[bool, tuple[Diff, ...]]:
    """A link has no mode of its own: with follow, the mode is that of what it leads to."""
    real = on.stat(wanted.path, follow=True)
    if not wanted.follow or wanted.attributes.mode is None or real is None:
        return so_far
    settled, diffs = settle(on, wanted.path, Attributes(wanted.attributes.mode), follow=True)
    return so_far[0] or settled, so_far[1] + diffs


def _make_room(on: Transport, wanted: Wanted, there: Stat) -> None:
    """Before a link takes the place of something else: only when told so, never for what holds something."""
    if not wanted.force:
        raise Refused(
            f"{wanted.path} is a {there.noun}, not a link", remedy="Say force: true to replace it, or remove it first."
        )
    if there.kind == "directory":
        if on.scan(wanted.path):
            raise Refused(f"the directory {wanted.path} is not empty", remedy="Remove it first, or name another path.")
        on.remove(wanted.path)


def _hard(on: Transport, wanted: Wanted, there: Stat | None) -> tuple[bool, tuple[Diff, ...]]:
    if wanted.src is None:
        raise StepError(f"the hard link {wanted.path} needs src", remedy="Say what it is a link to: src: …")
    src = host_path(on, wanted.src)
    if on.stat(src) is None:
        raise NotFound(f"{src} is not there, so that nothing can link to it", remedy="Check src.")
    if there is not None:
        if on.run(Command(("test", src, "-ef", wanted.path), changes=False)).ok and there.kind != "link":
            return settle(on, wanted.path, wanted.attributes)
        if there.kind == "directory" or not (wanted.force or there.kind == "link"):
            raise Refused(f"{wanted.path} is a {there.noun}, another one than {src}", remedy="Say force: true.")
    demand_parent(on, wanted.path)
    on.demand(Command(("ln", "-f", "--", src, wanted.path)))
    if not on.dry:
        settle(on, wanted.path, wanted.attributes)
    return True, (Diff(wanted.path, "" if there is None else f"({there.kind})\n", f"(hard link) {src}\n"),)


def _touch(on: Transport, wanted: Wanted, there: Stat | None) -> tuple[bool, tuple[Diff, ...]]:
    if there is None:
        demand_parent(on, wanted.path)
        on.write(wanted.path, b"")
    times = {"-m": wanted.modification_time, "-a": wanted.access_time}
    settled, diffs = settle(on, wanted.path, wanted.attributes, wanted.follow)
    for flag, time in times.items():
        # A file that was just made has the time that is asked for; so has one that keeps its own.
        if time == "preserve" or (there is None and time in (None, "now")):
            continue
        when = () if time in (None, "now") else ("-t", str(time))
        on.demand(Command(("touch", flag, *when, "--", wanted.path)), f"cannot set the times of {wanted.path}")
    if there is None:
        return True, (Diff(wanted.path, "", "(file, empty)\n"),)
    return settled or any(time != "preserve" for time in times.values()), diffs


STATES: dict[str, Callable[[Transport, Wanted, Stat | None], tuple[bool, tuple[Diff, ...]]]] = {
    "absent": _absent,
    "file": _file,
    "directory": _directory,
    "link": _link,
    "hard": _hard,
    "touch": _touch,
}
