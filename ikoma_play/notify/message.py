"""What a notification says, in the form that each way wants."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

_COLOURS = {"P1": "#b00020", "P2": "#e65100", "P3": "#f9a825", "P4": "#1565c0"}
_WELL = "#2e7d32"


class Message(Struct, frozen=True):
    """`severity` is "" for good news; `fields` are run, host, step, error, more … in the order to be read."""

    title: str
    severity: str
    fields: Mapping[str, str]

    def as_text(self) -> str:
        width = max(map(len, self.fields), default=0) + 1
        lines = []
        for name, value in self.fields.items():
            first, *rest = value.splitlines() or [""]
            lines.append(f"{name + ':':{width}} {first}")
            lines += [" " * (width + 1) + line for line in rest]
        return "\n".join([self.title, "", *lines, ""])

    def as_slack(self) -> dict[str, Any]:
        """An incoming webhook's body; receivers that know `text` only lose nothing."""
        fields = [
            {"title": name, "value": f"`{value}`" if name == "more" else value, "short": len(value) < 40}
            for name, value in self.fields.items()
        ]
        colour = _COLOURS.get(self.severity, _WELL)
        return {"text": self.as_text(), "attachments": [{"color": colour, "fallback": self.title, "fields": fields}]}

    def as_data(self) -> dict[str, Any]:
        return {"title": self.title, "severity": self.severity, **self.fields}

    def kept(self) -> str:
        """As the outbox keeps it."""
        return json.dumps({"title": self.title, "severity": self.severity, "fields": dict(self.fields)})


def from_kept(text: str) -> Message:
    data = json.loads(text)
    return Message(data["title"], data["severity"], data["fields"])
