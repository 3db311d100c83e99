"""Directives over HTTP: what is taken and what is refused, of the shared examples and of our own (access §3.4)."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.conftest import Caller, House
from tests.consent.test_directives import INVALID, VALID

NEVER = "00000000-0000-4000-8000-000000000000"


def placed(consent: dict[str, Any], house: House, **more: str) -> dict[str, Any]:
    """The directive as it is said of the patient of this house."""
    document = more.get("document") or held(house)
    text = json.dumps(consent)
    team = house.patient.get(f"CareTeam?patient={house.cast['patient']}").json()["entry"][0]["resource"]["id"]
    for name, there in (
        ("Patient/p1", house.cast["patient"]),
        ("DocumentReference/d1", document),
        ("CareTeam/ct1", f"CareTeam/{team}"),
        ("CareTeam/t1", f"CareTeam/{team}"),
    ):
        text = text.replace(f'"{name}"', f'"{there}"')
    return json.loads(text)  # type: ignore[no-any-return]


def held(house: House, patient: str = "patient") -> str:
    """A document of a patient of the house."""
    reader = house.patient if patient == "patient" else house.representative
    entries = reader.get(f"DocumentReference?status=current&patient={house.cast[patient]}").json()["entry"]
    return "DocumentReference/" + entries[0]["resource"]["id"]


def ended(house: House, made: httpx.Response) -> httpx.Response:
    """The directive of an answer, put out of force."""
    consent = made.json()
    return house.patient.put(f"Consent/{consent['id']}", {**consent, "status": "inactive"})


def refused(answer: httpx.Response) -> list[str]:
    """Where a refusal says that it is wrong."""
    assert answer.status_code == 422, answer.text
    return [each for issue in answer.json()["issue"] for each in issue.get("expression", [])]


def test_the_shared_examples_are_taken_and_refused_as_they_say(house: House, shared_data: Path) -> None:
    """Each valid one: 201, then ended by status, and 405 for its deletion; each invalid one: 422 at its path."""
    examples = json.loads((shared_data / "access" / "consent-directives.json").read_text(encoding="utf-8"))
    assert len(examples["valid"]) >= 18
    assert len(examples["invalid"]) >= 27
    document = held(house)
    for each in examples["valid"]:
        made = house.patient.post("Consent", placed(each["consent"], house, document=document))
        assert made.status_code == 201, (each["id"], made.text)
        assert house.patient.delete(f"Consent/{made.json()['id']}").status_code == 405
        done = ended(house, made)
        assert done.status_code == 200, (each["id"], done.text)
    for each in examples["invalid"]:
        places = refused(house.patient.post("Consent", placed(each["consent"], house, document=document)))
        wanted = each["path"]
        assert any(wanted == place or wanted.startswith((place + ".", place + "[")) for place in places), each["id"]


@pytest.mark.parametrize("name", VALID)
def test_each_shape_is_taken_over_http(house: House, name: str) -> None:
    """201, with custodian and date set by the server; then out of force; 405 for its deletion."""
    made = house.patient.post("Consent", placed(VALID[name][0], house))
    assert made.status_code == 201, made.text
    stored = made.json()
    assert stored["organization"] == [{"display": house.settings.custodian}]
    assert stored["dateTime"]
    assert ended(house, made).status_code == 200
    assert house.patient.delete(f"Consent/{stored['id']}").status_code == 405


@pytest.mark.parametrize("name", INVALID)
def test_each_fault_is_refused_over_http(house: House, name: str) -> None:
    """422 (400 where R4 itself is broken), at the place; nothing is stored."""
    before = house.patient.get(f"Consent?patient={house.cast['patient']}&_total=accurate").json()["total"]
    resource, place = INVALID[name]
    answer = house.patient.post("Consent", placed(resource, house))
    if answer.status_code != 400:
        assert any(place == each or place.startswith((each + ".", each + "[")) for each in refused(answer))
    after = house.patient.get(f"Consent?patient={house.cast['patient']}&_total=accurate").json()["total"]
    assert before == after


def test_only_status_and_period_of_a_directive_change(house: House) -> None:
    """422 for everything else, for coming back into force, and by every way of writing."""
    made = house.patient.post("Consent", placed(VALID["grant except psychiatry"][0], house))
    consent = made.json()
    url = f"Consent/{consent['id']}"
    longer = copy.deepcopy(consent)
    longer["provision"]["period"]["end"] = "2026-06-30"
    assert house.patient.put(url, longer).status_code == 200
    without_end = copy.deepcopy(longer)
    del without_end["provision"]["period"]["end"]
    assert refused(house.patient.put(url, without_end)) == ["Consent.provision.period.end"]
    for change, place in (
        ({"policy": [{"uri": "https://example.org/fhir-server/policy/block"}]}, "Consent.provision.type"),
        ({"performer": [{"reference": "RelatedPerson/x"}]}, "Consent.performer"),
        ({"sourceAttachment": {"title": "Other"}}, "Consent.sourceAttachment"),
    ):
        assert place in refused(house.patient.put(url, {**longer, **change}))
    patch = [{"op": "replace", "path": "/provision/actor/0/reference/identifier/value", "value": "990000003"}]
    kind = {"Content-Type": "application/json-patch+json"}
    answer = house.patient.request("PATCH", url, content=orjson.dumps(patch), headers=kind)
    assert refused(answer) == ["Consent.provision.actor"]
    done = house.patient.request(
        "PATCH", url, content=orjson.dumps([{"op": "replace", "path": "/status", "value": "inactive"}]), headers=kind
    )
    assert done.status_code == 200
    again = house.patient.put(url, {**done.json(), "status": "active"})
    assert refused(again) == ["Consent.status"]


def test_anothers_document_reads_as_one_that_is_not_there(house: House) -> None:
    """Same bytes but for the request: for a mask and for a care team."""
    document = house.biologist.post(
        "DocumentReference",
        {
            "resourceType": "DocumentReference",
            "status": "current",
            "subject": {"reference": house.cast["child"]},
            "content": [{"attachment": {"contentType": "text/plain", "data": "Qm9uam91cg=="}}],
        },
    ).json()["id"]
    answers = []
    for target in (f"DocumentReference/{document}", f"DocumentReference/{NEVER}"):
        answer = house.patient.post("Consent", placed(VALID["mask"][0], house, document=target))
        answers.append(answer.content)
        assert refused(answer) == ["Consent.provision.data[0].reference"]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("name", ["medecin_traitant", "app", "admin", "representative"])
def test_only_the_patient_and_their_representatives_give_directives(house: House, name: str) -> None:
    """403; a representative gives them for the child alone, in their own name."""
    caller: Caller = house.callers[name]
    assert caller.post("Consent", placed(VALID["opposition"][0], house)).status_code == 403
    if name == "representative":
        own = copy.deepcopy(VALID["block a country"][0])
        own["patient"] = {"reference": house.cast["child"]}
        own["performer"] = [{"reference": house.cast["child"]}]
        assert refused(caller.post("Consent", own)) == ["Consent.performer[0]"]
        own["performer"] = [{"reference": caller.reference}]
        assert caller.post("Consent", own).status_code == 201


def test_the_next_request_obeys_a_closed_record_and_its_reopening(own_house: House) -> None:
    """D01: unknown patient for everyone, the patient included but for what reopens it; pushes are refused so too."""
    house, patient = own_house, own_house.cast["patient"]
    made = house.patient.post("Consent", placed(VALID["opposition"][0], house))
    assert made.status_code == 201
    for caller in (house.patient, house.medecin_traitant, house.biologist, house.app):
        for url in (patient, f"DocumentReference?status=current&patient={patient}", f"{patient}/$everything"):
            answer = caller.get(url)
            assert answer.status_code in (403, 404) or answer.json()["total"] == 0, (caller.reference, url)
        never = caller.get(f"Patient/{NEVER}")
        assert caller.get(patient).content == never.content
    ins = "identifier=urn:oid:1.2.250.1.213.1.4.10|279035121518989&birthdate=1979-03-28"
    assert house.medecin_traitant.get(f"Patient?{ins}").json()["total"] == 0
    deposit = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": patient},
    }
    assert house.biologist.post("Observation", deposit).status_code == 404
    assert house.patient.post("Observation", deposit).status_code == 404
    assert [each["resource"]["id"] for each in house.patient.get("Consent").json()["entry"]] == [made.json()["id"]]
    assert ended(house, made).status_code == 200
    assert house.patient.get(patient).status_code == 200
    assert house.biologist.post("Observation", deposit).status_code == 201
