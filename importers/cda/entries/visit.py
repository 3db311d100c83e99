"""Encounters that the body tells of, past or planned, as Encounter.

Source: CI-SIS FR-Prise-en-charge (1.2.250.1.213.1.1.3.58), IHE PCC Encounters, C-CDA Encounter Activity; importers page
§4 and §6 rule 10.
"""

from __future__ import annotations

from typing import Any, Final

from importers.cda.elements import child, text
from importers.cda.encounter import class_of
from importers.cda.entries.entry import Entry, Reference
from importers.cda.entries.procedure import reasons
from importers.cda.entries.statement import Statement

_STATUSES: Final = {
    "completed": "finished",
    "active": "in-progress",
    "aborted": "cancelled",
    "cancelled": "cancelled",
    "nullified": "entered-in-error",
}
_PARTS: Final = frozenset({"reason", "comment", "reaction"})


def visit(statement: Statement, entry: Entry) -> list[Reference]:
    """One Encounter, and what the statements nested in it say of themselves."""
    code, said = entry.concept(statement.first("code")), entry.narrative(statement)
    element = statement.first("effectiveTime")
    moment = entry.moment(element)
    period = {"start": moment, "end": moment} if moment else entry.period(element)
    if code is None and not period:
        return []
    status = "planned" if statement.mood != "EVN" else _STATUSES.get(statement.status or "completed", "unknown")
    diagnoses = [
        reference
        for each in statement.nested
        if each.kind not in _PARTS
        for reference in entry.convert(each)
        if each.kind in ("problem-concern", "diagnosis")
    ]
    content: dict[str, Any] = {
        "status": status,
        "class": class_of(code),
        "type": [code or {"text": said}] if code or said else None,
        "participant": _participants(statement, entry),
        "period": period,
        "reasonCode": list(reasons(statement, entry)),
        "diagnosis": [{"condition": each} for each in diagnoses],
        "location": _locations(statement),
        "serviceProvider": _provider(statement, entry),
    }
    return [entry.add(statement, "Encounter", content, code=code, when=period.get("start"))]


def _participants(statement: Statement, entry: Entry) -> list[dict[str, Any]]:
    persons = (each for each in entry.performers(statement) if each.get("type") in ("Practitioner", "RelatedPerson"))
    return [{"individual": each} for each in persons]


def _locations(statement: Statement) -> list[dict[str, Any]]:
    places = (child(each, "participantRole") for each in statement.all("participant") if each.get("typeCode") == "LOC")
    names = (text(child(child(each, "playingEntity"), "name")) for each in places)
    return [{"location": {"type": "Location", "display": each}} for each in names if each]


def _provider(statement: Statement, entry: Entry) -> Reference | None:
    found = (entry.source.people.organization_of(each) for each in statement.all("performer"))
    return next((each for each in found if each), None)
