"""Templates made values: Jinja2, sandboxed, undefined names are errors, types are kept.

A text that is one whole `{{ … }}` gives the value of its expression, whatever its type; every other
text gives text, so that "1.10" never becomes 1.1. What a template gives is final: it is not rendered
again, and neither is anything that came from a host, so output with `{{` in it stays output.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NoReturn

import jinja2
from jinja2 import meta, nodes
from jinja2.exceptions import TemplateSyntaxError, UndefinedError
from jinja2.parser import Parser
from jinja2.runtime import Context, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import missing

from ..errors import IkomaError, TemplateFailed
from ..model import EMPTY, Position
from .text import Unsafe

Find = Callable[[str, str], Path]  # kind (files, templates, …) and name → a file of the runner

_DELIMITERS = ("{{", "{%", "{#")
_VIEWS: tuple[type[Any], ...] = (Iterator, range, KeysView, ValuesView, ItemsView)


class Omit:
    """The value of `omit`: an argument that has it is as if it were not written."""

    def __repr__(self) -> str:
        return "omit"


OMIT = Omit()


class UndefinedVariable(UndefinedError):
    """A name or attribute without a value was used; `obj` is what the attribute was looked for in."""

    def __init__(self, name: Any, obj: Any, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.obj = obj


class Missing(StrictUndefined):
    """What an undefined name stands for: fails when used, save in `default` and `is defined`.

    Attributes of it are the same, so that `a.b.c | default(1)` asks for one test only."""

    __slots__ = ()

    def __init__(
        self, hint: str | None = None, obj: Any = missing, name: str | None = None, exc: Any = UndefinedError
    ) -> None:
        error: Any = partial(UndefinedVariable, name, obj) if exc is UndefinedError else exc
        super().__init__(hint, obj, name, error)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, key: Any) -> Any:
        return self


_TEMPLAR = "__templar"  # the entry of a context that leads to our variables; included templates get it too


class _Context(Context):
    """Looks names up in our own variables, which render what they hold, then in the globals."""

    @property
    def templar(self) -> Templar:
        found = self.parent.get(_TEMPLAR)
        return found if found is not None else Templar()

    def resolve_or_missing(self, key: str) -> Any:
        if key in self.vars:
            return self.vars[key]
        if key in self.parent:
            return self.parent[key]
        templar = self.parent.get(_TEMPLAR)
        if templar is None:
            return self.environment.globals.get(key, missing)
        try:
            return templar.extra[key] if key in templar.extra else templar.variables[key]
        except KeyError:
            return self.environment.globals.get(key, missing)
        except UndefinedInValue as error:
            again = error
            return Missing(error.message, name=key, exc=lambda message: again)

    def get_all(self) -> dict[str, Any]:
        return {**self.parent, **self.vars}


class UndefinedInValue(TemplateFailed):
    """A variable's own value names something undefined; `default` may still save the day."""


@lru_cache(maxsize=1)
def environment() -> SandboxedEnvironment:
    """The one environment, with Ansible's filters, tests and lookups."""
    from . import filters, jinja_tests, lookups

    made = SandboxedEnvironment(
        undefined=Missing,
        trim_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: "" if value is None else value,
        extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"],
        cache_size=0,
    )
    made.context_class = _Context
    filters.install(made)
    jinja_tests.install(made)
    lookups.install(made)
    made.globals["omit"] = OMIT
    return made


# --- Variables -------------------------------------------------------------------------------------


def has_template(value: Any) -> bool:
    """Whether any text in the value holds a template."""
    if isinstance(value, str):
        return "{" in value and any(mark in value for mark in _DELIMITERS) and not isinstance(value, Unsafe)
    if isinstance(value, Mapping):
        return any(has_template(each) for pair in value.items() for each in pair)
    if isinstance(value, (list, tuple)):
        return any(map(has_template, value))
    return False


