"""What plays, roles and blocks hand down to the steps inside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..model import EMPTY, Become, RoleRef, Step

# Keywords whose nearest value counts, by the field of Step that takes them.
_NEAREST = (
    "connection", "remote_user", "port", "no_log", "check_mode", "diff", "ignore_errors", "ignore_unreachable",
    "any_errors_fatal", "run_once", "throttle", "timeout", "delegate_to", "delegate_facts", "notify",
)  # fmt: skip
_BECOME = ("become", "become_user", "become_method", "become_flags")
HANDED_DOWN = (
    *_NEAREST, "when", "tags", "vars", "environment", "become", "module_defaults", "role", "phase",
)  # fmt: skip


class Level:
    """The keywords in force at one place; `fields` are fields of Step. A level is never changed."""

    __slots__ = ("fields",)

    def __init__(self, fields: Mapping[str, Any] = EMPTY) -> None:
        self.fields = fields

    @classmethod
    def of(cls, step: Step) -> Level:
        """What a step that brings others hands down to them."""
        return cls({name: getattr(step, name) for name in HANDED_DOWN})

    def within(self, keywords: Mapping[str, Any], variables: bool = True) -> Level:
        """The level inside a play, role, block or import that says `keywords` (in the model's form)."""
        inside = dict(self.fields)
        for name in _NEAREST:
            if name in keywords:
                inside[name] = keywords[name]
        if "when" in keywords:
            inside["when"] = (*inside.get("when", ()), *keywords["when"])
        if "tags" in keywords:
            inside["tags"] = inside.get("tags", frozenset()).union(keywords["tags"])
        if variables and keywords.get("vars"):
            inside["vars"] = (*inside.get("vars", ()), keywords["vars"])
        if "environment" in keywords:
            inside["environment"] = (*inside.get("environment", ()), *keywords["environment"])
        if "module_defaults" in keywords:
            inside["module_defaults"] = _defaults(inside.get("module_defaults", EMPTY), keywords["module_defaults"])
        if any(name in keywords for name in _BECOME):
            inside["become"] = _become(inside.get("become", Become()), keywords)
        return Level(inside)

    def but(self, **fields: Any) -> Level:
        return Level({**self.fields, **fields})

    @property
    def role(self) -> RoleRef | None:
        role: RoleRef | None = self.fields.get("role")
        return role


def _become(outer: Become, keywords: Mapping[str, Any]) -> Become:
    return Become(
        keywords.get("become", outer.enabled),
        keywords.get("become_user", outer.user),
        keywords.get("become_method", outer.method),
        keywords.get("become_flags", outer.flags),
    )


def _defaults(outer: Mapping[str, Any], layers: tuple[Any, ...]) -> Mapping[str, Any]:
    """Default arguments by canonical tool name; a tool's inner defaults take the place of its outer ones."""
    merged = dict(outer)
    for layer in layers:
        if isinstance(layer, dict):
            for name, arguments in layer.items():
                merged[canonical(str(name))] = arguments
    return merged


def canonical(name: str) -> str:
    """`ansible.builtin.copy` and `ansible.legacy.copy` are `copy`."""
    for prefix in ("ansible.builtin.", "ansible.legacy."):
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name
