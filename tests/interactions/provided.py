"""Documents as a certified professional software provides them: the parts of an ITI-65 Bundle, made by hand."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any
from uuid import uuid4

PDSM = "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/"
MHD = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/"
NOS = "https://mos.esante.gouv.fr/NOS/"
LISTS = "https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes"
ARCHIVED = f"{PDSM}pdsm-ext-is-archived"
INS = "urn:oid:1.2.250.1.213.1.4.10"
ROLE = {
    "resourceType": "PractitionerRole",
    "id": "author",
    "identifier": [{"system": "https://rpps.esante.gouv.fr", "value": "99900000077"}],
    "organization": {"reference": "#org"},
}
ORGANIZATION = {
    "resourceType": "Organization",
    "id": "org",
    "identifier": [{"system": "urn:oid:1.2.250.1.71.4.2.2", "value": "1990000003"}],
    "name": "Laboratoire du Parc",
}
PATIENT = {"resourceType": "Patient", "id": "pat", "identifier": [{"system": INS, "value": "279035121518989"}]}


def urn() -> str:
    """A new urn:uuid."""
    return f"urn:uuid:{uuid4()}"


def coded(system: str, code: str) -> dict[str, Any]:
    """A CodeableConcept; `system`: of the NOS by its two names, else as it stands."""
    return {"coding": [{"system": system if ":" in system else nos(system), "code": code}]}


def nos(name: str) -> str:
    """The url of a code system of the NOS."""
    return f"{NOS}{name}/FHIR/{name.replace('_', '-', 1)}"


def sha1(data: bytes) -> str:
    """As Attachment.hash has it."""
    return b64encode(hashlib.sha1(data).digest()).decode()


def document(subject: str, data: bytes, url: str, **more: Any) -> dict[str, Any]:
    """A comprehensive DocumentReference for some content."""
    attachment = {
        "contentType": "application/pdf",
        "language": "fr-FR",
        "url": url,
        "size": len(data),
        "hash": sha1(data),
        "title": "Compte rendu",
        "creation": "2026-10-01T10:00:00+02:00",
    }
    resource = {
        "resourceType": "DocumentReference",
        "meta": {"profile": [f"{PDSM}pdsm-comprehensive-document-reference"]},
        "contained": [ROLE, ORGANIZATION, PATIENT],
        "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": urn()},
        "status": "current",
        "type": coded("http://loinc.org", "11488-4"),
        "category": [coded("TRE_A03-ClasseDocument", "10")],
        "subject": {"reference": subject},
        "date": "2026-10-01T10:00:00+02:00",
        "author": [{"reference": "#author"}],
        "authenticator": {"reference": "#author"},
        "custodian": {"reference": "#org"},
        "securityLabel": [coded("http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "N")],
        "content": [
            {
                "attachment": attachment,
                "format": {"system": nos("TRE_A11-IheFormatCode"), "code": "urn:ihe:iti:xds-sd:pdf:2008"},
            }
        ],
        "context": {
            "period": {"start": "2026-10-01T09:00:00+02:00", "end": "2026-10-01T09:30:00+02:00"},
            "facilityType": coded("TRE_R02-SecteurActivite", "SA25"),
            "practiceSetting": coded("TRE_A01-CadreExercice", "AMBULATOIRE"),
            "sourcePatientInfo": {"reference": "#pat"},
        },
    }
    return resource | more


def submission(subject: str, *items: str, **more: Any) -> dict[str, Any]:
    """A comprehensive submission set of these documents and folders."""
    resource = {
        "resourceType": "List",
        "meta": {"profile": [f"{PDSM}pdsm-submissionset-comprehensive"]},
        "contained": [ROLE, ORGANIZATION],
        "extension": [
            {"url": f"{MHD}ihe-designationType", "valueCodeableConcept": coded("TRE_R02-SecteurActivite", "SA25")},
            {"url": f"{MHD}ihe-sourceId", "valueIdentifier": {"system": "urn:oid:1.2.3", "value": "lgc-1"}},
        ],
        "identifier": [{"use": use, "system": "urn:ietf:rfc:3986", "value": urn()} for use in ("usual", "official")],
        "status": "current",
        "mode": "working",
        "title": "Lot du laboratoire",
        "code": coded(LISTS, "submissionset"),
        "subject": {"reference": subject},
        "date": "2026-10-01T10:05:00+02:00",
        "source": {
            "extension": [{"url": f"{MHD}ihe-authorOrg", "valueReference": {"reference": "#org"}}],
            "reference": "#author",
        },
        "entry": [{"item": {"reference": each}} for each in items],
    }
    return resource | more


def folder(subject: str, *items: str) -> dict[str, Any]:
    """A folder of these documents."""
    made = submission(subject, *items, code=coded(LISTS, "folder"), title="Classeur")
    made["meta"] = {"profile": [f"{PDSM}pdsm-folder-comprehensive"]}
    return {name: each for name, each in made.items() if name not in ("source", "contained")}


def binary(data: bytes, kind: str = "application/pdf") -> dict[str, Any]:
    """A Binary."""
    return {"resourceType": "Binary", "contentType": kind, "data": b64encode(data).decode()}


def posted(resource: dict[str, Any], full_url: str = "") -> dict[str, Any]:
    """An entry that creates a resource."""
    request = {"method": "POST", "url": resource["resourceType"]}
    return {"fullUrl": full_url or urn(), "resource": resource, "request": request}


def ending(reference: str, status: str = "superseded") -> dict[str, Any]:
    """The entry that ends a document: a FHIRPath Patch."""
    part = [
        {"name": "type", "valueCode": "replace"},
        {"name": "path", "valueString": "DocumentReference.status"},
        {"name": "value", "valueCode": status},
    ]
    patch = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": part}]}
    return {"fullUrl": urn(), "resource": patch, "request": {"method": "PATCH", "url": reference}}


def bundle(*entries: dict[str, Any]) -> dict[str, Any]:
    """A comprehensive provide document Bundle."""
    profile = f"{PDSM}pdsm-comprehensive-provide-document-bundle"
    return {
        "resourceType": "Bundle",
        "meta": {"profile": [profile]},
        "type": "transaction",
        "entry": list(entries),
    }


def provide(subject: str, data: bytes, **more: Any) -> dict[str, Any]:
    """The usual Bundle: submission set, document, content, in that order."""
    document_url, binary_url = urn(), urn()
    return bundle(
        posted(submission(subject, document_url)),
        posted(document(subject, data, binary_url, **more), document_url),
        posted(binary(data), binary_url),
    )
