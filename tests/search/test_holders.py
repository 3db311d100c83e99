"""The records that a search is confined to are those that the consent engine files its answers in."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from fhir_server.consent.compartment import patient_of
from fhir_server.errors import Invalid
from fhir_server.fhir.definitions import Definitions
from fhir_server.search.extract import extract
from fhir_server.search.registry import SearchRegistry

BASE = "http://localhost/fhir"


@pytest.mark.r4_package
def test_what_a_holding_parameter_finds_for_a_patient_is_in_that_patients_record(
    registry: SearchRegistry, definitions: Definitions, r4_package: Path
) -> None:
    """On every example of R4: the hint `Plan.patients` never leaves out a row that the criteria find."""
    agreed: set[tuple[str, str]] = set()
    for path in sorted(r4_package.glob("*-*.json")):
        resource_type = path.name.partition("-")[0]
        if resource_type not in definitions.resource_types or not registry.holders(resource_type):
            continue
        resource = orjson.loads(path.read_bytes())
        try:
            patient = patient_of(definitions, resource, base=BASE)
        except Invalid:
            continue
        for param, target in extract(registry, resource_type, resource, BASE).references:
            if param in registry.holders(resource_type) and target.startswith("Patient/"):
                assert target == f"Patient/{patient}", path.name
                agreed.add((resource_type, param))
    assert len(agreed) > 60
