"""What a run knows while it goes on: its hosts, their variables and counts, what is to be undone."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event as Flag
from threading import RLock
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from msgspec import Struct, field

from .. import __version__
from ..errors import NotFound, StepError
from ..events import Event, Observer, StepFinished, StepStarted, Warned
from ..journal.past import Past, Recorded
from ..language.host_patterns import choose
from ..language.templating import OMIT, Layer, Templar, Variables
from ..language.variables import Computed, HostVariables, HostVars, Layers, PlayVariables, facts_layer
from ..model import EMPTY, Host, Node, Position
from ..tool import Toolbox
from ..transport.base import Transport
from ..transport.process import end_all
from .background import Background
from .facts import FactsOnDemand
from .hosts import HostRun
from .locking import Held, Locking
from .masking import Secrets
from .options import Options
from .roads import RUNNER, Connect, Roads, carried, way
from .telling import Telling

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")
WORKER = "ikoma-host"
_LAST = threading.Lock()
_last = 0  # when the newest run of this process began, in parts of a second


class Inventory(Protocol):
    """What the engine asks of an inventory."""

    @property
    def hosts(self) -> Mapping[str, Host]: ...

    @property
    def groups(self) -> Mapping[str, Any]:
        """Group names to the names of their hosts."""

    @property
    def sources(self) -> Sequence[str]:
        """The files and folders that it was read from, absolute."""

    def select(self, pattern: Any) -> Sequence[Host]:
        """The hosts a pattern names, in the inventory's order; raises FaultsFound or UsageError."""

    def beside(self, playbook_dir: str) -> Inventory:
        """The same with the group_vars and host_vars beside a playbook; raises FaultsFound."""

    def again(self) -> Inventory:
        """The inventory as its sources say now; raises FaultsFound."""


class Waiting(Struct):
    """`--start-at-step`: steps are passed over until one has this name."""

    name: str | None
    lock: RLock = field(default_factory=RLock)


