"""Every neighbouring pair of Ansible's documented order of precedence, here and in the real ansible-playbook.

Each pair has a variable of its own that both ranks set, so that one run of either tells about all of them.
The list's first rank, values of the command line such as -u, sets no variable of this kind: test_typed.py has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from tests.ansible.beside import Ansible, Came, ours

RANKS = (
    "role defaults", "inventory file group vars", "inventory group_vars/all", "playbook group_vars/all",
    "inventory group_vars/*", "playbook group_vars/*", "inventory file host vars", "inventory host_vars/*",
    "playbook host_vars/*", "host facts", "play vars", "play vars_prompt", "play vars_files", "role vars", "block vars",
    "task vars", "include_vars", "set_fact and registered vars", "role params", "include params", "extra vars",
)  # fmt: skip
FACTS = ("ansible_system", "ansible_kernel")  # set by what is below facts, and by what is above
PAIRS = list(pairwise(RANKS))


def variable(number: int) -> str:
    """The variable of the pair whose lower rank has this number."""
    around = RANKS.index("host facts")
    return {around - 1: FACTS[0], around: FACTS[1]}.get(number, f"pair_{number}")


def of(rank: str) -> dict[str, str]:
    """What a rank sets: the variables of the pairs that it is in."""
    number = RANKS.index(rank)
    return {variable(pair): rank for pair in (number - 1, number) if 0 <= pair < len(PAIRS)}


def case() -> dict[str, Any]:
    def text(rank: str) -> str:
        return json.dumps(of(rank))

    names = [variable(number) for number in range(len(PAIRS))]
    show = [{"debug": {"msg": [f"{{{{ {name} }}}}" for name in names]}, "vars": of("task vars")}]
    inventory = {"all": {"children": {"g": {
        "vars": of("inventory file group vars"),
        "hosts": {"h1": {"ansible_connection": "local", **of("inventory file host vars")}},
    }}}}  # fmt: skip
    within = {"block": [{"include_tasks": "show.yml", "vars": of("include params")}], "vars": of("block vars")}
    play = {
        "hosts": "g", "gather_facts": True, "gather_subset": ["!all", "!min", "platform"], "vars": of("play vars"),
        "vars_prompt": [{"name": name, "default": value, "private": False}
                        for name, value in of("play vars_prompt").items()],
        "vars_files": ["vf.yml"],
        "pre_tasks": [{"include_vars": "iv.yml"}, {"set_fact": of("set_fact and registered vars")}],
        "roles": [{"role": "r", **of("role params")}],
    }  # fmt: skip
    return {
        "playbook": json.dumps([play]), "inventory": json.dumps(inventory), "inventory_at": "inv/hosts.yml",
        "options": {"extra_vars": of("extra vars")},
        "files": {
            "inv/group_vars/all.yml": text("inventory group_vars/all"),
            "group_vars/all.yml": text("playbook group_vars/all"),
            "inv/group_vars/g.yml": text("inventory group_vars/*"), "group_vars/g.yml": text("playbook group_vars/*"),
            "inv/host_vars/h1.yml": text("inventory host_vars/*"), "host_vars/h1.yml": text("playbook host_vars/*"),
            "vf.yml": text("play vars_files"), "iv.yml": text("include_vars"),
            "roles/r/defaults/main.yml": text("role defaults"), "roles/r/vars/main.yml": text("role vars"),
            "roles/r/tasks/main.yml": json.dumps([within]), "roles/r/tasks/show.yml": json.dumps(show),
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Came, Came]]:
    folder = tmp_path_factory.mktemp("precedence")
    ansible = Ansible(folder / "ansible")
    try:
        yield ours(folder / "case", case()), ansible(folder / "case", case())
    finally:
        ansible.close()


def seen(came: Came) -> list[str]:
    assert came.code == 0, came.log
    return list(json.loads(came.said["h1"][0].replace("'", '"')))


@pytest.mark.parametrize("number", range(len(PAIRS)), ids=lambda number: " < ".join(PAIRS[number]))
def test_neighbours(both: tuple[Came, Came], number: int) -> None:
    here, there = (seen(came)[number] for came in both)
    below, above = PAIRS[number]
    assert here == there, "not as in Ansible"
    assert here not in (below, *RANKS[:number]), "the lower rank won"
    assert here == above or above == "host facts"
