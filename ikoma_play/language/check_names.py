"""Variables: names that nothing could ever define, templates that do not parse, results that nobody uses."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from ..errors import TemplateFailed
from ..model import Host, Position, RoleRef, Step
from ..spelling import did_you_mean, nearest
from .check_files import file_name, find_file
from .contents import Contents, Place
from .faults import Faults, shown_path
from .locating import place_of
from .text import Text, Unsafe, has_template, position_of
from .variable_files import read_variables
from .variables import MAGIC

if TYPE_CHECKING:
    from .template_needs import Needs

_PIECE = re.compile(r"\{\{.*?\}\}")
# Arguments that are expressions.
_EXPRESSION_ARGUMENTS = {"assert": "that", "debug": "var"}
_JINJA_OPTIONS = ("variable_start_string", "block_start_string", "comment_start_string")


def check_names(
    plays: Sequence[Contents], hosts: Sequence[Sequence[Host]], extra_vars: Mapping[str, Any], folder: str,
    faults: Faults, excused: frozenset[str] = frozenset(),
) -> None:  # fmt: skip
    """`hosts` are those of each play; registered names and facts outlive their play.

    `excused` names may be defined once other faults are mended.
    """
    lasting = _Definitions(faults, folder)
    for contents in plays:
        lasting.add_results(contents)
    words: set[str] = set()
    for contents, of_play in zip(plays, hosts, strict=True):
        known = _Definitions(faults, folder, lasting)
        known.add_play(contents)
        for host in of_play:
            known.add(host.vars)
        known.add(extra_vars)
        words |= _PlayNames(contents, known, folder, faults, excused).check()
    if all(contents.closed for contents in plays):
        _unused(plays, words, faults)


def _unused(plays: Sequence[Contents], words: set[str], faults: Faults) -> None:
    for contents in plays:
        for place in contents.places:
            name = place.step.register
            if name and name not in words and not has_template(name) and not name.startswith("_"):
                text = f"nothing uses the registered variable '{name}'"
                faults.add("unused-register", text, name, otherwise=place.step.position, warning=True)


class _Definitions(Struct):
    """Every name that is or will be defined, with the values written for it; `complete` unless some are unknown."""

    faults: Faults
    folder: str
    before: _Definitions | None = None
    values: dict[str, list[Any]] = field(default_factory=dict)
    complete: bool = True

    def __post_init__(self) -> None:
        if self.before is not None:
            self.values = {name: list(written) for name, written in self.before.values.items()}
            self.complete = self.before.complete

    def add(self, variables: Mapping[str, Any]) -> None:
        for name, value in variables.items():
            self.values.setdefault(name, []).append(value)

    def name(self, name: Any) -> None:
        if isinstance(name, str) and not has_template(name):
            self.values.setdefault(name, [])
        else:
            self.complete = False

    def add_results(self, contents: Contents) -> None:
        """What steps leave behind on their hosts: registered results, facts, files of variables."""
        for step in contents.steps():
            if step.register:
                self.name(step.register)
            if step.tool == "set_fact":
                for name, value in step.args.items():
                    if has_template(name):
                        self.complete = False
                    elif name != "cacheable":
                        self.add({name: value})
            elif step.tool == "include_vars":
                self._included(step)
            elif step.tool == "add_host":
                self.add({name: value for name, value in step.args.items() if isinstance(name, str)})

    def _included(self, step: Step) -> None:
        if name := step.args.get("name"):
            self.name(name)
            return
        file = file_name(step)
        path = file and (file if os.path.isabs(file) else find_file(step, file, self.folder))
        if not path or not os.path.isfile(path):
            self.complete = False
            return
        self._read(path, step.position)

    def _read(self, path: str, at: Any) -> None:
        own = Faults()
        self.add(read_variables(path, own, at))
        self.faults.take(own)
        self.complete = self.complete and not own.errors

    def add_play(self, contents: Contents) -> None:
        """What a play brings: its variables, files, questions, roles, and variables of its steps."""
        play = contents.play
        self.complete = self.complete and contents.closed
        self.add(play.vars)
        for prompt in play.vars_prompt:
            self.name(prompt.get("name", ""))
        for entry in play.vars_files:
            self._file(entry)
        roles: dict[int, RoleRef] = {}
        for role in contents.roles:
            roles.update((id(each), each) for each in (role, *role.parents))
        layers: dict[int, Mapping[str, Any]] = {}
        for step in contents.steps():
            layers.update((id(layer), layer) for layer in step.vars)
            if step.role is not None:
                roles.update((id(each), each) for each in (step.role, *step.role.parents))
        for each in roles.values():
            for layer in (each.defaults, each.vars, each.params):
                self.add(layer)
        for layer in layers.values():
            self.add(layer)

    def _file(self, entry: Any) -> None:
        for name in entry if isinstance(entry, list) else [entry]:
            if has_template(name):
                self.complete = False
                continue
            for place in (self.folder, os.path.join(self.folder, "vars")):
                path = os.path.join(place, name)
                if os.path.isfile(path):
                    self._read(path, name)
                    break


class _PlayNames:
    """Checks one play's templates against what is defined."""

    def __init__(
        self, contents: Contents, known: _Definitions, folder: str, faults: Faults, excused: frozenset[str]
    ) -> None:
        self.contents = contents
        self.known = known
        self.folder = folder
        self.faults = faults
        self.excused = excused
        self.words: set[str] = set()
        self._followed: set[str] = set()
        self._broken: set[tuple[str, Any]] = set()

    def check(self) -> set[str]:
        """Adds the faults; returns every word that occurs in the play's templates and values."""
        for place in self.contents.places:
            self._place(place)
        play = self.contents.play
        for value in (play.hosts, play.serial, play.lock, play.vars_files, play.keywords):
            self._texts(value, _Scope(position_of(play.hosts, play.position), fatal=False))
        for values in self.known.values.values():
            for value in values:
                self._see(value)
        return self.words

    def _place(self, place: Place) -> None:
        step = place.step
        conditions = [condition for condition in step.when if isinstance(condition, str)]
        guarded = place.names | {"ansible_loop"}
        for condition in conditions:
            if (found := self._needs(condition, True, step.position)) is not None:
                guarded |= found.guarded
        forgiven = place.caught or step.ignore_errors is not False
        for number, condition in enumerate(step.when):
            self._texts(condition, _Scope(step.position, frozenset(guarded), certain=not (number or forgiven)), True)
        may_pass = bool(step.when) or forgiven
        scope = _Scope(step.position, frozenset(guarded), certain=not may_pass)
        for value in _expressions(step):
            self._texts(value, scope, expression=True)
        for value in _values(step):
            self._texts(value, scope)
        optional = _Scope(step.position, scope.names, fatal=False)
        for value in (step.name, step.vars, step.loop.label if step.loop else None):
            self._texts(value, optional)
        expression = _EXPRESSION_ARGUMENTS.get(step.tool, "")
        for name, value in step.args.items():
            self._see(name)
            self._texts(value, optional if name == expression == "var" else scope, expression=name == expression)
        if step.tool == "template":
            self._template_file(step, scope)

    def _template_file(self, step: Step, scope: _Scope) -> None:
        from .template_files import ABOUT, OPTIONS_LINE

        name = file_name(step)
        path = name and (name if os.path.isabs(name) else find_file(step, name, self.folder))
        if not path or not os.path.isfile(path) or any(step.args.get(option) for option in _JINJA_OPTIONS):
            return
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read(1_000_000)
        except (OSError, UnicodeDecodeError):
            return
        if text.startswith(OPTIONS_LINE) and "_string" in text.partition("\n")[0]:
            return
        placed = Text(text)
        placed.position = Position(shown_path(path), 1)
        self._texts(placed, _Scope(placed.position, scope.names | ABOUT))

    # --- texts ---

    def _see(self, value: Any) -> None:
        """Remembers the words in a value, for what is used by name only."""
        for text in _all_texts(value):
            self.words.update(re.findall(r"\w+", text))

    def _texts(self, value: Any, scope: _Scope, expression: bool = False) -> None:
        for text in _all_texts(value):
            self.words.update(re.findall(r"\w+", text))
            if isinstance(text, Unsafe) or not (expression or has_template(text)):
                continue
            wanted = self._needs(text, expression, scope.position)
            if scope.fatal and wanted is not None:
                for name in sorted(wanted.required - scope.names):
                    self._name(name, text, scope, expression)

    def _needs(self, text: str, expression: bool, position: Any) -> Needs | None:
        from .template_needs import needs

        try:
            return needs(text, expression)
        except TemplateFailed as error:
            self._template(text, error, position)
        except RecursionError:
            self.faults.add("template", "this template is nested too deeply", text, otherwise=position)
        return None

    def _template(self, text: str, error: TemplateFailed, position: Any) -> None:
        where = position_of(text, position)
        if (text, where) in self._broken:
            return
        self._broken.add((text, where))
        line, _, caret = error.evidence.partition("\n")
        pieces = _PIECE.findall(text) if caret == "" else ()
        if len(pieces) > 1 and (broken := next(filter(_is_broken, pieces), "")):
            self.faults.add("template", f"{error.message}, in {_quoted(broken)}",
                            place_of(broken, text, position, whole_word=False), error.remedy)  # fmt: skip
            return
        place = place_of(line.strip(), text, position, whole_word=False)
        if place and caret.strip() == "^" and place != where:
            place = type(place)(place.file, place.line, place.column + max(0, len(caret) - 1 - _indent(line)))
        self.faults.add("template", f"{error.message}, in {_quoted(text)}", place, error.remedy)

    def _name(self, name: str, text: str, scope: _Scope, expression: bool) -> None:
        """Follows a name to what defines it; a fault where nothing does."""
        from .evaluating import is_evaluated
        from .jinja_environment import environment

        if name in self.known.values:
            if name not in self._followed:
                self._followed.add(name)
                for value in self.known.values[name]:
                    self._texts(value, _Scope(position_of(value, scope.position), scope.names, certain=scope.certain))
            return
        if name in MAGIC or name.startswith("ansible_") or not self.known.complete:
            return
        if name in environment().globals or name in self.excused:
            return
        known = [*self.known.values, *scope.names, *(magic for magic in MAGIC if "_" in magic)]
        remedy = did_you_mean(name, known, f"Define it in the inventory or under vars, or give it with -e {name}=…")
        if name == "item":
            remedy = "It exists in a loop only."
        # What may never be evaluated does not stop a run, unless it is plainly a misspelling.
        certain = (scope.certain and is_evaluated(name, text, expression)) or nearest(name, known, 0.85) is not None
        self.faults.add(
            "undefined-variable", f"nothing defines the variable '{name}'", place_of(name, text, scope.position),
            remedy, warning=not certain,
        )  # fmt: skip


