"""What tools know that the runbook tells: prerequisites, causes of trouble and their remedies, severities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..platform import causes
from .platform import BOXES

if TYPE_CHECKING:
    from ..notify.contacts import Escalation


def about(known: Escalation) -> Mapping[str, Any]:
    """For the document's Request."""
    severities = [
        (name, one.meaning, one.response, ", ".join(one.contacts)) for name, one in sorted(known.severities.items())
    ]
    found = [(causes.PROBLEMS[name], name, causes.FIXES.get(name, "")) for name in causes.ORDER]
    return {"prerequisites": list(BOXES.values()), "severities": severities, "causes": found}
