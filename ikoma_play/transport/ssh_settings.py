"""Where a host is and how it lets us in: its variables, ssh's arguments, ssh's configuration, in this order."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from ..errors import UsageError
from ..model import Host
from .ssh_config import Word, Words, from_arguments, looked_up

PORT = 22
CONNECT, BANNER, AUTHENTICATION, ALIVE, ALIVE_COUNT = 10.0, 15.0, 30.0, 15.0, 3
KEY_NAMES = ("id_ed25519", "id_ecdsa", "id_rsa")  # what ssh looks for where nothing is said
REFUSE, ACCEPT_NEW = "refuse", "accept-new"
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}  # seconds
_ARGUMENTS = ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args")
_POLICIES = {
    "refuse": REFUSE, "yes": REFUSE, "true": REFUSE, "ask": REFUSE, "strict": REFUSE,
    "accept-new": ACCEPT_NEW, "no": ACCEPT_NEW, "off": ACCEPT_NEW, "false": ACCEPT_NEW,
}  # fmt: skip


class Timeouts(Struct, frozen=True):
    """Seconds. `alive` is how long a host may be silent before it is asked whether it is there; after
    `alive_count` questions without an answer the connection is given up."""

    connect: float = CONNECT
    banner: float = BANNER
    authentication: float = AUTHENTICATION
    alive: float = ALIVE
    alive_count: int = ALIVE_COUNT


class Settings(Struct, frozen=True):
    """Everything a connection needs to know. Equal settings can share one connection."""

    name: str  # as the inventory calls the host
    address: str
    port: int = PORT
    user: str = ""
    keys: tuple[str, ...] = ()  # private keys that were asked for by name
    default_keys: tuple[str, ...] = ()  # the ones that ssh would try
    use_agent: bool = True
    agent_socket: str = ""  # ssh's IdentityAgent, else SSH_AUTH_SOCK
    passphrase: str | None = None
    password: str | None = None
    jump: Settings | None = None
    proxy_command: str | None = None
    known_hosts: tuple[str, ...] = ()  # the first one takes new keys
    known_as: str = ""  # ssh's HostKeyAlias
    host_keys: str = REFUSE
    timeouts: Timeouts = Timeouts()

    def __repr__(self) -> str:  # without password and passphrase
        return f"Settings({self.name!r}, {self.place!r})"

    @property
    def place(self) -> str:
        return f"{self.user}@{self.address}:{self.port}"

    @property
    def known_name(self) -> str:
        """The name that known_hosts has for it."""
        name = self.known_as or self.address
        return name if self.port == PORT or self.known_as else f"[{name}]:{self.port}"


def settings(host: Host) -> Settings:
    """How to reach a host whose connection variables are rendered. Raises UsageError."""
    values = host.vars

    def said(*names: str) -> Any:
        return next((values[name] for name in names if values.get(name) not in (None, "")), None)

    arguments: dict[str, str | list[str]] = {}
    for name in _ARGUMENTS:
        arguments = {**arguments, **from_arguments(str(values.get(name) or ""), name)}
    address = str(said("ansible_host", "ansible_ssh_host") or host.name)
    words = _words(address, arguments)
    port = said("ansible_port", "ansible_ssh_port")
    key = said("ansible_ssh_private_key_file", "ansible_private_key_file")
    policy = said("ikoma_host_keys")
    if policy is None and _off(values.get("ansible_host_key_checking", values.get("ansible_ssh_host_key_checking"))):
        policy = ACCEPT_NEW
    seconds = said("ansible_timeout", "ansible_ssh_timeout")
    return _settled(
        host.name,
        address,
        words,
        port=None if port is None else _number("ansible_port", port),
        user=said("ansible_user", "ansible_ssh_user"),
        keys=() if key is None else (str(key),),
        password=said("ansible_password", "ansible_ssh_pass", "ansible_ssh_password"),
        passphrase=said("ansible_ssh_private_key_passphrase", "ansible_private_key_passphrase"),
        policy=policy,
        timeout=None if seconds is None else float(_number("ansible_timeout", seconds)),
        file=str(arguments.get("F", "")),
        trail=(),
    )


def _words(name: str, arguments: Words) -> dict[str, str | list[str]]:
    given = dict(arguments)
    said = _from_files(name, str(given.pop("F", "")))
    keys = [*_many(given, "identityfile"), *_many(said, "identityfile")]
    return {**said, **given, **({"identityfile": keys} if keys else {})}


def _from_files(name: str, file: str) -> dict[str, str | list[str]]:
    """What ssh's configuration says; `file` is the one that was named, or `none`."""
    return {} if file == "none" else looked_up(name, Path(file).expanduser() if file else None)


