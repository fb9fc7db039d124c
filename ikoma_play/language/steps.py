"""Lists of steps: blocks, calls of tools, and imports, which vanish here."""

from __future__ import annotations

import os.path
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..model import EMPTY, Block, Loop, Node, Retry, Step
from .calls import Call, find_call
from .composing import Reading, Unreadable, first_file
from .keywords import BLOCK, HANDLER, LOOP_CONTROL, STEP
from .levels import Level
from .text import Entries, has_template, position_of
from .values import AUTO, keyword_values, what_it_is

# What an import cannot have, since there is nothing left of it when the run starts.
_NOT_ON_IMPORTS = ("loop", "loop_control", "register", "until", "retries", "failed_when", "changed_when", "async")

UseRole = Callable[[Call, Mapping[str, Any], Level], tuple[Node, ...]]


class StepReader:
    """Reads lists of steps. `use_role` makes the nodes of an import_role."""

    def __init__(self, reading: Reading, use_role: UseRole) -> None:
        self.reading = reading
        self.faults = reading.faults
        self.use_role = use_role

    def file(self, path: str, level: Level, at: Any = None, handlers: bool = False) -> tuple[Node, ...]:
        """The steps in a file."""
        if not self.reading.enter(path, at):
            return ()
        try:
            steps = self.reading.document(path, at, "file of steps")
            if steps is None:
                return ()
            if not isinstance(steps, list):
                remedy = "A file of steps begins with '- '."
                self.faults.add("wrong-type", f"a list of steps is wanted, not {what_it_is(steps)}", steps, remedy)
                return ()
            return self.nodes(steps, level, os.path.dirname(path), handlers)
        except Unreadable:
            return ()
        finally:
            self.reading.leave()

    def nodes(self, steps: Any, level: Level, folder: str, handlers: bool = False) -> tuple[Node, ...]:
        """What a list of steps is; `folder` is where the files it imports are looked for."""
        found: list[Node] = []
        for entry in steps or ():
            found.extend(self._nodes_of(entry, level, folder, handlers, steps))
        return tuple(found)

    def _nodes_of(self, entry: Any, level: Level, folder: str, handlers: bool, steps: Any) -> Iterator[Node]:
        if not isinstance(entry, Entries):
            remedy = "A step is a mapping that names a tool: '- debug: {msg: hello}'."
            self.faults.add(
                "wrong-type", f"a step is a mapping, not {what_it_is(entry)}", entry, remedy, otherwise=steps
            )
        elif "block" in entry:
            yield self._block(entry, level, folder, handlers)
        elif "rescue" in entry or "always" in entry:
            word = "rescue" if "rescue" in entry else "always"
            self.faults.add("no-block", f"'{word}' stands beside a block, and there is none", _key(entry, word))
        else:
            yield from self._calls(entry, level, folder, handlers)

    # --- blocks ---

    def _block(self, entry: Entries, level: Level, folder: str, handlers: bool) -> Block:
        said = keyword_values(entry, BLOCK, self.faults)
        inside = level.within(said)

        def part(name: str) -> tuple[Node, ...]:
            return self.nodes(said.get(name), inside, folder, handlers)

        if not entry["block"] and isinstance(entry["block"], (list, type(None))):
            self.faults.add("empty-block", "this block has no steps", _key(entry, "block"), warning=True)
        return Block(
            steps=part("block"),
            position=entry.position,
            name=said.get("name", ""),
            rescue=part("rescue"),
            always=part("always"),
            rollback=self.rollback(said.get("rollback"), inside, folder),
            atomic=said.get("atomic", False),
        )

    def rollback(self, steps: Any, level: Level, folder: str) -> tuple[Node, ...] | None:
        """Handlers that undo: whether the undone steps should have run is settled when these run."""
        if steps is None:
            return None
        if steps == AUTO:
            remedy = "Say it on the steps that are to be undone, or list steps that undo the whole."
            self.faults.add("auto-rollback", "'rollback: auto' stands on a step that calls a tool", steps, remedy)
            return None
        return self.nodes(steps, level.but(when=(), notify=(), ignore_errors=False), folder)

    # --- steps ---

    def _calls(self, entry: Entries, level: Level, folder: str, handlers: bool) -> Iterator[Node]:
        kind = HANDLER if handlers else STEP
        said = keyword_values(entry, kind, self.faults, others=True)
        inside = level.within(said)
        call = find_call(entry, kind, inside, self.reading)
        if call.name == "import_tasks":
            yield from self._imported(call, entry, said, inside, folder, handlers)
        elif call.name == "import_role":
            self._no_run_time_keywords(entry, call)
            yield from self._wrapped(self.use_role(call, said, inside), entry, said, inside, folder)
        else:
            yield self._step(call, entry, said, level, inside, folder)

    def _imported(
        self, call: Call, entry: Entries, said: Mapping[str, Any], inside: Level, folder: str, handlers: bool
    ) -> Iterator[Node]:
        self._no_run_time_keywords(entry, call)
        written = call.args.get("file", call.args.get("free_form"))
        role = inside.role
        name = self.reading.file_name(written, "import_tasks", {"role_path": role.path, "role_name": role.name}
                                      if role else None)  # fmt: skip
        if name is None:
            return
        path = find_steps_file(name, folder, role.path if role else "", self.reading.playbook_dir)
        if path is None:
            self.faults.add("missing-file", f"there is no file {name} to import", written, otherwise=call.key)
            return
        yield from self._wrapped(self.file(path, inside, written, handlers), entry, said, inside, folder)

    def _wrapped(
        self, nodes: tuple[Node, ...], entry: Entries, said: Mapping[str, Any], inside: Level, folder: str
    ) -> Iterator[Node]:
        """The nodes themselves; in a block where the import says how they are undone."""
        rollback = self.rollback(said.get("rollback"), inside, folder)
        if rollback is None:
            yield from nodes
        else:
            yield Block(nodes, entry.position, said.get("name", ""), rollback=rollback)

    def _no_run_time_keywords(self, entry: Entries, call: Call) -> None:
        for key in entry:
            if key in _NOT_ON_IMPORTS or (isinstance(key, str) and key.startswith("with_")):
                instead = call.name.replace("import", "include")
                self.faults.add("wrong-keyword", f"'{key}' cannot stand on {call.name}", key, f"Use {instead}.")

    def _step(self, call: Call, entry: Entries, said: dict[str, Any], level: Level, inside: Level, folder: str) -> Step:
        fields = dict(inside.fields)
        if call.local:
            fields["delegate_to"] = "localhost"
        apply = call.args.get("apply") if call.name.startswith("include_") else None
        outer = None
        if call.name in ("include_tasks", "include_role"):
            outer = self._outer(call, entry, said, level, apply)
        auto = said.get("rollback") == AUTO
        if auto:
            self._demand_undo(call, said["rollback"])
        return Step(
            tool=call.name,
            args=call.args,
            position=entry.position,
            name=said.get("name", ""),
            loop=self._loop(entry, said),
            register=said.get("register"),
            retry=_retry(said),
            failed_when=said.get("failed_when"),
            changed_when=said.get("changed_when"),
            listen=said.get("listen", ()),
            async_seconds=said.get("async", 0),
            poll=said.get("poll", 10),
            apply=apply if isinstance(apply, dict) else {},
            outer=outer,
            given_vars=(said.get("vars") or EMPTY) if outer else EMPTY,
            rollback=None if auto else self.rollback(said.get("rollback"), inside, folder),
            auto_rollback=auto,
            **fields,
        )

    def _demand_undo(self, call: Call, at: Any) -> None:
        """A tool that does not say how it is undone cannot be undone by itself."""
        tool = self.reading.tools.find(call.name) if call.name else None
        if tool is None or tool.undo is not None:
            return
        if not tool.changes:
            reason, remedy = "it changes nothing", "Take the line out."
        else:
            reason, remedy = tool.lasting or "it does not say how it is undone", "List the steps that undo it."
        self.faults.add("auto-rollback", f"{tool.name} cannot be undone by itself: {reason}", at, remedy)

    def _outer(self, call: Call, entry: Entries, said: Mapping[str, Any], level: Level, apply: Any) -> Step:
        """What a dynamic include hands down: not its own keywords but its variables, and what `apply` says."""
        handed = level.within({"vars": said["vars"]}) if said.get("vars") else level
        if isinstance(apply, Entries):
            handed = handed.within(keyword_values(apply, BLOCK, self.faults))
        given = said.get("vars") or EMPTY
        return Step(call.name, call.args, entry.position, said.get("name", ""), given_vars=given, **handed.fields)

    def _loop(self, entry: Entries, said: Mapping[str, Any]) -> Loop | None:
        kinds = [key for key in entry if key == "loop" or (isinstance(key, str) and key.startswith("with_"))]
        control = said.get("loop_control")
        settings = keyword_values(control, LOOP_CONTROL, self.faults) if isinstance(control, Entries) else {}
        if not kinds:
            if control is not None:
                self.faults.add("no-loop", "loop_control without a loop", _key(entry, "loop_control"), warning=True)
            return None
        if len(kinds) > 1:
            self.faults.add("two-loops", f"'{kinds[1]}' stands beside '{kinds[0]}'", kinds[1], "Keep one of them.")
        kind, items = kinds[0], entry[kinds[0]]
        if kind == "loop" and not isinstance(items, list) and not (isinstance(items, str) and has_template(items)):
            remedy = f'A variable is written "{{{{ {items} }}}}".' if isinstance(items, str) else ""
            self.faults.add(
                "wrong-type", f"'loop' takes a list, not {what_it_is(items)}", items, remedy, otherwise=kind
            )
        return Loop(
            kind="loop" if kind == "loop" else kind.removeprefix("with_"),
            items=items,
            var=settings.get("loop_var", "item"),
            index_var=settings.get("index_var"),
            label=settings.get("label"),
            pause=settings.get("pause", 0),
            extended=settings.get("extended", False),
            extended_allitems=settings.get("extended_allitems", True),
            break_when=settings.get("break_when", ()),
            position=position_of(items, kind),
        )


def _retry(said: Mapping[str, Any]) -> Retry | None:
    if "until" not in said and "retries" not in said:
        return None
    named = {name: said[name] for name in ("retries", "delay", "until", "backoff") if name in said}
    return Retry(**named)


def find_steps_file(name: str, folder: str, role_path: str, playbook_dir: str) -> str | None:
    """A file of steps: beside the one that names it, in the role's tasks, beside the playbook."""
    folders = [folder]
    if role_path:
        folders += [os.path.join(role_path, "tasks"), role_path]
    folders += [playbook_dir, os.path.join(playbook_dir, "tasks")]
    for place in folders:
        if path := first_file(place, name):
            return path
    return None


def _key(entry: Entries, name: str) -> Any:
    """The key as it was written, which knows its position."""
    return next((key for key in entry if key == name), entry)
