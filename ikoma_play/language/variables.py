"""Variables in Ansible's order of precedence, as layers; nothing is copied for a step.

From the lowest rank: defaults of roles, inventory, facts, the play's vars, answers to its prompts,
its vars_files, vars of roles, of blocks and of the step, include_vars, set_fact and registered
results, parameters of roles, parameters of includes, extra variables, and what the engine itself says.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from ..model import EMPTY, Host, Play, RoleRef, Step
from .templating import Find, Layer, Named, Templar, Variables

MAGIC = frozenset(
    [
        "ansible_check_mode",
        "ansible_config_file",
        "ansible_dependent_role_names",
        "ansible_diff_mode",
        "ansible_facts",
        "ansible_failed_result",
        "ansible_failed_task",
        "ansible_forks",
        "ansible_index_var",
        "ansible_inventory_sources",
        "ansible_limit",
        "ansible_loop",
        "ansible_loop_var",
        "ansible_parent_role_names",
        "ansible_parent_role_paths",
        "ansible_play_batch",
        "ansible_play_hosts",
        "ansible_play_hosts_all",
        "ansible_play_name",
        "ansible_play_role_names",
        "ansible_role_name",
        "ansible_role_names",
        "ansible_run_tags",
        "ansible_search_path",
        "ansible_skip_tags",
        "ansible_verbosity",
        "ansible_version",
        "environment",
        "group_names",
        "groups",
        "hostvars",
        "ikoma_actor",
        "ikoma_play_home",
        "ikoma_play_version",
        "ikoma_run",
        "inventory_dir",
        "inventory_file",
        "inventory_hostname",
        "inventory_hostname_short",
        "omit",
        "play_hosts",
        "playbook_dir",
        "role_name",
        "role_names",
        "role_path",
        "vars",
    ]
)
"""Names that are there without anybody having set them; a check takes them for defined."""


class Computed(Mapping[str, Any]):
    """Values that are worked out when they are looked up, beside `fixed` ones."""

    __slots__ = ("_fixed", "_work")

    def __init__(self, work: Mapping[str, Callable[[], Any]], fixed: Mapping[str, Any] = EMPTY) -> None:
        self._work = work
        self._fixed = fixed

    def __getitem__(self, name: str) -> Any:
        return self._work[name]() if name in self._work else self._fixed[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._fixed
        yield from self._work

    def __len__(self) -> int:
        return len(self._work) + len(self._fixed)

    def __contains__(self, name: object) -> bool:
        return name in self._fixed or name in self._work


class HostVars(Mapping[str, Any]):
    """`hostvars`: every host's variables, as that host has them outside any play."""

    __slots__ = ("_names", "_view")

    def __init__(self, names: Callable[[], Iterable[str]], view: Callable[[str], Mapping[str, Any] | None]) -> None:
        self._names = names
        self._view = view

    def __getitem__(self, name: str) -> Any:
        found = self._view(name)
        if found is None:
            raise KeyError(name)
        return Named(found)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(list(self._names()))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._view(name) is not None


