"""What the parts of one reading share: the tools, the faults, the files read, where roles are looked for."""

from __future__ import annotations

import os.path
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..tool import Toolbox
from .faults import Faults, shown_path
from .reader import Unreadable, read
from .text import Text, has_template

MAX_NESTED = 50  # imports inside imports
SUFFIXES = ("", ".yml", ".yaml", ".json")


class Reading:
    """One reading of a playbook, or of what a step brings while a run goes on."""

    def __init__(self, tools: Toolbox, roles_path: Sequence[str] = (), playbook_dir: str = "") -> None:
        self.tools = tools
        self.faults = Faults()
        self.files: dict[str, None] = {}
        self.roles_path = tuple(roles_path)
        self.playbook_dir = playbook_dir
        self.importing: list[str] = []  # the files that are being read, outermost first
        self.known: dict[str, Any] = {}  # values of variables for the names of imported files

    def document(self, path: str, at: Any = None, what: str = "file") -> Any:
        """A file's value. Raises Unreadable when there is none; `at` is where it was asked for."""
        self.files.setdefault(os.path.abspath(path))
        return read(path, self.faults, at, what)

    def enter(self, path: str, at: Any) -> bool:
        """Whether a file may be imported here: not by itself, not without end."""
        try:
            real = os.path.realpath(path)
        except ValueError as error:
            self.faults.add("missing-file", f"{path!r} cannot be the name of a file: {error}", at)
            return False
        if real in self.importing:
            chain = " → ".join(shown_path(name) for name in [*self.importing[self.importing.index(real) :], real])
            self.faults.add("import-cycle", f"{shown_path(path)} imports itself: {chain}", at)
            return False
        if len(self.importing) >= MAX_NESTED:
            self.faults.add("too-deep", f"more than {MAX_NESTED} files import one another", at)
            return False
        self.importing.append(real)
        return True

    def leave(self) -> None:
        self.importing.pop()

    def file_name(self, value: Any, keyword: str, extra: Mapping[str, Any] | None = None) -> str | None:
        """A file or role name that must be known now; templates of known text are filled in."""
        if not isinstance(value, str) or not value.strip():
            self.faults.add("wrong-type", f"{keyword} takes the name of a file", value, otherwise=keyword)
            return None
        known = {"playbook_dir": os.path.abspath(self.playbook_dir or "."), **self.known, **(extra or {})}

        def fill(match: re.Match[str]) -> str:
            found = known.get(match[1])
            return found if isinstance(found, str) and not has_template(found) else match[0]

        name = re.sub(r"\{\{\s*(\w+)\s*\}\}", fill, value)
        if has_template(name):
            instead = keyword.replace("import_", "include_") if keyword != "import_playbook" else ""
            remedy = f"Use {instead}, which is resolved when the step is reached." if instead else ""
            self.faults.add(
                "dynamic-import", f"{keyword} needs a name that is known before the run", value, remedy,
            )  # fmt: skip
            return None
        return name.strip()


def first_file(folder: str, name: str) -> str | None:
    """`name` in `folder`, with one of YAML's endings when it has none."""
    for suffix in SUFFIXES:
        path = os.path.join(folder, name + suffix)
        if os.path.isfile(path):
            return path
    return None


def main_file(folder: str, name: str = "main") -> str | None:
    """A role's file of one kind: main.yml, main.yaml, main.json or main."""
    for suffix in (*SUFFIXES[1:], ""):
        path = os.path.join(folder, name if name.endswith(SUFFIXES[1:]) else name + suffix)
        if os.path.isfile(path):
            return path
    return None


__all__ = ["MAX_NESTED", "Reading", "Text", "Unreadable", "first_file", "main_file"]
