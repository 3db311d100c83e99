"""Problems as Condition, where they are problems of their own and not the reaction or the reason of something else.

Source: CI-SIS FR-Probleme (1.2.250.1.213.1.1.3.37), IHE PCC Problem Entry, C-CDA Problem Observation; importers page §6
rules 8, 9, 10 and 12.
"""

from __future__ import annotations

from typing import Any, Final

from importers.cda.entries.absent import Absence, absence_in
from importers.cda.entries.entry import Entry, Reference
from importers.cda.entries.observation import measurements
from importers.cda.entries.statement import Statement
from importers.cda.entries.status import certainty, clinical_status, course, is_over

CLINICAL: Final = "http://terminology.hl7.org/CodeSystem/condition-clinical"
VERIFICATION: Final = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
CATEGORY: Final = "http://terminology.hl7.org/CodeSystem/condition-category"

# The acts a problem is the subject of.
_CATEGORIES: Final = {"problem-concern": "problem-list-item", "diagnosis": "encounter-diagnosis"}
_VERIFICATIONS: Final = frozenset(
    {"unconfirmed", "provisional", "differential", "confirmed", "refuted", "entered-in-error"}
)


def condition(statement: Statement, entry: Entry) -> list[Reference]:
    """One Condition, where the problem is an entry, a part of an organizer, the subject of a concern or a diagnosis.

    None anywhere else (it is then read by the statement it belongs to), none where the document has no information on
    problems, and none where nothing tells which problem it is.
    """
    parent = statement.parent
    if parent is not None and parent.kind not in _CATEGORIES and parent.name != "organizer":
        return []
    absence = absence_in(statement.first("value"))
    if absence is Absence.UNKNOWN:
        entry.unavailable()
        return []
    code = problem_code(statement, entry)
    if code is None:
        return []
    time = course(statement, entry)
    content: dict[str, Any] = {
        **_statuses(statement, time.over, absence is Absence.NONE, entry),
        "severity": _severity(statement, entry),
        "code": code,
        "bodySite": [found for each in statement.all("targetSiteCode") if (found := entry.concept(each))],
        "onsetDateTime": time.start,
        "abatementDateTime": time.end,
        "recordedDate": entry.recorded(statement),
        "recorder": entry.recorder(statement),
        "asserter": entry.asserter(statement),
        "evidence": [{"detail": each} for each in [measurements(statement, entry)] if each],
        "note": [*entry.annotations(statement), *_patient_status(statement, entry)],
    }
    _end_with_status(content, statement, entry)
    return [entry.add(statement, "Condition", content, code=code, when=time.start)]


def problem_code(statement: Statement, entry: Entry) -> dict[str, Any] | None:
    """Which problem it is: the value, else what the narrative says of it; None where neither says anything."""
    value = statement.first("value")
    found = entry.value(value) if value is not None else {}
    concept = (found or {}).get("valueCodeableConcept")
    said = (found or {}).get("valueString") or (None if concept else entry.narrative(statement))
    return concept or ({"text": said} if said else None)


def _statuses(statement: Statement, over: bool, none_known: bool, entry: Entry) -> dict[str, Any]:
    if none_known:
        return {"clinicalStatus": _coded(CLINICAL, "active"), "verificationStatus": _coded(VERIFICATION, "confirmed")}
    if statement.negated:
        return {"verificationStatus": _coded(VERIFICATION, "refuted")}
    said = certainty(statement)
    said = "provisional" if said == "presumed" else said
    found: dict[str, Any] = {"clinicalStatus": _coded(CLINICAL, clinical_status(statement, course(statement, entry)))}
    if said == "entered-in-error":
        found = {}
    if said in _VERIFICATIONS:
        found["verificationStatus"] = _coded(VERIFICATION, said)
    category = _CATEGORIES.get((statement.parent.kind if statement.parent else None) or "")
    if category:
        found["category"] = [_coded(CATEGORY, category)]
    return found


def _end_with_status(content: dict[str, Any], statement: Statement, entry: Entry) -> None:
    """Leave out the end of what is said to go on (con-4): the status wins over the date, and the end is a note."""
    status = content.get("clinicalStatus")
    end = content["abatementDateTime"]
    if end and status and not is_over(status["coding"][0]["code"]):
        content["abatementDateTime"] = None
        content["note"] = [*content["note"], {"text": f"Fin indiquée : {end}"}]
        entry.issue("end-of-active", statement.first("effectiveTime"))


def _severity(statement: Statement, entry: Entry) -> dict[str, Any] | None:
    found = (entry.concept(each.first("value")) for each in statement.of_kind("severity"))
    return next((each for each in found if each), None)


def _patient_status(statement: Statement, entry: Entry) -> list[dict[str, Any]]:
    """The general state of the patient with this problem, which Condition has no element for."""
    found = [entry.concept(each.first("value")) for each in statement.of_kind("clinical-status")]
    return [{"text": f"Statut clinique du patient : {each['text']}"} for each in found if each and "text" in each]


def _coded(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}
