"""How a medicine is to be taken, as Dosage: when, how much, where, on what condition.

Source: CI-SIS FR-Traitement and FR-Traitement-subordonne (1.2.250.1.213.1.1.3.42, .42.1, .83, .83.1), IHE PCC
Medications; importers page §6 rule 15.
"""

from __future__ import annotations

from typing import Any, Final

from lxml import etree

from importers.cda.elements import attribute, child, children
from importers.cda.entries.entry import Entry
from importers.cda.entries.statement import Statement
from importers.cda.quantities import dose, number, ratio
from importers.cda.times import is_schedule, timings

# What a table of the narrative writes where there is nothing to say.
_PLACEHOLDERS: Final = frozenset(("-", "–", "—", "/", "."))


def course_of(statement: Statement) -> etree._Element | None:
    """The effectiveTime that says how long a treatment lasts: the first that is no schedule."""
    return next((each for each in statement.all("effectiveTime") if not is_schedule(each)), None)


def dosages(
    statement: Statement, entry: Entry, *, bounds: dict[str, str], names: frozenset[str | None]
) -> list[dict[str, Any]]:
    """The dosage lines of a treatment, in their order; empty where nothing is said.

    Subordinate statements are its lines where it has any. `bounds` limit what has no interval of its own; `names` are
    those of the product, which a text may repeat without saying how it is taken.
    """
    lines = sorted(statement.of_kind("dosage-line"), key=_sequence) or [statement]
    made = [found for each in lines for found in _lines(each, statement, entry, bounds, names)]
    if len(made) > 1:
        return [{"sequence": rank, **each} for rank, each in enumerate(made, 1)]
    return made


def said(wording: str | None) -> str | None:
    """A text, unless it is only the mark of an empty cell."""
    return None if wording in _PLACEHOLDERS else wording


def _lines(
    line: Statement, treatment: Statement, entry: Entry, bounds: dict[str, str], names: frozenset[str | None]
) -> list[dict[str, Any]]:
    """The Dosages of one line: as many as it has periods, each with what the treatment says for all its lines."""
    schedules = [each for each in line.all("effectiveTime") if is_schedule(each)]
    found = timings(schedules, bounds, entry.source.notes, entry.source.texts)
    wording = said(entry.narrative(line))
    members = {
        "text": None if wording in names else wording,
        "patientInstruction": _instructions(treatment, entry),
        **(_amounts(line, entry) if line is treatment else {**_amounts(treatment, entry), **_amounts(line, entry)}),
        **(_condition(line, entry) or _condition(treatment, entry)),
    }
    members = {name: part for name, part in members.items() if part}
    return [{"timing": each, **members} for each in found] or ([members] if members else [])


def _instructions(treatment: Statement, entry: Entry) -> str:
    told = [said(entry.narrative(each)) for each in treatment.of_kind("patient-instruction")]
    return " ".join(dict.fromkeys(each for each in told if each))


def _amounts(statement: Statement, entry: Entry) -> dict[str, Any]:
    found = {
        "site": entry.concept(statement.first("approachSiteCode")),
        "route": entry.concept(statement.first("routeCode")),
        "doseAndRate": _dose_and_rate(statement, entry),
        "maxDosePerPeriod": ratio(statement.first("maxDoseQuantity")),
    }
    return {name: part for name, part in found.items() if part}


def _dose_and_rate(statement: Statement, entry: Entry) -> list[dict[str, Any]]:
    found = {**dose("dose", statement.first("doseQuantity")), **dose("rate", statement.first("rateQuantity"))}
    amount, unit = found.get("doseQuantity"), statement.first("administrationUnitCode")
    if amount and "unit" not in amount and unit is not None:
        found["doseQuantity"] = {**amount, **_unit(unit, entry)}
    return [found] if found else []


def _unit(element: etree._Element, entry: Entry) -> dict[str, str]:
    """The unit that a dose without one is counted in: tablet, puff."""
    codings: list[dict[str, str]] = (entry.concept(element) or {}).get("coding", [])
    coding = codings[0] if codings else {}
    unit = coding.get("display") or coding.get("code")
    return {**({"unit": unit} if unit else {}), **{name: coding[name] for name in ("system", "code") if name in coding}}


def _condition(statement: Statement, entry: Entry) -> dict[str, Any]:
    """A precondition as the one under which the medicine is taken; a criterion with a yes or no is not one."""
    criteria = [found for each in statement.all("precondition") for found in children(each, "criterion")]
    concepts = [concept for each in criteria if (concept := _criterion(each, entry))]
    if len(concepts) > 1:
        return {"asNeededCodeableConcept": {"text": " ; ".join(each.get("text", "") for each in concepts)}}
    if concepts:
        return {"asNeededCodeableConcept": concepts[0]}
    return {"asNeededBoolean": True} if any(_is_asserted(each) for each in criteria) else {}


def _criterion(criterion: etree._Element, entry: Entry) -> dict[str, Any] | None:
    wording = said(entry.text(child(criterion, "text")))
    value = child(criterion, "value")
    concept = None if value is None or attribute(value, "value") else entry.concept(value)
    return concept or ({"text": wording} if wording else None)


def _is_asserted(criterion: etree._Element) -> bool:
    """Whether it says that there is a condition without saying which."""
    value = child(criterion, "value")
    asserted = attribute(child(criterion, "code"), "code") == "ASSERTION"
    return asserted and value is not None and "nullFlavor" in value.attrib


def _sequence(line: Statement) -> int:
    relation = line.element.getparent()
    rank = number(attribute(child(relation, "sequenceNumber"), "value"))
    return 0 if rank is None or abs(rank) > 1000 else int(rank)
