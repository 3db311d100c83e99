"""Hops: from a row to those it refers to, or that refer to it, each with what the caller may see of the other end.

A hop is a named part of the statement, in one of two ways. Its *rids* are the rows that it leads from, gathered from
the other end: right when a search there begins with few and ends with few, and then a search may begin with the hop. A
*probe* goes from each row that is asked about to the other end. Here is how the ways lie in the tables; what is asked
at the other end is compiled there (compile.py), as deep in hops as it likes.
"""

from __future__ import annotations

from typing import Final

from fhir_server.search.predicate import Chained, Predicate, Referred
from fhir_server.storage.sqlite.clauses import Clause, Parts, all_of
from fhir_server.storage.sqlite.start import Start

LINKED: Final = Clause("k.pid = 0")
"""Rows of table `link` that are no search parameter's: every link of a resource (Facts.links)."""

# By the tables on the way: from row to link to the text that it points to, or back. Table `r` is at the other end.
_TO_TARGET: Final = (
    "SELECT k.rid FROM link AS k CROSS JOIN symbol AS s ON s.sid = k.target CROSS JOIN resource AS r ON r.key = s.text"
)
_TO_REFERRER: Final = (
    "SELECT s.text FROM symbol AS s CROSS JOIN link AS k ON k.target = s.sid CROSS JOIN resource AS r ON r.rid = k.rid"
)
_FROM_TARGET: Final = (
    "SELECT k.rid FROM resource AS r {} CROSS JOIN symbol AS s ON s.text = r.key"
    " CROSS JOIN link AS k ON k.target = s.sid"
)
_FROM_REFERRER: Final = (
    "SELECT t.rid FROM resource AS r {} CROSS JOIN link AS k ON k.rid = r.rid"
    " CROSS JOIN symbol AS s ON s.sid = k.target CROSS JOIN resource AS t ON t.key = s.text"
)


def refers(parts: Parts, *there: Clause) -> Clause:
    """The row refers to one that is `there`."""
    part = _part(parts, "rid", _TO_TARGET, there)
    return Clause(f"EXISTS (SELECT 1 FROM {part} WHERE {part}.rid = r.rid)")


def referred(parts: Parts, *there: Clause) -> Clause:
    """One that is `there` refers to the row."""
    part = _part(parts, "target", _TO_REFERRER, there)
    return Clause(f"EXISTS (SELECT 1 FROM {part} WHERE {part}.target = r.key)")


def rids(parts: Parts, hop: Chained | Referred, begun: Start, *there: Clause) -> Clause:
    """SELECT the rids that lead to what is `there`, or that it leads to, beginning at that end."""
    way = _FROM_TARGET if isinstance(hop, Chained) else _FROM_REFERRER
    return Clause(f"SELECT rid FROM {_part(parts, 'rid', way.format(begun.index), (begun.condition, *there))}")


def _part(parts: Parts, column: str, way: str, there: tuple[Clause, ...]) -> str:
    found = all_of(*there)
    return parts.add(column, Clause(f"{way} WHERE {found.text}", found.args))


def types_of(hop: Chained | Referred) -> tuple[str, ...]:
    """The types that may be at the other end."""
    return hop.types if isinstance(hop, Chained) else (hop.type,)


def asked_of(hop: Chained | Referred) -> Predicate:
    """What the other end has to satisfy."""
    return hop.to if isinstance(hop, Chained) else hop.by


def visible_of(hop: Chained | Referred) -> Predicate:
    """What the caller may see of the other end; raises ValueError for a hop that nobody has cleared."""
    if hop.visible is None:
        raise ValueError("a hop was asked without what the caller may see at its other end")
    return hop.visible
