"""What is the same for every host that a step runs on, worked out once."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from msgspec import Struct

from ..errors import FaultsFound, StepError
from ..language.foreign import refused, traced
from ..language.templating import OMIT, Find, Templar, has_template, truth_in
from ..language.text import Revealed
from ..model import Fault, Position, Step
from ..tool import Tool, Toolbox
from .masking import MASK, Secrets, looks_secret
from .reversal import arguments, reverting
from .scope import finder

_PLAIN = (str, int, float, type(None))  # of these no tool can change what another host's call gets


class Prepared(Struct, frozen=True):
    """A step with its tool; `templated` are the arguments whose text holds templates."""

    step: Step
    tool: Tool
    args: Mapping[str, Any]
    templated: frozenset[str]
    scoped: bool
    secret: frozenset[str]
    find: Find
    digest: str
    bound: list[dict[str, Any]]  # what plain arguments come to, which is the same on every host; or nothing

    def render(self, templar: Templar) -> dict[str, Any]:
        """The arguments as plain values; those that came to `omit` are left out."""
        values: dict[str, Any] = {}
        for name, value in self.args.items():
            if name in self.templated:
                value = without_omit(self._rendered(name, value, templar))
                if value is OMIT:
                    continue
            values[str(templar.render(name)) if self.tool.open and has_template(name) else name] = value
        return values

    def _rendered(self, name: str, value: Any, templar: Templar) -> Any:
        if not self.tool.evaluates(name):
            return templar.render(value)
        if isinstance(value, list):
            return [self._rendered(name, each, templar) for each in value]
        given, foreign = traced(lambda: templar.render(value))
        texts = [each for each in (given if isinstance(given, list) else [given]) if isinstance(each, str)]
        if foreign and any(truth_in(text) is None for text in texts):
            raise refused(value, f"{name} of {self.tool.name}")
        return given

    def bind(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The function's arguments. Raises StepError that names the argument and its place."""
        if self.bound:
            return dict(self.bound[0])
        try:
            bound = self.tool.bind(values, self.templated)
        except FaultsFound as error:
            raise _wrong_arguments(self.step, self.args, error.faults) from None
        if not (self.templated or self.tool.open) and all(isinstance(each, _PLAIN) for each in bound.values()):
            self.bound.append(dict(bound))
        return bound

    def shown(self, values: Mapping[str, Any], secrets: Secrets) -> dict[str, Any]:
        """The arguments for people; secret ones masked and from now on known as secrets."""
        for name in self.secret & values.keys():
            # Among the values of a mapping (an .env) are ports and host names, which say nothing.
            keep = secrets.add_hidden if isinstance(values[name], Mapping) else secrets.add
            keep(values[name])
        for name, value in values.items():
            secrets.see(name, value)
        return {name: hide(value) if name in self.secret else value for name, value in values.items()}


def prepare(step: Step, tools: Toolbox, playbook_dir: str) -> Prepared:
    """Raises StepError for a tool that is not there."""
    tool = tools.find(step.tool)
    if tool is None:
        raise StepError(f"there is no tool {step.tool!r}", position=step.position)
    if step.undoes is not None:
        again: Mapping[str, Any] = arguments(step)
        find = finder(step, playbook_dir)
        return Prepared(step, reverting(tool), again, frozenset(), True, frozenset(), find, digest(step), [])
    defaults = step.module_defaults.get(tool.name)
    args = {**defaults, **step.args} if isinstance(defaults, Mapping) else step.args
    secret = {parameter.wire for parameter in tool.parameters if parameter.secret}
    secret |= {wire for wire, name in tool.aliases.items() if name in tool.secrets}
    return Prepared(
        step,
        tool,
        args,
        frozenset(name for name, value in args.items() if has_template(value)),
        scoped(tool.function),
        frozenset(secret),
        finder(step, playbook_dir),
        digest(step),
        [],
    )


def digest(step: Step) -> str:
    """What a step says, in short: equal for what stands elsewhere in a file, not for what was rewritten."""
    said = {} if step.no_log is not False else without_secrets(step.args)
    items = step.loop.items if step.loop else None
    written = [step.tool, step.name, step.role.name if step.role else "", step.register, said, without_secrets(items)]
    return hashlib.sha256(json.dumps(written, default=str).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def without_secrets(value: Any, name: str = "") -> Any:
    """The value without what a vault held or a name calls secret."""
    if isinstance(value, Mapping):
        return {str(key): without_secrets(each, str(key)) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_secrets(each, name) for each in value]
    return MASK if isinstance(value, Revealed) or (isinstance(value, str) and looks_secret(name)) else value


@cache
def scoped(function: Callable[..., Any]) -> bool:
    return "scope" in inspect.signature(function).parameters


def hide(value: Any) -> Any:
    """A secret's shape: the keys of a mapping stay readable, every value is masked."""
    if isinstance(value, Mapping):
        return {key: hide(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [hide(each) for each in value]
    return value if value is None or isinstance(value, bool) else MASK


def without_omit(value: Any) -> Any:
    """The value without the entries that came to `omit`."""
    if isinstance(value, dict):
        return {key: without_omit(each) for key, each in value.items() if each is not OMIT}
    if isinstance(value, list):
        return [without_omit(each) for each in value if each is not OMIT]
    return value


def _wrong_arguments(step: Step, args: Mapping[str, Any], faults: tuple[Fault, ...]) -> StepError:
    first = faults[0]
    position: Position | None = first.position or next(
        (getattr(value, "position", None) for name, value in args.items() if f"'{name}'" in first.message), None
    )
    error = StepError(
        "; ".join(fault.message for fault in faults), remedy=first.remedy, position=position or step.position
    )
    error.code = "arguments"
    return error
