"""Treatments as MedicationStatement, prescriptions as MedicationRequest, dispensed products as MedicationDispense.

Source: CI-SIS FR-Traitement (1.2.250.1.213.1.1.3.42), FR-Traitement-prescrit (.83), FR-Traitement-dispense (.204), IHE
PCC Medications, IHE Pharmacy PRE and DIS, C-CDA Medication Activity; importers page §6 rules 8, 9 and 15.
"""

from __future__ import annotations

from typing import Any, Final

from lxml import etree

from importers.cda.datatypes import absent, date_time, precedes
from importers.cda.elements import V3, attribute, child, children
from importers.cda.entries.absent import Absence, absence_in
from importers.cda.entries.dosage import course_of, dosages, said
from importers.cda.entries.entry import Entry, Reference
from importers.cda.entries.product import Product, product
from importers.cda.entries.statement import Statement
from importers.cda.quantities import number, quantity
from importers.cda.times import course

EDQM: Final = "http://standardterms.edqm.eu"

_C_CDA: Final = "2.16.840.1.113883.10.20.22.4."
_STATUSES: Final = {
    "aborted": "stopped",
    "cancelled": "stopped",
    "suspended": "on-hold",
    "held": "on-hold",
    "nullified": "entered-in-error",
    "obsolete": "entered-in-error",
}
_REQUEST_STATUSES: Final = {**_STATUSES, "cancelled": "cancelled", "new": "draft"}
_DISPENSE_STATUSES: Final = {
    "aborted": "stopped",
    "cancelled": "cancelled",
    "suspended": "on-hold",
    "held": "on-hold",
    "nullified": "entered-in-error",
    "active": "in-progress",
}
_INTENTS: Final = {"RQO": "order", "PRP": "proposal", "PRMS": "plan"}
_MAX_REFILLS: Final = 2**31


def medication(statement: Statement, entry: Entry) -> list[Reference]:
    """What is taken or was, as MedicationStatement; what is only planned is a request."""
    if statement.mood not in ("EVN", "DEF"):
        return prescription(statement, entry)
    absence, code = _absence(statement)
    if absence is Absence.UNKNOWN:
        entry.unavailable()
        return []
    treated = (
        Product(entry.concept(code) or {}) if absence else _product(statement.first("consumable"), statement, entry)
    )
    lasting = course(course_of(statement), entry.source.notes)
    content: dict[str, Any] = {
        **treated.members(),
        "status": _status(statement, entry, lasting),
        **_effective(statement, entry, lasting),
        "dateAsserted": entry.recorded(statement),
        "informationSource": entry.asserter(statement) or entry.recorder(statement),
        "reasonCode": _reasons(statement, entry),
        "note": entry.annotations(statement),
        "dosage": [] if absence else dosages(statement, entry, bounds={}, names=treated.names),
    }
    when = lasting.get("start") or content.get("effectiveDateTime")
    made = [entry.add(statement, "MedicationStatement", content, code=treated.concept, when=when)]
    return made + _supplies(statement, entry)


def prescription(statement: Statement, entry: Entry) -> list[Reference]:
    """A MedicationRequest: what is to be taken, and what is to be dispensed for it."""
    if statement.name == "act":
        return [reference for each in statement.nested for reference in entry.convert(each)]
    consumable = statement.first("product" if statement.name == "supply" else "consumable")
    prescribed = _product(consumable, statement, entry)
    lasting = course(course_of(statement), entry.source.notes)
    lines = dosages(statement, entry, bounds=lasting, names=prescribed.names)
    content: dict[str, Any] = {
        **prescribed.members(),
        "status": _REQUEST_STATUSES.get(statement.status or "", "active"),
        "intent": _INTENTS.get(statement.mood) or ("order" if statement.kind == "prescription" else "plan"),
        "doNotPerform": True if statement.negated else None,
        "authoredOn": _authored(statement, entry),
        "requester": entry.recorder(statement),
        "reasonCode": _reasons(statement, entry),
        "note": entry.annotations(statement) + _to_dispenser(statement, entry),
        "dosageInstruction": lines or ([{"timing": {"repeat": {"boundsPeriod": lasting}}}] if lasting else []),
        "dispenseRequest": _to_dispense(statement),
        "substitution": _substitution(statement, entry),
    }
    _contain(content, _circumstances(statement, entry))
    made = [entry.add(statement, "MedicationRequest", content, code=prescribed.concept, when=lasting.get("start"))]
    return made + _supplies(statement, entry)


