"""A transport whose shell runs scripts itself, without starting another one."""

from __future__ import annotations

from abc import abstractmethod
from typing import BinaryIO

from ..model import Result
from .shelled import ShelledTransport


class ScriptedTransport(ShelledTransport):
    @abstractmethod
    def run_script(
        self, script: str, *arguments: str, stdin: bytes | BinaryIO | None = None, changes: bool = True
    ) -> Result:
        """Run lines of shell with arguments in a copy of the open shell."""
