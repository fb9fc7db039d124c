"""The tree of errors. Each has a code and its evidence; none knows HTTP or exit status.

    IkomaError                    code               what happened
    ├── UsageError                usage              the command was used wrongly
    ├── FaultsFound               faults             the playbook, inventory or arguments are wrong; nothing ran
    ├── StepError                 step-failed        a tool could not do what was asked
    │   ├── CommandFailed         command-failed     a command on a host ended with a bad exit code
    │   ├── TimedOut              timed-out          it took longer than it may
    │   ├── NotFound              not-found          an application, file, database or release is not there
    │   ├── Refused               refused            what was asked would break something, so nothing was done
    │   ├── NotApproved           not-approved       a person was asked and said no
    │   ├── Unhealthy             unhealthy          a service runs but does not answer as it must
    │   ├── Unavailable           unavailable        Docker, PostgreSQL or a disk is not there or does not answer
    │   └── TemplateFailed        template           an expression could not be evaluated
    ├── Unreachable               unreachable        a host did not answer, or would not let us in
    │   └── ConnectionLost        unreachable        it did, and then the connection was gone
    ├── Locked                    locked             another run holds the application
    ├── JournalError              journal            the journal cannot be read or written
    │   ├── AuditError            audit              the audit log cannot be read or written
    │   └── Forbidden             forbidden          a step is not for the key on whose behalf the run goes
    └── Interrupted               interrupted        a person or the system stopped the run

The rest of the program raises these and nothing else; the edges turn the code into an exit status or an
HTTP status, and `message`, `remedy` and `evidence` into words for a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model import Command, Failure, Fault, Position, Result


class IkomaError(Exception):
    """Base of all our errors. `message` says what and where, `remedy` what to do about it."""

    code = "error"

    def __init__(self, message: str, *, remedy: str = "", evidence: str = "", position: Position | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.evidence = evidence
        self.position = position

    @property
    def failure(self) -> Failure:
        from .model import Failure  # --help does without the structs

        return Failure(self.code, self.message, self.remedy, self.evidence, self.position)


class UsageError(IkomaError):
    code = "usage"


class FaultsFound(IkomaError):
    """Everything that is wrong with a playbook, an inventory or arguments, at once.

    `partial` is what could be read all the same, for further checks; it never runs.
    """

    code = "faults"

    def __init__(self, faults: Sequence[Fault], partial: Any = None) -> None:
        self.faults = tuple(faults)
        self.partial = partial
        first = self.faults[0]
        where = f"{first.position}: " if first.position else ""
        more = f" (and {len(self.faults) - 1} more)" if len(self.faults) > 1 else ""
        super().__init__(f"{where}{first.message}{more}", remedy=first.remedy, position=first.position)


class StepError(IkomaError):
    """`returned` is the result that the failed step's registered variable holds all the same."""

    code = "step-failed"

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "",
        evidence: str = "",
        position: Position | None = None,
        result: Any = None,
    ) -> None:
        super().__init__(message, remedy=remedy, evidence=evidence, position=position)
        self.returned = result


class CommandFailed(StepError):
    code = "command-failed"

    def __init__(
        self, command: Command, result: Result, message: str = "", remedy: str = "", returned: Any = None
    ) -> None:
        self.command = command
        self.result = result
        import shlex

        shown = shlex.join(mask(word, command.secrets) for word in command.argv)
        super().__init__(
            message or f"{command.argv[0]} ended with exit code {result.exit_code}",
            remedy=remedy,
            evidence=mask(f"$ {shown}\n{last_lines(result)}".rstrip(), command.secrets),
            result=returned,
        )


class TimedOut(StepError):
    code = "timed-out"


class NotFound(StepError):
    code = "not-found"


class Refused(StepError):
    code = "refused"


class NotApproved(StepError):
    code = "not-approved"


class Unhealthy(StepError):
    code = "unhealthy"


class Unavailable(StepError):
    code = "unavailable"


class TemplateFailed(StepError):
    code = "template"


class Unreachable(IkomaError):
    code = "unreachable"


class ConnectionLost(Unreachable):
    """The host may be there all the same: the next question opens a new connection."""


class Locked(IkomaError):
    code = "locked"


class JournalError(IkomaError):
    code = "journal"


class AuditError(JournalError):
    code = "audit"


class Forbidden(JournalError):
    code = "forbidden"


class Interrupted(IkomaError):
    code = "interrupted"


def last_lines(result: Result, count: int = 10) -> str:
    """The last lines of what a command printed, standard error first in rank."""
    output = result.stderr.strip() or result.stdout.strip()
    return "\n".join(output.decode("utf-8", "replace").splitlines()[-count:])


def mask(text: str, secrets: Sequence[str]) -> str:
    """`text` with every secret value in it made unreadable, the longest first."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "********")
    return text
