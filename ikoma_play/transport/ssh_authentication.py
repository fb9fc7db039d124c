"""Proving who we are to a host: keys, the agent's keys, a password; what was tried is told when all are refused."""

from __future__ import annotations

import base64
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paramiko

from ..errors import Unreachable
from .known_hosts import fingerprint
from .ssh_settings import Settings
from .ssh_wire import Wire

_keys: dict[tuple[str, int, str | None], paramiko.PKey] = {}
_loading = threading.Lock()


class Unusable(Exception):
    """Why a key cannot be used, as half a sentence."""


def authenticate(wire: Wire, settings: Settings) -> None:
    """Let the host know who we are. Raises Unreachable with everything that was tried."""
    wire.auth_timeout = settings.timeouts.authentication
    tried: list[str] = []
    try:
        with _agent(settings) as agent:
            for name, key in _candidates(settings, agent, tried):
                if _publickey(wire, settings, name, key, tried):
                    return
        if settings.password is not None and _password(wire, settings, tried):
            return
        if not tried and _none(wire, settings):
            return
    except (paramiko.SSHException, EOFError, OSError) as error:
        if wire.is_active() and wire.is_authenticated():
            return
        raise Unreachable(
            f"{settings.name}: the connection to {settings.place} was given up while logging in: {_said(error)}",
            remedy="Too many keys may have been tried: name the right one (ansible_ssh_private_key_file).",
            evidence="\n".join(tried),
        ) from None
    raise _refused(settings, tried)


def _refused(settings: Settings, tried: list[str]) -> Unreachable:
    offered = tried or ["nothing: there is no key in ~/.ssh, no agent, and no password is given"]
    if any("needs its passphrase" in one for one in tried):
        remedy = "Give the passphrase (ansible_ssh_private_key_passphrase), or add the key to the agent (ssh-add)."
    else:
        remedy = (
            f"Name the right user and key (ansible_user, ansible_ssh_private_key_file), or put the key there: "
            f"ssh-copy-id -p {settings.port} {settings.user}@{settings.address}"
        )
    return Unreachable(
        f"{settings.name}: {settings.place} does not let us in; tried " + ", ".join(offered), remedy=remedy
    )


def _candidates(
    settings: Settings, agent: tuple[Any, ...], tried: list[str]
) -> Iterator[tuple[str, paramiko.PKey | Any]]:
    """Keys that were named first (by way of the agent where it has them), then the agent's, then the usual files."""
    done: set[bytes] = set()
    by_blob = {key.asbytes(): key for key in agent}
    for path in (*settings.keys, *settings.default_keys):
        named = path in settings.keys
        if not named:
            yield from _agents_own(agent, done)
        if not Path(path).exists():
            public = _public(path)
            if public is not None and public in by_blob and public not in done:
                done.add(public)
                yield f"key {path} (agent)", by_blob[public]
            elif named:
                tried.append(f"key {path} (no such file)")
            continue
        try:
            key = load_key(path, settings.passphrase)
        except Unusable as why:
            public = _public(path)
            if public is not None and public in by_blob:
                done.add(public)
                yield f"key {path} (agent)", by_blob[public]
            else:
                tried.append(f"key {path} ({why})")
            continue
        if key.asbytes() not in done:
            done.add(key.asbytes())
            yield f"key {path}", key
    if settings.use_agent:
        yield from _agents_own(agent, done)


def _agents_own(agent: tuple[Any, ...], done: set[bytes]) -> Iterator[tuple[str, Any]]:
    for key in agent:
        if key.asbytes() not in done:
            done.add(key.asbytes())
            yield f"agent's key {key.comment or fingerprint(key.asbytes())}", key


def _publickey(wire: Wire, settings: Settings, name: str, key: Any, tried: list[str]) -> bool:
    try:
        return _enough(wire.auth_publickey(settings.user, key), name, tried)
    except paramiko.BadAuthenticationType as error:
        tried.append(f"{name} (the host takes {_types(error)} only)")
    except paramiko.AuthenticationException as error:
        if not wire.is_active():
            raise
        tried.append(f"{name} (refused)" if "failed" in str(error).lower() else f"{name} ({_said(error)})")
    return False