def _settled(
    name: str,
    address: str,
    words: Words,
    *,
    port: int | None,
    user: Any,
    keys: tuple[str, ...],
    password: Any,
    passphrase: Any,
    policy: Any,
    timeout: float | None,
    file: str,
    trail: tuple[str, ...],
) -> Settings:
    """`file`: ssh's configuration, where one was named; `trail`: the hosts on the way that led here, so that
    a circle of jumps is noticed."""
    asked = (*keys, *_many(words, "identityfile"))
    proxy, jump = _one(words, "proxycommand"), _one(words, "proxyjump")
    known = _one(words, "userknownhostsfile").split() or ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"]
    system = _one(words, "globalknownhostsfile").split() or ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"]
    connect = timeout if timeout is not None else _seconds("ConnectTimeout", _one(words, "connecttimeout")) or CONNECT
    final = _one(words, "hostname") or address
    number = port if port is not None else _number("Port", _one(words, "port") or PORT)
    login = str(user or _one(words, "user") or getpass.getuser())
    return Settings(
        name=name,
        address=final,
        port=number,
        user=login,
        keys=tuple(_home(path) for path in asked),
        default_keys=() if asked else tuple(_home(f"~/.ssh/{key}") for key in KEY_NAMES),
        use_agent=_one(words, "identitiesonly").lower() != "yes" and _one(words, "identityagent") != "none",
        agent_socket=_home(_one(words, "identityagent")),
        password=None if password is None else str(password),
        passphrase=None if passphrase is None else str(passphrase),
        jump=_jump(name, jump, policy, timeout, file, (*trail, address)) if jump not in ("", "none") else None,
        proxy_command=None if proxy in ("", "none") else _expanded(proxy, final, number, login),
        known_hosts=tuple(_home(path) for path in (*known, *system)),
        known_as=_one(words, "hostkeyalias"),
        host_keys=_policy(policy if policy is not None else _one(words, "stricthostkeychecking") or REFUSE),
        timeouts=Timeouts(
            connect=connect,
            banner=max(connect, BANNER) if timeout is None else connect,
            alive=_seconds("ServerAliveInterval", _one(words, "serveraliveinterval")) or ALIVE,
            alive_count=_number("ServerAliveCountMax", _one(words, "serveralivecountmax") or ALIVE_COUNT),
        ),
    )


def _jump(name: str, jump: str, policy: Any, timeout: float | None, file: str, trail: tuple[str, ...]) -> Settings:
    """The last of a chain of jump hosts; each one is reached through the one before it."""
    before: Settings | None = None
    for hop in jump.split(","):
        login, _, place = hop.strip().removeprefix("ssh://").rpartition("@")
        address, port = _split(place)
        if address in trail:
            raise UsageError(
                f"{name} is to be reached by way of {address}, which is to be reached by way of itself",
                remedy=f"Take {address} out of its own ProxyJump (a `Host *` in ~/.ssh/config applies to it too).",
            )
        found = _settled(
            address, address, _from_files(address, file), port=port, user=login or None, keys=(), password=None,
            passphrase=None, policy=policy, timeout=timeout, file=file, trail=trail,
        )  # fmt: skip
        if before is not None:
            from msgspec.structs import replace

            found = replace(found, jump=before, proxy_command=None)
        before = found
    assert before is not None
    return before


def _split(place: str) -> tuple[str, int | None]:
    """`host`, `host:port`, `[address]:port`."""
    if place.startswith("["):
        address, _, rest = place[1:].partition("]")
        return address, _number("Port", rest[1:]) if rest.startswith(":") else None
    address, colon, port = place.partition(":")
    return (address, _number("Port", port)) if colon and ":" not in port else (place, None)


def _expanded(line: str, address: str, port: int, user: str) -> str:
    """A ProxyCommand's %h, %p and %r; paramiko has replaced them where the line came from a file."""
    values = {"%h": address, "%p": str(port), "%r": user, "%%": "%"}
    out, at = "", 0
    while at < len(line):
        pair = line[at : at + 2]
        out += values.get(pair, line[at])
        at += 2 if pair in values else 1
    return out


def _policy(value: Any) -> str:
    word = str(value).strip().lower()
    if word not in _POLICIES:
        raise UsageError(
            f"ikoma_host_keys cannot be {value!r}",
            remedy="`refuse` (the default) refuses unknown host keys; `accept-new` notes them and goes on.",
        )
    return _POLICIES[word]


def _off(value: Any) -> bool:
    return value is not None and str(value).strip().lower() in ("false", "no", "off", "0")


def _number(name: str, value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise UsageError(f"{name} is to be a number, not {value!r}") from None


def _seconds(name: str, value: str) -> float:
    """ssh's times (sshd_config(5), TIME FORMATS): 90, 30s, 1m30s; 0 for nothing or `none`. Raises UsageError."""
    text = value.lower().removesuffix("none")
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhdw]?)", text)
    if "".join(amount + unit for amount, unit in parts) != text:
        raise UsageError(f"{name} is to be a time such as 90, 30s or 1m30s, not {value!r}")
    return sum(float(amount) * _UNITS[unit] for amount, unit in parts)


def _many(words: Mapping[str, str | list[str]], key: Word) -> list[str]:
    value = words.get(key, [])
    return list(value) if isinstance(value, list) else [value]


def _one(words: Mapping[str, str | list[str]], key: Word) -> str:
    value = words.get(key) or ""  # paramiko makes None of `ProxyCommand none`
    return value[0] if isinstance(value, list) else str(value)


def _home(path: str) -> str:
    return os.path.expanduser(path)  # noqa: PTH111 - of a user whom nobody knows it leaves the path as it is
