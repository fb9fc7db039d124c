"""Runs for programs: JSON lines and JUnit files; and the table of slow steps."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from ikoma_play.console import jsonlines
from ikoma_play.console.jsonlines import JsonLines
from ikoma_play.console.junit import JUnitFile
from ikoma_play.console.profile import Profile
from ikoma_play.errors import UsageError
from ikoma_play.events import Event, Question, StepProgress, StepRetried, StepWaits, UndoRecorded, Warned
from ikoma_play.model import Access, Diff, Failure, Position, Progress

from .story import AT, RUN, failed, outcome, run, step, told


def everything() -> list[Event]:
    """Every kind of event at least once."""
    at = Position("roles/x/tasks/main.yml", 9, 2)
    return list(
        run(
            Warned(RUN, AT, "careful", at),
            StepProgress(RUN, AT, step("Copy"), "web1", Progress("copying", 1, 2)),
            StepWaits(RUN, AT, step("Ask"), "Ask", "web1", Question(RUN, "web1", "", "Go on?", Access.ADMIN, AT, 1)),
            StepRetried(RUN, AT, step("Wait"), "web1", 2, 3, 1.5, failed()),
            told(step("Copy", "copy", src="a"), outcome("changed", result={"dest": "b"}, diffs=(Diff("b", "", "x"),))),
            UndoRecorded(RUN, AT, step("Copy"), "web1", "step 0 1", {"path": "canary"}),
            told(step("Each"), outcome(items=(outcome(item="é"), outcome("changed", item=2)), warnings=("w",))),
            told(step("Break"), outcome("failed", failure=Failure("refused", "no", position=at), attempts=2)),
            told(step("Hide", cmd="canary"), failed(hidden=True, message="canary", result="canary")),
        )
    )


def as_json(events: list[Event]) -> list[dict[str, Any]]:
    stream = io.StringIO()
    view = JsonLines(stream)
    for event in events:
        view(event)
    lines = stream.getvalue().splitlines()
    assert len(lines) == len(events), "one event a line"
    return [json.loads(line) for line in lines]


def test_every_key_of_every_event_is_documented() -> None:
    documented = {
        name: set(re.findall(r"\b[a-z_]+\b", re.sub(r"\(.*?\)", "", keys)))
        for name, keys in re.findall(r"^    (\w+_?\w+) {2,}(.+)$", jsonlines.__doc__ or "", re.M)
    }
    seen = set()
    for event in as_json(everything()):
        keys = set(event) - {"event", "run", "at"}
        assert keys <= documented[event["event"]], f"{event['event']} has keys that its documentation lacks"
        seen.add(event["event"])
    assert seen == set(documented), "an event that is documented is never shown here"


def test_outcomes_as_json() -> None:
    done = {event["title"]: event for event in as_json(everything()) if event["event"] == "step_finished"}
    copy = done["Copy"]
    assert copy["step"] == {
        "name": "Copy", "tool": "copy", "phase": "Deployment",
        "position": {"file": "deploy.yml", "line": 3, "column": 5},
    }  # fmt: skip
    assert copy["arguments"] == {"src": "a"}
    assert copy["outcome"] == {
        "status": "changed", "seconds": 0.0, "result": {"dest": "b"},
        "diffs": [{"label": "b", "before": "", "after": "x"}],
    }  # fmt: skip
    assert [item["item"] for item in done["Each"]["outcome"]["items"]] == ["é", 2]
    assert done["Break"]["outcome"]["failure"]["position"] == {"file": "roles/x/tasks/main.yml", "line": 9, "column": 2}
    assert done["Hide"]["outcome"] == {"status": "failed", "seconds": 0.0, "hidden": True}
    assert done["Hide"]["arguments"] == {}


def test_the_last_event_has_the_recap() -> None:
    last = as_json(everything())[-1]
    assert last["event"] == "run_finished"
    assert last["hosts"]["web1"]["failed"] == 2 and last["hosts"]["web1"]["changed"] == 1
    assert (last["interrupted"], last["undone"]) == (False, False)


def junit(path: Path, events: list[Event]) -> Xml.Element:
    view = JUnitFile(path)
    for event in events:
        view(event)
    view.close()
    return Xml.parse(path).getroot()


def test_junit_counts_and_names(tmp_path: Path) -> None:
    events = [
        *told(step("Fine", phase="Start"), outcome(seconds=1.5)),
        *told(step("Left out"), outcome("skipped")),
        *told(step("Broken", line=8), failed(seconds=0.5)),
        *told(step("Gone"), outcome("unreachable"), "web2"),
        *told(step("Forgiven"), failed(ignored=True)),
        *told(step("Undo"), outcome("rolled_back"), kind="rollback"),
    ]
    root = junit(tmp_path / "junit.xml", list(run(iter(events), hosts=("web1", "web2"))))
    assert {name: root.get(name) for name in ("tests", "failures", "errors", "skipped", "time")} == {
        "tests": "6", "failures": "1", "errors": "1", "skipped": "1", "time": "2.000",
    }  # fmt: skip
    assert [suite.get("name") for suite in root] == ["Deploy on web1", "Deploy on web2"]
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert cases["Fine"].get("classname") == "Start" and cases["Fine"].get("time") == "1.500"
    assert (cases["Broken"].get("file"), cases["Broken"].get("line")) == ("deploy.yml", "8")
    failure = cases["Broken"].find("failure")
    assert failure is not None and failure.get("type") == "command-failed"
    assert failure.get("message") == "it ended with exit code 1" and "Try harder." in (failure.text or "")
    assert cases["Gone"].find("error") is not None
    assert cases["Forgiven"].find("failure") is None
    assert cases["Undo"].get("classname") == "rollback"


def test_junit_holds_no_secret_of_no_log_and_nothing_that_xml_cannot(tmp_path: Path) -> None:
    nasty = step("Na\x00me \x1b[31m\ud800<&>", cmd="canary")
    root = junit(tmp_path / "junit.xml", list(run(told(nasty, failed(hidden=True, message="canary")))))
    assert "<&>" in (root[0][0].get("name") or "")
    assert "canary" not in (tmp_path / "junit.xml").read_text("utf-8")


def test_junit_is_written_when_the_run_never_ended(tmp_path: Path) -> None:
    root = junit(tmp_path / "junit.xml", list(run(told(step("Fine"), outcome())))[:-1])
    assert root.get("tests") == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["junit.xml"], "a temporary file was left"


def test_junit_into_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no directory"):
        JUnitFile(tmp_path / "nowhere" / "junit.xml")


def test_the_slowest_steps_come_first() -> None:
    stream = io.StringIO()
    view = Profile(stream)
    events = [event for number in range(30) for event in told(step(f"Step {number}"), outcome(seconds=number / 10))]
    for event in run(iter(events), seconds=50.0):
        view(event)
    lines = stream.getvalue().strip().splitlines()
    assert lines[0] == "Slowest of 30 steps (43.500 s of 50.000 s in steps)"
    assert lines[1].split() == ["time", "share", "host", "step", "where"]
    assert lines[2].split() == ["2.900", "s", "6", "%", "web1", "Step", "29", "deploy.yml:3:5"]
    assert len(lines) == 17
