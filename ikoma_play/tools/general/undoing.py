"""How what the tools for files change is undone: what was there is kept, for its owner only, and put back.

    ~/.ikoma/kept/RUN/NUMBER/    copies by number, on the host and of the user that the step had

Of what only gets other attributes these alone are kept. A directory that was made goes when it is empty. Where a run
that had ended well is undone, what is there now stays beside as NAME.bak.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from typing import Any

from ...errors import NotFound, Refused, StepError, last_lines
from ...model import Command, Outcome, changed
from ...platform.kept import expire
from ...tool import Record, Undo, Undoing
from ...transport.base import Transport
from .placing import host_path, resolved

FOLDER = "~/.ikoma/kept"
Kept = tuple[str, str]
"""How something is kept, and its path: `content` as a copy, `removed` as a link where that will do, `attributes`,
`times` (these with the times) and `recursive` (of all in it) without its content; `folder`: it may be made."""

# Prints for each path what it was, and the uppermost directory that was missing with it.
_KEEP = r"""place=$1; shift; number=0
umask 077
mkdir -p -- "$place" || exit 1
while [ $# -gt 0 ]; do
  how=$1 path=$2; shift 2; number=$((number + 1)); copy=$place/$number
  if [ ! -e "$path" ] && [ ! -L "$path" ]; then
    top=$path; up=$(dirname -- "$path")
    while [ ! -e "$up" ]; do top=$up; up=$(dirname -- "$up"); done
    printf 'absent\0%s\0' "$top"; continue
  fi
  case $how in
    content) cp -a -- "$path" "$copy" ;;
    removed) cp -al -- "$path" "$copy" 2>/dev/null || { rm -rf -- "$copy" && cp -a -- "$path" "$copy"; } ;;
    times) find "$path" -maxdepth 0 -printf '%m\0%U:%G\0@%A@\0@%T@\0%p\0' > "$copy" ;;
    recursive) find "$path" -printf '%m\0%U:%G\0\0\0%p\0' > "$copy" ;;
    *) find "$path" -maxdepth 0 -printf '%m\0%U:%G\0\0\0%p\0' > "$copy" ;;
  esac || exit 1
  printf 'there\0\0'
done"""
_PUT_BACK = r"""late=$1 place=$2; shift 2
away() {
  if [ ! -e "$1" ] && [ ! -L "$1" ]; then return; fi
  if [ -z "$late" ]; then rm -rf -- "$1"; else rm -rf -- "$1.bak" && mv -T -- "$1" "$1.bak"; fi
}
while [ $# -gt 0 ]; do
  how=$1 was=$2 copy=$place/$3 path=$4 top=$5; shift 5
  if [ "$was" = absent ]; then
    up=$path
    if [ "$how" = folder ] || [ "$how" = recursive ]; then :; else away "$path" || exit 1; up=$(dirname -- "$path"); fi
    while [ "${#up}" -ge "${#top}" ]; do rmdir -- "$up" 2>/dev/null || break; up=$(dirname -- "$up"); done
    continue
  fi
  if [ ! -e "$copy" ] && [ ! -L "$copy" ]; then echo "$copy is gone" >&2; exit 3; fi
  case $how in
    content|removed)
      if [ -n "$late" ] && diff -rq --no-dereference -- "$copy" "$path" >/dev/null 2>&1; then rm -rf -- "$path"; fi
      rm -rf -- "$path.undo" && mkdir -p -- "$(dirname -- "$path")" && cp -a -- "$copy" "$path.undo" || exit 1
      if [ -n "$late" ] || { [ -d "$path" ] && [ ! -L "$path" ]; }; then away "$path" || exit 1; fi
      mv -fT -- "$path.undo" "$path" || exit 1 ;;
    *)
      xargs -0 -r -n 5 sh -c '
        [ -e "$5" ] || [ -L "$5" ] || exit 0
        chown -h -- "$2" "$5" || exit 1
        [ -L "$5" ] || chmod -- "$1" "$5" || exit 1
        [ -z "$3" ] || { touch -a -d "$3" -- "$5" && touch -m -d "$4" -- "$5"; }' sh < "$copy" || exit 1 ;;
  esac
