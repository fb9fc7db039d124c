"""Which tool a step calls, and with what arguments."""

from __future__ import annotations

import os.path
import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from ..spelling import did_you_mean, listed, nearest
from ..tool import Tool
from . import left_out
from .composing import Reading
from .faults import Faults
from .free_form import options, pairs, words
from .keywords import DIRECTIVES, LEFT_OUT, LEVELS
from .levels import Level, canonical
from .text import Entries, has_template, position_of, text_at
from .values import check_variable_names, final, unknown_keyword, what_it_is

# What imports take; the parser is all there is of them.
IMPORTS: dict[str, tuple[str, ...]] = {
    "import_tasks": ("file",),
    "import_role": (
        "name", "role", "tasks_from", "vars_from", "defaults_from", "handlers_from", "allow_duplicates",
        "rolespec_validate", "public",
    ),
}  # fmt: skip


class Call(Struct, frozen=True):
    """A tool with its arguments; `key` is the word that named it, `local` that it runs on this machine."""

    name: str
    args: Mapping[str, Any]
    key: Any
    local: bool = False


def find_call(entry: Entries, kind: str, level: Level, reading: Reading) -> Call:
    """The one call of a step; one without a name, and faults, where it is not clear or there is none."""
    return _Finder(entry, kind, level, reading).call()


