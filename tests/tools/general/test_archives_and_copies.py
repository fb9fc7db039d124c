"""What the golden cases cannot say: archives, backups, owners, files of the runner, names that are made."""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.errors import NotFound, StepError
from ikoma_play.model import Host, Outcome, Status
from ikoma_play.transport.base import Transport
from ikoma_play.transport.dry import DryTransport
from ikoma_play.transport.local import LocalTransport
from tests.tools.general import harness

HERE = Host("web1")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """The host's folder and the runner's."""
    os.umask(0o022)
    (tmp_path / "host").mkdir()
    (tmp_path / "runner").mkdir()
    return tmp_path / "host", tmp_path / "runner"


def call(folders: tuple[Path, Path], tool: str, on: Transport | None = None, **arguments: Any) -> Outcome:
    scope = harness.RunScope(folders[1], {"playbook_dir": str(folders[1])})
    return harness.call(on or LocalTransport(HERE), scope, tool, arguments)


def packed(folders: tuple[Path, Path], kind: str) -> str:
    """An archive of the runner with a file, a program, a link and a directory."""
    source = folders[1] / "source"
    harness.grow(source, {"a": "one", "bin/run": {"content": "#!/bin/sh\n", "mode": "0755"}, "empty/": {}})
    (source / "l").symlink_to("a")
    archive = folders[1] / f"x.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as made:
            for path in sorted(source.rglob("*")):
                if not path.is_symlink():
                    made.write(path, path.relative_to(source))
            link = zipfile.ZipInfo("l")
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            made.writestr(link, "a")
    else:
        with tarfile.open(archive, f"w:{kind.partition('.')[2]}") as made:
            made.add(source, ".")
    return archive.name


KINDS = ["tar", "tar.gz", "tar.bz2", "tar.xz", "zip"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("remote", [False, True], ids=["of the runner", "of the host"])
def test_unarchive(folders: tuple[Path, Path], kind: str, remote: bool) -> None:
    name = packed(folders, kind)
    arguments = {"src": str(folders[1] / name) if remote else name, "dest": str(folders[0]), "remote_src": remote}
    dry = call(folders, "unarchive", DryTransport(LocalTransport(HERE)), **arguments)
    assert dry.status is Status.CHANGED and not list(folders[0].iterdir()), "a check unpacked something"
    first = call(folders, "unarchive", **arguments, list_files=True)
    assert first.status is Status.CHANGED and first.diffs
    assert sorted(path.rstrip("/") for path in first.result["files"]) == ["a", "bin", "bin/run", "empty", "l"]
    seen = harness.picture(folders[0])
    assert seen["a"] == {"content": b"one", "mode": "0644"} and seen["bin/run"]["mode"] == "0755"
    assert seen["l"] == {"link": "a"} and "empty/" in seen
    assert call(folders, "unarchive", **arguments).status is Status.OK, "the second time"
    (folders[0] / "a").write_text("two")
    again = call(folders, "unarchive", **arguments)
    assert again.status is Status.CHANGED and (folders[0] / "a").read_text() == "one"


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_unarchive_some_members(folders: tuple[Path, Path], kind: str) -> None:
    name = packed(folders, kind)
    call(folders, "unarchive", src=name, dest=str(folders[0]), exclude=["*run", "l"], mode="u=rwX,go=")
    seen = harness.picture(folders[0])
    assert "bin/run" not in seen and "l" not in seen and seen["a"]["mode"] == "0600"


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_unarchive_what_the_archive_does_not_hold(folders: tuple[Path, Path], kind: str) -> None:
    with pytest.raises(StepError) as caught:
        call(folders, "unarchive", src=packed(folders, kind), dest=str(folders[0]), include=["nosuch name"])
    assert "nosuch name" in caught.value.message and "include" in caught.value.remedy, caught.value


def test_unarchive_creates(folders: tuple[Path, Path]) -> None:
    (folders[0] / "there").write_text("")
    outcome = call(folders, "unarchive", src=packed(folders, "tar"), dest=str(folders[0]), creates="there")
    assert outcome.status is Status.OK and not (folders[0] / "a").exists()


def test_unarchive_what_is_no_archive(folders: tuple[Path, Path]) -> None:
    (folders[1] / "x").write_text("text")
    (folders[1] / "z").write_bytes(b"PK\3\4broken")
    for name in "xz":
        with pytest.raises(StepError, match="archive"):
            call(folders, "unarchive", src=name, dest=str(folders[0]))
    with pytest.raises(NotFound, match="directory"):
        call(folders, "unarchive", src="x", dest=f"{folders[0]}/no")


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_unarchive_never_leads_out(folders: tuple[Path, Path], kind: str) -> None:
    archive = folders[1] / f"x.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as made:
            made.writestr("../evil", "x")
    else:
        with tarfile.open(archive, "w") as made:
            made.addfile(tarfile.TarInfo("../evil"))
    with pytest.raises(StepError, match="leads out"):
        call(folders, "unarchive", src=archive.name, dest=str(folders[0]))
    assert not (folders[0].parent / "evil").exists()


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("copy", {"dest": "F", "content": "new"}),
        ("template", {"dest": "F", "src": "t.j2"}),
        ("lineinfile", {"path": "F", "line": "more"}),
        ("blockinfile", {"path": "F", "block": "more"}),
        ("replace", {"path": "F", "regexp": "old", "replace": "new"}),
        ("assemble", {"src": "P", "dest": "F"}),
    ],
)
def test_a_backup_is_kept(folders: tuple[Path, Path], tool: str, arguments: dict[str, str]) -> None:
    file = folders[0] / "file"
    file.write_text("old\n")
    file.chmod(0o640)
    (folders[1] / "t.j2").write_text("new")
    (folders[0] / "parts").mkdir()
    (folders[0] / "parts/a").write_text("new")
    places = {"F": str(file), "P": str(folders[0] / "parts")}
    arguments = {name: places.get(value, value) for name, value in arguments.items()}
    outcome = call(folders, tool, **arguments, backup=True)
    saved = Path(outcome.result["backup_file"])
    assert saved.read_text() == "old\n" and stat.S_IMODE(saved.stat().st_mode) == 0o640
    assert saved.parent == folders[0] and "new" in file.read_text() + "new"
    second = call(folders, tool, **arguments, backup=True)
    assert second.status is Status.OK and "backup_file" not in second.result


