"""The journal of a run that the command line starts: opened before anything runs, closed after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from .. import shipped
from ..engine.masking import without_password
from ..errors import JournalError, UsageError
from ..events import Observer
from ..model import EMPTY
from ..tool import Tool
from . import options, sources

if TYPE_CHECKING:
    from ..journal.locks import Locks
    from ..journal.past import Past
    from ..journal.store import Store
    from .loading import Loaded

_NOT_KEPT = ("as_json", "junit", "profile", "lock_timeout", "await_approval", "syntax_check", "list_hosts",
             "list_steps", "list_tags")  # fmt: skip


class Asked(Struct, frozen=True):
    """What a run was asked for, as the journal keeps it."""

    inventory: Sequence[str]
    options: Mapping[str, Any]
    variables: Mapping[str, Any] = EMPTY
    files: Sequence[str] = ()
    past: Past | None = None


class Journal(Struct, frozen=True):
    """What the engine is handed; nothing of it where no journal is kept."""

    observers: tuple[Observer, ...] = ()
    locks: Locks | None = None
    store: Store | None = None


def about(
    loaded: Loaded,
    given: Mapping[str, Any],
    command_line: Sequence[str],
    past: Past | None = None,
    more: Mapping[str, Any] = EMPTY,
) -> Asked:
    """`given` are the options of `run` by name, its playbooks among them; what is secret in them is left out.
    `more` is kept beside them."""
    read = (file for playbook in loaded.playbooks for file in (playbook.path, *playbook.files))
    files = dict.fromkeys(str(Path(file).absolute()) for file in read)
    inventories = sources.inventories(given["inventory"])
    files |= dict.fromkeys(str(Path(path).absolute()) for path in inventories if _is_kept(path))
    asked = {"command": list(command_line), "given": _kept(given), **more}
    return Asked(inventories, asked, loaded.variables, list(files), past)


def _is_kept(inventory: str) -> bool:
    return Path(inventory).is_file() and Path(inventory) != shipped.inventory()


def _kept(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options as they are kept, to go on with or to undo by them."""
    kept = {name: value for name, value in given.items() if name not in _NOT_KEPT}
    extra_vars = [options.without_secrets(value) for value in given["extra_vars"]]
    return {**kept, "extra_vars": extra_vars, "directory": str(Path.cwd())}


def about_call(tool: Tool, hosts: str, given: Mapping[str, Any], variables: Mapping[str, Any]) -> Asked:
    """Arguments are among the steps of a run, masked."""
    call = {"tool": tool.name, "hosts": hosts, **_kept(given)}
    asked = {"command": ["ikoma-play", "exec", tool.name], "call": call}
    return Asked(sources.inventories(given["inventory"]), asked, variables)


class Kept:
    """One journal for all runs of a server, open as long as it serves."""

    def __init__(self, inventory: Sequence[str], lock_timeout: float) -> None:
        """Raises UsageError where it cannot be opened or written."""
        self._inventory = inventory
        self._patience = lock_timeout
        self.store = opened()

    @contextmanager
    def call(
        self, tool: Tool, host: str, here: Mapping[str, Any], key: str, request: str, keep: bool = False
    ) -> Iterator[Journal]:
        """The journal for one call by the holder of a key; for a tool that only looks, none unless it is to `keep`.
        `here` are the variables that the server adds to the host's own."""
        if not (tool.changes or keep):
            yield Journal()
            return
        from ..journal import forgetting
        from ..journal.locks import Locks
        from ..journal.recorder import About, Recorder

        call = {"tool": tool.name, "hosts": host, **_kept({"extra_vars": ()})}
        call["here"] = {name: value for name, value in here.items() if without_password(str(value)) == value}
        asked = {"command": ["POST", f"/execute/{tool.name}"], "key": key, "request": request, "call": call}
        recorder = Recorder(self.store, About(self._inventory, asked, who=key))
        try:
            yield Journal((recorder,), Locks(self.store, self._patience, recorder.note, key))
        finally:
            recorder.close()
        with suppress(JournalError):
            forgetting.forget_in_turn(self.store)

    def under_way(self) -> tuple[Mapping[str, int], int]:
        """How many runs are in which state, of those that have not ended, and how many locks living processes hold."""
        from ..journal.again import state
        from ..journal.holder import is_dead, this_process

        here = this_process()
        held = sum(not is_dead(row, here) for row in self.store.read("all_locks"))
        return Counter(map(state, self.store.read("running"))), held

    def close(self) -> None:
        self.store.close()


@contextmanager
def journal(asked: Asked, lock_timeout: float, keep: bool = True, who: str = "") -> Iterator[Journal]:
    """The journal and its locks; with `keep` False, for what changes nothing, none. `who` is on whose behalf the run
    goes, if not the user of this process. Raises UsageError where it cannot be opened or written: then nothing runs."""
    if not keep:
        yield Journal()
        return
    from ..journal import forgetting
    from ..journal.locks import Locks
    from ..journal.recorder import About, Recorder

    claimed = sandbox_is_here()
    store = opened()
    kept = About(asked.inventory, asked.options, asked.variables, asked.files, asked.past, who)
    recorder = Recorder(store, kept)
    try:
        yield Journal((recorder,), Locks(store, lock_timeout, recorder.note, who), store)
        with suppress(JournalError):
            forgetting.forget_in_turn(store)
    finally:
        recorder.close()
        store.close()
        if claimed and not sandbox_is_here():
            _forget()


def opened() -> Store:
    """The journal. Raises UsageError where it cannot be opened."""
    from ..journal.opening import default_url, open_store

    try:
        return open_store(default_url())
    except JournalError as error:
        raise UsageError(f"nothing was run: {error.message}", remedy=error.remedy, evidence=error.evidence) from None


def lost_hosts() -> str:
    """The hosts on which the newest run failed, as a pattern. Raises UsageError."""
    from ..journal import again

    with closing(existing()) as store:
        return ",".join(again.lost_hosts(store))


def existing() -> Store:
    """The journal that is there already. Raises UsageError."""
    from ..journal.opening import default_url, open_store

    try:
        return open_store(default_url(), create=False)
    except JournalError as error:
        raise UsageError(error.message, remedy=error.remedy, evidence=error.evidence) from None


def sandbox_is_here() -> bool:
    from ..journal.opening import DEFAULT
    from ..platform.sandbox import is_ours

    return is_ours(Path(DEFAULT).parent)


def _forget() -> None:
    """The sandbox of this directory was removed with everything in it, and that includes its journal."""
    from ..journal.opening import DEFAULT

    path = Path(DEFAULT)
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)
    if not any(path.parent.iterdir()):
        path.parent.rmdir()
