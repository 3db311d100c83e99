"""Vaccinations given, or not given, as Immunization.

Source: CI-SIS FR-Vaccination (1.2.250.1.213.1.1.3.45), IHE PCC Immunizations, C-CDA Immunization Activity; importers
page §6 rules 5, 8 and 10.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from lxml import etree

from importers.cda.datatypes import absent
from importers.cda.elements import attribute, child, descendant, text
from importers.cda.entries.condition import problem_code
from importers.cda.entries.entry import Entry, Reference
from importers.cda.entries.statement import Statement
from importers.cda.entries.status import course

_STATUSES: Final = {
    "aborted": "not-done",
    "cancelled": "not-done",
    "nullified": "entered-in-error",
}
_UNKNOWN_VACCINE: Final = "inconnu"


def immunization(statement: Statement, entry: Entry) -> list[Reference]:
    """One Immunization."""
    product = child(statement.first("consumable"), "manufacturedProduct")
    material = child(product, "manufacturedMaterial")
    vaccine = vaccine_code(statement, entry)
    status = "not-done" if statement.negated else _STATUSES.get(statement.status or "", "completed")
    occurrence = _occurrence(statement, entry)
    reactions = list(_reactions(statement, entry))
    reasons = list(_reasons(statement, entry))
    content: dict[str, Any] = {
        "contained": [observed for observed, _ in reactions],
        "status": status,
        "statusReason": reasons[0] if reasons and status == "not-done" else None,
        "vaccineCode": vaccine,
        **occurrence,
        "recorded": entry.recorded(statement),
        "manufacturer": entry.source.people.organization(child(product, "manufacturerOrganization")),
        "lotNumber": _told(child(material, "lotNumberText")),
        "expirationDate": (entry.moment(child(material, "expirationTime")) or "")[:10],
        "site": entry.concept(statement.first("approachSiteCode")),
        "route": entry.concept(statement.first("routeCode")),
        "doseQuantity": entry.quantity(statement.first("doseQuantity")),
        "performer": [{"actor": each} for each in entry.performers(statement)],
        "note": entry.annotations(statement),
        "reasonCode": reasons if status != "not-done" else None,
        "reaction": [reaction for _, reaction in reactions],
        "protocolApplied": _protocol(statement, entry),
    }
    return [entry.add(statement, "Immunization", content, code=vaccine, when=occurrence.get("occurrenceDateTime"))]


def vaccine_code(statement: Statement, entry: Entry) -> dict[str, Any]:
    """Which vaccine: codes and name of the product, else what the narrative says, else that it is unknown."""
    material = descendant(statement.first("consumable"), "manufacturedProduct", "manufacturedMaterial")
    found = entry.concept(child(material, "code"), _told(child(material, "name")))
    return found or {"text": entry.narrative(statement) or _UNKNOWN_VACCINE}


def dose_rank(statement: Statement) -> int | None:
    """The rank of the dose, where it is a positive number."""
    said = (attribute(each.first("value"), "value") or "" for each in statement.of_kind("dose-rank"))
    ranks = (int(each) for each in said if each.isdecimal() and each.isascii() and len(each) < 10)
    return next((each for each in ranks if 0 < each < 2**31), None)


def _occurrence(statement: Statement, entry: Entry) -> dict[str, Any]:
    element = statement.first("effectiveTime")
    when = entry.moment(element) or entry.moment(child(element, "low")) or entry.moment(child(element, "center"))
    if when:
        return {"occurrenceDateTime": when}
    # R4 wants an occurrence, and no date is ever invented.
    return {"occurrenceString": "inconnue", "_occurrenceString": absent(element)}


def _protocol(statement: Statement, entry: Entry) -> list[dict[str, Any]] | None:
    """The rank in its series; R4 takes no series without a rank."""
    rank = dose_rank(statement)
    if rank is None:
        return None
    series = (entry.concept(statement.first("code")) or {}).get("text")
    return [{**({"series": series} if series else {}), "doseNumberPositiveInt": rank}]


def _reactions(statement: Statement, entry: Entry) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The Observations of reactions, contained since they are nothing without their vaccine, and what names them."""
    for each in statement.of_kind("problem", "reaction"):
        observed = problem_code(each, entry)
        if observed is None or each.negated:
            continue
        id = f"reaction-{_rank(statement, each)}"
        time = course(each, entry)
        observation = {
            "resourceType": "Observation",
            "id": id,
            "status": "final",
            "code": entry.concept(each.first("code")) or {"text": "reaction"},
            "subject": {"reference": entry.source.subject},
            **({"effectiveDateTime": time.start} if time.start else {}),
            "valueCodeableConcept": observed,
        }
        yield observation, {**({"date": time.start} if time.start else {}), "detail": {"reference": f"#{id}"}}


def _rank(statement: Statement, nested: Statement) -> int:
    """The place of a nested statement among all nested ones, from 1."""
    return 1 + statement.nested.index(nested)


def _reasons(statement: Statement, entry: Entry) -> Iterator[dict[str, Any]]:
    for each in statement.related("RSON"):
        found = entry.concept(each.first("value")) or entry.concept(each.first("code"))
        if found:
            yield found


def _told(element: etree._Element | None) -> str | None:
    return None if element is None or element.get("nullFlavor") else text(element)
