"""A configuration file, read once and turned into typed settings: the Swift module Configuration, for Python.

Whoever reads a section asks it for every setting by name; a value that is not what is expected, a missing one and a key
that nobody asked for are problems, each with its line, and all of them are told at once. `tests/test_settings.py` shows
that the words are those of `vigie-processor check`.
"""

import dataclasses
import math
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import yaml

LARGEST_FILE = 1 << 20
"""Bytes that are read of a file."""
DEEPEST = 32
"""The deepest nesting that is read."""
MOST_VALUES = 100_000
"""The most values that are read."""


class SettingsError(Exception):
    """The configuration asks for something that is not a setting, or that this engine cannot do."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a file: where (from 1; line 0 is the file as a whole), and what to write instead."""

    file: str
    line: int
    column: int
    path: tuple[str, ...]
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join((place, *self.path, self.message))


class ConfigurationError(SettingsError):
    """Everything that is wrong in a file, one problem a line, in the order of its lines."""

    def __init__(self, problems: Iterable[Problem]):
        self.problems = sorted(problems, key=lambda problem: (problem.line, problem.column))
        super().__init__("\n".join(map(str, self.problems)))


# MARK: Values


@dataclasses.dataclass(frozen=True)
class Setting:
    """How a setting's text becomes a value.

    `expected` completes the sentence "expected ...". `convert` gives None for what is not expected; `stand_in` then
    takes its place until the problems are told.
    """

    expected: str
    stand_in: object
    convert: Callable[[str], object]


def _within(least, most, write: Callable[[object], str]) -> str:
    match least, most:
        case None, None:
            return ""
        case _, None:
            return f" of at least {write(least)}"
        case None, _:
            return f" of at most {write(most)}"
    return f" between {write(least)} and {write(most)}"


def _in_range(value, least, most):
    is_inside = value is not None and (least is None or value >= least) and (most is None or value <= most)
    return value if is_inside else None


TEXT = Setting("a text", "", lambda text: text if text and "\0" not in text else None)
BOOLEAN = Setting(
    "true or false", False,
    {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}.get,
)  # fmt: skip


def choice(*names: str) -> Setting:
    """One of several words."""
    expected = names[0] if len(names) == 1 else f"one of {', '.join(names)}"
    return Setting(expected, names[0], lambda text: text if text in names else None)


def whole_number(least: int | None = None, most: int | None = None) -> Setting:
    """A whole number, in decimal or as 0x hexadecimal."""

    def convert(text: str) -> int | None:
        if re.fullmatch(r"0x[0-9a-fA-F]+", text):
            return _in_range(int(text, 16), least, most)
        return _in_range(int(text), least, most) if re.fullmatch(r"[+-]?[0-9]+", text) else None

    return Setting("a whole number" + _within(least, most, str), least or 0, convert)


def number(least: float | None = None, most: float | None = None) -> Setting:
    """A finite number."""

    def convert(text: str) -> float | None:
        try:
            if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
                value = float(text)
            elif re.fullmatch(r"[+-]?0[xX][0-9a-fA-F.]+([pP][+-]?[0-9]+)?", text):
                value = float.fromhex(text)
            else:
                return None
        except (ValueError, OverflowError):
            return None
        return _in_range(value, least, most) if math.isfinite(value) else None

    return Setting("a number" + _within(least, most, lambda bound: repr(float(bound))), least or 0.0, convert)


