"""The nouns of a run, all frozen: what was written, what is asked of a host, what came of it.

Nothing here knows how text is parsed, how a host is reached or how a run is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum, StrEnum
from typing import Any, BinaryIO

from msgspec import Struct


class _Nothing(Mapping[str, Any]):
    """No entries, ever; for defaults."""

    __slots__ = ()

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:  # a mapping's own looks for the entry, and is asked many times a step
        return False

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "{}"


EMPTY: Mapping[str, Any] = _Nothing()


class Access(IntEnum):
    """What a caller may do; each level includes the ones below. HTTP calls it X-Role."""

    OBSERVER = 0
    OPERATOR = 1
    BUILDER = 2
    ADMIN = 3

    @property
    def label(self) -> str:
        return self.name.lower()


class Position(Struct, frozen=True):
    """A place in a text; line and column count from 1."""

    file: str
    line: int
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Fault(Struct, frozen=True):
    """Something wrong with a playbook, an inventory or an argument, known before anything ran."""

    code: str  # a stable slug: unknown-keyword, unknown-tool, missing-argument, …
    message: str
    position: Position | None = None
    remedy: str = ""  # the likely correction, a whole sentence
    warning: bool = False  # reported, but does not stop the run


# --- Hosts -----------------------------------------------------------------------------------------


class Host(Struct, frozen=True):
    """A machine of the inventory.

    `vars` holds its own and its groups' variables; on the host that a Transport carries, the
    connection variables (`ansible_*`) and the platform's (`ikoma_*`) among them are rendered.
    """

    name: str
    groups: tuple[str, ...] = ()
    vars: Mapping[str, Any] = EMPTY


class Command(Struct, frozen=True):
    """What to run on a host: an argv list, never a line for a shell."""

    argv: tuple[str, ...]
    stdin: bytes | BinaryIO | None = None
    cwd: str | None = None
    env: Mapping[str, str] = EMPTY  # added to the host's own environment
    timeout: float | None = None  # seconds; its whole process group is killed after
    stdout_to: str | None = None  # a file on the host that takes standard output
    changes: bool = True  # False: only looks, so check mode runs it too
    secrets: tuple[str, ...] = ()  # values that no message about this command may show


class Result(Struct, frozen=True):
    """What a command came to; `seconds` is wall time, `dropped` how many bytes of output were not kept."""

    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""
    seconds: float = 0.0
    dropped: int = 0

    @property
    def ok(self) -> bool:
        return self.exit_code == 0

    @property
    def text(self) -> str:
        """Standard output as text, without the final newlines."""
        return self.stdout.decode("utf-8", "replace").rstrip("\n")


# --- Outcomes --------------------------------------------------------------------------------------


class Status(StrEnum):
    OK = "ok"
    CHANGED = "changed"
    SKIPPED = "skipped"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    ROLLED_BACK = "rolled_back"
    ROLLBACK_FAILED = "rollback_failed"

    @property
    def bad(self) -> bool:
        return self in (Status.FAILED, Status.UNREACHABLE, Status.ROLLBACK_FAILED)


class Diff(Struct, frozen=True):
    """One thing's text before and after; `label` names it, mostly a path."""

    label: str
    before: str
    after: str


class Failure(Struct, frozen=True):
    """Why a step failed: an error made data, secrets already masked."""

    code: str
    message: str
    remedy: str = ""
    evidence: str = ""  # what the command printed, last lines
    position: Position | None = None


class Outcome(Struct, frozen=True):
    """What a step came to on one host. A tool returns it through `ok()` or `changed()`.

    `result` is the JSON value that HTTP answers with; `facts` become variables of the host;
    `items` are the outcomes of a loop, in order; `hidden` (no_log) shows nothing but the status.
    """

    status: Status
    result: Any = None
    message: str = ""
    failure: Failure | None = None
    diffs: tuple[Diff, ...] = ()
    facts: Mapping[str, Any] = EMPTY
    warnings: tuple[str, ...] = ()
    items: tuple[Outcome, ...] = ()
    item: Any = None  # the loop's value (or label), on an outcome inside `items`
    ignored: bool = False  # failed, but ignore_errors let the play go on
    hidden: bool = False
    attempts: int = 1
    seconds: float = 0.0
    round_trips: int = 0  # how often something was asked of a host over the network, and its answer waited for


def ok(result: Any = None, message: str = "", **more: Any) -> Outcome:
    """The step found everything as asked."""
    return Outcome(Status.OK, result, message, **more)


def changed(result: Any = None, message: str = "", **more: Any) -> Outcome:
    """The step changed something on the host."""
    return Outcome(Status.CHANGED, result, message, **more)


class Progress(Struct, frozen=True):
    """How far a tool is with long work: `done` of `total` units; `total` 0 when it is not known."""

    text: str
    done: float = 0.0
    total: float = 0.0


# --- The playbook ----------------------------------------------------------------------------------


class Retry(Struct, frozen=True):
    """`retries`/`until`/`delay`/`backoff`; delays in seconds. `until` empty: until it does not fail."""

    retries: Any = 3
    delay: Any = 5
    until: tuple[str, ...] = ()
    backoff: Any = 1  # each delay is the one before times this


class Loop(Struct, frozen=True):
    """What a step repeats over. `kind` is `loop` or the name behind `with_`; `items` is untemplated."""

    kind: str
    items: Any
    var: str = "item"
    index_var: str | None = None
    label: Any = None
    pause: Any = 0
    extended: Any = False
    extended_allitems: Any = True
    break_when: tuple[str, ...] = ()
    position: Position | None = None


