"""The forms in which facts and index entries are kept: bytes in `version`, integer rows in the index tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
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


MULTI: Final = {"labels": 1, "authors": 2, "participants": 3}
"""The numbers of the multi-valued facts in table `multi`."""

_DEFAULTS: Final = {
    each.name: each.default_factory() if each.default_factory is not dataclasses.MISSING else each.default
    for each in dataclasses.fields(Facts)
}
_LINKS: Final = frozenset({"links"})
_UNLINKED: Final = frozenset(_DEFAULTS) - _LINKS
_FACTS: Final = msgspec.msgpack.Decoder(Facts)
_ROWS: Final = msgspec.msgpack.Decoder(Rows)
_PACKED: Final = msgspec.msgpack.Decoder(Packed)
_KINDS: Final = {name: msgspec.msgpack.Decoder(kind) for name, kind in get_type_hints(Rows).items()}


def pack_facts(facts: Facts) -> bytes:
    """The facts that differ from their defaults."""
    values = {name: value for name, usual in _DEFAULTS.items() if (value := getattr(facts, name)) != usual}
    return msgspec.msgpack.encode(values)


def unpack_facts(packed: bytes) -> Facts:
    return _FACTS.decode(packed)


@lru_cache(maxsize=64)
def unpacking(names: frozenset[str]) -> Callable[[bytes], Any]:
    """Unpacks those facts alone, as attributes: at a fraction of the cost of all."""
    types, missing = get_type_hints(Facts), dataclasses.MISSING
    fields: list[Any] = [
        (name, types[name]) if _DEFAULTS[name] is missing else (name, types[name], _DEFAULTS[name])
        for name in sorted(names, key=list(_DEFAULTS).index)
    ]
    return msgspec.msgpack.Decoder(msgspec.defstruct("SomeFacts", fields, gc=False)).decode


class KeptFacts(Facts):
    """Facts that are unpacked when they are first asked for, links by themselves: most answers are made of bodies."""

    __slots__ = ("_packed",)

    @classmethod
    def of(cls, packed: bytes) -> KeptFacts:
        """Packed facts, as they lie in the file."""
        kept = cls.__new__(cls)
        object.__setattr__(kept, "_packed", packed)
        return kept

    def __getattr__(self, name: str) -> Any:
        # Reached only while the slot of that fact is empty.
        names = _UNLINKED if name != "links" else _LINKS
        found = unpacking(names)(self._packed)
        for each in names:
            object.__setattr__(self, each, getattr(found, each))
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


def to_rows(entries: Entries, symbols: Mapping[str, int], pids: Mapping[str, Param]) -> Rows:
    """The index rows of `entries`, no two alike. `symbols` has 0 for "", no system."""
    rows: list[Any] = [
        tuple(dict.fromkeys(make(kind, symbols, pids))) if (kind := getattr(entries, name)) else ()
        for name, make in _PACK.items()
    ]
    if entries.combinations:
        # Composites of the same components share what they combine.
        parts = {id(each): each for _, each in entries.combinations}
        made = {place: to_rows(each, symbols, _PLACES) for place, each in parts.items()}
        rows.append(tuple([(pids[param], made[id(each)]) for param, each in entries.combinations]))
    else:
        rows.append(())
    rows.append(tuple([(pids[param], words) for param, words in entries.prose]))
    return Rows(*rows)


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


_PLACES: Final = _Places()
_Pack: TypeAlias = Callable[[Any, Mapping[str, int], Mapping[str, Param]], list[Any]]
_PACK: Final[dict[str, _Pack]] = {
    "tokens": lambda of, symbols, pids: [(pids[param], code, symbols[system or ""]) for param, system, code in of],
    "strings": lambda of, symbols, pids: [(pids[param], normal, exact) for param, normal, exact in of],
    "dates": lambda of, symbols, pids: [(pids[param], low, high) for param, low, high in of],
    "numbers": lambda of, symbols, pids: [(pids[param], float(low), float(high)) for param, low, high in of],
    "quantities": lambda of, symbols, pids: [
        (pids[param], float(low), float(high), symbols[system], code) for param, system, code, low, high in of
    ],
    "references": lambda of, symbols, pids: [(pids[param], symbols[target]) for param, target in of],
    "uris": lambda of, symbols, pids: [(pids[param], value) for param, value in of],
}
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
