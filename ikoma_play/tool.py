"""Tools are declared once: a typed function with a docstring; everything else derives from it.

    @tool("db.backup", access=Access.OPERATOR, changes=True)
    def backup(on: Transport, app_name: AppName, backup_name: BackupName | None = None) -> Outcome:
        '''Dump the application's database to a file that `psql < file` restores.

        The dump is written beside its final name, flushed and renamed: whole or not at all.

        app_name: the application
        backup_name: the file's name; default the application's name and the time
        '''

The first parameter is the road to the host. A keyword-only parameter named `scope` receives what a
tool may know of the run. All others are arguments: platform tools (dotted names) take them in
camelCase (`appName`), the general ones as they are spelled. Lines `name: text` at the end of the
docstring describe arguments.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Container, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from .events import Decision
from .model import Access, Fault, Outcome

Function = TypeVar("Function", bound=Callable[..., Outcome])
CACHEABLE = "_ansible_facts_cacheable"  # key of a result: the variables that it sets are facts of the host too
Record = Mapping[str, Any]
"""What a tool wrote down before it changed something: plain JSON without secrets."""
CALL = "call"  # in the place of a number in the name under which a single call keeps what it changes
INTENDED = "intended"  # beside such a record in the journal: nothing was changed, but something may be kept


class Scope(Protocol):
    """What a tool may know of the run it is part of."""

    variables: Mapping[str, Any]  # of this host and step; values render when they are looked up
    check: bool
    diff: bool
    mark: str  # names this step of this run, also when the run is resumed
    again: bool  # it was begun before, and how far it came is not known

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, as `when` has them; raises TemplateFailed."""

    def render_file(self, path: Path, options: Mapping[str, Any], **extra: Any) -> str:
        """A template file of the runner, rendered to text; what it includes is looked for beside it first.

        `options` are Jinja's for this one file (trim_blocks, lstrip_blocks, newline_sequence, the
        delimiters …); the final newline stays. Raises TemplateFailed with the position inside the file."""

    def find(self, kind: str, name: str) -> Path:
        """A file of the runner: `kind` is files, templates, tasks or vars; looks in the role, then
        beside the playbook. Raises NotFound, naming where it looked."""

    def mask(self, text: str) -> str:
        """`text` without the secrets of the run."""

    def keep_secret(self, *values: str) -> None:
        """Never show these values again, in any event, log or answer of this run."""

    def decided(self, question: str, role: Access, timeout: float) -> Decision | None:
        """What a person with this role says to a question, waited for; None when nobody has answered within
        `timeout` seconds. Raises StepError where nobody could."""


class Undoing(Struct, frozen=True):
    """Under what circumstances something is undone."""

    late: bool = False  # the run had ended well: what people did since is there too, and must not be lost
    failed: bool = False  # something that was done later on this host could not be undone
    keep_secret: Callable[..., None] = lambda *values: None  # as Scope has it


class Undo(Struct, frozen=True):
    """How what a tool does is undone: `rollback: auto`.

    `capture(on, at, **arguments)` is called before the tool, with the tool's arguments (without its scope). It
    keeps what is about to change on the host, under the name `at` (RUN/NUMBER-…), and gives the record that
    `revert` needs and nothing else: the record goes into the journal, and another process may undo by it.
    `intend`, called before that, gives a record for `forget`, should the process die while it keeps things.
    `revert(on, record, undoing)` makes things as they were, whether the tool did all of its work, a part or
    nothing, and again when it was interrupted itself. `finish` is a second part of it, for after everything
    else on the host is undone: services start again once their files and rows are back. `forget` drops what was
    kept, once the tool turned out to have changed nothing or was undone; `expire` drops what older runs kept,
    once the run has ended well.
    """

    says: str  # what undoes it, for `plan`: "the former .env comes back"
    intend: Callable[..., dict[str, Any]]
    capture: Callable[..., dict[str, Any]]
    revert: Callable[[Any, Record, Undoing], Outcome]
    finish: Callable[[Any, Record, Undoing], Outcome] | None = None
    forget: Callable[[Any, Record], None] = lambda on, record: None
    expire: Callable[[Any, Record], None] = lambda on, record: None


