"""The header of a CDA document as a DocumentReference, element by element as XDS and PDSm name them.

Source: IHE MHD and PDSm mappings of the XDS DocumentEntry; importers page §5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from lxml import etree

from importers.cda.actors import Actors
from importers.cda.datatypes import concept, date_time, key, period, precedes, present
from importers.cda.elements import attribute, child, children, descendant, text
from importers.cda.labels import security_labels
from importers.cda.naming import Naming
from importers.issues import CANONICAL_BASE, Notes
from importers.tables import class_of, format_of, table

DOCUMENT_VERSION: Final = f"{CANONICAL_BASE}/StructureDefinition/document-version"
MIME_TYPE_SUFFICIENT: Final = {
    "system": "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode",
    "code": "urn:ihe:iti:xds:2017:mimeTypeSufficient",
}

_FRENCH_TEMPLATES: Final = "1.2.250.1.213.1.1.1."
_QUESTIONNAIRE: Final = "74465-6"
_IDENTIFIER_TYPES: Final = "http://terminology.hl7.org/CodeSystem/v2-0203"
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8})*", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class Part:
    """One `content`: media type, url, size in bytes, SHA-1 in base64; `format` where the template does not say it."""

    media_type: str
    url: str
    size: int
    sha1: str
    format: dict[str, str] | None = None


def check_standard(document: etree._Element, notes: Notes) -> None:
    """Note a typeId that is not the one of CDA R2: some national documents have another."""
    standard = child(document, "typeId")
    if standard is not None and attribute(standard, "extension") != "POCD_HD000040":
        notes.add("unexpected-standard", standard)


def document_type(document: etree._Element, notes: Notes) -> dict[str, Any] | None:
    """The type of the document as a CodeableConcept, or None."""
    return concept(child(document, "code"), notes)


def document_reference(
    document: etree._Element,
    names: Naming,
    parts: list[Part],
    actors: Actors,
    notes: Notes,
    *,
    kind: dict[str, Any] | None,
    visibility: Iterable[str],
    imported_at: datetime,
) -> dict[str, Any]:
    """The DocumentReference without id and `relatesTo`, with the actors it names contained.

    `parts` are the document itself and, at level 1, its body; `kind` its type; `visibility` the codes of the envelope.
    """
    authors = present(actors.author(each) for each in children(document, "author"))
    by_patient = bool(authors) and actors.source_patient() in authors
    title = text(child(document, "title"))
    found: dict[str, Any] = {
        "extension": [{"url": DOCUMENT_VERSION, "valueInteger": names.version}],
        "masterIdentifier": names.unique_id.identifier(),
        "identifier": [{"use": "secondary", **names.set_id.identifier()}] if names.set_id else None,
        "status": "current",
        "type": kind,
        "category": _category(kind, by_patient, child(document, "code"), notes),
        "subject": {"reference": actors.subject},
        "date": imported_at.isoformat(timespec="milliseconds"),
        "author": authors,
        "authenticator": actors.authenticator(child(document, "legalAuthenticator")),
        "custodian": actors.organization(
            descendant(document, "custodian", "assignedCustodian", "representedCustodianOrganization")
        ),
        "description": title,
        "securityLabel": security_labels(children(document, "confidentialityCode"), visibility, notes),
        "content": _contents(document, parts, title, notes),
        "context": _context(document, actors, notes),
    }
    _note_absent(document, found, notes)
    return {
        "resourceType": "DocumentReference",
        **({"contained": actors.contained} if actors.contained else {}),
        **{name: value for name, value in found.items() if value},
    }


def _category(
    kind: dict[str, Any] | None, by_patient: bool, element: etree._Element | None, notes: Notes
) -> list[dict[str, Any]] | None:
    """The class of the first coding the association table knows; a questionnaire is the patient's only by his hand."""
    classes = table("document_classes")
    for each in (kind or {}).get("coding", ()):
        code = class_of(each.get("system", ""), each["code"])
        if each["code"] == _QUESTIONNAIRE and code:
            code = "90" if by_patient else "10"
        if code:
            return [{"coding": [{"system": classes["system"], "code": code, "display": classes["names"][code]}]}]
    if kind:
        notes.add("unknown-type", element)
    return None


