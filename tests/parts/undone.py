"""A deploy that fails after a chosen step, and what of a host has to be as it was before."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ikoma_play import engine
from ikoma_play.engine import Options, PlannedStep
from ikoma_play.language import load_inventory, load_playbook
from ikoma_play.model import Host
from ikoma_play.platform.postgres import Server
from ikoma_play.platform.postgres_programs import programs
from ikoma_play.tools import TOOLS
from ikoma_play.transport.local import LocalTransport
from tests.parts.command import CHECKOUT

DEPLOY = CHECKOUT / "playbooks/deploy.yml"
_INJECTED = "- name: Injected\n  fail:\n    msg: injected\n"
Tree = dict[str, tuple[Any, ...]]


def steps() -> list[PlannedStep]:
    """The steps of the standard deploy that are written down, as `ikoma-play plan` has them: without the checks of
    the roles' arguments, which the engine adds."""
    inventory = load_inventory([str(CHECKOUT / "inventory.yml")])
    planned = engine.plan([load_playbook(str(DEPLOY), TOOLS)], inventory, TOOLS, Options())
    return [step for step in planned if Path(step.position.file).parent.name == "tasks"]


def failing_after(step: PlannedStep, folder: Path) -> Path:
    """A copy of the deploy's playbook and roles in a folder, with a step that fails put in behind this one."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(CHECKOUT / "roles", folder / "roles")
    shutil.copy(DEPLOY, folder / "deploy.yml")
    original = Path(step.position.file).resolve()
    copy = folder / original.relative_to(CHECKOUT)
    later = [each.position.line for each in steps() if Path(each.position.file).resolve() == original]
    lines = copy.read_text().splitlines(keepends=True)
    at = min((line - 1 for line in later if line > step.position.line), default=len(lines))
    copy.write_text("".join((*lines[:at], "\n" + _INJECTED, *lines[at:])))
    return folder / "deploy.yml"


def tree(root: Path, but: Iterable[str] = ()) -> Tree:
    """Everything below a directory: kind, mode, owner, group, and the digest or the link's target; `but` are
    expressions for paths (relative to it) that change by themselves."""
    found: Tree = {}
    for place, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(place, name)
            relative = str(path.relative_to(root))
            if any(re.match(one, relative) for one in but):
                continue
            status = path.lstat()
            if path.is_symlink():
                what: tuple[Any, ...] = ("link", str(path.readlink()))
            elif path.is_file():
                what = ("file", hashlib.sha256(path.read_bytes()).hexdigest())
            else:
                what = ("directory" if path.is_dir() else "other",)
            found[relative] = (*what, oct(status.st_mode & 0o7777), status.st_uid, status.st_gid)
    return found


def rows(host: Host, app: str) -> tuple[list[str], str]:
    """The names of the application's databases, and all that is in the one that it uses, as pg_dump tells it."""
    server = Server(LocalTransport(host))
    with server.connect() as connection:
        found = connection.execute("SELECT datname FROM pg_database ORDER BY 1").fetchall()
    names = [name for (name,) in found if name.startswith(app)]
    if app not in names:
        return names, ""
    tools = programs(server)
    argv = tools.argv("pg_dump", "--dbname", app)
    done = subprocess.run(argv, env={**os.environ, **tools.env}, capture_output=True, text=True, check=True)
    # Newer versions put a random word into two lines of each dump.
    return names, "\n".join(line for line in done.stdout.splitlines() if not re.match(r"\\(un)?restrict ", line))


def difference(before: Any, after: Any) -> str:
    """What is not as it was, for a person."""
    if not isinstance(before, dict):
        return f"{before}\n{after}"
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return "\n".join(f"{name}: {before.get(name)} → {after.get(name)}" for name in names)
