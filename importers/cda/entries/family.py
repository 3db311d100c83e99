"""What runs in the family as FamilyMemberHistory, one a relative; the relative is never the patient.

Source: CI-SIS FR-Antecedents-familiaux (1.2.250.1.213.1.1.3.59), IHE PCC Family History Organizer, C-CDA Family History
Organizer; importers page §6 rules 1 and 9.
"""

from __future__ import annotations

from typing import Any, Final

from lxml import etree

from importers.cda.elements import attribute, child, text
from importers.cda.entries.absent import Absence, absence_in
from importers.cda.entries.condition import problem_code
from importers.cda.entries.entry import Entry, Reference
from importers.cda.entries.statement import Statement
from importers.cda.entries.status import course

_FAMILY: Final = {"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "FAMMEMB"}
_GENDERS: Final = {"M": "male", "F": "female", "UN": "other"}
_SEX: Final = "http://hl7.org/fhir/administrative-gender"
# SNOMED CT (C-CDA) and LOINC (Italian summaries): the age at onset or at diagnosis.
_AGES_AT_ONSET: Final = frozenset({"445518008", "35267-4"})


def family_history(statement: Statement, entry: Entry) -> list[Reference]:
    """The FamilyMemberHistory of one relative.

    What is said not to run in the family is a note, since a condition of R4 cannot be negated; where nothing else is
    said there is none.
    """
    observations = [statement] if statement.name == "observation" else statement.of_kind("family-observation")
    told = [each for each in observations if absence_in(each.first("value")) is not Absence.UNKNOWN]
    if observations and not told:
        entry.unavailable()
        return []
    affirmed = [each for each in told if not each.negated or absence_in(each.first("value"))]
    conditions = [found for each in affirmed if (found := _condition(each, entry))]
    if not conditions:
        return []
    subject = child(statement.first("subject"), "relatedSubject")
    person = child(subject, "subject")
    notes = [*entry.annotations(statement), *(note for each in told if (note := _denied(each, entry)))]
    content: dict[str, Any] = {
        "status": "completed",
        "date": entry.recorded(statement),
        "name": text(child(person, "name")),
        "relationship": entry.concept(child(subject, "code")) or {"coding": [dict(_FAMILY)]},
        "sex": _sex(child(person, "administrativeGenderCode")),
        "bornDate": (entry.moment(child(person, "birthTime")) or "")[:10],
        "note": notes,
        "condition": conditions,
    }
    return [entry.add(statement, "FamilyMemberHistory", content, code=content["relationship"])]


def _condition(statement: Statement, entry: Entry) -> dict[str, Any] | None:
    code = problem_code(statement, entry)
    if code is None:
        return None
    time, age = course(statement, entry), _age(statement, entry)
    found = {
        "code": code,
        "onsetAge": age,
        "onsetPeriod": {"start": time.start} if time.start and not age else None,
        "note": entry.annotations(statement),
    }
    return {name: value for name, value in found.items() if value}


def _age(statement: Statement, entry: Entry) -> dict[str, Any] | None:
    for each in statement.nested:
        if each.code in _AGES_AT_ONSET:
            found = entry.quantity(each.first("value"))
            # age-1 wants a UCUM unit of time, and a whole number above 0.
            if found and found.get("code") in ("a", "mo", "wk", "d") and found["value"] > 0:
                return found
    return None


def _denied(statement: Statement, entry: Entry) -> dict[str, Any] | None:
    value = statement.first("value")
    code = problem_code(statement, entry) if statement.negated and absence_in(value) is None else None
    said = (code or {}).get("text")
    return {"text": f"Absence de : {said}"} if said else None


def _sex(element: etree._Element | None) -> dict[str, Any] | None:
    code = _GENDERS.get(attribute(element, "code") or "")
    return {"coding": [{"system": _SEX, "code": code}]} if code else None
