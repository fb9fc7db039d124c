"""Golden cases as data: what is there before, one call of a tool, its outcome, what is there after."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ikoma_play.errors import NotFound
from ikoma_play.language.templating import Templar
from ikoma_play.model import Outcome
from ikoma_play.tools import TOOLS
from ikoma_play.transport.base import Transport

CASES = Path(__file__).with_name("cases")


@dataclass
class RunScope:
    """What a tool may know of the run: here a folder with the runner's files and a few variables."""

    files: Path
    variables: Mapping[str, Any] = field(default_factory=dict)
    check: bool = False
    diff: bool = True
    secrets: list[str] = field(default_factory=list)

    def evaluate(self, expression: str) -> Any:
        return Templar(self.variables).evaluate(expression)

    def render_file(self, path: Path, options: Mapping[str, Any], **extra: Any) -> str:
        return Templar({**self.variables, **extra}).render_file(path, options)

    def find(self, kind: str, name: str) -> Path:
        found = self.files / name
        if not found.exists():
            raise NotFound(f"there is no file {name} among the {kind} of the runner")
        return found

    def mask(self, text: str) -> str:
        return text

    def keep_secret(self, *values: str) -> None:
        self.secrets.extend(values)


def call(on: Transport, scope: RunScope, tool: str, arguments: Mapping[str, Any]) -> Outcome:
    """One call of a tool as the engine makes it: arguments bound to types, the scope where it is wanted."""
    found = TOOLS.find(tool)
    assert found is not None, f"there is no tool {tool}"
    values = found.bind(arguments)
    if "scope" in found.function.__annotations__:
        values["scope"] = scope
    return found.function(on, **values)


def load_cases() -> list[tuple[str, dict[str, Any]]]:
    """Every case with its name, `tool: what it shows`."""
    found = []
    for path in sorted(CASES.glob("*.yml")):
        for case in yaml.safe_load(path.read_text()):
            found.append((f"{path.stem}: {case['name']}", {"tool": path.stem, **case}))
    return found


def grow(folder: Path, tree: Mapping[str, Any]) -> None:
    """Make files as a case writes them: text, or a mapping with content, mode or link; / at the end: a directory."""
    for name, wanted in tree.items():
        path = folder / name
        entry = wanted if isinstance(wanted, dict) else {"content": wanted}
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        elif "link" in entry:
            path.symlink_to(str(entry["link"]).replace("DIR", str(folder)))
            continue
        else:
            path.write_bytes(content_of(entry["content"], folder))
        path.chmod(int(entry.get("mode", "0755" if name.endswith("/") else "0644"), 8))


def content_of(text: str | bytes | None, folder: Path) -> bytes:
    return text if isinstance(text, bytes) else (text or "").replace("DIR", str(folder)).encode()


def picture(folder: Path) -> dict[str, Any]:
    """What is below a folder: path → kind, mode, content or target."""
    seen: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        found = path.lstat()
        mode = f"{stat.S_IMODE(found.st_mode):04o}"
        if path.is_symlink():
            seen[name] = {"link": str(path.readlink())}
        elif path.is_dir():
            seen[name + "/"] = {"mode": mode}
        else:
            seen[name] = {"content": path.read_bytes(), "mode": mode}
    return seen


def expected_picture(folder: Path, tree: Mapping[str, Any]) -> dict[str, Any]:
    """The picture that a case writes down, in the same shape; a folder's parents are understood."""
    wanted: dict[str, Any] = {}
    for name, entry in tree.items():
        entry = entry if isinstance(entry, dict) else {"content": entry}
        for parent in list(Path(name).parents)[:-1]:
            wanted.setdefault(f"{parent.as_posix()}/", {"mode": "0755"})
        if "link" in entry:
            wanted[name] = {"link": entry["link"].replace("DIR", str(folder))}
        elif name.endswith("/"):
            wanted[name] = {"mode": entry.get("mode", "0755")}
        else:
            wanted[name] = {"content": content_of(entry["content"], folder), "mode": entry.get("mode", "0644")}
    return dict(sorted(wanted.items()))


def placed(value: Any, folder: Path) -> Any:
    """A case's value with DIR made the folder of the host."""
    if isinstance(value, str):
        return value.replace("DIR", str(folder))
    if isinstance(value, dict):
        return {placed(key, folder): placed(each, folder) for key, each in value.items()}
    if isinstance(value, list):
        return [placed(each, folder) for each in value]
    return value


def differences(found: Any, wanted: Any, where: str = "result") -> list[str]:
    """Where `found` is not what `wanted` says; a mapping may hold more, text between slashes is a pattern."""
    if isinstance(wanted, dict) and isinstance(found, Mapping):
        missing = [f"{where} has no {key!r}: {sorted(map(str, found))}" for key in wanted if key not in found]
        return missing + [
            each for key in wanted if key in found for each in differences(found[key], wanted[key], f"{where}.{key}")
        ]
    if isinstance(wanted, list) and isinstance(found, list) and len(found) == len(wanted):
        pairs = enumerate(zip(found, wanted, strict=True))
        return [each for number, (one, other) in pairs for each in differences(one, other, f"{where}[{number}]")]
    if isinstance(wanted, str) and len(wanted) > 1 and wanted[0] == wanted[-1] == "/" and isinstance(found, str):
        return [] if re.search(wanted[1:-1], found, re.S) else [f"{where} is {found!r}, which does not match {wanted}"]
    return [] if found == wanted else [f"{where} is {found!r}, not {wanted!r}"]
