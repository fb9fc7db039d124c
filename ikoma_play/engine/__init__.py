"""Plays, steps, retries and rollback: runs playbooks on hosts and tells observers what happens.

run(playbooks, inventory, tools, options, observers, connect) -> Report
plan(playbooks, inventory, tools, options) -> list[PlannedStep], no host touched
"""

from __future__ import annotations

from .options import Confirm, Options
from .plan import PlannedStep, plan
from .run import run

__all__ = ["Confirm", "Options", "PlannedStep", "plan", "run"]
