"""Runs that a server starts, each in a process of its own (`child`)."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from .. import language
from ..errors import FaultsFound, IkomaError, NotFound, Unavailable, UsageError
from ..journal.again import asked
from ..language import Inventory
from ..model import Access, Block, Node, Play, Step
from ..spelling import did_you_mean
from ..tools import TOOLS
from . import loading, sources, status

if TYPE_CHECKING:
    from ..journal.store import Row, Store
    from ..server.runs import Wanted

PATIENCE = 60.0  # seconds for a process to begin its run
ROLE = "ikoma_role"  # a variable of a play: the role that starting it over HTTP needs

# They steer the run and touch no host; what they are handed is the playbook's own.
_OF_THE_ENGINE = frozenset(
    ("meta", "debug", "assert", "fail", "set_fact", "pause", "approve", "validate_argument_spec", "include_tasks",
     "include_role", "include_vars", "group_by")
)  # fmt: skip


class Children:
    """Starts runs and knows those that are under way. `around` gives what the server adds to each: where the audit
    log and the .env lie, and variables of hosts that are this machine."""

    def __init__(
        self, store: Store, inventories: Sequence[str], around: Callable[[], Mapping[str, Any]], lock_timeout: float = 0
    ) -> None:
        self._lock_timeout = lock_timeout
        self._store = store
        self._inventories = inventories
        self._around = around
        self._going: dict[int, subprocess.Popen[bytes]] = {}
        self._stopping = False
        self._lock = threading.Lock()

    # --- what a playbook needs ---

    def access(self, playbook: str) -> Access:
        return _access_of([_path(playbook)])

    def hosts(self, playbook: str, variables: Mapping[str, Any], limit: str | None) -> list[str]:
        loaded = loading.load([_path(playbook)], self._inventories, spelled(variables))
        return hosts_of([play for book in loaded.playbooks for play in book.plays], loaded.inventory, limit)

    def access_of(self, row: Row) -> Access:
        if call := asked(row).get("call"):
            tool = TOOLS.find(call["tool"])
            return tool.access if tool is not None else Access.ADMIN
        try:
            return _access_of(json.loads(row["playbooks"]))
        except IkomaError:
            return Access.ADMIN  # not as it was any more

    def new_id(self) -> str:
        from ..engine.state import run_id

        return run_id()

    # --- processes ---

    def start(self, run: str, wanted: Wanted) -> None:
        given = {
            "playbooks": [_path(wanted.playbook)],
            "inventory": list(self._inventories),
            "extra_vars": spelled(wanted.variables),
            "limit": wanted.limit,
            "tags": list(wanted.tags),
            "skip_tags": list(wanted.skip_tags),
        }
        self._begin(run, wanted, {"given": given, "command": ["ikoma-play", "run", wanted.playbook]})

    def scheduled(self, run: str, playbook: str, schedule: str) -> None:
        """Begin the plays of a schedule, as an admin: whoever starts the server says what it may do."""
        from ..platform.api_keys import Key
        from ..server.runs import Wanted

        given = {
            "playbooks": [playbook],
            "inventory": list(self._inventories),
            "extra_vars": [],
            "schedule": schedule,
            "lock_timeout": self._lock_timeout,
        }
        wanted = Wanted(Key(f"schedule:{schedule}", Access.ADMIN.label, ""), Access.ADMIN, f"schedule-{run}")
        command = ["ikoma-play", "run", playbook, "--schedule", schedule]
        self._begin(run, wanted, {"given": given, "command": command})

    def again(self, run: str, undo: bool, wanted: Wanted) -> None:
        told = {
            "again": "rollback" if undo else "resume",
            "extra_vars": spelled(wanted.variables),
            "yes": True,
            "unfinished": wanted.unfinished,
        }
        self._begin(run, wanted, told)

    def _begin(self, run: str, wanted: Wanted, told: dict[str, Any]) -> None:
        around = self._around()
        told["behalf"] = {
            "run": run, "key": wanted.key.name, "role": wanted.role.label, "request": wanted.request,
            "hosts": list(wanted.key.hosts), "applications": list(wanted.key.applications),
            "noted": {"key": wanted.key.name, "request": wanted.request, "audit_log": around["audit_log"]}, **around,
        }  # fmt: skip
        words = tempfile.TemporaryFile()  # noqa: SIM115 - closed where it is read
        process = subprocess.Popen(
            [sys.executable, "-m", "ikoma_play.cli.child"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=words, start_new_session=True,
        )  # fmt: skip
        with self._lock:
            self._going[process.pid] = process
            if self._stopping:
                process.send_signal(signal.SIGTERM)
        threading.Thread(target=self._wait, args=(process,), name=f"run {run}", daemon=True).start()
        assert process.stdin is not None
        with process.stdin as pipe:
            pipe.write(json.dumps(told).encode())
        self._until_it_runs(run, process, words)

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        with self._lock:
            self._going.pop(process.pid, None)

    def _until_it_runs(self, run: str, process: subprocess.Popen[bytes], words: IO[bytes]) -> None:
        """Wait until the journal has the run as this process's. Raises what the process said where it never does."""
        until = time.monotonic() + PATIENCE
        with words:
            while True:
                over = process.poll() is not None
                rows = self._store.read("run_of", run=run)
                if rows and rows[0]["pid"] == process.pid:
                    return
                if over:
                    raise _said(process.returncode, words)
                if time.monotonic() > until:
                    raise Unavailable(
                        f"the process of run {run} has not begun it within {PATIENCE:.0f} s", remedy="See GET /runs."
                    )
                time.sleep(0.02)

    @property
    def running(self) -> int:
        with self._lock:
            return len(self._going)

    def stop(self) -> None:
        """Let every run end after the step that it is at; the journal has it as interrupted, to be resumed."""
        with self._lock:
            self._stopping = True
            for process in self._going.values():
                process.send_signal(signal.SIGTERM)


