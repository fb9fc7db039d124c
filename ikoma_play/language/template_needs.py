"""What a template needs, for checks before a run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from jinja2 import TemplateSyntaxError, meta, nodes
from msgspec import Struct

from ..errors import TemplateFailed
from .jinja_environment import environment
from .lookups import known
from .template_compiling import offset_of, parsed, parsed_expression, syntax_failed
from .text import has_template


class Needs(Struct, frozen=True):
    """The free names of a template: `guarded` ones are tested with `is defined` or have a default."""

    required: frozenset[str] = frozenset()
    guarded: frozenset[str] = frozenset()


def names(text: str, expression: bool = False) -> set[str]:
    """The free names of a template, or of a bare expression (`when`). Raises TemplateFailed where it does not parse."""
    found = needs(text, expression)
    return set(found.required | found.guarded)


@lru_cache(maxsize=16384)
def needs(text: str, expression: bool = False) -> Needs:
    """The free names of a template; unknown filters, tests and lookups are TemplateFailed too."""
    if not expression and not has_template(text):
        return Needs()
    if expression and not has_template(text):
        tree = nodes.Template([nodes.Output([parsed_expression(text)], lineno=1)], lineno=1)
        tree.set_environment(environment())
    else:
        tree = parsed(text)
    if _LOOKUP.search(text):
        _demand_lookups(tree, text)
    if (plain := _of_expressions(tree)) is not None:
        return plain
    try:
        free = meta.find_undeclared_variables(tree)
    except TemplateSyntaxError as error:
        raise syntax_failed(text, error) from error
    guarded = {root for root in _guards(tree) if root in free}
    return Needs(frozenset(free - guarded), frozenset(guarded))


_LOOKUP = re.compile(r"\b(lookup|query|q)\(")


def _demand_lookups(tree: nodes.Template, text: str) -> None:
    for call in tree.find_all(nodes.Call):
        name = call.args[0] if call.args else None
        if _LOOKUP.match(f"{getattr(call.node, 'name', '')}(") and isinstance(name, nodes.Const):
            try:
                known(str(name.value))
            except TemplateFailed as error:
                line = text.split("\n")[name.lineno - 1]
                error.evidence = f"{line}\n{' ' * max(offset_of(line, name.value), 0)}^"
                error.position = getattr(text, "position", None)
                raise


_DEFAULTS = ("default", "d", "ternary_default")
_DEFINED = ("defined", "undefined")
_STATEMENTS = (nodes.Stmt, nodes.ContextReference, nodes.DerivedContextReference)


def _of_expressions(tree: nodes.Template) -> Needs | None:
    """The needs of text with nothing but expressions in it, in one walk; None for anything else."""
    table, tests = environment().filters, environment().tests
    free: set[str] = set()
    guarded: set[str] = set()
    waiting: list[nodes.Node] = list(tree.body)
    while waiting:
        node = waiting.pop()
        kind = type(node)
        if kind is nodes.Name:
            free.add(node.name)  # type: ignore[attr-defined]
            continue
        if isinstance(node, nodes.Filter):
            if node.name not in table:
                return None
            if node.name in _DEFAULTS and node.node is not None:
                guarded.update(_root(node.node))
        elif isinstance(node, nodes.Test):
            if node.name not in tests:
                return None
            if node.name in _DEFINED:
                guarded.update(_root(node.node))
        elif kind is not nodes.Output and isinstance(node, _STATEMENTS):
            return None
        waiting.extend(node.iter_child_nodes())
    free.difference_update(environment().globals, ("self",))
    guarded &= free
    return Needs(frozenset(free - guarded), frozenset(guarded))


def _guards(tree: nodes.Template) -> Iterator[str]:
    for test in tree.find_all(nodes.Test):
        if test.name in _DEFINED:
            yield from _root(test.node)
    for filtered in tree.find_all(nodes.Filter):
        if filtered.name in _DEFAULTS and filtered.node is not None:
            yield from _root(filtered.node)


def _root(node: nodes.Node) -> Iterator[str]:
    while isinstance(node, (nodes.Getattr, nodes.Getitem)):
        node = node.node
    if isinstance(node, nodes.Name):
        yield node.name