def _contents(document: etree._Element, parts: list[Part], title: str | None, notes: Notes) -> list[dict[str, Any]]:
    shared = {
        "language": _language(child(document, "languageCode"), notes),
        "title": title,
        "creation": date_time(child(document, "effectiveTime"), notes),
    }
    body_type = parts[1].media_type if len(parts) > 1 else None
    templates = [root for each in children(document, "templateId") if (root := attribute(each, "root"))]
    return [
        {
            "attachment": {
                "contentType": part.media_type,
                "url": part.url,
                "size": part.size,
                "hash": part.sha1,
                **{name: value for name, value in shared.items() if value},
            },
            "format": dict(part.format) if part.format else _format(templates, body_type),
        }
        for part in parts
    ]


def _format(templates: list[str], body_type: str | None) -> dict[str, str]:
    """The XDS formatCode: of a level-1 body its media type, else of the most specific template, French ones first."""
    formats = table("format_codes")
    ranked = sorted(templates, key=lambda each: (each.startswith(_FRENCH_TEMPLATES), len(each)), reverse=True)
    code = formats["mediaTypes"].get(body_type) or next((found for each in ranked if (found := format_of(each))), None)
    code = code or formats["otherwise"]
    system = next((uri for prefix, uri in formats["systems"].items() if code.startswith(prefix)), None)
    return {**({"system": system} if system else {}), "code": code}


def _language(element: etree._Element | None, notes: Notes) -> str | None:
    code = attribute(element, "code")
    if code and not _LANGUAGE(code):
        notes.add("bad-language", element)
        return None
    return code


def _context(document: etree._Element, actors: Actors, notes: Notes) -> dict[str, Any]:
    events = [event for each in children(document, "documentationOf") for event in children(each, "serviceEvent")]
    encounter = descendant(document, "componentOf", "encompassingEncounter")
    found = {
        "event": present(concept(each, notes) for event in events for each in children(event, "code")),
        "period": _service_period(document, events, notes),
        "facilityType": concept(descendant(encounter, "location", "healthCareFacility", "code"), notes),
        "practiceSetting": _practice_setting(events, notes),
        "sourcePatientInfo": actors.source_patient(),
        "related": _related(document, encounter, notes),
    }
    return {name: value for name, value in found.items() if value}


def _service_period(document: etree._Element, events: list[etree._Element], notes: Notes) -> dict[str, str]:
    element = next((time for event in events if (time := child(event, "effectiveTime")) is not None), None)
    found = period(element, notes) if element is not None else {}
    if "start" in found:
        return found
    created, end = date_time(child(document, "effectiveTime"), notes), found.get("end")
    if created is None or (end and precedes(end, created)):
        return found
    notes.add("no-service-start", events[0] if events else document)
    return {"start": created, **found}


def _practice_setting(events: list[etree._Element], notes: Notes) -> dict[str, Any] | None:
    performers = (performer for event in events for performer in children(event, "performer"))
    path = ("assignedEntity", "representedOrganization", "standardIndustryClassCode")
    return next((found for each in performers if (found := concept(descendant(each, *path), notes))), None)


def _related(document: etree._Element, encounter: etree._Element | None, notes: Notes) -> list[dict[str, Any]]:
    orders = [order for each in children(document, "inFulfillmentOf") for order in children(each, "order")]
    found = [_numbered(each, None, notes) for order in orders for each in children(order, "id")]
    # The accession number stands in the namespace of DICOM PS3.20.
    found += [_numbered(each, "ACSN", notes) for order in orders for each in order.iterchildren("{*}accessionNumber")]
    found += [_numbered(each, "VN", notes) for each in children(encounter, "id")]
    return present(found)


def _numbered(element: etree._Element, code: str | None, notes: Notes) -> dict[str, Any] | None:
    found = key(element, notes)
    if found is None:
        return None
    kind = {"type": {"coding": [{"system": _IDENTIFIER_TYPES, "code": code}]}} if code else {}
    return {"identifier": {**kind, **found.identifier()}}


def _note_absent(document: etree._Element, found: dict[str, Any], notes: Notes) -> None:
    """Note what R4 can do without and a French repository cannot."""
    context = found["context"]
    absent = [name for name in ("type", "author", "custodian") if not found[name]]
    absent += [f"context.{name}" for name in ("facilityType", "practiceSetting") if name not in context]
    attachment = found["content"][0]["attachment"]
    absent += [f"attachment.{name}" for name in ("language", "title", "creation") if name not in attachment]
    for name in absent:
        notes.add("missing-element", document, name)
