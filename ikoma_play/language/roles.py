"""Roles: where they are found, and what one use of a role becomes."""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ..model import EMPTY, Block, Node, Position, RoleRef, Step
from ..spelling import did_you_mean
from . import left_out
from .calls import Call
from .composing import SUFFIXES, Reading, Unreadable, main_file
from .faults import shown_path
from .keywords import LEVELS, ROLE
from .levels import Level
from .role_arguments import options_of, specs_of, without_templates
from .steps import StepReader
from .text import Entries, has_template, position_of
from .values import check_variable_names, keyword_values, said_no, what_it_is

# Keys of a role's entry in `dependencies` that say where to install it from, not how to use it.
_INSTALLATION = frozenset(("src", "scm", "version", "galaxy_info"))


class RoleUse(Struct, frozen=True):
    """One place that uses a role: `said` are its keywords, `params` what it gives besides."""

    name: str
    at: Any
    said: Mapping[str, Any] = EMPTY
    params: Mapping[str, Any] = EMPTY
    phase: str = ""
    tasks_from: str = "main"
    vars_from: str = "main"
    defaults_from: str = "main"
    handlers_from: str = "main"
    again: bool | None = None  # may run again, as a step says that uses it; None: listed, so the role's meta says it
    vars: Mapping[str, Any] = EMPTY  # of that step
    public: bool = True
    needed: bool = False  # a dependency of the role around it
    validate: bool = True  # begin with the check of its arguments, where the role declares them


