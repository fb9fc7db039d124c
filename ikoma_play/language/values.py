"""Values of keywords: checked against their kind, and put into the one form that the model keeps."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ..spelling import did_you_mean
from . import left_out
from .faults import Faults
from .keywords import LEFT_OUT, LEVELS, Keyword, Kind
from .text import Entries, Items, Vaulted, has_template

_TRUE = frozenset(("yes", "on", "true", "1", "y", "t"))
_FALSE = frozenset(("no", "off", "false", "0", "n", "f"))
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# What an expression reads as something else than a variable.
_NO_VARIABLES = frozenset(
    ("and", "else", "if", "import", "in", "is", "not", "or", "true", "false", "none", "True", "False", "None")
)
STRATEGIES = {"linear": "linear", "free": "free", "host_pinned": "free"}
_LARGEST = 10**12
AUTO = "auto"  # rollback: auto
ORDERS = ("inventory", "reverse_inventory", "sorted", "reverse_sorted", "shuffle", "random")


def final(value: Any) -> bool:
    return not has_template(value)


class _Wrong(Exception):
    """The value is not of its kind; says what is wanted where the kind's own words do not."""


class _LeftOut(_Wrong):
    """The value asks for what ikoma-play leaves out on purpose."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


def value_of(keyword: Keyword, value: Any, key: Any, faults: Faults) -> Any:
    """The value in the model's form; None, and a fault, where it is of another kind."""
    read = _READERS.get(keyword.kind)
    if read is None or (value is None and keyword.kind not in (Kind.NAME, Kind.CALL)):
        return value
    try:
        return read(value)
    except _LeftOut as wrong:
        faults.add(left_out.CODE, str(wrong), value, wrong.remedy, otherwise=key)
        return None
    except _Wrong as wrong:
        faults.add(
            "wrong-type", f"'{key}' takes {str(wrong) or keyword.kind.value}, not {what_it_is(value)}", value,
            otherwise=key,
        )  # fmt: skip
        return None


def what_it_is(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value}'" if len(value) <= 40 else "text"
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    return "an encrypted value" if isinstance(value, Vaulted) else f"the number {value}"