class RunState:
    """Everything of one run that outlives a play."""

    def __init__(
        self, inventory: Inventory, tools: Toolbox, options: Options, observers: Sequence[Observer], connect: Connect,
        locking: Locking | None = None, past: Past | None = None,
    ) -> None:  # fmt: skip
        self.id = past.run if past else options.run or run_id()
        self.past = past
        self.unfinished: list[Recorded] = []  # of a run that is undone: steps of which nobody knows the end
        self.staying: list[Recorded] = []  # and those that changed something and say nothing of undoing it
        self.given_inventory = inventory
        self.inventory = inventory
        self.tools = tools
        self.options = options
        self.roads = Roads(connect)
        self.secrets = Secrets()
        self.layers = Layers()
        self.stopping = Flag()
        self.telling = Telling(observers, self.stopping)
        self.aborted = False  # the run is to end at once: of the steps it is at nobody will know the end
        self.background = Background(self.stopping)
        keep = past is not None and past.undo
        self.held = Held(self.id, None if options.check else locking, self.stopping.is_set, keep)
        self.playbook_dir = ""
        self.confirm = options.confirm
        self.start_at = Waiting(options.start_at_step)
        self.hosts: dict[str, HostRun] = {}
        self.added_hosts: dict[str, Host] = {}
        self.added_groups: dict[str, list[str]] = {}
        self.extra = Layer(options.extra_vars)
        self.play: PlayVariables | None = None
        self.late = past is not None and past.late  # what is undone belongs to a run that had ended well
        self.seen: set[str] = set()  # hosts that a play was for
        self.play_hosts: list[str] = []
        self.play_batch: list[str] = []
        self._lock = RLock()
        self._pool: ThreadPoolExecutor | None = None
        for name, value in options.extra_vars.items():
            self.secrets.see(name, value)

    # --- events ---

    def emit(self, event: Event, wait: bool = True) -> None:
        """Hand an event to the observers, masked. Without `wait` it may be told a moment later.

        Where one of them fails the run ends after the steps it is at; `run` then raises what the observer raised."""
        if self.telling:
            self.telling.tell(self.secrets.mask_event(event), wait)
            if isinstance(event, StepStarted):
                self.telling.settle()

    @property
    def observer_error(self) -> Exception | None:
        return self.telling.error

    def failed_with(self, host: HostRun, event: StepFinished) -> None:
        """Keep what a host failed by for the report, masked."""
        host.failures.append(self.secrets.mask_event(event))

    def warn(self, message: str, position: Position | None = None) -> None:
        self.emit(Warned(self.id, time.time(), message, position))

    # --- hosts ---

    def select(self, pattern: Any) -> list[Host]:
        """The hosts a pattern names, those that steps added included; localhost is always there."""
        groups = self.groups()
        names, unknown = choose(pattern, groups, groups["all"])
        return [self.host(name).variables.host for name in (*names, *(term for term in unknown if term in RUNNER))]

    def enter(self, playbook_dir: str) -> None:
        """Start on a playbook: its folder may bring variables of hosts and groups."""
        self.playbook_dir = playbook_dir
        self.inventory = self.given_inventory.beside(playbook_dir)
        for name, host in self.hosts.items():
            if name in self.inventory.hosts:
                host.variables.rebase(self.inventory.hosts[name])

    def refresh(self) -> None:
        """Read the inventory again: later plays take their hosts from it, all steps its variables."""
        self.given_inventory = self.given_inventory.again()
        self.enter(self.playbook_dir)

    def add_host(self, host: Host, values: Mapping[str, Any]) -> None:
        """A host that a step added, or one that it gave further variables."""
        self.added_hosts[host.name] = host
        self.host(host.name).variables.given.update(values)

    def playbook_file(self, kind: str, name: str) -> str:
        """A file that a play names: beside the playbook, or in its folder of that kind. Raises NotFound."""
        given = Path(name).expanduser()
        for path in (
            (given,) if given.is_absolute() else (Path(self.playbook_dir, name), Path(self.playbook_dir, kind, name))
        ):
            if path.is_file():
                return str(path)
        raise NotFound(f"there is no file {name!r} beside the playbook", remedy=f"Put it into {self.playbook_dir}.")

    def host(self, name: str) -> HostRun:
        """A host's state; hosts that no inventory names (delegation, localhost) get one too."""
        found = self.hosts.get(name)
        if found is None:
            with self._lock:
                host = self.added_hosts.get(name) or self.inventory.hosts.get(name) or implicit(name)
                found = self.hosts.setdefault(name, self._new(host))
        return found

    def _new(self, host: Host) -> HostRun:
        variables = HostVariables(host, self.extra, self._magic(host))
        facts = FactsOnDemand(variables.facts, lambda: self.tools.find("setup"), lambda: self._bare_road(host.name))
        variables.lowest = (Layer(facts, authored=False, foreign=True),)
        return HostRun(host.name, variables, facts)

    def _bare_road(self, name: str) -> Transport:
        """The road to a host as no step asks for it."""
        assert self.play is not None
        variables = self.host(name).variables.view(self.play, seen=self.secrets.see)
        return self.roads.road((name, *way(variables)), lambda: self.carried(name, variables), False)

    def carried(self, name: str, variables: Mapping[str, Any], said: Mapping[str, Any] = EMPTY) -> Host:
        """A host with the connection's and the platform's variables rendered, as its road carries it.

        `said` is what a step's own keywords say of the connection; the host's variables rank above them."""
        host = self.host(name).variables.host
        found = carried(host, variables, {**self.options.connection, **said})
        if found.vars.get("ansible_connection", "local" if host.name in RUNNER else "") == "local":
            return Host(host.name, host.groups, {**self.options.here, **found.vars})
        return found

    def groups(self) -> dict[str, list[str]]:
        """Every group with the names of its hosts, those of add_host and group_by included."""
        found = {name: [str(getattr(each, "name", each)) for each in of] for name, of in self.inventory.groups.items()}
        for name, members in self.added_groups.items():
            found[name] = list(dict.fromkeys([*found.get(name, []), *members]))
        every = list(dict.fromkeys([*found.get("all", []), *self.inventory.hosts, *self.added_hosts]))
        return {**found, "all": every}

    def group_names(self, host: Host) -> list[str]:
        added = [name for name, members in self.added_groups.items() if host.name in members]
        names = {*host.groups, *added} - {"all", "ungrouped"}
        return sorted(names) or ["ungrouped"]

    def view_of(self, name: str) -> Variables | None:
        """A host's variables outside any play, None for a name that no inventory has."""
        if not any(name in known for known in (self.hosts, self.inventory.hosts, self.added_hosts, RUNNER)):
            return None
        return self.host(name).variables.outside(self.secrets.see)

    def _magic(self, host: Host) -> Mapping[str, Any]:
        """What the engine itself says on a host; worked out when it is looked up."""
        options = self.options
        fixed: dict[str, Any] = {
            "inventory_hostname": host.name,
            "inventory_hostname_short": host.name.split(".")[0],
            "omit": OMIT,
            "ikoma_run": self.id,
            "ikoma_actor": options.actor,
            "ikoma_play_version": __version__,
            "ikoma_play_home": options.play_home,
            "ansible_check_mode": options.check,
            "ansible_diff_mode": options.diff,
            "ansible_verbosity": options.verbosity,
            "ansible_forks": options.workers,
            "ansible_run_tags": sorted(options.tags) or ["all"],
            "ansible_skip_tags": sorted(options.skip_tags),
            "ansible_version": _ANSIBLE,
            "ansible_playbook_python": sys.executable,
            "ansible_config_file": None,
        }
        if options.limit is not None:
            fixed["ansible_limit"] = options.limit
        work: dict[str, Callable[[], Any]] = {
            "hostvars": lambda: HostVars(lambda: self.groups()["all"], self.view_of),
            "groups": self.groups,
            "group_names": lambda: self.group_names(host),
            "playbook_dir": lambda: self.playbook_dir,
            "inventory_dir": lambda: _inventory_place(self.inventory, host, "inventory_dir"),
            "inventory_file": lambda: _inventory_place(self.inventory, host, "inventory_file"),
            "play_hosts": lambda: self.going(self.play_batch),
            "ansible_play_batch": lambda: self.going(self.play_batch),
            "ansible_play_hosts": lambda: self.going(self.play_hosts),
            "ansible_play_hosts_all": lambda: list(self.play_hosts),
            "ansible_play_name": lambda: self.play.title if self.play else "",
            "ansible_play_role_names": lambda: self._role_names(False),
            "role_names": lambda: self._role_names(False),
            "ansible_dependent_role_names": lambda: self._role_names(True),
            "ansible_role_names": lambda: sorted({*self._role_names(False), *self._role_names(True)}),
            "ansible_inventory_sources": lambda: list(self.inventory.sources),
            "ansible_facts": lambda: self._facts(host.name),
        }
        return Computed(work, fixed)

    def _role_names(self, needed: bool) -> list[str]:
        """The roles that the play has used so far: those that other roles need, or the rest."""
        roles = self.play.roles if self.play else ()
        return list(dict.fromkeys(role.name for role in roles if role.needed is needed))

    def _facts(self, name: str) -> dict[str, Any]:
        """`ansible_facts`, gathered where nobody has yet; without the tool for it what steps found out."""
        host = self.host(name)
        if "setup" in self.tools:
            host.facts.gather()
        return facts_layer(host.variables.facts)

    def going(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if not (self.hosts[name].failed or self.hosts[name].unreachable)]

    # --- work on several hosts ---

    def each(self, hosts: Sequence[HostRun], work: Callable[[HostRun], T], most: int = 0) -> list[T]:
        """The work done on every host, in parallel up to the forks; results in the hosts' order.

        Work that asks for this again is done in turn: a pool that waits for itself would wait for ever."""
        if len(hosts) <= 1 or threading.current_thread().name.startswith(WORKER):
            return [work(host) for host in hosts]
        workers = min(most or self.options.workers, self.options.workers)
        if workers == 1:
            return [work(host) for host in hosts]
        from concurrent.futures import ThreadPoolExecutor

        if most and most < len(hosts):
            with ThreadPoolExecutor(workers, thread_name_prefix=WORKER) as pool:
                return list(pool.map(work, hosts))
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.options.workers, thread_name_prefix=WORKER)
        return list(self._pool.map(work, hosts))

    def settle(self) -> None:
        """Nothing is under way after this."""
        if self.aborted:
            self.roads.close()  # first, since the threads wait for what goes on at their ends
            end_all()
        self.background.wait()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def close(self) -> None:
        self.settle()
        self.roads.close()


