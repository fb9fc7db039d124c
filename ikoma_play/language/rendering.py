"""Templates run with Jinja2, and what goes wrong there told with the text's own line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import jinja2
from jinja2 import utils

from ..errors import IkomaError, TemplateFailed
from ..model import Position
from ..spelling import nearest
from .jinja_environment import TEMPLAR, VIEWS, Missing, Source, UndefinedInValue, UndefinedVariable, ended
from .template_compiling import VALUE, compiled, compiled_expression, offset_of

_LISTED: tuple[type[Any], ...] = (tuple, *VIEWS)


def rendered(templar: Source, text: str) -> Any:
    """What a text with templates gives. Raises TemplateFailed."""
    whole, before, after = compiled(text)
    value = _run(templar, whole, text)
    if isinstance(value, (Mapping, list)) or not (before or after or text.endswith("\n")):
        return value
    return ended(text, f"{before}{'' if value is None else value}{after}")


def evaluated(templar: Source, expression: str) -> Any:
    """The value of a bare expression. Raises TemplateFailed."""
    return _run(templar, compiled_expression(expression), expression)


def _run(templar: Source, template: jinja2.Template, text: str) -> Any:
    context = template.new_context({TEMPLAR: templar}, shared=True)
    try:
        printed = "".join(template.root_render_func(context))
        value: Any = context.vars.get(VALUE, printed)
        if isinstance(value, Missing):
            value._fail_with_undefined_error()
    except UndefinedVariable as error:
        _undefined(templar, error, text)
    except IkomaError as error:
        if error.position is None:
            error.position = getattr(text, "position", None)
        if isinstance(error, TemplateFailed) and not error.evidence:
            error.evidence = text
        raise
    except Exception as error:
        raise _failed(text, str(error) or type(error).__name__, offset_of(text, None)) from error
    return list(value) if isinstance(value, _LISTED) else value


def _undefined(templar: Source, error: UndefinedVariable, text: str) -> NoReturn:
    if error.name is not None and error.obj is utils.missing:
        message = str(error.message).replace("is undefined", "is not defined")
        near = nearest(str(error.name), templar.variables)
    else:
        message = str(error.message)
        near = nearest(str(error.name), error.obj if isinstance(error.obj, Mapping) else ())
    remedy = f"Did you mean {near!r}?" if near else "Define it, or give it a value with `| default(…)`."
    raise _failed(text, message, offset_of(text, error.name), remedy, UndefinedInValue) from error


def _failed(
    text: str, message: str, offset: int, remedy: str = "", kind: type[TemplateFailed] = TemplateFailed
) -> TemplateFailed:
    """The error with the line of the text it is in and a caret under the place."""
    line = text[: max(offset, 0)].count("\n")
    shown = text.split("\n")[line] if text else ""
    evidence = text.strip("\n")
    if offset >= 0:
        evidence = f"{shown}\n{' ' * (offset - (text.rfind(chr(10), 0, offset) + 1))}^"
    position: Position | None = getattr(text, "position", None)
    return kind(message, remedy=remedy, evidence=evidence, position=position)
