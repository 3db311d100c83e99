"""The forms in which facts and index entries are kept: bytes in `version`, integer rows in the index tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias, get_type_hints

import msgspec

from fhir_server.search.entries import (
    Amount,
    Combination,
    Entries,
    Number,
    Prose,
    Ref,
    Span,
    Text,
    Token,
    Uri,
)
from fhir_server.search.facts import Facts

Param: TypeAlias = int | str
"""The number of a search parameter; within a combination the place of the component, or what is derived from it."""


class Rows(NamedTuple):
    """The index rows of one resource, without cid and rid; and what has none of its own, combinations and prose."""

    tokens: tuple[tuple[Param, str, int], ...] = ()
    strings: tuple[tuple[Param, str, str], ...] = ()
    dates: tuple[tuple[Param, int, int], ...] = ()
    numbers: tuple[tuple[Param, float, float], ...] = ()
    quantities: tuple[tuple[Param, float, float, int, str], ...] = ()
    references: tuple[tuple[Param, int], ...] = ()
    uris: tuple[tuple[Param, str], ...] = ()
    combinations: tuple[tuple[Param, Rows], ...] = ()
    prose: tuple[tuple[Param, str], ...] = ()


_NONE: Final = msgspec.Raw(msgspec.msgpack.encode(()))


class Packed(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Rows, each kind still packed: most questions are about one of them."""

    tokens: msgspec.Raw = _NONE
    strings: msgspec.Raw = _NONE
    dates: msgspec.Raw = _NONE
    numbers: msgspec.Raw = _NONE
    quantities: msgspec.Raw = _NONE
    references: msgspec.Raw = _NONE
    uris: msgspec.Raw = _NONE
    combinations: msgspec.Raw = _NONE
    prose: msgspec.Raw = _NONE


class Judged(msgspec.Struct, gc=False):
    """What a judge asks of facts (storage.judge), unpacked at a third of the cost of `Facts`."""

    rtype: str
    id: str
    kind: str
    patient: str | None = None
    type_code: str | None = None
    class_code: str | None = None
    vis: int = 0
    labels: frozenset[str] = frozenset()
    authors: frozenset[str] = frozenset()
    participants: frozenset[str] = frozenset()
    data_time: int | None = None
    deposited_at: int = 0
    release_at: int | None = None
    lineage: str = ""


MULTI: Final = {"labels": 1, "authors": 2, "participants": 3}
"""The numbers of the multi-valued facts in table `multi`."""

_FACTS: Final = msgspec.msgpack.Decoder(Facts)
_JUDGED: Final = msgspec.msgpack.Decoder(Judged)
_ROWS: Final = msgspec.msgpack.Decoder(Rows)
_PACKED: Final = msgspec.msgpack.Decoder(Packed)
_KINDS: Final = {name: msgspec.msgpack.Decoder(kind) for name, kind in get_type_hints(Rows).items()}
_DEFAULTS: Final = {
    each.name: each.default_factory() if each.default_factory is not dataclasses.MISSING else each.default
    for each in dataclasses.fields(Facts)
}


def pack_facts(facts: Facts) -> bytes:
    """The facts that differ from their defaults."""
    values = {name: value for name, usual in _DEFAULTS.items() if (value := getattr(facts, name)) != usual}
    return msgspec.msgpack.encode(values)


def unpack_facts(packed: bytes) -> Facts:
    return _FACTS.decode(packed)


def unpack_judged(packed: bytes) -> Judged:
    """The facts without links."""
    return _JUDGED.decode(packed)


class KeptFacts(Facts):
    """Facts that are unpacked when they are first asked for: most answers are made of bodies alone."""

    __slots__ = ("_packed",)

    @classmethod
    def of(cls, packed: bytes) -> KeptFacts:
        """Packed facts, as they lie in the file."""
        kept = cls.__new__(cls)
        object.__setattr__(kept, "_packed", packed)
        return kept

    def __getattr__(self, name: str) -> Any:
        # Reached only while the slots of Facts are empty.
        facts = unpack_facts(self._packed)
        for each in _DEFAULTS:
            object.__setattr__(self, each, getattr(facts, each))
        return object.__getattribute__(self, name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Facts) and all(getattr(self, each) == getattr(other, each) for each in _DEFAULTS)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, each) for each in _DEFAULTS))


def pack_rows(rows: Rows) -> bytes:
    """The kinds up to the last that has a row."""
    kinds = list(rows)
    while kinds and not kinds[-1]:
        kinds.pop()
    return msgspec.msgpack.encode(kinds)


def unpack_rows(packed: bytes) -> Rows:
    return _ROWS.decode(packed)


