"""A transport whose shell runs scripts itself, without starting another one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import BinaryIO

from ..model import Result
from .shelled import ShelledTransport


class ScriptedTransport(ShelledTransport):
    @abstractmethod
    def run_script(
        self,
        script: str,
        *arguments: str,
        stdin: bytes | BinaryIO | None = None,
        changes: bool = True,
        on_output: Callable[[bytes], None] | None = None,
    ) -> Result:
        """Run lines of shell with arguments in a copy of the open shell."""
