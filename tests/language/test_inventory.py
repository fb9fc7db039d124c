"""Inventories as Ansible means them: hosts, groups, variables by rank, patterns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ikoma_play.errors import FaultsFound
from ikoma_play.language import Inventory, load_inventory
from ikoma_play.language.host_patterns import BadPattern, expanded

CASES = Path(__file__).parent / "inventories"
_OF_THE_FILE = ("inventory_file", "inventory_dir")


def cases() -> Iterator[Any]:
    for file in sorted(CASES.glob("*.yml")):
        yield pytest.param(yaml.safe_load(file.read_text("utf-8")), id=file.stem)


@pytest.mark.parametrize("case", list(cases()))
def test_it_is_what_ansible_makes_of_it(case: Mapping[str, Any], write: Callable[[Mapping[str, str]], Path]) -> None:
    write(case["files"])
    inventory = load_inventory(case["sources"])
    if "playbook" in case:
        inventory = inventory.beside(case["playbook"])
    assert list(inventory.hosts) == case["hosts"]
    groups = {name: list(group) for name, group in inventory.groups.items() if name != "all" and len(group)}
    assert groups == case["groups"]
    for name, expected in case.get("vars", {}).items():
        found = {key: value for key, value in inventory.hosts[name].vars.items() if key not in _OF_THE_FILE}
        assert found == expected, f"variables of {name}"
    for pattern, expected in case.get("select", {}).items():
        assert [host.name for host in inventory.select(pattern)] == expected, f"pattern {pattern}"


@pytest.fixture
def fleet(write: Callable[[Mapping[str, str]], Path]) -> Inventory:
    write({"inventory.ini": "[web]\nweb[1:4]\n[db]\ndb1\ndb2\n[live]\nweb1\nweb3\ndb1\n[all:vars]\na=1\n"})
    return load_inventory(["inventory.ini"])


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("all", "web1 web2 web3 web4 db1 db2"),
        ("*", "web1 web2 web3 web4 db1 db2"),
        ("web", "web1 web2 web3 web4"),
        ("db:web", "db1 db2 web1 web2 web3 web4"),
        ("db,web", "db1 db2 web1 web2 web3 web4"),
        (["db", "web1"], "db1 db2 web1"),
        ("web:&live", "web1 web3"),
        ("&live:web", "web1 web3"),
        ("web:!live", "web2 web4"),
        ("!live:web", "web2 web4"),
        ("!web", "db1 db2"),
        ("web:db:&live:!db1", "web1 web3"),
        ("web[0]", "web1"),
        ("web[-1]", "web4"),
        ("web[1:2]", "web2 web3"),
        ("web[1-2]", "web2 web3"),
        ("web[2:]", "web3 web4"),
        ("web[9]", ""),
        ("web:!web[0:1]", "web3 web4"),
        ("w*", "web1 web2 web3 web4"),
        ("*1", "web1 db1"),
        ("web[13]", ""),
        ("~web[13]", "web1 web3"),
        ("~(web|db)1", "web1 db1"),
        ("d*:web2", "db1 db2 web2"),
        ("localhost", "localhost"),
        ("localhost:web1", "web1 localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("nothing", ""),
        ("web1:web1", "web1"),
        ("ungrouped", ""),
    ],
)
def test_patterns(fleet: Inventory, pattern: Any, expected: str) -> None:
    assert " ".join(host.name for host in fleet.select(pattern)) == expected


def test_the_implicit_localhost_is_local_and_in_no_group(fleet: Inventory) -> None:
    [local] = fleet.select("localhost")
    assert local.vars == {"ansible_connection": "local"}
    assert "localhost" not in [host.name for host in fleet.select("all")]


def test_unknown_terms_are_told(fleet: Inventory) -> None:
    assert fleet.match("web1:nothing:!neither")[1] == ["nothing", "!neither"]


def test_a_pattern_that_makes_no_sense(fleet: Inventory) -> None:
    with pytest.raises(FaultsFound) as error:
        fleet.select("~[a")
    assert error.value.faults[0].code == "bad-pattern"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("web", "web"),
        ("web[1:3]", "web1 web2 web3"),
        ("web[08:11].x", "web08.x web09.x web10.x web11.x"),
        ("web[1:7:3]", "web1 web4 web7"),
        ("[a:c]x", "ax bx cx"),
        ("r[1:2]n[a:b]", "r1na r1nb r2na r2nb"),
        ("web[5:5]", "web5"),
    ],
)
def test_ranges(name: str, expected: str) -> None:
    assert " ".join(expanded(name)) == expected


@pytest.mark.parametrize("name", ["w[3:1]", "w[a:3]", "w[01:100]", "w[1:2:0]", "w[1:", "w[1:999999999]", "w[z:a]"])
def test_ranges_that_make_no_sense(name: str) -> None:
    with pytest.raises(BadPattern):
        expanded(name)


def test_layers_are_kept_apart_by_rank(write: Callable[[Mapping[str, str]], Path]) -> None:
    write(
        {
            "inventory.yml": "all: {vars: {v: 1}, children: {web: {vars: {v: 2}, hosts: {h: {v: 6}}}}}\n",
            "group_vars/all.yml": "v: 3\n",
            "group_vars/web.yml": "v: 5\n",
            "host_vars/h.yml": "v: 7\n",
            "play/group_vars/all.yml": "v: 4\n",
            "play/group_vars/web.yml": "v: 5.5\n",
            "play/host_vars/h.yml": "v: 8\n",
        }
    )
    inventory = load_inventory(["inventory.yml"]).beside("play")
    seen = [layer["v"] for layer in inventory.layers("h") if "v" in layer]
    assert seen == [1, 2, 3, 4, 5, 5.5, 6, 7, 8]
    assert inventory.hosts["h"].vars["v"] == 8


def test_where_an_inventory_lies(write: Callable[[Mapping[str, str]], Path]) -> None:
    folder = write({"inv/hosts.ini": "a\n"})
    inventory = load_inventory(["inv/hosts.ini"])
    assert (inventory.dir, inventory.file) == (str(folder / "inv"), str(folder / "inv/hosts.ini"))
    assert inventory.hosts["a"].vars["inventory_dir"] == str(folder / "inv")
    assert load_inventory(["a,"]).dir == ""


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(FaultsFound) as error:
        load_inventory(["/nowhere/inventory.yml"])
    assert error.value.faults[0].code == "missing-file"