def _password(wire: Wire, settings: Settings, tried: list[str]) -> bool:
    assert settings.password is not None
    try:  # a host that asks instead of taking a password gets the same answer
        return _enough(wire.auth_password(settings.user, settings.password), "password", tried)
    except paramiko.BadAuthenticationType as error:
        tried.append(f"password (the host takes {_types(error)} only)")
    except paramiko.AuthenticationException:
        if not wire.is_active():
            raise
        tried.append("password (refused)")
    return False


def _none(wire: Wire, settings: Settings) -> bool:
    """Some hosts want no proof at all."""
    try:
        wire.auth_none(settings.user)
    except (paramiko.BadAuthenticationType, paramiko.AuthenticationException):
        return False
    return wire.is_authenticated()


def _enough(more: list[str], name: str, tried: list[str]) -> bool:
    if more:
        tried.append(f"{name} (accepted, but {' and '.join(more)} is wanted too)")
    return not more


def load_key(path: str, passphrase: str | None) -> paramiko.PKey:
    """A private key, its certificate with it; read once. Raises Unusable."""
    try:
        stamp = Path(path).stat().st_mtime_ns
    except OSError as error:
        raise Unusable((error.strerror or str(error)).lower()) from None
    with _loading:  # a passphrase takes a good part of a second each time
        if (path, stamp, passphrase) not in _keys:
            _keys[path, stamp, passphrase] = _loaded(path, passphrase)
        return _keys[path, stamp, passphrase]


def _loaded(path: str, passphrase: str | None) -> paramiko.PKey:
    try:
        return paramiko.PKey.from_path(path, passphrase.encode() if passphrase else None)  # type: ignore[arg-type]
    except paramiko.PasswordRequiredException:
        raise Unusable("needs its passphrase") from None
    except TypeError as error:  # cryptography: a passphrase is missing, or there is none to need one
        if passphrase:
            return _loaded(path, None)
        raise Unusable("needs its passphrase" if "assword" in str(error) else str(error)) from None
    except PermissionError:
        raise Unusable("may not be read") from None
    except (ValueError, paramiko.SSHException, OSError):
        if passphrase and _needs_passphrase(path):
            raise Unusable("its passphrase is another") from None
        raise Unusable("is not a private key that can be used") from None


def _needs_passphrase(path: str) -> bool:
    try:
        _loaded(path, None)
    except Unusable as why:
        return str(why) == "needs its passphrase"
    return False


def _public(path: str) -> bytes | None:
    try:
        words = Path(path + ".pub").read_text("ascii").split()
        return base64.b64decode(words[1])
    except (OSError, ValueError, IndexError):
        return None


@contextmanager
def _agent(settings: Settings) -> Iterator[tuple[Any, ...]]:
    """The keys of the agent that runs, none where none does."""
    place = settings.agent_socket
    if place in ("", "SSH_AUTH_SOCK"):
        place = os.environ.get("SSH_AUTH_SOCK", "")
    elif place.startswith("$"):
        place = os.environ.get(place[1:], "")
    if not place or (not settings.use_agent and not settings.keys):
        yield ()
        return
    from paramiko import agent as agents

    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(settings.timeouts.authentication)
    agent = agents.AgentSSH()
    try:
        connection.connect(place)
        agent._connect(connection)  # type: ignore[attr-defined]
        keys = tuple(agent.get_keys())
    except (OSError, paramiko.SSHException):
        keys = ()
    try:
        yield keys
    finally:
        connection.close()


def _types(error: paramiko.BadAuthenticationType) -> str:
    return " or ".join(error.allowed_types) or "nothing"


def _said(error: BaseException) -> str:
    return str(error).strip().rstrip(".").lower() or "the host closed it"
