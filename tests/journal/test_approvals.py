"""Questions of runs to people, in SQLite and in PostgreSQL: asked, answered once, closed, taken up again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from ikoma_play.errors import UsageError
from ikoma_play.events import Question
from ikoma_play.journal import again as runs
from ikoma_play.journal.approvals import Questions, decide, demand_waiting, waiting
from ikoma_play.journal.holder import this_process
from ikoma_play.journal.past import Past
from ikoma_play.journal.store import Store
from ikoma_play.model import Access

from .test_store import RUN, STEP, again, sandbox

__all__ = ["again", "sandbox"]

Again = Callable[[], Store]
ID = str(RUN["id"])


def question(text: str = "Go on?", seconds: float = 30, step: str = "step 0 1") -> Question:
    return Question(ID, "h1", step, text, Access.OPERATOR, time.time() + seconds)


def begin(store: Store) -> None:
    store.write(("add_run", {**RUN, **this_process().row}), ("begin_step", {**STEP, "started": time.time()}))


def soon() -> None:
    time.sleep(0.01)


def never() -> bool:
    return False


def test_a_question_is_answered_from_elsewhere_and_once(again: Again) -> None:
    here, elsewhere = again(), again()
    begin(here)
    assert runs.state(runs.find(elsewhere, ID)) == "running"
    questions = Questions(here)
    asked = questions.ask(question())
    row = runs.find(elsewhere, ID)
    assert runs.state(row) == "waiting" and asked.number == 1
    assert demand_waiting(elsewhere, row)["question"] == "Go on?"
    with pytest.raises(UsageError, match="no question 7"):
        demand_waiting(elsewhere, row, 7)
    came = [decide(elsewhere, ID, 1, False, "ci", "not now"), decide(elsewhere, ID, 1, True, "other", "")]
    assert came == [True, False], "the first answer stands"
    decision = questions.answer(asked, never, soon)
    assert decision is not None and (decision.approved, decision.by, decision.reason) == (False, "ci", "not now")
    assert abs(decision.at - time.time()) < 20 and runs.state(runs.find(elsewhere, ID)) == "running"
    with pytest.raises(UsageError, match="nothing in it waits"):
        demand_waiting(elsewhere, runs.find(elsewhere, ID))


def test_many_at_once_are_one_answer(again: Again) -> None:
    begin(again())
    asked = Questions(again()).ask(question())
    came: list[bool] = []
    stores = [again() for _ in range(4)]
    callers = [
        threading.Thread(target=lambda s=store: came.append(decide(s, ID, asked.number, True, "x", "")))
        for store in stores
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sorted(came) == [False, False, False, True]


def test_nobody_answers_a_question_whose_time_is_over_or_whose_run_has_ended(again: Again) -> None:
    store = again()
    begin(store)
    questions = Questions(store)
    late = questions.ask(question(seconds=0.05))
    assert questions.answer(late, never, soon) is None
    withdrawn = questions.ask(question("Another?"))
    assert questions.answer(withdrawn, lambda: True, soon) is None
    assert [row["answer"] for row in store.read("approvals_of", run=ID)] == ["late", "withdrawn"]
    assert not decide(store, ID, late.number, True, "ci", "") and not decide(
        store, ID, withdrawn.number, True, "ci", ""
    )
    assert waiting(store, ID) is None


def past(store: Store, **more: Any) -> Past:
    return Past(store.read("run_of", run=ID)[0], store.read("steps_of", run=ID), **more)


def test_a_run_that_goes_on_takes_its_own_question_up(again: Again) -> None:
    store = again()
    begin(store)
    before = Questions(store).ask(question())  # and then its process is killed
    taken = Questions(again(), past(store))
    same = taken.ask(question(seconds=500))
    assert same.number == before.number and same.until == before.until
    assert taken.ask(question()).number == 2, "the same one is taken up once"
    assert Questions(store, past(store)).ask(question("Something else?")).number == 3
    decide(store, ID, 2, True, "ci", "")
    once_more = Questions(store, past(store))
    decision = once_more.answer(once_more.ask(question()), never, soon)
    assert decision is not None and decision.approved, "an answer that nobody has taken counts"


def test_what_is_over_is_asked_anew(again: Again) -> None:
    store = again()
    begin(store)
    Questions(store).ask(question(seconds=0.01))
    time.sleep(0.02)
    assert Questions(store, past(store)).ask(question()).number == 2, "its time was over"
    decide(store, ID, 2, False, "ci", "")
    end = {
        "run": ID,
        "number": 1,
        "state": "failed",
        "ended": time.time(),
        "outcome": '{"status":"failed","seconds":1}',
    }
    memory = {
        "changed": 0,
        "extra": None,
        "facts": None,
        "notified": None,
        "withheld": 0,
        "touched": 0,
        "unneeded": None,
    }
    store.write(("end_step", {**end, **memory}))
    assert Questions(store, past(store)).ask(question()).number == 3, "the step had come to its end"
    decide(store, ID, 3, False, "ci", "")
    time.sleep(0.01)
    store.write(("begin_step_again", {"run": ID, "number": 1, "started": time.time(), "arguments": "{}"}))
    assert Questions(store, past(store)).ask(question()).number == 4, "the answer was to a former attempt"
    store.write(("begin_step_again", {"run": ID, "number": 1, "started": time.time(), "arguments": "{}"}))
    assert Questions(store, past(store)).ask(question()).number == 4, "a second death finds it still open"
    Questions(store, past(store, undo=True))
    assert store.read("approvals_of", run=ID)[-1]["answer"] == "withdrawn", "what is undone asks nothing any more"
