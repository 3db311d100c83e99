"""The search parameters of the French guide for sharing documents (spec domain §4.4, §4.5)."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.search.extract import extract
from fhir_server.search.facts import Facts
from fhir_server.search.match import Row, holds
from fhir_server.search.parse import parse
from fhir_server.search.registry import SearchRegistry

BASE = "http://localhost/fhir"
ARCHIVED = "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-ext-is-archived"
MHD = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/"
INS = "urn:oid:1.2.250.1.213.1.4.8"

DOCUMENT = {
    "resourceType": "DocumentReference",
    "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2.3"},
    "identifier": [{"system": "urn:ietf:rfc:3986", "value": "urn:uuid:4"}],
    "status": "current",
    "subject": {"reference": "Patient/p1", "identifier": {"system": INS, "value": "279035121518989"}},
    "content": [{"attachment": {"creation": "2024-05-02T10:00:00+02:00"}}],
    "context": {"period": {"start": "2024-05-01", "end": "2024-05-03"}},
}
SUBMISSION = {
    "resourceType": "List",
    "extension": [
        {
            "url": MHD + "ihe-designationType",
            "valueCodeableConcept": {"coding": [{"system": "http://t", "code": "EXP_PATIENT"}]},
        },
        {"url": MHD + "ihe-sourceId", "valueIdentifier": {"system": "urn:oid:1.2", "value": "lgc"}},
    ],
    "source": {
        "reference": "PractitionerRole/r1",
        "extension": [{"url": MHD + "ihe-authorOrg", "valueReference": {"reference": "Organization/o1"}}],
    },
}


@pytest.fixture(scope="session")
def finds(registry: SearchRegistry) -> Any:
    """Whether a strict search finds the resource."""

    def found(resource: dict[str, Any], name: str, value: str) -> bool:
        type_ = resource["resourceType"]
        where = parse(registry, (type_,), [(name, value)], strict=True, base_url=BASE).plan.where
        return holds(where, Row(Facts(type_, "1", "record"), extract(registry, type_, resource, BASE), 0))

    return found


@pytest.mark.parametrize("name", ["isArchived", "PDSm_isArchived"])
def test_what_does_not_say_that_it_is_archived_is_not(finds: Any, name: str) -> None:
    """DOC-16: `false` finds documents without the extension too, `true` only those that say so."""
    for extension, archived in (([], False), ([False], False), ([True], True)):
        for resource in (DOCUMENT, SUBMISSION):
            said = [{"url": ARCHIVED, "valueBoolean": each} for each in extension]
            marked = {**resource, "extension": [*resource.get("extension", []), *said]}
            assert finds(marked, name, "true") is archived
            assert finds(marked, name, "false") is not archived


@pytest.mark.parametrize(
    ("resource", "name", "value"),
    [
        (DOCUMENT, "identifier", "urn:oid:1.2.3"),
        (DOCUMENT, "identifier", "urn:ietf:rfc:3986|urn:uuid:4"),
        (DOCUMENT, "period-start", "2024-05-01"),
        (DOCUMENT, "PDSm_DocumentReference_period-start", "ge2024"),
        (DOCUMENT, "period-end", "2024-05-03"),
        (DOCUMENT, "PDSm_DocumentReference_period-end", "lt2025"),
        (DOCUMENT, "creation", "2024-05-02T08:00:00Z"),
        (DOCUMENT, "period", "ge2024-05"),
        (DOCUMENT, "patient", "Patient/p1"),
        (DOCUMENT, "subject:identifier", f"{INS}|279035121518989"),
        (DOCUMENT, "subject:identifier", "1.2.250.1.213.1.4.8|279035121518989"),
        (SUBMISSION, "designationType", "EXP_PATIENT"),
        (SUBMISSION, "DesignationType", "http://t|EXP_PATIENT"),
        (SUBMISSION, "sourceId", "urn:oid:1.2|lgc"),
        (SUBMISSION, "SourceId", "1.2|lgc"),
        (SUBMISSION, "authorOrg", "Organization/o1"),
        (SUBMISSION, "PDSm_authorOrg", "o1"),
        (SUBMISSION, "source", "PractitionerRole/r1"),
        (SUBMISSION, "PDSm_List_PractitionerRoleAsSource", "PractitionerRole/r1"),
        (SUBMISSION, "PDSm_List_PatientAsSource:missing", "false"),
    ],
)
def test_documents_and_submissions_are_found_by_the_guides_parameters(
    finds: Any, resource: dict[str, Any], name: str, value: str
) -> None:
    """Under the code, and under the names that the guide's CapabilityStatements list."""
    assert finds(resource, name, value)


def test_the_other_place_of_the_author_organisation_is_indexed_too(finds: Any) -> None:
    """The published expression looks at the List itself."""
    extension = SUBMISSION["source"]["extension"]  # type: ignore[index]
    assert finds({"resourceType": "List", "extension": extension}, "authorOrg", "Organization/o1")


def test_identifiers_under_different_oids_never_match(finds: Any) -> None:
    """ID-6: the test and demonstration INS are other systems."""
    assert not finds(DOCUMENT, "subject:identifier", "urn:oid:1.2.250.1.213.1.4.10|279035121518989")
    assert not finds(DOCUMENT, "subject:identifier", "1.2.250.1.213.1.4.10|279035121518989")
