"""File modes as people write them: "0644", 420 (what YAML makes of 0644), "u=rw,g=r,o="."""

from __future__ import annotations

import re

from ...errors import StepError

BITS = {"r": 4, "w": 2, "x": 1}
SHIFT = {"u": 6, "g": 3, "o": 0}
SPECIAL = {"u": ("s", 0o4000), "g": ("s", 0o2000), "o": ("t", 0o1000)}
CLAUSE = r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)"
_OCTAL = r"(0o?)?[0-7]{1,4}"


def parse_mode(asked: str | int, now: int, directory: bool = False) -> int:
    """The permission bits that `asked` means for something whose bits are `now`. Raises StepError."""
    if isinstance(asked, int):
        # Nobody wants 0o1204, but `mode: 644` without the zero is exactly that number.
        if 512 <= asked <= 777 and not set(str(asked)) - set("01234567"):
            raise StepError(f"mode {asked} is a decimal number", remedy=f'Write it as text: mode: "0{asked}".')
        number = asked
    elif re.fullmatch(_OCTAL, asked):
        number = int(asked, 8)
    else:
        return _symbolic(asked, now, directory)
    if not 0 <= number <= 0o7777:
        raise StepError(f"mode {asked} is not a file mode", remedy='Write four octal digits, such as "0644".')
    return number


def is_absolute(asked: str | int | None) -> bool:
    """Whether it means the same whatever the bits are now."""
    return not isinstance(asked, str) or re.fullmatch(_OCTAL, asked) is not None


def show_mode(mode: int) -> str:
    return f"{mode:04o}"


def _symbolic(asked: str, now: int, directory: bool) -> int:
    mode = now
    for clause in asked.split(","):
        parts = re.fullmatch(CLAUSE, clause.strip())
        if parts is None:
            raise StepError(f"mode {asked!r} is not a file mode", remedy='Write it as "0644", or as in "u=rw,g=r,o=".')
        who = "ugo" if not parts[1] or "a" in parts[1] else parts[1]
        for sign, what in re.findall(r"([-+=])([ugo]|[rwxXst]*)", parts[2]):
            for one in dict.fromkeys(who):
                mode = _changed(mode, one, sign, what, directory)
    return mode


def _changed(mode: int, one: str, sign: str, what: str, directory: bool) -> int:
    shift = SHIFT[one]
    if what in SHIFT:  # "g=u": as that one has it
        bits = mode >> SHIFT[what] & 7
    else:
        bits = sum(BITS[letter] for letter in set(what) & set(BITS))
        if "X" in what and (directory or mode & 0o111):
            bits |= 1
    letter, own = SPECIAL[one]
    special = own if letter in what else 0
    if sign == "+":
        return mode | bits << shift | special
    if sign == "-":
        return mode & ~(bits << shift | special)
    return mode & ~(7 << shift | own) | bits << shift | special