def _label(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        raise _Wrong
    if isinstance(value, (bool, int, float)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return value


def _name(value: Any) -> Any:
    if not isinstance(value, str):
        raise _Wrong
    if not is_variable_name(value) and not has_template(value):
        raise _Wrong("the name of a variable (letters, digits and underscores)")
    return value


def is_variable_name(value: Any) -> bool:
    return isinstance(value, str) and bool(VARIABLE_NAME.match(value)) and value not in _NO_VARIABLES


def _flag(value: Any) -> Any:
    if isinstance(value, bool) or has_template(value):
        return value
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
    raise _Wrong


def said_no(value: Any) -> bool:
    """Whether an argument that is true unless said otherwise was said to be false."""
    return value is False or (isinstance(value, str) and value.strip().lower() in _FALSE)


def _number(value: Any) -> Any:
    if has_template(value):
        return value
    if isinstance(value, str):
        try:
            value = float(value) if "." in value else int(value)
        except ValueError:
            raise _Wrong from None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _Wrong
    if not -_LARGEST <= value <= _LARGEST:  # nor is what is no number
        raise _Wrong("a number of seconds, times or hosts")
    return value


def _words(value: Any) -> Any:
    listed = value.split(",") if isinstance(value, str) and not has_template(value) else value
    entries = listed if isinstance(listed, list) else [listed]
    words: list[str] = []
    for entry in entries:
        if isinstance(entry, (dict, list, bool, Vaulted)) or entry is None:
            raise _Wrong
        word = entry.strip() if isinstance(entry, str) and listed is not value else entry
        if isinstance(value, list) and isinstance(word, str) and "," in word and not has_template(word):
            words.extend(part.strip() for part in word.split(","))
        else:
            words.append(word if isinstance(word, str) else str(word))
    return tuple(word for word in words if word)


def _texts(value: Any) -> Any:
    """Names that may hold commas: handlers."""
    entries = value if isinstance(value, list) else [value]
    if any(isinstance(entry, (dict, list, Vaulted)) or entry is None for entry in entries):
        raise _Wrong
    return tuple(entry if isinstance(entry, str) else str(entry) for entry in entries)


def _pattern(value: Any) -> Any:
    entries = value if isinstance(value, list) else [value]
    if not entries or any(not isinstance(entry, (str, int)) or isinstance(entry, bool) for entry in entries):
        raise _Wrong
    if any(isinstance(entry, str) and not entry.strip() for entry in entries):
        raise _Wrong("a host pattern, not an empty one")
    return value


def _conditions(value: Any) -> Any:
    entries = value if isinstance(value, list) else [value]
    if any(isinstance(entry, (dict, list, Vaulted, float)) or entry is None for entry in entries):
        raise _Wrong
    return tuple(entries)


def _list(value: Any) -> Any:
    if not isinstance(value, list) and not has_template(value):
        raise _Wrong
    return value


def _mapping(value: Any) -> Any:
    if not isinstance(value, dict):
        raise _Wrong
    return value


def _arguments(value: Any) -> Any:
    if not isinstance(value, dict) and not (isinstance(value, str) and "=" in value):
        raise _Wrong
    return value


def _layers(value: Any) -> Any:
    entries = value if isinstance(value, list) else [value]
    for entry in entries:
        if not isinstance(entry, dict) and not (isinstance(entry, str) and has_template(entry)):
            raise _Wrong
    return tuple(entries)


def _files(value: Any) -> Any:
    entries = value if isinstance(value, list) else [value]
    for entry in entries:
        inner = entry if isinstance(entry, list) else [entry]
        if not all(isinstance(name, str) and name for name in inner):
            raise _Wrong
    return tuple(entries)


def _steps(value: Any) -> Any:
    if not isinstance(value, list):
        raise _Wrong("a list of steps, each beginning with '- '")
    return value


def _rollback(value: Any) -> Any:
    if value == AUTO:
        return value
    if isinstance(value, list):
        return value
    if isinstance(value, Entries):
        one = Items([value])
        one.position = value.position
        return one
    raise _Wrong("a list of steps, or auto")


def _roles(value: Any) -> Any:
    if not isinstance(value, list):
        raise _Wrong("a list of roles, each beginning with '- '")
    return value


def _batches(value: Any) -> Any:
    entries = value if isinstance(value, list) else [value]
    for entry in entries:
        good = isinstance(entry, int) and not isinstance(entry, bool) and entry >= 0
        if not good and not (isinstance(entry, str) and (has_template(entry) or re.match(r"\d+%?$", entry))):
            raise _Wrong
    return value


def _connection(value: Any) -> Any:
    return _known_to(left_out.connection, _label(value))


def _method(value: Any) -> Any:
    return _known_to(left_out.become_method, _label(value))


def _known_to(judge: Callable[[Any], tuple[str, str] | None], value: Any) -> Any:
    if not has_template(value) and (out := judge(value)):
        raise _LeftOut(*out)
    return value


def _strategy(value: Any) -> Any:
    name = str(value).removeprefix("ansible.builtin.")
    if name not in STRATEGIES:
        if out := left_out.strategy(name):
            raise _LeftOut(*out)
        raise _Wrong
    return STRATEGIES[name]


def _order(value: Any) -> Any:
    if value not in ORDERS:
        raise _Wrong
    return "shuffle" if value == "random" else str(value)


def _scope(value: Any) -> Any:
    if value not in ("host", "all", "none"):
        raise _Wrong
    return str(value)


def _schedule(value: Any) -> Any:
    if not isinstance(value, (str, Entries)):
        raise _Wrong
    return value


def _catch_up(value: Any) -> Any:
    if value not in ("once", "skip"):
        raise _Wrong
    return str(value)


_READERS: dict[Kind, Callable[[Any], Any]] = {
    Kind.LABEL: _label, Kind.NAME: _name, Kind.FLAG: _flag, Kind.NUMBER: _number, Kind.WORDS: _words,
    Kind.NAMES: _texts,
    Kind.PATTERN: _pattern, Kind.CONDITIONS: _conditions, Kind.LIST: _list, Kind.MAPPING: _mapping,
    Kind.ARGUMENTS: _arguments,
    Kind.LAYERS: _layers, Kind.FILES: _files, Kind.STEPS: _steps, Kind.ROLLBACK: _rollback, Kind.ROLES: _roles,
    Kind.PROMPTS: _list, Kind.LOOP_CONTROL: _mapping, Kind.BATCHES: _batches, Kind.STRATEGY: _strategy,
    Kind.ORDER: _order, Kind.SCOPE: _scope, Kind.CONNECTION: _connection, Kind.METHOD: _method,
    Kind.SCHEDULE: _schedule, Kind.CATCH_UP: _catch_up,
}  # fmt: skip


def keyword_values(written: Entries, level: str, faults: Faults, others: bool = False) -> dict[str, Any]:
    """The keywords of one level by name, in the model's form; what is None was not said.

    Unknown keys are faults unless `others` says that the caller looks at them.
    """
    known = LEVELS[level]
    found: dict[str, Any] = {}
    for key, value in written.items():
        keyword = known.get(key) if isinstance(key, str) else None
        if keyword is not None:
            value = value_of(keyword, value, key, faults)
            if keyword.name == "vars" and isinstance(value, dict):
                check_variable_names(value, faults)
            if value is not None:
                found[keyword.name] = value
        elif not others:
            unknown_keyword(key, level, faults, written)
    return found


def unknown_keyword(key: Any, level: str, faults: Faults, within: Any = None) -> None:
    """The fault for a word that this level does not have, with what was probably meant."""
    known = LEVELS[level]
    if isinstance(key, str) and key in LEFT_OUT:
        faults.add("unsupported-keyword", f"'{key}' is not part of ikoma-play", key, LEFT_OUT[key])
        return
    remedy = did_you_mean(str(key), known)
    elsewhere = [place for place, words in LEVELS.items() if key in words and place in _PLACES]
    if isinstance(key, str) and elsewhere and not (remedy and key not in LEVELS[elsewhere[0]]):
        remedy = f"It belongs to {' or '.join(dict.fromkeys(_PLACES[place] for place in elsewhere))}."
    faults.add("unknown-keyword", f"{_A[level]} has no keyword '{key}'", key, remedy, otherwise=within)


_PLACES = {"play": "a play", "block": "a block", "step": "a step", "handler": "a handler", "loop_control":
           "loop_control"}  # fmt: skip
_A = _PLACES | {
    "role": "a role",
    "import": "import_playbook",
    "vars_prompt": "a question of vars_prompt",
    "schedule": "a schedule",
}


def check_variable_names(variables: Mapping[Any, Any], faults: Faults) -> None:
    for name in variables:
        if not is_variable_name(name):
            faults.add(
                "bad-variable-name", f"'{name}' cannot be the name of a variable", name,
                "Quote it: YAML reads on, off, yes and no as true and false, which are no names either."
                if isinstance(name, bool)
                else "Names consist of letters, digits and underscores and do not begin with a digit.",
                otherwise=variables,
            )  # fmt: skip
