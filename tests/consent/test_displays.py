"""What references between the resources of records say beside an id is not kept (access §3.1, L39)."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.consent.compartment import said_in
from fhir_server.consent.displays import without_displays

BASE = "https://here.example/fhir"
SAID = {"display": "Sérologie VIH", "identifier": {"system": "s", "value": "1"}}


@pytest.mark.parametrize(
    ("target", "dropped"),
    [
        ("DocumentReference/d1", True),
        ("DocumentReference/d1/_history/2", True),
        (f"{BASE}/Observation/o1", True),
        ("RelatedPerson/r1", True),
        ("https://elsewhere.example/fhir/Observation/o1", False),
        ("Patient/p1", False),
        ("Practitioner/x", False),
        ("Device/x", False),
        ("#inside", False),
        ("urn:uuid:11111111-1111-4111-8111-111111111111", False),
    ],
)
def test_a_reference_to_a_record_resource_says_where_it_leads_and_no_more(target: str, dropped: bool) -> None:
    """Patients, the directory and what is not of this server keep their names."""
    said = {"reference": target, "type": "Observation", **SAID}
    bare = {"reference": target, "type": "Observation"}
    resource = {"resourceType": "Observation", "derivedFrom": [said], "status": "final"}
    assert without_displays(resource, said_in(resource), base=BASE) == ({"derivedFrom": [bare]} if dropped else {})


def test_references_are_found_wherever_they_are() -> None:
    """Nested, in lists, contained and in extensions; members without any are not told as changed."""
    said = {"reference": "Condition/c", "display": "x", "_display": {"id": "1"}}
    resource: dict[str, Any] = {
        "resourceType": "CarePlan",
        "code": {"text": "x"},
        "subject": {"reference": "Patient/p1", "display": "P"},
        "activity": [
            {"detail": {"reasonReference": [said], "status": "scheduled"}},
            {"reference": {"display": "kept"}},
        ],
        "contained": [{"resourceType": "Observation", "id": "o", "focus": [said]}],
        "extension": [{"url": "u", "valueReference": said}],
    }
    bare = {"reference": "Condition/c"}
    assert without_displays(resource, said_in(resource)) == {
        "activity": [
            {"detail": {"reasonReference": [bare], "status": "scheduled"}},
            {"reference": {"display": "kept"}},
        ],
        "contained": [{"resourceType": "Observation", "id": "o", "focus": [bare]}],
        "extension": [{"url": "u", "valueReference": bare}],
    }
    assert resource["contained"][0]["focus"] == [said]


def test_a_logical_reference_and_a_document_bundle_stay_as_they_were_sent() -> None:
    """Without a literal target there is nothing else to say; a Bundle is signed, and seen with all it points to."""
    observation = {"resourceType": "Observation", "derivedFrom": [SAID]}
    assert without_displays(observation, said_in(observation)) == {}
    entry = [
        {"resource": {"resourceType": "Composition", "section": [{"entry": [{"reference": "Condition/c", **SAID}]}]}}
    ]
    bundle = {"resourceType": "Bundle", "entry": entry}
    assert without_displays(bundle, said_in(bundle)) == {}