done"""
_DROP = r"""rm -rf -- "$1" || exit 1
shift; for folder do rmdir -- "$folder" 2>/dev/null || exit 0; done"""


def _undo(says: str, about: Callable[..., Sequence[Kept]]) -> Undo:
    """`about(on, **arguments)` names what the tool may change."""

    def capture(on: Transport, at: str, **arguments: Any) -> dict[str, Any]:
        kept = _intend(on, at)
        paths = about(on, **arguments)
        result = on.run(_script(_KEEP, kept["place"], *(word for each in paths for word in each)))
        if not result.ok:
            _forget(on, kept)
            raise StepError(
                f"what would be changed cannot be kept in {kept['place']} for its undoing; nothing was changed",
                remedy="See what is said, often the disk is full.",
                evidence=last_lines(result),
            )
        told = result.stdout.decode("utf-8", "surrogateescape").split("\0")
        return {**kept, "paths": [[*each, *told[2 * n : 2 * n + 2]] for n, each in enumerate(paths)]}

    return Undo(says, _intend, capture, _revert, None, _forget, expire)


def _intend(on: Transport, at: str, **arguments: Any) -> dict[str, Any]:
    return {"place": posixpath.join(host_path(on, FOLDER), at)}


def _revert(on: Transport, record: Record, undoing: Undoing) -> Outcome:
    words = [
        word
        for number, (how, path, was, top) in enumerate(record["paths"], 1)
        for word in (how, was, str(number), path, top)
    ]
    result = on.run(_script(_PUT_BACK, "late" if undoing.late else "", str(record["place"]), *words))
    if result.exit_code == 3:
        raise NotFound(
            f"what was kept in {record['place']} is gone, so it cannot be put back", remedy="Put it back by hand."
        )
    if not result.ok:
        raise StepError(
            f"what was there before cannot be put back; it is kept in {record['place']}",
            remedy="With the cause mended: ikoma-play runs rollback",
            evidence=last_lines(result),
        )
    return changed(None, f"{', '.join(path for _, path, _, _ in record['paths'])} as before")


def _forget(on: Transport, record: Record) -> None:
    own = str(record["place"])
    run = posixpath.dirname(own)
    on.demand(_script(_DROP, own, run, posixpath.dirname(run), posixpath.dirname(posixpath.dirname(run))))


def _script(text: str, *words: str) -> Command:
    return Command(("sh", "-c", text, "sh", *words), timeout=1800)


# --- what each tool may change ---


def _one(on: Transport, *, path: str, **more: Any) -> Sequence[Kept]:
    """A file, and what a link there leads to."""
    path = host_path(on, path)
    real = resolved(on, path)
    return [("content", each) for each in dict.fromkeys((path, real))]


def _copied(on: Transport, *, dest: str, src: str | None = None, **more: Any) -> Sequence[Kept]:
    dest = host_path(on, dest)
    there = on.stat(dest, follow=True)
    into = there is not None and there.kind == "directory"
    if src is None or not (into or dest.endswith("/")):
        return _one(on, path=dest)
    if into and src.endswith("/"):
        raise Refused(
            f"what is copied from {src} into {dest} cannot be undone by itself, since other things are there too; "
            "nothing was changed",
            remedy="List the steps that undo it under rollback.",
        )
    if src.endswith("/"):
        return [("content", dest.rstrip("/"))]
    return _one(on, path=posixpath.join(dest, posixpath.basename(src)))


def _rendered(on: Transport, *, dest: str, src: str, **more: Any) -> Sequence[Kept]:
    dest = host_path(on, dest)
    name = posixpath.basename(src)
    if dest.endswith("/"):
        return _one(on, path=posixpath.join(dest, name.removesuffix(".j2")))
    return _copied(on, dest=dest, src=src)


def _of_file(
    on: Transport, *, path: str, state: str | None = None, recurse: bool = False, **more: Any
) -> Sequence[Kept]:
    path = host_path(on, path).rstrip("/") or "/"
    if state in ("absent", "link", "hard"):
        linked = resolved(on, path)
        return [("removed", path), *([("attributes", linked)] if linked != path and state == "link" else [])]
    how = "recursive" if recurse else {"directory": "folder", "touch": "times"}.get(state or "", "attributes")
    return [(how, path if recurse else resolved(on, path))]


LINES = _undo("the former file comes back, or it goes if there was none", _one)
COPY = _undo("the former file comes back, or it goes if there was none", _copied)
TEMPLATE = _undo("the former file comes back, or it goes if there was none", _rendered)
FILE = _undo("what was there before comes back, with its attributes", _of_file)