_DURATIONS = {"us": 1, "ms": 1000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_SIZES = {"": 1, "B": 1, "kB": 1000, "KiB": 1 << 10, "MB": 1_000_000, "MiB": 1 << 20,
          "GB": 1_000_000_000, "GiB": 1 << 30, "TB": 1_000_000_000_000, "TiB": 1 << 40}  # fmt: skip


def _with_unit(text: str, units: Mapping[str, int]) -> int | None:
    match = re.fullmatch(r"([0-9]+)(.*)", text)
    if not match or match[2] not in units:
        return None
    value = int(match[1]) * units[match[2]]
    return value if value < 1 << 63 else None


def _write_duration(milliseconds: int) -> str:
    for unit, microseconds in reversed(_DURATIONS.items()):
        if milliseconds and milliseconds * 1000 % microseconds == 0:
            return f"{milliseconds * 1000 // microseconds}{unit}"
    return "0s"


def duration(least: int = 0, most: int | None = None) -> Setting:
    """A duration such as `500ms`, `10s`, `15m`, `2h` or `1d`, in milliseconds, rounded down."""

    def convert(text: str) -> int | None:
        value = _with_unit(text, _DURATIONS)
        is_inside = value is not None and value >= least * 1000 and (most is None or value <= most * 1000)
        return value // 1000 if is_inside else None

    bounds = _within(least, most, _write_duration) if least or most is not None else ""
    return Setting("a duration such as 10s" + bounds, least, convert)


def size(least: int = 0) -> Setting:
    """A number of bytes such as `512KiB` or `64MiB`."""
    unit, factor = next((pair for pair in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))
                         if least and least % pair[1] == 0), ("B", 1))  # fmt: skip
    bounds = f" of at least {least // factor}{unit}" if least else ""
    return Setting("a size such as 64MiB" + bounds, least,
                   lambda text: _in_range(_with_unit(text, _SIZES), least, None))  # fmt: skip


# MARK: The document


@dataclasses.dataclass(frozen=True)
class Mark:
    """A place in a file; line and column count from 1."""

    line: int
    column: int


@dataclasses.dataclass(frozen=True)
class Node:
    """A value in the file: a text, a list of nodes, or entries by key, each a place and a node."""

    content: str | list["Node"] | dict[str, tuple[Mark, "Node"]]
    mark: Mark
    is_plain: bool = False

    @property
    def is_null(self) -> bool:
        """Whether it says nothing: `key:`, `~` or `null`."""
        return self.is_plain and self.content in ("", "~", "null", "Null", "NULL")

    @property
    def summary(self) -> str:
        """What is there, for the end of "expected ..., found ..."."""
        if self.is_null:
            return "nothing"
        if isinstance(self.content, str):
            return f'"{self.content[:60]}..."' if len(self.content.encode()) > 60 else f'"{self.content}"'
        return "a list" if isinstance(self.content, list) else "a mapping"


class _Reader:
    """Reads one document into a tree: the plain part of YAML, without anchors, aliases, tags and further documents."""

    def __init__(self, text: bytes, file: str):
        self._file = file
        self._events = yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        self._values = 0
        self.problems: list[Problem] = []

    def document(self) -> Node:
        event = self._next()
        while isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent):
            event = self._next()
        # An empty file is an empty mapping: every setting has its default or is missing.
        if isinstance(event, yaml.StreamEndEvent):
            return Node({}, Mark(1, 1))
        root = self._node(event, 0)
        event = self._next()
        while isinstance(event, yaml.DocumentEndEvent):
            event = self._next()
        if not isinstance(event, yaml.StreamEndEvent):
            raise self._failure(_mark(event), "one document is expected, and another begins here")
        return root

    def _node(self, event, depth: int) -> Node:
        mark = _mark(event)
        self._values += 1
        if depth > DEEPEST:
            raise self._failure(mark, f"nested deeper than {DEEPEST} levels")
        if self._values > MOST_VALUES:
            raise self._failure(mark, f"more than {MOST_VALUES} values")
        if getattr(event, "anchor", None) or getattr(event, "tag", None):
            raise self._failure(mark, "anchors (&), aliases (*) and tags (!) are not supported: write the value out")
        if isinstance(event, yaml.ScalarEvent):
            return Node(event.value, mark, is_plain=event.style in (None, ""))
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(item := self._next(), yaml.SequenceEndEvent):
                items.append(self._node(item, depth + 1))
            return Node(items, mark)
        if isinstance(event, yaml.MappingStartEvent):
            return Node(self._entries(depth + 1), mark)
        raise self._failure(mark, "a value is expected here")

    def _entries(self, depth: int) -> dict[str, tuple[Mark, Node]]:
        entries: dict[str, tuple[Mark, Node]] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._node(event, depth)
            if not isinstance(key.content, str):
                raise self._failure(key.mark, f"a key is expected here, found {key.summary}")
            value = self._node(self._next(), depth)
            if key.content in entries:
                first = entries[key.content][0].line
                message = f'duplicate key "{key.content}": it is already on line {first}'
                self.problems.append(self._problem(key.mark, message))
            else:
                entries[key.content] = (key.mark, value)
        return entries

    def _next(self):
        try:
            return next(self._events)
        except yaml.MarkedYAMLError as error:
            message = error.problem or "not valid YAML"
            if error.context:
                line = (error.context_mark or error.problem_mark).line + 1
                message = f"{error.context} that begins on line {line}: {message}"
            raise self._failure(_mark_of(error.problem_mark), message) from None
        except yaml.YAMLError as error:
            raise self._failure(Mark(0, 0), str(error).splitlines()[0]) from None

    def _problem(self, mark: Mark, message: str) -> Problem:
        return Problem(self._file, mark.line, mark.column, (), message)

    def _failure(self, mark: Mark, message: str) -> ConfigurationError:
        return ConfigurationError([*self.problems, self._problem(mark, message)])


