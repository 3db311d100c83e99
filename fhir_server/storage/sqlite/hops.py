"""Hops: from a row to those it refers to, or that refer to it, each with what the caller may see of the other end.

A hop is a named part of the statement, in one of two ways. *few* are the rows that it leads from, gathered from the
other end, when a search there begins with few and ends with few: then a search may begin with the hop. A *probe* goes
from each row that is asked about to the other end. Either is as deep in hops as it likes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fhir_server.search.predicate import Chained, Predicate, Referred
from fhir_server.storage.sqlite import start
from fhir_server.storage.sqlite.clauses import NEVER, Clause, all_of, among

if TYPE_CHECKING:
    from fhir_server.storage.sqlite.compile import Compiler

_LIVE: Final = Clause("r.deleted = 0")

# By the tables on the way: from row to link to the text that it points to, or back.
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


def few(compiler: Compiler, hop: Chained | Referred) -> Clause | None:
    """SELECT the rids that the hop leads from, None when they are not few or not soon found."""
    mark = len(compiler.parts.named)
    part = _gathered(compiler, hop)
    if part is not None:
        found = Clause(f"SELECT rid FROM {part}")
        if compiler.parts.size(found, compiler.scope.few) < compiler.scope.few:
            return found
    del compiler.parts.named[mark:]
    return None


def probe(compiler: Compiler, hop: Chained | Referred) -> Clause:
    """The hop leads from this row."""
    there = _there(compiler, hop)
    pids = _pids(compiler, there, hop)
    if there is None or not pids:
        # Nowhere to go, but what is refused elsewhere is refused here too.
        compiler.check(_asked(hop))
        return NEVER
    asked = all_of(
        among("k.pid", pids),
        there.scope.confined(),
        _LIVE,
        there.condition(_asked(hop)),
        there.condition(_visible(hop)),
    )
    if isinstance(hop, Chained):
        part = compiler.parts.add("rid", Clause(f"{_TO_TARGET} WHERE {asked.text}", asked.args))
        return Clause(f"EXISTS (SELECT 1 FROM {part} WHERE {part}.rid = r.rid)")
    part = compiler.parts.add("target", Clause(f"{_TO_REFERRER} WHERE {asked.text}", asked.args))
    return Clause(f"EXISTS (SELECT 1 FROM {part} WHERE {part}.target = r.key)")


def _gathered(compiler: Compiler, hop: Chained | Referred) -> str | None:
    """The part that goes through few rows at the other end, back to those the hop leads from."""
    there = _there(compiler, hop)
    pids = _pids(compiler, there, hop)
    beginning = start.begin(there, _asked(hop)) if there and pids else None
    if there is None or beginning is None:
        return None
    found = all_of(
        beginning.condition,
        there.scope.confined(),
        _LIVE,
        there.condition(beginning.rest),
        there.condition(_visible(hop)),
        among("k.pid", pids),
    )
    way = (_FROM_TARGET if isinstance(hop, Chained) else _FROM_REFERRER).format(beginning.index)
    return compiler.parts.add("rid", Clause(f"{way} WHERE {found.text}", found.args))


def _there(compiler: Compiler, hop: Chained | Referred) -> Compiler | None:
    """A compiler for the rows at the other end; None when there can be none."""
    types = hop.types if isinstance(hop, Chained) else (hop.type,)
    scope = start.scope(compiler.parts, compiler.names, types, None, _asked(hop), _visible(hop))
    return compiler.of(scope) if scope else None


def _pids(compiler: Compiler, there: Compiler | None, hop: Chained | Referred) -> list[int]:
    """The reference parameter, of the types that it belongs to."""
    known = compiler if isinstance(hop, Chained) else there
    return known.pids(hop.param) if known else []


def _asked(hop: Chained | Referred) -> Predicate:
    return hop.to if isinstance(hop, Chained) else hop.by


def _visible(hop: Chained | Referred) -> Predicate:
    if hop.visible is None:
        raise ValueError("a hop was asked without what the caller may see at its other end")
    return hop.visible