class Layer:
    """Variables of one rank. `authored` ones may hold templates; others (results, facts) never do.

    `foreign` ones come from a host: no text of theirs is ever taken for an expression."""

    __slots__ = ("_plain", "authored", "foreign", "values")

    def __init__(self, values: Mapping[str, Any], authored: bool = True, foreign: bool = False) -> None:
        self.values = values
        self.authored = authored
        self.foreign = foreign
        self._plain: dict[str, tuple[Any, bool]] = {}

    def plain(self, name: str, value: Any) -> bool:
        """Whether the value needs no rendering; worked out once."""
        known = self._plain.get(name)
        if known is None or known[0] is not value:
            known = self._plain[name] = (value, not has_template(value))
        return known[1]


class Variables(Mapping[str, Any]):
    """Layers of variables, lowest rank first; a value is rendered when it is looked up, and kept."""

    def __init__(
        self, *layers: Layer, find: Find | None = None, seen: Callable[[str, Any], None] | None = None
    ) -> None:
        self.layers = layers
        self.find = find
        self.seen = seen  # told every name and value that is looked up
        self._downwards = layers[::-1]
        self._rendered: dict[str, tuple[Any, bool]] = {}
        self._rendering: list[str] = []
        self.touched_foreign = False  # something from a host was looked up since this was last cleared

    def over(self, *layers: Layer) -> Variables:
        """These variables with further layers on top."""
        return Variables(*self.layers, *layers, find=self.find, seen=self.seen)

    def __getitem__(self, name: str) -> Any:
        if name in self._rendered:
            value, foreign = self._rendered[name]
            self.touched_foreign |= foreign
            return value
        for layer in self._downwards:
            if name in layer.values:
                value = layer.values[name]
                self.touched_foreign |= layer.foreign
                if layer.authored and not layer.plain(name, value):
                    value = self._render(name, value)
                if self.seen:
                    self.seen(name, value)
                return value
        if name == "vars":
            return self
        raise KeyError(name)

    def _render(self, name: str, value: Any) -> Any:
        if name in self._rendering:
            cycle = " → ".join([*self._rendering[self._rendering.index(name) :], name])
            raise TemplateFailed(
                f"the variable {name!r} is defined by itself: {cycle}",
                remedy="Give one of them another name.",
                position=getattr(value, "position", None),
            )
        before, self.touched_foreign = self.touched_foreign, False
        self._rendering.append(name)
        try:
            rendered = Templar(self).render(value)
            self._rendered[name] = rendered, self.touched_foreign
        finally:
            self._rendering.pop()
            self.touched_foreign |= before
        return rendered

    def __contains__(self, name: object) -> bool:
        return any(name in layer.values for layer in self._downwards)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for layer in self.layers for name in list(layer.values)))

    def __len__(self) -> int:
        return sum(1 for _ in self)


# --- Rendering -------------------------------------------------------------------------------------


