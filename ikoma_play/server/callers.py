"""Who calls: the key that was sent, what it may do, and the role that this call asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..model import Access
from ..platform.api_keys import Key
from ..spelling import did_you_mean, listed
from .answers import Refusal, wrong_fields
from .limiting import FAILURES, Limits

ROLES: Mapping[str, Access] = {access.label: access for access in Access}
FindKey = Callable[[str], Key | None]
"""Whose key this is, None where it is nobody's; takes as long either way."""


def authenticated(key: str, address: str, find: FindKey, limits: Limits) -> Key:
    """Whose key it is. Raises Refusal: 401, or 429 for an address that was wrong too often."""
    limits.demand(FAILURES, address)
    found = find(key) if key else None
    if found is None:
        limits.count(FAILURES, address)
        what = "the key is not valid" if key else "no key was sent"
        raise Refusal(401, "unauthorized", what, remedy="Send a valid key in the header X-Api-Key.")
    return found


def role_of(key: Key, header: str | None) -> Access:
    """The role that a call has: the key's own, or the lower one that X-Role asks for. Raises Refusal for what is
    no role, an empty one too: whoever sends it meant to lower what the key may do."""
    if header is None:
        return key.access
    asked = ROLES.get(header.strip().lower())
    if asked is None:
        said = f"X-Role is none of {listed(ROLES)}"
        raise wrong_fields({"X-Role": said}, did_you_mean(header.strip()[:40], ROLES))
    return min(asked, key.access)


def demand_access(required: Access, current: Access, what: str) -> None:
    """Raises Refusal: 403 with the role that is required and the one that the call has."""
    if current < required:
        raise Refusal(
            403, "forbidden", f"{what} needs the role {required.label}, and this call has {current.label}",
            required=required.label, current=current.label,
            remedy="Use a key of that role; X-Role only lowers what a key may do.",
        )  # fmt: skip


def demand_reach(key: Key, host: str, app: str | None) -> None:
    """Raises Refusal where the key is limited to other hosts or applications."""
    if not key.allows_host(host):
        raise _out_of_reach(f"the host {host}", f"the hosts {listed(key.hosts, 'and')}")
    if not key.allows_application(app):
        asked = f"the application {app}" if app else "calls that are about no application"
        raise _out_of_reach(asked, f"the applications {listed(key.applications, 'and')}")


def _out_of_reach(asked: str, allowed: str) -> Refusal:
    return Refusal(
        403, "forbidden", f"this key is not for {asked}", required=f"a key for {asked}", current=f"a key for {allowed}"
    )
