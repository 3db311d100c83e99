"""Where the index entries of one resource are collected while it is looked through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import tzinfo
from itertools import chain
from typing import Any, Protocol, TypeAlias, TypeVar

from fhir_server.fhir.path import Path
from fhir_server.search.entries import Amount, Combination, Entries, Number, Prose, Ref, Span, Text, Token, Uri
from fhir_server.search.kinds.bounds import MOST


class _Entry(Protocol):
    @property
    def param(self) -> str: ...


E = TypeVar("E", bound=_Entry)


class Found(dict[str, dict[E, None]]):
    """The entries of one kind by their parameter, each once, in the order found; of one parameter the first 1,000."""

    __slots__ = ()

    def append(self, entry: E) -> None:
        """Adds the entry, unless it is there already or its parameter has no room."""
        param = entry.param
        if param not in self:
            self[param] = {entry: None}
        elif len(entries := self[param]) < MOST:
            entries[entry] = None

    def extend(self, entries: list[E]) -> None:
        """Adds entries of one parameter, at least one."""
        param = entries[0].param
        known = self.setdefault(param, {})
        if len(known) + len(entries) <= MOST:
            known.update(dict.fromkeys(entries))
        else:
            for entry in entries:
                self.append(entry)

    def entries(self) -> tuple[E, ...]:
        """What was found, parameter by parameter."""
        return tuple(chain.from_iterable(self.values())) if self else ()


Gathered: TypeAlias = Found[E] | list[E]


class Sink:
    """The entries found so far. `base_url`: this server's FHIR base; `zone`: where dates without an offset are read.

    `worded`: whether the words that belong to codes are wanted. Several parameters ask for one value, and to read it
    costs more than to make entries of it; so what has been read is kept: `read` by the identity of a value, `normals`
    the normal forms of texts, `shared` what composites of the same components have found in one element, by (identity
    of it, components).
    """

    __slots__ = (
        "base_url",
        "combinations",
        "dates",
        "normals",
        "numbers",
        "prose",
        "quantities",
        "read",
        "references",
        "shared",
        "strings",
        "tokens",
        "uris",
        "worded",
        "zone",
    )

    def __init__(self, base_url: str, zone: tzinfo) -> None:
        self.base_url = base_url
        self.zone = zone
        self.tokens: Gathered[Token] = Found()
        self.strings: Gathered[Text] = Found()
        self.dates: Gathered[Span] = Found()
        self.numbers: Gathered[Number] = Found()
        self.quantities: Gathered[Amount] = Found()
        self.references: Gathered[Ref] = Found()
        self.uris: Gathered[Uri] = Found()
        self.combinations: list[Combination] = []
        self.prose: list[Prose] = []
        self.worded = True
        self.read: dict[int, Any] = {}
        self.normals: dict[str, str] = {}
        self.shared: dict[tuple[int, str], Entries | None] = {}

    def entries(self) -> Entries:
        """All that was found."""
        return Entries(
            _once(self.tokens),
            _once(self.strings),
            _once(self.dates),
            _once(self.numbers),
            _once(self.quantities),
            _once(self.references),
            _once(self.uris),
            tuple(self.combinations),
            tuple(self.prose),
        )


class Scratch(Sink):
    """A sink for a few entries, quickly made: those of one combination."""

    __slots__ = ()

    def __init__(self, sink: Sink) -> None:
        self.base_url = sink.base_url
        self.zone = sink.zone
        self.read = sink.read
        self.normals = sink.normals
        self.worded = False
        self.tokens, self.strings, self.dates, self.numbers = [], [], [], []
        self.quantities, self.references, self.uris = [], [], []
        self.combinations, self.prose = [], []


def _once(found: Gathered[E]) -> tuple[E, ...]:
    if isinstance(found, Found):
        return found.entries()
    return tuple(dict.fromkeys(found))[:MOST] if found else ()


# Adds the entries of one value for a parameter; passes over values of a shape that R4 does not allow.
Add: TypeAlias = Callable[[str, Any, Sink], None]
# Adds the entries of one parameter of a resource or element.
Index: TypeAlias = Callable[[Any, Sink], None]


def passed_over(param: str, value: Any, sink: Sink) -> None:
    """Adds nothing: for types that the expressions of a kind can lead to but that the kind has no use for."""


def added(code: str, path: Path, adds: Mapping[str, Add]) -> Index:
    """Adds each item of the path by its type; items of types that have nothing in `adds` are passed over."""
    run = path.run
    if path.paired:
        return lambda focus, sink: add_items(code, path, adds, run(focus), sink)
    (add,) = adds.values()

    def add_values(focus: Any, sink: Sink) -> None:
        for value in run(focus):
            add(code, value, sink)

    return add_values


def in_turn(indexes: Iterable[Index | None]) -> Index:
    """One after the other."""
    known = tuple(index for index in indexes if index)
    if len(known) == 1:
        return known[0]

    def index(focus: Any, sink: Sink) -> None:
        for each in known:
            each(focus, sink)

    return index


def add_items(code: str, path: Path, adds: Mapping[str, Add], items: list[Any], sink: Sink) -> None:
    """Adds what a path has found."""
    if path.paired:
        for type_, value in items:
            if type_ in adds:
                adds[type_](code, value, sink)
    else:
        (add,) = adds.values()
        for value in items:
            add(code, value, sink)