class RoleReader:
    """Reads the roles of one play: their steps are handed back, their handlers and variables gathered."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.handlers: list[Node] = []
        self.refs: list[RoleRef] = []
        self.faults = reading.faults
        self.steps = StepReader(reading, self.import_role)
        self._used: set[str] = set()

    # --- the ways to use a role ---

    def listed(self, entries: Any, level: Level) -> tuple[Node, ...]:
        """The `roles:` of a play."""
        nodes: list[Node] = []
        for entry in entries or ():
            if use := self._entry(entry, entries):
                nodes.extend(self.use(use, level))
        return tuple(nodes)

    def import_role(self, call: Call, said: Mapping[str, Any], inside: Level) -> tuple[Node, ...]:
        """An import_role step; `inside` already holds its keywords."""
        args = call.args
        written = args.get("name") or args.get("role")
        if not written:
            return ()
        name = self.reading.file_name(written, "import_role")
        if name is None:
            return ()
        use = RoleUse(
            name,
            position_of(written, call.key),
            phase=said.get("name") or "",
            tasks_from=args.get("tasks_from") or "main",
            vars_from=args.get("vars_from") or "main",
            defaults_from=args.get("defaults_from") or "main",
            handlers_from=args.get("handlers_from") or "main",
            again=args.get("allow_duplicates") is not False,
            vars=said.get("vars") or EMPTY,
            public=args.get("public") is not False,
            validate=not said_no(args.get("rolespec_validate")),
        )
        return self.use(use, inside)

    def _entry(self, entry: Any, around: Any) -> RoleUse | None:
        """An entry of `roles:` or of a role's dependencies."""
        if isinstance(entry, str) and entry.strip():
            return RoleUse(str(entry), position_of(entry, around))
        if not isinstance(entry, Entries):
            self.faults.add("wrong-type", f"a role is a name or a mapping, not {what_it_is(entry)}", entry,
                            otherwise=around)  # fmt: skip
            return None
        said = keyword_values(entry, ROLE, self.faults, others=True)
        written = said.get("role") or said.get("name")
        if not isinstance(written, str) or not written.strip():
            self.faults.add("missing-keyword", "this entry names no role", entry, "Add role: with its name.")
            return None
        name = self.reading.file_name(written, "role")
        if name is None:
            return None
        params = {key: value for key, value in entry.items() if key not in LEVELS[ROLE] and key not in _INSTALLATION}
        check_variable_names(params, self.faults)
        phase = str(said["name"]) if "role" in said and said.get("name") else ""
        return RoleUse(name, position_of(written, entry), said, params, phase)

    # --- one use ---

    def use(self, use: RoleUse, level: Level) -> tuple[Node, ...]:
        """The blocks of a role's dependencies and its own."""
        path = self.find(use)
        if path is None:
            return ()
        parents = (*level.role.parents, level.role) if level.role else ()
        if any(parent.path == path for parent in parents):
            chain = " → ".join([*(parent.name for parent in parents), use.name])
            self.faults.add("role-cycle", f"the role '{use.name}' uses itself: {chain}", use.at)
            return ()
        outer = level.within(use.said, variables=False)
        about = self._about(path)
        key = _key(use, path, outer)
        again = about.get("allow_duplicates") is True if use.again is None else use.again
        if use.again is None and not again and key in self._used:
            return ()
        self._used.add(key)
        name = os.path.basename(path.rstrip("/"))
        ref = RoleRef(
            name=name,
            path=path,
            defaults=self._variables(path, "defaults", use.defaults_from, use.at),
            vars={**(use.said.get("vars") or {}), **self._variables(path, "vars", use.vars_from, use.at)},
            params=use.params,
            parents=parents,
            needed=use.needed,
        )
        self._suspect(ref, about)
        inside = outer.but(role=ref, phase=use.phase or name)
        nodes = self._dependencies(about, inside)
        if use.public:
            self.refs.append(ref)
        if handlers := self._steps(path, "handlers", use.handlers_from, inside, use.at):
            self.handlers.extend(handlers)
        steps = self._steps(path, "tasks", use.tasks_from, inside, use.at)
        rollback = self.steps.rollback(use.said.get("rollback"), inside, os.path.join(path, "tasks"))
        position = position_of(use.at) or Position(shown_path(path), 1)
        if use.validate and (check := _check(use, ref, inside, position, self.reading.files)):
            steps = (check, *steps)
        return (*nodes, Block(steps, position, use.phase or name, rollback=rollback, role=ref, use=(key,), again=again))

    def _suspect(self, ref: RoleRef, about: Mapping[str, Any]) -> None:
        """A misspelt keyword of a role cannot be told from a variable, save where the role knows the variable."""
        if "argument_specs" in about or main_file(os.path.join(ref.path, "meta"), "argument_specs"):
            return
        for key in ref.params:
            if key not in ref.defaults and (remedy := did_you_mean(str(key), LEVELS[ROLE])):
                text = f"'{key}' is no keyword of a role, so it is taken for a variable"
                self.faults.add("suspicious-parameter", text, key, remedy, warning=True)

    def _dependencies(self, about: Mapping[str, Any], inside: Level) -> tuple[Node, ...]:
        dependencies = about.get("dependencies")
        if dependencies is None:
            return ()
        if not isinstance(dependencies, list):
            self.faults.add("wrong-type", "'dependencies' takes a list of roles", dependencies, otherwise=about)
            return ()
        nodes: list[Node] = []
        for entry in dependencies:
            if use := self._entry(entry, dependencies):
                nodes.extend(self.use(replace(use, needed=True), inside))
        return tuple(nodes)

    # --- where roles are ---

    def find(self, use: RoleUse) -> str | None:
        """The folder of a role, absolute. A fault names where it was looked for."""
        places = [os.path.join(place, use.name) for place in self.places()]
        if os.path.isabs(use.name):
            places = [use.name]
        for place in places:
            if os.path.isdir(place):
                return os.path.normpath(os.path.abspath(place))
        known = sorted({name for place in self.places() if os.path.isdir(place) for name in os.listdir(place)
                        if place.rstrip("/").endswith("roles")})  # fmt: skip
        if left_out.collection_of(use.name):
            text = f"the role '{use.name}' belongs to a collection, and collections are not part of ikoma-play"
            self.faults.add("collection", text, use.at)
            return None
        looked = ", ".join(dict.fromkeys(shown_path(os.path.abspath(place)) for place in self.places()
                                         if os.path.isdir(place)))  # fmt: skip
        remedy = did_you_mean(use.name, known, f"Looked in {looked}.")
        self.faults.add("missing-role", f"there is no role '{use.name}'", use.at, remedy)
        return None

    def places(self) -> list[str]:
        """The folders that hold roles, nearest first."""
        start = os.path.abspath(self.reading.playbook_dir or ".")
        places = [os.path.join(start, "roles")]
        parent = os.path.dirname(start)
        while parent != os.path.dirname(parent):
            places.append(os.path.join(parent, "roles"))
            parent = os.path.dirname(parent)
        places += [os.path.expanduser(place) for place in self.reading.roles_path]
        given = os.environ.get("ANSIBLE_ROLES_PATH", "")
        places += [os.path.expanduser(place) for place in given.split(":") if place]
        places.append(start)
        return [*places, _shipped()]

    # --- what is in a role ---

    def _about(self, path: str) -> Mapping[str, Any]:
        """meta/main.yml."""
        file = main_file(os.path.join(path, "meta"))
        if file is None:
            return {}
        try:
            about = self.reading.document(file)
        except Unreadable:
            return {}
        if about is not None and not isinstance(about, dict):
            self.faults.add("wrong-type", f"a role's meta is a mapping, not {what_it_is(about)}", about)
            return {}
        return about or {}

    def _variables(self, path: str, kind: str, name: str, at: Any) -> Mapping[str, Any]:
        """defaults/ or vars/: one file, or every file of a folder main/."""
        folder = os.path.join(path, kind)
        file = main_file(folder, name := str(name))
        if file is None and os.path.isdir(inner := os.path.join(folder, name)):
            merged: dict[str, Any] = {}
            for entry in sorted(os.listdir(inner)):
                if entry.endswith(SUFFIXES[1:]):
                    merged.update(self._mapping(os.path.join(inner, entry)))
            return merged
        if file is None:
            if name != "main":
                self._missing(path, kind, name, at)
            return EMPTY
        return self._mapping(file)

    def _mapping(self, file: str) -> Mapping[str, Any]:
        try:
            found = self.reading.document(file)
        except Unreadable:
            return EMPTY
        if found is not None and not isinstance(found, dict):
            text = f"a file of variables is a mapping of names to values, not {what_it_is(found)}"
            self.faults.add("wrong-type", text, found)
            return EMPTY
        check_variable_names(found or {}, self.faults)
        return found or EMPTY

    def _steps(self, path: str, kind: str, name: str, inside: Level, at: Any) -> tuple[Node, ...]:
        if has_template(name):
            self.faults.add("dynamic-import", f"{kind}_from needs a name that is known before the run", at)
            return ()
        file = main_file(os.path.join(path, kind), name := str(name))
        if file is None:
            if name != "main":
                self._missing(path, kind, name, at)
            return ()
        return self.steps.file(file, inside, at, handlers=kind == "handlers")

    def _missing(self, path: str, kind: str, name: str, at: Any) -> None:
        folder = os.path.join(path, kind)
        known = [entry.partition(".")[0] for entry in os.listdir(folder)] if os.path.isdir(folder) else []
        text = f"the role '{os.path.basename(path)}' has no file {kind}/{name}"
        self.faults.add("missing-file", text, at, did_you_mean(name, known))


