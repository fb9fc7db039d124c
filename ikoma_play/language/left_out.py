"""What Ansible has and ikoma-play leaves out on purpose: how it is recognised, and what to do instead.

The README has the same as one table, and tests/language/cases/left_out.yml tries each row."""

from __future__ import annotations

import os.path
import re
from collections.abc import Mapping
from typing import Any

CODE = "left-out"
INSTEAD_OF_MODULES = "Make it a program, and run it with script or command."
NO_PLUGINS = "Plugins for Ansible (filter_plugins, test_plugins, lookup_plugins) are not part of ikoma-play."
_FULL_NAME = r"([a-z_]\w*\.[a-z_]\w*)\.[a-z_]\w*(?:\.\w+)*\Z"
_OURS = ("ansible.builtin", "ansible.legacy")
ROADS = ("ssh", "smart", "paramiko", "paramiko_ssh", "local")
METHODS = ("sudo", "su", "doas")
_NETWORK = ("network_cli", "netconf", "httpapi", "grpc", "napalm")
_WINDOWS = ("winrm", "psrp")
_PACKAGES = "Use apt or package, or the system's own program with command."
# Tools of ansible-core itself.
TOOLS: Mapping[str, str] = {
    "apt_key": "Put the key below /etc/apt/keyrings with get_url or copy.",
    "apt_repository": "Write the file below /etc/apt/sources.list.d with copy, then apt with update_cache.",
    "deb822_repository": "Write the file below /etc/apt/sources.list.d with copy, then apt with update_cache.",
    "debconf": "Use shell with debconf-set-selections.",
    "dnf": _PACKAGES,
    "dnf5": _PACKAGES,
    "dpkg_selections": "Use shell with dpkg --set-selections.",
    "expect": "Give the answers on standard input: command takes stdin.",
    "getent": "Use command with getent, and register its output.",
    "iptables": "Use command with iptables.",
    "mount_facts": "The fact ansible_mounts holds what is mounted.",
    "package_facts": "Use command with dpkg-query, and register its output.",
    "reboot": "Use command with async and poll: 0, then wait_for_connection.",
    "rpm_key": _PACKAGES,
    "service_facts": "Use command with systemctl list-units --output=json, and register its output.",
    "set_stats": "Use set_fact, or debug.",
    "subversion": "Use command with svn, or git.",
    "sysvinit": "Use service: it takes the host's service scripts where no systemd runs.",
    "yum": _PACKAGES,
    "yum_repository": _PACKAGES,
    "mount": "Use lineinfile for /etc/fstab and command with mount.",
}


_SELINUX = "Use command with chcon or semanage."
_AS_SENT = "Use command with curl where it matters."
# Arguments of tools that are here: by argument, or by tool and argument.
ARGUMENTS: Mapping[str, str] = {
    "attributes": "Use command with chattr.",
    "selevel": _SELINUX,
    "serole": _SELINUX,
    "setype": _SELINUX,
    "seuser": _SELINUX,
    "unsafe_writes": "Files are always put in place whole, by a rename.",
    "ciphers": _AS_SENT,
    "decompress": _AS_SENT,
    "unredirected_headers": _AS_SENT,
    "use_gssapi": _AS_SENT,
    "use_netrc": "Give url_username and url_password.",
    "tmp_dest": "The file is written beside its final name.",
    "uri.force": "Nothing is kept between calls.",
    "uri.remote_src": "Use get_url or slurp for files of the host.",
    "file.access_time_format": "Give the time as YYYYMMDDhhmm.ss.",
    "file.modification_time_format": "Give the time as YYYYMMDDhhmm.ss.",
    "find.encoding": "Text is read as UTF-8.",
    "unarchive.decrypt": "Decrypt it with ikoma-play vault.",
    "unarchive.io_buffer_size": "",
    "unarchive.validate_certs": "Use get_url, then unarchive.",
    "git.archive": "Use command with git archive.",
    "git.archive_prefix": "Use command with git archive.",
    "git.gpg_allowlist": "Use verify_commit with a keyring that has the trusted keys only.",
    "git.separate_git_dir": "Use command with git init --separate-git-dir.",
    "user.authorization": "It is for Solaris.",
    "user.hidden": "It is for macOS.",
    "user.login_class": "It is for the BSDs.",
    "user.profile": "It is for Solaris.",
    "user.role": "It is for Solaris.",
    "user.ssh_key_passphrase": "It would stand in the host's process list; use ssh-keygen by hand.",
    "apt.update_cache_retries": "Use retries and until on the step.",
    "apt.update_cache_retry_max_delay": "Use retries, delay and backoff on the step.",
    "pip.umask": "Use shell with umask before pip.",
}