def dispense(statement: Statement, entry: Entry) -> list[Reference]:
    """A MedicationDispense; the product is that of the treatment it belongs to where it names none."""
    within = statement.parent.first("consumable") if statement.parent else None
    own = statement.first("product")
    dispensed = _product(within if own is None else own, statement, entry)
    when = entry.moment(statement.first("effectiveTime"))
    supply_for = quantity(child(statement.first("expectedUseTime"), "width"))
    instructed = next(iter(statement.of_kind("dosage-line", "medication", "prescription")), None)
    content: dict[str, Any] = {
        **dispensed.members(),
        "status": _DISPENSE_STATUSES.get(statement.status or "", "completed"),
        "performer": [{"actor": each} for each in entry.performers(statement)],
        "quantity": _package_quantity(statement.first("quantity")),
        "daysSupply": supply_for if supply_for and supply_for.get("unit") == "d" else None,
        "whenHandedOver": when,
        "note": entry.annotations(statement),
        "dosageInstruction": dosages(instructed, entry, bounds={}, names=dispensed.names) if instructed else [],
        "substitution": _substituted(statement, entry),
    }
    return [entry.add(statement, "MedicationDispense", content, code=dispensed.concept, when=when)]


def _absence(statement: Statement) -> tuple[Absence | None, etree._Element | None]:
    """What the code of the act, or of its product, says is absent."""
    codes = [statement.first("code")]
    for manufactured in children(statement.first("consumable"), "manufacturedProduct"):
        codes += [child(each, "code") for each in children(manufactured, "manufacturedMaterial")]
    return next(((found, each) for each in codes if (found := absence_in(each))), (None, None))


def _product(consumable: etree._Element | None, statement: Statement, entry: Entry) -> Product:
    """The product, else what the text of the statement says; a treatment by something that is not told stays one."""
    wording = said(entry.narrative(statement))
    untold = {"text": wording} if wording else absent(consumable)
    return product(consumable, entry) or Product(untold, names=frozenset((wording,)))


def _status(statement: Statement, entry: Entry, lasting: dict[str, str]) -> str:
    """The status of a treatment.

    CI-SIS and IHE PCC write `completed` whatever the treatment does: its end tells whether it goes on.
    """
    written = statement.status or ""
    if statement.negated:
        return "not-taken"
    if written in _STATUSES:
        return _STATUSES[written]
    if written in ("active", "completed") and any(each.startswith(_C_CDA) for each in statement.templates):
        return written
    if not lasting:
        return "active" if written == "active" else "unknown"
    created = _document_time(statement, entry)
    ended = "end" in lasting and (created is None or precedes(lasting["end"], created))
    return "completed" if ended else "active"


def _effective(statement: Statement, entry: Entry, lasting: dict[str, str]) -> dict[str, Any]:
    if lasting and lasting.get("start") == lasting.get("end"):
        return {"effectiveDateTime": lasting["start"]}
    return {"effectivePeriod": lasting} if lasting else {}


def _document_time(statement: Statement, entry: Entry) -> str | None:
    document = next(statement.element.iterancestors(V3 + "ClinicalDocument"), None)
    return date_time(child(document, "effectiveTime"), entry.source.notes)


def _authored(statement: Statement, entry: Entry) -> str | None:
    return entry.recorded(statement) or _document_time(statement, entry)