class _Finder:
    def __init__(self, entry: Entries, kind: str, level: Level, reading: Reading) -> None:
        self.entry = entry
        self.kind = kind
        self.level = level
        self.tools = reading.tools
        self.faults: Faults = reading.faults
        self.playbook_dir = reading.playbook_dir

    def call(self) -> Call:
        keywords = LEVELS[self.kind]
        others = [key for key in self.entry if key not in keywords]
        named = [key for key in others if isinstance(key, str) and self._is_known(key)]
        actions = [key for key in self.entry if key in ("action", "local_action")]
        for key in others:
            if key not in named and (named or actions):
                unknown_keyword(key, self.kind, self.faults, self.entry)
        if len(named) + len(actions) > 1:
            second = [key for key in self.entry if key in named or key in actions][1]
            remedy = "Make it a step of its own."
            self.faults.add("two-tools", f"'{second}' is a second tool in one step", second, remedy)
            return self._unclear([*named, *actions])
        if named:
            return self._finished(named[0], str(named[0]), self.entry[named[0]])
        if actions:
            return self._action(actions[0])
        self._none(others)
        return self._unclear(others)

    def _unclear(self, keys: list[Any]) -> Call:
        """A call that never runs, with all that was written for it: further checks look at that."""
        written = Entries({key: self.entry[key] for key in keys})
        written.position = self.entry.position
        return Call("", written, self.entry)

    def _is_known(self, name: str) -> bool:
        name = canonical(name)
        return name in IMPORTS or name in self.tools

    def _none(self, others: list[Any]) -> None:
        """No word here is a tool: which of them was meant to be one?"""
        if not others:
            self.faults.add("no-tool", "this step calls no tool", self.entry, "Name one: '- debug: {msg: hello}'.")
        for key in others:
            if not isinstance(key, str) or key in LEFT_OUT or (len(others) > 1 and nearest(key, LEVELS[self.kind])):
                unknown_keyword(key, self.kind, self.faults, self.entry)
            else:
                self._unknown_tool(key)

    def _unknown_tool(self, key: str) -> None:
        names = [*self.tools.names(), *IMPORTS]
        name = canonical(key)
        families = {known.partition(".")[0] for known in names if "." in known}
        if left_out.collection_of(name) and name.partition(".")[0] not in families:
            last = name.rpartition(".")[2]
            remedy = f"There is a tool '{last}' here." if last in names else ""
            self.faults.add("collection", left_out.collections_plugin(key), key, remedy)
            return
        if out := left_out.tool(name):
            self.faults.add(left_out.CODE, out[0], key, out[1])
            return
        where = position_of(key) or self.entry.position
        beside = os.path.dirname(where.file) if where else ""
        if own := left_out.own_module(name, self.playbook_dir, beside):
            self.faults.add(left_out.CODE, own, key, left_out.INSTEAD_OF_MODULES)
            return
        if name == "import_playbook":
            remedy = "import_playbook takes the place of a play, not of a step."
        elif key in LEVELS["play"] or key in LEVELS["block"]:
            unknown_keyword(key, self.kind, self.faults, self.entry)
            return
        else:
            word = nearest(name, [*names, *LEVELS[self.kind]])
            remedy = f"Did you mean '{word}'?" if word else "`ikoma-play tools` lists them."
        self.faults.add("unknown-tool", f"there is no tool '{key}'", key, remedy)

    def _action(self, key: Any) -> Call:
        """`action: copy src=a dest=b`, or a mapping with `module:`."""
        value = self.entry[key]
        local = key == "local_action"
        rest: Any = None
        name: Any = None
        if isinstance(value, str):
            start, end = next(words(value), (0, 0))
            name, text = value[start:end], value[end:].strip()
            rest = text_at(text, position_of(value, key)) if text else None
        elif isinstance(value, Entries):
            inner = Entries(value)
            inner.position = value.position
            name = inner.pop("module", None)
            rest = inner
        if not isinstance(name, str) or not name:
            self.faults.add("no-tool", f"'{key}' names no tool", key, "Write: action: copy src=… dest=…")
            return self._unclear([key])
        placed = text_at(name, position_of(value, key))
        if not self._is_known(name):
            self._unknown_tool(placed)
            return self._unclear([key])
        return self._finished(placed, name, rest, local)

    # --- arguments ---

    def _finished(self, key: Any, name: str, value: Any, local: bool = False) -> Call:
        name = canonical(name)
        if name in IMPORTS:
            return Call(name, self._import_arguments(name, value, key), key, local)
        tool = self.tools.find(name)
        assert tool is not None
        args = self._arguments(tool, value, key)
        if args is None:
            return self._unclear([key])
        self._further(tool, args)
        self._check(tool, args, key)
        return Call(tool.name, args, key, local)

    def _arguments(self, tool: Tool, value: Any, key: Any) -> Entries | None:
        args = Entries()
        where = position_of(key) or self.entry.position
        args.position = where
        if value is None:
            return args
        if isinstance(value, dict):
            args.copy_of(value)
            return args
        bare = _free_form(tool)
        if not isinstance(value, str):
            if bare is None:
                self.faults.add(
                    "wrong-arguments", f"{tool.name} takes a mapping of arguments, not {what_it_is(value)}", value,
                    otherwise=key,
                )  # fmt: skip
                return None
            args[text_at(bare, where)] = value
            return args
        if bare is None:
            if has_template(value) and not re.match(r"\s*(\w|{{.*?}})+=", value):
                self.faults.add(
                    "wrong-arguments", f"the arguments of {tool.name} cannot be one template", value,
                    "Write them as a mapping, each value a template of its own.",
                )  # fmt: skip
                return None
            found = pairs(value, position_of(value, key), self.faults, tool.name)
            args.update(found)
            return args
        names = {parameter.wire for parameter in tool.parameters} | set(tool.aliases)
        names -= {"cmd", "argv"}  # a command may well have such words itself
        text, found = options(value, names, position_of(value, key))
        args.update(found)
        if text or not found:
            args[text_at(bare, position_of(value, key))] = text_at(text, position_of(value, key)) if found else value
        return args

    def _further(self, tool: Tool, args: Entries) -> None:
        """`args:` adds what stands not under the tool's own name."""
        more = self.entry.get("args")
        if isinstance(more, str) and not has_template(more):
            more = pairs(more, position_of(more), self.faults, tool.name)
        if isinstance(more, dict):
            for name, value in more.items():
                args.setdefault(name, value)

    def _without_left_out(self, tool: Tool, values: Entries) -> Entries:
        """The arguments but those that are left out on purpose, which are told."""
        known = {parameter.wire for parameter in tool.parameters} | set(tool.aliases)
        for name in [] if tool.open else list(values):
            if name not in known and (out := left_out.argument(tool.name, str(name))):
                self.faults.add(left_out.CODE, out[0], name, out[1])
                values = values.without(name)
        return values

    def _check(self, tool: Tool, args: Entries, key: Any) -> None:
        defaults = self.level.fields.get("module_defaults", {}).get(tool.name)
        values = args
        if isinstance(defaults, dict):
            values = Entries()
            values.position = args.position
            values.copy_of(defaults)
            values.copy_of(args)
        if tool.name == "set_fact":
            check_variable_names({name: None for name in values if not has_template(name)}, self.faults)
        self.faults.take(tool.faults(self._without_left_out(tool, values), final))
        if not tool.open and has_template(list(args)):
            self.faults.add("wrong-arguments", f"the name of an argument of {tool.name} cannot be a template", key)

    def _import_arguments(self, name: str, value: Any, key: Any) -> Entries:
        takes = IMPORTS[name]
        args = Entries()
        args.position = position_of(key) or self.entry.position
        if isinstance(value, dict):
            args.update(value)
        elif isinstance(value, str) and re.search(r"\w+=", value) and name == "import_role":
            args.update(pairs(value, position_of(value, key), self.faults, name))
        elif isinstance(value, str) and name == "import_tasks":
            text, found = options(value, takes, position_of(value, key))
            args.update(found)
            if text:
                args["file"] = text_at(text, position_of(value, key)) if found else value
        elif value is not None:
            self.faults.add("wrong-arguments", f"{name} takes {listed(takes, 'and')}", value, otherwise=key)
        self._further_import(args)
        for given in args:
            if given not in takes:
                remedy = did_you_mean(str(given), takes)
                self.faults.add("unknown-argument", f"{name} has no argument '{given}'", given, remedy, otherwise=key)
        needed = "file" if name == "import_tasks" else "name"
        if not (args.get(needed) or (needed == "name" and args.get("role"))):
            self.faults.add("missing-argument", f"{name} needs the argument '{needed}'", key)
        return args

    def _further_import(self, args: Entries) -> None:
        more = self.entry.get("args")
        if isinstance(more, dict):
            for name, value in more.items():
                args.setdefault(name, value)


def _free_form(tool: Tool) -> str | None:
    """The wire name of the argument that bare text becomes."""
    if tool.free_form is None:
        return None
    for parameter in tool.parameters:
        if tool.free_form in (parameter.name, parameter.wire):
            return parameter.wire
    return tool.free_form


__all__ = ["DIRECTIVES", "IMPORTS", "Call", "find_call"]
