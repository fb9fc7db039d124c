"""Former contents, kept on the host for undoing: for their owner only, and never in a record.

    {apps_root}/.ikoma/undo/APP/RUN/NUMBER/    copies by number; beside the applications, since undoing may remove
                                               an application's own directory

They are dropped when the step turned out to change nothing, or was undone. Of the runs that ended well the newest
RUNS of an application keep theirs, so that `runs rollback` can still undo them, and so do as many single calls; older
ones go when a further run or call has ended well.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import NotFound, Refused, StepError, Unavailable, last_lines
from ..model import Command, Outcome
from ..tool import CALL, Record, Undo, Undoing
from ..transport.base import Transport
from .settings import settings

RUNS = 5
FOLDER = ".ikoma/undo"

# Copies what is there of "$@", with modes, owners and times, and prints the numbers of those that were there.
_KEEP = r"""root=$1 place=$2; shift 2
made=; [ -d "$root" ] || { made=yes; mkdir -p -- "$root" || exit 1; }
umask 077
mkdir -p -- "$place" || exit 1
[ -z "$made" ] || : > "$root/.ikoma/made" || exit 1
number=0
for path do
  number=$((number + 1))
  if [ -e "$path" ] || [ -L "$path" ]; then
    cp -a -- "$path" "$place/$number" || exit 1
    echo "$number"
  fi
