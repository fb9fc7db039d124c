"""The verbs about files, one round trip each: small scripts that the open shell itself runs."""

from __future__ import annotations

import os
import posixpath
import re
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from ..model import Result
from . import ssh_items
from .base import Item, Put, Stat
from .faults import NOT_THERE, not_known
from .framing import INLINE, escaped
from .shelled import OVER_FILES, WRITE, cause, stat_of
from .ssh_glances import LOOK, STAT_FORMAT, Glance, Glances, parsed
from .ssh_scripts import ScriptedTransport
from .ssh_send import send

NOT_CHANGED = 3
_UNKNOWN = re.compile(rb"(?:invalid|unknown) (user|group)")  # of chown: GNU, busybox

# Small content comes as part of the script, as a function `content` that starts no program; a shell that
# cannot write tells less about why than a program does. What is there already is replaced by what is on the disk; a new
# file comes to the disk where it is, with its directory, which is a program's time less. At its end it says what the
# file is like.
_SMALL = f"""
path=$1 beside=$3 mode=$4 chmod=$6
trap 'rm -f -- "$beside"' EXIT
umask "$5"
content > "$beside" || {{ [ -e "$beside" ] && head -c 65536 /dev/zero >> "$beside"; exit 1; }}
if [ -f "$path" ] && [ ! -L "$path" ]; then
  if ! [ -O "$path" ] || ! [ -G "$path" ]; then
    owner=$(stat -c %u:%g -- "$path")
    chown "$owner" -- "$beside" 2>/dev/null || chgrp "${{owner#*:}}" -- "$beside" 2>/dev/null
    chmod=y
  fi
  if [ -z "$mode" ]; then mode=$(stat -c %a -- "$path"); chmod=y; fi
fi
new=
if [ -e "$path" ] || [ -L "$path" ]; then sync -- "$beside" || exit; else new=$path; fi
if [ "$chmod" ]; then chmod "${{mode:-644}}" -- "$beside" || exit; fi
mv -fT -- "$beside" "$path" || exit
trap - EXIT
sync -- ${{new:+"$new"}} "${{path%/*}}/" 2>/dev/null &
stat -c '{STAT_FORMAT}' -- "$path" || exit
wait "$!" || [ -z "$new" ] || sync -- "$new" || {{ rm -f -- "$new"; exit 1; }}
"""

SMALL = f"""
export LC_ALL=C
{OVER_FILES.strip()}
{_SMALL}
"""

# Compared where it is going, while it is looked at. What is no small file there is only looked at; else it says
# `same`, `old` or `new`, then what the file was like where there was one, its old content, and at the end what the
# file written now is like.
PUT = f"""
export LC_ALL=C
put=
if [ -f "$1" ] && [ -r "$1" ] && [ ! -L "$1" ]; then
  content | cmp -s -- - "$1" &
  s=$(exec stat -c '{STAT_FORMAT}' -- "$1") || exit
  size=${{s#* }}; size=${{size%% *}}
  wait "$!"; differs=$?
  if [ "$size" -le {INLINE} ]; then
    case $differs in
      0) printf 'same\\n%s\\n' "$s"; exit ;;
      1) put=y; printf 'old\\n%s\\n' "$s"; cat -- "$1" || exit ;;
    esac
  fi
elif [ ! -e "$1" ] && [ ! -L "$1" ] && [ -d "$2/" ]; then
  put=y; echo new
fi
if [ "$put" ]; then
{_SMALL}
exit
fi
{LOOK}
"""

MKDIR = f"""
export LC_ALL=C
[ -d "$1" ] && exit {NOT_CHANGED}
case $1 in */*) mkdir -p -- "${{1%/*}}/" || exit 1 ;; esac
mkdir -m "$2" -- "$1" || {{ [ -d "$1" ] && exit {NOT_CHANGED}; exit 1; }}
"""

REMOVE = f"""
export LC_ALL=C
if [ ! -e "$1" ] && [ ! -L "$1" ]; then stat -- "$1" > /dev/null; exit {NOT_CHANGED}; fi
exec rm -rf -- "$1"
"""

RENAME = """
export LC_ALL=C
mv -fT -- "$1" "$2" || exit
sync -- "$3" 2>/dev/null || :
"""

SYMLINK = """
export LC_ALL=C
ln -s -- "$1" "$3" || exit
mv -fT -- "$3" "$2" || { rm -f -- "$3"; exit 1; }
"""


