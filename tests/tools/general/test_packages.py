"""apt with the system's own programs and packages made here, on a copy of the system; pip with wheels made here."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.errors import StepError
from ikoma_play.model import Host, Outcome, Status
from ikoma_play.transport.dry import DryTransport
from ikoma_play.transport.local import LocalTransport
from tests.tools.general import harness
from tests.tools.general.stage import play, staged, statuses

SYSTEM = ("/etc", "/var", "/usr")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with staged(tmp_path) as folder:
        yield folder


def debian_package(folder: Path, name: str, version: str) -> Path:
    tree = folder / f"{name}-{version}"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr/share/ikoma-test").mkdir(parents=True)
    (tree / "usr/share/ikoma-test" / name).write_text(version)
    (tree / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Test <t@example.com>\nDescription: test\n"
        + ("Depends: ikoma-nowhere\n" if name == "ikoma-c" else "")
    )
    subprocess.run(["dpkg-deb", "--build", tree, folder / "repo"], check=True, capture_output=True)
    return folder / "repo" / f"{name}_{version}_all.deb"


def repository(folder: Path) -> tuple[dict[str, Any], ...]:
    """Two versions of a package and others, of which one needs what there is not, and the steps that make them apt's
    only source."""
    (folder / "repo").mkdir()
    entries = []
    for name, version in (("ikoma-a", "1.0"), ("ikoma-a", "2.0"), ("ikoma-b", "1.0"), ("ikoma-c", "1.0")):
        file = debian_package(folder, name, version)
        control = (folder / f"{name}-{version}/DEBIAN/control").read_text()
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        entries.append(f"{control}Filename: {file.name}\nSize: {file.stat().st_size}\nSHA256: {digest}\n")
    (folder / "repo/Packages").write_text("\n".join(entries))
    return (
        {"tool": "shell", "cmd": "rm -rf /etc/apt/sources.list* /etc/apt/apt.conf.d/* /var/lib/apt/lists/*"},
        {"tool": "copy", "dest": "/etc/apt/sources.list", "content": f"deb [trusted=yes] file:{folder}/repo ./\n"},
        {"tool": "shell", "cmd": f"chmod -R a+rX {folder} && echo 'APT::Sandbox::User \"root\";' > /etc/apt/apt.conf"},
    )


def test_apt(folder: Path) -> None:
    one = {"tool": "apt", "name": ["ikoma-a=1.0", "ikoma-b"]}
    told = play(
        folder,
        *repository(folder),
        {"tool": "apt", "cache_valid_time": 3600},
        {**one, "dry": True}, one, one,
        {"tool": "package", "name": "ikoma-a"},
        {"tool": "apt", "name": "ikoma-a", "state": "latest"},
        {"tool": "apt", "name": "ikoma-a", "state": "latest"},
        {"tool": "apt", "name": "ikoma-a=1.0", "allow_downgrade": True},
        {"tool": "apt", "upgrade": "safe", "dry": True},
        {"tool": "shell", "cmd": "cat /usr/share/ikoma-test/*"},
        {"tool": "apt", "name": ["ikoma-a", "ikoma-b"], "state": "absent", "purge": True},
        {"tool": "apt", "name": ["ikoma-a", "ikoma-b"], "state": "absent"},
        {"tool": "apt", "deb": f"{folder}/repo/ikoma-b_1.0_all.deb"},
        {"tool": "apt", "cache_valid_time": 3600},
        {"tool": "apt", "name": "ikoma-c"},
        {"tool": "apt", "name": "no-such-package"},
        over=SYSTEM,
    )  # fmt: skip
    assert statuses(told)[3:] == ["changed", "changed", "changed", "ok", "ok", "changed", "ok", "changed", "changed",
                                  "changed", "changed", "ok", "changed", "ok", "failed", "failed"]  # fmt: skip
    assert told[3]["result"]["cache_updated"] is True
    assert told[5]["result"]["packages"] == told[4]["result"]["packages"] == ["+ikoma-a 1.0", "+ikoma-b 1.0"]
    assert told[8]["result"]["packages"] == ["+ikoma-a 2.0"] and told[12]["result"]["stdout"] == "1.01.0"
    assert "ikoma-c : Depends: ikoma-nowhere but it is not installable" in told[-2]["evidence"]
    assert told[-1]["code"] == "not-found" and told[-1]["message"] == "there is no package no-such-package"
    assert not Path("/usr/share/ikoma-test").exists(), "the test installed something on the machine itself"


# --- pip -------------------------------------------------------------------------------------------


def wheel(folder: Path, name: str, version: str) -> None:
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as made:
        made.writestr(f"{name}.py", f"version = {version!r}\n")
        made.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        made.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        made.writestr(f"{info}/RECORD", "")


def pip(folder: Path, dry: bool = False, **arguments: Any) -> Outcome:
    on = LocalTransport(Host("here"))
    values = {"virtualenv": str(folder / "venv"), "extra_args": f"--no-index --find-links {folder}", **arguments}
    return harness.call(DryTransport(on) if dry else on, harness.RunScope(folder), "pip", values)


def test_pip(tmp_path: Path) -> None:
    for version in ("1.0", "2.0"):
        wheel(tmp_path, "ikoma_a", version)
    assert pip(tmp_path, dry=True, name="ikoma-a").status is Status.CHANGED and not (tmp_path / "venv").exists()
    first = pip(tmp_path, name="ikoma-a==1.0")
    assert first.status is Status.CHANGED and "ikoma-a==1.0" in first.diffs[0].after
    assert pip(tmp_path, name="Ikoma_A==1.0").status is Status.OK
    assert pip(tmp_path, name="ikoma-a").status is Status.OK, "any version will do"
    assert pip(tmp_path, name="ikoma-a>=1").status is Status.OK, "pip finds it satisfied"
    assert pip(tmp_path, dry=True, name="ikoma-a==2.0").status is Status.CHANGED
    latest = pip(tmp_path, name="ikoma-a", state="latest")
    assert (latest.status, latest.diffs[0].before, latest.diffs[0].after) == (
        Status.CHANGED, "ikoma-a==1.0\n", "ikoma-a==2.0\n",
    )  # fmt: skip
    (tmp_path / "requirements.txt").write_text("ikoma-a==1.0\n")
    assert pip(tmp_path, requirements=f"{tmp_path}/requirements.txt").status is Status.CHANGED
    assert pip(tmp_path, requirements=f"{tmp_path}/requirements.txt").status is Status.OK
    with pytest.raises(StepError, match="pip cannot install no-such-thing"):
        pip(tmp_path, name="no-such-thing")
    file = f"{tmp_path}/ikoma_a-2.0-py3-none-any.whl"
    assert pip(tmp_path, name=file).status is Status.CHANGED
    assert pip(tmp_path, name=file, extra_args="--nonsense").status is Status.OK, "pip was asked about what is there"
    absent = {"name": "ikoma-a", "state": "absent", "extra_args": ""}
    assert pip(tmp_path, **absent).status is Status.CHANGED and pip(tmp_path, **absent).status is Status.OK


def test_pip_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="not a package"):
        pip(tmp_path, name="--index-url=http://x/", virtualenv=None)
    with pytest.raises(StepError, match="one of them"):
        pip(tmp_path)
