"""Argument types that several tools share; messages about a wrong value quote their descriptions."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

# `$` also matches before a final newline, hence the look-ahead.
AppName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_-]{1,64}$(?!\n)",
        description="a name of 1 to 64 letters, digits, underscores and hyphens",
    ),
]

BackupName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$(?!\n)",
        description="a file name of at most 128 letters, digits, underscores, hyphens and dots, with no directory",
    ),
]

ServiceName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$(?!\n)",
        description="a service's name as the compose file spells it",
    ),
]

# What git may call a commit, tag or branch; no leading hyphen, so that it is never taken for an option.
GitRef = Annotated[
    str,
    Meta(
        pattern=r"^(?![-/.])(?!.*(?:\.\.|//|@\{))[A-Za-z0-9_./@+#-]{1,255}$(?!\n)",
        description="a git tag, branch or commit",
    ),
]

Seconds = Annotated[float, Meta(ge=0, description="a number of seconds from 0 up")]
Count = Annotated[int, Meta(ge=0, description="a whole number from 0 up")]
Port = Annotated[int, Meta(ge=1, le=65535, description="a port number from 1 to 65535")]

# "0644" quoted, u=rw,g=r words, or the number that YAML makes of an unquoted 0644.
FileMode = str | int
