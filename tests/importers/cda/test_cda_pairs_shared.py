"""Documents that others have converted too: five Italian pairs of CDA and FHIR, and the American ones (§11, §12)."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from importers.cda.document import convert, read

pytestmark = pytest.mark.shared_data

IMPORTED_AT = datetime(2026, 1, 6, 8, 30, tzinfo=UTC)

# What is contained, referred to by identifier, or made once a document whatever its entries say.
ELSEWHERE = {
    "Composition", "Device", "DocumentReference", "Location", "Organization", "OrganizationAffiliation", "Patient",
    "Practitioner", "PractitionerRole", "RelatedPerson",
}  # fmt: skip

NO_TEMPLATE = "the entry bears no template, and an act or organizer is not guessed"
NO_TEMPLATE_PROBLEM = "the entry bears no template: an observation, not guessed to be a problem"
CONTAINED = "form, lot and ingredients stand in a contained Medication"
PLANNED = "what is asked for stays narrative"
IN_PARENT = "what is nested belongs to its parent; their Bundle also has one Observation for each section text"

# (document, type): (ours, theirs, why).
DIFFERENCES: dict[tuple[str, str], tuple[int, int, str]] = {
    ("CERT_VACC", "Encounter"): (0, 1, "the document has no encompassing encounter with an id or a period"),
    ("CERT_VACC", "Observation"): (0, 3, "the reaction is contained; risk and condition are no part of Immunization"),
    ("LAB", "DiagnosticReport"): (0, 1, NO_TEMPLATE),
    ("LAB", "Observation"): (0, 1, NO_TEMPLATE),
    ("LAB", "ServiceRequest"): (0, 1, PLANNED),
    ("LAB", "Specimen"): (0, 1, NO_TEMPLATE),
    ("LDO", "AllergyIntolerance"): (0, 1, NO_TEMPLATE),
    ("LDO", "CarePlan"): (0, 1, PLANNED),
    ("LDO", "Condition"): (0, 2, NO_TEMPLATE_PROBLEM),
    ("LDO", "Medication"): (0, 2, CONTAINED),
    ("LDO", "MedicationAdministration"): (0, 1, "theirs of a section without entries"),
    ("LDO", "MedicationRequest"): (1, 2, "the supply under a planned administration is its dispenseRequest"),
    ("LDO", "Observation"): (7, 15, IN_PARENT),
    ("LDO", "ServiceRequest"): (0, 3, PLANNED),
    ("PSS", "CarePlan"): (0, 1, PLANNED),
    ("PSS", "Coverage"): (0, 1, "who pays stays narrative"),
    ("PSS", "Encounter"): (2, 3, "one is planned"),
    ("PSS", "Medication"): (0, 2, CONTAINED),
    ("PSS", "Observation"): (9, 14, IN_PARENT),
    ("PSS", "Procedure"): (1, 3, PLANNED),
    ("RAD", "AllergyIntolerance"): (0, 1, NO_TEMPLATE),
    ("RAD", "Condition"): (0, 1, NO_TEMPLATE_PROBLEM),
    ("RAD", "DiagnosticReport"): (0, 1, NO_TEMPLATE),
    ("RAD", "FamilyMemberHistory"): (0, 1, NO_TEMPLATE),
    ("RAD", "ImagingStudy"): (0, 1, "DICOM studies stay narrative"),
    ("RAD", "List"): (0, 2, "theirs of the catalogue of studies"),
    ("RAD", "Observation"): (4, 12, IN_PARENT),
    ("RAD", "ServiceRequest"): (0, 1, PLANNED),
}

# What ccda-to-fhir 0.3 makes of the American documents, of the types that are in scope; it makes both kinds of
# medication a MedicationRequest where ours tells what is taken from what is asked for.
MEDICATION = ("MedicationStatement", "MedicationRequest")
FLOOR: dict[str, dict[str, int]] = {
    "CCD-Parent-Document-Replace-C-CDAR2.1": {
        "AllergyIntolerance": 1, "Condition": 1, "Encounter": 1, "Immunization": 1, "Medication": 2, "Observation": 1,
        "Procedure": 1,
    },
    "CCD": {"AllergyIntolerance": 1, "DiagnosticReport": 1, "Observation": 11, "Procedure": 3},
    "Consult-Document-Closing-Referral-C-CDAR2.1": {"Encounter": 1},
    "Consultation_Note": {
        "AllergyIntolerance": 2, "Condition": 4, "DiagnosticReport": 2, "Encounter": 1, "Medication": 2,
        "Observation": 14,
    },
    "Discharge_Summary": {
        "AllergyIntolerance": 3, "Condition": 2, "Encounter": 1, "Immunization": 2, "Observation": 5, "Procedure": 1,
    },
    "Operative_Note": {"Medication": 1, "Procedure": 1},
    "Progress_Note": {
        "AllergyIntolerance": 2, "Condition": 3, "DiagnosticReport": 2, "Encounter": 1, "Medication": 2,
        "Observation": 14,
    },
    "Transfer_Summary": {
        "AllergyIntolerance": 2, "Condition": 4, "DiagnosticReport": 2, "Encounter": 1, "Immunization": 5,
        "Medication": 2, "Observation": 16, "Procedure": 2,
    },
}  # fmt: skip


def first_codes(resources: list[dict[str, Any]], kind: str, member: str) -> list[str]:
    """The first code of each resource of a type, in order."""
    return sorted(each[member]["coding"][0]["code"] for each in resources if each["resourceType"] == kind)


@pytest.fixture(scope="module")
def pairs(shared_data: Path) -> dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """What we make of each document, and what its authors made of it in FHIR."""
    folder = shared_data / "cda" / "it"
    found = {}
    for path in sorted(folder.glob("*.xml")):
        ours = convert(read(path.read_bytes()), subject="Patient/p1", imported_at=IMPORTED_AT).discrete
        theirs = json.loads((folder / f"{path.stem}.fhir.json").read_bytes())["entry"]
        found[path.stem] = (list(ours), [each["resource"] for each in theirs])
    return found


def test_the_counts_differ_where_the_table_says(
    pairs: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]],
) -> None:
    """Type by type; every difference has its reason, and no reason outlives its difference."""
    assert sorted(pairs) == ["CERT_VACC", "LAB", "LDO", "PSS", "RAD"]
    differing = {}
    for name, (ours, theirs) in pairs.items():
        made, given = (Counter(each["resourceType"] for each in one) for one in (ours, theirs))
        for kind in {*made, *given} - ELSEWHERE:
            if made[kind] != given[kind]:
                differing[name, kind] = (made[kind], given[kind])
    assert differing == {key: row[:2] for key, row in DIFFERENCES.items()}


def test_what_both_have_is_of_the_same_codes(
    pairs: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]],
) -> None:
    """Vaccines, problems, procedures, the report and the relatives: the same first code."""
    for name, kind, member in (
        ("CERT_VACC", "Immunization", "vaccineCode"),
        ("PSS", "Immunization", "vaccineCode"),
        ("PSS", "Condition", "code"),
        ("PSS", "FamilyMemberHistory", "relationship"),
        ("PSS", "DiagnosticReport", "code"),
        ("LDO", "Procedure", "code"),
    ):
        ours, theirs = pairs[name]
        assert first_codes(ours, kind, member) == first_codes(theirs, kind, member) != [], (name, kind)


def test_the_status_of_a_vaccination_not_given_is_theirs(
    pairs: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]],
) -> None:
    """One vaccine given, one exempted."""
    ours, theirs = (
        sorted(each["status"] for each in one if each["resourceType"] == "Immunization") for one in pairs["CERT_VACC"]
    )
    assert ours == theirs == ["completed", "not-done"]


def test_an_allergy_names_its_agent_where_theirs_names_its_kind(
    pairs: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]],
) -> None:
    """Their code is that of the value (ALG, an allergy); ours is the substance of the participant."""
    ours, theirs = pairs["PSS"]
    assert first_codes(theirs, "AllergyIntolerance", "code") == ["ALG"]
    (allergy,) = (each for each in ours if each["resourceType"] == "AllergyIntolerance")
    assert allergy["code"]["coding"][0]["code"] == "260152009"
    assert allergy["clinicalStatus"]["coding"][0]["code"] == "active"
    assert len(allergy["reaction"]) == 1


def test_no_american_document_gives_less_than_another_converter_makes_of_it(shared_data: Path) -> None:
    """Type by type, of all that both map."""
    for name, floor in FLOOR.items():
        document = (shared_data / "cda" / "us" / f"{name}.xml").read_bytes()
        made = Counter(
            each["resourceType"]
            for each in convert(read(document), subject="Patient/p1", imported_at=IMPORTED_AT).discrete
        )
        made["Medication"] = sum(made[each] for each in MEDICATION)
        assert {kind: made[kind] for kind, least in floor.items() if made[kind] < least} == {}, name
