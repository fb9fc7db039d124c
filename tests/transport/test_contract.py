"""What every Transport keeps, whatever it is made of; looked at through the transport itself."""

from __future__ import annotations

import io
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from ikoma_play.errors import CommandFailed, NotFound, StepError, TimedOut
from ikoma_play.model import Command, Progress
from ikoma_play.transport.base import Item, Transport
from ikoma_play.transport.process import KEPT


def look(*argv: str, **more: object) -> Command:
    """A command that only looks, so that a dry road runs it too."""
    return Command(argv, changes=False, **more)  # type: ignore[arg-type]


# --- run -------------------------------------------------------------------------------------------


def test_streams_and_exit_code_are_kept_apart(road: Transport) -> None:
    result = road.run(look("sh", "-c", "echo out; echo err >&2; exit 7"))
    assert (result.exit_code, result.stdout, result.stderr) == (7, b"out\n", b"err\n")
    assert not result.ok and result.text == "out" and result.seconds > 0


def test_words_reach_the_command_as_they_are(road: Transport) -> None:
    words = ["a b", "", "$HOME", "*", "'", '"', "\\", "é", "-n", "new\nline", "`id`", ";"]
    result = road.run(look("printf", "%s\\0", *words))
    assert result.stdout.decode().split("\0")[:-1] == words


def test_bytes_come_back_as_they_are(road: Transport) -> None:
    data = bytes(range(256)) * 300
    assert road.run(look("cat", stdin=data)).stdout == data


def test_input_from_a_file(road: Transport) -> None:
    data = os.urandom(300_000)
    assert road.run(look("cat", stdin=io.BytesIO(data))).stdout == data


def test_input_that_nobody_reads(road: Transport) -> None:
    assert road.run(look("true", stdin=b"x" * 1_000_000)).ok


def test_without_input_standard_input_is_empty(road: Transport) -> None:
    assert road.run(look("cat", timeout=20)).stdout == b""


def test_much_input_while_much_output_comes(road: Transport) -> None:
    data = os.urandom(3_000_000)
    result = road.run(look("sh", "-c", "cat; head -c 1000000 /dev/zero >&2", stdin=data, timeout=60))
    assert result.stdout == data and len(result.stderr) == 1_000_000


def test_environment_is_added_for_one_command(road: Transport) -> None:
    value = "a b'\"$x\n\nend\n"
    result = road.run(look("sh", "-c", 'printf %s "$IKOMA_TEST|$PATH"', env={"IKOMA_TEST": value}))
    said, _, path = result.stdout.decode().rpartition("|")
    assert said == value and "/bin" in path
    assert road.run(look("sh", "-c", 'printf %s "$IKOMA_TEST"')).stdout == b"", "the next command still has it"


def test_working_directory(road: Transport, folder: Path) -> None:
    (folder / "it's here").mkdir()
    assert road.run(look("pwd", cwd=str(folder / "it's here"))).text == str(folder / "it's here")
    assert road.run(look("pwd")).text != str(folder / "it's here")


def test_working_directory_that_is_not_there(road: Transport, folder: Path) -> None:
    with pytest.raises(NotFound, match="gone"):
        road.run(look("pwd", cwd=str(folder / "gone")))


def test_a_command_that_is_not_there(road: Transport) -> None:
    result = road.run(look("no-such-command-here"))
    assert result.exit_code == 127
    assert b"no-such-command-here" in result.stderr


def test_a_file_that_cannot_be_executed(road: Transport, folder: Path) -> None:
    (folder / "data").write_text("x")
    assert road.run(look(str(folder / "data"))).exit_code == 126


def test_a_command_that_kills_itself(road: Transport) -> None:
    assert road.run(look("sh", "-c", "kill -9 $$")).exit_code == 137


