"""Which road leads to a host."""

from __future__ import annotations

from ..errors import Unreachable
from ..model import Host
from .base import Transport

SSH = ("ssh", "smart", "paramiko", "paramiko_ssh")  # Ansible's names for what is one thing here


def connect(host: Host, local_names: tuple[str, ...] = ("localhost",)) -> Transport:
    """The road that `ansible_connection` asks for; where it is silent, only the runner's own names are local.

    The host's `ansible_*` variables are rendered. An SSH connection is opened with the first command.
    Raises Unreachable for what there is not."""
    wanted = str(host.vars.get("ansible_connection") or ("local" if host.name in local_names else "ssh"))
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