def _reasons(statement: Statement, entry: Entry) -> list[dict[str, Any]]:
    """Why: the value of an observation, else the code of what is referred to, else its text."""
    found = []
    for each in statement.related("RSON"):
        wording = entry.narrative(each)
        reason = entry.concept(each.first("value")) or entry.concept(each.first("code"), wording)
        if reason and reason not in found:
            found.append(reason)
    return found


def _to_dispenser(statement: Statement, entry: Entry) -> list[dict[str, Any]]:
    told = [said(entry.narrative(each)) for each in statement.of_kind("dispenser-instruction")]
    return [{"text": each} for each in told if each]


def _to_dispense(statement: Statement) -> dict[str, Any]:
    supply = statement if statement.name == "supply" else next(iter(statement.of_kind("quantity")), None)
    refills = number(attribute(statement.first("repeatNumber"), "value"))
    # C-CDA counts the first supply with its repeats (Medication Supply Order).
    refills = refills - 1 if refills is not None and f"{_C_CDA}17" in statement.templates else refills
    lasting = quantity(child(statement.first("expectedUseTime"), "width"))
    found = {
        "numberOfRepeatsAllowed": int(refills) if refills is not None and 0 <= refills < _MAX_REFILLS else None,
        "quantity": _package_quantity(supply.first("quantity")) if supply else None,
        "expectedSupplyDuration": lasting if lasting and "code" in lasting else None,
    }
    return {name: part for name, part in found.items() if part is not None}


def _package_quantity(element: etree._Element | None) -> dict[str, Any] | None:
    """A number of packages: its unit may be the code of a package of the EDQM, eight digits, which is no UCUM."""
    found = quantity(element)
    unit = attribute(element, "unit") or ""
    if found and len(unit) == 8 and unit.isdecimal():
        return {"value": found["value"], "system": EDQM, "code": unit}
    return found


def _substitution(statement: Statement, entry: Entry) -> dict[str, Any] | None:
    """Whether another product may be dispensed; the original text of the code is the reason why not."""
    act = next(iter(statement.of_kind("substitution")), None)
    found = entry.concept(act.first("code")) if act else None
    if not found or "coding" not in found:
        return None
    reason = said(entry.text(child(act.first("code") if act else None, "originalText")))
    allowed = {name: part for name, part in found.items() if name == "coding"}
    return {"allowedCodeableConcept": allowed, **({"reason": {"text": reason}} if reason else {})}


def _substituted(statement: Statement, entry: Entry) -> dict[str, Any] | None:
    act = next(iter(statement.of_kind("substitution")), None)
    if act is None:
        return None
    kind = entry.concept(act.first("code"))
    return {"wasSubstituted": not act.negated, **({"type": kind} if kind else {})}


def _circumstances(statement: Statement, entry: Entry) -> list[dict[str, Any]]:
    """The yes and no of a prescription (long illness, work accident, off-label …) as contained Observations."""
    found = []
    for each in statement.of_kind("simple-observation"):
        code, value = entry.concept(each.first("code")), entry.value(each.first("value"))
        if code and value:
            found.append({"status": "final", "code": code, **value})
    return found


def _contain(content: dict[str, Any], observations: list[dict[str, Any]]) -> None:
    """Put Observations into a request as what supports it."""
    named = [
        {"resourceType": "Observation", "id": f"circumstance-{n}", **each} for n, each in enumerate(observations, 1)
    ]
    content["contained"] = [*content.get("contained", ()), *named]
    content["supportingInformation"] = [{"reference": f"#{each['id']}"} for each in named]


def _supplies(statement: Statement, entry: Entry) -> list[Reference]:
    """The supplies a treatment names: orders and what was dispensed; each is a resource of its own."""
    nested = [each for each in statement.of_kind("dispense", "prescription") if each.name == "supply"]
    return [reference for each in nested for reference in entry.convert(each)]
