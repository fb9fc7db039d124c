"""Texts to compiled templates, kept; syntax errors with the line they are in."""

from __future__ import annotations

import re
from functools import lru_cache

import jinja2
from jinja2 import TemplateSyntaxError, nodes
from jinja2 import parser as parsers

from ..errors import TemplateFailed
from ..spelling import nearest
from . import left_out
from .jinja_environment import ended, environment

VALUE = "__value"  # where a template that is one expression leaves its value

_REMEDIES = {
    "unexpected '='": "A comparison is written ==.",
    "unexpected '}'": "An expression ends with }}.",
}


def offset_of(text: str, name: object) -> int:
    """Where in a text a name stands, -1 where that is not known."""
    if not isinstance(name, str):
        return -1
    found = re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", text) or re.search(re.escape(name), text)
    return found.start() if found else -1


def syntax_failed(text: str, error: TemplateSyntaxError) -> TemplateFailed:
    lines = text.split("\n")
    number = min(max(error.lineno or 1, 1), len(lines))
    found = re.search(r"(?:filter|test) named '([^']+)'", error.message or "")
    near = ""
    if found:
        table = environment().filters if "filter named" in (error.message or "") else environment().tests
        near = nearest(found[1], table) or ""
    shown = error.message or "the template does not parse"
    if found and left_out.collection_of(found[1]):
        shown, near = left_out.collections_plugin(found[1]), ""
    if shown in ("unexpected 'end of print statement'", "unexpected 'end of template'"):
        shown = "the expression ends where a value is wanted"
    failed = TemplateFailed(
        f"{shown[:1].lower()}{shown[1:].rstrip('.')}",
        remedy=f"Did you mean {near!r}?" if near else left_out.NO_PLUGINS if found else _REMEDIES.get(shown, ""),
        evidence=lines[number - 1],
        position=getattr(text, "position", None),
    )
    if found:
        offset = offset_of(lines[number - 1], found[1])
        failed.evidence += f"\n{' ' * max(offset, 0)}^"
    return failed


def _compile(tree: nodes.Template, text: str) -> jinja2.Template:
    try:
        return environment().from_string(tree)
    except TemplateSyntaxError as error:
        raise syntax_failed(text, error) from error


def _valued(expression: nodes.Expr) -> nodes.Template:
    """A template that does nothing but keep the expression's value."""
    tree = nodes.Template([nodes.Assign(nodes.Name(VALUE, "store"), expression, lineno=1)], lineno=1)
    tree.set_environment(environment())
    return tree


def parsed_expression(text: str) -> nodes.Expr:
    """A bare expression. Raises TemplateFailed."""
    try:
        parser = parsers.Parser(environment(), text, state="variable")
        found = parser.parse_expression()
        if not parser.stream.eos:
            parser.fail(f"unexpected {parser.stream.current.value!r}", parser.stream.current.lineno)
    except TemplateSyntaxError as error:
        raise syntax_failed(text, error) from error
    return found


def parsed(text: str) -> nodes.Template:
    """A text with templates in it. Raises TemplateFailed."""
    try:
        return environment().parse(text)
    except TemplateSyntaxError as error:
        raise syntax_failed(text, error) from error


@lru_cache(maxsize=8192)
def compiled_expression(text: str) -> jinja2.Template:
    """A template that leaves the expression's value in VALUE."""
    return _compile(_valued(parsed_expression(str(text))), text)


def _kept_backslashes(text: str) -> str:
    """The text with backslashes inside `{{ '…' }}` doubled, since Ansible's authors write them once there:
    `regex_replace('(a)', '\\1')` is about the first group, not about the character with the number 1."""
    if "\\" not in text or "{{" not in text:
        return text
    kept, inside = [], False
    try:
        for _, kind, value in environment().lex(text):
            inside = kind == "variable_begin" or (inside and kind != "variable_end")
            kept.append(value.replace("\\", "\\\\") if inside and kind == "string" else value)
    except TemplateSyntaxError:
        return text  # the parser says what is wrong
    return ended(text, "".join(kept))


@lru_cache(maxsize=8192)
def compiled(text: str) -> tuple[jinja2.Template, str, str]:
    """The template of a text, and the blanks around it when it is one whole expression."""
    tree = parsed(_kept_backslashes(text))
    parts = tree.body[0].nodes if len(tree.body) == 1 and isinstance(tree.body[0], nodes.Output) else []
    expressions = [part for part in parts if not isinstance(part, nodes.TemplateData)]
    data = [part.data for part in parts if isinstance(part, nodes.TemplateData)]
    if len(expressions) != 1 or any(each.strip() for each in data):
        return _compile(tree, text), "", ""
    before = parts[0].data if isinstance(parts[0], nodes.TemplateData) else ""
    after = parts[-1].data if isinstance(parts[-1], nodes.TemplateData) else ""
    return _compile(_valued(expressions[0]), text), before, after
