"""No secret leaves the engine: every event goes through `Secrets.mask_event` before an observer gets it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from functools import lru_cache
from threading import Lock
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from msgspec.structs import replace

from ..events import (
    Event,
    Memory,
    StepFinished,
    StepProgress,
    StepRetried,
    StepStarted,
    StepWaits,
    UndoRecorded,
    Warned,
)
from ..language.text import Revealed
from ..model import EMPTY, Diff, Failure, Outcome, Progress

MASK = "********"
SHORTEST = 4  # shorter values would make ordinary text unreadable
_WORDS = (
    "password|passwd|passphrase|pass|pw|secret|token|credentials?|(api|private|access|secret|auth|encryption)[_-]?key"
)
_NAME = re.compile(rf"(^|[_.-])({_WORDS})s?($|[_.-](hash|value|text|[0-9]+)$)", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z0-9])(Password|Passphrase|Secret|Token|ApiKey|PrivateKey)s?$")
_IN_URL = re.compile(r"://[^/\s:@]*:([^@/\s]+)@")
_PLAIN = r"[a-z]+(-[a-z]+)*|/[\w./-]*|[\d.: -]+"
_ORDINARY = frozenset(
    ("true", "false", "none", "null", "omit", "required", "optional", "changed", "password", "secret")
)
_T = TypeVar("_T", bound=Event)
BRING = ("include_tasks", "include_role", "add_host", "group_by")


@lru_cache(4096)
def looks_secret(name: str) -> bool:
    """Whether a variable or key of this name holds what must not be shown."""
    return bool(_NAME.search(name)) or bool(_CAMEL.search(name))


def without_password(text: str) -> str:
    """The text with the passwords of URLs in it masked."""
    if "://" not in text:
        return text
    return _IN_URL.sub(lambda found: found[0].replace(f":{found[1]}@", f":{MASK}@"), text)


class Secrets:
    """The secret values of one run; safe to use from several threads."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._lock = Lock()
        self._seen: dict[int, Any] = {}  # collections that were looked through

    # --- what is secret ---

    def add(self, value: Any) -> None:
        """Every text in the value is secret from now on."""
        fresh = {text for text in _texts(value) if self._worth(text) and text not in self._values}
        if not fresh:
            return
        with self._lock:
            self._values |= fresh
            spelled = {variant for text in self._values for variant in _spellings(text)}
            self._pattern = re.compile("|".join(map(re.escape, sorted(spelled, key=len, reverse=True))))

    def add_hidden(self, value: Any) -> None:
        """What a no_log step was given or gave: secret, but for plain words and paths that say nothing."""
        self.add([text for text in _texts(value) if len(text) >= 6 and not re.fullmatch(_PLAIN, text)])

    def see(self, name: str, value: Any) -> None:
        """A variable or argument was looked up: keep what its name, or names within, say is secret."""
        if isinstance(value, str):
            if isinstance(value, Revealed):
                self.add(value)
            if "://" in value:
                for found in _IN_URL.findall(value):
                    self.add([found, unquote(found)])
            if looks_secret(name):
                self.add(value)
        elif isinstance(value, (dict, list)):
            if self._seen.get(id(value)) is value:
                return
            if len(self._seen) > 10_000:
                self._seen.clear()
            self._seen[id(value)] = value
            if looks_secret(name):
                self.add(value)
            elif isinstance(value, dict):
                for key, each in list(value.items()):
                    self.see(str(key), each)
            else:
                for each in value:
                    self.see(name, each)

    @staticmethod
    def _worth(text: str) -> bool:
        return len(text) >= SHORTEST and text.lower() not in _ORDINARY and text != MASK

    # --- masking ---

    def mask(self, text: str) -> str:
        pattern = self._pattern
        return pattern.sub(MASK, text) if pattern is not None else text

    def mask_value(self, value: Any, by_name: bool = True) -> Any:
        """The value with every secret in it masked, and what stands under a secret's name."""
        if isinstance(value, str):
            return self.mask(value)
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, Mapping):
            return {
                self.mask(str(key)): MASK
                if by_name and isinstance(each, str) and each and looks_secret(str(key))
                else self.mask_value(each, by_name)
                for key, each in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.mask_value(each, by_name) for each in value]
        if isinstance(value, bytes):
            return self.mask(value.decode("utf-8", "replace"))
        return value

    def mask_failure(self, failure: Failure) -> Failure:
        return replace(
            failure,
            message=self.mask(failure.message),
            remedy=self.mask(failure.remedy),
            evidence=self.mask(failure.evidence),
        )

    def mask_outcome(self, outcome: Outcome) -> Outcome:
        """An outcome fit to be shown; a hidden one keeps its status and nothing else."""
        items = tuple(map(self.mask_outcome, outcome.items))
        if outcome.hidden:
            failure = outcome.failure
            if failure is not None:
                failure = Failure(
                    failure.code,
                    "the step failed; no_log keeps what it said",
                    "Run it again without no_log where nobody sees the output.",
                    position=failure.position,
                )
            return replace(
                outcome, result=None, message="", failure=failure, diffs=(), facts=EMPTY, warnings=(), item=None,
                items=items,
            )  # fmt: skip
        result, message = self.mask_value(outcome.result), self.mask(outcome.message)
        if not (
            outcome.failure or outcome.diffs or outcome.facts or outcome.warnings or items or outcome.item is not None
            or result != outcome.result or message != outcome.message
        ):  # fmt: skip
            return outcome
        return replace(
            outcome,
            result=result,
            message=message,
            failure=self.mask_failure(outcome.failure) if outcome.failure else None,
            diffs=tuple(Diff(self.mask(d.label), self.mask(d.before), self.mask(d.after)) for d in outcome.diffs),
            facts=self.mask_value(outcome.facts) if outcome.facts else outcome.facts,
            warnings=tuple(map(self.mask, outcome.warnings)),
            items=items,
            item=self.mask_value(outcome.item),
        )

    def _mask_memory(self, event: StepFinished, shown: Outcome) -> Memory:
        """What the journal keeps of a step for the rest of the run, and whether that is all of it."""
        memory, outcome = event.memory, event.outcome
        if not _lasts(event):
            return replace(memory, extra=EMPTY)
        if outcome.hidden:
            return replace(memory, extra=EMPTY, withheld=True)
        extra = self.mask_value(memory.extra)
        told = (outcome.result, outcome.message, outcome.facts, memory.extra)
        kept = (shown.result, shown.message, shown.facts, extra)
        return replace(memory, extra=extra, withheld=not all(map(_same, told, kept)))

    def mask_event(self, event: _T) -> _T:
        """The event as observers get it."""
        if isinstance(event, StepStarted):
            return replace(event, title=self.mask(event.title), arguments=self.mask_value(event.arguments))
        if isinstance(event, StepFinished):
            outcome = self.mask_outcome(event.outcome)
            return replace(
                event,
                title=self.mask(event.title),
                arguments=self.mask_value(event.arguments),
                outcome=outcome,
                memory=self._mask_memory(event, outcome),
            )
        if isinstance(event, UndoRecorded):
            return replace(event, record=self.mask_value(event.record))
        if isinstance(event, StepRetried) and event.outcome is not None:
            return replace(event, outcome=self.mask_outcome(event.outcome))
        if isinstance(event, StepWaits):  # its question was masked before it was asked
            return replace(event, title=self.mask(event.title))
        if isinstance(event, StepProgress):
            progress = event.progress
            return replace(event, progress=Progress(self.mask(progress.text), progress.done, progress.total))
        if isinstance(event, Warned):
            return replace(event, message=self.mask(event.message))
        return event


