"""Where a search begins, its own rows or those at the other end of a hop: with what is fewest.

That is the ids it names; else the rows of one leaf, or of one hop, when these are few; else the rows of the records it
is confined to; at worst all rows of the types, in the order of creation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from fhir_server.search.predicate import And, AnyRef, Eq, F, Has, In, Or, Predicate, RefersTo, conj
from fhir_server.storage.sqlite.clauses import EVERY, Clause, Parts, all_of, among, among_rids, joined
from fhir_server.storage.sqlite.names import UNKNOWN, Names
from fhir_server.storage.sqlite.rows import MULTI

FEW_OF_RECORDS: Final = 100
FEW_OF_ALL: Final = 5000
"""How many rows a leaf may find for a search to begin with it: within patients' records; in the whole store."""

_MOST_KEYS: Final = 1000
_MOST_RECORDS: Final = 8


@dataclass(frozen=True, slots=True)
class Start:
    """How table `resource` is entered, the condition that does it, what is left to ask."""

    index: str
    condition: Clause
    rest: Predicate


@dataclass(frozen=True, slots=True)
class Scope:
    """The resources that are looked among: of `types` (with their symbols), in the compartments `cids` (None: any)."""

    types: dict[str, int]
    cids: tuple[int, ...] | None

    @property
    def few(self) -> int:
        """How many rows are few here."""
        return FEW_OF_ALL if self.cids is None or 0 in self.cids else FEW_OF_RECORDS

    @property
    def homes(self) -> list[int] | None:
        """The compartments that their index rows lie in: those of Patients are under 0."""
        if self.cids is None:
            return None
        of_records = self.cids if any(type != "Patient" for type in self.types) else ()
        return [*of_records, *((0,) if "Patient" in self.types else ())]

    def confined(self) -> Clause:
        """`r` is one of them."""
        types = among("r.type", list(self.types.values()))
        return types if self.cids is None else all_of(types, among("r.cid", self.cids))

    def all(self, *, by_time: bool = False) -> str:
        """How table `resource` is entered for all of them: in the order of creation where one index has it, of time if
        that is wanted."""
        if self.cids is None or (len(self.cids) > 1 and 0 in self.cids):
            return "INDEXED BY by_type"
        return f"INDEXED BY {'by_time' if by_time else 'by_record'}"


_NOTHING: Final = Clause("SELECT 0 WHERE 0")
NOWHERE: Final = Scope({}, None)
"""Where nothing is."""


def scope(
    parts: Parts, names: Names, types: Sequence[str], patients: Sequence[str | None] | None, *predicates: Predicate
) -> Scope | None:
    """Where to look for what satisfies all of `predicates`: in the records of `patients`, else where the predicates say
    that it can be. None when there is no such place."""
    # Types without a symbol have no rows.
    known = {type: sid for type in types if (sid := names.symbol(type)) != UNKNOWN}
    if patients is not None:
        cids: tuple[int, ...] | None = tuple(map(names.compartment, patients))
    else:
        cids = _inhabited(parts, names, known, records(And(predicates))) if known else ()
    return Scope(known, cids) if known and cids != () else None


def _inhabited(
    parts: Parts, names: Names, types: dict[str, int], patients: frozenset[str | None] | None
) -> tuple[int, ...] | None:
    """Those of a few compartments that have rows of the types."""
    if patients is None or len(patients) > _MOST_RECORDS:
        return None
    sids = among("r.type", list(types.values()))
    return tuple(
        cid
        for cid in sorted(map(names.compartment, patients))
        if parts.any(Clause(f"SELECT 1 FROM resource AS r WHERE r.cid = ? AND {sids.text}", (cid, *sids.args)))
    )


def records(predicate: Predicate) -> frozenset[str | None] | None:
    """The patients in whose records every row that satisfies `predicate` lies (None for what is in nobody's), or None
    when it does not say."""
    match predicate:
        case F():
            return frozenset()
        case Eq("patient", value):
            return frozenset({value})
        case In("patient", values):
            return values
        case Eq("kind", "public"):
            return frozenset({None})
        case And(of):
            known = [found for part in of if (found := records(part)) is not None]
            return frozenset.intersection(*known) if known else None
        case Or(of):
            each = [records(part) for part in of]
            return None if None in each else frozenset[str | None]().union(*(found for found in each if found))
    return None