def test_owner_and_group(folders: tuple[Path, Path]) -> None:
    mine = str(os.geteuid())
    arguments = {"content": "x", "dest": f"{folders[0]}/a", "owner": mine, "group": str(os.getegid())}
    assert call(folders, "copy", **arguments).status is Status.CHANGED
    assert call(folders, "copy", **arguments).status is Status.OK
    if os.geteuid() == 0:
        outcome = call(folders, "file", path=f"{folders[0]}/a", owner="daemon", group="nogroup", mode="0640")
        assert outcome.status is Status.CHANGED
        assert (outcome.result["owner"], outcome.result["group"], outcome.result["mode"]) == (
            "daemon",
            "nogroup",
            "0640",
        )
        assert outcome.diffs[0].after == "daemon:nogroup\nmode 0640\n"
        assert call(folders, "file", path=f"{folders[0]}/a", owner="1", group="nogroup").status is Status.OK


def test_a_large_file_is_compared_and_written(folders: tuple[Path, Path]) -> None:
    data = os.urandom(1_000_000) * 20
    (folders[1] / "large").write_bytes(data)
    arguments = {"src": "large", "dest": f"{folders[0]}/large"}
    assert call(folders, "copy", **arguments).status is Status.CHANGED
    assert (folders[0] / "large").read_bytes() == data
    assert call(folders, "copy", **arguments).status is Status.OK
    with (folders[0] / "large").open("r+b") as file:
        file.write(b"another")
    assert call(folders, "copy", **arguments).status is Status.CHANGED


def test_home_directories(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folders[0]))
    assert call(folders, "copy", content="x", dest="~/a").result["dest"] == f"{folders[0]}/a"
    assert call(folders, "stat", path="$HOME/a").result["stat"]["exists"]


def test_fetch(folders: tuple[Path, Path]) -> None:
    (folders[0] / "a").write_text("x")
    source = f"{folders[0]}/a"
    below = folders[1] / "got/web1" / source.lstrip("/")
    dry = call(folders, "fetch", DryTransport(LocalTransport(HERE)), src=source, dest="got")
    assert dry.status is Status.CHANGED and not below.exists()
    outcome = call(folders, "fetch", src=source, dest="got")
    assert outcome.status is Status.CHANGED and outcome.result["dest"] == str(below) and below.read_text() == "x"
    assert call(folders, "fetch", src=source, dest="got").status is Status.OK
    assert call(folders, "fetch", src=source, dest="flat/", flat=True).result["dest"] == str(folders[1] / "flat/a")
    assert call(folders, "fetch", src=source, dest="named", flat=True).result["dest"] == str(folders[1] / "named")


