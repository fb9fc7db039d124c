"""setup: what this machine says of itself, and what other systems would have said."""

from __future__ import annotations

import os
import platform
import pwd
import socket
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.errors import StepError
from ikoma_play.model import Command, Host, Result
from ikoma_play.tools.general import facts as gathering
from ikoma_play.transport.local import LocalTransport
from tests.tools.general import harness


def setup(**arguments: Any) -> dict[str, Any]:
    outcome = harness.call(LocalTransport(Host("here")), harness.RunScope(Path()), "setup", arguments)
    assert outcome.result["ansible_facts"] == outcome.facts
    return dict(outcome.facts)


def test_this_machine() -> None:
    found = setup()
    assert found["ansible_kernel"] == platform.release() and found["ansible_machine"] == platform.machine()
    assert found["ansible_hostname"] == socket.gethostname().partition(".")[0]
    assert found["ansible_user_id"] == pwd.getpwuid(os.geteuid()).pw_name and found["ansible_user_uid"] == os.geteuid()
    assert found["ansible_processor_vcpus"] == len(os.sched_getaffinity(0)) or found["ansible_processor_vcpus"] > 0
    assert found["ansible_memtotal_mb"] > 100 and found["ansible_uptime_seconds"] > 0
    assert found["ansible_date_time"]["year"].isdigit() and len(found["ansible_date_time"]["iso8601"]) == 20
    assert found["ansible_env"]["PATH"] == os.environ["PATH"]
    root = next(mount for mount in found["ansible_mounts"] if mount["mount"] == "/")
    assert root["size_total"] >= root["size_available"] > 0


def test_one_round_trip(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Command] = []
    run = LocalTransport.run

    def counted(on: LocalTransport, command: Command, on_output: Any = None) -> Result:
        asked.append(command)
        return run(on, command, on_output)

    monkeypatch.setattr(LocalTransport, "run", counted)
    setup()
    assert len(asked) == 1 and not asked[0].changes


def test_only_some() -> None:
    assert set(setup(filter=["ansible_kernel*"])) == {"ansible_kernel", "ansible_kernel_version"}
    assert "ansible_hostname" in setup(filter=["hostname"])
    fewer = setup(gather_subset=["!all"])
    assert "ansible_hostname" in fewer and "ansible_memtotal_mb" not in fewer and "ansible_env" not in fewer
    assert "ansible_interfaces" in setup(gather_subset=["network"])
    assert "ansible_memtotal_mb" not in setup(gather_subset=["network"])
    with pytest.raises(StepError, match="no subset") as caught:
        setup(gather_subset=["nonsense"])
    assert caught.value.remedy.count(" min,") == 1, caught.value.remedy


@pytest.mark.parametrize(
    ("release", "debian", "wanted"),
    [
        ('ID=debian\nVERSION_ID="12"\nVERSION="12 (bookworm)"\nVERSION_CODENAME=bookworm\n', "12.11\n",
         ("Debian", "12.11", "12", "bookworm", "Debian")),
        ('ID=ubuntu\nID_LIKE=debian\nVERSION_ID="22.04"\nVERSION_CODENAME=jammy\n', "bookworm/sid\n",
         ("Ubuntu", "22.04", "22", "jammy", "Debian")),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\nVERSION="9.4 (Blue Onyx)"\n', "",
         ("Rocky", "9.4", "9", "Blue Onyx", "RedHat")),
        ("ID=alpine\nVERSION_ID=3.20.1\n", "", ("Alpine", "3.20.1", "3", "", "Alpine")),
        ("", "", ("unknown", "", "", "", "")),
    ],
)  # fmt: skip
def test_distributions(release: str, debian: str, wanted: tuple[str, ...]) -> None:
    found = gathering._distribution({"release": release, "debian": debian})
    names = ("", "_version", "_major_version", "_release")
    assert (*(found[f"distribution{name}"] for name in names), found["os_family"]) == wanted


def test_interfaces() -> None:
    found = gathering._network({
        "links": "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue\\    link/loopback 00:00:00:00:00:00 brd\n"
                 "2: eth0@if5: <BROADCAST,UP> mtu 1500 qdisc\\    link/ether 02:42:ac:11:00:02 brd ff:ff:ff:ff:ff:ff\n",
        "addresses": "1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever\n"
                     "2: eth0    inet 10.1.2.3/16 brd 10.1.255.255 scope global eth0\\   valid_lft forever\n"
                     "2: eth0    inet 10.9.9.9/32 scope global eth0\\   valid_lft forever\n"
                     "2: eth0    inet6 fe80::1/64 scope link \\   valid_lft forever\n",
        "route4": "default via 10.1.0.1 dev eth0 \n",
    })  # fmt: skip
    assert found["interfaces"] == ["lo", "eth0"] and found["all_ipv4_addresses"] == ["10.1.2.3"]
    assert found["default_ipv4"]["address"] == "10.1.2.3" and found["default_ipv4"]["gateway"] == "10.1.0.1"
    assert found["eth0"]["ipv4"]["netmask"] == "255.255.0.0" and found["eth0"]["ipv4"]["network"] == "10.1.0.0"
    assert found["eth0"]["ipv4_secondaries"][0]["address"] == "10.9.9.9"
    assert found["default_ipv6"] == {}


def test_a_host_that_says_nothing() -> None:
    for gather in gathering.SUBSETS.values():
        gather({})
