"""Work that goes on after its step has ended: where a host keeps what becomes of it.

Each piece has a folder of its own, `~/.ansible_async/ID`, which only its user may read. A command is a process of
the host and outlives the run; its folder holds its output and, once it has ended, its exit code. What the runner
does itself leaves a `result`.
"""

from __future__ import annotations

import json
import posixpath
import time
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from ..errors import NotFound, StepError
from ..model import EMPTY, Command
from .base import Transport

FOLDER = ".ansible_async"

# Arguments: the folder, seconds it may run, directory to run in or nothing, then the command.
_START = r"""
set -e
folder=$1 limit=$2 place=$3
shift 3
cat > "$folder/input"
[ -z "$place" ] || cd -- "$place"
detached=$(command -v setsid || true)
$detached sh -c '
  folder=$1 limit=$2
  shift 2
  date +%s > "$folder/began"
  alone=$(command -v setsid || true)
  $alone "$@" < "$folder/input" > "$folder/stdout" 2> "$folder/stderr" &
  work=$!
  echo $$ > "$folder/pid"
  (
    waited=0
    while [ $waited -lt $limit ]; do
      sleep 1
      waited=$((waited + 1))
      kill -0 $work 2> /dev/null || exit 0
    done
    : > "$folder/overdue"
    kill -TERM -$work 2> /dev/null || kill $work 2> /dev/null
    sleep 2
    kill -KILL -$work 2> /dev/null || kill -9 $work 2> /dev/null
  ) &
  code=0
  wait $work || code=$?
  date +%s > "$folder/ended"
  echo $code > "$folder/code.new"
  mv "$folder/code.new" "$folder/code"
' sh "$folder" "$limit" "$@" > /dev/null 2>&1 < /dev/null &
"""

_LOOK = r"""
cd -- "$1" 2> /dev/null || exit 3
for name in code overdue pid began ended; do
  [ ! -e $name ] || echo "$name=$(cat $name)"
done
[ ! -e pid ] || ! kill -0 "$(cat pid)" 2> /dev/null || echo alive=1
"""


class Standing(Struct, frozen=True):
    """How far a piece of work is. `code` is a command's exit code; `result` what the runner's own work left."""

    finished: bool
    folder: str
    code: int | None = None
    overdue: bool = False
    stdout: bytes = b""
    stderr: bytes = b""
    began: float = 0.0
    ended: float = 0.0
    about: Mapping[str, Any] = EMPTY  # what was kept of a command when it was started
    result: Mapping[str, Any] | None = None
    vanished: bool = False  # it ended without leaving anything: killed, or the host was started anew


def new_id() -> str:
    import secrets

    return f"j{secrets.randbelow(10**12):012}.{time.time_ns() // 1000 % 10**9}"


def folder_of(on: Transport, name: str) -> str:
    """Where the host keeps this piece of work. Raises StepError for what is no name."""
    if not name or "/" in name or name.startswith("."):
        raise StepError(f"{name!r} is not the id of a background step", remedy="It is what the step registered.")
    home = on.demand(Command(("sh", "-c", 'printf %s "$HOME"'), changes=False)).text
    return posixpath.join(home or "/", FOLDER, name)


def promised(name: str, folder: str) -> dict[str, Any]:
    """What a step returns whose work goes on without it."""
    return {"ansible_job_id": name, "results_file": folder, "started": 1, "finished": 0}


def start(on: Transport, name: str, command: Command, limit: float, about: Mapping[str, Any]) -> str:
    """Start a command that goes on by itself for at most `limit` seconds; returns its folder, which keeps `about`."""
    folder = folder_of(on, name)
    on.mkdir(folder, 0o700)
    on.write(posixpath.join(folder, "about"), json.dumps(about).encode(), 0o600)
    argv = ("sh", "-c", _START, "sh", folder, str(max(int(limit), 1)), command.cwd or "", *command.argv)
    on.demand(Command(argv, stdin=command.stdin or b"", env=command.env), "the host could not start it")
    return folder


def announce(on: Transport, name: str) -> str:
    """Make the folder of work that the runner does itself; returns it."""
    folder = folder_of(on, name)
    on.mkdir(folder, 0o700)
    on.write(posixpath.join(folder, "runner"), b"")
    return folder


def leave(on: Transport, folder: str, result: Mapping[str, Any]) -> None:
    """Keep what the runner's own work came to."""
    on.write(posixpath.join(folder, "result"), json.dumps(result, default=str).encode(), 0o600)


def standing(on: Transport, name: str) -> Standing:
    """How far a piece of work is. Raises NotFound where the host knows of none."""
    folder = folder_of(on, name)
    looked = on.run(Command(("sh", "-c", _LOOK, "sh", folder), changes=False))
    if looked.exit_code == 3:
        raise NotFound(f"the host knows no background step {name}", remedy="Was it cleaned up, or another user's?")
    said = dict(line.split("=", 1) for line in looked.text.splitlines() if "=" in line)
    if "code" in said:
        texts = [on.read(posixpath.join(folder, stream)) for stream in ("stdout", "stderr")]
        return Standing(
            True, folder, int(said["code"]), "overdue" in said, texts[0], texts[1],
            float(said.get("began") or 0), float(said.get("ended") or 0),
            json.loads(on.read(posixpath.join(folder, "about"))),
        )  # fmt: skip
    if "pid" in said:
        return Standing("alive" not in said, folder, vanished="alive" not in said)
    if on.exists(kept := posixpath.join(folder, "result")):
        return Standing(True, folder, result=json.loads(on.read(kept)))
    return Standing(False, folder)


def forget(on: Transport, name: str) -> str:
    """Remove what the host kept; returns the folder."""
    folder = folder_of(on, name)
    on.remove(folder)
    return folder
