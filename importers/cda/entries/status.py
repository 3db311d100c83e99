"""How a problem or an allergy stands: its course in time, its clinical and its verification status.

The status an observation says wins over dates, and dates over the concern it is in. Several OIDs name the HL7 status
systems, so a code is judged by itself. Source: importers page §6 rule 12.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from importers.cda.elements import attribute, child
from importers.cda.entries.entry import Entry
from importers.cda.entries.statement import Statement

# Codes of condition-clinical and allergyintolerance-clinical, SNOMED 3.5 (G-…), SNOMED CT, the answers of LOINC (LA…).
_CLINICAL: Final[Mapping[str, str]] = {
    **{each: each for each in ("active", "recurrence", "relapse", "inactive", "remission", "resolved")},
    "G-A230": "active",
    "G-A397": "recurrence",
    "55561003": "active",
    "73425007": "inactive",
    "413322009": "resolved",
    "255227004": "recurrence",
    "277022003": "remission",
    "7087005": "active",
    "90734009": "active",
    "LA16666-2": "active",
    "LA18632-2": "inactive",
}
_CONCERNS: Final[Mapping[str, str]] = {
    "active": "active",
    "completed": "resolved",
    "suspended": "inactive",
    "aborted": "inactive",
}
_ENDED: Final = frozenset({"inactive", "remission", "resolved"})


@dataclass(frozen=True, slots=True)
class Course:
    """When something began and ended, as dateTimes where known; `over` where it is said to have ended, known or not."""

    start: str | None
    end: str | None
    over: bool


def course(statement: Statement, entry: Entry) -> Course:
    """The effectiveTime of a statement; a value alone is its start. An end before the start is noted and left out."""
    element = statement.first("effectiveTime")
    low, high = child(element, "low"), child(element, "high")
    if low is None and high is None:
        return Course(entry.moment(element), None, False)
    found = entry.period(element)
    # An end that is there and unknown is an end; one that does not apply is none.
    unknown = high is not None and attribute(high, "nullFlavor") in ("UNK", "NI", "NAV", "ASKU", "NASK", "MSK")
    return Course(found.get("start"), found.get("end"), "end" in found or unknown)


def said_status(statement: Statement) -> str | None:
    """The clinical status that a nested observation says; None where none does, or where its code is not known."""
    codes = (attribute(each.first("value"), "code") or "" for each in statement.of_kind("problem-status"))
    return next((_CLINICAL[each] for each in codes if each in _CLINICAL), None)


def clinical_status(statement: Statement, time: Course) -> str:
    """`active`, `recurrence`, `relapse`, `inactive`, `remission` or `resolved`."""
    said = said_status(statement)
    if said:
        return said
    if time.over:
        return "resolved"
    concern = statement.parent.status if statement.parent and statement.parent.name == "act" else None
    return _CONCERNS.get(concern or "", "active")


def is_over(status: str) -> bool:
    """Whether a status lets a condition have an end (con-4)."""
    return status in _ENDED


def certainty(statement: Statement) -> str | None:
    """The code of the nested certainty observation, in small letters."""
    codes = (attribute(each.first("value"), "code") for each in statement.of_kind("certainty"))
    return next((each.lower() for each in codes if each), None)