class Parameter(Struct, frozen=True):
    """One argument of a tool. `wire` is its name in playbooks and HTTP bodies."""

    name: str
    wire: str
    type: Any
    required: bool
    default: Any = None
    description: str = ""
    secret: bool = False  # its value is never shown


Repeatable = bool | Callable[[Mapping[str, Any]], bool]


class Tool(Struct, frozen=True, dict=True):
    """A declared tool; what is derived from its function is worked out when first asked for."""

    name: str
    access: Access
    function: Callable[..., Outcome]
    changes: bool  # may change the host; False: only looks
    repeatable: Repeatable = True  # running it twice is as good as once; what tells that from its arguments
    free_form: str | None = None  # the argument that a bare text under the tool's name becomes
    detaches: bool = False  # heeds `detached` of its road: what it starts then outlives the run
    open: bool = False  # takes any further argument (set_fact): the function then has `**values`
    secrets: tuple[str, ...] = ()  # Python names of arguments never shown
    aliases: Mapping[str, str] = field(default_factory=dict)  # further wire names → Python names
    undo: Undo | None = None
    lasting: str = ""  # why it is not undone, where it changes something and has no `undo`
    places: tuple[str, ...] = ()  # Python names of arguments that name files of the runner, or addresses
    expressions: tuple[str, ...] = ()  # Python names of arguments whose text is evaluated: it must not be foreign
    also: tuple[str, ...] = ()  # further names

    @property
    def dotted(self) -> bool:
        return "." in self.name

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.also)

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        return tuple(_parameters(self))

    @cached_property
    def wires(self) -> frozenset[str]:
        """The names of its arguments in playbooks and HTTP bodies, without aliases."""
        return frozenset(parameter.wire for parameter in self.parameters)

    @cached_property
    def named(self) -> Mapping[str, Parameter]:
        """Its arguments by every name that they may be given under."""
        names = {parameter.wire: parameter for parameter in self.parameters}
        by_python = {parameter.name: parameter for parameter in self.parameters}
        for alias, name in self.aliases.items():
            names.setdefault(alias, by_python[name])
        return names

    def evaluates(self, wire: str) -> bool:
        """Whether the text of the argument of this name, which may be an alias, is taken for an expression."""
        return bool(self.expressions) and wire in self.named and self.named[wire].name in self.expressions

    def twice(self, arguments: Mapping[str, Any]) -> bool:
        """Whether a call with these arguments may be made a second time unasked."""
        if not self.changes or any(arguments.get(name) for name in ("creates", "removes")):
            return True
        if isinstance(self.repeatable, bool):
            return self.repeatable
        return bool(arguments) and self.repeatable(arguments)  # none: they are not known

    @cached_property
    def summary(self) -> str:
        """The first line of the docstring."""
        return (self.function.__doc__ or "").strip().partition("\n")[0]

    @cached_property
    def description(self) -> str:
        """The docstring's further paragraphs, without the lines that describe arguments."""
        body = (self.function.__doc__ or "").strip().partition("\n")[2]
        lines = [line.strip() for line in body.splitlines()]
        names = {parameter.name for parameter in self.parameters}
        kept = [line for line in lines if line.partition(":")[0] not in names]
        return "\n".join(kept).strip()

    def faults(self, values: Mapping[str, Any], known: Callable[[Any], bool] = lambda value: True) -> list[Fault]:
        """What is wrong with these arguments, all of it: unknown, missing, of another type.

        `known` says of a value whether it is final; one that still holds templates is not judged.
        """
        from .binding import faults

        return faults(self, values, known)

    def bind(self, values: Mapping[str, Any], templated: Container[str] = ()) -> dict[str, Any]:
        """The function's keyword arguments from wire names and plain values; raises FaultsFound.

        In arguments named in `templated` (their text held templates) a number may stand for text.
        """
        from .binding import bind

        return bind(self, values, templated)

    def schema(self) -> dict[str, Any]:
        """JSON Schema (2020-12) of the arguments as an object."""
        from .binding import schema

        return schema(self)