class _Scope(Struct, frozen=True):
    """Where a text is used: names that exist just there, whether an undefined one fails there, and for certain."""

    position: Any
    names: frozenset[str] = frozenset()
    fatal: bool = True
    certain: bool = True


def _all_texts(value: Any) -> Iterator[str]:
    waiting = [value]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, (Mapping, list, tuple, frozenset)) and id(each) not in seen:
            seen.add(id(each))
            waiting.extend(reversed([*each.keys(), *each.values()] if isinstance(each, Mapping) else list(each)))


def _expressions(step: Step) -> Iterator[Any]:
    yield step.failed_when
    yield step.changed_when
    if step.retry:
        yield step.retry.until
    if step.loop:
        yield step.loop.break_when


def _values(step: Step) -> Iterator[Any]:
    if step.loop:
        yield step.loop.items
        yield step.loop.pause
    if step.retry:
        yield (step.retry.retries, step.retry.delay, step.retry.backoff)
    yield from (
        step.environment, step.delegate_to, step.timeout, step.throttle, step.run_once, step.no_log, step.check_mode,
        step.diff, step.ignore_errors, step.become.enabled, step.become.user, step.notify, step.async_seconds,
    )  # fmt: skip


def _is_broken(piece: str) -> bool:
    from .template_needs import needs

    try:
        needs(piece, False)
    except TemplateFailed:
        return True
    return False


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _quoted(text: str) -> str:
    shown = " ".join(text.split())
    return f"'{shown}'" if len(shown) <= 60 else f"'{shown[:57]}…'"
