"""The one Jinja environment: sandboxed, strict about undefined names, with Ansible's filters, tests and lookups."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from functools import lru_cache, partial
from typing import Any, Protocol

from jinja2 import StrictUndefined, UndefinedError, runtime, sandbox, utils

from ..errors import TemplateFailed
from .text import OMIT, Find


class Source(Protocol):
    """What a template's names are looked up in."""

    extra: Mapping[str, Any]
    find: Find | None

    @property
    def variables(self) -> Mapping[str, Any]: ...


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
        self, hint: str | None = None, obj: Any = utils.missing, name: str | None = None, exc: Any = UndefinedError
    ) -> None:
        error: Any = partial(UndefinedVariable, name, obj) if exc is UndefinedError else exc
        super().__init__(hint, obj, name, error)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, key: Any) -> Any:
        return self


VIEWS: tuple[type[Any], ...] = (Iterator, range, KeysView, ValuesView, ItemsView)
TEMPLAR = "__templar"  # the entry of a context that leads to our variables; included templates get it too


class _Context(runtime.Context):
    """Looks names up in our own variables, which render what they hold, then in the globals."""

    @property
    def templar(self) -> Source | None:
        found: Source | None = self.parent.get(TEMPLAR)
        return found

    def resolve_or_missing(self, key: str) -> Any:
        if key in self.vars:
            return self.vars[key]
        if key in self.parent:
            return self.parent[key]
        templar = self.templar
        if templar is None:
            return self.environment.globals.get(key, utils.missing)
        try:
            return templar.extra[key] if key in templar.extra else templar.variables[key]
        except KeyError:
            return self.environment.globals.get(key, utils.missing)
        except UndefinedInValue as error:
            again = error
            return Missing(error.message, name=key, exc=lambda message: again)

    def get_all(self) -> dict[str, Any]:
        return {**self.parent, **self.vars}


class UndefinedInValue(TemplateFailed):
    """A variable's own value names something undefined; `default` may still save the day."""


def _printed(value: Any) -> Any:
    """What stands in a text for a value: nothing for None, a list for what only gives its values one by one."""
    if value is None:
        return ""
    return list(value) if isinstance(value, VIEWS) else value


def ended(source: str, printed: str) -> str:
    """What a template printed, whose last newline Jinja leaves out, with as many at its end as the source has."""
    newlines = [len(text) - len(text.rstrip("\n")) for text in (source, printed)]
    return printed + "\n" * (newlines[0] - newlines[1])


@lru_cache(maxsize=1)
def environment() -> sandbox.SandboxedEnvironment:
    """The one environment, with Ansible's filters, tests and lookups."""
    from . import filters, jinja_tests, lookups

    made = sandbox.SandboxedEnvironment(
        undefined=Missing,
        trim_blocks=True,
        finalize=_printed,
        extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"],
        cache_size=0,
    )
    made.context_class = _Context
    filters.install(made)
    jinja_tests.install(made)
    lookups.install(made)
    made.globals["omit"] = OMIT
    return made
