"""The description of the server for programs: OpenAPI 3.1, from the declarations of the tools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .. import __version__
from ..model import Access
from ..tool import Tool

Operation = Mapping[str, Any]
_JSON = "application/json"
_HOST = {"$ref": "#/components/schemas/Host"}

_HOSTS: Mapping[str, Any] = {"type": "string", "description": "a host of the inventory; default the platform's own"}

# Status → the component that describes its answer, and when it is given.
REFUSALS = {
    "400": "The body or a header is wrong; `fields` names each.",
    "401": "No key was sent, or none that is valid.",
    "403": "The role of the call, or what the key is limited to, is not enough.",
    "404": "There is nothing of that name.",
    "405": "Not with this method.",
    "409": "Another run holds the application, or a request with this Idempotency-Key is under way.",
    "413": "The body is too large.",
    "422": "The Idempotency-Key stood for another request.",
    "429": "Too many calls, or too many failed attempts to log in.",
    "500": "The tool failed, or the server did.",
    "503": "The server is stopping, or as many calls as it takes at once are under way.",
}


def document(
    tools: Iterable[Tool], others: Iterable[tuple[str, str, Operation]], hosts: Iterable[str]
) -> dict[str, Any]:
    """The whole document; `others` are the paths that are no tools: method, path, operation; `hosts` are those that
    a call may name."""
    paths: dict[str, dict[str, Any]] = {}
    for tool in tools:
        paths[f"/execute/{tool.name}"] = {"post": _call(tool)}
    for method, path, operation in others:
        paths.setdefault(path, {})[method.lower()] = dict(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ikoma-play",
            "version": __version__,
            "summary": "The tools of the platform over HTTP.",
            "description": "Every tool is POST /execute/TOOL. Bodies are JSON whatever their Content-Type says. What a"
            " tool is given is read as in a playbook: text may say a number or a truth (5, yes), commas separate a"
            " list, and null leaves an argument out. A key has a role (observer, operator, builder, admin); X-Role can"
            " only lower it.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"}},
            "parameters": {"role": _role(), "once": _once(), "prefer": _prefer()},
            "schemas": {"Refusal": _refusal(), "Host": {**_HOSTS, "enum": list(hosts)}},
            "responses": {status: _response(status, said) for status, said in REFUSALS.items()},
        },
    }


def operation(
    name: str, summary: str, answer: Mapping[str, Any], refusals: Iterable[str] = (), **more: Any
) -> dict[str, Any]:
    """One operation that is no tool: what it answers as JSON Schema, and the statuses that it refuses with."""
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["server"],
        **more,
        "responses": {"200": _answer("What was asked for.", answer), **_refused(refusals)},
    }


def _call(tool: Tool) -> dict[str, Any]:
    shape = tool.schema()
    if "host" not in tool.wires:
        shape = {**shape, "properties": {**shape["properties"], "host": _HOST}}
    group = tool.name.partition(".")[0] if tool.dotted else "general"
    return {
        "operationId": tool.name,
        "summary": tool.summary,
        "description": f"{tool.description}\n\nNeeds the role {tool.access.label}.".strip(),
        "tags": [group],
        "x-role": tool.access.label,
        "x-changes": tool.changes,
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in ("role", "once", "prefer")],
        "requestBody": {"required": bool(shape.get("required")), "content": {_JSON: {"schema": shape}}},
        "responses": {
            "200": _answer(
                "The tool did what it was asked.",
                {
                    "type": "object",
                    "required": ["success", "result"],
                    "properties": {"success": {"const": True}, "result": {"description": "what the tool gives"}},
                },
            ),
            "202": {
                "description": "With `Prefer: respond-async`: it is begun, and GET /runs/{run} tells what it comes to.",
                "headers": {"Location": {"description": "the run", "schema": {"type": "string"}}},
                "content": {_JSON: {"schema": begun()}},
            },
            **_refused(("400", "401", "403", "409", "413", "422", "429", "500", "503")),
        },
    }


def begun() -> dict[str, Any]:
    """The shape of an answer to what goes on after it."""
    text = {"type": "string"}
    properties = {"success": {"const": True}, "run": text, "events": text}
    return {"type": "object", "required": ["success", "run"], "properties": properties}


def _answer(said: str, shape: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": said, "content": {_JSON: {"schema": dict(shape)}}}


def _refused(statuses: Iterable[str]) -> dict[str, Any]:
    return {status: {"$ref": f"#/components/responses/{status}"} for status in statuses}


def _response(status: str, said: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": said,
        "content": {_JSON: {"schema": {"$ref": "#/components/schemas/Refusal"}}},
    }
    if status in ("429", "503"):
        described["headers"] = {
            "Retry-After": {"description": "seconds after which to try again", "schema": {"type": "integer"}}
        }
    return described


def _refusal() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "required": ["success", "error", "code"],
        "properties": {
            "success": {"const": False},
            "error": {**text, "description": "what is wrong, for a person"},
            "code": {**text, "description": "the same for a program"},
            "remedy": {**text, "description": "what to do about it"},
            "evidence": {**text, "description": "what a command printed, its last lines"},
            "fields": {"type": "object", "additionalProperties": text, "description": "each wrong field"},
            "required": {**text, "description": "what the call needs"},
            "current": {**text, "description": "what the call has"},
            "retryAfter": {"type": "integer"},
            "run": {**text, "description": "the run that it is about"},
            "requestId": text,
        },
    }


def _once() -> dict[str, Any]:
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "the same request with the same key is carried out once, and answered the same again",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[\x21-\x7e]+$"},
    }


def _prefer() -> dict[str, Any]:
    return {
        "name": "Prefer",
        "in": "header",
        "required": False,
        "description": "`respond-async`: answer when it is begun, not when it has ended",
        "schema": {"type": "string"},
    }


def _role() -> dict[str, Any]:
    return {
        "name": "X-Role",
        "in": "header",
        "required": False,
        "description": "the role that this call is to have, at most the key's own",
        "schema": {"type": "string", "enum": [access.label for access in Access]},
    }
