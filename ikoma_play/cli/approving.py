"""Where a run's steps ask people: at the terminal, and in the journal, where whoever shares it answers.

An answer that is typed goes into the journal like any other, so that there is one place where answers are."""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import click

from ..console.terminal import one_line
from ..errors import Interrupted, StepError
from ..events import Decision, Question
from ..journal.approvals import Questions, decide
from ..journal.holder import this_process
from ..journal.past import Past
from ..journal.store import Store
from . import views

LOOK_AGAIN = 0.2  # seconds
WORDS = {"yes": True, "y": True, "no": False, "n": False}


class Approvals:
    """The questions of one run. `elsewhere`: it waits though there is no terminal; `silent`: no view shows the question
    in words."""

    def __init__(
        self, store: Store, past: Past | None, watching: Sequence[views.View], elsewhere: bool, silent: bool
    ) -> None:
        self._store = store
        self._questions = Questions(store, past)
        self._views = watching
        self._terminal = sys.stdin.isatty()
        self._elsewhere = elsewhere
        self._silent = silent
        self._one_at_a_time = threading.Lock()

    def ask(self, question: Question) -> Question:
        if not (self._terminal or self._elsewhere):
            raise StepError(
                "approve waits for a person, and there is no terminal to ask at",
                remedy="Run it at a terminal; or with --await-approval, then answer with: ikoma-play runs approve RUN; "
                "or by POST /runs on a server, then POST /runs/RUN/approve.",
            )
        return self._questions.ask(question)

    def answer(self, question: Question, stopped: Callable[[], bool]) -> Decision | None:
        with ExitStack() as held:
            prompt = Prompt(self._store, question) if self._terminal else None
            if prompt is not None:
                held.enter_context(self._one_at_a_time)
                held.enter_context(views.quiet(self._views))
                prompt.show(self._silent)
            decision = self._questions.answer(question, stopped, _pause if prompt is None else prompt.listen)
        if decision is None and stopped():
            raise Interrupted("the run was interrupted while it waited for an answer")
        return decision


class Prompt:
    """One question at the terminal."""

    def __init__(self, store: Store, question: Question) -> None:
        self._store = store
        self._question = question
        self._open = True  # False once the terminal has said that nothing further comes from it
        self._typed = b""

    def show(self, whole: bool) -> None:
        if whole:
            click.echo(one_line(self._question.text), err=True)
        self._ask()

    def listen(self) -> None:
        """Take up what is typed meanwhile, for a short time."""
        if not self._open:
            return _pause()
        if not select.select([sys.stdin.fileno()], [], [], LOOK_AGAIN)[0]:
            return None
        came = os.read(sys.stdin.fileno(), 4096)
        self._open = bool(came)
        *lines, self._typed = (self._typed + came).split(b"\n")
        for line in lines:
            if self._take(line.decode("utf-8", "replace").strip()):
                return None
        return None

    def _take(self, line: str) -> bool:
        """Whether a line was an answer, which is then in the journal."""
        word, _, reason = line.partition(" ")
        approved = WORDS.get(word.strip(",:;.").lower())
        if approved is None:
            self._ask()
            return False
        question, who = self._question, f"cli:{this_process().who}"
        decide(self._store, question.run, question.number, approved, who, reason.strip())
        return True

    @staticmethod
    def _ask() -> None:
        click.echo("Yes or no, and why: ", nl=False, err=True)


def _pause() -> None:
    time.sleep(LOOK_AGAIN)
