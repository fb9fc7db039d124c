"""Files of plays, and what a step brings while a run goes on."""

from __future__ import annotations

import os.path
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .. import shipped
from ..model import Block, Node, Play, Playbook, RoleRef, Step
from ..tool import Toolbox
from . import left_out
from .composing import Reading, Unreadable
from .faults import shown_path
from .keywords import IMPORT, LEVELS, PLAY, PROMPT
from .levels import Level
from .roles import RoleReader, RoleUse
from .schedules import ScheduleReader
from .steps import StepReader, find_steps_file
from .text import Entries, has_template, position_of
from .values import keyword_values, what_it_is

# Keywords of a play that are neither fields of Play nor parts of it, kept for whoever asks.
_KEPT = ("gather_subset", "gather_timeout")


def load_playbook(path: str, tools: Toolbox, roles_path: Sequence[str] = ()) -> Playbook:
    """A file of plays with everything it imports. Raises FaultsFound with all faults."""
    path = os.fspath(path)
    reading = Reading(tools, roles_path, os.path.dirname(path))
    plays = _PlaybookReader(reading).file(path, None, {})
    if not plays and not reading.faults.errors:
        reading.faults.add("empty-playbook", f"there are no plays in {shown_path(path)}")
    playbook = Playbook(path, plays, tuple(reading.files), reading.faults.warnings)
    reading.faults.raise_if_any(playbook)
    return playbook


def load_steps(
    path: str, tools: Toolbox, inherit: Step, *, handlers: bool = False, playbook_dir: str = ""
) -> tuple[Node, ...]:
    """The steps of a file that `inherit`, an include_tasks step, brings. Raises FaultsFound.

    A relative path is looked for beside the file that `inherit` stands in, then in its role.
    """
    reading = Reading(tools, playbook_dir=playbook_dir)
    role = inherit.role
    found = find_steps_file(
        os.fspath(path), os.path.dirname(inherit.position.file), role.path if role else "", playbook_dir
    )
    nodes: tuple[Node, ...] = ()
    if found is None:
        reading.faults.add("missing-file", f"there is no file of steps {path}", inherit.position)
    else:
        nodes = RoleReader(reading).steps.file(found, _handed_down(inherit), inherit.position, handlers)
    reading.faults.raise_if_any(nodes)
    return nodes


class LoadedRole(NamedTuple):
    """What an include_role brings: its steps (dependencies first), handlers and roles, in order."""

    block: Block
    handlers: tuple[Node, ...]
    roles: tuple[RoleRef, ...]


def load_role(
    name: str,
    tools: Toolbox,
    *,
    inherit: Step,
    search: Sequence[str] = (),
    playbook_dir: str = "",
    tasks_from: str = "main",
    vars_from: str = "main",
    defaults_from: str = "main",
    handlers_from: str = "main",
    validate: bool = True,
) -> LoadedRole:
    """A role that `inherit`, an include_role step, brings. Raises FaultsFound."""
    reading = Reading(tools, search, playbook_dir)
    reader = RoleReader(reading)
    use = RoleUse(
        name,
        position_of(inherit.args.get("name"), inherit.position),
        phase=inherit.name,
        tasks_from=tasks_from,
        vars_from=vars_from,
        defaults_from=defaults_from,
        handlers_from=handlers_from,
        again=True,
        vars=inherit.given_vars,
        validate=validate,
    )
    nodes = reader.use(use, _handed_down(inherit))
    if not nodes:
        reading.faults.raise_if_any()
    last = nodes[-1]
    block = last if len(nodes) == 1 and isinstance(last, Block) else Block(nodes, inherit.position, inherit.name)
    loaded = LoadedRole(block, tuple(reader.handlers), tuple(reader.refs))
    reading.faults.raise_if_any(loaded)
    return loaded


def _handed_down(inherit: Step) -> Level:
    """What an include hands down, with the variables it has got since (those of its loop)."""
    level = Level.of(inherit.outer or inherit)
    return level.but(vars=inherit.vars) if inherit.outer else level