def test_the_whole_group_is_killed_when_time_is_up(road: Transport, folder: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(TimedOut, match=r"longer than 1\.5 s") as caught:
        road.run(look("sh", "-c", "sleep 77 & echo $!; trap '' TERM; sleep 77; sleep 77", timeout=1.5))
    assert time.monotonic() - begun < 60
    child = int(caught.value.evidence)
    assert not alive(child), "a child of the command is still there"


def test_who_is_told_that_time_is_up_finds_nothing_running(road: Transport) -> None:
    """A child with much memory takes a while to go."""
    much = "$| = 1; print $$; $much = 'x' x 400_000_000; sleep 77"
    with pytest.raises(TimedOut) as caught:
        road.run(look("sh", "-c", "trap '' TERM; \"$@\" & wait", "sh", "perl", "-e", much, timeout=3))
    assert not alive(int(caught.value.evidence)), "it was told that the command has ended, and it goes on"


def test_a_child_that_stays_does_not_hold_the_command_up(road: Transport) -> None:
    begun = time.monotonic()
    result = road.run(look("sh", "-c", "sleep 66 & echo $!"))
    try:
        assert time.monotonic() - begun < 60
        assert alive(int(result.text)), "what the command left behind on purpose was killed"
    finally:
        os.kill(int(result.text), signal.SIGKILL)


def test_output_is_told_as_it_comes(road: Transport) -> None:
    seen: list[tuple[bytes, float]] = []
    result = road.run(
        look("sh", "-c", "echo one; sleep 0.4; echo two >&2"), lambda data: seen.append((data, time.monotonic()))
    )
    assert [data for data, _ in seen] == [b"one\n", b"two\n"]
    assert seen[1][1] - seen[0][1] > 0.2, "the first line came only with the second"
    assert (result.stdout, result.stderr) == (b"one\n", b"two\n")


def test_more_output_than_is_kept(road: Transport) -> None:
    size = KEPT + 5_000_000
    result = road.run(look("head", "-c", str(size), "/dev/zero"))
    assert len(result.stdout) == KEPT and result.dropped == 5_000_000


def test_demand_tells_command_code_and_last_lines(road: Transport) -> None:
    with pytest.raises(CommandFailed) as caught:
        road.demand(look("sh", "-c", "echo reason >&2; exit 3", secrets=("reason",)))
    assert caught.value.result.exit_code == 3
    assert "exit code 3" in caught.value.message and "********" in caught.value.evidence


# --- files -----------------------------------------------------------------------------------------


def test_what_is_written_is_read(road: Transport, folder: Path) -> None:
    data = bytes(range(256))
    road.write(f"{folder}/a", data)
    assert road.read(f"{folder}/a") == data
    there = road.stat(f"{folder}/a")
    assert there is not None
    assert (there.path, there.kind, there.mode, there.size) == (f"{folder}/a", "file", 0o644, 256)


def test_names_of_any_kind(road: Transport, folder: Path) -> None:
    for name in ("it's", "a b", "-rf", "$HOME", "é", "new\nline", "*", "a\\b"):
        path = f"{folder}/{name}"
        road.write(path, name.encode())
        assert road.read(path) == name.encode()
        assert [entry.path for entry in road.scan(str(folder))] == [path]
        road.rename(path, path + "2")
        assert road.remove(path + "2") and not road.exists(path)


def test_write_takes_a_mode_and_keeps_it(road: Transport, folder: Path) -> None:
    path = f"{folder}/a"
    road.write(path, b"1", 0o600)
    road.write(path, io.BytesIO(b"22"))
    there = road.stat(path)
    assert there is not None and (there.mode, there.size) == (0o600, 2)
    road.write(path, b"3", 0o4750)
    again = road.stat(path)
    assert again is not None and again.mode == 0o4750


def test_write_replaces_a_link(road: Transport, folder: Path) -> None:
    road.write(f"{folder}/real", b"old")
    road.symlink("real", f"{folder}/link")
    road.write(f"{folder}/link", b"new")
    assert road.read(f"{folder}/real") == b"old" and road.read(f"{folder}/link") == b"new"
    there = road.stat(f"{folder}/link")
    assert there is not None and there.kind == "file"


def test_write_leaves_nothing_beside(road: Transport, folder: Path) -> None:
    road.write(f"{folder}/a", b"1")
    road.write(f"{folder}/a", b"2")
    assert [entry.path for entry in road.scan(str(folder))] == [f"{folder}/a"]


def test_write_to_a_directory(road: Transport, folder: Path) -> None:
    road.mkdir(f"{folder}/sub")
    with pytest.raises(StepError, match="directory"):
        road.write(f"{folder}/sub", b"x")


@pytest.mark.parametrize("how", ["write", "write as it comes", "send", "bring"])
@pytest.mark.parametrize("what", ["pipe", "socket"])
def test_a_file_takes_the_place_of_no_pipe_socket_or_device(
    road: Transport, folder: Path, tmp_path: Path, what: str, how: str
) -> None:
    path, source = f"{folder}/there", tmp_path / "source"
    source.write_bytes(b"data")
    with socket.socket(socket.AF_UNIX) as server:
        os.mkfifo(path) if what == "pipe" else server.bind(path)
    deeds = {
        "write": lambda: road.write(path, b"data"),
        "write as it comes": lambda: road.write(path, io.BytesIO(b"data")),
        "send": lambda: road.send(source, path),
        "bring": lambda: road.bring([Item(path, b"data", 0o644)]),
    }
    with pytest.raises(StepError, match="not a regular file"):
        deeds[how]()
    there = road.stat(path)
    assert there is not None and there.kind == "other"
    assert [entry.path for entry in road.scan(str(folder))] == [path]


def test_read_what_is_not_there(road: Transport, folder: Path) -> None:
    with pytest.raises(NotFound, match="gone"):
        road.read(f"{folder}/gone")


def test_read_a_directory(road: Transport, folder: Path) -> None:
    with pytest.raises(StepError, match="directory"):
        road.read(str(folder))


def test_stat_of_what_is_not_there(road: Transport, folder: Path) -> None:
    (folder / "file").write_text("x")
    assert road.stat(f"{folder}/gone") is None
    assert road.stat(f"{folder}/file/below") is None
    assert road.stat(f"{folder}/gone", follow=True) is None


def test_stat_of_links(road: Transport, folder: Path) -> None:
    (folder / "file").write_text("four")
    (folder / "link").symlink_to("file")
    (folder / "broken").symlink_to("nowhere")
    link = road.stat(f"{folder}/link")
    real = road.stat(f"{folder}/link", follow=True)
    broken = road.stat(f"{folder}/broken")
    assert link is not None and (link.kind, link.target) == ("link", "file")
    assert real is not None and (real.kind, real.size) == ("file", 4)
    assert broken is not None and broken.kind == "link"
    assert road.stat(f"{folder}/broken", follow=True) is None


def test_stat_tells_owner_and_time(road: Transport, folder: Path) -> None:
    (folder / "a").write_text("x")
    os.utime(folder / "a", (1_600_000_000, 1_600_000_000))
    there = road.stat(f"{folder}/a")
    assert there is not None
    assert (there.mtime, there.uid, there.gid) == (1_600_000_000, os.geteuid(), os.getegid())
    assert there.owner and there.group


def test_scan(road: Transport, folder: Path) -> None:
    for name in ("b", "a", ".hidden", "sub/deep/c"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "link").symlink_to("sub")
    (folder / "pipe").mkdir()
    os.mkfifo(folder / "pipe/p")

    def names(recurse: bool) -> list[tuple[str, str]]:
        return [(entry.path.removeprefix(f"{folder}/"), entry.kind) for entry in road.scan(str(folder), recurse)]

    flat = [(".hidden", "file"), ("a", "file"), ("b", "file"), ("link", "link"), ("pipe", "directory"),
            ("sub", "directory")]  # fmt: skip
    assert names(False) == flat
    deep = [("pipe/p", "other"), ("sub/deep", "directory"), ("sub/deep/c", "file")]
    assert names(True) == sorted(flat + deep, key=lambda each: f"{folder}/{each[0]}")
    assert next(entry.target for entry in road.scan(str(folder)) if entry.kind == "link") == "sub"


def test_scan_of_what_is_not_a_directory(road: Transport, folder: Path) -> None:
    (folder / "file").write_text("x")
    assert list(road.scan(f"{folder}/gone")) == []
    assert list(road.scan(f"{folder}/file")) == []


def test_mkdir_makes_parents_and_tells(road: Transport, folder: Path) -> None:
    assert road.mkdir(f"{folder}/a/b/c", 0o750) is True
    assert road.mkdir(f"{folder}/a/b/c", 0o700) is False
    there = road.stat(f"{folder}/a/b/c")
    above = road.stat(f"{folder}/a")
    assert there is not None and (there.kind, there.mode) == ("directory", 0o750)
    assert above is not None and above.mode == 0o755


def test_mkdir_where_a_file_is(road: Transport, folder: Path) -> None:
    (folder / "a").write_text("x")
    with pytest.raises(StepError):
        road.mkdir(f"{folder}/a")


def test_remove_a_tree_a_link_a_file(road: Transport, folder: Path) -> None:
    (folder / "tree/below").mkdir(parents=True)
    (folder / "tree/below/file").write_text("x")
    (folder / "kept").mkdir()
    (folder / "kept/file").write_text("x")
    (folder / "link").symlink_to("kept")
    if os.geteuid() == 0:
        (folder / "tree").chmod(0o777)
        (folder / "tree/below").chmod(0o777)
    assert road.remove(f"{folder}/tree") is True
    assert road.remove(f"{folder}/link") is True
    assert road.remove(f"{folder}/tree") is False
    assert [entry.path for entry in road.scan(str(folder), recurse=True)] == [f"{folder}/kept", f"{folder}/kept/file"]


def test_rename_replaces(road: Transport, folder: Path) -> None:
    road.write(f"{folder}/a", b"new", 0o600)
    road.write(f"{folder}/b", b"old")
    road.rename(f"{folder}/a", f"{folder}/b")
    there = road.stat(f"{folder}/b")
    assert road.read(f"{folder}/b") == b"new" and not road.exists(f"{folder}/a")
    assert there is not None and there.mode == 0o600


def test_rename_a_tree(road: Transport, folder: Path) -> None:
    road.mkdir(f"{folder}/a/sub")
    road.write(f"{folder}/a/sub/file", b"x")
    road.rename(f"{folder}/a", f"{folder}/b")
    assert [entry.path for entry in road.scan(f"{folder}/b", True)] == [f"{folder}/b/sub", f"{folder}/b/sub/file"]
    assert road.read(f"{folder}/b/sub/file") == b"x"
    assert not road.exists(f"{folder}/a/sub")


def test_rename_what_is_not_there(road: Transport, folder: Path) -> None:
    with pytest.raises(StepError):
        road.rename(f"{folder}/gone", f"{folder}/a")


def test_chmod_and_symlink(road: Transport, folder: Path) -> None:
    road.write(f"{folder}/a", b"x")
    road.chmod(f"{folder}/a", 0o604)
    road.symlink("a", f"{folder}/l")
    road.symlink("b", f"{folder}/l")
    there, link = road.stat(f"{folder}/a"), road.stat(f"{folder}/l")
    assert there is not None and there.mode == 0o604
    assert link is not None and link.target == "b"


def test_chown_to_what_it_is(road: Transport, folder: Path) -> None:
    road.write(f"{folder}/a", b"x")
    there = road.stat(f"{folder}/a")
    assert there is not None
    if there.uid >= 0:
        road.chown(f"{folder}/a", str(there.uid), str(there.gid))
        assert road.stat(f"{folder}/a") == there


def test_chown_to_a_user_that_is_not_there(road: Transport, folder: Path) -> None:
    if road.dry:  # nobody is asked
        return
    road.write(f"{folder}/a", b"x")
    with pytest.raises(StepError) as caught:
        road.chown(f"{folder}/a", "no-such-user-here")
    assert "no-such-user-here" in f"{caught.value.message} {caught.value.evidence}", caught.value.evidence
    with pytest.raises(StepError) as caught:
        road.chown(f"{folder}/a", group="no-such-group")
    assert "no-such-group" in f"{caught.value.message} {caught.value.evidence}", caught.value.evidence
    assert "$ 'change" not in caught.value.evidence, "that is no command"


def test_what_has_no_end_is_not_read(road: Transport, folder: Path) -> None:
    assert road.read("/dev/null") == b""
    with pytest.raises(StepError, match="too large to be read at once"):
        road.read("/dev/zero")


def test_a_name_that_is_too_long_is_told_as_that(road: Transport, folder: Path) -> None:
    with pytest.raises(StepError, match=r"(?i)file name too long"):
        road.write(f"{folder}/{'x' * 300}/y", b"")


def test_upload_a_tree_once(road: Transport, folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "a").write_text("1")
    (source / "sub/b").write_bytes(b"\0\1")
    (source / "sub/b").chmod(0o755)
    told: list[Progress] = []
    road.progress = told.append
    assert road.upload(source, f"{folder}/to") == 2
    assert road.upload(source, f"{folder}/to") == 0, "what is the same was written again"
    (source / "a").write_text("2")
    assert road.upload(source, f"{folder}/to") == 1
    there = road.stat(f"{folder}/to/sub/b")
    assert there is not None and there.mode == 0o755
    assert road.read(f"{folder}/to/sub/b") == b"\0\1" and road.read(f"{folder}/to/a") == b"2"
    assert told


# --- tunnel ----------------------------------------------------------------------------------------


def test_tunnel_leads_to_a_port_of_the_host(road: Transport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with road.tunnel("127.0.0.1", port) as address, socket.create_connection(address, 10) as mine:
            theirs, _ = server.accept()
            with theirs:
                mine.sendall(b"hello")
                assert theirs.recv(5) == b"hello"


def test_close_twice(road: Transport) -> None:
    road.close()
    road.close()


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