class Become(Struct, frozen=True):
    """`become*` as written; None where nothing was said."""

    enabled: Any = None
    user: Any = None
    method: Any = None
    flags: Any = None


class RoleRef(Struct, frozen=True):
    """The use of a role that a step came with: where its files, templates and variables are found."""

    name: str
    path: str  # the role's folder
    defaults: Mapping[str, Any] = EMPTY
    vars: Mapping[str, Any] = EMPTY
    params: Mapping[str, Any] = EMPTY  # given where the role is used
    parents: tuple[RoleRef, ...] = ()
    needed: bool = False  # a dependency of the last of its parents

    @property
    def users(self) -> tuple[RoleRef, ...]:
        """The roles that include or import this one, the nearest first; one that another needs has none."""
        return () if self.needed else self.parents[::-1]


class Step(Struct, frozen=True):
    """One call of a tool, with every keyword that plays, roles and blocks around it hand down.

    Values are as written: text may hold templates. Inheritance is settled by the parser: `when`
    holds the conditions of all levels, outermost first; `vars` one layer a level, outermost first.
    """

    tool: str  # canonical name: `copy`, never `ansible.builtin.copy`
    args: Mapping[str, Any]  # as written under the tool's name, free form already named
    position: Position
    name: str = ""
    phase: str = ""  # the role use or play part that the console groups by
    role: RoleRef | None = None
    when: tuple[Any, ...] = ()
    loop: Loop | None = None
    register: str | None = None
    retry: Retry | None = None
    timeout: Any = None
    failed_when: tuple[Any, ...] | None = None
    changed_when: tuple[Any, ...] | None = None
    ignore_errors: Any = False
    ignore_unreachable: Any = False
    notify: tuple[str, ...] = ()
    listen: tuple[str, ...] = ()  # on handlers only
    tags: frozenset[str] = frozenset()
    vars: tuple[Mapping[str, Any], ...] = ()
    environment: tuple[Any, ...] = ()
    become: Become = Become()
    connection: Any = None  # the keywords of that name; the variables ansible_connection … count more
    remote_user: Any = None
    port: Any = None
    delegate_to: Any = None
    delegate_facts: Any = False
    run_once: Any = False
    no_log: Any = False
    check_mode: Any = None
    diff: Any = None
    throttle: Any = 0
    any_errors_fatal: Any = False
    async_seconds: Any = 0
    poll: Any = 10
    module_defaults: Mapping[str, Any] = EMPTY
    apply: Mapping[str, Any] = EMPTY  # dynamic includes: keywords for what they bring
    outer: Step | None = None  # dynamic includes: what they hand down to what they bring, `apply` included
    given_vars: Mapping[str, Any] = EMPTY  # dynamic includes: their own `vars`, which outrank those of what they bring
    rollback: tuple[Node, ...] | None = None  # the steps that undo this one
    auto_rollback: bool = False  # `rollback: auto`: the tool itself says how it is undone
    undoes: Mapping[str, Any] | None = None  # set by the engine: undo what the tool did, by what was recorded before

    @property
    def title(self) -> str:
        return self.name or self.tool


class Block(Struct, frozen=True):
    """Steps that stand or fall together, with `rescue` for when they fail and `always` for after."""

    steps: tuple[Node, ...]
    position: Position
    name: str = ""
    rescue: tuple[Node, ...] = ()
    always: tuple[Node, ...] = ()
    rollback: tuple[Node, ...] | None = None
    atomic: Any = False
    role: RoleRef | None = None  # set when the block is one use of a role
    use: tuple[str, ...] = ()  # what tells this use from others
    again: bool = True  # it runs though the same use was done before


Node = Step | Block


class Schedule(Struct, frozen=True):
    """When a server runs plays by itself. `cron` is an expression of five fields, or six with seconds before them;
    `zone` "" is the server's own time zone; `catch_up` says whether what was missed is run once, later."""

    name: str
    cron: str
    position: Position
    zone: str = ""
    catch_up: bool = True


class Play(Struct, frozen=True):
    """One play: `steps` holds pre_tasks, roles, tasks and post_tasks in the order they run.

    Where handlers are due between those parts the parser has put a `meta: flush_handlers` step.
    """

    hosts: Any
    position: Position
    steps: tuple[Node, ...]
    name: str = ""
    handlers: tuple[Node, ...] = ()
    roles: tuple[RoleRef, ...] = ()  # their defaults and vars are seen by the whole play
    vars: Mapping[str, Any] = EMPTY
    vars_files: tuple[Any, ...] = ()
    vars_prompt: tuple[Mapping[str, Any], ...] = ()
    gather_facts: Any = None
    serial: Any = None
    strategy: str = "linear"
    order: str = "inventory"
    max_fail_percentage: Any = None
    any_errors_fatal: Any = False
    force_handlers: Any = False
    lock: Any = None
    rollback: tuple[Node, ...] | None = None
    rollback_scope: str = "host"
    keywords: Mapping[str, Any] = EMPTY  # inherited keywords as written, for what is included later
    schedule: Schedule | None = None


class Playbook(Struct, frozen=True):
    """A file of plays; `files` names every file that was read for it."""

    path: str
    plays: tuple[Play, ...]
    files: tuple[str, ...] = ()
    warnings: tuple[Fault, ...] = ()
