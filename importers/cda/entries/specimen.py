"""Samples and isolates as Specimen.

Source: CI-SIS FR-Prelevement (1.2.250.1.213.1.1.3.77), FR-Echantillon-recu (.107) and FR-Isolat-microbiologique (.79),
IHE PALM Specimen Collection, Specimen Received and Laboratory Isolate Organizer.
"""

from __future__ import annotations

from typing import Any

from lxml import etree

from importers.cda.datatypes import Key, key, present
from importers.cda.elements import attribute, child, descendant
from importers.cda.entries.entry import Entry, Reference
from importers.cda.entries.statement import Statement
from importers.cda.times import course


def specimen(statement: Statement, entry: Entry) -> list[Reference]:
    """The sample that a procedure takes: what it is, when and by whom it was taken, when the laboratory received it."""
    role = _product(statement)
    kind = entry.concept(_substance(role))
    received = next(
        (entry.moment(each.first("effectiveTime")) for each in statement.of_kind("specimen-received")), None
    )
    performers = [each for each in professionals(entry.performers(statement)) if each.get("type") != "Organization"]
    collected = collection_time(statement, entry)
    collection = {
        "collector": performers[0] if performers else None,
        **collected,
        "method": entry.concept(statement.first("code")),
        "bodySite": entry.concept(statement.first("targetSiteCode")),
    }
    keys = keys_of(role, entry)
    content: dict[str, Any] = {
        "identifier": present(each.identifier() for each in keys),
        "type": kind,
        "receivedTime": received,
        "collection": {name: part for name, part in collection.items() if part},
        "note": entry.annotations(statement),
    }
    return [entry.add(statement, "Specimen", content, code=kind, when=received, distinct=_joined(keys))]


def isolate(statement: Statement, entry: Entry, sample: Reference | None) -> Reference | None:
    """The isolate of an organizer, grown from a sample; its type is the organism. None where nothing names it."""
    role = child(statement.first("specimen"), "specimenRole")
    organism, keys = entry.concept(_substance(role)), keys_of(role, entry)
    if organism is None and not keys:
        return None
    content: dict[str, Any] = {
        "identifier": present(each.identifier() for each in keys),
        "type": organism,
        "parent": [sample] if sample else [],
    }
    return entry.add(statement, "Specimen", content, code=organism, distinct=_joined(keys))


def specimen_key(statement: Statement, entry: Entry) -> str:
    """What tells one isolate or sample from another: its identifiers, else its organism."""
    role = child(statement.first("specimen"), "specimenRole")
    return _joined(keys_of(role, entry)) or attribute(_substance(role), "code") or ""


def keys_of(role: etree._Element | None, entry: Entry) -> list[Key]:
    """The identifiers of a role."""
    found = [] if role is None else [key(each, entry.source.notes) for each in role.iterchildren("{*}id")]
    return [each for each in found if each]


def product_keys(statement: Statement, entry: Entry) -> list[Key]:
    """The identifiers of the sample that a procedure takes."""
    return keys_of(_product(statement), entry)


def professionals(actors: list[Reference]) -> list[Reference]:
    """Those of some actors that R4 takes where a patient or a relative cannot stand."""
    return [each for each in actors if each.get("type") in (None, "Practitioner", "PractitionerRole", "Organization")]


def collection_time(statement: Statement, entry: Entry) -> dict[str, Any]:
    """When a sample was taken, as `collected[x]`: laboratories write its end."""
    element = statement.first("effectiveTime")
    lasting = course(element, entry.source.notes)
    if "start" in lasting and "end" in lasting and lasting["start"] != lasting["end"]:
        return {"collectedPeriod": lasting}
    moment = lasting.get("end") or lasting.get("start")
    return {"collectedDateTime": moment} if moment else {}


def _product(statement: Statement) -> etree._Element | None:
    products = (each for each in statement.all("participant") if attribute(each, "typeCode") in ("PRD", "SPC"))
    return next((role for each in products if (role := child(each, "participantRole")) is not None), None)


def _substance(role: etree._Element | None) -> etree._Element | None:
    found = descendant(role, "playingEntity", "code")
    return found if found is not None else descendant(role, "specimenPlayingEntity", "code")


def _joined(keys: list[Key]) -> str:
    return "^".join(f"{each.system}^{each.value}" for each in keys)
