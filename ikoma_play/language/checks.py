"""Everything about a playbook and an inventory that can be known without running."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..model import Fault, Playbook
from ..tool import Toolbox
from .inventory import Inventory


def check(
    playbook: Playbook, inventory: Inventory, tools: Toolbox, extra_vars: Mapping[str, Any] | None = None
) -> list[Fault]:
    """Faults that reading alone does not find; those with `warning` do not stop a run."""
    return []
