"""The operations below /runs as /openapi.json describes them."""

from __future__ import annotations

from typing import Any

from . import openapi
from .run_data import LONGEST

_TEXT: dict[str, Any] = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_ROLE = {"$ref": "#/components/parameters/role"}
_RUN = {"name": "run", "in": "path", "required": True, "schema": _TEXT, "description": "the id of a run"}
_ONCE = {"$ref": "#/components/parameters/once"}
_WHO = ("400", "401", "429", "500")
_DOING = ("400", "401", "403", "404", "409", "413", "422", "429", "500", "503")
_STATES = (
    "running, waiting (for a person: see approvals), died, done, failed, undone, interrupted, unreachable or "
    "rollback failed"
)
_ABOUT: dict[str, Any] = {
    "type": "object",
    "required": ["id", "state", "started", "playbooks"],
    "properties": {
        "id": _TEXT,
        "state": {**_TEXT, "description": _STATES},
        "started": {"type": "number"},
        "ended": {"type": ["number", "null"]},
        "playbooks": _TEXTS,
        "key": {"type": ["string", "null"], "description": "the key that started it"},
    },
}
_APPROVAL = {
    "type": "object",
    "required": ["number", "question", "role", "until", "answer"],
    "properties": {
        "number": {"type": "integer"},
        "question": _TEXT,
        "host": _TEXT,
        "role": {**_TEXT, "description": "what an answer needs"},
        "asked": {"type": "number"},
        "until": {"type": "number", "description": "seconds since the epoch"},
        "answer": {"enum": ["", "yes", "no", "late", "withdrawn"], "description": "empty while it waits"},
        "who": {**_TEXT, "description": "the key of whoever answered, or `cli:` and a user"},
        "comment": {**_TEXT, "description": "the reason"},
        "answered": {"type": ["number", "null"]},
    },
}
_SHOWN = {
    "type": "object",
    "required": [*_ABOUT["required"], "steps", "approvals"],
    "properties": {
        **_ABOUT["properties"],
        "steps": {"type": "array", "items": {"type": "object"}},
        "approvals": {"type": "array", "items": _APPROVAL},
    },
}
_VARIABLES: dict[str, Any] = {
    "type": "object",
    "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
    "description": "variables that win over all others; text is never a template",
}


def _doing(name: str, summary: str, body: dict[str, Any], *, on_run: bool) -> dict[str, Any]:
    found = openapi.operation(name, summary, {}, _DOING, tags=["runs"])
    found["parameters"] = [*([_RUN] if on_run else []), _ROLE, _ONCE]
    found["requestBody"] = {
        "required": bool(body.get("required")),
        "content": {"application/json": {"schema": {"type": "object", "additionalProperties": False, **body}}},
    }
    begun: dict[str, Any] = {
        "description": "It is begun.",
        "headers": {"Location": {"description": "the run", "schema": _TEXT}},
        "content": {"application/json": {"schema": openapi.begun()}},
    }
    del found["responses"]["200"]
    found["responses"] = {"202": begun, **found["responses"]}
    return found


def _looking(name: str, summary: str, shape: dict[str, Any], *more: dict[str, Any], on_run: bool) -> dict[str, Any]:
    found = openapi.operation(name, summary, shape, (*_WHO, *(("404",) if on_run else ())), tags=["runs"])
    found["parameters"] = [*([_RUN] if on_run else []), _ROLE, *more]
    return found


_MOST = {"name": "most", "in": "query", "required": False, "schema": {"type": "integer", "minimum": 1, "maximum": 500}}
_LAST = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": "^[0-9]{1,15}$"},
    "description": "the events after this one",
}
_EVENTS = _looking("followRun", "What happens in a run, as server-sent events.", {}, _LAST, on_run=True)
_EVENTS["responses"]["200"] = {
    "description": "Events until the run has ended.",
    "content": {"text/event-stream": {"schema": _TEXT}},
}
_EVENTS["responses"]["503"] = {"$ref": "#/components/responses/503"}
_AGAIN = {
    "properties": {
        "variables": {**_VARIABLES, "description": "secrets that the journal did not keep"},
        "unfinished": {"enum": ["repeat", "skip"], "description": "what to do with steps that were under way"},
    }
}
RUNS: dict[str, dict[str, Any]] = {
    "start": _doing(
        "startRun", "Start a playbook.",
        {
            "required": ["playbook"],
            "properties": {
                "playbook": {**_TEXT, "minLength": 1, "description": "a name, as `ikoma-play plan` lists them"},
                "variables": _VARIABLES,
                "limit": {**_TEXT, "minLength": 1, "description": "only hosts that match this pattern"},
                "tags": _TEXTS,
                "skipTags": _TEXTS,
            },
        },
        on_run=False,
    ),
    "list": _looking(
        "listRuns", "The newest runs.",
        {"type": "object", "required": ["runs"], "properties": {"runs": {"type": "array", "items": _ABOUT}}},
        _MOST, on_run=False,
    ),
    "show": _looking("showRun", "A run with its steps, and what it asked people.", _SHOWN, on_run=True),
    "events": _EVENTS,
    "approve": _doing(
        "answerRun", "Answer what a step of a run asks a person: yes or no.",
        {
            "required": ["approve"],
            "properties": {
                "approve": {"type": "boolean", "description": "false fails the step"},
                "reason": {**_TEXT, "maxLength": LONGEST},
                "number": {
                    "type": "integer", "minimum": 1, "maximum": 2**31 - 1,
                    "description": "the question, of `approvals`; default the oldest that waits",
                },
            },
        },
        on_run=True,
    ),
    "cancel": _doing("cancelRun", "Let a run end after the step it is at.", {"properties": {}}, on_run=True),
    "resume": _doing("resumeRun", "Go on with a run that died, was interrupted or failed.", _AGAIN, on_run=True),
    "rollback": _doing("undoRun", "Undo a run by its rollback handlers.", _AGAIN, on_run=True),
}  # fmt: skip
_TIME = {"type": ["number", "null"], "description": "seconds since the epoch"}
_SCHEDULE = {
    "type": "object",
    "required": ["name", "cron", "next", "last", "run", "state", "lastSuccess"],
    "properties": {
        "name": _TEXT,
        "cron": _TEXT,
        "zone": {"type": ["string", "null"], "description": "null: the server's own"},
        "catchUp": {"enum": ["once", "skip"]},
        "next": _TIME,
        "last": {**_TIME, "description": "the last time that was due"},
        "said": {**_TEXT, "description": "why nothing ran then, where nothing did"},
        "run": {"type": ["string", "null"], "description": "the last run"},
        "state": {"type": ["string", "null"], "description": _STATES},
        "lastSuccess": _TIME,
    },
}
SCHEDULES = _looking(
    "listSchedules", "What runs by itself, when it is due next and what came of it last.",
    {"type": "object", "required": ["schedules"],
     "properties": {"schedules": {"type": "array", "items": _SCHEDULE}}},
    on_run=False,
)  # fmt: skip