def begin(
    names: Names,
    parts: Parts,
    scope: Scope,
    where: Predicate,
    rids: Callable[[Predicate], Clause | None],
    least: int,
) -> Start | None:
    """A beginning by fewer rows than `least`, if there is one. `rids`: the rows of a part by indexes alone
    (Compiler.rids)."""
    asked = _parts(where)
    for part in asked:
        keys = _keys(scope, part)
        if keys is not None:
            return Start("INDEXED BY by_key", among("r.key", keys), _without(asked, part))
    fewest, found = None, EVERY
    for part in asked:
        if _is_everywhere(names, scope, part):
            continue
        each = rids(part)
        if each is not None and (size := parts.size(each, least)) < least:
            fewest, found, least = part, each, size
    return Start("NOT INDEXED", among_rids(found), _without(asked, fewest)) if fewest else None


def seen(names: Names, scope: Scope, visible: Predicate) -> Clause | None:
    """SELECT rids, among them each of a live row of the scope that satisfies `visible`, when its facts lead there: who
    sees of a record what they wrote, or of content that of some documents, enters by these. What is hidden from them
    then costs nothing, and no time tells of it. None when nothing leads there.
    """
    match visible:
        case F():
            return _NOTHING
        case Eq("patient", str(patient)) if scope.cids is not None and names.compartment(patient) not in scope.cids:
            return _NOTHING
        case Eq("rtype", str(type)) if type not in scope.types:
            return _NOTHING
        case In("rtype", types) if types.isdisjoint(scope.types):
            return _NOTHING
        case Has(column, value) if scope.cids is not None:
            cids = among("m.cid", scope.cids)
            text = f"SELECT m.rid FROM multi AS m WHERE {cids.text} AND m.fact = ? AND m.value = ?"
            return Clause(text, (*cids.args, MULTI[column], names.symbol(value)))
        case AnyRef(some):
            return _linked(names, some)
        case And(of):
            ways = [way for part in of if (way := seen(names, scope, part)) is not None]
            return _NOTHING if _NOTHING in ways else next(iter(ways), None)
        case Or(of):
            ways = [way for part in of if (way := seen(names, scope, part)) is not None]
            return joined(list(dict.fromkeys(ways)), " UNION ALL ") if len(ways) == len(of) else None
    return None


def _linked(names: Names, some: Predicate) -> Clause | None:
    """SELECT the rids of what rows of records link to, when `some` is of such rows of one type."""
    patients = records(some)
    types = [part.value for part in _parts(some) if isinstance(part, Eq) and part.column == "rtype"]
    if not patients or None in types or len(types) != 1:
        return None if patients is None or patients else _NOTHING
    cids = among("r.cid", sorted(map(names.compartment, patients)))
    return Clause(
        "SELECT t.rid FROM resource AS r INDEXED BY by_record CROSS JOIN link AS k ON k.rid = r.rid AND k.pid = 0"
        " CROSS JOIN symbol AS s ON s.sid = k.target CROSS JOIN resource AS t ON t.key = s.text"
        f" WHERE {cids.text} AND r.type = ?",
        (*cids.args, names.symbol(str(types[0]))),
    )


def _parts(predicate: Predicate) -> Sequence[Predicate]:
    return predicate.of if isinstance(predicate, And) else (predicate,)


def _without(parts: Sequence[Predicate], part: Predicate) -> Predicate:
    return conj(*(other for other in parts if other is not part))


def _is_everywhere(names: Names, scope: Scope, part: Predicate) -> bool:
    """Almost every row of a record refers to its patient: nothing to begin with."""
    return isinstance(part, RefersTo) and scope.cids is not None and names.symbol(part.target) in scope.cids


def _keys(scope: Scope, part: Predicate) -> list[str] | None:
    """The "Type/id" that a part names, None when it names none."""
    match part:
        case Eq("id", str(id)):
            ids: Sequence[str] = [id]
        case In("id", values):
            ids = sorted(values)
        case _:
            return None
    keys = [f"{type}/{id}" for type in scope.types for id in ids]
    return keys if 0 < len(keys) <= _MOST_KEYS else None