def _said(code: int, words: IO[bytes]) -> IkomaError:
    """What a process that ended before its run began complained of: a sentence, then perhaps a remedy."""
    words.seek(0)
    lines = words.read(64 * 1024).decode("utf-8", "replace").strip().splitlines()
    message = lines[0].removeprefix("error: ") if lines else f"it ended with exit code {code}"
    kind = UsageError if code in (status.USED_WRONGLY, status.FAULTY) else Unavailable
    return kind(message, remedy=" ".join(line.strip() for line in lines[1:]))


def spelled(variables: Mapping[str, Any]) -> list[str]:
    """Variables as options of `run`, each for itself, so that what is secret in one hides no other. Text is never a
    template."""
    return [f"{{{json.dumps(name)}: {_yaml(value)}}}" for name, value in variables.items()]


def _yaml(value: Any) -> str:
    if isinstance(value, str):
        return f"!unsafe {_quoted(value)}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_quoted(name)}: {_yaml(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    return json.dumps(value)


def _quoted(text: str) -> str:
    """As YAML has it: JSON, but that what YAML takes for the end of a line is written as its number."""
    odd = {ord(each): f"\\u{ord(each):04x}" for each in "\x7f\x85\u2028\u2029\ufeff"}
    return json.dumps(text, ensure_ascii=False).translate(odd)


def _path(playbook: str) -> str:
    """The file of a playbook that needs no path. Raises NotFound."""
    known = sources.known_playbooks()
    if playbook not in known:
        raise NotFound(
            f"there is no playbook {playbook[:60]!r}",
            remedy=did_you_mean(playbook, known, f"There are {', '.join(known)}."),
        )
    return str(known[playbook])


def _access_of(paths: Sequence[str]) -> Access:
    """The role that playbooks need. Raises FaultsFound where they cannot be read."""
    books = [language.load_playbook(path, TOOLS, sources.roles_path()) for path in paths]
    return max((_access(play) for book in books for play in book.plays), default=Access.OBSERVER)


def _access(play: Play) -> Access:
    """The role that a play needs: what it says itself, else the highest of its tools."""
    said = play.vars.get(ROLE)
    if isinstance(said, str) and said.upper() in Access.__members__:
        return Access[said.upper()]
    steps = _steps((*play.steps, *play.handlers, *_nodes(play.rollback)))
    return max(map(_access_of_step, steps), default=Access.OBSERVER)


def _access_of_step(step: Step) -> Access:
    if step.tool in _OF_THE_ENGINE:
        return Access.OBSERVER
    tool = TOOLS.find(step.tool)
    return tool.access if tool is not None else Access.ADMIN


def _steps(nodes: Sequence[Node]) -> Iterator[Step]:
    for node in nodes:
        if isinstance(node, Block):
            yield from _steps((*node.steps, *node.rescue, *node.always, *_nodes(node.rollback)))
        else:
            yield node
            yield from _steps(_nodes(node.rollback))


def _nodes(rollback: Any) -> tuple[Node, ...]:
    """The steps of a rollback; none for what a tool does by itself."""
    return tuple(rollback) if isinstance(rollback, tuple) else ()


def hosts_of(plays: Sequence[Play], inventory: Inventory, limit: str | None = None) -> list[str]:
    """The hosts that the plays are for. Raises NotFound for a limit that matches none."""
    chosen = {host.name for host in inventory.select(limit)} if limit else None
    if chosen is not None and not chosen:
        raise NotFound(f"no host matches the limit {limit}", remedy=f"There are {', '.join(inventory.hosts)}.")
    found: dict[str, None] = {}
    for play in plays:
        try:
            names = [host.name for host in inventory.select(play.hosts)]
        except (UsageError, FaultsFound):
            names = list(inventory.hosts)  # a template: it may be any of them
        found |= {name: None for name in names if chosen is None or name in chosen}
    return list(found)
