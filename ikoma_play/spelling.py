"""The likely correction of a word that nobody knows."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], likeness: float = 0.7) -> str | None:
    """The known word that `word` was probably meant to be, None where none is near.

    `likeness` is how much of both must agree, from 0 to 1; swapped letters always count as near.
    """
    from difflib import get_close_matches

    word = word[:100]
    candidates = list(known)
    for same in (_letters, sorted):
        wanted = same(word)
        if len(wanted) > 2 and (found := next((name for name in candidates if same(name) == wanted), None)):
            return found
    close = get_close_matches(word, candidates, 1, likeness)
    return close[0] if close else None


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """A sentence that names the nearest known word, or `otherwise`."""
    found = nearest(word, known)
    return f"Did you mean '{found}'?" if found else otherwise


def listed(names: Iterable[str], last: str = "or") -> str:
    """`a, b or c`."""
    words = list(names)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else ""


def _letters(word: str) -> str:
    return "".join(letter for letter in word.lower() if letter.isalnum())
