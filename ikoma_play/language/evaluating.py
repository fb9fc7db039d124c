"""Which names a template needs whatever happens: not in one branch of an `if`, not behind `and`, not as a default."""

from __future__ import annotations

from collections.abc import Iterator

from jinja2 import TemplateSyntaxError, nodes

from .jinja_environment import environment
from .text import has_template


def is_evaluated(name: str, text: str, expression: bool) -> bool:
    """Whether rendering `text` always looks `name` up."""
    source = text if has_template(text) or not expression else "{{ (" + text + ") }}"
    try:
        tree = environment().parse(source)
    except TemplateSyntaxError:
        return False
    return any(isinstance(node, nodes.Name) and node.name == name for node in _evaluated(tree))


def _evaluated(node: nodes.Node) -> Iterator[nodes.Node]:
    yield node
    for child in _certain_children(node):
        yield from _evaluated(child)


def _certain_children(node: nodes.Node) -> Iterator[nodes.Node]:
    match node:
        case nodes.CondExpr() | nodes.If():
            yield node.test
        case nodes.And() | nodes.Or():
            yield node.left
        case nodes.For():
            yield node.iter
        case nodes.Macro():
            return
        case nodes.Filter(name="default" | "d"):
            if node.node is not None:
                yield node.node
        case _:
            yield from node.iter_child_nodes()
