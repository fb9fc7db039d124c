"""What is asked of /runs, and what is told of a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from ..errors import FaultsFound
from ..journal.again import asked, state
from ..journal.store import Row
from ..model import Access
from ..platform.api_keys import Key
from .answers import Refusal, wrong_fields

LONGEST = 1000  # characters of a reason
_STEERING = ("ansible_", "ikoma_")

# --- bodies ---


class Field(Struct, frozen=True):
    """A field of a body: its name in `Wanted`, and whether a value will do, with words for one that will not."""

    name: str
    fits: Callable[[Any], bool]
    said: str
    required: bool = False


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _mapping(value: Any) -> bool:
    return isinstance(value, dict) and all(name.isascii() and name.isidentifier() for name in value)


_VARIABLES = Field("variables", _mapping, "an object whose names are letters, digits and _")
START = {
    "playbook": Field("playbook", _text, "the name of a playbook", True),
    "variables": _VARIABLES,
    "limit": Field("limit", _text, "a host pattern"),
    "tags": Field("tags", _texts, "a list of texts"),
    "skipTags": Field("skip_tags", _texts, "a list of texts"),
}
AGAIN = {
    "variables": _VARIABLES,
    "unfinished": Field("unfinished", lambda value: value in ("repeat", "skip"), "repeat or skip"),
}
APPROVE = {
    "approve": Field("approve", lambda value: isinstance(value, bool), "true or false", True),
    "reason": Field("reason", lambda value: isinstance(value, str) and len(value) <= LONGEST, "text"),
    "number": Field("number", lambda value: type(value) is int and 0 < value < 2**31, "a question's number"),
}


def read(body: Mapping[str, Any], fields: Mapping[str, Field]) -> dict[str, Any]:
    """A body as arguments of Wanted. Raises Refusal naming every field that is wrong."""
    wrong = {name: f"{name}: there is no such field" for name in body if name not in fields}
    for name, field in fields.items():
        if name not in body:
            if field.required:
                wrong[name] = f"{name} is missing: {field.said}"
        elif not field.fits(body[name]):
            wrong[name] = f"{name}: must be {field.said}"
    if wrong:
        raise wrong_fields(wrong)
    return {fields[name].name: value for name, value in body.items()}


def of_faults(error: FaultsFound) -> Refusal:
    said = [f"{fault.position}: {fault.message}" if fault.position else fault.message for fault in error.faults]
    return wrong_fields({"playbook": "; ".join(said)}, error.remedy)


def demand_harmless(variables: Mapping[str, Any], role: Access) -> None:
    """Variables that say where hosts and the platform lie are for admins. Raises Refusal."""
    for name in variables:
        if name.startswith(_STEERING) and role < Access.ADMIN:
            raise Refusal(
                403, "forbidden", f"the variable {name} says how a host is reached or where the platform lies",
                required=Access.ADMIN.label, current=role.label, remedy="Set it in the inventory.",
            )  # fmt: skip


# --- what is shown ---


def may_see(key: Key, row: Row) -> bool:
    return not key.limited or asked(row).get("key") == key.name


def about(row: Row) -> dict[str, Any]:
    said = asked(row)
    return {
        "id": row["id"],
        "state": state(row),
        "started": row["started"],
        "ended": row["ended"],
        "playbooks": [Path(each).stem for each in json.loads(row["playbooks"])],
        "what": " ".join(said.get("command", [])),
        "key": said.get("key"),
        "who": row["who"],
        "host": row["host"],
        "report": json.loads(row["report"]) if row["report"] else None,
    }


def step(row: Row) -> dict[str, Any]:
    shown = ("number", "play", "host", "kind", "title", "tool", "phase", "state", "started", "ended")
    read = {name: json.loads(row[name]) if row[name] else None for name in ("arguments", "outcome")}
    return {**{name: row[name] for name in shown}, **read}


def approval(row: Row) -> dict[str, Any]:
    """A question of a run; `answer` is yes, no, late, withdrawn, or empty while it waits."""
    return {name: value for name, value in row.items() if name not in ("run", "step")}