def test_fetch_what_is_not_there(folders: tuple[Path, Path]) -> None:
    with pytest.raises(NotFound):
        call(folders, "fetch", src=f"{folders[0]}/gone", dest="got")
    assert call(folders, "fetch", src=f"{folders[0]}/gone", dest="got", fail_on_missing=False).status is Status.OK
    with pytest.raises(StepError, match="not a file"):
        call(folders, "fetch", src=str(folders[0]), dest="got")


@pytest.mark.parametrize(("state", "mode"), [("file", 0o600), ("directory", 0o700)])
def test_tempfile(folders: tuple[Path, Path], state: str, mode: int) -> None:
    made = {
        call(folders, "tempfile", state=state, path=str(folders[0]), prefix="mine.", suffix=".x").result["path"]
        for _ in range(3)
    }
    assert len(made) == 3
    for path in map(Path, made):
        assert path.name.startswith("mine.") and path.suffix == ".x" and stat.S_IMODE(path.stat().st_mode) == mode
    dry = DryTransport(LocalTransport(HERE))
    path = call(folders, "tempfile", dry, state=state, path=str(folders[0])).result["path"]
    assert not Path(path).exists() and dry.exists(path)


def test_steps_of_a_check_see_what_the_ones_before_would_have_done(folders: tuple[Path, Path]) -> None:
    on = DryTransport(LocalTransport(HERE))
    root = f"{folders[0]}/etc"
    assert call(folders, "file", on, path=root, state="directory").status is Status.CHANGED
    assert call(folders, "copy", on, content="a=1\n", dest=f"{root}/conf").status is Status.CHANGED
    assert call(folders, "lineinfile", on, path=f"{root}/conf", line="b=2").status is Status.CHANGED
    assert call(folders, "lineinfile", on, path=f"{root}/conf", line="b=2").status is Status.OK
    assert call(folders, "file", on, path=f"{root}/conf", mode="0600").status is Status.CHANGED
    told = call(folders, "stat", on, path=f"{root}/conf").result["stat"]
    assert (told["exists"], told["mode"], told["size"]) == (True, "0600", 8)
    assert call(folders, "slurp", on, src=f"{root}/conf").result["content"] == "YT0xCmI9Mgo="
    assert call(folders, "find", on, paths=[root]).result["matched"] == 1
    assert call(folders, "file", on, path=root, state="absent").status is Status.CHANGED
    assert call(folders, "stat", on, path=f"{root}/conf").result["stat"] == {"exists": False}
    assert list(folders[0].iterdir()) == []


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_template_is_rendered_once_wherever_it_goes(folders: tuple[Path, Path], slash: str) -> None:
    host, runner = folders
    (host / "sub").mkdir()
    counted = runner / "counted"
    (runner / "page.j2").write_text(f"{{{{ lookup('pipe', 'echo x >> {counted}') }}}}{{{{ template_destpath }}}}\n")
    done = call(folders, "template", src="page.j2", dest=f"{host}/sub{slash}")
    assert done.status is Status.CHANGED
    made = host / "sub" / ("page" if slash else "page.j2")
    assert made.read_text() == f"{made}\n" and counted.read_text() == "x\n"


@pytest.mark.parametrize("dry", [False, True], ids=["run", "check"])
def test_a_tree_that_meets_a_pipe(folders: tuple[Path, Path], dry: bool) -> None:
    """In the way of a file nothing of it is brought; a link does not take its place either."""
    harness.grow(folders[1] / "source", {"a": "one"})
    (folders[1] / "source/z").symlink_to("a")
    os.mkfifo(folders[0] / "z")
    on: Transport = DryTransport(LocalTransport(HERE)) if dry else LocalTransport(HERE)
    where = {"src": "source/", "dest": str(folders[0])}
    with pytest.raises(StepError, match="z: not a regular file"):
        call(folders, "copy", on, **where)
    assert [path.name for path in folders[0].iterdir()] == ["z"]
    with pytest.raises(StepError, match=r"cannot make the link .*z: a device, pipe or socket is there"):
        call(folders, "copy", on, **where, local_follow=False)
    assert (folders[0] / "z").is_fifo()
