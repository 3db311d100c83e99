"""Results, vital signs, social history, pregnancy, scores and simple observations as Observation.

Each keeps its own Observation: blood pressure stays the two the document has, and an organizer of vital signs only
groups. Source: CI-SIS FR-Signe-vital, FR-Simple-observation and their like (1.2.250.1.213.1.1.3.48 to .53), IHE PCC
Simple Observations, C-CDA; importers page §6 rules 7, 8 and 13.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from lxml import etree

from importers.cda.datatypes import present
from importers.cda.elements import attribute, child
from importers.cda.entries.entry import Entry, Reference
from importers.cda.entries.statement import Statement
from importers.cda.quantities import ends_of, translations
from importers.cda.times import course

CATEGORIES: Final = "http://terminology.hl7.org/CodeSystem/observation-category"
RANGE_MEANINGS: Final = "http://terminology.hl7.org/CodeSystem/referencerange-meaning"

STATUSES: Final = {
    "completed": "final",
    "active": "preliminary",
    "new": "registered",
    "held": "registered",
    "suspended": "registered",
    "aborted": "cancelled",
    "cancelled": "cancelled",
    "nullified": "entered-in-error",
    "obsolete": "entered-in-error",
}
_KINDS: Final = {
    "vital-sign": "vital-signs",
    "social-history": "social-history",
    "pregnancy": "social-history",
    "score": "survey",
    "survey": "survey",
    "result": "laboratory",
    "lab-result": "laboratory",
    "simple-observation": None,
}
GROUPS: Final = frozenset(("organizer", "vital-signs"))

_NEGATED: Final = "Nié par le document (negationInd)."


@dataclass(frozen=True, slots=True)
class Context:
    """What the statements around an observation say for it: time, performers, specimen, and what tells it from others.

    `effective` is a member `effective[x]` or empty.
    """

    effective: Mapping[str, Any] = field(default_factory=dict)
    performers: tuple[Reference, ...] = ()
    specimen: Reference | None = None
    distinct: str = ""


def observation(statement: Statement, entry: Entry) -> list[Reference]:
    """One Observation, and one for each that it has under it."""
    return observe(statement, entry, Context())


def organizer(statement: Statement, entry: Entry) -> list[Reference]:
    """What an organizer groups; its time and its performers are those of its Observations that have none."""
    return grouped(statement, entry, Context())


def measurements(statement: Statement, entry: Entry) -> list[Reference]:
    """The vital signs and results under a statement of another kind: a temperature as the reason of a problem."""
    found = statement.of_kind("vital-sign", "result", "lab-result")
    return [reference for each in found for reference in observe(each, entry, Context())]


def grouped(statement: Statement, entry: Entry, context: Context) -> list[Reference]:
    """The references of what is nested in a grouping statement, made in its context."""
    inner = within(context, statement, entry)
    return [reference for each in statement.nested for reference in nested(each, entry, inner)]


def nested(statement: Statement, entry: Entry, context: Context) -> list[Reference]:
    """The references of what a nested statement makes: Observations in that context, others by their own handlers."""
    if statement.kind in _KINDS:
        return observe(statement, entry, context)
    if statement.kind in GROUPS or (statement.kind is None and statement.name == "organizer"):
        return grouped(statement, entry, context)
    return entry.convert(statement)


def within(context: Context, statement: Statement, entry: Entry) -> Context:
    """The context that a grouping statement makes for its members."""
    performers = tuple(entry.performers(statement))
    return replace(
        context,
        effective=effective(statement, entry) or context.effective,
        performers=performers or context.performers,
    )


def observe(statement: Statement, entry: Entry, context: Context) -> list[Reference]:
    """The Observation of one statement; none (noted) where its value is of an unknown type, or nothing names it."""
    value = _value(statement, entry)
    code = named(statement, entry)
    if value is None or code is None:
        return []
    when = effective(statement, entry) or context.effective
    members = [
        reference for each in statement.nested if each.kind in _KINDS for reference in observe(each, entry, context)
    ]
    interpretations, ranges = statement.all("interpretationCode"), statement.all("referenceRange")
    content: dict[str, Any] = {
        "status": STATUSES.get(statement.status or "", "unknown"),
        "category": category(_KINDS.get(statement.kind or "")),
        "code": code,
        **when,
        "performer": entry.performers(statement) or list(context.performers),
        **(_denied(value) if statement.negated else value),
        "interpretation": present(map(entry.concept, interpretations)) if interpretations else None,
        "note": entry.annotations(statement),
        "bodySite": entry.concept(statement.first("targetSiteCode")),
        "method": entry.concept(statement.first("methodCode")),
        "specimen": context.specimen,
        "referenceRange": present([_range(child(each, "observationRange"), entry) for each in ranges]),
        "hasMember": members,
        "component": _equals(statement, code) if "valueQuantity" in value else None,
    }
    if statement.negated and "valueBoolean" not in value:
        content["note"] = [*content["note"], {"text": _denial(value)}]
    moment = next((said for said in when.values() if isinstance(said, str)), None)
    return [entry.add(statement, "Observation", content, code=code, when=moment, distinct=context.distinct)]


def named(statement: Statement, entry: Entry) -> dict[str, Any] | None:
    """The code of a statement; without code nor words of its own, what its text says."""
    found = entry.concept(statement.first("code"))
    wording = None if found else entry.narrative(statement)
    return found or ({"text": wording} if wording else None)


def effective(statement: Statement, entry: Entry) -> dict[str, Any]:
    """The effectiveTime as `effectiveDateTime` or `effectivePeriod`; empty where it says nothing."""
    element = statement.first("effectiveTime")
    moment = entry.moment(element)
    if moment:
        return {"effectiveDateTime": moment}
    lasting = course(element, entry.source.notes)
    return {"effectivePeriod": lasting} if lasting else {}


def category(code: str | None) -> list[dict[str, Any]]:
    """The category of an Observation, or none."""
    return [{"coding": [{"system": CATEGORIES, "code": code}]}] if code else []


def _value(statement: Statement, entry: Entry) -> dict[str, Any] | None:
    """The value; a number that cannot be read stays the text it is, and is noted."""
    element = statement.first("value")
    found = entry.value(element)
    written = attribute(element, "value")
    if found == {} and written:
        entry.issue("bad-number", element)
        return {"valueString": f"{written} {attribute(element, 'unit') or ''}".strip()}
    return found


def _denied(value: Mapping[str, Any]) -> dict[str, Any]:
    """What is left of a value that is negated: no for a question of yes or no, else nothing."""
    return {"valueBoolean": False} if "valueBoolean" in value else {"dataAbsentReason": {"text": _NEGATED}}


def _denial(value: Mapping[str, Any]) -> str:
    """In words, what a statement negates."""
    measure = value.get("valueQuantity")
    said = value.get("valueCodeableConcept", {}).get("text") or value.get("valueString") or value.get("valueInteger")
    said = f"{measure['value']} {measure.get('unit', '')}".strip() if measure else said
    return _NEGATED if said is None else f"{_NEGATED} {said}"


def _equals(statement: Statement, code: dict[str, Any]) -> list[dict[str, Any]]:
    """The value in other units, mass beside mole, as components.

    Their code is a text: a component with the coding of its Observation must stand alone (obs-7).
    """
    element = statement.first("value")
    others = translations(element) if element is not None and len(element) else []
    if not others:
        return []
    name = code.get("text") or code["coding"][0]["code"]
    return [{"code": {"text": f"{name} ({each.get('unit', '1')})"}, "valueQuantity": each} for each in others]


def _range(element: etree._Element | None, entry: Entry) -> dict[str, Any] | None:
    """A reference range: its ends, else its text; what it is the range of, normal values most of all."""
    if element is None:
        return None
    value, meaning = child(element, "value"), child(element, "interpretationCode")
    wording = entry.text(child(element, "text"))
    found: dict[str, Any] = {} if value is None else ends_of(value)
    if not found and wording is None and value is not None:
        wording = entry.text(value)
    if not found and wording is None:
        return None
    if attribute(meaning, "code") == "N":
        kind: dict[str, Any] | None = {"coding": [{"system": RANGE_MEANINGS, "code": "normal"}]}
    else:
        kind = entry.concept(meaning)
    return {**found, **({"type": kind} if kind else {}), **({"text": wording} if wording else {})}