def implicit(name: str) -> Host:
    """A host that is named and in no inventory; the runner's own names are local."""
    return Host(name, (), {"ansible_connection": "local"} if name in RUNNER else {})


def run_id() -> str:
    """An id that sorts by time, also within a second: 20261124-081500-ab12."""
    global _last
    with _LAST:
        _last = max(_last + 1, int(time.time() * 0x10000))
        seconds, part = divmod(_last, 0x10000)
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(seconds))}-{part:04x}"


def truth(value: Any, templar: Templar | None = None) -> bool:
    """A keyword that is true or false, given as such, as a word or as a template."""
    if templar is not None:
        value = templar.render(value)
    if isinstance(value, str):
        return value.strip().lower() in ("yes", "true", "on", "1", "y", "t")
    return bool(value)


def number(keyword: str, value: Any, templar: Templar, position: Position | None = None) -> float:
    """A keyword that is a number, given as such, as text or as a template; nothing is 0. Raises StepError."""
    rendered = templar.render(value)
    if rendered is None or rendered == "" or rendered is OMIT:
        return 0.0
    try:
        return float(str(rendered).strip())
    except ValueError:
        position = getattr(value, "position", None) or position
        raise StepError(f"{keyword} wants a number, not {rendered!r}", position=position) from None


def nodes_below(nodes: Sequence[Node]) -> Iterator[Any]:
    """Every step in these nodes and in the blocks among them, in order."""
    for node in nodes:
        if hasattr(node, "tool"):
            yield node
        else:
            yield from nodes_below((*node.steps, *node.rescue, *node.always))


def _inventory_place(inventory: Inventory, host: Host, name: str) -> Any:
    found = host.vars.get(name)
    return found if found is not None else getattr(inventory, name.removeprefix("inventory_"), None)


_ANSIBLE = {
    "full": "2.18.0", "major": 2, "minor": 18, "revision": 0, "string": f"2.18.0 (ikoma-play {__version__}, "
    f"Python {sys.version.split()[0]})",
}  # fmt: skip
