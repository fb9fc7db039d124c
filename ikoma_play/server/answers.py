"""What the server answers when it does not do what was asked; the one place where an error becomes a status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..model import EMPTY, Failure

# The code of a failure → the HTTP status; what is not named here is the tool's own failure.
BY_CODE = {"locked": 409, "faults": 400, "arguments": 400, "usage": 400}
TOOL_FAILED = 500


class Refusal(Exception):
    """A request that is answered with an error. `more` goes into the answer beside `error`."""

    def __init__(
        self, status: int, code: str, message: str, *, headers: Mapping[str, str] = EMPTY, **more: Any
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers
        self.more = more

    def body(self) -> dict[str, Any]:
        said = {name: value for name, value in self.more.items() if value not in (None, "", {}, [])}
        return {"success": False, "error": self.message, "code": self.code, **said}


def wrong_fields(fields: Mapping[str, str], remedy: str = "") -> Refusal:
    """A body or header that is wrong: every field with what is wrong with it."""
    return Refusal(400, "invalid", "; ".join(dict.fromkeys(fields.values())), fields=dict(fields), remedy=remedy)


def of_failure(failure: Failure, result: Any = None) -> Refusal:
    """A call that failed, told as far as it is known; secrets are masked already, and there is no traceback."""
    status = BY_CODE.get(failure.code, TOOL_FAILED)
    return Refusal(
        status, failure.code, failure.message, remedy=failure.remedy, evidence=failure.evidence, result=result
    )


def unreadable(part: str) -> Refusal:
    return Refusal(500, "internal", f"the server itself failed while {part}", remedy="Its log says more.")