class _PlaybookReader:
    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.faults = reading.faults
        self.schedules = ScheduleReader(reading.faults)

    def file(self, path: str, at: Any, around: Mapping[str, Any]) -> tuple[Play, ...]:
        """The plays of a file; `around` are the keywords of the import_playbook entries it came by."""
        if not self.reading.enter(path, at):
            return ()
        outer_dir, self.reading.playbook_dir = self.reading.playbook_dir, os.path.dirname(path)
        try:
            entries = self.reading.document(path, at, "playbook")
            if entries is None:
                return ()
            if not isinstance(entries, list):
                remedy = "Each play begins with '- ': '- hosts: all'."
                self.faults.add("wrong-type", f"a playbook is a list of plays, not {what_it_is(entries)}", entries,
                                remedy)  # fmt: skip
                return ()
            return tuple(play for entry in entries for play in self._entry(entry, entries, around))
        except Unreadable:
            return ()
        finally:
            self.reading.leave()
            self.reading.playbook_dir = outer_dir

    def _entry(self, entry: Any, entries: Any, around: Mapping[str, Any]) -> tuple[Play, ...]:
        if not isinstance(entry, Entries):
            text = f"a play is a mapping, not {what_it_is(entry)}"
            self.faults.add("wrong-type", text, entry, "Write '- hosts: …'.", otherwise=entries)
            return ()
        for key in entry:
            if key in ("import_playbook", "ansible.builtin.import_playbook"):
                return self._imported(entry, key, around)
        if "hosts" not in entry and any(key in self.reading.tools for key in entry if isinstance(key, str)):
            remedy = "Put it under 'steps:' of a play that names its hosts; import_tasks takes files of steps."
            self.faults.add("no-hosts", "this is a step, and a play is wanted here", entry, remedy)
            return ()
        return (self._play(entry, around),)

    def _imported(self, entry: Entries, key: Any, around: Mapping[str, Any]) -> tuple[Play, ...]:
        renamed = Entries({"import_playbook" if name == key else name: value for name, value in entry.items()})
        renamed.position = entry.position
        said = keyword_values(renamed, IMPORT, self.faults)
        self.reading.known = {**(around.get("vars") or {}), **(said.get("vars") or {})}
        name = self.reading.file_name(entry[key], "import_playbook")
        if name is None:
            return ()
        path = os.path.join(self.reading.playbook_dir, name)
        ours = os.path.join(shipped.playbooks(), name)
        if not os.path.isfile(path) and os.sep not in name and os.path.isfile(ours):  # a Path chokes on a long name
            path = ours
        if not os.path.isfile(path) and left_out.collection_of(name):
            text = f"the playbook '{name}' belongs to a collection, and collections are not part of ikoma-play"
            self.faults.add("collection", text, entry[key], otherwise=key)
            return ()
        if not os.path.isfile(path):
            self.faults.add("missing-file", f"there is no playbook {shown_path(path)}", entry[key], otherwise=key)
            return ()
        inside = {
            "vars": {**(said.get("vars") or {}), **(around.get("vars") or {})},
            "tags": (*around.get("tags", ()), *said.get("tags", ())),
            "when": (*around.get("when", ()), *said.get("when", ())),
            "schedule": around.get("schedule") or self.schedules.read(entry, said),
        }
        return self.file(path, position_of(entry[key], key), inside)

    def _play(self, entry: Entries, around: Mapping[str, Any]) -> Play:
        said = keyword_values(entry, PLAY, self.faults)
        if "hosts" not in entry:
            self.faults.add("no-hosts", "this play names no hosts", entry, "Add hosts: with a group, a host or all.")
        elif entry["hosts"] is None:
            self.faults.add("no-hosts", "'hosts' is empty", _key(entry, "hosts"), "Name a group, a host or all.")
        variables = {**(said.get("vars") or {}), **(around.get("vars") or {})}
        self.reading.known = variables
        level = Level().within({"when": around.get("when", ()), "tags": around.get("tags", ())})
        level = level.within(said, variables=False)
        roles = RoleReader(self.reading)
        folder = self.reading.playbook_dir
        steps = self._parts(entry, said, level, roles, folder)
        handlers = roles.steps.nodes(said.get("handlers"), level.but(phase="handlers"), folder, handlers=True)
        return Play(
            hosts=said.get("hosts", ""),
            position=entry.position,
            steps=steps,
            name=said.get("name", ""),
            handlers=(*roles.handlers, *handlers),
            roles=tuple(roles.refs),
            vars=variables,
            vars_files=self._vars_files(said.get("vars_files", ())),
            vars_prompt=self._prompts(said.get("vars_prompt")),
            gather_facts=said.get("gather_facts"),
            serial=said.get("serial"),
            strategy=said.get("strategy", "linear"),
            order=said.get("order", "inventory"),
            max_fail_percentage=said.get("max_fail_percentage"),
            any_errors_fatal=said.get("any_errors_fatal", False),
            force_handlers=said.get("force_handlers", False),
            lock=said.get("lock"),
            rollback=roles.steps.rollback(said.get("rollback"), level.but(phase="rollback"), folder),
            rollback_scope=said.get("rollback_scope", "host"),
            keywords={name: value for name, value in said.items() if LEVELS[PLAY][name].inherited or name in _KEPT},
            schedule=around.get("schedule") or self.schedules.read(entry, said),
        )

    def _parts(
        self, entry: Entries, said: Mapping[str, Any], level: Level, roles: RoleReader, folder: str
    ) -> tuple[Node, ...]:
        """pre_tasks, roles, steps and post_tasks, with notified handlers after each as Ansible runs them."""
        if "tasks" in said and "steps" in said:
            text = "'tasks' and 'steps' are the same; this play has both"
            self.faults.add("duplicate-key", text, _key(entry, "steps"), "Put them into one list.")
        own = said.get("steps") or said.get("tasks")

        def part(name: str, steps: Any) -> tuple[Node, ...]:
            return roles.steps.nodes(steps, level.but(phase=name), folder)

        flush = Step(
            "meta", {_meta_argument(self.reading.tools): "flush_handlers"}, entry.position, tags=frozenset(("always",)),
            phase="handlers",
        )  # fmt: skip
        before = part("pre_tasks", said.get("pre_tasks"))
        middle = (*roles.listed(said.get("roles"), level), *part("steps", own))
        after = part("post_tasks", said.get("post_tasks"))
        nodes: tuple[Node, ...] = ()
        for nodes_of_part in (before, middle, after):
            if nodes or nodes_of_part:  # after an empty part too: handlers may have notified earlier ones
                nodes = (*nodes, *nodes_of_part, flush)
        return nodes

    def _vars_files(self, files: Any) -> tuple[Any, ...]:
        for entry in files:
            names = entry if isinstance(entry, list) else [entry]
            if has_template(names):
                continue
            paths = [os.path.join(self.reading.playbook_dir, name) for name in names]
            paths += [os.path.join(self.reading.playbook_dir, "vars", name) for name in names]
            if not any(os.path.isfile(path) for path in paths):
                self.faults.add("missing-file", f"there is no file of variables {' or '.join(names)}", entry)
        return tuple(files)

    def _prompts(self, prompts: Any) -> tuple[Mapping[str, Any], ...]:
        found = []
        for prompt in prompts if isinstance(prompts, list) else ():
            if not isinstance(prompt, Entries):
                self.faults.add("wrong-type", f"a question is a mapping, not {what_it_is(prompt)}", prompt,
                                otherwise=prompts)  # fmt: skip
                continue
            said = keyword_values(prompt, PROMPT, self.faults)
            if "name" not in prompt:
                self.faults.add("missing-keyword", "this question names no variable", prompt, "Add name: to it.")
            found.append(said)
        return tuple(found)


def _meta_argument(tools: Toolbox) -> str:
    tool = tools.find("meta") if "meta" in tools else None
    return tool.free_form or "free_form" if tool else "free_form"


def _key(entry: Entries, name: str) -> Any:
    return next((key for key in entry if key == name), entry)


__all__ = ["LoadedRole", "StepReader", "load_playbook", "load_role", "load_steps"]