def _mark(event) -> Mark:
    return _mark_of(event.start_mark)


def _mark_of(mark) -> Mark:
    return Mark(mark.line + 1, mark.column + 1) if mark else Mark(0, 0)


# MARK: Sections


class Section:
    """A mapping of the document while it is being read. It remembers which keys were asked for.

    A method that meets a problem reports it and returns a stand-in; `decode` then raises.
    """

    def __init__(self, node: Node | None, mark: Mark, path: tuple[str, ...], problems: list[Problem], file: str):
        self._mark, self._path, self._problems, self._file = mark, path, problems, file
        self._known: list[str] = []
        self._children: list[Section] = []
        self._is_something_else = bool(node and not node.is_null and not isinstance(node.content, dict))
        self._entries = node.content if node and isinstance(node.content, dict) else {}
        if self._is_something_else:
            self._report(f"expected a mapping, found {node.summary}", mark, path)

    @property
    def keys(self) -> list[str]:
        """In the order of the file."""
        return list(self._entries)

    @property
    def is_document_valid(self) -> bool:
        """Whether nothing in the document is a problem so far."""
        return not self._problems

    def has(self, key: str) -> bool:
        """Whether there is such a key with a value."""
        return self._entry(key) is not None

    def required(self, key: str, setting: Setting):
        """A setting that must be there."""
        value = self.optional(key, setting)
        if value is not None:
            return value
        if not self._is_something_else:
            self._report(f'missing "{key}": expected {setting.expected}', self._mark, self._path)
        return setting.stand_in

    def value(self, key: str, setting: Setting, default):
        """A setting that has a default."""
        value = self.optional(key, setting)
        return default if value is None else value

    def optional(self, key: str, setting: Setting):
        """A setting that may be absent: then None."""
        entry = self._entry(key)
        return None if entry is None else self._convert(entry[1], setting, (*self._path, key))

    def list(self, key: str, setting: Setting) -> list:
        """A list of single values; absent is empty."""
        return [
            self._convert(node, setting, (*self._path, f"{key}[{index}]"))
            for index, node in enumerate(self._items(key), 1)
        ]

    def section(self, key: str) -> "Section":
        """A nested mapping. An absent one is empty: its required settings are reported missing here."""
        entry = self._entry(key)
        mark, node = entry if entry else (self._mark, None)
        return self._child(node, mark, (*self._path, key))

    def optional_section(self, key: str) -> "Section | None":
        """A nested mapping that may be absent."""
        return self.section(key) if self.has(key) else None

    def sections(self, key: str, each: str) -> Sequence["Section"]:
        """A list of mappings, each called `each` and counted from 1; absent is empty."""
        return [
            self._child(node, node.mark, (*self._path, f"{each} {index}"))
            for index, node in enumerate(self._items(key), 1)
        ]

    def problem(self, message: str, at: str | None = None) -> None:
        """Reports what only the program can see; `at` is the setting that it is about, else the section is."""
        mark = self._entries[at][0] if at in self._entries else self._mark
        self._report(message, mark, (*self._path, at) if at else self._path)

    def report_unknown_keys(self) -> None:
        for key, (mark, _) in self._entries.items():
            if key not in self._known:
                near = nearest(key, self._known)
                rest = f': did you mean "{near}"?' if near else f"; known here: {', '.join(self._known)}"
                self._report(f'unknown key "{key}"{rest}', mark, self._path)
        for child in self._children:
            child.report_unknown_keys()

    def _entry(self, key: str) -> tuple[Mark, Node] | None:
        if key not in self._known:
            self._known.append(key)
        entry = self._entries.get(key)
        return entry if entry and not entry[1].is_null else None

    def _items(self, key: str) -> Sequence[Node]:
        entry = self._entry(key)
        if entry is None:
            return []
        if not isinstance(entry[1].content, list):
            self._report(f"expected a list, found {entry[1].summary}", entry[1].mark, (*self._path, key))
            return []
        return entry[1].content

    def _child(self, node: Node | None, mark: Mark, path: tuple[str, ...]) -> "Section":
        child = Section(node, mark, path, self._problems, self._file)
        self._children.append(child)
        return child

    def _convert(self, node: Node, setting: Setting, path: tuple[str, ...]):
        value = setting.convert(node.content) if isinstance(node.content, str) and not node.is_null else None
        if value is None:
            self._report(f"expected {setting.expected}, found {node.summary}", node.mark, path)
            return setting.stand_in
        return value

    def _report(self, message: str, mark: Mark, path: tuple[str, ...]) -> None:
        self._problems.append(Problem(self._file, mark.line, mark.column, path, message))


