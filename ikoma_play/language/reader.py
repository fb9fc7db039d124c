"""From a file of YAML to values with positions, in one pass over the parser's events.

YAML 1.1 as Ansible reads it (yes and no, 0644 in octal, 22:30 in base sixty), except that dates
stay text. Whatever the input, the end is a value or a Fault: nesting, aliases and size are bounded.
"""

from __future__ import annotations

import re
from typing import Any

from ..model import Position
from .faults import Faults, shown_path
from .lean_yaml import yaml
from .scalars import TAGGED, plain
from .text import Entries, Items, Revealed, Text, Unsafe, Vaulted
from .yaml_remedies import syntax_fault

MAX_BYTES = 16_000_000
MAX_DEPTH = 100
MAX_VALUES = 2_000_000  # counted with every alias written out

_Parser: Any = getattr(yaml, "CLoader", yaml.Loader)
_VAULT_FILE = "$ANSIBLE_VAULT;"


class Unreadable(Exception):
    """A file could not be read; the fault has been added."""


def read(path: str, faults: Faults, at: Any = None, what: str = "file") -> Any:
    """The one document of a YAML file, None where it is empty. Raises Unreadable; `at` asked for it."""
    text = read_text(path, faults, at, what)
    if text.startswith(_VAULT_FILE):
        return read_yaml(_revealed(text, path, faults), shown_path(path), faults, Revealed)
    return read_yaml(text, shown_path(path), faults)


def _revealed(text: str, path: str, faults: Faults) -> str:
    """The text of an encrypted file. Raises Unreadable."""
    from .vault import KEYS, VaultError

    name = shown_path(path)
    try:
        return KEYS.decrypt(text).decode("utf-8-sig")
    except VaultError as error:
        faults.add("encrypted", f"{name}: {error.message}", Position(name, 1), error.remedy)
    except UnicodeDecodeError:
        faults.add("not-text", f"{name} holds what is not UTF-8 text", Position(name, 1))
    raise Unreadable


def read_text(path: str, faults: Faults, at: Any = None, what: str = "file") -> str:
    """A file's text. Raises Unreadable."""
    name = shown_path(path)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        faults.add("missing-file", f"cannot read the {what} {name}: {reason}", at)
        raise Unreadable from None
    if len(data) > MAX_BYTES:
        faults.add("too-large", f"{name} is larger than {MAX_BYTES // 1_000_000} MB", Position(name, 1))
        raise Unreadable
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        faults.add("not-text", f"{name} is not UTF-8 text", Position(name, line), "Save it as UTF-8.")
        raise Unreadable from None


def read_yaml(text: str, name: str, faults: Faults, kind: type[Text] = Text) -> Any:
    """The one document in `text`, its values of text being of this kind. Raises Unreadable."""
    try:
        return _Builder(text, name, faults, kind).build()
    except yaml.YAMLError as error:
        faults.take((syntax_fault(error, text, name),))
    except (UnicodeEncodeError, ValueError):
        faults.add("syntax", f"{name} holds characters that are not text", Position(name, 1))
    raise Unreadable


class _Frame:
    """A mapping or list that is being filled."""

    __slots__ = ("anchor", "into", "key", "merges", "size", "tag", "waiting")

    def __init__(self, into: Entries | Items, anchor: str | None, tag: str | None) -> None:
        self.into = into
        self.anchor = anchor
        self.tag = tag
        self.size = 1
        self.waiting = False  # a mapping whose key was read, its value not yet
        self.key: Any = None
        self.merges: list[tuple[Any, Any]] | None = None


_MERGE = object()