def _lasts(event: StepFinished) -> bool:
    """Whether the rest of the run can ask what a step came to."""
    step = event.step
    if step is None or event.outcome.status.bad:
        return False
    return step.register is not None or step.rollback is not None or bool(event.outcome.facts) or step.tool in BRING


def _same(told: Any, kept: Any) -> bool:
    """Whether a value can be given back as it was: nothing of it masked, nothing that JSON does not know."""
    if isinstance(told, Mapping):
        return len(told) == len(kept) and all(
            isinstance(key, str) and key in kept and _same(each, kept[key]) for key, each in told.items()
        )
    if isinstance(told, (list, tuple)):
        return len(told) == len(kept) and all(map(_same, told, kept))
    return told is None or (isinstance(told, (str, int, float)) and bool(told == kept))


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield str(value)
        stripped = value.strip()
        if stripped != value:
            yield stripped
        if "\n" in stripped:  # a private key: lines of it are as secret as the whole
            yield from (line.strip() for line in stripped.splitlines() if len(line.strip()) >= 16)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield str(value)


def _spellings(text: str) -> Iterable[str]:
    """The ways in which a value turns up in output: as it is, in JSON, in a URL, in Python, quoted."""
    yield text
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield repr(text)[1:-1]
    yield quote(text, safe="")
    yield quote(text)
    if "'" in text:
        yield shlex.quote(text)