done"""
# Puts copies back. A directory that is there keeps its identity, since a container may have it mounted.
_PUT_BACK = r"""place=$1; shift
while [ $# -gt 0 ]; do
  was=$1 copy=$place/$2 path=$3; shift 3
  if [ "$was" = absent ]; then rm -rf -- "$path" || exit 1; continue; fi
  if [ ! -e "$copy" ] && [ ! -L "$copy" ]; then echo "$copy is gone" >&2; exit 3; fi
  mkdir -p -- "$(dirname -- "$path")" || exit 1
  if [ -d "$copy" ] && [ ! -L "$copy" ] && [ -d "$path" ] && [ ! -L "$path" ]; then
    (cd -- "$path" && find . -mindepth 1 -depth -exec sh -c '
      from=$1; shift
      for one do
        if [ ! -e "$from/$one" ] && [ ! -L "$from/$one" ]; then rm -rf -- "$one"
        elif [ -L "$one" ] || [ -L "$from/$one" ]; then rm -rf -- "$one"
        elif [ -d "$one" ] && [ ! -d "$from/$one" ]; then rm -rf -- "$one"
        elif [ ! -d "$one" ] && [ -d "$from/$one" ]; then rm -rf -- "$one"
        fi || exit 1
      done' sh "$copy" {} +) || exit 1
    cp -a -f -- "$copy/." "$path/" || exit 1
  else
    rm -rf -- "$path.undo" && cp -a -- "$copy" "$path.undo" || exit 1
    if [ -d "$path" ] && [ ! -L "$path" ]; then rm -rf -- "$path" || exit 1; fi
    mv -fT -- "$path.undo" "$path" || exit 1
  fi
done"""
# Hard links, since what is linked is replaced by others and not written into; prints the number of the copy.
_LINK = r"""cp -al -- "$1" "$2" 2>/dev/null || { rm -rf -- "$2" && cp -a -- "$1" "$2"; } || exit 1
stat -c %i -- "$2" """
# The directories that are empty then go too, the applications' own where there was none before.
_DROP = r"""rm -rf -- "$1" || exit 1
ours=$2 root=$3; shift 3
for folder do rmdir -- "$folder" 2>/dev/null || exit 0; done
made=; [ ! -e "$ours/made" ] || { made=yes; rm -f -- "$ours/made"; }
rmdir -- "$ours" 2>/dev/null || exit 0
[ -z "$made" ] || rmdir -- "$root" 2>/dev/null || exit 0"""


def undo(
    says: str,
    capture: Callable[..., dict[str, Any]],
    revert: Callable[[Transport, Record, Undoing], Outcome],
    finish: Callable[[Transport, Record, Undoing], Outcome] | None = None,
) -> Undo:
    """The way back of a tool whose record says what is kept here."""
    return Undo(says, _intend, capture, revert, finish, drop, expire)


def place(on: Transport, app: str, at: str) -> str:
    """Where a call keeps what it is about to change."""
    return posixpath.join(settings(on).apps_root, FOLDER, app, at)


def _intend(on: Transport, at: str, app_name: str, **more: object) -> dict[str, Any]:
    return record(on, app_name, at)


def record(on: Transport, app: str, at: str) -> dict[str, Any]:
    """A record to begin with; nothing is kept by it."""
    return {"app": app, "place": place(on, app, at)}


def keep(on: Transport, app: str, at: str, paths: Sequence[str], folders: Sequence[str] = ()) -> dict[str, Any]:
    """Copy files and directory trees, and note which were not there. `folders` are removed by `put_back` where they
    are absent now and empty then, the innermost first. Raises Unavailable on a full disk, StepError."""
    kept = record(on, app, at)
    kept["made"] = [folder for folder in folders if not on.exists(folder)]
    result = on.run(script(_KEEP, settings(on).apps_root, kept["place"], *paths))
    if not result.ok:
        drop(on, kept)
        said = last_lines(result)
        if "No space left" in said or "quota exceeded" in said:
            raise Unavailable(
                f"what would be changed cannot be kept for its undoing: the disk of {kept['place']} is full; "
                "nothing was changed",
                remedy="Free some disk space (df -h shows how much is left) and run this again.",
                evidence=said,
            )
        raise StepError(
            "what would be changed cannot be kept for its undoing; nothing was changed",
            remedy=f"See what is said about {kept['place']}.",
            evidence=said,
        )
    there = set(result.text.split())
    kept["files"] = [[path, str(number) in there] for number, path in enumerate(paths, 1)]
    return kept


def link(on: Transport, kept: Mapping[str, Any], path: str, name: str) -> str | None:
    """Keep a tree whose files are never written into, under a name; the inode number of the copy, None where there
    is no such tree. Nothing of the record stays where that fails: StepError."""
    if on.stat(path) is None:
        return None
    result = on.run(script(_LINK, path, posixpath.join(kept["place"], name)))
    if not result.ok:
        drop(on, kept)
        raise StepError(
            f"{path} cannot be kept for its undoing; nothing was changed",
            remedy="See what is said, often the disk is full.",
            evidence=last_lines(result),
        )
    return result.text


def script(text: str, *words: str) -> Command:
    """A script of ours with its words."""
    return Command(("sh", "-c", text, "sh", *words), timeout=1800)


def put_back(on: Transport, kept: Mapping[str, Any]) -> None:
    """Make files and trees as they were kept. Raises NotFound where the copies are gone, StepError."""
    words: list[str] = []
    for number, (path, there) in enumerate(kept.get("files", ()), 1):
        words += ["kept" if there else "absent", str(number), path]
    if words:
        result = on.run(script(_PUT_BACK, str(kept["place"]), *words))
        if result.exit_code == 3:
            raise NotFound(
                f"what was kept in {kept['place']} is gone, so it cannot be put back",
                remedy="A newer backup or release may be at hand: db.backups, artifact.releases.",
            )
        if not result.ok:
            raise StepError(
                f"the former files cannot be put back; they are kept in {kept['place']}",
                remedy="Make room or correct the permissions, then put them back: ikoma-play runs rollback.",
                evidence=last_lines(result),
            )
    for folder in kept.get("made", ()):
        on.run(Command(("rmdir", "--", folder)))  # stays where something of others lies in it


def drop(on: Transport, kept: Mapping[str, Any]) -> None:
    """Remove what was kept, and the directories above it as far as they are empty then."""
    own = str(kept["place"])
    run = posixpath.dirname(own)
    app = posixpath.dirname(run)
    folder = posixpath.dirname(app)
    ours = posixpath.dirname(folder)
    on.demand(script(_DROP, own, ours, posixpath.dirname(ours), run, app, folder))


def expire(on: Transport, kept: Mapping[str, Any]) -> None:
    """Keep what the newest RUNS beside a record kept, and the newest RUNS single calls; drop what older ones did."""
    folder = posixpath.dirname(posixpath.dirname(str(kept["place"])))
    found = on.run(Command(("find", folder, "-mindepth", "2", "-maxdepth", "2", "-printf", "%P\\n"), changes=False))
    runs: dict[bool, set[str]] = {True: set(), False: set()}
    for line in found.text.splitlines():
        run, _, name = line.partition("/")
        runs[name.startswith(CALL)].add(run)
    for alike in runs.values():
        for run in sorted(alike, reverse=True)[RUNS:]:
            on.remove(posixpath.join(folder, run))


def refuse_later(on: Transport, kept: Mapping[str, Any], undoing: Undoing) -> None:
    """A run that had ended well is not undone under a later one that changed the application too. Raises Refused."""
    if not undoing.late:
        return
    own = posixpath.dirname(str(kept["place"]))
    later = [entry.path for entry in on.scan(posixpath.dirname(own)) if entry.path > own]
    if later:
        run = posixpath.basename(max(later))
        raise Refused(
            f"run {run} changed {kept['app']} since, so this one cannot be undone under it",
            remedy=f"Undo that first: ikoma-play runs rollback {run}",
        )
