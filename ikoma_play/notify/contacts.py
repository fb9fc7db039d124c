"""Severities and contacts, as the inventory's variables name them.

ikoma_severities: {P1: {meaning: …, response: 15 minutes, contacts: [on-call]}, …}
ikoma_contacts:   {on-call: {webhook: URL, email: [ADDRESS…], command: [ARGV…]}, …}
ikoma_smtp:       {host: …, port: 25, from: …, user: …, password: …, security: none|starttls|tls}
ikoma_team:       [CONTACT…]      who hears of a success
ikoma_production: true            a failing play on this host notifies
ikoma_severity:   P1              that of every failure here; else what became of the play decides
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from ..errors import StepError
from ..model import EMPTY

NAMES = ("P1", "P2", "P3", "P4")
KINDS = ("webhook", "email", "command")
VARIABLES = ("ikoma_severities", "ikoma_contacts", "ikoma_smtp", "ikoma_team", "ikoma_production", "ikoma_severity")


class Severity(Struct, frozen=True):
    """How bad it is, how soon somebody must answer, and who."""

    name: str
    meaning: str
    response: str
    contacts: tuple[str, ...]


class Way(Struct, frozen=True):
    """One way to a contact: an URL, mail addresses or an argv list. What it says may be secret."""

    kind: str
    target: Any


class Escalation(Struct, frozen=True):
    """What one host's variables say about who is to be told."""

    severities: Mapping[str, Severity]
    contacts: Mapping[str, tuple[Way, ...]]
    smtp: Mapping[str, Any] = EMPTY
    team: tuple[str, ...] = ()
    production: bool = False
    severity: str = ""

    def reached(self, name: str) -> list[str]:
        """The contacts of a severity that there is a way to."""
        return [contact for contact in self.severities[name].contacts if self.contacts.get(contact)]


DEFAULTS = {
    "P1": Severity("P1", "critical: production is down", "15 minutes", ("on-call",)),
    "P2": Severity("P2", "high: the service is degraded", "1 hour", ("platform",)),
    "P3": Severity("P3", "medium: a minor problem", "4 hours", ("support",)),
    "P4": Severity("P4", "low: a question", "24 hours", ("documentation",)),
}


def escalation(values: Mapping[str, Any]) -> Escalation:
    """The severities and contacts that variables name. Raises StepError saying what is wrong where."""
    contacts = {str(name): tuple(_ways(str(name), ways)) for name, ways in _mapping(values, "ikoma_contacts").items()}
    severities = dict(DEFAULTS)
    for name, said in _mapping(values, "ikoma_severities").items():
        severities[str(name)] = _severity(str(name), said)
    chosen = str(values.get("ikoma_severity") or "")
    if chosen and chosen not in severities:
        raise StepError(f"ikoma_severity is {chosen!r}", remedy=f"Use one of: {', '.join(severities)}.")
    team = _names(values.get("ikoma_team") or (), "ikoma_team")
    known = {*contacts, *(name for one in DEFAULTS.values() for name in one.contacts)}
    named = {*team, *(name for one in severities.values() for name in one.contacts)}
    if contacts and (unknown := sorted(named - known)):
        raise StepError(
            f"ikoma_contacts has no {', '.join(unknown)}, which a severity or ikoma_team names",
            remedy=f"It has: {', '.join(contacts)}.",
        )
    production = values.get("ikoma_production", False)
    return Escalation(
        severities,
        contacts,
        _mapping(values, "ikoma_smtp"),
        team,
        production is True or str(production).lower() in ("true", "yes", "1"),
        chosen,
    )


def _severity(name: str, said: Any) -> Severity:
    if name not in NAMES or not isinstance(said, Mapping):
        raise StepError(
            f"ikoma_severities.{name} is no severity",
            remedy="Write P1 to P4, each with meaning, response and contacts.",
        )
    before = DEFAULTS[name]
    unknown = set(said) - {"meaning", "response", "contacts"}
    if unknown:
        raise StepError(
            f"ikoma_severities.{name} has {', '.join(sorted(map(str, unknown)))}",
            remedy="It takes meaning, response and contacts.",
        )
    contacts = _names(said.get("contacts", before.contacts), f"ikoma_severities.{name}.contacts")
    return Severity(
        name, str(said.get("meaning", before.meaning)), str(said.get("response", before.response)), contacts
    )


def _ways(name: str, ways: Any) -> list[Way]:
    if not isinstance(ways, Mapping) or set(ways) - set(KINDS):
        raise StepError(
            f"ikoma_contacts.{name} must say webhook, email or command, and nothing else",
            remedy=f"For instance: {name}: {{email: [somebody@example.org]}}",
        )
    found = []
    for kind, target in ways.items():
        if not target:
            continue
        if kind == "webhook":
            if not str(target).startswith(("http://", "https://")):
                raise StepError(f"ikoma_contacts.{name}.webhook is no http or https URL")
            found.append(Way(kind, str(target)))
        else:
            found.append(Way(kind, _names(target, f"ikoma_contacts.{name}.{kind}")))
    return found


def _names(value: Any, where: str) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Sequence) or not all(isinstance(one, str | int | float) for one in value):
        raise StepError(f"{where} must be a list of words")
    return tuple(str(one) for one in value)


def _mapping(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = values.get(name) or {}
    if not isinstance(value, Mapping):
        raise StepError(f"{name} must be a mapping")
    return value