class Templar:
    """Renders authored values with the variables of one host and step.

    `variables` may be a plain mapping; values in it that hold templates are then rendered on lookup.
    """

    def __init__(
        self, variables: Mapping[str, Any] = EMPTY, find: Find | None = None, extra: Mapping[str, Any] = EMPTY
    ) -> None:
        self.variables = variables if isinstance(variables, Variables) else Variables(Layer(variables), find=find)
        self.find = find or self.variables.find
        self.extra = extra

    def render(self, value: Any) -> Any:
        """The value with every template in it rendered, in lists and mappings too. Raises TemplateFailed."""
        if isinstance(value, str):
            return self._text(value) if has_template(value) else value
        if isinstance(value, Mapping):
            return {self.render(key): self.render(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.render(each) for each in value]
        return value

    def render_text(self, text: str) -> str:
        """A whole text (a template file) rendered to text, whatever it holds."""
        return str(self._run(_compiled_text(text), text)) if has_template(text) else text

    def render_file(self, path: Path, options: Mapping[str, Any] = EMPTY) -> str:
        """A template file rendered to text; what it includes is looked for beside it, then by `find`.

        `options` are the environment's (trim_blocks, newline_sequence, variable_start_string …).
        Raises TemplateFailed with the position inside the file."""
        from .template_files import render_file

        return render_file(self, path, options)

    def evaluate(self, expression: str) -> Any:
        """The value of a bare expression, as `when` and `until` are written."""
        return self._run(_compiled_expression(expression), expression)

    def test(self, condition: Any) -> bool:
        """Whether a condition holds: a bare expression, a boolean, a list (all must hold), or text with templates.

        Text that an expression gives is true unless it is empty, as in Ansible; only a condition
        written as a template counts the words true and false in what it gives."""
        if condition is None or condition == "":
            return True
        if isinstance(condition, (list, tuple)):
            return all(self.test(each) for each in condition)
        if not isinstance(condition, str):
            return bool(condition)
        if not has_template(condition):
            return bool(self.evaluate(condition))
        return self._test_rendered(condition)

    def _test_rendered(self, condition: str) -> bool:
        self.variables.touched_foreign = False
        value = self._text(condition)
        if not isinstance(value, str):
            return bool(value)
        word = value.strip().lower()
        if word in ("", "false", "no", "none", "0"):
            return False
        if word in ("true", "yes", "1"):
            return True
        if self.variables.touched_foreign:
            raise TemplateFailed(
                f"the condition {condition!r} would run text that came from a host as an expression",
                remedy="Write the condition without {{ }}: names in it are looked up as they are.",
                position=getattr(condition, "position", None),
            )
        return bool(self.evaluate(value))

    def _text(self, text: str) -> Any:
        whole, before, after = _compiled(text)
        value = self._run(whole, text)
        if (before or after) and not isinstance(value, (Mapping, list)):
            return f"{before}{'' if value is None else value}{after}"
        return value

    def _run(self, template: jinja2.Template, text: str) -> Any:
        context = template.new_context({_TEMPLAR: self}, shared=True)
        try:
            printed = "".join(template.root_render_func(context))
            value: Any = context.vars.get("__value", printed)
            if isinstance(value, Missing):
                value._fail_with_undefined_error()
        except UndefinedVariable as error:
            self._undefined(error, text)
        except IkomaError as error:
            if error.position is None:
                error.position = getattr(text, "position", None)
            if isinstance(error, TemplateFailed) and not error.evidence:
                error.evidence = text
            raise
        except Exception as error:
            raise _failed(text, str(error) or type(error).__name__, _offset(text, None)) from error
        return list(value) if isinstance(value, _VIEWS) else value

    def _undefined(self, error: UndefinedVariable, text: str) -> NoReturn:
        if error.name is not None and error.obj is missing:
            message = str(error.message).replace("is undefined", "is not defined")
            near = nearest(str(error.name), self.variables)
        else:
            message = str(error.message)
            near = nearest(str(error.name), error.obj if isinstance(error.obj, Mapping) else ())
        remedy = f"Did you mean {near!r}?" if near else "Define it, or give it a value with `| default(…)`."
        raise _failed(text, message, _offset(text, error.name), remedy, UndefinedInValue) from error


def nearest(name: str, known: Any) -> str | None:
    """The known name that is most like `name`, None where none is."""
    found = difflib.get_close_matches(name, [each for each in known if isinstance(each, str)], 1, 0.7)
    return found[0] if found else None


def _offset(text: str, name: Any) -> int:
    """Where in a text a name stands, -1 where that is not known."""
    if not isinstance(name, str):
        return -1
    found = re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", text) or re.search(re.escape(name), text)
    return found.start() if found else -1


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


# --- Compiling -------------------------------------------------------------------------------------


def _syntax_failed(text: str, error: TemplateSyntaxError) -> TemplateFailed:
    lines = text.split("\n")
    number = min(max(error.lineno or 1, 1), len(lines))
    found = re.search(r"(?:filter|test) named '([^']+)'", error.message or "")
    near = ""
    if found:
        table = environment().filters if "filter named" in (error.message or "") else environment().tests
        near = nearest(found[1], table) or ""
    shown = error.message or "the template does not parse"
    failed = TemplateFailed(
        f"{shown[:1].lower()}{shown[1:].rstrip('.')}",
        remedy=f"Did you mean {near!r}?" if near else "",
        evidence=lines[number - 1],
        position=getattr(text, "position", None),
    )
    if found:
        offset = _offset(lines[number - 1], found[1])
        failed.evidence += f"\n{' ' * max(offset, 0)}^"
    return failed


def _compile(tree: nodes.Template, text: str) -> jinja2.Template:
    try:
        return environment().from_string(tree)
    except TemplateSyntaxError as error:
        raise _syntax_failed(text, error) from error


def _valued(expression: nodes.Expr) -> nodes.Template:
    """A template that does nothing but keep the expression's value."""
    tree = nodes.Template([nodes.Assign(nodes.Name("__value", "store"), expression, lineno=1)], lineno=1)
    tree.set_environment(environment())
    return tree


def _expression(text: str) -> nodes.Expr:
    parser = Parser(environment(), text, state="variable")
    try:
        parsed = parser.parse_expression()
        if not parser.stream.eos:
            parser.fail(f"unexpected {parser.stream.current.value!r}", parser.stream.current.lineno)
    except TemplateSyntaxError as error:
        raise _syntax_failed(text, error) from error
    return parsed


def _parsed(text: str) -> nodes.Template:
    try:
        return environment().parse(text)
    except TemplateSyntaxError as error:
        raise _syntax_failed(text, error) from error


@lru_cache(maxsize=8192)
def _compiled_expression(text: str) -> jinja2.Template:
    return _compile(_valued(_expression(str(text))), text)


@lru_cache(maxsize=512)
def _compiled_text(text: str) -> jinja2.Template:
    return _compile(_parsed(text), text)


@lru_cache(maxsize=8192)
def _compiled(text: str) -> tuple[jinja2.Template, str, str]:
    """The template of a text, and the blanks around it when it is one whole expression."""
    tree = _parsed(text)
    parts = tree.body[0].nodes if len(tree.body) == 1 and isinstance(tree.body[0], nodes.Output) else []
    expressions = [part for part in parts if not isinstance(part, nodes.TemplateData)]
    data = [part.data for part in parts if isinstance(part, nodes.TemplateData)]
    if len(expressions) != 1 or any(each.strip() for each in data):
        return _compile(tree, text), "", ""
    before = parts[0].data if isinstance(parts[0], nodes.TemplateData) else ""
    after = parts[-1].data if isinstance(parts[-1], nodes.TemplateData) else ""
    return _compile(_valued(expressions[0]), text), before, after


# --- What a template needs, for checks before a run ------------------------------------------------


@dataclass(frozen=True, slots=True)
class Needs:
    """The free names of a template: `guarded` ones are tested with `is defined` or have a default."""

    required: frozenset[str] = frozenset()
    guarded: frozenset[str] = frozenset()


def names(text: str, expression: bool = False) -> set[str]:
    """The free names of a template, or of a bare expression (`when`). Raises TemplateFailed where it does not parse."""
    found = needs(text, expression)
    return set(found.required | found.guarded)


@lru_cache(maxsize=16384)
def needs(text: str, expression: bool = False) -> Needs:
    """The free names of a template; unknown filters and tests are TemplateFailed too."""
    if not expression and not has_template(text):
        return Needs()
    if expression and not has_template(text):
        tree = nodes.Template([nodes.Output([_expression(text)], lineno=1)], lineno=1)
        tree.set_environment(environment())
    else:
        tree = _parsed(text)
    try:
        free = meta.find_undeclared_variables(tree)
    except TemplateSyntaxError as error:
        raise _syntax_failed(text, error) from error
    guarded = {root for root in _guards(tree) if root in free}
    return Needs(frozenset(free - guarded), frozenset(guarded))


def _guards(tree: nodes.Template) -> Iterator[str]:
    for test in tree.find_all(nodes.Test):
        if test.name in ("defined", "undefined"):
            yield from _root(test.node)
    for filtered in tree.find_all(nodes.Filter):
        if filtered.name in ("default", "d", "ternary_default") and filtered.node is not None:
            yield from _root(filtered.node)


def _root(node: nodes.Node) -> Iterator[str]:
    while isinstance(node, (nodes.Getattr, nodes.Getitem)):
        node = node.node
    if isinstance(node, nodes.Name):
        yield node.name
