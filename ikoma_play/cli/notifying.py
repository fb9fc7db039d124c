"""Who is told when a run of the command line fails: hosts' variables made contacts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from ..errors import IkomaError, StepError
from ..language import Inventory
from ..model import EMPTY

if TYPE_CHECKING:
    from ..journal.store import Store
    from ..notify.contacts import Escalation
    from ..notify.watching import Notifier


class Hosts:
    """The variables of hosts that say who is to be told, rendered."""

    def __init__(self, inventory: Inventory, extra: Mapping[str, Any] = EMPTY) -> None:
        self._inventory, self._extra = inventory, extra
        self.escalation = cache(self._escalation)

    def concerned(self) -> bool:
        """Whether any host says anything about notifications."""
        hosts = self._inventory.hosts.values()
        return any("ikoma_production" in host.vars or "ikoma_contacts" in host.vars for host in hosts)

    def app(self, host: str) -> str:
        try:
            return str(self.variables(host).get("app") or "")
        except IkomaError:
            return ""

    def _escalation(self, host: str) -> Escalation:
        from ..notify.contacts import VARIABLES, escalation

        variables = self.variables(host)
        return escalation({name: variables[name] for name in VARIABLES if name in variables})

    def variables(self, name: str) -> Mapping[str, Any]:
        from ..language.templating import Layer
        from ..language.variables import HostVariables

        host = self._inventory.hosts.get(name)
        if host is None:
            raise StepError(f"the inventory has no host {name}", remedy="Name the inventory that the run had: -i FILE.")
        return HostVariables(host, Layer(self._extra), {"inventory_hostname": name}).outside()


def observers(
    store: Store, inventory: Inventory, extra: Mapping[str, Any], schedule: str | None = None
) -> list[Notifier]:
    """The observer that notifies; none where no host of the inventory says anything about notifications."""
    hosts = Hosts(inventory, extra)
    if not hosts.concerned():
        return []
    import click

    from ..notify.watching import Notifier

    def warn(said: str) -> None:
        click.echo(f"{click.style('warning:', fg='yellow', bold=True)} {said}", err=True)

    return [Notifier(store, hosts.escalation, hosts.app, warn, schedule or "")]
