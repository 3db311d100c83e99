"""`_summary` and `_elements`: what is cut, what stays, and that it stays to the byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from fhir_server.fhir.definitions import load_definitions
from fhir_server.fhir.subset import SUMMARIES, Subsets
from fhir_server.validation.validator import Validator

SUBSETS = Subsets(load_definitions())
TAG = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
OBSERVATION = (
    b'{"resourceType":"Observation","id":"o","meta":{"versionId":"1","tag":[ {"system":"urn:x","code":"t"} ]},'
    b'"text":{"status":"generated","div":"<div xmlns=\\"http://www.w3.org/1999/xhtml\\">x</div>"},"status":"final",'
    b'"code": {"text":"Poids",  "id":"c"},"valueQuantity":{"value": 70.00,"unit":"kg"},"note":[{"text":"n"}],'
    b'"component":[{"code":{"text":"a"},"interpretation":[{"text":"i"}],"valueInteger": 1}]}'
)


def cut(body: bytes, **asked: Any) -> tuple[bytes, dict[str, Any]]:
    """The bytes of the subset, and what they say."""
    found = SUBSETS.cut(orjson.loads(body)["resourceType"], body, **asked)
    return found, orjson.loads(found)


def test_a_summary_holds_what_r4_marks_and_what_is_mandatory_to_the_byte() -> None:
    """Narrative and notes go, the value keeps its zeros, backbone elements are cut inside."""
    raw, said = cut(OBSERVATION, summary="true")
    assert set(said) == {"resourceType", "id", "meta", "status", "code", "valueQuantity", "component"}
    assert b'"value": 70.00' in raw
    assert b'"code":{"text":"Poids",  "id":"c"}' in raw
    assert said["component"] == [{"code": {"text": "a"}, "valueInteger": 1}]
    assert said["meta"]["tag"] == [{"system": "urn:x", "code": "t"}, TAG]


def test_text_and_data_part_the_narrative_from_the_rest() -> None:
    """text: the narrative and what is mandatory; data: everything but the narrative."""
    assert set(cut(OBSERVATION, summary="text")[1]) == {"resourceType", "id", "meta", "text", "status", "code"}
    assert set(cut(OBSERVATION, summary="data")[1]) == set(orjson.loads(OBSERVATION)) - {"text"}


@pytest.mark.parametrize("name", ["value", "valueQuantity"])
def test_elements_are_given_with_what_cannot_be_left_out(name: str) -> None:
    """Mandatory elements, and modifiers, come besides; a choice may be named with its type or without."""
    assert set(cut(OBSERVATION, elements=(name,))[1]) == {
        "resourceType",
        "id",
        "meta",
        "status",
        "code",
        "valueQuantity",
    }
    patient = orjson.dumps({"resourceType": "Patient", "active": True, "name": [{"family": "A"}], "gender": "male"})
    assert set(cut(patient, elements=("gender", "nonsense"))[1]) == {"resourceType", "meta", "active", "gender"}


def test_the_extensions_of_what_stays_stay_and_those_of_the_resource_go() -> None:
    """A birth date that is only an extension is still there; a content without its data keeps its hash."""
    extension = [{"url": "urn:x", "valueCode": "unknown"}]
    patient = {"resourceType": "Patient", "_birthDate": {"extension": extension}, "extension": extension}
    assert cut(orjson.dumps(patient), summary="true")[1]["_birthDate"] == {"extension": extension}
    assert "extension" not in cut(orjson.dumps(patient), summary="true")[1]
    attachment = {"contentType": "text/plain", "data": "eA==", "hash": "eA=="}
    document = {"resourceType": "DocumentReference", "status": "current", "content": [{"attachment": attachment}]}
    content = cut(orjson.dumps(document), summary="true")[1]["content"]
    assert content == [{"attachment": {"contentType": "text/plain", "hash": "eA=="}}]


def test_contained_resources_stay_when_what_stays_points_to_them() -> None:
    """No reference is left hanging."""
    contained = [{"resourceType": "Practitioner", "id": "p"}]
    base = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "contained": contained}
    pointing = orjson.dumps({**base, "performer": [{"reference": "#p"}]})
    assert cut(pointing, summary="true")[1]["contained"] == contained
    assert "contained" not in cut(pointing, elements=("code",))[1]


def test_nothing_asked_for_changes_nothing() -> None:
    """Without a summary, or with `false`, the bytes are those that are stored."""
    assert SUBSETS.cut("Observation", OBSERVATION) is OBSERVATION
    assert SUBSETS.cut("Observation", OBSERVATION, summary="false") is OBSERVATION
    assert (
        cut(SUBSETS.cut("Observation", OBSERVATION, summary="data"), summary="data")[1]["meta"]["tag"].count(TAG) == 1
    )


def test_every_r4_example_still_has_the_structure_of_its_type_when_cut(r4_package: Path) -> None:
    """And what stays is a part of what there was. Rules between elements may miss what was cut: hence the tag."""
    validator = Validator(load_definitions())
    seen = 0
    for file in sorted(r4_package.glob("*.json"))[::7]:
        body = file.read_bytes()
        resource = orjson.loads(body)
        if not isinstance(resource, dict) or "resourceType" not in resource or validator.validate(resource):
            continue
        for summary in SUMMARIES:
            said = cut(body, summary=summary)[1]
            errors = [
                each for each in validator.validate(said) if each.code != "invariant" and each.severity == "error"
            ]
            assert not errors, (file.name, summary, errors)
            assert set(said) <= {*resource, "meta"}
        seen += 1
    assert seen > 100
