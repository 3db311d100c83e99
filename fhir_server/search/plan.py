"""What a search asks a store for: pure data, made by `parse`, compiled by each store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from fhir_server.search.predicate import TRUE, Predicate

OF_THE_ROW: Final = ("_lastUpdated", "_id")

Value: TypeAlias = str | int | float | None


@dataclass(frozen=True, slots=True)
class Sort:
    """One key of an order: `param` is "_lastUpdated", "_id", or the code of a search parameter of that `kind`.

    `kind`: "row" for the first two, else token, string, date, number, quantity, reference or uri. The value of a row is
    that of its least entry, when descending of its greatest: the code of a token, the normal form of a string, the low
    end of a date, number or quantity, the target of a reference, the uri. Strings without an `exact` form do not count:
    they are there to be found by. Texts are in the order of their code points. Rows without an entry come last in
    either direction.
    """

    param: str
    kind: str = "row"
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """One page of one search.

    `patients`: the compartments that the answer is confined to, None when unknown. A routing hint (index prefix, shard
    key) that `where` or the visibility predicate must imply; never what keeps a row from the caller.
    `sort`: the keys, most significant first; ties, and everything when there are none, are in the order of creation
    (`Version.position`), reversed when the last key is descending.
    `after`: the place of the last row of the page before, (its value of each sort key, Version.position); None at
    first.
    `limit` rows at the most.
    """

    types: tuple[str, ...]
    where: Predicate = TRUE
    patients: tuple[str, ...] | None = None
    sort: tuple[Sort, ...] = ()
    after: tuple[tuple[Value, ...], int] | None = None
    limit: int = 20
