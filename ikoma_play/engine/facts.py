"""Facts of a host, gathered when the first one is asked for: one round trip, and none where nobody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from threading import RLock
from typing import Any

from ..errors import StepError
from ..tool import Tool
from ..transport.base import Transport

# The facts that a template may ask for by a name of their own; all others are in ansible_facts.
NAMES = frozenset(
    f"ansible_{name}"
    for name in (
        "all_ipv4_addresses", "all_ipv6_addresses", "architecture", "cmdline", "date_time", "default_ipv4",
        "default_ipv6", "distribution", "distribution_major_version", "distribution_release", "distribution_version",
        "dns", "domain", "effective_group_id", "effective_user_id", "env", "eth0", "fqdn", "hostname", "interfaces",
        "kernel", "kernel_version", "lo", "lsb", "machine", "machine_id", "memfree_mb", "memory_mb", "memtotal_mb",
        "mounts", "nodename", "os_family", "pkg_mgr", "processor", "processor_cores", "processor_count",
        "processor_nproc", "processor_threads_per_core", "processor_vcpus", "python", "python_version",
        "real_group_id", "real_user_id", "selinux", "service_mgr", "swapfree_mb", "swaptotal_mb", "system",
        "uptime_seconds", "user_dir", "user_gecos", "user_gid", "user_id", "user_shell", "user_uid", "userspace_bits",
        "virtualization_role", "virtualization_type",
    )
)  # fmt: skip


class FactsOnDemand(Mapping[str, Any]):
    """The lowest layer of a host's variables: a fact that was not gathered yet is, when it is looked up.

    `known` are the facts of the host, filled by gathering; `road` leads to it."""

    def __init__(self, known: dict[str, Any], tool: Callable[[], Tool | None], road: Callable[[], Transport]) -> None:
        self._known = known
        self._tool = tool
        self._road = road
        self._asked = False
        self._lock = RLock()

    def gather(self) -> None:
        """Gather once; what a `setup` step gathered before counts. Raises Unreachable, StepError."""
        with self._lock:
            if self._asked or any(name in self._known for name in ("ansible_system", "ansible_hostname")):
                return
            tool = self._tool()
            if tool is None:
                raise StepError("facts are gathered by the tool setup, which is not there")
            self._asked = True
            self._known.update(tool.function(self._road(), **tool.bind({})).facts)

    def forget(self) -> None:
        """The next lookup gathers again."""
        with self._lock:
            self._known.clear()
            self._asked = False

    def __getitem__(self, name: str) -> Any:
        if name not in NAMES:
            raise KeyError(name)
        self.gather()
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        return name in NAMES

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