def nearest(word: str, candidates: Sequence[str]) -> str | None:
    """The candidate that is at most a third of its letters away from a word (Levenshtein distance)."""
    scored = [(_distance(word.encode(), candidate.encode()), candidate) for candidate in candidates]
    if not scored:
        return None
    distance, best = min(scored, key=lambda pair: pair[0])
    return best if distance <= max(1, len(best.encode()) // 3) else None


def _distance(left: bytes, right: bytes) -> float:
    # Long keys are never near; this also bounds the work on a hostile file.
    if len(left) > 64 or len(right) > 64:
        return math.inf
    row = list(range(len(right) + 1))
    for i, byte in enumerate(left):
        diagonal, row[0] = row[0], i + 1
        for j, other in enumerate(right):
            substitution = diagonal + (byte != other)
            diagonal = row[j + 1]
            row[j + 1] = min(substitution, row[j] + 1, row[j + 1] + 1)
    return row[-1]


def decode(file: str | os.PathLike, body: Callable[[Section], object]):
    """Reads a file and turns it into settings.

    Args:
        body: asks the root section for every setting that is known.

    Raises: ConfigurationError with every problem of the file.
    """
    name = os.fspath(file)
    try:
        with pathlib.Path(file).open("rb") as stream:
            text = stream.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigurationError([Problem(name, 0, 0, (), f"cannot be read: {os.strerror(error.errno)}")]) from None
    if len(text) > LARGEST_FILE:
        raise ConfigurationError([Problem(name, 0, 0, (), "cannot be read: File too large")])
    reader = _Reader(text, name)
    root = reader.document()
    problems = list(reader.problems)
    section = Section(root, root.mark, (), problems, name)
    settings = body(section)
    section.report_unknown_keys()
    if problems:
        raise ConfigurationError(problems)
    return settings
