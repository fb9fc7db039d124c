"""The tool setup: what a host is, found out in one round trip by one small script."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from ...errors import StepError
from ...model import Access, Command, Outcome, ok
from ...tool import tool
from ...transport.base import Transport

# Each section begins with a record separator and its name; what a host lacks leaves its section empty.
SCRIPT = r"""
export LC_ALL=C
section() { printf '\036%s\n' "$1"; }
section uname; uname -s; uname -n; uname -r; uname -v; uname -m
section fqdn; timeout 2 hostname -f 2>/dev/null
section release; cat /etc/os-release 2>/dev/null
section debian; cat /etc/debian_version 2>/dev/null
section user; id -un; id -u; id -g; getent passwd "$(id -un)" 2>/dev/null || echo "$HOME"
section memory; cat /proc/meminfo 2>/dev/null
section processors; cat /proc/cpuinfo 2>/dev/null
section links; ip -o link show 2>/dev/null
section addresses; ip -o addr show 2>/dev/null
section route4; ip -4 route show default 2>/dev/null
section route6; ip -6 route show default 2>/dev/null
section mounts; cat /proc/mounts 2>/dev/null
section space; timeout 5 df -Pk 2>/dev/null
section date; date '+%s %z %Z'
section uptime; cat /proc/uptime 2>/dev/null
section python; command -v python3 && python3 -V 2>&1
section init; cat /proc/1/comm 2>/dev/null
section packages; for each in apt-get dnf yum zypper apk pacman; do command -v "$each" >/dev/null && echo "$each"; done
section dns; cat /etc/resolv.conf 2>/dev/null
section machine; cat /etc/machine-id 2>/dev/null
section cmdline; cat /proc/cmdline 2>/dev/null
section env; env -0 2>/dev/null
:
"""

FAMILIES = {
    "Debian": ("debian", "ubuntu", "raspbian", "linuxmint", "kali", "pop"),
    "RedHat": ("rhel", "centos", "fedora", "rocky", "almalinux", "ol", "amzn"),
    "Suse": ("sles", "opensuse", "opensuse-leap", "opensuse-tumbleweed"),
    "Alpine": ("alpine",),
    "Archlinux": ("arch", "manjaro"),
}
NAMES = {"rhel": "RedHat", "centos": "CentOS", "ol": "OracleLinux", "amzn": "Amazon", "arch": "Archlinux",
         "almalinux": "AlmaLinux", "opensuse-leap": "openSUSE Leap", "sles": "SLES"}  # fmt: skip
MANAGERS = {"apt-get": "apt", "apk": "apk"}
NOT_MOUNTS = ("proc", "sysfs", "devpts", "cgroup", "cgroup2", "mqueue", "devtmpfs", "securityfs", "debugfs", "tracefs",
              "pstore", "bpf", "configfs", "hugetlbfs", "fusectl", "autofs", "binfmt_misc", "rpc_pipefs")  # fmt: skip

Sections = dict[str, str]


# The environment that it tells may hold secrets.
@tool("setup", access=Access.ADMIN, changes=False)
def setup(
    on: Transport,
    *,
    filter: list[str] | None = None,
    gather_subset: list[str] | None = None,
    gather_timeout: int = 10,
    fact_path: str = "/etc/ansible/facts.d",
) -> Outcome:
    """Find out what the host is: its system, addresses, memory, processors, file systems, user and time.

    filter: only facts whose names match, with * and ?
    gather_subset: all, min, hardware, network, env and so on; with ! before it, not that
    gather_timeout: seconds that it may take
    fact_path: accepted for Ansible's sake; facts of the host's own are not read
    """
    asked = Command(("/bin/sh", "-c", SCRIPT), timeout=float(gather_timeout), changes=False)
    sections = _sections(on.demand(asked, "cannot find out what the host is").stdout.decode("utf-8", "replace"))
    facts: dict[str, Any] = {}
    for subset, gather in SUBSETS.items():
        if _wanted(subset, gather_subset or ["all"]):
            facts |= gather(sections)
    facts = {f"ansible_{name}": value for name, value in facts.items()}
    if filter and "*" not in filter:
        names = [each for pattern in filter for each in (pattern, f"ansible_{pattern}")]
        facts = {name: value for name, value in facts.items() if any(fnmatch.fnmatch(name, each) for each in names)}
    return ok({"ansible_facts": facts}, facts=facts)


def _sections(text: str) -> Sections:
    parts = text.split("\036")[1:]
    return {name: body for name, _, body in (part.partition("\n") for part in parts)}


def _wanted(subset: str, asked: list[str]) -> bool:
    """Whether a subset is among those asked for; the smallest set is there unless `!min` says
    not; a part of it that is named brings all of it."""
    unknown = [each for each in asked if each.lstrip("!") not in {"all", "min", *SUBSETS, *PARTS}]
    if unknown:
        raise StepError(
            f"{unknown[0]!r} is no subset of facts", remedy=f"Use some of: all, {', '.join([*SUBSETS, *PARTS])}."
        )
    without = {PARTS.get(each[1:], each[1:]) for each in asked if each.startswith("!")}
    within = {PARTS.get(each, each) for each in asked if not each.startswith("!")}
    if subset == "min":
        return "min" in within or "min" not in without
    if subset in without or ("all" in without and subset not in within):
        return False
    return subset in within or "all" in within or not within


# --- The smallest set ------------------------------------------------------------------------------


def _minimal(sections: Sections) -> dict[str, Any]:
    system, node, kernel, version, machine = _lines(sections, "uname", 5)
    fqdn = sections.get("fqdn", "").strip() or node
    init = sections.get("init", "").strip()
    return {
        "system": system,
        "kernel": kernel,
        "kernel_version": version,
        "machine": machine,
        "architecture": machine,
        "userspace_bits": "64" if machine.endswith("64") or machine in ("s390x",) else "32",
        "nodename": node,
        "hostname": node.partition(".")[0],
        "fqdn": fqdn,
        "domain": fqdn.partition(".")[2],
        "machine_id": sections.get("machine", "").strip(),
        "cmdline": _cmdline(sections.get("cmdline", "")),
        "pkg_mgr": next((MANAGERS.get(name, name) for name in sections.get("packages", "").split()), "unknown"),
        "service_mgr": "systemd" if init == "systemd" else init or "unknown",
        "dns": _dns(sections.get("dns", "")),
        **_distribution(sections),
        **_user(sections),
        **_python(sections),
        "date_time": _time(sections),
    }


def _distribution(sections: Sections) -> dict[str, Any]:
    release = dict(re.findall(r'^(\w+)="?(.*?)"?$', sections.get("release", ""), re.M))
    slug = release.get("ID", "").lower()
    version = release.get("VERSION_ID", "")
    exact = sections.get("debian", "").strip()
    if slug == "debian" and re.match(r"\d", exact):
        version = exact
    like = [slug, *release.get("ID_LIKE", "").split()]
    family = next((name for each in like for name, slugs in FAMILIES.items() if each in slugs), "")
    codename = re.search(r"\((.+)\)", release.get("VERSION", ""))
    return {
        "distribution": NAMES.get(slug, slug.capitalize()) or "unknown",
        "distribution_version": version,
        "distribution_major_version": version.partition(".")[0],
        "distribution_release": release.get("VERSION_CODENAME") or (codename[1] if codename else ""),
        "os_family": family or NAMES.get(slug, slug.capitalize()),
    }


def _user(sections: Sections) -> dict[str, Any]:
    name, uid, gid, entry = _lines(sections, "user", 4)
    fields = entry.split(":")
    whole = len(fields) >= 7
    return {
        "user_id": name,
        "user_uid": int(uid or 0),
        "user_gid": int(gid or 0),
        "user_gecos": fields[4] if whole else "",
        "user_dir": fields[5] if whole else entry,
        "user_shell": fields[6] if whole else "",
        "real_user_id": int(uid or 0),
        "effective_user_id": int(uid or 0),
        "real_group_id": int(gid or 0),
        "effective_group_id": int(gid or 0),
    }


def _python(sections: Sections) -> dict[str, Any]:
    path, said = _lines(sections, "python", 2)
    version = said.removeprefix("Python ").strip()
    if not version:
        return {}
    numbers = [int(each) for each in re.findall(r"\d+", version)[:3]]
    return {
        "python_version": version,
        "python": {
            "executable": path,
            "type": "cpython",
            "version": dict(zip(("major", "minor", "micro"), numbers, strict=False)),
        },
    }


def _time(sections: Sections) -> dict[str, str]:
    seconds, offset, zone = [*sections.get("date", "").split(), "0", "+0000", "UTC"][:3]
    sign = -1 if offset.startswith("-") else 1
    shift = timezone(sign * timedelta(hours=int(offset[1:3]), minutes=int(offset[3:5])))
    now = datetime.fromtimestamp(int(seconds), shift)
    utc = now.astimezone(UTC)
    return {
        "year": f"{now:%Y}", "month": f"{now:%m}", "day": f"{now:%d}", "hour": f"{now:%H}", "minute": f"{now:%M}",
        "second": f"{now:%S}", "weekday": f"{now:%A}", "weekday_number": f"{now:%w}", "weeknumber": f"{now:%W}",
        "date": f"{now:%Y-%m-%d}", "time": f"{now:%H:%M:%S}", "epoch": seconds, "epoch_int": seconds, "tz": zone,
        "tz_offset": offset, "iso8601": f"{utc:%Y-%m-%dT%H:%M:%SZ}", "iso8601_micro": f"{utc:%Y-%m-%dT%H:%M:%S.%fZ}",
        "iso8601_basic": f"{now:%Y%m%dT%H%M%S%f}", "iso8601_basic_short": f"{now:%Y%m%dT%H%M%S}",
    }  # fmt: skip


def _cmdline(text: str) -> dict[str, Any]:
    pairs = (word.partition("=") for word in text.split())
    return {name: value if equals else True for name, equals, value in pairs}


def _dns(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            found.setdefault("nameservers", []).append(words[1])
        elif len(words) > 1 and words[0] in ("search", "domain"):
            found[words[0]] = words[1:] if words[0] == "search" else words[1]
    return found


# --- Hardware --------------------------------------------------------------------------------------


def _hardware(sections: Sections) -> dict[str, Any]:
    memory = {
        name: int(size) // 1024 for name, size in re.findall(r"^(\w+):\s+(\d+) kB", sections.get("memory", ""), re.M)
    }
    total, free = memory.get("MemTotal", 0), memory.get("MemFree", 0)
    swap, swap_free = memory.get("SwapTotal", 0), memory.get("SwapFree", 0)
    unused = free + memory.get("Buffers", 0) + memory.get("Cached", 0)
    uptime = sections.get("uptime", "").partition(".")[0]
    return {
        "memtotal_mb": total,
        "memfree_mb": free,
        "swaptotal_mb": swap,
        "swapfree_mb": swap_free,
        "memory_mb": {
            "real": {"total": total, "free": free, "used": total - free},
            "nocache": {"free": unused, "used": total - unused},
            "swap": {"total": swap, "free": swap_free, "used": swap - swap_free, "cached": memory.get("SwapCached", 0)},
        },
        "uptime_seconds": int(uptime or 0),
        "mounts": _mounts(sections),
        **_processors(sections.get("processors", "")),
    }


def _processors(text: str) -> dict[str, Any]:
    blocks = [dict(re.findall(r"^([^\t:]+)\s*: ?(.*)$", block, re.M)) for block in text.strip().split("\n\n")]
    blocks = [block for block in blocks if "processor" in block]
    described: list[str] = []
    for block in blocks:
        described += [block[key] for key in ("processor", "vendor_id", "model name") if key in block]
    sockets = {block.get("physical id", "0") for block in blocks} or {"0"}
    cores = int(blocks[0].get("cpu cores", len(blocks))) if blocks else 1
    siblings = int(blocks[0].get("siblings", len(blocks))) if blocks else 1
    return {
        "processor": described,
        "processor_count": len(sockets),
        "processor_cores": cores,
        "processor_threads_per_core": max(1, siblings // max(1, cores)),
        "processor_vcpus": max(1, len(blocks)),
        "processor_nproc": max(1, len(blocks)),
    }


def _mounts(sections: Sections) -> list[dict[str, Any]]:
    space: dict[str, list[int]] = {}
    for line in sections.get("space", "").splitlines()[1:]:
        words = line.split(None, 5)
        if len(words) == 6 and words[1].isdigit():
            space[words[5]] = [int(each) for each in words[1:4]]
    found = []
    for line in sections.get("mounts", "").splitlines():
        device, mount, kind, options = line.split(" ")[:4]
        mount = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), mount)
        if kind in NOT_MOUNTS or (mount not in space and not device.startswith("/")):
            continue
        values: dict[str, Any] = {"device": device, "mount": mount, "fstype": kind, "options": options}
        if mount in space:
            total, _, available = space[mount]
            values |= {"size_total": total * 1024, "size_available": available * 1024}
        found.append(values)
    return found


# --- Network, environment --------------------------------------------------------------------------


def _network(sections: Sections) -> dict[str, Any]:
    links: dict[str, dict[str, Any]] = {}
    for line in sections.get("links", "").splitlines():
        found = re.match(r"\d+: ([^:@]+)(?:@\S+)?: <(\S*)> (.*)", line)
        if found is None:
            continue
        name, flags, rest = found.groups()
        mac, mtu = re.search(r"link/\w+ ([0-9a-f:]{17})", rest), re.search(r"mtu (\d+)", rest)
        links[name] = {
            "device": name,
            "active": "UP" in flags.split(","),
            "mtu": int(mtu[1]) if mtu else 0,
            "macaddress": mac[1] if mac else "",
            "type": "loopback" if "LOOPBACK" in flags else "ether",
            "ipv6": [],
        }
    for line in sections.get("addresses", "").splitlines():
        found = re.match(r"\d+: (\S+)\s+(inet6?) ([0-9a-f.:]+)(?:/(\d+))?(?: brd (\S+))?.* scope (\S+)", line)
        if found is None or found[1] not in links:
            continue
        _add_address(links[found[1]], found)
    ipv4 = [link["ipv4"]["address"] for link in links.values() if "ipv4" in link and link["type"] != "loopback"]
    ipv6 = [each["address"] for link in links.values() for each in link["ipv6"] if each["scope"] != "host"]
    values: dict[str, Any] = {
        "interfaces": list(links),
        "all_ipv4_addresses": ipv4,
        "all_ipv6_addresses": ipv6,
        "default_ipv4": _default(sections.get("route4", ""), links, "ipv4"),
        "default_ipv6": _default(sections.get("route6", ""), links, "ipv6"),
    }
    return values | {re.sub(r"\W", "_", name): link for name, link in links.items()}


def _add_address(link: dict[str, Any], found: re.Match[str]) -> None:
    import ipaddress

    address, prefix = found[3], found[4] or ("32" if found[2] == "inet" else "128")
    if found[2] == "inet6":
        link["ipv6"].append({"address": address, "prefix": prefix, "scope": found[6]})
        return
    network = ipaddress.IPv4Network(f"{address}/{prefix}", strict=False)
    values = {
        "address": address,
        "netmask": str(network.netmask),
        "network": str(network.network_address),
        "prefix": prefix,
        "broadcast": found[5] or "",
    }
    if "ipv4" in link:
        link.setdefault("ipv4_secondaries", []).append(values)
    else:
        link["ipv4"] = values


def _default(route: str, links: dict[str, dict[str, Any]], family: str) -> dict[str, Any]:
    """The address that the host speaks from by default, with its gateway."""
    device, gateway = re.search(r"\bdev (\S+)", route), re.search(r"\bvia (\S+)", route)
    if device is None or device[1] not in links:
        return {}
    link = links[device[1]]
    address = link.get("ipv4", {}) if family == "ipv4" else next(iter(link["ipv6"]), {})
    values = {name: link[name] for name in ("macaddress", "mtu", "type")} | {"interface": device[1], **address}
    return values | ({"gateway": gateway[1]} if gateway else {})


def _env(sections: Sections) -> dict[str, Any]:
    pairs = (entry.partition("=") for entry in sections.get("env", "").split("\0") if "=" in entry)
    return {"env": {name: value for name, _, value in pairs}}


def _lines(sections: Sections, name: str, count: int) -> list[str]:
    return [*sections.get(name, "").splitlines(), *[""] * count][:count]


SUBSETS: dict[str, Callable[[Sections], dict[str, Any]]] = {
    "min": _minimal,
    "hardware": _hardware,
    "network": _network,
    "env": _env,
}
# Ansible's smaller subsets → the one of ours that holds them.
PARTS = {
    "distribution": "min", "platform": "min", "user": "min", "python": "min", "date_time": "min", "dns": "min",
    "pkg_mgr": "min", "service_mgr": "min", "cmdline": "min", "machine_id": "min", "mounts": "hardware",
    "processor": "hardware", "memory": "hardware", "interfaces": "network", "default_ipv4": "network",
}  # fmt: skip
