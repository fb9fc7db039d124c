"""Tools that say or ask something of the run itself and touch no host."""

from __future__ import annotations

import json
from typing import Any

from ...errors import StepError
from ...model import Access, Command, Outcome, Status, ok
from ...tool import Scope, tool
from ...transport.base import Transport

GREETING = "Hello world!"


# What is evaluated here is an expression that the caller gives: over HTTP that is for admins only.
@tool("debug", access=Access.ADMIN, changes=False, expressions=["var"])
def debug(on: Transport, *, scope: Scope, msg: Any = GREETING, var: Any = None, verbosity: int = 0) -> Outcome:
    """Show a message, or the value of a variable.

    msg: what to show; text, or any value
    var: an expression whose value is shown
    verbosity: only with that many -v
    """
    if msg != GREETING and var is not None:
        raise StepError("debug takes msg or var, not both", remedy="Leave one of them out.")
    if verbosity > int(scope.variables.get("ansible_verbosity", 0)):
        return Outcome(Status.SKIPPED, message=f"shown with -v {verbosity} times")
    if var is None:
        return ok({"msg": msg}, message=in_words(msg))
    if not isinstance(var, str):
        return ok({str(var): var}, message=in_words(var))
    from ...language.jinja_environment import UndefinedInValue  # with Jinja2, as late as that

    try:
        value = scope.evaluate(var)
    except UndefinedInValue:
        value = "VARIABLE IS NOT DEFINED!"
    return ok({var: value}, message=f"{var}: {in_words(value)}")


@tool("assert", access=Access.ADMIN, changes=False, aliases={"msg": "fail_msg"}, expressions=["that"])
def assert_(
    on: Transport,
    *,
    scope: Scope,
    that: str | bool | list[str | bool],
    fail_msg: str | list[str] | None = None,
    success_msg: str | list[str] | None = None,
    quiet: bool = False,
) -> Outcome:
    """Go on only if every condition holds.

    that: conditions, as in `when`
    fail_msg: what to say when one does not hold
    success_msg: what to say when all hold
    quiet: say nothing about conditions that hold
    """
    for condition in that if isinstance(that, list) else [that]:
        if not (scope.evaluate(condition) if isinstance(condition, str) else condition):
            message = _joined(fail_msg) or "a condition does not hold"
            raise StepError(
                message,
                evidence=f"assert that: {condition}",
                result={"assertion": condition, "evaluated_to": False, "msg": message},
            )
    return ok({"msg": _joined(success_msg) or "All assertions passed"}, message=_joined(success_msg))


@tool("fail", access=Access.OBSERVER, changes=False)
def fail(on: Transport, *, msg: str = "the playbook says that this is where it fails") -> Outcome:
    """Fail, with a message.

    msg: what to say
    """
    raise StepError(msg, result={"msg": msg})


@tool("ping", access=Access.OBSERVER, changes=False)
def ping(on: Transport, *, data: str = "pong") -> Outcome:
    """Tell whether the host can be reached and runs commands.

    data: what is answered; "crash" fails, to try out what happens then
    """
    if data == "crash":
        raise StepError("ping was asked to fail", remedy='Leave out data: "crash".')
    on.demand(Command(("true",), changes=False))
    return ok({"ping": data})


def in_words(value: Any) -> str:
    """A value for a person: text as it is, nothing for None, everything else as JSON with its lines."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, indent=4, ensure_ascii=False, default=str)


def _joined(text: str | list[str] | None) -> str:
    return "\n".join(text) if isinstance(text, list) else text or ""
