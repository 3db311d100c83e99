"""The forms in which facts and index entries are kept: bytes in `version`, integer rows in the index tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from fhir_server.search.entries import Amount, Entries, Number, Ref, Span, Text, Token, Uri
from fhir_server.search.facts import Facts


class Rows(NamedTuple):
    """The index rows of one resource, without cid and rid."""

    tokens: tuple[tuple[int, str, int], ...] = ()
    strings: tuple[tuple[int, str, str], ...] = ()
    dates: tuple[tuple[int, int, int], ...] = ()
    numbers: tuple[tuple[int, float, float], ...] = ()
    quantities: tuple[tuple[int, float, float, int, str], ...] = ()
    references: tuple[tuple[int, int], ...] = ()
    uris: tuple[tuple[int, str], ...] = ()


MULTI: Final = {"labels": 1, "authors": 2, "participants": 3}
"""The numbers of the multi-valued facts in table `multi`."""

_FACTS: Final = msgspec.msgpack.Decoder(Facts)
_ROWS: Final = msgspec.msgpack.Decoder(Rows)
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


def pack_rows(rows: Rows) -> bytes:
    return msgspec.msgpack.encode(rows)


def unpack_rows(packed: bytes) -> Rows:
    return _ROWS.decode(packed)


def texts_of(entries: Entries) -> set[str]:
    """The texts in `entries` that are kept as symbols; "" for none."""
    texts = {token.system or "" for token in entries.tokens}
    texts.update(amount.system for amount in entries.quantities)
    texts.update(reference.target for reference in entries.references)
    return texts


def params_of(entries: Entries) -> set[str]:
    """The search parameters that have an entry."""
    kinds: tuple[tuple[Any, ...], ...] = (
        entries.tokens,
        entries.strings,
        entries.dates,
        entries.numbers,
        entries.quantities,
        entries.references,
        entries.uris,
    )
    return {entry.param for kind in kinds for entry in kind}


def to_rows(entries: Entries, symbols: Mapping[str, int], pids: Mapping[str, int]) -> Rows:
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
    )


def to_entries(rows: Rows, text: Callable[[int], str], param: Callable[[int], str]) -> Entries:
    """The entries that `rows` were made of."""
    return Entries(
        tuple(Token(param(pid), text(system) if system else None, code) for pid, code, system in rows.tokens),
        tuple(Text(param(pid), normal, exact) for pid, normal, exact in rows.strings),
        tuple(Span(param(pid), low, high) for pid, low, high in rows.dates),
        tuple(Number(param(pid), low, high) for pid, low, high in rows.numbers),
        tuple(
            Amount(param(pid), text(system) if system else "", code, low, high)
            for pid, low, high, system, code in rows.quantities
        ),
        tuple(Ref(param(pid), text(target)) for pid, target in rows.references),
        tuple(Uri(param(pid), value) for pid, value in rows.uris),
    )


def _distinct(rows: list[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(rows)) if len(rows) > 1 else tuple(rows)