class _Builder:
    """Reads one text. Faults that leave the structure whole are added and reading goes on."""

    def __init__(self, text: str, name: str, faults: Faults, kind: type[Text] = Text) -> None:
        self.text = text
        self.kind = kind
        self.name = name
        self.faults = faults
        self.stack: list[_Frame] = []
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.open_anchors: set[str] = set()
        self.root: Any = None
        self.values = 0
        self.spelling: str | None = None  # of the scalar just read, where its value looks otherwise

    def build(self) -> Any:
        parser = _Parser(self.text)
        try:
            next_event = parser.get_event
            documents = 0
            while True:
                event = next_event()
                kind = type(event)
                if kind is yaml.ScalarEvent:
                    self._scalar(event)
                elif kind is yaml.MappingStartEvent:
                    self._open(event, Entries())
                elif kind is yaml.SequenceStartEvent:
                    self._open(event, Items())
                elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                    self._close()
                elif kind is yaml.AliasEvent:
                    self._alias(event)
                elif kind is yaml.DocumentStartEvent:
                    documents += 1
                    if documents > 1:
                        self._fault("several-documents", "there is a second document in this file", event, "Remove it.")
                        return self.root
                elif kind is yaml.StreamEndEvent:
                    return self.root
        finally:
            parser.dispose()

    def _position(self, event: Any) -> Position:
        mark = event.start_mark
        return Position(self.name, mark.line + 1, mark.column + 1)

    def _fault(self, code: str, message: str, at: Any, remedy: str = "") -> None:
        self.faults.add(code, message, at if isinstance(at, Position) else self._position(at), remedy)

    def _stop(self, code: str, message: str, at: Any, remedy: str = "") -> None:
        self._fault(code, message, at, remedy)
        raise Unreadable

    # --- events ---

    def _scalar(self, event: Any) -> None:
        text, tag = event.value, event.tag
        value: Any
        if tag is None:
            value = plain(text) if event.implicit[0] else text
            if value == "<<" and event.implicit[0] and self._expects_key():
                value = _MERGE
        elif tag == "!vault" or tag == "!vault-encrypted":
            value = Vaulted(text, self._position(event))
        elif tag == "!unsafe":
            value = Unsafe(text)
            value.position = self._position(event)
        else:
            value = self._tagged(tag, text, event)
        if type(value) is str:
            value = Text(value) if self._expects_key() else self.kind(value)
            value.position = self._position(event)
        elif type(value) in _RESPELLED and _spelled(value) != text:
            self.spelling = text
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, 1)
        self._put(value, 1, event)
        self.spelling = None

    def _tagged(self, tag: str, text: str, event: Any) -> Any:
        make = TAGGED.get(tag)
        if make is None:
            self._fault("unknown-tag", f"the tag {_short_tag(tag)} means nothing here", event, _TAGS)
            return text
        try:
            return make(text)
        except ValueError:
            self._fault("wrong-type", f"'{text[:60]}' is not what its tag {_short_tag(tag)} says", event)
            return text

    def _open(self, event: Any, into: Entries | Items) -> None:
        into.position = self._position(event)
        if len(self.stack) >= MAX_DEPTH:
            self._stop("too-deep", f"nested more than {MAX_DEPTH} levels deep", event)
        if self._expects_key():
            self._bad_key(event)
        if event.tag is not None and event.tag not in _COLLECTION_TAGS:
            self._fault("unknown-tag", f"the tag {_short_tag(event.tag)} means nothing here", event, _TAGS)
        if event.anchor is not None:
            self.open_anchors.add(event.anchor)
        self.stack.append(_Frame(into, event.anchor, event.tag))

    def _close(self) -> None:
        frame = self.stack.pop()
        if frame.merges:
            self._merge(frame)
        if frame.anchor is not None:
            self.open_anchors.discard(frame.anchor)
            self.anchors[frame.anchor] = (frame.into, frame.size)
        self._put(frame.into, frame.size, None)

    def _alias(self, event: Any) -> None:
        name = event.anchor
        if name in self.open_anchors:
            self._stop("recursive-alias", f"*{name} stands inside what it refers to", event, _STAR)
        if name not in self.anchors:
            self._stop("unknown-alias", f"there is no anchor &{name} above for *{name}", event, _STAR)
        value, size = self.anchors[name]
        if isinstance(value, (dict, list)) and self._expects_key():
            self._bad_key(event)
        self._put(value, size, event)

    # --- structure ---

    def _expects_key(self) -> bool:
        if not self.stack:
            return False
        frame = self.stack[-1]
        return not frame.waiting and type(frame.into) is Entries

    def _bad_key(self, event: Any) -> None:
        line = self.text.splitlines()[event.start_mark.line]
        if "{{" in line:
            self._stop(
                "unquoted-template", "a value that begins with {{ must be quoted", self._template_start(event, line),
                f"Write {_quoted_value(line)}.",
            )  # fmt: skip
        self._stop("wrong-key", "the name of an entry must be text, not a mapping or list", event)

    def _template_start(self, event: Any, line: str) -> Position:
        found = line.find("{{")
        column = found if found >= 0 else event.start_mark.column
        return Position(self.name, event.start_mark.line + 1, column + 1)

    def _put(self, value: Any, size: int, event: Any) -> None:
        self.values += 1
        if not self.stack:
            self.root = value
            return
        frame = self.stack[-1]
        frame.size += size
        if frame.size > MAX_VALUES:
            where = event or frame.into.position
            self._stop("too-large", f"aliases written out make more than {MAX_VALUES:,} values", where)
        into = frame.into
        if type(into) is Items:
            into.append(value)
        elif frame.waiting:
            frame.waiting = False
            self._entry(frame, frame.key, value)
            if self.spelling is not None and event is not None and isinstance(into, Entries):
                into.written = {**getattr(into, "written", {}), frame.key: self.spelling}
        else:
            frame.key = value
            frame.waiting = True

    def _entry(self, frame: _Frame, key: Any, value: Any) -> None:
        into = frame.into
        assert isinstance(into, Entries)
        if key is _MERGE:
            frame.merges = frame.merges or []
            frame.merges.append((key, value))
        elif isinstance(key, Vaulted):
            self._fault("wrong-key", "the name of an entry cannot be encrypted", key.position)
        elif key in into:
            first = next(known for known in into if known == key)
            line = f" (first in line {first.position.line})" if isinstance(first, Text) else ""
            where = key.position if isinstance(key, Text) else into.position
            self._fault("duplicate-key", f"'{key}' stands here twice{line}", where, "Keep one of them.")
        else:
            into[key] = value

    def _merge(self, frame: _Frame) -> None:
        """Entries of `<<` mappings that the mapping itself does not have; the first of a list counts."""
        into = frame.into
        for _, merged in frame.merges or ():
            for source in merged if isinstance(merged, list) else [merged]:
                if not isinstance(source, dict):
                    self._fault("wrong-type", "<< takes a mapping or a list of mappings", into.position)
                    continue
                for key, value in source.items():
                    into.setdefault(key, value)  # type: ignore[union-attr]


_RESPELLED = frozenset((bool, int, float))


def _spelled(value: Any) -> str:
    """A value as most people write it."""
    return str(value).lower() if type(value) is bool else str(value)


_TAGS = "Tags for values are !vault and !unsafe; text that begins with ! must be quoted."
_STAR = "Text that begins with * must be quoted."
_COLLECTION_TAGS = frozenset(
    ("!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:omap", "!unsafe")
)


def _short_tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")


def _quoted_value(line: str) -> str:
    """The line's value from its first {{ on, in the quotes it needs."""
    found = re.search(r"\{\{.*", line.rstrip("\r"))
    value = re.sub(r"\s+#.*$", "", found[0]).strip() if found else "{{ … }}"
    quote = "'" if '"' in value else '"'
    return f"{quote}{value}{quote}" if len(value) <= 100 else "the whole value in quotes"
