"""The audit log: whatever is done to its files is found, whoever writes at once, whenever a writer dies."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ikoma_play.audit.entries import Entry
from ikoma_play.audit.log import AuditLog, files, head_of
from ikoma_play.audit.reading import Wanted, newest
from ikoma_play.audit.verifying import verify
from ikoma_play.errors import AuditError
from tests.parts.chance import LONG
from tests.parts.command import CHECKOUT

KILLS = 60 if LONG else 6
KEY = b"a key that nobody knows"


def filled(folder: Path, count: int = 5, key: bytes = b"", rotate_at: int = 10**6) -> AuditLog:
    log = AuditLog(folder / "audit.jsonl", key, rotate_at)
    for number in range(count):
        error = "no such database" if number % 3 == 2 else ""
        log.append(Entry("db.backup", "operator", {"appName": f"app{number}", "é": "ü\n"}, error, host="here"))
    return log


def whole(log: AuditLog, key: bytes = b"") -> bool:
    return not verify(log.path, key).findings


def lines_of(log: AuditLog) -> list[dict[str, Any]]:
    return [json.loads(line) for path in files(log.path) for line in path.read_bytes().splitlines()]


def test_a_line_is_what_the_contract_says(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "deep" / "audit.jsonl")
    log.append(
        Entry(
            "db.backup", "operator", {"appName": "myapp"}, "disk full", 0.1234, "h1", "ci", "r1", "q1", 1767323045.6784
        )
    )
    text = log.path.read_text()
    assert text.startswith(
        '{"timestamp":"2026-01-02T03:04:05.678Z","requestId":"q1","capability":"db.backup","role":"operator",'
        '"arguments":{"appName":"myapp"},"result":"error","error":"disk full","duration":123.4,"host":"h1","key":"ci",'
        '"run":"r1","number":1,"hash":"'
    )
    assert text.endswith('"}\n') and (log.path.stat().st_mode & 0o777) & 0o007 == 0


def test_what_json_does_not_know_is_text_and_the_line_is_json(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    for value in (float("nan"), b"x", {1: 2, (1, 2): 3}, "\ud800", Path("x"), {"a"}, deep, "line\u2028\x85\0\n\x1c"):
        log.append(Entry("copy", "admin", {"value": value}))
    assert len(lines_of(log)) == 8 and whole(log)
    assert len(log.path.read_text().splitlines()) == 8


# --- every change is found ---


def test_every_byte_of_every_file_counts(tmp_path: Path) -> None:
    log = filled(tmp_path, 3, rotate_at=600)
    assert len(files(log.path)) == 2 and whole(log)
    chance = random.Random(1)
    for path in (*files(log.path), head_of(log.path)):
        data = path.read_bytes()
        for at in range(len(data)):
            for byte in {data[at] ^ 1, chance.choice((10, 32, data[at] ^ 0x20))} - {data[at]}:
                path.write_bytes(data[:at] + bytes([byte]) + data[at + 1 :])
                assert not whole(log), f"{path.name}: byte {at} from {data[at]} to {byte} was not found"
        path.write_bytes(data)
    assert whole(log)


Damage = Callable[[list[bytes]], list[bytes]]
DAMAGES: list[tuple[str, Damage, int, str]] = [
    ("changed", lambda o: [o[0], o[1].replace(b"success", b"error"), *o[2:]], 2, "was changed"),
    ("removed", lambda o: [o[0], *o[2:]], 2, "line 2 of the log is missing before"),
    ("first removed", lambda o: o[1:], 1, "line 1 of the log is missing before"),
    ("two removed", lambda o: [o[0], *o[3:]], 2, "lines 2 to 3 of the log are missing before"),
    ("swapped", lambda o: [o[0], o[2], o[1], *o[3:]], 2, "missing before"),
    ("doubled", lambda o: [*o[:2], o[1], *o[2:]], 3, "repeated or moved"),
    ("cut off", lambda o: o[:-2], 0, "lines 4 to 5 of the log are missing at the end"),
    ("cut in a line", lambda o: [*o[:-1], o[-1][:20]], 0, "line 5 of the log is missing at the end"),
    ("hash changed", lambda o: [o[0], o[1][:-10] + b'0000000"}\n', *o[2:]], 2, "changed"),
    ("foreign line", lambda o: [*o[:2], b"{}\n", *o[2:]], 3, "no line of this log"),
    ("something appended", lambda o: [*o, b"{}"], 6, "cut off"),
    ("emptied", lambda o: [], 0, "lines 1 to 5 of the log are missing at the end"),
]


@pytest.mark.parametrize(("damage", "line", "said"), [row[1:] for row in DAMAGES], ids=[row[0] for row in DAMAGES])
@pytest.mark.parametrize("key", [b"", KEY], ids=["sha256", "hmac"])
def test_damage_is_found_where_it_is(tmp_path: Path, damage: Damage, line: int, said: str, key: bytes) -> None:
    log = filled(tmp_path, key=key)
    log.path.write_bytes(b"".join(damage(log.path.read_bytes().splitlines(True))))
    first = verify(log.path, key).findings[0]
    assert (first.file, first.line) == (str(log.path), line) and said in first.what
    assert str(first).startswith(f"{log.path}:{line}: " if line else f"{log.path}: ")
    # and it is still found after the log has gone on
    AuditLog(log.path, key).append(Entry("db.create", "builder"))
    again = verify(log.path, key).findings
    assert again and json.loads(log.path.read_bytes().splitlines()[-1])["capability"] == "db.create"


def test_one_change_is_one_finding(tmp_path: Path) -> None:
    log = filled(tmp_path)
    lines = log.path.read_bytes().splitlines(True)
    for changed in (lines[2].replace(b"operator", b"observer"), lines[2][:-5] + b'00"}\n'):
        log.path.write_bytes(b"".join([*lines[:2], changed, *lines[3:]]))
        assert [finding.line for finding in verify(log.path).findings] == [3]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_other_order_or_choice_of_lines_is_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    log = filled(tmp_path_factory.mktemp("log"), 6)
    lines = log.path.read_bytes().splitlines(True)
    kept = data.draw(st.lists(st.sampled_from(lines), max_size=8).filter(lambda other: other != lines))
    log.path.write_bytes(b"".join(kept))
    assert not whole(log)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_cut_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    log = filled(tmp_path_factory.mktemp("log"), 6, rotate_at=900)
    path = data.draw(st.sampled_from(files(log.path)))
    text = path.read_bytes()
    start = data.draw(st.integers(0, len(text) - 1))
    path.write_bytes(text[:start] + text[data.draw(st.integers(start + 1, len(text))) :])
    assert not whole(log)


@pytest.mark.parametrize("name", ["audit.jsonl", "audit.jsonl.head", "rotated"])
def test_a_file_that_is_gone_is_missed(tmp_path: Path, name: str) -> None:
    log = filled(tmp_path, 8, rotate_at=900)
    (files(log.path)[1] if name == "rotated" else tmp_path / name).unlink()
    assert not whole(log)
    AuditLog(log.path, rotate_at=900).append(Entry("db.create", "builder"))
    assert not whole(log), "the log goes on, and what is missing stays missing"


def test_what_an_earlier_check_gave_proves_that_the_end_and_its_head_were_put_back(tmp_path: Path) -> None:
    log = filled(tmp_path, 3)
    before = {path: path.read_bytes() for path in (log.path, head_of(log.path))}
    log.append(Entry("apps.remove", "admin", {"appName": "shop"}))
    seen = verify(log.path)
    for path, data in before.items():
        path.write_bytes(data)
    assert whole(log), "the log alone cannot know"
    assert "line 4, which was known, is missing" in str(verify(log.path, known=(seen.number, seen.hash)).findings[0])


def test_with_a_key_nobody_else_can_go_on(tmp_path: Path) -> None:
    log = filled(tmp_path, 3, KEY)
    assert whole(log, KEY)
    assert not whole(log, b"another")
    for other in (b"", b"another"):
        with pytest.raises(AuditError, match="key"):
            AuditLog(log.path, other).append(Entry("db.create", "builder"))
    with pytest.raises(AuditError, match="key"):
        verify(log.path)
    plain = filled(tmp_path / "plain", 2)
    with pytest.raises(AuditError, match="begun without a key"):
        AuditLog(plain.path, KEY).append(Entry("db.create", "builder"))


# --- writers that die ---


def test_a_line_without_its_head_is_taken_up(tmp_path: Path) -> None:
    for rotate_at in (10**6, 1):  # the last with every line in a file of its own
        log = filled(tmp_path / str(rotate_at), 3, rotate_at=rotate_at)
        head = head_of(log.path).read_bytes()
        log.append(Entry("db.create", "builder"))
        head_of(log.path).write_bytes(head)
        assert whole(log), "before the next writer"
        AuditLog(log.path, rotate_at=rotate_at).append(Entry("db.seed", "builder"))
        assert whole(log) and [line["number"] for line in lines_of(log)] == [1, 2, 3, 4, 5]


def test_a_line_that_a_crash_cut_is_told_of_and_the_file_stays_json(tmp_path: Path) -> None:
    log = filled(tmp_path, 3)
    with log.path.open("ab") as file:
        file.write(b'{"timestamp":"2026-01-01T00:00:00.000Z","requestId":"lost')
    seen = verify(log.path)
    assert not seen.findings and "cut off by a crash" in seen.note
    AuditLog(log.path).append(Entry("db.seed", "builder"))
    told, last = lines_of(log)[-2:]
    assert (
        told["capability"] == "audit.recovered" and '"requestId":"lost' in told["error"] and told["result"] == "error"
    )
    assert last["capability"] == "db.seed" and whole(log)


def test_a_file_put_aside_by_a_writer_that_died_then(tmp_path: Path) -> None:
    log = filled(tmp_path, 3)
    log.path.rename(log.path.with_name("audit.jsonl.3"))
    assert whole(log)
    AuditLog(log.path).append(Entry("db.seed", "builder"))
    assert whole(log) and len(files(log.path)) == 2


WRITER = """
import sys
from pathlib import Path
from ikoma_play.audit.entries import Entry
from ikoma_play.audit.log import AuditLog
log = AuditLog(Path(sys.argv[1]), rotate_at=20_000)
for number in range(int(sys.argv[3])):
    log.append(Entry("db.backup", "operator", {"text": "x" * (number % 7 * 600)}, request_id=f"{sys.argv[2]}-{number}"))
    print(f"{sys.argv[2]}-{number}", flush=True)
