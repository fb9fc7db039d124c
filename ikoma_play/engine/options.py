"""What a run is told on the command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from msgspec import Struct

from ..events import Decision, Question
from ..model import EMPTY, Step

Confirm = Callable[[Step], bool | None]
"""Asked before each step under --step: True runs it, False leaves it out, None runs it and asks no more."""


class Approvals(Protocol):
    """Where steps ask people."""

    def ask(self, question: Question) -> Question:
        """Put a question where it can be answered, and give it with its number; one that an earlier process of the
        run had asked is taken up. Raises StepError where nobody could answer, and JournalError."""

    def answer(self, question: Question, stopped: Callable[[], bool]) -> Decision | None:
        """Wait for the answer; None when its time is over. Raises Interrupted when `stopped`, and JournalError."""


class Options(Struct, frozen=True):
    """`limit` is a host pattern; `forks` 0 takes the machine's default; `play_home` is where the shipped
    playbooks lie; `connection` (ansible_user, ansible_connection …) counts where nothing else says otherwise."""

    limit: str | None = None
    tags: frozenset[str] = frozenset()
    skip_tags: frozenset[str] = frozenset()
    check: bool = False
    diff: bool = False
    start_at_step: str | None = None
    confirm: Confirm | None = None
    forks: int = 0
    extra_vars: Mapping[str, Any] = EMPTY
    rollback: bool = True
    any_errors_fatal: bool = False
    force_handlers: bool = False
    connection: Mapping[str, Any] = EMPTY
    become: bool = False
    become_user: str | None = None
    become_method: str | None = None
    become_password: str | None = None
    verbosity: int = 0
    play_home: str = ""
    roles_path: tuple[str, ...] = ()
    here: Mapping[str, Any] = EMPTY  # like `connection`, for hosts that are this machine
    run: str = ""  # the id that the run is to have; else it makes one
    ask: Callable[[Mapping[str, Any]], Any] | None = None  # answers one entry of vars_prompt
    approvals: Approvals | None = None
    actor: str = ""  # who has this done; "" is who runs this process
    single: bool = False  # one call of a tool: what it can be undone by is kept, and its failure undoes nothing

    @property
    def workers(self) -> int:
        """How many hosts are worked on at once."""
        return self.forks if self.forks > 0 else max(16, 8 * (os.cpu_count() or 1))
