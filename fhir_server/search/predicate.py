"""The algebra that every question to a store is written in: who may see a row, and which rows a search wants.

Two-valued: a test on an absent value is false, and its negation true; no reader may let SQL's NULL or Mongo's array
semantics show (spec access §4). Build nodes with the functions in lower case: they simplify.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias


@dataclass(frozen=True, slots=True)
class T:
    """Every row."""


@dataclass(frozen=True, slots=True)
class F:
    """No row."""


@dataclass(frozen=True, slots=True)
class Eq:
    """The single-valued fact `column` (facts.SINGLE) is `value`; `value` None asks for its absence."""

    column: str
    value: str | None


@dataclass(frozen=True, slots=True)
class In:
    """The single-valued fact `column` is one of `values`."""

    column: str
    values: frozenset[str]


@dataclass(frozen=True, slots=True)
class Has:
    """The multi-valued fact `column` (facts.MULTI) holds `value`."""

    column: str
    value: str


@dataclass(frozen=True, slots=True)
class Bit:
    """Any of the visibility bits of `mask` is set in `vis`."""

    mask: int


@dataclass(frozen=True, slots=True)
class Rng:
    """The time fact `column` (facts.TIMES) is present and low <= value < high; None leaves that end open."""

    column: str
    low: int | None
    high: int | None


@dataclass(frozen=True, slots=True)
class AllRefs:
    """Every live or deleted *record* resource that this row links to is live and satisfies `each`; none is fine.

    A link to something this server never had says nothing and is passed over.
    """

    each: Predicate


@dataclass(frozen=True, slots=True)
class SomeRef:
    """Some live *record* resource that this row links to satisfies `some`."""

    some: Predicate


@dataclass(frozen=True, slots=True)
class AnyRef:
    """Some live resource that links to this row satisfies `some`."""

    some: Predicate


@dataclass(frozen=True, slots=True)
class Not:
    """The rows that do not satisfy `of`."""

    of: Predicate


@dataclass(frozen=True, slots=True)
class And:
    """The rows that satisfy all of `of` (at least two)."""

    of: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """The rows that satisfy any of `of` (at least two)."""

    of: tuple[Predicate, ...]


# Leaves that look at index entries (entries.py) instead of security facts. `param` is the search parameter's code.


@dataclass(frozen=True, slots=True)
class TokenIs:
    """A token entry: `code` None takes any; `system` None takes any, "" only an entry without a system."""

    param: str
    system: str | None
    code: str | None


@dataclass(frozen=True, slots=True)
class StringIs:
    """A string entry, `how` one of "starts", "contains", "equals" (all on the normal form) or "exact" (on the text as
    sent)."""

    param: str
    how: str
    value: str


@dataclass(frozen=True, slots=True)
class DateIs:
    """A date entry against the search value's range [low, high), by `prefix` (eq ne gt lt ge le sa eb ap)."""

    param: str
    prefix: str
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class NumberIs:
    """A number entry against the range [low, high) that the search value's precision spans, by `prefix`."""

    param: str
    prefix: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class QuantityIs:
    """A quantity entry; `system` and `code` as in TokenIs."""

    param: str
    prefix: str
    low: float
    high: float
    system: str | None
    code: str | None


@dataclass(frozen=True, slots=True)
class RefersTo:
    """A reference entry to "Type/id" of this server, or to a foreign absolute url or canonical (given whole)."""

    param: str
    target: str


@dataclass(frozen=True, slots=True)
class UriIs:
    """A uri entry, `how` one of "exact", "below", "above"."""

    param: str
    how: str
    value: str


@dataclass(frozen=True, slots=True)
class Present:
    """There is any entry of that parameter (the negation is `:missing=true`)."""

    param: str


@dataclass(frozen=True, slots=True)
class Updated:
    """meta.lastUpdated lies in [low, high), microseconds; None leaves that end open."""

    low: int | None
    high: int | None


@dataclass(frozen=True, slots=True)
class Together:
    """One combination of the composite parameter `param` satisfies every leaf.

    Leaf n is asked of component n alone: its own `param` is the component's place as text, "0", "1" …
    """

    param: str
    of: tuple[SearchLeaf, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """The text of `param` ("_text": the narrative, "_content": all text, the narrative included) holds every one of
    `words` (normal forms)."""

    param: str
    words: tuple[str, ...]


# Hops: they lead from the row to other rows, which are judged whole: facts, entries and further hops. `visible` is what
# the caller may see of the rows at the other end (access §4: the predicate is and-ed to every hop). A hop without one
# is a question nobody has cleared: every reader refuses it with ValueError.


@dataclass(frozen=True, slots=True)
class Chained:
    """A reference entry of `param` leads to a live resource of one of `types` that satisfies `to` and `visible`."""

    param: str
    types: tuple[str, ...]
    to: Predicate
    visible: Predicate | None = None


@dataclass(frozen=True, slots=True)
class Referred:
    """A live resource of `type` has a reference entry of `param` to this row, and satisfies `by` and `visible`."""

    type: str
    param: str
    by: Predicate
    visible: Predicate | None = None


SearchLeaf: TypeAlias = TokenIs | StringIs | DateIs | NumberIs | QuantityIs | RefersTo | UriIs | Present | Updated
FactLeaf: TypeAlias = Eq | In | Has | Bit | Rng | AllRefs | SomeRef | AnyRef
Hop: TypeAlias = Chained | Referred
Predicate: TypeAlias = T | F | FactLeaf | SearchLeaf | Together | Words | Hop | Not | And | Or

TRUE: Final = T()
FALSE: Final = F()


def conj(*parts: Predicate) -> Predicate:
    """All of `parts`; no parts is everything."""
    return _join(parts, And, FALSE, TRUE)


def disj(*parts: Predicate) -> Predicate:
    """Any of `parts`; no parts is nothing."""
    return _join(parts, Or, TRUE, FALSE)


def negate(part: Predicate) -> Predicate:
    """The complement of `part`."""
    match part:
        case T():
            return FALSE
        case F():
            return TRUE
        case Not(of):
            return of
    return Not(part)


def one_of(column: str, values: Iterable[str]) -> Predicate:
    """The fact is one of `values`; none of them is nothing."""
    wanted = frozenset(values)
    if not wanted:
        return FALSE
    if len(wanted) == 1:
        return Eq(column, next(iter(wanted)))
    return In(column, wanted)


def has_any(column: str, values: Iterable[str]) -> Predicate:
    """The multi-valued fact holds any of `values`; none of them is nothing."""
    return disj(*(Has(column, value) for value in sorted(set(values))))


def _join(
    parts: Iterable[Predicate], node: type[And] | type[Or], absorbing: Predicate, neutral: Predicate
) -> Predicate:
    flat: list[Predicate] = []
    for part in parts:
        if part == absorbing:
            return absorbing
        if part != neutral:
            flat += part.of if isinstance(part, node) else (part,)
    kept = _distinct(flat)
    if not kept:
        return neutral
    return kept[0] if len(kept) == 1 else node(tuple(kept))


def _distinct(parts: list[Predicate]) -> list[Predicate]:
    """Each part once. Few parts are compared, which is cheaper than hashing what may be deep; many are hashed."""
    if len(parts) > 16:
        return list(dict.fromkeys(parts))
    kept: list[Predicate] = []
    for part in parts:
        if part not in kept:
            kept.append(part)
    return kept
