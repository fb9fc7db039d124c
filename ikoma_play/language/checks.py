"""Everything about a playbook and an inventory that can be known without running."""

from __future__ import annotations

import os.path
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import FaultsFound
from ..model import EMPTY, Fault, Playbook
from ..tool import Toolbox
from .broken import Broken
from .check_files import check_files
from .check_handlers import check_handlers
from .check_hosts import check_hosts
from .check_names import check_names
from .check_roles import check_roles
from .codes import SILENCED_BY_COMMENT
from .contents import contents_of
from .faults import Faults, in_order
from .inventory import Inventory
from .locating import silenced

# What a misspelt keyword elsewhere may be the reason of.
_USELESS = ("unused-register", "unused-handler")


def check(
    playbook: Playbook,
    inventory: Inventory,
    tools: Toolbox,
    extra_vars: Mapping[str, Any] | None = None,
    known: Sequence[Fault] = (),
) -> list[Fault]:
    """Faults that reading alone does not find; those with `warning` do not stop a run.

    `known` are those that reading did find: what may only be their consequence is left out.
    A comment `# ikoma-play: allow CODE` on the line, or alone on the line above, silences a fault.
    """
    faults = Faults()
    folder = os.path.dirname(playbook.path)
    try:
        inventory = inventory.beside(folder)
    except FaultsFound as found:
        faults.take(found.faults)
    faults.take(inventory.warnings)
    plays = [contents_of(play, folder, tools, faults) for play in playbook.plays]
    broken = Broken.of([*known, *faults])
    if broken.hides:
        for contents in plays:
            contents.closed = False
    hosts = check_hosts(plays, inventory, faults)
    for contents in plays:
        check_files(contents, folder, faults)
        check_handlers(contents, faults)
    check_names(plays, hosts, extra_vars or EMPTY, folder, faults, broken.names)
    check_roles(plays, hosts, extra_vars or EMPTY, faults, broken.names)
    return _spoken(fault for fault in faults if not (broken and fault.code in _USELESS))


def _spoken(faults: Iterable[Fault]) -> list[Fault]:
    return [fault for fault in in_order(faults) if not (fault.code in SILENCED_BY_COMMENT and silenced(fault))]
