"""Which steps `--tags` and `--skip-tags` choose."""

from __future__ import annotations

from collections.abc import Set


def chosen(tags: Set[str], only: Set[str], skip: Set[str]) -> bool:
    """Whether a step with these tags runs; `only` empty means all of them."""
    if "always" in tags:
        wanted = True
    elif not only or "all" in only:
        wanted = "never" not in tags or bool(tags & only)
    else:
        wanted = bool(tags & only) or ("tagged" in only and bool(tags) and "never" not in tags)
        wanted = wanted or ("untagged" in only and not tags)
    if not wanted or not skip:
        return wanted
    if "all" in skip:
        return "always" in tags and "always" not in skip
    return not (bool(tags & skip) or ("tagged" in skip and bool(tags)) or ("untagged" in skip and not tags))
