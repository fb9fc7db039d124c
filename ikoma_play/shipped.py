"""Where the playbooks, roles and inventory that come with the package lie."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def root() -> Path:
    """The folder that holds `playbooks/`, `roles/` and `inventory.yml`: the checkout, or the installed package."""
    installed = PACKAGE / "share"
    return installed if installed.is_dir() else PACKAGE.parent


def playbooks() -> Path:
    return root() / "playbooks"


def roles() -> Path:
    return root() / "roles"


def inventory() -> Path:
    return root() / "inventory.yml"
