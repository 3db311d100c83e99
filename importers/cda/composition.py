"""The Composition of a structured document: what its header says about the whole, and the section tree.

Source: https://hl7.org/fhir/R4/composition.html; importers page §4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lxml import etree

from importers.cda.datatypes import absent, date_time, present
from importers.cda.elements import child, children, descendant, text
from importers.cda.entries.entry import Source
from importers.cda.naming import Naming

_UNTITLED = "Document"


def composition(
    document: etree._Element,
    names: Naming,
    kind: Mapping[str, Any] | None,
    sections: list[dict[str, Any]],
    source: Source,
) -> dict[str, Any]:
    """The Composition without id and meta; `kind` is the type of the document."""
    date = date_time(child(document, "effectiveTime"), source.notes)
    found = {
        "identifier": names.unique_id.identifier(),
        "status": "final",
        "type": dict(kind) if kind else {"text": text(child(document, "title")) or _UNTITLED},
        "subject": {"reference": source.subject},
        "encounter": dict(source.encounter) if source.encounter else None,
        "date": date,
        "_date": None if date else absent(child(document, "effectiveTime")),
        "author": _authors(document, source),
        "title": text(child(document, "title")) or (kind or {}).get("text") or _UNTITLED,
        "attester": _attester(document, source),
        "custodian": source.people.organization(
            descendant(document, "custodian", "assignedCustodian", "representedCustodianOrganization")
        ),
        "section": sections,
    }
    return {"resourceType": "Composition", **{name: value for name, value in found.items() if value}}


def _authors(document: etree._Element, source: Source) -> list[dict[str, Any]]:
    found = present(map(source.people.actor, children(document, "author")))
    # R4 wants an author: who is not named is said to be unknown.
    return found or [absent(child(document, "author"))]


def _attester(document: etree._Element, source: Source) -> list[dict[str, Any]] | None:
    element = child(document, "legalAuthenticator")
    party = source.people.actor(element)
    time = date_time(child(element, "time"), source.notes)
    found = {"mode": "legal", **({"time": time} if time else {}), **({"party": party} if party else {})}
    if party and party.get("type") == "Device":
        del found["party"]
    return [found] if len(found) > 1 else None
