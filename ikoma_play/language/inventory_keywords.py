"""What groups of an inventory consist of, and the variables of hosts that have a meaning."""

from __future__ import annotations

from typing import Any

GROUP_KEYWORDS = {
    "hosts": "Hosts of the group, each with its own variables.",
    "vars": "Variables of all hosts of the group.",
    "children": "Groups inside this one.",
}

_TEXT: dict[str, Any] = {"type": "string"}
_PORT: dict[str, Any] = {"type": ["integer", "string"]}
_FLAG: dict[str, Any] = {"type": ["boolean", "string"]}

HOST_VARIABLES: dict[str, tuple[str, dict[str, Any]]] = {
    "ikoma_runtime": ("What runs applications' services: compose (default) or process.", _TEXT),
    "ikoma_apps_root": ("The folder of the applications; /srv/apps by default.", _TEXT),
    "ikoma_backups_root": ("The folder of the backups; /var/backups/ikoma by default.", _TEXT),
    "ikoma_postgres": ("A postgresql:// URL as seen from the host, or embedded.", _TEXT),
    "ikoma_audit_log": ("The audit log; /var/log/ikoma/audit.jsonl by default.", _TEXT),
    "ikoma_env_file": ("The platform's .env; /opt/ikoma/.env by default.", _TEXT),
    "ikoma_sandbox_root": ("Where the process runtime and the embedded PostgreSQL keep their state.", _TEXT),
    "ansible_connection": ("How the host is reached: ssh or local.", _TEXT),
    "ansible_host": ("The address to connect to, where it is not the name.", _TEXT),
    "ansible_port": ("The port to connect to.", _PORT),
    "ansible_user": ("The user to log in as.", _TEXT),
    "ansible_password": ("The password to log in with.", _TEXT),
    "ansible_ssh_private_key_file": ("The key to log in with.", _TEXT),
    "ansible_ssh_common_args": ("Options for the connection, such as a ProxyJump.", _TEXT),
    "ansible_become": ("Act as another user.", _FLAG),
    "ansible_become_user": ("The user to act as.", _TEXT),
    "ansible_become_method": ("sudo, su or doas.", _TEXT),
    "ansible_become_password": ("The password for that.", _TEXT),
    "ansible_group_priority": ("Among groups equally deep the one with the higher number counts.", _PORT),
}
