"""Questions of runs to people, kept in the journal: whoever shares it can answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from ..errors import UsageError
from ..events import Decision, Question
from ..model import Access
from .past import Past
from .store import Row, Store

YES, NO, LATE, WITHDRAWN = "yes", "no", "late", "withdrawn"


class Questions:
    """The questions of one run. `past` is what an earlier process did of it: a step that was under way then takes its
    own question up again, answered or not."""

    def __init__(self, store: Store, past: Past | None = None) -> None:
        self._store = store
        self._past = past
        self._taken: set[int] = set()  # numbers of those that were taken up
        if past is not None and past.undo:
            for row in store.read("approvals_of", run=past.run):
                self._close(past.run, row["number"], WITHDRAWN)

    def ask(self, question: Question) -> Question:
        """Put a question, and give it with its number. Raises JournalError."""
        found = self._before(question)
        if found is not None:
            self._taken.add(found["number"])
            return replace(question, number=found["number"], until=found["until"])
        row = {"run": question.run, "host": question.host, "step": question.occurrence, "question": question.text}
        more = {"role": question.role.label, "asked": time.time(), "until": question.until}
        self._store.write(("ask_approval", {**row, **more}))
        mine = [row for row in self._store.read("approvals_of", run=question.run) if _same(row, question)]
        return replace(question, number=mine[-1]["number"])

    def answer(self, question: Question, stopped: Callable[[], bool], wait: Callable[[], Any]) -> Decision | None:
        """The answer; None when the time is over, or when `stopped`: then nobody can answer any more. `wait` is called
        between two looks. Raises JournalError."""
        while True:
            found = self._row(question)
            if found["answer"] in (YES, NO):
                return Decision(found["answer"] == YES, found["who"], found["comment"], found["answered"])
            ending = WITHDRAWN if stopped() else LATE if time.time() >= question.until else ""
            if not ending:
                wait()
            elif self._close(question.run, question.number, ending):
                return None

    def _row(self, question: Question) -> Row:
        rows = self._store.read("approvals_of", run=question.run)
        return next(row for row in rows if row["number"] == question.number)

    def _before(self, question: Question) -> Row | None:
        """The question as an earlier process has put it, where its step came to no end and it still counts."""
        known = self._past.step(question.host, question.occurrence) if self._past is not None else None
        if known is None or not known.unfinished:
            return None
        rows = self._store.read("approvals_of", run=question.run)
        mine = [row for row in rows if _same(row, question) and row["number"] not in self._taken]
        if not mine:
            return None
        last = mine[-1]
        if last["answer"]:  # one from before the step began is the answer of a former attempt
            return last if last["answer"] in (YES, NO) and last["answered"] >= known.started else None
        if last["until"] > time.time():
            return last
        self._close(question.run, last["number"], LATE)
        return None

    def _close(self, run: str, number: int, answer: str) -> bool:
        """Ask no longer; False where somebody has answered."""
        return bool(self._store.write(("close_approval", {"run": run, "number": number, "answer": answer})))


def decide(store: Store, run: str, number: int, approved: bool, by: str, reason: str) -> bool:
    """Answer a question; False where it was answered before or its time is over. Raises JournalError."""
    answer = {"answer": YES if approved else NO, "who": by, "comment": reason, "at": time.time()}
    return bool(store.write(("answer_approval", {"run": run, "number": number, **answer})))


def waiting(store: Store, run: str, number: int | None = None) -> Row | None:
    """The question of a run that waits for an answer, the oldest or the one of this number; None where none does."""
    rows = [row for row in store.read("approvals_of", run=run) if not row["answer"] and row["until"] > time.time()]
    return next((row for row in rows if number in (None, row["number"])), None)


def demand_waiting(store: Store, row: Row, number: int | None = None) -> Row:
    """The question of a run that waits. Raises UsageError where none does."""
    from .again import state

    known = state(row)
    found = waiting(store, row["id"], number) if known == "waiting" else None
    if found is None:
        which = "nothing" if number is None else f"no question {number}"
        raise UsageError(
            f"run {row['id']} is {known}, and {which} in it waits for an answer",
            remedy=f"See: ikoma-play runs show {row['id']}",
        )
    return found


def _same(row: Row, question: Question) -> bool:
    asked = (question.host, question.occurrence, question.text, question.role.label)
    return (row["host"], row["step"], row["question"], row["role"]) == asked


def role_of(row: Row) -> Access:
    """The role that an answer needs."""
    return Access[str(row["role"]).upper()]