def tool(
    name: str,
    *,
    access: Access,
    changes: bool,
    repeatable: Repeatable = True,
    free_form: str | None = None,
    detaches: bool = False,
    open: bool = False,
    secrets: Iterable[str] = (),
    aliases: Mapping[str, str] | None = None,
    undo: Undo | None = None,
    lasting: str = "",
    places: Iterable[str] = (),
    expressions: Iterable[str] = (),
    also: Iterable[str] = (),
) -> Callable[[Function], Function]:
    """Declare the function a tool; it stays an ordinary function with the tool at `.tool`.

    A platform tool that changes something says how it is undone (`undo`), or why it is not (`lasting`). `places` are
    arguments by which a caller could have the runner read files or reach addresses that are not the application's,
    `expressions` such whose text is evaluated; `also` are further names of the same tool."""

    def declare(function: Function) -> Function:
        function.tool = Tool(  # type: ignore[attr-defined]
            name,
            access,
            function,
            changes,
            repeatable,
            free_form,
            detaches,
            open,
            tuple(secrets),
            dict(aliases or {}),
            undo,
            lasting,
            tuple(places),
            tuple(expressions),
            tuple(also),
        )
        return function

    return declare


class Toolbox:
    """All tools, found by name; a module of tools is imported when one of its names is asked for.

    `modules` maps module names to the names of the tools they declare.
    """

    def __init__(self, modules: Mapping[str, Iterable[str]]) -> None:
        self._module_of = {name: module for module, names in modules.items() for name in names}
        self._tools: dict[str, Tool] = {}

    def names(self) -> list[str]:
        return list(self._module_of)

    def __contains__(self, name: str) -> bool:
        return self.canonical(name) in self._module_of

    def canonical(self, name: str) -> str:
        """`ansible.builtin.copy` and `ansible.legacy.copy` are `copy`."""
        return re.sub(r"^ansible\.(builtin|legacy)\.", "", name)

    def find(self, name: str) -> Tool | None:
        if (known := self._tools.get(name)) is not None:
            return known
        name = self.canonical(name)
        if name not in self._tools:
            module = self._module_of.get(name)
            if module is None:
                return None
            self._load(module)
        return self._tools[name]

    def all(self) -> list[Tool]:
        """Every tool, in the order of the declaration's table."""
        return [found for name in self._module_of if (found := self.find(name))]

    def _load(self, module: str) -> None:
        declared = importlib.import_module(module)
        for value in vars(declared).values():
            if callable(value) and isinstance(found := getattr(value, "tool", None), Tool):
                self._tools |= {
                    name: found if name == found.name else replace(found, name=name) for name in found.names
                }


def _parameters(of: Tool) -> Iterable[Parameter]:
    import inspect
    from typing import get_type_hints

    hints = get_type_hints(of.function, include_extras=True)
    described = dict(re.findall(r"^\s*(\w+): (.+)$", of.function.__doc__ or "", re.M))
    for name, parameter in list(inspect.signature(of.function).parameters.items())[1:]:
        if name == "scope" or parameter.kind is parameter.VAR_KEYWORD:
            continue
        required = parameter.default is parameter.empty
        spelled = name.rstrip("_")
        wire = re.sub(r"_(\w)", lambda match: match[1].upper(), spelled) if of.dotted else spelled
        yield Parameter(
            name,
            wire,
            hints[name],
            required,
            None if required else parameter.default,
            described.get(name, ""),
            name in of.secrets,
        )
