"""Which road leads to a host."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from ..errors import Unreachable, UsageError
from ..model import Host
from .base import Transport

SSH = ("ssh", "smart", "paramiko", "paramiko_ssh")  # Ansible's names for what is one thing here


def begin(hosts: Iterable[Host], local_names: tuple[str, ...] = ("localhost",)) -> None:
    """Begin to connect to hosts that are going to be needed; `connect` finds what came of it, and what is wrong with
    what is said of one."""
    far = [host for host in hosts if connection(host, local_names).rpartition(".")[2] in SSH]
    if far:
        from .ssh_dial import MOST, Dialled
        from .ssh_settings import settings

        known = []
        for host in far:
            with suppress(UsageError):
                known.append(settings(host))
        near = [each for each in known if each.jump is None and each.proxy_command is None]
        dialled = {each: Dialled(each) for each in near[:MOST]}  # their servers have much to do while we load our part
        from . import lean_paramiko  # noqa: F401
        from .ssh import begin

        for each in known:
            begin(each, dialled.get(each))


def connection(host: Host, local_names: tuple[str, ...] = ("localhost",)) -> str:
    """What `ansible_connection` says; else only the runner's own names are this machine, whatever a host is called."""
    return str(host.vars.get("ansible_connection") or ("local" if host.name in local_names else "ssh"))


def connect(host: Host, local_names: tuple[str, ...] = ("localhost",)) -> Transport:
    """The road that `ansible_connection` asks for; where it is silent, only the runner's own names are local.

    The host's `ansible_*` variables are rendered. An SSH connection is opened with the first command.
    Raises Unreachable for what there is not."""
    wanted = connection(host, local_names)
    if wanted.rpartition(".")[2] == "local":
        from .local import LocalTransport

        return LocalTransport(host)
    if wanted.rpartition(".")[2] in SSH:
        from . import lean_paramiko  # noqa: F401 — before anything else loads the whole of it
        from .ssh import SshTransport

        return SshTransport(host)
    raise Unreachable(
        f"{host.name} is to be reached by {wanted}, which there is not",
        remedy="Use ansible_connection: ssh, or local for this machine.",
    )
