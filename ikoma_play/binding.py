"""From written values to a tool's typed arguments: every fault found, in plain words.

Values may come from YAML, from templates or from an HTTP body. Text that says a number or one of
Ansible's words for true and false is taken for it where the tool declares one; a number where text
is declared is refused, because YAML has already lost how it was spelled (3.10 is read as 3.1).
"""

from __future__ import annotations

import types
from collections.abc import Callable, Container, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, is_typeddict

from .errors import FaultsFound
from .model import Fault, Position
from .spelling import did_you_mean, listed
from .tool import Parameter, Tool

TRUE_WORDS = frozenset(("yes", "on", "true", "1", "y", "t"))
FALSE_WORDS = frozenset(("no", "off", "false", "0", "n", "f"))


def faults(tool: Tool, values: Mapping[str, Any], known: Callable[[Any], bool] = lambda value: True) -> list[Fault]:
    """What is wrong with these arguments, all of it; values that are not `known` yet are not judged."""
    return _Binding(tool, values, known).faults


def bind(tool: Tool, values: Mapping[str, Any], templated: Container[str] = ()) -> dict[str, Any]:
    """The function's keyword arguments; what was left out or empty is left to the function's defaults.

    Arguments named in `templated` came out of templates: there a number may stand for its text.
    Raises FaultsFound.
    """
    binding = _Binding(tool, values, lambda value: True, templated)
    if binding.faults:
        raise FaultsFound(binding.faults)
    return binding.arguments


def schema(tool: Tool) -> dict[str, Any]:
    """JSON Schema (2020-12) of the arguments as an object."""
    import msgspec

    properties: dict[str, Any] = {}
    definitions: dict[str, Any] = {}
    kinds = [parameter.type for parameter in tool.parameters]
    shapes, found = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    definitions.update(found)
    for parameter, shape in zip(tool.parameters, shapes, strict=True):
        shape = dict(shape)
        if parameter.description:
            constraint = shape.get("description")
            shape["description"] = f"{parameter.description} ({constraint})" if constraint else parameter.description
        if not parameter.required and isinstance(parameter.default, (str, int, float, bool, list, dict)):
            shape["default"] = parameter.default
        if parameter.secret:
            shape["writeOnly"] = True
        properties[parameter.wire] = shape
    whole: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": tool.open}
    if required := [parameter.wire for parameter in tool.parameters if parameter.required]:
        whole["required"] = required
    if definitions:
        whole["$defs"] = definitions
    return whole


class _Binding:
    """One attempt to bind: the arguments as far as they are right, and every fault."""

    def __init__(
        self,
        tool: Tool,
        values: Mapping[str, Any],
        known: Callable[[Any], bool],
        templated: Container[str] = (),
    ) -> None:
        self.tool = tool
        self.faults: list[Fault] = []
        self.arguments: dict[str, Any] = {}
        if not isinstance(values, Mapping):
            text = f"the arguments of {tool.name} must be a mapping of names to values, not {shown(values)}"
            self._fault("wrong-type", text, values)
            return
        names = tool.named
        given: dict[str, str] = {}
        self.written: Mapping[str, str] = getattr(values, "written", {})
        for key, value in values.items():
            parameter = names.get(key) if isinstance(key, str) else None
            if parameter is None:
                self._unknown(key, value, names)
            elif parameter.name in given:
                text = f"argument '{key}' of {tool.name} was already given as '{given[parameter.name]}'"
                self._fault("duplicate-argument", text, key, remedy="Leave one of them out.")
            else:
                given[parameter.name] = key
                self._take(parameter, key, value, known, key in templated)
        for parameter in tool.parameters:
            if parameter.required and parameter.name not in given:
                self._missing(parameter, values)

    def _take(self, parameter: Parameter, key: str, value: Any, known: Callable[[Any], bool], templated: bool) -> None:
        if not known(value):
            return
        if value is None and not _admits_none(parameter.type):
            if parameter.required:
                text = f"argument '{key}' of {self.tool.name} is empty"
                self._fault("missing-argument", text, key, remedy=_asks_for(parameter))
            return
        try:
            self.arguments[parameter.name] = convert(value, parameter.type, templated)
        except WrongType as wrong:
            spelled = self.written.get(key)
            instead = f", not {spelled or shown(value)}" if not parameter.secret else ""
            where = f" (at {wrong.path})" if wrong.path else ""
            text = f"argument '{key}' of {self.tool.name} must be {wanted(parameter.type)}{instead}{where}"
            remedy = _respelled(value, spelled) if spelled and takes_text(parameter.type) else wrong.remedy
            self._fault("wrong-type", text, key, remedy=remedy if not parameter.secret else "")

    def _unknown(self, key: Any, value: Any, names: Mapping[str, Parameter]) -> None:
        if self.tool.open and isinstance(key, str):
            self.arguments[str(key)] = value
            return
        known = [parameter.wire for parameter in self.tool.parameters]
        otherwise = f"It takes {listed(known, 'and')}." if known else "It takes no arguments."
        text = f"{self.tool.name} has no argument '{key}'"
        self._fault("unknown-argument", text, key, remedy=did_you_mean(str(key), [*known, *names], otherwise))

    def _missing(self, parameter: Parameter, values: Mapping[str, Any]) -> None:
        text = f"{self.tool.name} needs the argument '{parameter.wire}'"
        self._fault("missing-argument", text, values, remedy=_asks_for(parameter))

    def _fault(self, code: str, message: str, at: Any, remedy: str = "") -> None:
        position = getattr(at, "position", None)
        self.faults.append(Fault(code, message, position if isinstance(position, Position) else None, remedy))


