"""The same work written down for everybody: playbooks and inventories, pyinfra's deploys, a shell script."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.parts.sshd import Sshd

TEMPLATE = "# {{ site }}\nlisten {{ port }}\nworkers {{ workers }}\n{% for n in range(5) %}line {{ n }}\n{% endfor %}"
VALUES = {"site": "shop", "port": 8080, "workers": 4}

ANSIBLE = """\
[defaults]
host_key_checking = True
forks = 20
gathering = explicit
strategy_plugins = {strategies}
localhost_warning = False
[ssh_connection]
pipelining = True
ssh_args = -F none -o ControlMaster=auto -o ControlPersist=60s -o IdentityAgent=none
control_path_dir = {control}
"""


def write_files(folder: Path, boxes: Sequence[Sshd], out: Path, play: str, steps: int, peers: Path) -> None:
    """`play` is command, fleet, local or template; `out` is where templates go."""
    strategies = next(peers.glob("lib/python*/site-packages/ansible_mitogen/plugins/strategy"))
    (folder / "control").mkdir(exist_ok=True)
    (folder / "ansible.cfg").write_text(ANSIBLE.format(strategies=strategies, control=folder / "control"))
    known = folder / "known_hosts"
    known.write_text("".join(box.known_hosts.read_text() for box in boxes))
    (folder / "page.j2").write_text(TEMPLATE)
    hosts: dict[str, Any] = {}
    for number, box in enumerate(boxes):
        hosts[f"box{number}"] = dict(box.host().vars) | {
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_common_args": f"-F none -o IdentityAgent=none -o UserKnownHostsFile={known}",
        }
    (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
    (folder / f"{play}.yml").write_text(json.dumps([_play(play, steps, out)]))
    theirs = [_pyinfra_host(name, said, known) for name, said in hosts.items()]
    (folder / "inventory.py").write_text(f"hosts = {theirs!r}")
    (folder / f"{play}.py").write_text(_deploy(play, steps, out))
    (folder / "floor.sh").write_text(_script(hosts, steps))


def _play(play: str, steps: int, out: Path) -> dict[str, Any]:
    if play == "template":
        tasks: list[Any] = [{"template": {"src": "page.j2", "dest": f"{out}/{number}"}} for number in range(steps)]
    else:
        tasks = [{"command": f"echo {number}"} for number in range(steps)]
    where = {"hosts": "localhost", "connection": "local"} if play == "local" else {"hosts": "all"}
    return {**where, "gather_facts": False, "vars": VALUES, "tasks": tasks}


def _pyinfra_host(name: str, said: dict[str, Any], known: Path) -> tuple[str, dict[str, Any]]:
    return name, {
        "ssh_hostname": said["ansible_host"], "ssh_port": said["ansible_port"], "ssh_user": said["ansible_user"],
        "ssh_key": said["ansible_ssh_private_key_file"], "ssh_known_hosts_file": str(known),
        "ssh_allow_agent": False, "ssh_look_for_keys": False, "ssh_config_file": "/dev/null",
    }  # fmt: skip


def _deploy(play: str, steps: int, out: Path) -> str:
    if play != "template":
        lines = [f"server.shell(commands=['echo {number}'])" for number in range(steps)]
        return "\n".join(["from pyinfra.operations import server", *lines, ""])
    values = ", ".join(f"{name}={value!r}" for name, value in VALUES.items())
    lines = [f"files.template(src='page.j2', dest='{out}/{number}', mode='644', {values})" for number in range(steps)]
    return "\n".join(["from pyinfra.operations import files", *lines, ""])


def _script(hosts: dict[str, Any], steps: int) -> str:
    """One `ssh` a host, all at once, each with one script."""
    inner = "\n".join(f"/bin/echo {number}" for number in range(steps))
    lines = []
    for said in hosts.values():
        argv = ["ssh", *said["ansible_ssh_common_args"].split(), "-i", said["ansible_ssh_private_key_file"], "-p",
                str(said["ansible_port"]), f"{said['ansible_user']}@{said['ansible_host']}", "sh"]  # fmt: skip
        lines.append(f"{shlex.join(argv)} > /dev/null <<'END' &\n{inner}\nEND")
    return "\n".join([*lines, "wait", ""])
