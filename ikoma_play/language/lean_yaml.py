"""yaml, loaded without compiling what only its own parser asks for: here one written in C reads."""

from __future__ import annotations

from ..lean import late_patterns

with late_patterns():
    import yaml

__all__ = ["yaml"]
