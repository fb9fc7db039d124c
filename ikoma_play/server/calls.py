"""One call of a tool: checked, run as a playbook of one step, written to the audit log, answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from .. import engine
from ..audit.entries import Entry
from ..engine.masking import looks_secret, without_password
from ..engine.prepared import hide
from ..errors import AuditError, FaultsFound, IkomaError, JournalError
from ..events import Event, Observer, StepStarted
from ..model import Access, Failure, Outcome
from ..platform.api_keys import Key
from ..spelling import did_you_mean, listed
from ..tool import Tool
from . import answers, callers, places
from .answers import Refusal, unreadable
from .looks import ORIGIN, Looks, as_it_is
from .parts import Parts

# These steer a playbook, set its variables, or wait for somebody at its terminal.
OF_PLAYBOOKS = frozenset(
    ("include_tasks", "include_role", "meta", "add_host", "group_by", "pause", "approve", "set_fact", "include_vars")
)
LONGEST = 4000  # characters of a text in the audit log


class Request(Struct, frozen=True):
    """A call as it came in; `role` is what it may do."""

    id: str
    key: Key
    role: Access
    tool: Tool
    body: Mapping[str, Any]
    on_run: Callable[[str], None] | None = None  # told of the run before it touches anything
    keep: bool = False  # in the journal even where it only looks
    line: str = ""  # its id in the audit log, where that is another


class _Told(Struct):
    """What the run tells of itself while it goes on."""

    on_run: Callable[[str], None] | None = None
    run: str | None = None
    arguments: Mapping[str, Any] | None = None

    def __call__(self, event: Event) -> None:
        if self.run is None and self.on_run is not None:
            self.on_run(event.run)
        self.run = event.run
        if isinstance(event, StepStarted):
            self.arguments = event.arguments


class Calls:
    """Calls under way, and the way to make one."""

    def __init__(self, parts: Parts, most: int) -> None:
        """`most` is how many may be under way at once."""
        self.parts = parts
        self.names = [name for name in parts.tools.names() if name not in OF_PLAYBOOKS]
        self.stopping = False
        self._looks = Looks(parts)
        self._most = most
        # Told of each call: tool, "" or the code of the failure, seconds.
        self.count: Callable[[Tool, str, float], None] = lambda tool, code, seconds: None
        self._change = Lock()
        self.running = 0

    def tool(self, name: str) -> Tool:
        """The tool of this name. Raises Refusal: 404, with the name that was probably meant."""
        found = self.parts.tools.find(name) if name not in OF_PLAYBOOKS else None
        if found is None or found.name in OF_PLAYBOOKS:
            guess = did_you_mean(name, self.names, "GET /capabilities names them all.")
            raise Refusal(404, "unknown-tool", f"there is no tool {name[:100]!r}. {guess}".strip(), remedy=guess)
        return found

    def execute(self, request: Request) -> dict[str, Any]:
        """Call the tool and answer; the audit has the call when this returns or raises. Raises Refusal."""
        begun = time.perf_counter()
        at = time.time()
        told = _Told(request.on_run)
        refusal: Refusal | None = None
        unforeseen: Exception | None = None
        host = None
        result: Any = None
        try:
            host, arguments = self._checked(request)
            if request.tool.changes:
                self.demand_audit()
            result = self._performed(request, host, arguments, told)
        except Refusal as error:
            refusal = error
        except Exception as error:
            unforeseen, refusal = error, unreadable("answering")
        seconds = time.perf_counter() - begun
        self.count(request.tool, refusal.code if refusal else "", seconds)
        entry = Entry(
            capability=request.tool.name,
            role=request.role.label,
            arguments=shortened(shown(request.tool, request.body) if told.arguments is None else told.arguments),
            error=refusal.message if refusal else "",
            duration=seconds,
            host=host,
            key=request.key.name,
            run=told.run,
            request_id=request.line or request.id,
            at=at,
        )  # fmt: skip
        self.write(entry, request.tool, ran=told.run is not None)
        if unforeseen is not None:
            raise unforeseen  # is logged and told where every request is
        if refusal is not None:
            raise refusal
        return {"success": True, "result": result}

    def write(self, entry: Entry, tool: Tool | None = None, ran: bool = False) -> None:
        """Write a call down. Where that fails a call that looked is answered all the same. Raises Refusal."""
        try:
            self.parts.audit().append(entry)
        except AuditError as error:
            if tool is None or not (tool.changes and ran):
                return
            raise Refusal(
                500, "audit", f"the call was carried out, and could not be written to the audit log: {error.message}",
                remedy=error.remedy,
            ) from None  # fmt: skip

    def look(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """What a tool that only looks says of the platform's own host; None where it can say nothing."""
        tool, host = self.tool(name), self.parts.own_host
        if host is None or not self._looks.takes(tool, host):
            return None
        try:
            outcome, _ = self._looks.call(tool, host, arguments)
        except IkomaError:
            return None
        return None if outcome.status.bad else outcome.result

    # --- before it runs ---

    def _checked(self, request: Request) -> tuple[str, Mapping[str, Any]]:
        """The host and the arguments. Raises Refusal: 403, 400 with every field that is wrong."""
        tool = request.tool
        callers.demand_access(tool.access, request.role, tool.name)
        arguments = dict(request.body)
        host = self._host(None if "host" in tool.wires else arguments.pop("host", None))
        faults = tool.faults(arguments)
        if faults:
            raise _wrong_arguments(tool, arguments, [fault.message for fault in faults])
        app = arguments.get("appName")
        callers.demand_reach(request.key, host, app if isinstance(app, str) else None)
        places.demand(places.of_call(tool, arguments), request.key, request.role, self.parts.places())
        return host, arguments

    def _host(self, named: Any) -> str:
        inventory = self.parts.inventory
        if named is None:
            if self.parts.own_host is not None:
                return self.parts.own_host
            raise answers.wrong_fields(
                {"host": f"host: the inventory has several hosts, {listed(inventory.hosts, 'and')}: name one of them"}
            )
        if not isinstance(named, str) or (named not in inventory.hosts and named != self.parts.own_host):
            guess = did_you_mean(str(named), inventory.hosts, f"It has {listed(inventory.hosts, 'and')}.")
            raise answers.wrong_fields({"host": f"host: the inventory has no host {str(named)[:60]!r}"}, guess)
        return named

    def demand_audit(self) -> None:
        try:
            self.parts.audit().demand()
        except AuditError as error:
            raise Refusal(
                500, "audit", f"nothing was done, since it could not be written down: {error.message}",
                remedy=error.remedy,
            ) from None  # fmt: skip

    # --- the run ---

    def _performed(self, request: Request, host: str, arguments: Mapping[str, Any], told: _Told) -> Any:
        parts, tool = self.parts, request.tool
        with self.slot():
            try:
                if not request.keep and self._looks.takes(tool, host):
                    outcome, told.arguments = self._looks.call(tool, host, arguments)
                    return self._result(outcome)
                chosen = replace(self._looks.options(host), actor=request.key.name)
                here = chosen.connection
                with parts.journal(tool, host, here, request.key, request.id, request.keep) as journal:
                    observers: Sequence[Observer] = (*journal.observers, told)
                    _, finished = engine.call(
                        tool, as_it_is(arguments), host, parts.inventory, parts.tools, chosen, observers,
                        parts.connect, journal.locks, ORIGIN,
                    )  # fmt: skip
            except FaultsFound as error:
                raise answers.wrong_fields(
                    {str(number): fault.message for number, fault in enumerate(error.faults)}
                ) from None
            except JournalError as error:
                raise Refusal(500, "journal", f"nothing was done: {error.message}", remedy=error.remedy) from None
            except IkomaError as error:
                raise answers.of_failure(error.failure) from None
        if not finished:
            raise Refusal(500, "internal", f"{tool.name} came to nothing on {host}")
        return self._result(finished[-1].outcome)

    @staticmethod
    def _result(outcome: Outcome) -> Any:
        if outcome.status.bad:
            failure = outcome.failure or Failure("step-failed", outcome.message or "the tool failed")
            raise answers.of_failure(failure, outcome.result)
        return outcome.result

    def slot(self) -> _Slot:
        return _Slot(self)

    def enter(self) -> None:
        """Begin a call. Raises Refusal: 503 while stopping, or when too many are under way."""
        with self._change:
            if self.stopping:
                raise stopping()
            if self.running >= self._most:
                raise Refusal(
                    503, "busy", f"{self._most} calls are under way, which is the most at once",
                    headers={"Retry-After": "1"}, remedy="Try again in a second.",
                )  # fmt: skip
            self.running += 1

    def leave(self) -> None:
        with self._change:
            self.running -= 1


