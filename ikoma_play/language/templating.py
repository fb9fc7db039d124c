"""Templates made values: Jinja2, sandboxed, undefined names are errors, types are kept.

A text that is one whole `{{ … }}` gives the value of its expression, whatever its type; every other
text gives text, so that "1.10" never becomes 1.1. What a template gives is final: it is not rendered
again, and neither is anything that came from a host, so output with `{{` in it stays output.

Jinja2 itself is loaded with the first template.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import TemplateFailed
from ..model import EMPTY
from .foreign import meet, refused, traced
from .text import OMIT, Find, Omit, Revealed, RevealedValue, Vaulted, has_template, is_unsafe

# --- Variables -------------------------------------------------------------------------------------


class Layer:
    """Variables of one rank. `authored` ones may hold templates; others (results, facts) never do.

    `foreign` ones come from a host: no text of theirs is ever taken for an expression."""

    __slots__ = ("_judged", "authored", "foreign", "values")

    def __init__(self, values: Mapping[str, Any], authored: bool = True, foreign: bool = False) -> None:
        self.values = values
        self.authored = authored
        self.foreign = foreign
        self._judged: dict[str, tuple[Any, bool, bool]] = {}

    def judged(self, name: str, value: Any) -> tuple[Any, bool, bool]:
        """The value, whether something is to be rendered in it, and whether it has `!unsafe` text; worked out once."""
        known = self._judged.get(name)
        if known is None or known[0] is not value:
            known = self._judged[name] = (value, has_template(value), is_unsafe(value))
        return known


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

    def over(self, *layers: Layer) -> Variables:
        """These variables with further layers on top."""
        return Variables(*self.layers, *layers, find=self.find, seen=self.seen)

    def __getitem__(self, name: str) -> Any:
        if name in self._rendered:
            value, foreign = self._rendered[name]
            if foreign:
                meet()
            return value
        for layer in self._downwards:
            if name in layer.values:
                value = layer.values[name]
                if layer.foreign:
                    meet()
                if layer.authored:
                    _, to_render, unsafe = layer.judged(name, value)
                    if unsafe:
                        meet()
                    if to_render:
                        value = self._render(name, value)
                if self.seen:
                    self.seen(name, value)
                return value
        if name == "vars":
            return Named(self)
        raise KeyError(name)

    def _render(self, name: str, value: Any) -> Any:
        if name in self._rendering:
            cycle = " → ".join([*self._rendering[self._rendering.index(name) :], name])
            raise TemplateFailed(
                f"the variable {name!r} is defined by itself: {cycle}",
                remedy="Give one of them another name.",
                position=getattr(value, "position", None),
            )
        self._rendering.append(name)
        try:
            self._rendered[name] = traced(lambda: Templar(self).render(value))
        finally:
            self._rendering.pop()
        return self._rendered[name][0]

    def __contains__(self, name: object) -> bool:
        for layer in self._downwards:  # noqa: SIM110 - asked many times a step
            if name in layer.values:
                return True
        return False

    def among(self, names: frozenset[str]) -> set[str]:
        """Which of these names are variables."""
        found: set[str] = set()
        for values in (layer.values for layer in self.layers):
            found |= names & values.keys() if isinstance(values, dict) else {name for name in names if name in values}
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for layer in self.layers for name in list(layer.values)))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Named(Mapping[str, Any]):
    """A mapping that has nothing but its entries, so that `x.layers` in a template means the entry."""

    __slots__ = ("_entries",)

    def __init__(self, entries: Mapping[str, Any]) -> None:
        self._entries = entries

    def __getitem__(self, name: str) -> Any:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __repr__(self) -> str:
        return repr(dict(self))


_WORDS = {"": False, "false": False, "no": False, "none": False, "0": False, "true": True, "yes": True, "1": True}


def truth_in(text: str) -> bool | None:
    """What a condition's template means that came to such a word; None for any other text, which is an expression."""
    return _WORDS.get(text.strip().lower())


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
            if not has_template(value):
                return value
            rendered = self._rendered(value)
            return Revealed(rendered) if isinstance(value, Revealed) and isinstance(rendered, str) else rendered
        if isinstance(value, Mapping):
            return {self.render(key): self.render(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.render(each) for each in value]
        if isinstance(value, Vaulted):
            return self._revealed(value)
        return value

    def _revealed(self, value: Vaulted) -> Any:
        """An encrypted value decrypted; what it holds is final, whatever it looks like."""
        from .vault import KEYS, VaultError

        try:
            text = RevealedValue(KEYS.decrypt(value.ciphertext).decode("utf-8"))
        except VaultError as error:
            raise TemplateFailed(error.message, remedy=error.remedy, position=value.position) from error
        except UnicodeDecodeError:
            raise TemplateFailed("this value does not hold UTF-8 text", position=value.position) from None
        text.position = value.position
        return text

    def knowing(self, extra: Mapping[str, Any]) -> Templar:
        """The same with further variables on top."""
        return Templar(self.variables, self.find, {**self.extra, **extra})

    def render_file(self, path: Path, options: Mapping[str, Any] = EMPTY) -> str:
        """A template file rendered to text; what it includes is looked for beside it, then by `find`.

        `options` are the environment's (trim_blocks, newline_sequence, variable_start_string …).
        Raises TemplateFailed with the position inside the file."""
        from .template_files import about, render_file

        return render_file(self.knowing({**about(path), **self.extra}), path, options)

    def evaluate(self, expression: str) -> Any:
        """The value of a bare expression, as `when` and `until` are written."""
        from .rendering import evaluated

        return evaluated(self, expression)

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
        value, foreign = traced(lambda: self._rendered(condition))
        if not isinstance(value, str):
            return bool(value)
        holds = truth_in(value)
        if holds is not None:
            return holds
        if foreign:
            raise refused(condition)
        return bool(self.evaluate(value))

    def _rendered(self, text: str) -> Any:
        from .rendering import rendered

        return rendered(self, text)


__all__ = ["OMIT", "Find", "Layer", "Named", "Omit", "Templar", "TemplateFailed", "Variables", "has_template"]
