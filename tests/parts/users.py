"""Running the command as an ordinary user, also when the tests themselves run as root."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .command import CHECKOUT, Ikoma
from .images import PartMissing

NOBODY = 65534
DEMOTED = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--")


@contextlib.contextmanager
def ordinary_user() -> Iterator[Ikoma]:
    """`ikoma-play` in a folder of that user's own; pytest's folders are closed to others."""
    with tempfile.TemporaryDirectory(prefix="ikoma-play-user-") as place:
        Path(place).chmod(0o755)
        folder = Path(place, "home")
        folder.mkdir()
        yield _demoted(folder) if os.geteuid() == 0 else Ikoma(folder)


def _demoted(folder: Path) -> Ikoma:
    os.chown(folder, NOBODY, NOBODY)
    libraries = Path(sysconfig.get_path("purelib"))
    python = next((path for path in (sys.executable, "/usr/bin/python3") if _runs(path)), None)
    if python is None:
        raise PartMissing("no Python of this version that an ordinary user may run; Debian's python3 is one.")
    places = []
    for source, names in ((CHECKOUT, ("ikoma_play", "playbooks", "roles", "inventory.yml")), (libraries, None)):
        places.append(str(_reachable(source, names, folder.parent / f"{folder.name}-{source.name}")))
    return Ikoma(folder, {"PYTHONPATH": ":".join(places), "HOME": str(folder), "AUDIT_LOG": ""}, (*DEMOTED, python))


def _runs(python: str) -> bool:
    """Whether an ordinary user can run it, and the libraries of this one suit it."""
    asked = [*DEMOTED, "env", python, "-c", "import sys; print(*sys.version_info[:2])"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False, cwd="/").stdout.split()
    return answer == [str(part) for part in sys.version_info[:2]]


def _reachable(source: Path, names: tuple[str, ...] | None, copy: Path) -> Path:
    """`source`, or a copy of it where an ordinary user may not look into it."""
    asked = [*DEMOTED, "test", "-r", str(source)]
    if subprocess.run(asked, check=False, cwd="/").returncode == 0:
        return source
    copy.mkdir(mode=0o755)
    for name in names or sorted(entry.name for entry in source.iterdir()):
        if (source / name).is_dir():
            shutil.copytree(source / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source / name, copy / name)
    subprocess.run(["chmod", "-R", "go+rX", str(copy)], check=True)
    return copy
