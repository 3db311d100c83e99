"""The memory reader of the algebra: does one row satisfy a predicate? It judges single reads and is the oracle of both
stores (spec access §4).

A row satisfies a search leaf when *any* of its entries for that parameter does. How one entry compares, by prefix:

| prefix | date: entry [l, h), asked [L, H) | number, quantity: entry [l, h] closed, asked [L, H] |
|---|---|---|
| eq | L <= l and h <= H | L <= l and h < H |
| ne | not eq | not eq |
| gt | h > H | h > H |
| lt | l < L | l < L |
| ge | gt or eq | h >= L |
| le | lt or eq | l <= H |
| sa | l >= H | l > H |
| eb | h <= L | h < L |
| ap | l < H and h > L | l <= H and h >= L |

For a number with a prefix other than eq, ne and ap the parser gives L = H, the value itself; for ap both are widened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from fhir_server.search.entries import Entries
from fhir_server.search.facts import Facts
from fhir_server.search.predicate import (
    AllRefs,
    And,
    AnyRef,
    Bit,
    Chained,
    DateIs,
    Eq,
    F,
    Has,
    In,
    Not,
    NumberIs,
    Or,
    Predicate,
    Present,
    QuantityIs,
    Referred,
    RefersTo,
    Rng,
    SomeRef,
    StringIs,
    T,
    Together,
    TokenIs,
    Updated,
    UriIs,
    Words,
)


@dataclass(frozen=True, slots=True)
class Row:
    """What a predicate looks at. `time`: meta.lastUpdated, microseconds since 1970 UTC."""

    facts: Facts
    entries: Entries
    time: int


class Refs(Protocol):
    """The links between the resources of one snapshot.

    `targets` and `referrers` serve AllRefs, SomeRef and AnyRef, which judge a linked row by its facts alone; `row` and
    `referring` serve the hops of a search, which judge it whole.
    """

    def targets(self, facts: Facts) -> Iterable[tuple[Facts, bool]]:
        """Each resource of `facts.links` that this server has or had, and whether it is live; unknown ids left out."""

    def referrers(self, facts: Facts) -> Iterable[Facts]:
        """Every live resource whose `links` hold this one."""

    def row(self, link: str) -> Row | None:
        """The live resource "Type/id" with its entries; None for any other text."""

    def referring(self, type: str, param: str, link: str) -> Iterable[Row]:
        """Every live resource of `type` with a reference entry of `param` to `link` ("Type/id"), with its entries."""


def holds(predicate: Predicate, row: Row, refs: Refs | None = None) -> bool:
    """Whether `row` satisfies `predicate`.

    Raises ValueError when the predicate follows links (AllRefs, AnyRef, hops) and `refs` is None, and for a hop that
    nobody has cleared (`visible` None).
    """
    return _TESTS[type(predicate)](predicate, row, refs)


def _and(p: And, row: Row, refs: Refs | None) -> bool:
    for part in p.of:  # noqa: SIM110  a generator costs twice as much
        if not _TESTS[type(part)](part, row, refs):
            return False
    return True


def _or(p: Or, row: Row, refs: Refs | None) -> bool:
    for part in p.of:  # noqa: SIM110
        if _TESTS[type(part)](part, row, refs):
            return True
    return False


def _not(p: Not, row: Row, refs: Refs | None) -> bool:
    return not _TESTS[type(p.of)](p.of, row, refs)


def _eq(p: Eq, row: Row, refs: Refs | None) -> bool:
    found: str | None = getattr(row.facts, p.column)
    return found == p.value


def _in(p: In, row: Row, refs: Refs | None) -> bool:
    return getattr(row.facts, p.column) in p.values


def _has(p: Has, row: Row, refs: Refs | None) -> bool:
    return p.value in getattr(row.facts, p.column)


def _bit(p: Bit, row: Row, refs: Refs | None) -> bool:
    return row.facts.vis & p.mask != 0


def _rng(p: Rng, row: Row, refs: Refs | None) -> bool:
    return _within(getattr(row.facts, p.column), p.low, p.high)


def _updated(p: Updated, row: Row, refs: Refs | None) -> bool:
    return _within(row.time, p.low, p.high)


def _within(time: int | None, low: int | None, high: int | None) -> bool:
    return time is not None and (low is None or low <= time) and (high is None or time < high)


def _all_refs(p: AllRefs, row: Row, refs: Refs | None) -> bool:
    return all(
        live and holds(p.each, Row(facts, _NOTHING, 0), refs)
        for facts, live in _linked(refs).targets(row.facts)
        if facts.kind == "record"
    )


def _some_ref(p: SomeRef, row: Row, refs: Refs | None) -> bool:
    return any(
        live and facts.kind == "record" and holds(p.some, Row(facts, _NOTHING, 0), refs)
        for facts, live in _linked(refs).targets(row.facts)
    )


def _any_ref(p: AnyRef, row: Row, refs: Refs | None) -> bool:
    return any(holds(p.some, Row(facts, _NOTHING, 0), refs) for facts in _linked(refs).referrers(row.facts))


def _linked(refs: Refs | None) -> Refs:
    if refs is None:
        raise ValueError("a predicate that follows links was asked without the links")
    return refs


def _token(p: TokenIs, row: Row, refs: Refs | None) -> bool:
    return any(
        entry.param == p.param
        and (p.code is None or entry.code == p.code)
        and (p.system is None or (entry.system or "") == p.system)
        for entry in row.entries.tokens
    )


def _string(p: StringIs, row: Row, refs: Refs | None) -> bool:
    return any(
        entry.param == p.param and _TEXTS[p.how](entry.normal, entry.exact, p.value) for entry in row.entries.strings
    )


def _date(p: DateIs, row: Row, refs: Refs | None) -> bool:
    test = _SPANS[p.prefix]
    return any(entry.param == p.param and test(entry.low, entry.high, p.low, p.high) for entry in row.entries.dates)


def _number(p: NumberIs, row: Row, refs: Refs | None) -> bool:
    test = _RANGES[p.prefix]
    return any(entry.param == p.param and test(entry.low, entry.high, p.low, p.high) for entry in row.entries.numbers)


def _quantity(p: QuantityIs, row: Row, refs: Refs | None) -> bool:
    test = _RANGES[p.prefix]
    return any(
        entry.param == p.param
        and (p.code is None or entry.code == p.code)
        and (p.system is None or entry.system == p.system)
        and test(entry.low, entry.high, p.low, p.high)
        for entry in row.entries.quantities
    )


def _refers(p: RefersTo, row: Row, refs: Refs | None) -> bool:
    return any(entry.param == p.param and entry.target == p.target for entry in row.entries.references)


def _uri(p: UriIs, row: Row, refs: Refs | None) -> bool:
    return any(entry.param == p.param and _URIS[p.how](entry.value, p.value) for entry in row.entries.uris)


def _present(p: Present, row: Row, refs: Refs | None) -> bool:
    entries = row.entries
    kinds: tuple[tuple[Any, ...], ...] = (
        entries.tokens,
        entries.strings,
        entries.dates,
        entries.numbers,
        entries.quantities,
        entries.references,
        entries.uris,
    )
    return any(entry.param == p.param for kind in kinds for entry in kind)


def _together(p: Together, row: Row, refs: Refs | None) -> bool:
    return any(
        entry.param == p.param and all(holds(leaf, Row(row.facts, entry.entries, row.time)) for leaf in p.of)
        for entry in row.entries.combinations
    )


def _words(p: Words, row: Row, refs: Refs | None) -> bool:
    texts = [entry.words for entry in row.entries.prose if entry.param == p.param or p.param == "_content"]
    return bool(texts) and frozenset(" ".join(texts).split(" ")).issuperset(p.words)


def _chained(p: Chained, row: Row, refs: Refs | None) -> bool:
    visible, linked = _cleared(p.visible), _linked(refs)
    targets = (linked.row(entry.target) for entry in row.entries.references if entry.param == p.param)
    return any(
        target is not None
        and target.facts.rtype in p.types
        and holds(visible, target, refs)
        and holds(p.to, target, refs)
        for target in targets
    )


def _referred(p: Referred, row: Row, refs: Refs | None) -> bool:
    visible = _cleared(p.visible)
    referring = _linked(refs).referring(p.type, p.param, f"{row.facts.rtype}/{row.facts.id}")
    return any(holds(visible, each, refs) and holds(p.by, each, refs) for each in referring)


def _cleared(visible: Predicate | None) -> Predicate:
    if visible is None:
        raise ValueError("a hop was asked without what the caller may see at its other end")
    return visible


def _contained(low: float, high: float, asked_low: float, asked_high: float) -> bool:
    return asked_low <= low and high <= asked_high


_NOTHING: Final = Entries()

_TEXTS: Final[dict[str, Callable[[str, str, str], bool]]] = {
    "starts": lambda normal, exact, asked: normal.startswith(asked),
    "contains": lambda normal, exact, asked: asked in normal,
    "equals": lambda normal, exact, asked: normal == asked,
    "exact": lambda normal, exact, asked: exact == asked,
}
_URIS: Final[dict[str, Callable[[str, str], bool]]] = {
    "exact": lambda value, asked: value == asked,
    "below": lambda value, asked: value.startswith(asked),
    "above": lambda value, asked: asked.startswith(value),
}
_SPANS: Final[dict[str, Callable[[int, int, int, int], bool]]] = {
    "eq": _contained,
    "ne": lambda low, high, asked_low, asked_high: not _contained(low, high, asked_low, asked_high),
    "gt": lambda low, high, asked_low, asked_high: high > asked_high,
    "lt": lambda low, high, asked_low, asked_high: low < asked_low,
    "ge": lambda low, high, asked_low, asked_high: high > asked_high or asked_low <= low,
    "le": lambda low, high, asked_low, asked_high: low < asked_low or high <= asked_high,
    "sa": lambda low, high, asked_low, asked_high: low >= asked_high,
    "eb": lambda low, high, asked_low, asked_high: high <= asked_low,
    "ap": lambda low, high, asked_low, asked_high: low < asked_high and high > asked_low,
}
_RANGES: Final[dict[str, Callable[[float, float, float, float], bool]]] = {
    "eq": lambda low, high, asked_low, asked_high: asked_low <= low and high < asked_high,
    "ne": lambda low, high, asked_low, asked_high: not (asked_low <= low and high < asked_high),
    "gt": lambda low, high, asked_low, asked_high: high > asked_high,
    "lt": lambda low, high, asked_low, asked_high: low < asked_low,
    "ge": lambda low, high, asked_low, asked_high: high >= asked_low,
    "le": lambda low, high, asked_low, asked_high: low <= asked_high,
    "sa": lambda low, high, asked_low, asked_high: low > asked_high,
    "eb": lambda low, high, asked_low, asked_high: high < asked_low,
    "ap": lambda low, high, asked_low, asked_high: low <= asked_high and high >= asked_low,
}

_Test: TypeAlias = Callable[[Any, Row, Refs | None], bool]

# A table by node type, not a `match`: measured five times faster on a consent predicate of 30 nodes (3.4 µs against
# 17.6 µs), with nothing to compile first. A node without a test raises KeyError; tests/search/test_match.py holds the
# table to the algebra.
_TESTS: Final[dict[type, _Test]] = {
    T: lambda p, row, refs: True,
    F: lambda p, row, refs: False,
    And: _and,
    Or: _or,
    Not: _not,
    Eq: _eq,
    In: _in,
    Has: _has,
    Bit: _bit,
    Rng: _rng,
    AllRefs: _all_refs,
    SomeRef: _some_ref,
    AnyRef: _any_ref,
    TokenIs: _token,
    StringIs: _string,
    DateIs: _date,
    NumberIs: _number,
    QuantityIs: _quantity,
    RefersTo: _refers,
    UriIs: _uri,
    Present: _present,
    Updated: _updated,
    Together: _together,
    Words: _words,
    Chained: _chained,
    Referred: _referred,
}