"""


def writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(count)],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_several_processes_and_threads_at_once(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl", rotate_at=20_000)
    writers = [writer(log.path, f"w{number}", 100) for number in range(3)]

    def here(name: str) -> None:
        for number in range(100):
            log.append(Entry("db.backup", "operator", request_id=f"{name}-{number}"))

    threads = [threading.Thread(target=here, args=(f"t{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    while any(process.poll() is None for process in writers):
        assert not files(log.path) or whole(log), "verified while others write"
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    for process in writers:
        process.communicate()
    names = [f"{kind}{one}" for kind in "wt" for one in range(3)]
    ids = [line["requestId"] for line in lines_of(log)]
    assert sorted(ids) == sorted(f"{name}-{number}" for name in names for number in range(100))
    assert len(files(log.path)) > 3 and whole(log)


def test_a_forked_process_does_not_share_its_parents_lock(tmp_path: Path) -> None:
    log = filled(tmp_path, 1)
    children = []
    for _ in range(3):
        if (pid := os.fork()) == 0:
            try:
                for _ in range(60):
                    log.append(Entry("db.seed", "builder"))
            finally:
                os._exit(0)
        children.append(pid)
    for _ in range(60):
        log.append(Entry("db.seed", "builder"))
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
    assert whole(log) and len(lines_of(log)) == 241


def test_kill_9_while_appending_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path, acknowledged, chance = tmp_path / "audit.jsonl", [], random.Random(7)
    for turn in range(KILLS):
        writers = [writer(path, f"k{turn}{name}", 100_000) for name in "ab"]
        for process in writers:
            assert process.stdout is not None
            acknowledged.append(process.stdout.readline().strip())  # both are at it
        time.sleep(chance.uniform(0, 0.3))
        for process in writers:
            process.send_signal(signal.SIGKILL)
            acknowledged += [word for word in process.communicate()[0].split("\n")[:-1] if word]
        assert not verify(path).findings
    AuditLog(path).append(Entry("db.seed", "builder"))
    assert not verify(path).findings
    ids = [line["requestId"] for line in lines_of(AuditLog(path)) if line["requestId"]]
    assert len(ids) == len(set(ids)) and not set(acknowledged) - set(ids)


# --- logs that cannot be written ---


def test_places_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path, said in (
        (tmp_path / "file" / "audit.jsonl", "file is no directory"),
        (tmp_path / "folder", "no regular file"),
        (Path("/proc/audit.jsonl"), "cannot be written"),
    ):
        log = AuditLog(path)
        for attempt in (log.demand, lambda log=log: log.append(Entry("db.seed", "builder"))):
            with pytest.raises(AuditError, match=said) as caught:
                attempt()
            assert caught.value.remedy
    with pytest.raises(AuditError, match="there is no audit log"):
        verify(tmp_path / "nothing.jsonl")


def test_a_disk_that_fills_in_the_middle_of_a_line_leaves_nothing_of_it(tmp_path: Path) -> None:
    log = filled(tmp_path, 3)
    size = log.path.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, before[1]))
    try:
        with pytest.raises(AuditError, match="cannot be written"):
            log.append(Entry("db.seed", "builder"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    assert log.path.stat().st_size == size and whole(log)
    log.append(Entry("db.seed", "builder"))
    assert whole(log) and len(lines_of(log)) == 4


# --- reading ---


def test_the_newest_come_without_reading_it_all(tmp_path: Path) -> None:
    log = filled(tmp_path, 40, rotate_at=5000)
    assert [entry["number"] for entry in newest(log.path, Wanted(), 3)] == [38, 39, 40]
    assert [entry["number"] for entry in newest(log.path, Wanted(), None)] == list(range(1, 41))
    assert [entry["number"] for entry in newest(log.path, Wanted(app="app7"), None)] == [8]
    assert [entry["number"] for entry in newest(log.path, Wanted(result="error"), 2)] == [36, 39]
    long = AuditLog(tmp_path / "long.jsonl")
    for size in (10, 200_000, 65_536, 3):
        long.append(Entry("copy", "admin", {"text": "y" * size}))
    assert [len(entry["arguments"]["text"]) for entry in newest(long.path, Wanted(), None)] == [10, 200_000, 65_536, 3]