def collection_of(name: str) -> str:
    """The collection that a full name belongs to, "" where there is none or it is Ansible's own."""
    found = re.match(_FULL_NAME, name)
    return found[1] if found and found[1] not in _OURS else ""


def collections_plugin(name: str) -> str:
    """What is said of a plugin of a collection."""
    return f"'{name}' belongs to a collection, and collections' plugins are not part of ikoma-play"


def own_module(name: str, folder: str, beside: str) -> str:
    """What is said of a module in library/ of a playbook's folder, or of the role around the folder `beside`."""
    for place in (folder, os.path.join(beside, os.pardir)):
        path = os.path.join(place or ".", "library", f"{name}.py")
        if os.path.isfile(path):
            return f"{os.path.normpath(path)} is a module for Ansible, and those are not part of ikoma-play"
    return ""


def tool(name: str) -> tuple[str, str] | None:
    """Message and remedy for a tool's short name that is left out on purpose."""
    if name in TOOLS:
        return f"Ansible's tool '{name}' is not part of ikoma-play", TOOLS[name]
    if name.startswith("win_"):
        return f"'{name}' is for Windows, which is not part of ikoma-play", ""
    return None


def argument(tool: str, name: str) -> tuple[str, str] | None:
    """Message and remedy for an argument of a tool that is left out on purpose."""
    instead = ARGUMENTS.get(f"{tool}.{name}", ARGUMENTS.get(name))
    return None if instead is None else (f"Ansible's argument '{name}' of {tool} is not part of ikoma-play", instead)


def connection(value: Any) -> tuple[str, str] | None:
    """Message and remedy for a connection that there is not."""
    name = str(value).rpartition(".")[2]
    if not name or name in ROADS:
        return None
    if name in _NETWORK:
        what = "connections to network devices"
    elif name in _WINDOWS:
        what = "connections to Windows"
    else:
        what = f"connections by '{value}'"
    return f"{what} are not part of ikoma-play", "Use ssh, or local for this machine."


def become_method(value: Any) -> tuple[str, str] | None:
    """Message and remedy for a way to another user that there is not."""
    if not str(value) or str(value).rpartition(".")[2] in METHODS:
        return None
    return f"becoming another user by '{value}' is not part of ikoma-play", "Use sudo, su or doas."


def strategy(value: str) -> tuple[str, str] | None:
    """Message and remedy for a strategy that a plugin brings."""
    if value != "debug" and not value.startswith("mitogen") and "." not in value:
        return None
    return f"the strategy '{value}' is not part of ikoma-play", "Use linear or free."


def host_variable(name: str, value: Any) -> tuple[str, str] | None:
    """Message and remedy for a variable of a host that asks for what is left out."""
    if name == "ansible_connection":
        return connection(value)
    if name == "ansible_become_method":
        return become_method(value)
    if name == "ansible_shell_type" and value in ("powershell", "cmd"):
        return "Windows shells are not part of ikoma-play", "A host needs a POSIX shell."
    if name == "ansible_network_os":
        return "network devices are not part of ikoma-play", "A host needs a POSIX shell."
    return None


HOST_VARIABLES = ("ansible_connection", "ansible_become_method", "ansible_shell_type", "ansible_network_os")