def _asks_for(parameter: Parameter) -> str:
    what = f": {parameter.description}" if parameter.description else f", {wanted(parameter.type)}"
    return f"Add {parameter.wire}{what}."


# --- One value -------------------------------------------------------------------------------------


class WrongType(ValueError):
    """A value that is not what was declared; `path` leads into it, `remedy` says what to do."""

    def __init__(self, message: str, remedy: str = "", path: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy
        self.path = path


def convert(value: Any, kind: Any, templated: bool = False) -> Any:
    """`value` as the declared type. Raises WrongType."""
    import msgspec

    value = _prepared(value, kind, templated)
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `")
        path = path.rstrip("`").removeprefix("key` in `").removeprefix("$").lstrip(".").replace("[...]", "[…]")
        raise WrongType(message, _remedy(value, kind), path) from None
    except RecursionError:
        raise WrongType("nested too deeply", "It is nested too deeply.") from None


def _prepared(value: Any, kind: Any, templated: bool) -> Any:
    """Ansible's liberties: words for true and false, a comma-separated text or single value as a list."""
    members = _members(kind)
    plain = {get_origin(member) or member for member in members}
    if Any in plain:
        return value
    if isinstance(value, str):
        if str in plain or (Literal in plain and value in _choices(members)):
            return value
        if bool in plain and (word := value.strip().lower()) in TRUE_WORDS | FALSE_WORDS:
            return word in TRUE_WORDS
        if list in plain:
            value = [part.strip() for part in value.split(",")] if value.strip() else []
    elif isinstance(value, (int, float)):
        if templated and plain <= {str, type(None)}:
            return str(value)
        if list in plain and not plain & {int, float, bool, str}:
            value = [value]
    if isinstance(value, list) and (inner := next((m for m in members if (get_origin(m) or m) is list), None)):
        arguments = get_args(inner)
        return [_prepared(entry, arguments[0], templated) for entry in value] if arguments else value
    if isinstance(value, Mapping) and (inner := next((m for m in members if get_origin(m) is dict), None)):
        return {key: _prepared(entry, get_args(inner)[1], templated) for key, entry in value.items()}
    return value


def _remedy(value: Any, kind: Any) -> str:
    members = _members(kind)
    choices = _choices(members)
    if isinstance(value, str) and choices:
        return did_you_mean(value, [choice for choice in choices if isinstance(choice, str)])
    if takes_text(kind) and isinstance(value, bool):
        return f'YAML reads yes, no, on, off, true and false as {shown(value)}: quote it, "…", if text is meant.'
    if takes_text(kind) and isinstance(value, (int, float)):
        return f'YAML reads this as the number {value}, not as text (3.10 becomes 3.1): quote it, "…".'
    entries = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    texts_wanted = any(get_origin(each) in (list, dict) and takes_text(get_args(each)[-1]) for each in members)
    if texts_wanted and any(isinstance(entry, (int, float)) for entry in entries):
        return 'Quote numbers, "…", where text is wanted.'
    return ""


def takes_text(kind: Any) -> bool:
    members = _members(kind)
    return str in members or any(isinstance(choice, str) for choice in _choices(members))


def _respelled(value: Any, written: str) -> str:
    what = shown(value) if isinstance(value, bool) else f"the number {value}"
    return f'YAML reads {written} as {what}: write "{written}" where text is meant.'


def shown(value: Any) -> str:
    """A value in a message: short, as it would be written in YAML."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, str):
        return repr(str(value) if len(value) <= 60 else f"{value[:57]}…")
    return str(value)[:60]


# --- Types in words --------------------------------------------------------------------------------


def wanted(kind: Any) -> str:
    """A declared type in plain words: `text`, `a whole number`, `one of present or absent`."""
    return listed(dict.fromkeys(_words(member) for member in _union(kind) if member is not type(None)))


def _words(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        described = next((text for meta in arguments[1:] if (text := getattr(meta, "description", None))), None)
        return described or _words(arguments[0]) + _bounds(arguments[1:])
    if origin is Literal:
        return f"one of {listed(str(choice) for choice in arguments)}" if len(arguments) > 1 else f"{arguments[0]!r}"
    if origin is list:
        return f"a list of {wanted(arguments[0])}" if arguments[0] is not Any else "a list"
    if origin is dict:
        return "a mapping" if arguments[1] in (Any, object) else f"a mapping of names to {wanted(arguments[1])}"
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false", list: "a list"}
    if hasattr(kind, "__struct_fields__"):
        return f"a mapping with {listed(kind.__struct_fields__, 'and')}"
    if is_typeddict(kind):
        return f"a mapping with {listed(kind.__annotations__, 'and')}"
    return names.get(kind, "a mapping" if kind is dict else "a value")


def _bounds(metas: tuple[Any, ...]) -> str:
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    return "".join(
        f", {text} {bound}" for meta in metas for name, text in words.items()
        if (bound := getattr(meta, name, None)) is not None
    )  # fmt: skip


def _union(kind: Any) -> Iterator[Any]:
    """The members of a union, or the type itself; an Annotated union's members where it says nothing."""
    if get_origin(kind) in (Union, types.UnionType):
        for member in get_args(kind):
            yield from _union(member)
    else:
        yield kind


@cache
def _members(kind: Any) -> tuple[Any, ...]:
    """The types that a declared type allows, without annotations."""
    members: list[Any] = []
    for member in _union(kind):
        if get_origin(member) is Annotated:
            members.extend(_members(get_args(member)[0]))
        else:
            members.append(member)
    return tuple(members)


def _choices(members: tuple[Any, ...]) -> list[Any]:
    return [choice for member in members if get_origin(member) is Literal for choice in get_args(member)]


def _admits_none(kind: Any) -> bool:
    members = _members(kind)
    return type(None) in members or Any in members
