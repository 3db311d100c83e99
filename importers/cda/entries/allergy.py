"""Allergies and intolerances as AllergyIntolerance.

Source: CI-SIS FR-Allergie-ou-hypersensibilite (1.2.250.1.213.1.1.3.41), IHE PCC Allergy and Intolerance Entry, C-CDA
Allergy - Intolerance Observation; importers page §6 rules 8 to 12.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from lxml import etree

from importers.cda.elements import attribute, child, descendant, text
from importers.cda.entries.absent import Absence, absence_in
from importers.cda.entries.entry import Entry, Reference
from importers.cda.entries.statement import Statement
from importers.cda.entries.status import certainty, clinical_status, course

CLINICAL: Final = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
VERIFICATION: Final = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification"

# Of the observation's code (IHE, CI-SIS) or of its value (C-CDA): (category, type).
_KINDS: Final[Mapping[str, tuple[str | None, str]]] = {
    "416098002": ("medication", "allergy"),
    "DALG": ("medication", "allergy"),
    "419511003": ("medication", "allergy"),
    "414285001": ("food", "allergy"),
    "FALG": ("food", "allergy"),
    "418471000": ("food", "allergy"),
    "EALG": ("environment", "allergy"),
    "426232007": ("environment", "allergy"),
    "ALG": (None, "allergy"),
    "609328004": (None, "allergy"),
    "419199007": (None, "allergy"),
    "418038007": (None, "allergy"),
    "420134006": (None, "allergy"),
    "DINT": ("medication", "intolerance"),
    "59037007": ("medication", "intolerance"),
    "FINT": ("food", "intolerance"),
    "235719002": ("food", "intolerance"),
    "EINT": ("environment", "intolerance"),
    "OINT": (None, "intolerance"),
}
# Propensities of which it is not said whether they are allergies.
_UNDECIDED: Final = frozenset({"419511003", "418471000", "418038007", "420134006"})
_CRITICALITIES: Final = {"low": "low", "high": "high", "unable-to-assess": "unable-to-assess"} | {
    "critl": "low",
    "crith": "high",
    "critu": "unable-to-assess",
}
SEVERITIES: Final = {
    "255604002": "mild",
    "L": "mild",
    "6736007": "moderate",
    "M": "moderate",
    "371923003": "mild",
    "371924009": "moderate",
    "24484000": "severe",
    "H": "severe",
    "399166001": "severe",
}
_CLINICAL_CODES: Final = {"recurrence": "active", "relapse": "active", "remission": "inactive"}
_VERIFICATION_CODES: Final = {
    **{each: each for each in ("unconfirmed", "confirmed", "refuted", "entered-in-error")},
    "presumed": "unconfirmed",
    "provisional": "unconfirmed",
    "differential": "unconfirmed",
}


def concern(statement: Statement, entry: Entry) -> list[Reference]:
    """A concern act: what each of its observations becomes."""
    return [reference for each in statement.nested for reference in entry.convert(each)]


def allergy(statement: Statement, entry: Entry) -> list[Reference]:
    """One AllergyIntolerance; none where the document has no information on allergies."""
    value = statement.first("value")
    absence = absence_in(value)
    if absence is Absence.UNKNOWN:
        entry.unavailable()
        return []
    told = absence is not Absence.NONE
    kind, is_kind = _kind(statement, value)
    agent = _agent(statement, entry)
    meaning = entry.concept(value) if value is not None and not is_kind else None
    code = agent or _without_agent(statement, meaning, entry)
    time = course(statement, entry)
    category, type_ = kind if told else (None, None)
    content: dict[str, Any] = {
        "clinicalStatus": _coded(CLINICAL, _clinical(statement, entry) if told else "active"),
        "verificationStatus": _verification(statement, told),
        "type": type_,
        "category": [category] if category else None,
        "criticality": _criticality(statement),
        "code": code,
        "onsetDateTime": time.start if told else None,
        "recordedDate": entry.recorded(statement),
        "recorder": entry.recorder(statement),
        "asserter": entry.asserter(statement),
        "note": entry.annotations(statement),
        "reaction": list(_reactions(statement, meaning if agent else None, entry)) if told else None,
    }
    if content["verificationStatus"] and content["verificationStatus"]["coding"][0]["code"] == "entered-in-error":
        del content["clinicalStatus"]
    return [entry.add(statement, "AllergyIntolerance", content, code=code, when=time.start)]


def _kind(statement: Statement, value: etree._Element | None) -> tuple[tuple[str | None, str | None], bool]:
    """Category and type, and whether it is the value that says so."""
    for said, by_value in ((statement.code, False), (attribute(value, "code"), True)):
        if said and said in _KINDS:
            category, type_ = _KINDS[said]
            return (category, None if said in _UNDECIDED else type_), by_value
    return (None, None), False


def _agent(statement: Statement, entry: Entry) -> dict[str, Any] | None:
    for participant in statement.all("participant"):
        if participant.get("typeCode") == "CSM":
            entity = descendant(participant, "participantRole", "playingEntity")
            found = entry.concept(child(entity, "code"), text(child(entity, "name")))
            if found:
                return found
    return None


def _without_agent(statement: Statement, meaning: dict[str, Any] | None, entry: Entry) -> dict[str, Any]:
    """What the allergy is to where no agent is named: the value where it is coded, else the kind of allergy."""
    if meaning and meaning.get("coding"):
        return meaning
    kind = entry.concept(statement.first("code")) or {}
    said = (meaning or {}).get("text") or entry.narrative(statement)
    words = [each for each in (kind.get("text"), said) if each]
    return {**kind, "text": " : ".join(dict.fromkeys(words)) or "inconnue"}


def _clinical(statement: Statement, entry: Entry) -> str:
    status = clinical_status(statement, course(statement, entry))
    return _CLINICAL_CODES.get(status, status)


def _verification(statement: Statement, told: bool) -> dict[str, Any] | None:
    if not told:
        return _coded(VERIFICATION, "confirmed")
    code = "refuted" if statement.negated else _VERIFICATION_CODES.get(certainty(statement) or "")
    return _coded(VERIFICATION, code) if code else None


def _criticality(statement: Statement) -> str | None:
    codes = (attribute(each.first("value"), "code") for each in statement.of_kind("criticality"))
    return next((_CRITICALITIES[each.lower()] for each in codes if each and each.lower() in _CRITICALITIES), None)


def _reactions(statement: Statement, meaning: dict[str, Any] | None, entry: Entry) -> Iterator[dict[str, Any]]:
    """The manifestations nested in an allergy, and the one its value is where an agent is named."""
    nested = [each for each in statement.of_kind("problem", "reaction") if not each.negated]
    general = severity(statement)
    if meaning and (meaning.get("coding") or not nested):
        yield {"manifestation": [meaning], **({"severity": general} if general else {})}
    for each in nested:
        manifestation = entry.concept(each.first("value")) or _told(each, entry)
        if manifestation is None:
            continue
        began, degree = course(each, entry).start, severity(each) or general
        yield {
            "manifestation": [manifestation],
            **({"onset": began} if began else {}),
            **({"severity": degree} if degree else {}),
        }


def _told(statement: Statement, entry: Entry) -> dict[str, Any] | None:
    said = entry.narrative(statement)
    return {"text": said} if said else None


def severity(statement: Statement) -> str | None:
    """`mild`, `moderate` or `severe`, as the nested severity observation says."""
    codes = (attribute(each.first("value"), "code") for each in statement.of_kind("severity"))
    return next((SEVERITIES[each] for each in codes if each in SEVERITIES), None)


def _coded(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}
