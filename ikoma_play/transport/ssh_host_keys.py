"""The host is who it should be, or nothing is said to it."""

from __future__ import annotations

import shlex

from ..errors import Unreachable
from .host_certificate import Certificate, key_type
from .known_hosts import Answer, KnownHosts, Verdict, line
from .ssh_settings import ACCEPT_NEW, Settings
from .ssh_wire import CERTIFIED, Wire


def demand_known(wire: Wire, settings: Settings, known: KnownHosts) -> None:
    """Raises Unreachable with the fingerprint and what accepts the key."""
    name, blob = settings.known_name, wire.host_key_blob
    answer = known.check(name, blob)
    if answer.verdict is Verdict.KNOWN:
        return
    plain = Certificate.parsed(blob).key if key_type(blob).endswith(CERTIFIED) else blob
    if answer.verdict is Verdict.UNKNOWN and settings.host_keys == ACCEPT_NEW:
        try:
            known.add(name, plain)
        except OSError as error:
            raise Unreachable(
                f"{settings.name}: its host key cannot be noted in {settings.known_hosts[0]}: {error.strerror}",
                remedy="Let that file be written, or note the key yourself.",
            ) from None
        return
    raise _refusal(settings, answer, name, plain)


def _refusal(settings: Settings, answer: Answer, name: str, blob: bytes) -> Unreachable:
    kind = key_type(blob).removeprefix("ssh-").removeprefix("ecdsa-sha2-").upper()
    shown = f"{kind} {answer.fingerprint}"
    where = f"{settings.name}: {settings.address}:{settings.port}"
    file = settings.known_hosts[0]
    accept = f"echo {shlex.quote(line(name, blob))} >> {shlex.quote(file)}"
    if answer.verdict is Verdict.UNKNOWN:
        return Unreachable(
            f"{where} is not known yet; its host key is {shown}",
            remedy=f"Compare the fingerprint with the host's own (ssh-keygen -l there), then accept it: {accept}",
        )
    if answer.verdict is Verdict.CHANGED:
        old = ", ".join(f"{entry.file}:{entry.line}" for entry in answer.entries)
        forget = f"ssh-keygen -R {shlex.quote(name)} -f {shlex.quote(file)}"
        return Unreachable(
            f"{where} has changed its host key, or is another machine: it shows {shown}, not what is in {old}",
            remedy=f"If the host was set up anew: {forget} && {accept}. If not, somebody may be listening in between.",
        )
    if answer.verdict is Verdict.REVOKED:
        old = ", ".join(f"{entry.file}:{entry.line}" for entry in answer.entries)
        return Unreachable(
            f"{where} shows a host key that is revoked ({old}): {shown}",
            remedy="The key has fallen into other hands: give the host a new one.",
        )
    return Unreachable(
        f"{where} shows a host certificate that is not accepted: {answer.why}", remedy="Have its certificate renewed."
    )
