"""The order of a search, in memory: the oracle of what stores sort by (search/plan.py, `Sort` and `Plan.sort`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cmp_to_key
from typing import Any, Final, TypeAlias

from fhir_server.search.entries import Entries
from fhir_server.search.match import Row
from fhir_server.search.plan import Sort, Value

Place: TypeAlias = tuple[tuple[Value, ...], int]
"""Where a row stands: its value of each sort key, and its position."""


def values(sort: Sequence[Sort], row: Row) -> tuple[Value, ...]:
    """The row's value of each key; KeyError for a kind that has no order."""
    return tuple(_value(key, row) for key in sort)


def compare(sort: Sequence[Sort], one: Place, other: Place) -> int:
    """Below 0 when `one` comes before `other`, above when after, 0 for the same place."""
    for key, a, b in zip(sort, one[0], other[0], strict=True):
        if a != b:
            if a is None or b is None:
                return 1 if a is None else -1
            return _compared(a, b, key.descending)
    return _compared(one[1], other[1], bool(sort) and sort[-1].descending)


def key_of(sort: Sequence[Sort]) -> Callable[[Place], Any]:
    """The key to give to `sorted` for a list of places."""
    return cmp_to_key(lambda one, other: compare(sort, one, other))


def _value(key: Sort, row: Row) -> Value:
    if key.kind == "row":
        return row.facts.id if key.param == "_id" else row.time
    found: list[Any] = [value for param, value in _ENTRIES[key.kind](row.entries) if param == key.param]
    extreme = max if key.descending else min
    value: Value = extreme(found, default=None)
    return value


def _compared(a: Any, b: Any, descending: bool) -> int:
    """Values of one key are of one kind: texts, or numbers."""
    above = (a > b) - (a < b)
    return int(-above if descending else above)


_ENTRIES: Final[dict[str, Callable[[Entries], Iterable[tuple[str, Any]]]]] = {
    "token": lambda of: ((each.param, each.code) for each in of.tokens),
    "string": lambda of: ((each.param, each.normal) for each in of.strings if each.exact),
    "date": lambda of: ((each.param, each.low) for each in of.dates),
    "number": lambda of: ((each.param, each.low) for each in of.numbers),
    "quantity": lambda of: ((each.param, each.low) for each in of.quantities),
    "reference": lambda of: ((each.param, each.target) for each in of.references),
    "uri": lambda of: ((each.param, each.value) for each in of.uris),
}
