"""Where the index entries of one resource are collected while it is looked through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import tzinfo
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from fhir_server.fhir.path import Path
from fhir_server.search.entries import Amount, Combination, Entries, Number, Prose, Ref, Span, Text, Token, Uri
from fhir_server.search.kinds.bounds import MOST

# Entries of one kind that are gathered before those beyond the first 1,000 of each parameter go.
_GATHERED: Final = 100 * MOST
# Values of one parameter that cannot fill the memory.
_FEW: Final = 100


class _Entry(Protocol):
    @property
    def param(self) -> str: ...


E = TypeVar("E", bound=_Entry)


class Sink:
    """The entries found so far. `base_url`: this server's FHIR base; `zone`: where dates without an offset are read.

    `worded`: whether the words that belong to codes are wanted. Several parameters ask for one value, and to read it
    costs more than to make entries of it; so what has been read is kept: `read` by the identity of a value, `shared`
    what composites of the same components have found in one element, by (identity of it, components).
    """

    __slots__ = (
        "base_url",
        "combinations",
        "dates",
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
        self.worded = True
        self.read: dict[int, Any] = {}
        self.shared: dict[tuple[int, str], Entries | None] = {}
        self._empty()

    def scratch(self) -> Sink:
        """A sink for the entries of one combination, which has no words."""
        made = Sink.__new__(Sink)
        made.base_url, made.zone, made.read, made.shared = self.base_url, self.zone, self.read, self.shared
        made.worded = False
        made._empty()
        return made

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

    def bounded(self, values: list[Any]) -> Iterator[Any]:
        """The values one by one; what those before have added takes no more room than a resource has in the index."""
        kinds: tuple[list[Any], ...] = (
            *(self.tokens, self.strings, self.dates, self.numbers, self.quantities, self.references, self.uris),
        )
        for start in range(0, len(values), _FEW):
            yield from values[start : start + _FEW]
            for found in kinds:
                if len(found) > _GATHERED:
                    found[:] = _once(found)

    def _empty(self) -> None:
        self.tokens: list[Token] = []
        self.strings: list[Text] = []
        self.dates: list[Span] = []
        self.numbers: list[Number] = []
        self.quantities: list[Amount] = []
        self.references: list[Ref] = []
        self.uris: list[Uri] = []
        self.combinations: list[Combination] = []
        self.prose: list[Prose] = []


def _once(found: list[E]) -> tuple[E, ...]:
    """Each entry once; of one parameter the first 1,000."""
    if len(found) < 2:
        return tuple(found)
    kept = tuple(dict.fromkeys(found))
    return kept if len(kept) <= MOST else _first(kept)


def _first(found: tuple[E, ...]) -> tuple[E, ...]:
    counts: Counter[str] = Counter()
    kept = []
    for entry in found:
        counts[entry.param] += 1
        if counts[entry.param] <= MOST:
            kept.append(entry)
    return tuple(kept)


# Adds the entries of one value for a parameter; passes over values of a shape that R4 does not allow.
Add: TypeAlias = Callable[[str, Any, Sink], None]
# Adds the entries of one parameter of a resource or element.
Index: TypeAlias = Callable[[Any, Sink], None]


def passed_over(param: str, value: Any, sink: Sink) -> None:
    """Adds nothing: for types that the expressions of a kind can lead to but that the kind has no use for."""


def adder(code: str, path: Path, adds: Mapping[str, Add]) -> Callable[[list[Any], Sink], None]:
    """Adds what the path has found, each item by its type; items of types that `adds` has not are passed over."""
    if path.paired:

        def add_pairs(found: list[Any], sink: Sink) -> None:
            for type_, value in found if len(found) < _FEW else sink.bounded(found):
                if type_ in adds:
                    adds[type_](code, value, sink)

        return add_pairs
    (add,) = adds.values()

    def add_values(found: list[Any], sink: Sink) -> None:
        for value in found if len(found) < _FEW else sink.bounded(found):
            add(code, value, sink)

    return add_values


def added(code: str, path: Path, adds: Mapping[str, Add]) -> Index:
    """Adds each item of the path."""
    run, add = path.run, adder(code, path, adds)

    def index(focus: Any, sink: Sink) -> None:
        found = run(focus)
        if found:
            add(found, sink)

    return index


def in_turn(indexes: Iterable[Index | None]) -> Index:
    """One after the other."""
    known = tuple(index for index in indexes if index)
    if len(known) == 1:
        return known[0]

    def index(focus: Any, sink: Sink) -> None:
        for each in known:
            each(focus, sink)

    return index
