"""Treatments, results and vital signs of the published documents: none lost, none twice, each difference argued."""

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
KINDS = ("lab_result", "vital_sign", "medication_EVN", "medication_INT")

# Made minus counted by template, and why.
DIFFERENCES = {
    # The treatment of the child, in the document of its mother, is not the mother's (subject CHILD).
    ("fr/ci-sis-2.41/OBP-SAP_2021.01.xml", "medication_EVN"): -1,
    ("fr/ci-sis-3.0/OBP-SAP_2024.01.xml", "medication_EVN"): -1,
    # "No information on treatments" is why the section is empty, and no treatment.
    ("fr/ci-sis-3.0/01_Modeles_contenus_CDA.xml", "medication_EVN"): -1,
    # Treatments of a rare disease have a template (.13) that the inventory does not count.
    ("fr/ci-sis-2.41/SDM-MR_2021.01.xml", "medication_EVN"): 1,
    ("fr/ci-sis-3.0/SDM-MR_2022.01.xml", "medication_EVN"): 1,
    # A European prescription item, planned activities and a supply order of C-CDA: neither is counted.
    ("eu/0000141G.xml", "medication_INT"): 1,
    ("eu/RTD_CCD_Martha.xml", "medication_INT"): 1,
    ("eu/RTD_CCD_Martha_as_PS.xml", "medication_INT"): 1,
    ("us/Transfer_Summary.xml", "medication_INT"): 2,
}


def kind_of(resource: dict[str, Any]) -> str | None:
    """What the inventory calls such a resource; a panel only groups results."""
    match resource["resourceType"]:
        case "MedicationStatement":
            return "medication_EVN"
        case "MedicationRequest":
            return "medication_INT"
        case "Observation" if "hasMember" not in resource:
            codes = {each["code"] for one in resource.get("category", ()) for each in one["coding"]}
            return "lab_result" if "laboratory" in codes else "vital_sign" if "vital-signs" in codes else None
    return None


@pytest.fixture(scope="module")
def made(shared_data: Path) -> dict[str, list[dict[str, Any]]]:
    """The discrete resources of every French, European and American document."""
    folder = shared_data / "cda"
    files = [each for name in ("fr/*/*.xml", "eu/*.xml", "us/*.xml") for each in sorted(folder.glob(name))]
    subject = {"subject": "Patient/p", "imported_at": IMPORTED_AT}
    return {str(each.relative_to(folder)): list(convert(read(each.read_bytes()), **subject).discrete) for each in files}


def test_every_measured_entry_is_a_resource_of_its_own(
    shared_data: Path, made: dict[str, list[dict[str, Any]]]
) -> None:
    """As many as the templates in the documents, but for the differences above."""
    inventory = json.loads((shared_data / "cda" / "inventory.json").read_bytes())["documents"]
    counted = {each["file"]: each["entryCounts"] for each in inventory}
    found, totals = {}, Counter[str]()
    for name, resources in made.items():
        counts = Counter(kind for each in resources if (kind := kind_of(each)))
        for kind in KINDS:
            difference = counts[kind] - counted[name].get(kind, 0) - counted[name].get(f"{kind}_negated", 0)
            if difference:
                found[name, kind] = difference
            totals[kind] += counts[kind] if name.startswith("fr/") else 0
    assert found == DIFFERENCES
    assert totals == {"lab_result": 550, "vital_sign": 102, "medication_EVN": 47, "medication_INT": 17}


def test_the_treatments_written_down_by_hand_are_found(
    shared_data: Path, made: dict[str, list[dict[str, Any]]]
) -> None:
    """Code, name and start of each in expected.json."""
    documents = json.loads((shared_data / "cda" / "expected.json").read_bytes())["documents"]
    for document in documents:
        found = [
            {
                "code": each["medicationCodeableConcept"]["coding"][0]["code"],
                "text": each["medicationCodeableConcept"]["text"],
                "start": each["effectivePeriod"]["start"],
            }
            for each in made[document["file"]]
            if each["resourceType"] == "MedicationStatement"
        ]
        expected = [{**each, "code": each["code"].split()[1]} for each in document.get("medications", ())]
        assert found == expected
        assert len(found) == document["counts"]["MedicationStatement"]


def test_no_two_resources_of_a_document_have_one_id(made: dict[str, list[dict[str, Any]]]) -> None:
    """Though 55 documents repeat the ids of their entries."""
    for name, resources in made.items():
        assert len({each["id"] for each in resources}) == len(resources), name


def test_every_reference_of_a_document_is_to_what_it_makes(made: dict[str, list[dict[str, Any]]]) -> None:
    """Members, results and specimens are of the same document."""
    for name, resources in made.items():
        ids = {f"urn:uuid:{each['id']}" for each in resources if each["resourceType"] in ("Observation", "Specimen")}
        for each in resources:
            for member in ("hasMember", "result", "specimen", "parent"):
                targets = each.get(member, [])
                for target in targets if isinstance(targets, list) else [targets]:
                    assert target["reference"] in ids, name