class SshFiles(ScriptedTransport):
    """Files of a host that is reached through shells kept open."""

    at_once = INLINE
    glances: Glances
    who: object  # whose view of the files it is

    @abstractmethod
    def by_perl(self, deed: str, path: str, *words: str | bytes, changes: bool = True) -> Result | None:
        """What the host's Perl says of a deed, in the words of the script for it; None: it has done nothing."""

    def one_step(self) -> AbstractContextManager[None]:
        return self.glances.one_step()

    def stat(self, path: str, follow: bool = False) -> Stat | None:
        if not self.glances.kept:
            return super().stat(path, follow)
        found = self.glances.find(self.who, path)
        if found is None or (found.directory and not follow):
            found = self._look(path)
        return found.followed if follow else found.itself

    def read(self, path: str) -> bytes:
        found = self.glances.find(self.who, path)
        return super().read(path) if found is None or found.content is None else found.content

    def _look(self, path: str) -> Glance:
        folder = posixpath.dirname(path) or "."
        changes = self.glances.changes
        result = self.by_perl("look", path, folder, changes=False)
        if result is None:
            result = self.run_script(LOOK, path, folder, changes=False)
        return self._seen(path, folder, result, changes)

    def _seen(self, path: str, folder: str, result: Result, changes: int) -> Glance:
        if not result.ok and not (result.stdout.startswith(b"none\n") and cause(result) in NOT_THERE):
            self._demand("look at", path, result)
        seen, above = parsed(path, folder, result.stdout)
        self.glances.keep(self.who, path, seen, changes)
        if above is not None and self.glances.find(self.who, folder) is None:
            self.glances.keep(self.who, folder, above, changes)
        return seen

    def write(self, path: str, data: bytes | BinaryIO, mode: int | None = None) -> None:
        if isinstance(data, bytes) and len(data) <= INLINE:
            result = self._small("write", SMALL, path, data, mode)
            if result.ok:
                self._written(path, result.stdout, data)
        else:
            # Once the content has come, nobody else writes: the shell ends with it.
            result = self.run_script(WRITE, *self._places(path, mode), stdin=data)
        self._demand("write", path, result)

    def put(self, path: str, data: bytes, mode: int | None = None) -> Put | None:
        if len(data) > self.at_once or not self.glances.kept or self.glances.find(self.who, path) is not None:
            return None  # what has been looked at already needs no second question
        result = self._small("put", PUT, path, data, mode)
        kind, _, rest = result.stdout.partition(b"\n")
        if kind not in (b"same", b"old", b"new"):
            self._seen(path, posixpath.dirname(path) or ".", result, self.glances.changes)
            return None
        self._demand("write", path, result)
        if kind == b"new":
            self._written(path, rest, data)
            return Put(None, True)
        line, _, rest = rest.partition(b"\n")
        if kind == b"same":
            self._written(path, line, data)
            return Put(data, False)
        size = stat_of(path, line).size
        self._written(path, rest[size:], data)
        return Put(rest[:size], True)

    def _small(self, deed: str, script: str, path: str, data: bytes, mode: int | None) -> Result:
        """Have Perl do it, or run a script about small content, which is its function `content`."""
        wanted = 0o644 if mode is None else mode
        special = "y" if wanted & ~0o666 else ""
        target, beside, shown = self._places(path, mode)
        words = target, posixpath.dirname(path) or ".", beside, shown, f"{0o777 & ~wanted:o}", special
        if (result := self.by_perl(deed, *words, data)) is not None:
            return result
        script = f"content() {{ printf %b '{escaped(data).decode('ascii')}'; }}\n{script}"
        return self.run_script(script, *words)

    def _places(self, path: str, mode: int | None) -> tuple[str, str, str]:
        """Where content is to be, where it is written first, and its mode."""
        folder, name = posixpath.split(path)
        beside = posixpath.join(folder or ".", f".{name[:200]}.{os.urandom(6).hex()}")
        return path if folder else f"./{name}", beside, "" if mode is None else f"{mode:o}"

    def _written(self, path: str, line: bytes, data: bytes) -> None:
        now = stat_of(path, line.rstrip(b"\n"))
        self.glances.keep(self.who, path, Glance(now, now, data), self.glances.changes)

    def mkdir(self, path: str, mode: int = 0o755) -> bool:
        return self._told("make the directory", posixpath.normpath(path), MKDIR, f"{mode:o}")

    def remove(self, path: str) -> bool:
        return self._told("remove", path, REMOVE)

    def rename(self, source: str, target: str) -> None:
        self._told("rename", source, RENAME, target, f"{posixpath.dirname(target) or '.'}/")

    def chmod(self, path: str, mode: int) -> None:
        self._told("change the mode of", path, 'export LC_ALL=C; exec chmod "$2" -- "$1"', f"{mode:o}")

    def chown(self, path: str, owner: str | None = None, group: str | None = None) -> None:
        who = (owner or "") + (f":{group}" if group is not None else "")
        result = self.run_script('export LC_ALL=C; exec chown -h -- "$2" "$1"', path, who)
        if unknown := _UNKNOWN.search(result.stderr):
            kind = unknown[1].decode()
            raise not_known(kind, str(owner if kind == "user" else group))
        self._demand("change the owner of", path, result)

    def symlink(self, target: str, path: str) -> None:
        folder, name = posixpath.split(path)
        beside = posixpath.join(folder or ".", f".{name[:200]}.{os.urandom(6).hex()}")
        self._demand("make the link", path, self.run_script(SYMLINK, target, path, beside))

    def send(self, source: Path, path: str, mode: int | None = None) -> None:
        send(self, source, path, mode)

    def look(self, paths: Sequence[str]) -> Sequence[Stat | None]:
        return ssh_items.look(self, paths)

    def holds(self, items: Sequence[Item]) -> Sequence[bool]:
        return ssh_items.holds(self, items)

    def bring(self, items: Sequence[Item]) -> None:
        ssh_items.bring(self, items)

    def _script(self, script: str, *arguments: str) -> Result:
        return self.run_script(script, *arguments, changes=False)

    def _told(self, deed: str, path: str, script: str, *arguments: str) -> bool:
        """Whether the script changed something. Raises as the verbs do."""
        result = self.run_script(script, path, *arguments)
        if result.exit_code == NOT_CHANGED and cause(result) in (None, *NOT_THERE):
            return False
        self._demand(deed, path, result)
        return True
