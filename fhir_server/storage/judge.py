"""A predicate over facts made into one function: for the answer whose every row is held against it again.

`search.match.holds` looks each node's test up for each row; here that is done once for all rows of an answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from fhir_server.search.predicate import And, Bit, Eq, F, Has, In, Not, Or, Predicate, Rng, T

Judge: TypeAlias = Callable[[Any], bool]
"""Takes Facts, or what has the same attributes but for `links`, which no fact leaf asks for."""


def judge(predicate: Predicate) -> Judge | None:
    """What `holds` says of a row with those facts; None when the predicate looks at more than the facts of that row."""
    make = _JUDGES.get(type(predicate))
    return make(predicate) if make else None


def _and(p: And) -> Judge | None:
    return _several(p.of, until=False)


def _or(p: Or) -> Judge | None:
    return _several(p.of, until=True)


def _several(parts: tuple[Predicate, ...], *, until: bool) -> Judge | None:
    judges = [judge(part) for part in parts]
    known = tuple(each for each in judges if each)
    if len(known) < len(judges):
        return None

    def several(facts: Any) -> bool:
        for each in known:
            if each(facts) is until:
                return until
        return not until

    return several


def _not(p: Not) -> Judge | None:
    of = judge(p.of)
    return None if of is None else lambda facts: not of(facts)


def _eq(p: Eq) -> Judge:
    column, value = p.column, p.value
    if column == "patient":
        return lambda facts: facts.patient == value
    if column == "rtype":
        return lambda facts: facts.rtype == value
    if column == "kind":
        return lambda facts: facts.kind == value
    return lambda facts: bool(getattr(facts, column) == value)


def _in(p: In) -> Judge:
    column, values = p.column, p.values
    return lambda facts: getattr(facts, column) in values


def _has(p: Has) -> Judge:
    column, value = p.column, p.value
    return lambda facts: value in getattr(facts, column)


def _bit(p: Bit) -> Judge:
    mask = p.mask
    return lambda facts: facts.vis & mask != 0


def _rng(p: Rng) -> Judge:
    column, low, high = p.column, p.low, p.high

    def within(facts: Any) -> bool:
        time = getattr(facts, column)
        return time is not None and (low is None or low <= time) and (high is None or time < high)

    return within


_JUDGES: Final[dict[type, Callable[[Any], Judge | None]]] = {
    T: lambda p: lambda facts: True,
    F: lambda p: lambda facts: False,
    And: _and,
    Or: _or,
    Not: _not,
    Eq: _eq,
    In: _in,
    Has: _has,
    Bit: _bit,
    Rng: _rng,
}
