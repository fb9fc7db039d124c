"""A folder with all that is below it, brought to a host in few questions: what is there, what of it is the same,
and one stream of what is not."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from itertools import accumulate

from msgspec import Struct

from ...errors import StepError
from ...model import Command, Diff, Outcome, changed, ok
from ...transport.base import Item, Stat, Transport, could_hold
from ...transport.faults import demand_replaceable
from .modes import parse_mode
from .placing import SHOWN, Attributes, Manner, content_diff, described, place, settle_all
from .sources import Entry, Source

AT_ONCE = 32 * 2**20  # bytes of former contents that are read in one go


class _Part(Struct, frozen=True):
    """One entry of the folder: where it goes, what is there, and what its attributes shall be."""

    entry: Entry
    path: str
    there: Stat | None
    asked: Attributes

    @property
    def item(self) -> Item:
        if self.entry.kind == "directory":
            before, content = 0o755, None
        else:
            before, content = self.there.mode if self.there and self.there.kind == "file" else 0o644, self.entry.content
        mode = before if self.asked.mode is None else parse_mode(self.asked.mode, before, content is None)
        return Item(self.path, content, mode)


def bring_tree(
    on: Transport, source: Source, root: str, asked: Attributes, folders: Attributes, manner: Manner
) -> Outcome:
    """What the folder holds, put below `root`; `folders`: the attributes of directories. Raises as `place` does."""
    parts = _parts(on, source, root, asked, folders)
    diffs: list[Diff] = []
    altered = _bring_files(on, [part for part in parts if part.entry.kind != "link"], manner, diffs)
    for part in parts:
        if part.entry.kind == "link":
            altered |= _bring_link(on, part, diffs)
    values = {"dest": root, "path": root, "src": source.path, **described(on.stat(root))}
    return (changed if altered else ok)(values, diffs=tuple(diffs))


def _parts(on: Transport, source: Source, root: str, asked: Attributes, folders: Attributes) -> list[_Part]:
    entries = (Entry("", "directory", 0o755), *source.entries)
    paths = [posixpath.join(root, entry.name) if entry.name else root for entry in entries]
    return [
        _Part(entry, path, there, folders if entry.kind == "directory" else asked.preserving(entry.mode))
        for entry, path, there in zip(entries, paths, on.look(paths), strict=True)
    ]


def _bring_files(on: Transport, parts: Sequence[_Part], manner: Manner, diffs: list[Diff]) -> bool:
    """The directories and files: whether something changed."""
    likely = [part.item for part in parts if could_hold(part.there, part.item)]
    same = {item.path for item, held in zip(likely, on.holds(likely), strict=True) if held}
    there: list[tuple[str, Attributes, Stat]] = []
    new: list[_Part] = []
    one_by_one: list[_Part] = []
    for part in parts:
        if part.there is not None and (part.path in same or part.entry.kind == "directory"):
            there.append((part.path, part.asked, _found(on, part, part.there)))
        elif part.there is None or part.there.kind == "directory" or manner.force:
            demand_replaceable(part.path, part.there)  # before any part is brought
            with_care = part.entry.kind == "file" and (manner.validate is not None or (manner.backup and part.there))
            (one_by_one if with_care else new).append(part)
    altered, differences = settle_all(on, there)
    diffs += (*differences, *_told(on, new))
    on.bring([part.item for part in new])
    if _owned(new):
        brought = zip(new, on.look([part.path for part in new]), strict=True)
        settle_all(on, [(part.path, part.asked, stat) for part, stat in brought if stat is not None])
    for part in one_by_one:
        placed = place(on, part.path, part.entry.content, part.asked, backup=manner.backup, validate=manner.validate)
        diffs += () if part.entry.secret else placed.diffs
    return altered or bool(new or one_by_one)


def _owned(parts: Sequence[_Part]) -> bool:
    """Whether they are to have an owner or a group, which bringing them does not give."""
    return any(part.asked.owner is not None or part.asked.group is not None for part in parts)


def _found(on: Transport, part: _Part, there: Stat) -> Stat:
    """What is there; of a link to a directory, which is one too, what it leads to."""
    if part.entry.kind != "directory" or there.kind == "directory":
        return there
    on.mkdir(part.path)
    return on.stat(part.path, follow=True) or there


def _told(on: Transport, parts: Sequence[_Part]) -> list[Diff]:
    """What bringing them changes."""
    old = {part.path: part.there for part in parts if part.there is not None and part.there.kind == "file"}
    read = _reading(on, [stat for stat in old.values() if stat.size <= SHOWN])
    diffs = []
    for part in parts:
        if part.entry.kind == "directory":
            diffs.append(Diff(part.path, "", "(directory)\n"))
        elif not part.entry.secret:
            diffs.append(content_diff(read, part.path, old.get(part.path), part.entry.content))
    return diffs


def _reading(on: Transport, files: Sequence[Stat]) -> Callable[[str], bytes]:
    """How their contents are read: all at once, where they are several and did not change meanwhile."""
    total = sum(file.size for file in files)
    if len(files) < 2 or on.dry or total > AT_ONCE:
        return on.read
    names = b"".join(file.path.encode("utf-8", "surrogateescape") + b"\0" for file in files)
    said = on.run(Command(("xargs", "-0", "cat", "--"), stdin=names, changes=False))
    if not said.ok or len(said.stdout) != total:
        return on.read
    ends = accumulate(file.size for file in files)
    contents = {file.path: said.stdout[end - file.size : end] for file, end in zip(files, ends, strict=True)}
    return lambda path: contents[path] if path in contents else on.read(path)


def _bring_link(on: Transport, part: _Part, diffs: list[Diff]) -> bool:
    target, there = part.entry.read().decode(), part.there
    if there is not None and there.kind == "link" and there.target == target:
        return False
    if there is not None and there.kind in ("directory", "other"):
        why = f"a {there.noun} is there"
        raise StepError(f"cannot make the link {part.path}: {why}", remedy=f"Remove {part.path} first.")
    on.symlink(target, part.path)
    before = "" if there is None else f"({there.kind}) {there.target}\n"
    diffs.append(Diff(part.path, before, f"(link) {target}\n"))
    return True
