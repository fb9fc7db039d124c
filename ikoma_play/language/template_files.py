"""Template files of the runner: includes, imports and inheritance, and errors with the line they are in."""

from __future__ import annotations

import ast
import pwd
import socket
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import TemplateNotFound, TemplateSyntaxError, nodes

from ..errors import IkomaError, NotFound, TemplateFailed
from ..model import Position
from ..spelling import did_you_mean, nearest
from .jinja_environment import TEMPLAR, Source, UndefinedVariable, ended, environment
from .keywords import TEMPLATE_OPTIONS

OPTIONS_LINE = "#jinja2:"
_OTHERS = (nodes.Include, nodes.Extends, nodes.Import, nodes.FromImport)


def render_file(templar: Source, path: Path, options: Mapping[str, Any]) -> str:
    """The file's text with its templates rendered. Raises TemplateFailed, NotFound."""
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise TemplateFailed(
            f"{path} is not UTF-8 text: {error.reason}", remedy="Use copy for binary files."
        ) from error
    except OSError as error:
        raise NotFound(f"cannot read the template {path}: {error.strerror}") from error
    if text.startswith("$ANSIBLE_VAULT;"):
        from .vault import KEYS

        text = KEYS.decrypt(text).decode("utf-8")
    text, options = _options_within(text, path, options)
    try:
        template = _compiled(text, str(path), tuple(sorted(options.items())))
        if template is None:
            template = _with_others(templar, text, path, options)
        return ended(text, "".join(template.root_render_func(template.new_context({TEMPLAR: templar}, shared=True))))
    except TemplateSyntaxError as error:
        where = Path(error.filename) if error.filename else path
        raise _failed(where, error.lineno, (error.message or "does not parse").rstrip(".")) from error
    except TemplateNotFound as error:
        raise TemplateFailed(
            f"{path} includes {error.name}, which is not there", position=Position(str(path), 1)
        ) from error
    except UndefinedVariable as error:
        near = nearest(str(error.name), templar.variables)
        message = str(error.message).replace("is undefined", "is not defined")
        raise _failed(*_place(error, path), message, f"Did you mean {near!r}?" if near else "") from error
    except IkomaError:
        raise
    except Exception as error:
        raise _failed(*_place(error, path), str(error) or type(error).__name__) from error


ABOUT = frozenset(
    ("template_path", "template_fullpath", "template_host", "template_uid", "template_mtime", "template_run_date",
     "template_destpath", "ansible_managed")
)  # fmt: skip
"""Names that are there in a template file without anybody having set them; the tool adds the third of the paths."""


@lru_cache(64)
def _owner(uid: int) -> str | int:
    """A user's name, else the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return uid


def about(path: Path) -> dict[str, Any]:
    """The variables that Ansible adds for a template file."""
    status = path.stat()
    return {
        "template_path": str(path),
        "template_fullpath": str(path.absolute()),
        "template_host": socket.gethostname(),
        "template_uid": _owner(status.st_uid),
        "template_mtime": datetime.fromtimestamp(status.st_mtime),
        "template_run_date": datetime.now(),
        "ansible_managed": "Ansible managed",
    }


def _options_within(text: str, path: Path, options: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The text and its options, of which it may give some in its first line: `#jinja2: trim_blocks: False`."""
    first, _, rest = text.partition("\n")
    if not first.startswith(OPTIONS_LINE):
        return text, options
    found = dict(options)
    for word in first.removeprefix(OPTIONS_LINE).split(","):
        name, _, value = (part.strip() for part in word.partition(":"))
        if name not in TEMPLATE_OPTIONS:
            raise _failed(path, 1, f"there is no option '{name}' of templates", did_you_mean(name, TEMPLATE_OPTIONS))
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            raise _failed(path, 1, f"the option {name} has no value", f"Write: {OPTIONS_LINE} {name}: …") from None
    return rest, found


@lru_cache(maxsize=256)
def _compiled(text: str, path: str, options: tuple[tuple[str, Any], ...]) -> jinja2.Template | None:
    """The compiled template, None where it needs others: those depend on who asks."""
    made = environment().overlay(**dict(options)) if options else environment()
    tree = made.parse(text, filename=path)
    if tree.find(_OTHERS) is not None:  # type: ignore[arg-type]
        return None
    return _from_source(made, text, path)


def _from_source(made: jinja2.Environment, text: str, path: str) -> jinja2.Template:
    code = made.compile(text, filename=path)
    return made.template_class.from_code(made, code, made.make_globals(None))


def _with_others(templar: Source, text: str, path: Path, options: Mapping[str, Any]) -> jinja2.Template:
    def source(name: str) -> tuple[str, str, Callable[[], bool]]:
        found = path.parent / name
        if not found.is_file():
            if templar.find is None:
                raise TemplateNotFound(name)
            try:
                found = templar.find("templates", name)
            except IkomaError as error:
                raise TemplateNotFound(name) from error
        return found.read_text(encoding="utf-8"), str(found), lambda: True

    made = environment().overlay(**options, loader=jinja2.FunctionLoader(source), cache_size=50)
    return _from_source(made, text, str(path))


def _place(error: BaseException, path: Path) -> tuple[Path, int]:
    """The template file and line where an error came up: the innermost frame that is a template's."""
    found = path, 1
    trace = error.__traceback__
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if template is not None and template.filename:
            found = Path(template.filename), template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return found


def _failed(path: Path, line: int, message: str, remedy: str = "") -> TemplateFailed:
    try:
        evidence = path.read_text(encoding="utf-8").splitlines()[line - 1]
    except (OSError, IndexError, ValueError):
        evidence = ""
    return TemplateFailed(message, remedy=remedy, evidence=evidence, position=Position(str(path), line))
