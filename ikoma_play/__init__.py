"""ikoma-play: the runbook as a program."""

__version__ = "0.1.0"
