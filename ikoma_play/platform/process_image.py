"""The code that a process runs: a copy of the build context, as an image is for a container.

    {sandbox_root}/images/APP/DIGEST/

What runs does not change under its feet when the source does, the version before is still there when a new one
does not come up, and the digest tells whether two are the same.
"""

from __future__ import annotations

import errno
import secrets
import shutil
from collections.abc import Collection
from pathlib import Path

from ..errors import NotFound, StepError, Unavailable
from .source_tree import SourceTree, source_tree

_SHOWN = 24  # hex digits of the digest in a directory's name


class Images:
    """The images of one application."""

    def __init__(self, root: Path, app: str) -> None:
        self.root = root
        self.folder = root / "images" / app

    def look(self, context: str) -> SourceTree:
        """The code as it is now. Raises NotFound."""
        if not Path(context).is_dir():
            raise NotFound(
                f"the build context {context} is not there", remedy="Put the source in place first: apps.source"
            )
        return source_tree(Path(context))

    def place(self, tree: SourceTree) -> Path:
        return self.folder / tree.digest[:_SHOWN]

    def make(self, tree: SourceTree) -> Path:
        """The directory with the code's copy, whole. Raises Unavailable when the disk is full."""
        place = self.place(tree)
        if place.is_dir():
            return place
        part = self.folder / f".part-{secrets.token_hex(4)}"
        try:
            part.mkdir(parents=True)
            for entry in tree.entries:
                target = part / entry.path
                target.parent.mkdir(parents=True, exist_ok=True)
                if entry.target:
                    target.symlink_to(entry.target)
                else:
                    shutil.copyfile(tree.root / entry.path, target)
                    target.chmod(entry.mode)
            part.rename(place)
        except OSError as error:
            shutil.rmtree(part, ignore_errors=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise Unavailable(
                    f"the code in {tree.root} could not be copied: the disk of {self.root} is full",
                    remedy=f"Free space there; df -h {self.root} shows how much is left.",
                ) from None
            raise StepError(f"the code in {tree.root} could not be copied: {error}") from None
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        return place

    def keep(self, places: Collection[Path]) -> None:
        """Remove all others."""
        if not self.folder.is_dir():
            return
        for entry in self.folder.iterdir():
            if entry not in places:
                shutil.rmtree(entry, ignore_errors=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()
