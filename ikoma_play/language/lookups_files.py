"""Lookups that read files of the runner, found beside the role and the playbook, or what a command prints."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import IkomaError, TemplateFailed
from .filters_text import files_like
from .keywords import TEMPLATE_OPTIONS
from .lookup_table import LOOKUPS, Asker, named
from .plain import flatten
from .text import Revealed


def _path(templar: Asker, kind: str, name: Any) -> Path:
    path = Path(str(name)).expanduser()
    if path.is_absolute():
        if not path.exists():
            raise TemplateFailed(f"there is no file {path}")
        return path
    if templar.find is not None:
        return templar.find(kind, str(name))
    if not path.exists():
        raise TemplateFailed(f"there is no file {name!r} below {Path.cwd()}")
    return path


@named("file")
def file(templar: Asker, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    def text(term: Any) -> str:
        content = _read(_path(templar, "files", term))
        kind = type(content)  # what was encrypted stays known as such
        content = content.rstrip() if options.get("rstrip", True) else content
        return kind(content.lstrip() if options.get("lstrip", False) else content)

    return [text(term) for term in terms]


def _read(path: Path) -> str:
    """A file's text; what it holds, where it is encrypted."""
    from .vault import KEYS, is_encrypted

    text = path.read_text(encoding="utf-8")
    return Revealed(KEYS.decrypt(text).decode("utf-8")) if is_encrypted(text) else text


@named("unvault")
def unvault(templar: Asker, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    return file(templar, terms, {"rstrip": False, **options})


@named("template")
def template(templar: Asker, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    inner = templar.knowing(options.get("template_vars", {}))
    given = {name: options[name] for name in TEMPLATE_OPTIONS if name in options}
    return [inner.render_file(_path(templar, "templates", term), given) for term in terms]


@named("fileglob")
def fileglob(templar: Asker, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    found: list[str] = []
    for term in map(str, terms):
        folder, pattern = os.path.split(term)
        if not folder.startswith("/"):
            try:
                folder = str(_path(templar, "files", folder or "."))
            except IkomaError:
                continue
        found += files_like(f"{folder}/{pattern}")
    return found


@named("first_found")
def first_found(templar: Asker, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    skip = bool(options.get("skip", False))
    candidates: list[str] = []
    for term in [*flatten(terms), *([options] if "files" in options else [])]:
        if isinstance(term, Mapping):
            skip = skip or bool(term.get("skip", False))
            files, paths = (
                [each] if isinstance(each, str) else each for each in (term.get("files", []), term.get("paths", []))
            )
            candidates += [os.path.join(path, name) for path in paths for name in files] or list(files)
        else:
            candidates.append(str(term))
    for candidate in candidates:
        for kind in ("files", "templates", "vars", "tasks"):
            try:
                return [str(_path(templar, kind, candidate))]
            except IkomaError:
                continue
    if skip:
        return []
    raise TemplateFailed(f"none of these files is there: {', '.join(candidates)}")


@named("lines")
def lines(templar: Asker, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    return [line for term in terms for line in _output(term).splitlines()]


@named("pipe")
def pipe(templar: Asker, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    return [_output(term).rstrip("\r\n") for term in terms]


def _output(term: Any) -> str:
    """What a command on the runner prints. A pipe in the text is the shell's to read, as it was written to be."""
    argv = [str(each) for each in term] if isinstance(term, list) else ["/bin/sh", "-c", str(term)]
    done = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        shown = shlex.join(argv) if isinstance(term, list) else repr(term)
        raise TemplateFailed(
            f"the command {shown} ended with exit code {done.returncode}",
            evidence=done.stderr.decode("utf-8", "replace").strip(),
        )
    return done.stdout.decode("utf-8", "replace")


@named("csvfile")
def csvfile(templar: Asker, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    import csv

    given = dict(options)
    found = []
    for term in map(str, terms):
        key, *pairs = shlex.split(term)
        given |= dict(pair.split("=", 1) for pair in pairs)
        delimiter = {"TAB": "\t", "\\t": "\t"}.get(given.get("delimiter", "TAB"), given.get("delimiter", "TAB"))
        path = _path(templar, "files", given.get("file", "ansible.csv"))
        with path.open(encoding=given.get("encoding", "utf-8"), newline="") as rows:
            column, keycol = int(given.get("col", 1)), int(given.get("keycol", 0))
            found += [row[column] for row in csv.reader(rows, delimiter=delimiter) if row and row[keycol] == key][
                :1
            ] or ([given["default"]] if given.get("default") is not None else [])
    return found


@named("ini")
def ini(templar: Asker, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    import configparser

    names = []
    for term in map(str, terms):  # `key section=sec file=name.ini` is the older way to write options
        name, *pairs = shlex.split(term) if re.search(r"\s\w+=", term) else [term]
        names.append(name)
        options = {**options, **dict(pair.split("=", 1) for pair in pairs)}
    parser = configparser.ConfigParser(allow_no_value=bool(options.get("allow_no_value", False)), interpolation=None)
    if options.get("case_sensitive"):
        parser.optionxform = str  # type: ignore[assignment,method-assign]
    text = _path(templar, "files", options.get("file", "ansible.ini")).read_text(options.get("encoding", "utf-8"))
    section = str(options.get("section", "global"))
    parser.read_string(f"[{section}]\n{text}" if options.get("type") == "properties" else text)
    if options.get("re"):
        return [value for term in names for name, value in parser.items(section) if re.match(term, name)]
    return [parser.get(section, name, fallback=options.get("default", "")) for name in names]


__all__ = ["LOOKUPS"]