class Layers:
    """Layers of mappings that were written once and are used by many steps and hosts."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[Mapping[str, Any], Layer]] = {}

    def of(self, *mappings: Mapping[str, Any]) -> tuple[Layer, ...]:
        return tuple(self._one(mapping) for mapping in mappings if mapping)

    def _one(self, mapping: Mapping[str, Any]) -> Layer:
        known = self._made.get(id(mapping))
        if known is None:  # the mapping is kept too, so that its id stays its own
            known = self._made[id(mapping)] = (mapping, Layer(mapping))
        return known[1]


class StepLayers(Struct, frozen=True):
    """What a step brings at the ranks between those of its host."""

    defaults: tuple[Layer, ...] = ()
    role_vars: tuple[Layer, ...] = ()
    own: tuple[Layer, ...] = ()
    params: tuple[Layer, ...] = ()
    magic: tuple[Layer, ...] = ()


class PlayVariables:
    """What a play and its steps bring, for any host."""

    def __init__(self, play: Play, layers: Layers, prompted: Mapping[str, Any] = EMPTY) -> None:
        self.play = play
        self.title = play.name or ", ".join(map(str, play.hosts if isinstance(play.hosts, list) else [play.hosts]))
        self._layers = layers
        self.vars = layers.of(play.vars)
        self.prompted = (Layer(prompted, authored=False),) if prompted else ()
        self.defaults = layers.of(*(role.defaults for role in play.roles))
        self.role_vars = layers.of(*(role.vars for role in play.roles))
        self.roles = tuple(play.roles)
        self._of_role: dict[int, tuple[RoleRef, StepLayers]] = {}
        self._none = StepLayers()

    def of(self, step: Step | None) -> StepLayers:
        """The layers of a step; those of its role are made once."""
        if step is None:
            return self._none
        role = self._role(step.role) if step.role is not None else self._none
        if not step.vars:
            return role
        return StepLayers(role.defaults, role.role_vars, self._layers.of(*step.vars), role.params, role.magic)

    def used(self, roles: Iterable[RoleRef]) -> None:
        """Roles that were included, for the variables that name them."""
        self.roles = (*self.roles, *roles)

    def publish(self, roles: Iterable[RoleRef]) -> None:
        """Show the defaults and vars of roles that were included to all steps that follow."""
        self.defaults = (*self.defaults, *self._layers.of(*(role.defaults for role in roles)))
        self.role_vars = (*self.role_vars, *self._layers.of(*(role.vars for role in roles)))

    def _role(self, role: RoleRef) -> StepLayers:
        known = self._of_role.get(id(role))
        if known is None:
            chain = (*role.parents, role)
            magic: dict[str, Any] = {
                "role_name": role.name, "ansible_role_name": role.name, "role_path": role.path,
            }  # fmt: skip
            if role.users:
                magic["ansible_parent_role_names"] = [user.name for user in role.users]
                magic["ansible_parent_role_paths"] = [user.path for user in role.users]
            made = StepLayers(
                self._layers.of(*(each.defaults for each in chain)),
                self._layers.of(*(each.vars for each in chain)),
                (),
                self._layers.of(*(each.params for each in chain)),
                (Layer(magic, authored=False),),
            )
            known = self._of_role[id(role)] = (role, made)
        return known[1]


class HostVariables:
    """The variables of one host through a run: what was written for it and what it came to.

    `facts` were gathered, `included` came from include_vars and may hold templates, `results` are
    registered variables and set_fact; all three grow while the run goes on.
    """

    def __init__(self, host: Host, extra: Layer, magic: Mapping[str, Any]) -> None:
        self.facts: dict[str, Any] = {}
        self.included: dict[str, Any] = {}
        self.results: dict[str, Any] = {}
        self.magic = magic
        self.given: dict[str, Any] = {}  # by add_host
        self._given = Layer(self.given, authored=False, foreign=True)
        self.rebase(host)
        self._facts = (Layer(self.facts, authored=False, foreign=True),)
        self._included = Layer(self.included)
        self._results = Layer(self.results, authored=False, foreign=True)
        self.lowest: tuple[Layer, ...] = ()  # facts that are gathered when they are asked for
        self._extra = extra
        self._magic = Layer(magic, authored=False)
        self.files: tuple[Layer, ...] = ()  # the play's vars_files, as this host reads them

    def rebase(self, host: Host) -> None:
        """Take the host as another inventory has it."""
        self.host = host
        self._inventory = (Layer(host.vars), self._given)

    def view(
        self,
        play: PlayVariables,
        step: Step | None = None,
        params: tuple[Layer, ...] = (),
        find: Find | None = None,
        seen: Callable[[str, Any], None] | None = None,
        results: Mapping[str, Any] | None = None,
    ) -> Variables:
        """Everything that the step sees on this host. `params` are those of the includes around it;
        `results` take the place of the host's own (a rollback sees them as they were)."""
        mine = play.of(step)
        work: dict[str, Callable[[], Any]] = {
            "vars": lambda: found,
            "ansible_search_path": lambda: search_path(step, str(self.magic["playbook_dir"])),
        }
        found: Variables = Variables(
            *self.lowest,
            *play.defaults,
            *mine.defaults,
            *self._inventory,
            *self._facts,
            *play.vars,
            *play.prompted,
            *self.files,
            *play.role_vars,
            *mine.role_vars,
            *mine.own,
            self._included,
            self._results if results is None else Layer(results, authored=False, foreign=True),
            *mine.params,
            *params,
            self._extra,
            self._magic,
            *mine.magic,
            Layer(Computed(work), authored=False),
            find=find,
            seen=seen,
        )
        return found

    def outside(self, seen: Callable[[str, Any], None] | None = None) -> Variables:
        """What other hosts see of this one in `hostvars`: nothing that a play or a role says."""
        layers = (*self.lowest, *self._inventory, *self._facts, self._included, self._results, self._extra, self._magic)
        return Variables(*layers, seen=seen)

    def read_files(self, play: Play, view: Variables, load: Callable[[str], Mapping[str, Any]]) -> None:
        """Load the play's vars_files; where one entry is a list, the first that is there counts."""
        from ..errors import NotFound

        layers = []
        for entry in play.vars_files:
            names = Templar(view).render(entry)
            candidates = names if isinstance(names, list) else [names]
            for number, name in enumerate(candidates):
                try:
                    layers.append(Layer(load(str(name))))
                    break
                except NotFound:
                    if number == len(candidates) - 1:
                        raise
        self.files = tuple(layers)


def search_path(step: Step | None, playbook_dir: str) -> list[str]:
    """Where a step's files are looked for: its role, the roles around it, its own file's folder, the playbook's."""
    if step is None:
        return [os.path.abspath(playbook_dir or ".")]
    roles = [role.path for role in (step.role, *reversed(step.role.parents))] if step.role else []
    places = [*roles, os.path.dirname(step.position.file), playbook_dir]
    return list(dict.fromkeys(os.path.abspath(place or ".") for place in places))


def facts_layer(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Gathered facts under their short names, as `ansible_facts` holds them."""
    return {name.removeprefix("ansible_"): value for name, value in facts.items()}


__all__ = [
    "MAGIC", "Computed", "HostVariables", "HostVars", "Layers", "Named", "PlayVariables", "StepLayers", "facts_layer",
    "search_path",
]  # fmt: skip
