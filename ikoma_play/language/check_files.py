"""Files of the runner that steps name: whether they are there."""

from __future__ import annotations

import os.path
from collections.abc import Iterator
from typing import Any

from ..model import Step
from ..spelling import did_you_mean
from .contents import Contents
from .faults import Faults
from .free_form import unquoted, words
from .text import has_template

# Tools that read a file of the runner: the argument that names it, and the kind of folder it is looked for in.
READERS = {
    "copy": ("src", "files"),
    "template": ("src", "templates"),
    "unarchive": ("src", "files"),
    "script": ("cmd", "files"),
    "include_vars": ("file", "vars"),
}


def check_files(contents: Contents, folder: str, faults: Faults) -> None:
    for step in contents.steps():
        name = file_name(step)
        if name is None or os.path.isabs(name) or name.startswith("~") or find_file(step, name, folder):
            continue
        kind = READERS[step.tool][1]
        looked = list(dict.fromkeys(places(step, kind, folder)))
        known = [entry for place in looked if os.path.isdir(place) for entry in os.listdir(place)]
        written = step.args.get(READERS[step.tool][0])
        text = f"{step.tool} finds no file {name}"
        remedy = did_you_mean(os.path.basename(name), known, f"It is looked for in {kind}/ of the role and beside "
                              "the playbook.")  # fmt: skip
        faults.add("missing-file", text, written, remedy, otherwise=step.position)


def file_name(step: Step) -> str | None:
    """The file of the runner that a step reads, where the step says it without a template."""
    if step.tool not in READERS:
        return None
    args = step.args
    value: Any = args.get(READERS[step.tool][0])
    if not isinstance(value, str) or not value.strip() or has_template(value) or "://" in value:
        return None
    if has_template(args.get("remote_src")) or args.get("remote_src") not in (None, False, "no", "false"):
        return None
    if step.tool == "script":
        start, end = next(words(value), (0, 0))
        return unquoted(value[start:end])
    return str(value)


def find_file(step: Step, name: str, folder: str) -> str | None:
    """The path of a file that a step names, looked for as the run will."""
    for place in places(step, READERS[step.tool][1], folder):
        path = os.path.join(place, name)
        if os.path.exists(path):
            return path
    return None


def places(step: Step, kind: str, folder: str) -> Iterator[str]:
    """Where a file is looked for: in the roles from the inside out, beside the step's file, beside the playbook."""
    role = step.role
    if role is not None:
        for each in (role, *reversed(role.parents)):
            yield os.path.join(each.path, kind)
            yield each.path
    beside = os.path.dirname(step.position.file)
    for place in (beside, folder):
        yield os.path.join(place, kind)
        yield place or "."