def _key(use: RoleUse, path: str, outer: Level) -> str:
    """What tells a use of a role from others. Of one by a step its conditions make no difference, as in Ansible."""
    if use.again is None:
        conditions = (outer.fields.get("when", ()), sorted(outer.fields.get("tags", ())))
        return repr((path, dict(use.params), use.said.get("vars"), conditions))
    return repr((path, use.tasks_from, use.vars_from, use.defaults_from, use.handlers_from, dict(use.vars)))


def _check(use: RoleUse, ref: RoleRef, inside: Level, position: Position, files: dict[str, None]) -> Step | None:
    """The step that checks the arguments of this use, where the role's meta describes them."""
    entry = str(use.tasks_from).partition(".")[0]
    if not os.path.isdir(os.path.join(ref.path, "meta")):
        return None
    spec = specs_of(ref.path).get(entry)
    if spec is None:
        return None
    files.update(dict.fromkeys(os.path.join(ref.path, "meta", name) for name in os.listdir(f"{ref.path}/meta")))
    about = spec.get("short_description")
    called = {"type": "role", "name": ref.name, "argument_spec_name": entry, "path": ref.path}
    fields = {**inside.fields, "tags": inside.fields.get("tags", frozenset()) | {"always"}, "notify": ()}
    options = {name: without_templates(option) for name, option in options_of(spec).items()}
    arguments = {"argument_spec": options, "provided_arguments": dict(use.params), "validate_args_context": called}
    name = f"Check the arguments of {ref.name}" + (f": {about}" if isinstance(about, str) else "")
    return Step("validate_argument_spec", arguments, position, name, **fields)


def _shipped() -> str:
    from ..shipped import roles

    return str(roles())
