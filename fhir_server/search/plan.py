"""What a search asks a store for: pure data, made by `parse`, compiled by each store."""

from __future__ import annotations

from dataclasses import dataclass

from fhir_server.search.predicate import TRUE, Predicate


@dataclass(frozen=True, slots=True)
class Sort:
    """`key`: "_lastUpdated" or "_id" (or "" for the store's own order, that of creation)."""

    key: str = ""
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """One page of one search.

    `patients`: the compartments that the answer is confined to, None when unknown. A routing hint (index prefix, shard
    key) that `where` or the visibility predicate must imply; never what keeps a row from the caller.
    `after`: the position of the last row of the page before: (value of the sort key, Version.position); None at first.
    `limit` rows at the most.
    """

    types: tuple[str, ...]
    where: Predicate = TRUE
    patients: tuple[str, ...] | None = None
    sort: Sort = Sort()
    after: tuple[int | str, int] | None = None
    limit: int = 20