class _Slot:
    """One of the calls that may be under way at once."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def __enter__(self) -> None:
        self._calls.enter()

    def __exit__(self, *raised: object) -> None:
        self._calls.leave()


def stopping() -> Refusal:
    return Refusal(
        503, "stopping", "the server is stopping: it finishes what runs and begins nothing new",
        headers={"Retry-After": "5"}, remedy="Try again when it has started anew.",
    )  # fmt: skip


def shown(tool: Tool, body: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a call that did not run, with what is secret by declaration or by name masked."""
    secret = {parameter.wire for parameter in tool.parameters if parameter.secret}
    return {
        name: hide(value) if name in secret or looks_secret(name) else _shown(value) for name, value in body.items()
    }


def shown_body(body: Mapping[str, Any]) -> Any:
    """A body that is no tool's, for the audit log."""
    return shortened(_shown(body))


def _shown(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: hide(each) if looks_secret(str(name)) else _shown(each) for name, each in value.items()}
    if isinstance(value, str):
        return without_password(value)
    return [_shown(each) for each in value] if isinstance(value, list) else value


def shortened(value: Any) -> Any:
    """The value with the tail of long texts left out: a line of the audit log is not the place for a whole dump."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST else f"{value[:LONGEST]}… ({len(value)} characters)"
    if isinstance(value, Mapping):
        return {name: shortened(each) for name, each in value.items()}
    return [shortened(each) for each in value] if isinstance(value, list) else value


def _wrong_arguments(tool: Tool, arguments: Mapping[str, Any], messages: Iterable[str]) -> Refusal:
    """Every field by name; a message that names none stands for the body."""
    names = [*arguments, *(parameter.wire for parameter in tool.parameters)]
    fields: dict[str, str] = {}
    for message in messages:
        named = next((name for name in names if f"'{name}'" in message), "body")
        fields[named] = f"{fields[named]}; {message}" if named in fields else message
    return answers.wrong_fields(fields)
