"""What a program left on this machine: processes, taken ports, files."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def processes_about(folder: Path) -> dict[int, str]:
    """Living processes whose command line, environment or working directory names the folder: pid → command."""
    found = {}
    mark = str(folder).encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            about = command + (entry / "environ").read_bytes() + bytes((entry / "cwd").readlink())
        except OSError:  # it has just ended
            continue
        if mark in about:
            found[int(entry.name)] = command.replace(b"\0", b" ").decode(errors="replace")
    return found


def listens(port: int) -> bool:
    """Whether anything takes connections on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def files_below(folder: Path) -> dict[str, bytes]:
    """Every regular file below the folder with its content, by its relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
