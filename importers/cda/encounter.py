"""The encounter a document was written in, from componentOf.

Source: CDA R2 `encompassingEncounter`; https://hl7.org/fhir/R4/encounter.html; importers page §4.
"""

from __future__ import annotations

from typing import Any, Final

from lxml import etree

from importers.cda.datatypes import Key, concept, key, period, present
from importers.cda.elements import child, children, descendant, text
from importers.cda.people import People
from importers.issues import Notes

ACT_CODE: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
UNKNOWN_CLASS: Final = {"system": "http://terminology.hl7.org/CodeSystem/v3-NullFlavor", "code": "UNK"}


def encounter_keys(document: etree._Element, notes: Notes) -> list[Key]:
    """The identifiers of the encompassing encounter."""
    encounter = descendant(document, "componentOf", "encompassingEncounter")
    return [found for each in children(encounter, "id") if (found := key(each, notes))]


def encompassing_encounter(document: etree._Element, people: People, notes: Notes) -> dict[str, Any] | None:
    """The Encounter without id, meta and subject; None without an id or a period."""
    element = descendant(document, "componentOf", "encompassingEncounter")
    if element is None:
        return None
    keys = encounter_keys(document, notes)
    when = period(time, notes) if (time := child(element, "effectiveTime")) is not None else {}
    if not keys and not when:
        return None
    code = concept(child(element, "code"), notes)
    found = {
        "identifier": [each.identifier() for each in keys],
        "status": "finished" if "end" in when else "unknown",
        "class": class_of(code),
        "type": [code] if code else None,
        "participant": present(_participants(element, people)),
        "period": when,
        "hospitalization": _disposition(element, notes),
        "location": _location(element, people),
        "serviceProvider": people.organization(_provider(element)),
    }
    return {"resourceType": "Encounter", **{name: value for name, value in found.items() if value}}


def class_of(code: dict[str, Any] | None) -> dict[str, str]:
    """The class of an encounter: its code where that is one of ActCode, else unknown."""
    codings = code.get("coding", []) if code else []
    return next((dict(each) for each in codings if each.get("system") == ACT_CODE), dict(UNKNOWN_CLASS))


def _participants(element: etree._Element, people: People) -> list[dict[str, Any] | None]:
    taking_part = [*children(element, "responsibleParty"), *children(element, "encounterParticipant")]
    found = (people.actor(each) for each in taking_part)
    return [{"individual": each} for each in found if each and each.get("type") in ("Practitioner", "RelatedPerson")]


def _disposition(element: etree._Element, notes: Notes) -> dict[str, Any] | None:
    found = concept(child(element, "dischargeDispositionCode"), notes)
    return {"dischargeDisposition": found} if found else None


def _provider(element: etree._Element) -> etree._Element | None:
    facility = descendant(element, "location", "healthCareFacility")
    found = child(facility, "serviceProviderOrganization")
    return (
        found
        if found is not None
        else descendant(element, "responsibleParty", "assignedEntity", "representedOrganization")
    )


def _location(element: etree._Element, people: People) -> list[dict[str, Any]] | None:
    facility = descendant(element, "location", "healthCareFacility")
    name = text(descendant(facility, "location", "name"))
    return [{"location": {"type": "Location", "display": name}}] if name else None