def unpack_kind(packed: bytes, kind: str) -> tuple[tuple[Any, ...], ...]:
    """The rows of one kind, which is a field of `Rows`."""
    rows: tuple[tuple[Any, ...], ...] = _KINDS[kind].decode(getattr(_PACKED.decode(packed), kind))
    return rows


def texts_of_facts(facts: Facts) -> set[str]:
    """The texts in `facts` that are kept as symbols."""
    texts = {facts.rtype, *facts.links}.union(*(getattr(facts, name) for name in MULTI))
    if facts.patient is not None:
        texts.add(f"Patient/{facts.patient}")
    return texts


def texts_of(entries: Entries) -> set[str]:
    """The texts in `entries` that are kept as symbols; "" for none."""
    texts = {token.system or "" for token in entries.tokens}
    texts.update(amount.system for amount in entries.quantities)
    texts.update(reference.target for reference in entries.references)
    for combination in entries.combinations:
        texts |= texts_of(combination.entries)
    return texts


def params_of(entries: Entries) -> set[str]:
    """The search parameters that have an entry."""
    return {entry.param for kind in _KINDS for entry in getattr(entries, kind)}


def to_rows(entries: Entries, symbols: Mapping[str, int], pids: Mapping[str, Param]) -> Rows:
    """The index rows of `entries`, no two alike. `symbols` has 0 for "", no system."""
    return Rows(
        _distinct([(pids[e.param], e.code, symbols[e.system or ""]) for e in entries.tokens]),
        _distinct([(pids[e.param], e.normal, e.exact) for e in entries.strings]),
        _distinct([(pids[e.param], e.low, e.high) for e in entries.dates]),
        _distinct([(pids[e.param], float(e.low), float(e.high)) for e in entries.numbers]),
        _distinct(
            [(pids[e.param], float(e.low), float(e.high), symbols[e.system], e.code) for e in entries.quantities]
        ),
        _distinct([(pids[e.param], symbols[e.target]) for e in entries.references]),
        _distinct([(pids[e.param], e.value) for e in entries.uris]),
        _distinct([(pids[e.param], to_rows(e.entries, symbols, _PLACES)) for e in entries.combinations]),
        _distinct([(pids[e.param], e.words) for e in entries.prose]),
    )


class KeptEntries(Entries):
    """Index entries of which each kind is unpacked when it is first asked for."""

    __slots__ = ("_packed", "_param", "_text")

    def __init__(self, packed: bytes, text: Callable[[int], str], param: Callable[[Any], str]) -> None:
        """`text` and `param`: what a symbol and the number of a search parameter stand for."""
        for name, value in (("_packed", packed), ("_text", text), ("_param", param)):
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        # Reached only while the slot of that kind is empty.
        entries = tuple(_ENTRIES[name](unpack_kind(self._packed, name), self._text, self._param))
        object.__setattr__(self, name, entries)
        return entries


def to_entries(rows: Rows, text: Callable[[int], str], param: Callable[[Any], str]) -> Entries:
    """The entries that `rows` were made of."""
    return Entries(*(tuple(_ENTRIES[name](kind, text, param)) for name, kind in zip(_KINDS, rows, strict=True)))


def _combinations(rows: Any, text: Callable[[int], str], param: Callable[[Any], str]) -> Iterator[Combination]:
    for pid, entries in rows:
        yield Combination(param(pid), to_entries(entries, text, str))


class _Places(dict[str, Param]):
    """What stands for a component: its place, as a number where that is shorter."""

    def __missing__(self, place: str) -> Param:
        return int(place) if len(place) == 1 and place in "0123456789" else place


def _distinct(rows: list[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(rows)) if len(rows) > 1 else tuple(rows)


_PLACES: Final = _Places()
_Unpack: TypeAlias = Callable[[Any, Callable[[int], str], Callable[[Any], str]], Iterator[Any]]
_ENTRIES: Final[dict[str, _Unpack]] = {
    "tokens": lambda rows, text, param: (
        Token(param(pid), text(system) if system else None, code) for pid, code, system in rows
    ),
    "strings": lambda rows, text, param: (Text(param(pid), normal, exact) for pid, normal, exact in rows),
    "dates": lambda rows, text, param: (Span(param(pid), low, high) for pid, low, high in rows),
    "numbers": lambda rows, text, param: (Number(param(pid), low, high) for pid, low, high in rows),
    "quantities": lambda rows, text, param: (
        Amount(param(pid), text(system) if system else "", code, low, high) for pid, low, high, system, code in rows
    ),
    "references": lambda rows, text, param: (Ref(param(pid), text(target)) for pid, target in rows),
    "uris": lambda rows, text, param: (Uri(param(pid), value) for pid, value in rows),
    "combinations": _combinations,
    "prose": lambda rows, text, param: (Prose(param(pid), words) for pid, words in rows),
}
