"""A document that is no CDA as a DocumentReference, from the metadata it came with.

Source: IHE ITI MHD §4.5 and PDSm (DocumentEntry to DocumentReference), importers page §10.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fhir_server.fhir import identity as identities
from importers.cda.header import Part
from importers.cda.labels import security_labels
from importers.coded import concept, identifier, master_identifier, moment
from importers.export.entries import IS_ARCHIVED
from importers.issues import Notes
from importers.metadata import ARCHIVED, DEPRECATED, Author, Code, DocumentEntry, Identifier, Institution, Person


def document_reference(
    entry: DocumentEntry, part: Part, notes: Notes, *, subject: str, imported_at: datetime
) -> dict[str, Any]:
    """The DocumentReference without id and `relatesTo`, its actors contained; `part` is where its bytes are.

    What the metadata do not say is left out, except the label: normal where there is no confidentiality.
    """
    actors = _Actors()
    attachment = {
        "contentType": part.media_type,
        "language": entry.language,
        "url": part.url,
        "size": part.size,
        "hash": part.sha1,
        "title": entry.title,
        "creation": moment(entry.creation_time),
    }
    archived = [{"url": IS_ARCHIVED, "valueBoolean": True}] if entry.status == ARCHIVED else []
    found = {
        "extension": archived,
        "masterIdentifier": master_identifier(entry.unique_id) if entry.unique_id else None,
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": entry.id}]
        if entry.id.startswith("urn:uuid:")
        else None,
        "status": "superseded" if entry.status == DEPRECATED else "current",
        "type": _concept(entry.type_code),
        "category": [_concept(entry.class_code)] if entry.class_code else None,
        "subject": {"reference": subject},
        "date": imported_at.isoformat(timespec="milliseconds"),
        "author": [found for each in entry.authors if (found := actors.author(each))],
        "authenticator": actors.person(entry.legal_authenticator),
        "description": entry.comments or entry.title,
        "securityLabel": security_labels((), (each.code for each in entry.confidentiality), notes),
        "content": [{"attachment": _present(attachment), **_format(entry.format_code)}],
        "context": _context(entry),
    }
    contained = {"contained": actors.contained} if actors.contained else {}
    return {"resourceType": "DocumentReference", **contained, **_present(found)}


def _context(entry: DocumentEntry) -> dict[str, Any]:
    period = {"start": moment(entry.service_start_time), "end": moment(entry.service_stop_time)}
    return _present(
        {
            "event": [concept(each) for each in entry.events],
            "period": _present(period),
            "facilityType": _concept(entry.facility_type),
            "practiceSetting": _concept(entry.practice_setting),
            "related": [{"identifier": identifier(each)} for each in entry.reference_ids],
        }
    )


def _concept(code: Code | None) -> dict[str, Any] | None:
    return concept(code) if code else None


def _format(code: Code | None) -> dict[str, Any]:
    return {"format": concept(code)["coding"][0]} if code else {}


def _present(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value not in (None, "", [], {})}


class _Actors:
    """The contained actors of a DocumentReference, each once."""

    def __init__(self) -> None:
        self.contained: list[dict[str, Any]] = []

    def author(self, author: Author) -> dict[str, Any] | None:
        """A professional in his role, else the institution."""
        practitioner = self.person(author.person)
        organization = next((found for each in author.institutions if (found := self._organization(each))), None)
        if practitioner is None:
            return organization
        role = {
            "practitioner": practitioner,
            "organization": organization,
            "code": [concept(each) for each in author.roles],
            "specialty": [concept(each) for each in author.specialties],
        }
        return self._add("PractitionerRole", _present(role))

    def person(self, person: Person | None) -> dict[str, Any] | None:
        if person is None:
            return None
        given = [each for each in (person.given, person.second) if each]
        name = _present(
            {
                "family": person.family,
                "given": given,
                "prefix": [person.prefix] if person.prefix else None,
                "suffix": [person.suffix] if person.suffix else None,
            }
        )
        keys = _identifiers(person.identifier, identities.IDNPS)
        found = _present({"identifier": keys, "name": [name] if name else None})
        return self._add("Practitioner", found) if found else None

    def _organization(self, institution: Institution) -> dict[str, Any] | None:
        keys = _identifiers(institution.identifier, identities.IDNST)
        found = _present({"identifier": keys, "name": institution.name})
        return self._add("Organization", found) if found else None

    def _add(self, kind: str, content: dict[str, Any]) -> dict[str, Any]:
        for each in self.contained:
            if each == {"resourceType": kind, "id": each["id"], **content}:
                return {"reference": f"#{each['id']}"}
        id = f"{kind.lower()}-{1 + sum(each['resourceType'] == kind for each in self.contained)}"
        self.contained.append({"resourceType": kind, "id": id, **content})
        return {"reference": f"#{id}"}


def _identifiers(key: Identifier | None, french: str) -> list[dict[str, Any]]:
    """The identifiers of a CX: the raw one and, of a French professional or structure, the one inside it."""
    if key is None:
        return []
    found = identifier(key)
    if found.get("system") != french:
        return [found]
    split = identities.professional_identifiers if french == identities.IDNPS else identities.structure_identifiers
    return list(split(key.value))
