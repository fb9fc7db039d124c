"""The verbs about files that take one round trip where the plain ones take several."""

from __future__ import annotations

from .shelled import ShelledTransport


class SshFiles(ShelledTransport):
    """Files of a host that is reached through shells kept open."""
