"""On what grounds a caller sees rows of one record, and what bars them: the decision, and its explanation, in one.

The predicate of a caller is made of these parts and of nothing else, so what explains a decision is what made it
(spec access §6, `$explain-access`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from fhir_server.search.match import Refs, Row, holds
from fhir_server.search.predicate import FALSE, Predicate, conj, disj, negate

CLOSED: Final = "closed"
NO_GROUND: Final = "no-ground"


class Ground(NamedTuple):
    """`code`: of `terminologies/access/reasons.json`; `rows`: those it is about; `about`: what says so ("Consent/id"),
    "" when it is the law alone; `parts`: who says it of which of them, where several do."""

    code: str
    rows: Predicate
    about: str = ""
    parts: tuple[tuple[str, Predicate], ...] = ()


class Reason(NamedTuple):
    """Why a row is seen, or is not."""

    code: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Grounds:
    """A row of the record is seen when one of `opens` is about it and none of `bars`."""

    opens: tuple[Ground, ...] = ()
    bars: tuple[Ground, ...] = ()

    def predicate(self) -> Predicate:
        """The rows that are seen."""
        opened = disj(*(each.rows for each in self.opens))
        return opened if opened is FALSE else conj(opened, *[negate(each.rows) for each in self.bars])

    def shows(self, row: Row, refs: Refs | None = None) -> bool:
        """Whether the row is seen for what it is."""
        return holds(self.predicate(), row, refs)

    def reasons(self, row: Row, refs: Refs | None = None) -> list[Reason]:
        """What is about that row: what opens it where it is seen, else what bars it, and that nothing opens it."""
        opens = _about(self.opens, row, refs)
        bars = _about(self.bars, row, refs)
        if opens and not bars:
            return opens
        return bars if opens else [*bars, Reason(NO_GROUND)]


def grounds(*known: Ground) -> tuple[Ground, ...]:
    """Those that are about any row at all."""
    return tuple([each for each in known if each.rows is not FALSE])


def _about(known: Iterable[Ground], row: Row, refs: Refs | None) -> list[Reason]:
    """What is about that row, each once."""
    found = (
        Reason(each.code, about)
        for each in known
        if holds(each.rows, row, refs)
        for about, rows in each.parts or ((each.about, each.rows),)
        if holds(rows, row, refs)
    )
    return list(dict.fromkeys(found))
