"""Acts done, or not done, as Procedure; an act that is asked for or planned is no Procedure.

Source: CI-SIS FR-Acte (1.2.250.1.213.1.1.3.62), IHE PCC Procedure Entry, C-CDA Procedure Activity Procedure; importers
page §6 rules 8 to 10.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from importers.cda.entries.absent import Absence, absence_in
from importers.cda.entries.condition import problem_code
from importers.cda.entries.entry import Entry, Reference
from importers.cda.entries.observation import STATUSES, effective
from importers.cda.entries.statement import Statement

_STATUSES: Final = {
    "completed": "completed",
    "active": "in-progress",
    "aborted": "stopped",
    "suspended": "on-hold",
    "cancelled": "not-done",
    "held": "not-done",
    "new": "preparation",
    "nullified": "entered-in-error",
}
_APPROACH: Final = "http://hl7.org/fhir/StructureDefinition/procedure-approachBodyStructure"
# What is nested in an act and belongs to it, whatever else has a handler of its own.
_PARTS: Final = frozenset({"problem", "reaction", "reason", "comment", "simple-observation"})


def procedure(statement: Statement, entry: Entry) -> list[Reference]:
    """One Procedure, and what the statements nested in it say of themselves."""
    absence = absence_in(statement.first("code"))
    if absence is Absence.UNKNOWN:
        entry.unavailable()
        return []
    if statement.mood != "EVN":
        return []
    code, said = entry.concept(statement.first("code")), entry.narrative(statement)
    if code is None and said is None:
        return []
    performed = _performed(statement, entry)
    content: dict[str, Any] = {
        "extension": _approaches(statement, entry),
        "status": "unknown" if absence else _status(statement),
        "code": code or {"text": said},
        **performed,
        "recorder": entry.recorder(statement),
        "asserter": entry.asserter(statement),
        "performer": [{"actor": each} for each in entry.performers(statement)],
        "reasonCode": list(reasons(statement, entry)),
        "bodySite": [found for each in statement.all("targetSiteCode") if (found := entry.concept(each))],
        "complication": list(_complications(statement, entry)),
        "note": entry.annotations(statement),
    }
    for nested in statement.nested:
        if nested.kind not in _PARTS:
            entry.convert(nested)
    when = performed.get("performedDateTime") or performed.get("performedPeriod", {}).get("start")
    return [entry.add(statement, "Procedure", content, code=content["code"], when=when)]


def finding(statement: Statement, entry: Entry) -> list[Reference]:
    """An act that is told as an observation: the Procedure and, where it has a value, the Observation made in it."""
    made, value = procedure(statement, entry), entry.value(statement.first("value"))
    code = entry.concept(statement.first("code"))
    if not made or not value or code is None:
        return made
    when = effective(statement, entry)
    content = {"status": STATUSES.get(statement.status or "", "unknown"), "code": code, **when, **value, "partOf": made}
    return [*made, entry.add(statement, "Observation", content, code=code, when=when.get("effectiveDateTime"))]


def reasons(statement: Statement, entry: Entry) -> Iterator[dict[str, Any]]:
    """Why: what is tied by RSON, by its value where it is a problem, else by its code."""
    for each in statement.related("RSON"):
        found = problem_code(each, entry) if each.first("value") is not None else entry.concept(each.first("code"))
        if found:
            yield found


def _status(statement: Statement) -> str:
    return "not-done" if statement.negated else _STATUSES.get(statement.status or "completed", "unknown")


def _performed(statement: Statement, entry: Entry) -> dict[str, Any]:
    element = statement.first("effectiveTime")
    moment = entry.moment(element)
    if moment:
        return {"performedDateTime": moment}
    found = entry.period(element)
    return {"performedPeriod": found} if found else {}


def _approaches(statement: Statement, entry: Entry) -> list[dict[str, Any]]:
    """The way in, which R4 has as the name of a body structure only."""
    found = [entry.concept(each) for each in statement.all("approachSiteCode")]
    names = [each["text"] for each in found if each and "text" in each]
    return [{"url": _APPROACH, "valueReference": {"type": "BodyStructure", "display": each}} for each in names]


def _complications(statement: Statement, entry: Entry) -> Iterator[dict[str, Any]]:
    for each in statement.of_kind("problem", "reaction"):
        found = None if each.negated or each.relation == "RSON" else problem_code(each, entry)
        if found:
            yield found
