"""What the document is written from: playbooks, what they say of themselves, roles' goals, severities and causes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import __version__, language, shipped
from ..model import EMPTY
from ..tool import Toolbox
from .writing import Request, outline

TITLES = {"fr": "Runbook de Déploiement", "en": "Deployment runbook"}
Rows = Sequence[tuple[str, ...]]


def request(
    tools: Toolbox,
    lang: str,
    paths: Mapping[str, Path] | None = None,
    variables: Mapping[str, Any] = EMPTY,
    about: Mapping[str, Any] = EMPTY,
    roles: Sequence[str] = (),
) -> Request:
    """`paths` are the playbooks to write about, by name; None: those of the outline that are shipped. `about` gives
    prerequisites, severities and causes. Raises FaultsFound for a playbook that is wrong."""
    named = [name for section in outline() for name in section.get("playbooks", ())]
    whole = paths is None
    if paths is None:
        known = {name: shipped.playbooks() / f"{name}.yml" for name in dict.fromkeys(named)}
        paths = {name: path for name, path in known.items() if path.is_file()}
    folders = [*roles, str(shipped.roles())]
    playbooks = {name: language.load_playbook(str(path), tools, folders) for name, path in paths.items()}
    app = variables.get("app")
    title = TITLES[lang] + (f" : {app}" if app and lang == "fr" else f": {app}" if app else "")
    return Request(
        playbooks,
        tools,
        lang,
        title,
        __version__,
        variables,
        about.get("severities", ()),
        about.get("causes", ()),
        about.get("prerequisites", ()),
        {name: opening(path) for name, path in paths.items()},
        goal,
        whole,
    )


def digest() -> str:
    """Of every shipped playbook and role: what the document says changes with them only."""
    import hashlib

    whole = hashlib.sha256(__version__.encode())
    for folder in (shipped.playbooks(), shipped.roles()):
        for file in sorted((*folder.glob("*.yml"), *folder.glob("*/*/*.yml"))):
            whole.update(f"\0{file.relative_to(folder)}\0".encode() + file.read_bytes())
    return whole.hexdigest()


def opening(path: Path) -> str:
    """The comment that a playbook begins with."""
    lines = []
    for line in path.read_text("utf-8", "replace").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").removeprefix(" "))
    return "\n".join(lines).strip()


def goal(role: str) -> str:
    """What a role says it is for, in its argument_specs."""
    import yaml

    for suffix in ("yml", "yaml"):
        path = Path(role, "meta", f"argument_specs.{suffix}")
        if path.is_file():
            specs = yaml.safe_load(path.read_text("utf-8")) or {}
            return str(((specs.get("argument_specs") or {}).get("main") or {}).get("short_description") or "")
    return ""
