"""The official examples of R4 are valid, but for those that break its own rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhir_server.fhir.json import MAX_PARTS, parse
from fhir_server.validation.validator import Validator

NO_BASE_DEFINITION = "sdf-4: neither abstract nor specialising anything"
NO_BASE = "SearchParameter.base is 1..* and is missing"
LONG_ID = "an id of 67 characters"
EMPTY = "txt-2: the narrative is white space only"

INVALID = {
    "ActivityDefinition-blood-tubes-supply.json": EMPTY,
    "ActivityDefinition-heart-valve-replacement.json": EMPTY,
    "Bundle-b0a5e4277-83c4-4adb-87e2-e3efe3369b6f.json": "a MIME parameter with a blank, unquoted: DICOM WADO-RS",
    "Bundle-dataelements.json": "bdl-7: the data elements of Quantity stand there three times",
    "Bundle-v2-valuesets.json": "holds CodeSystem v2-0550",
    "CodeSystem-v2-0550.json": "codes that end with, or are, a no-break space left by a wrong character encoding",
    "DeviceMetric-example.json": "parent is a DeviceDefinition, the target is Device",
    "DeviceUseStatement-example.json": "reasonReference is a Procedure, which is no target",
    "EventDefinition-example.json": EMPTY,
    "ImplementationGuide-fhir.json": "name and status are missing; a reference with an id of 67 characters",
    "MedicationRequest-medrx0301.json": "dispenseRequest.performer is a Practitioner, the target is Organization",
    "Observation-clinical-gender.json": "performer is an Encounter, which is no target",
    "PlanDefinition-example-cardiology-os.json": "canonicals #… of contained resources that are not there",
    "Questionnaire-qs1.json": "items without linkId, which is 1..1",
    "Questionnaire-zika-virus-exposure-assessment.json": EMPTY,
    "SearchParameter-codesystem-extensions-CodeSystem-author.json": NO_BASE,
    "SearchParameter-codesystem-extensions-CodeSystem-effective.json": NO_BASE,
    "SearchParameter-codesystem-extensions-CodeSystem-end.json": NO_BASE,
    "SearchParameter-codesystem-extensions-CodeSystem-keyword.json": NO_BASE,
    "SearchParameter-codesystem-extensions-CodeSystem-workflow.json": NO_BASE,
    "SearchParameter-questionnaireresponse-extensions-QuestionnaireResponse-item-subject.json": LONG_ID,
    "SearchParameter-valueset-extensions-ValueSet-author.json": NO_BASE,
    "SearchParameter-valueset-extensions-ValueSet-effective.json": NO_BASE,
    "SearchParameter-valueset-extensions-ValueSet-end.json": NO_BASE,
    "SearchParameter-valueset-extensions-ValueSet-keyword.json": NO_BASE,
    "SearchParameter-valueset-extensions-ValueSet-workflow.json": NO_BASE,
    "StructureDefinition-Definition.json": NO_BASE_DEFINITION,
    "StructureDefinition-Event.json": NO_BASE_DEFINITION,
    "StructureDefinition-FiveWs.json": NO_BASE_DEFINITION,
    "StructureDefinition-Request.json": NO_BASE_DEFINITION,
    "ig-r4.json": "the same ImplementationGuide as ImplementationGuide-fhir",
}


@pytest.mark.r4_package
def test_the_official_examples_are_valid_but_for_those_that_break_rules_of_r4(
    validator: Validator, r4_package: Path
) -> None:
    """All 5,306, through the parser of requests; the table says what is wrong with the rest."""
    files = sorted(path for path in r4_package.glob("*.json") if path.name != "package.json")
    refused = {path.name for path in files if validator.validate(parse(path.read_bytes(), max_parts=MAX_PARTS))}
    assert len(files) == 5306
    assert refused == set(INVALID)
