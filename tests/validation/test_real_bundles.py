"""What other software writes as R4 is found to be R4, or not, as it is."""

from __future__ import annotations

import bz2
from pathlib import Path

import pytest

from fhir_server.fhir.json import parse
from fhir_server.validation.validator import Validator

# What the French guides publish against R4: dom-4 (contained resources with versions), empty strings.
INVALID = {
    "pdsm/DocumentReference-doc-old.json",
    "pdsm/DocumentReference-exemple-pdsm-documentreference.json",
    "pdsm/List-ExampleSubmissionSet.json",
    "cercle-de-soins/Bundle-cds-bundle-transaction-creation-example.json",
    "cercle-de-soins/CareTeam-cds-careteam-example.json",
    "cercle-de-soins/Organization-cds-organization-example.json",
}


@pytest.mark.shared_data
def test_generated_records_are_valid(validator: Validator, shared_data: Path) -> None:
    """Transactions of whole lives, by Synthea."""
    files = sorted((shared_data / "synthea").glob("*.json.bz2"), key=lambda path: path.stat().st_size)[:20]
    assert len(files) == 20
    for path in files:
        assert validator.validate(parse(bz2.decompress(path.read_bytes()))) == [], path.name


@pytest.mark.shared_data
def test_the_examples_of_the_french_guides_are_valid_but_for_those_against_r4(
    validator: Validator, shared_data: Path
) -> None:
    """Directory, agenda, documents, circle of care."""
    folder = shared_data / "fr" / "examples"
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*.json")}
    assert len(files) > 30
    refused = {name for name, path in files.items() if validator.validate(parse(path.read_bytes()))}
    assert refused == INVALID
