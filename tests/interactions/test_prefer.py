"""Prefer: return (https://hl7.org/fhir/R4/http.html#ops): what the answer to a write has in its body."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from tests.conftest import Caller, House
from tests.leaks.test_hidden_is_absent import OBSERVATION

DEVICE = {"resourceType": "Device", "identifier": [{"system": "urn:oid:1.2.3", "value": "p1"}]}
PATCH = orjson.dumps([{"op": "add", "path": "/status", "value": "active"}])


def writes(caller: Caller, prefer: str) -> list[tuple[str, httpx.Response]]:
    """One answer of each interaction that leaves a resource."""
    url = "Device/" + caller.post("Device", DEVICE).json()["id"]
    wish = {"Prefer": prefer} if prefer else {}
    patch = {"Content-Type": "application/json-patch+json", **wish}
    return [
        ("create", caller.post("Device", DEVICE, **wish)),
        ("update", caller.put(url, {**DEVICE, "id": url.partition("/")[2]}, **wish)),
        ("patch", caller.request("PATCH", url, content=PATCH, headers=patch)),
    ]


@pytest.mark.parametrize("prefer", ["", "return=representation", "return=representation; handling=strict"])
def test_the_resource_comes_back_when_nothing_else_is_wished(open_server: Caller, prefer: str) -> None:
    """As it is stored."""
    for name, answer in writes(open_server, prefer):
        assert answer.json()["resourceType"] == "Device", name
        assert answer.headers["etag"] == f'W/"{answer.json()["meta"]["versionId"]}"'


def test_minimal_is_a_head_without_a_body(open_server: Caller) -> None:
    """Location and ETag say all that is needed."""
    for name, answer in writes(open_server, "return=minimal"):
        assert answer.status_code in (200, 201), name
        assert answer.content == b""
        assert "location" in answer.headers
        assert "etag" in answer.headers


def test_an_operation_outcome_says_what_the_validator_has_to_say(open_server: Caller) -> None:
    """No error in it: the write was done."""
    for name, answer in writes(open_server, "return=OperationOutcome"):
        assert answer.status_code in (200, 201), name
        assert answer.json()["resourceType"] == "OperationOutcome"
        assert {each["severity"] for each in answer.json()["issue"]} <= {"information", "warning"}
        assert "location" in answer.headers


def test_a_deletion_has_a_body_only_for_who_wishes_an_outcome(open_server: Caller) -> None:
    """204, or 200 with an OperationOutcome (R4 http.html#delete)."""
    for prefer, status in (("return=minimal", 204), ("return=representation", 204), ("return=OperationOutcome", 200)):
        url = "Device/" + open_server.post("Device", DEVICE).json()["id"]
        answer = open_server.delete(url, Prefer=prefer)
        assert answer.status_code == status
        assert answer.headers["etag"] == 'W/"2"'
        assert (answer.content == b"") == (status == 204)
        if status == 200:
            assert answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_entries_of_a_bundle_are_answered_as_the_bundle_prefers(open_server: Caller, kind: str) -> None:
    """Nothing by default, the resource, or the outcome in the response; what is read is always there."""
    kept = open_server.post("Device", DEVICE).json()
    gone = open_server.post("Device", DEVICE).json()

    def entries(prefer: str) -> list[dict[str, Any]]:
        requests = [
            {"resource": DEVICE, "request": {"method": "POST", "url": "Device"}},
            {"resource": kept, "request": {"method": "PUT", "url": f"Device/{kept['id']}"}},
            {"request": {"method": "DELETE", "url": f"Device?_id={gone['id']}"}},
            {"request": {"method": "GET", "url": f"Device/{kept['id']}"}},
            {"request": {"method": "HEAD", "url": f"Device/{kept['id']}"}},
            {"request": {"method": "GET", "url": f"Device?_id={kept['id']}"}},
        ]
        wish = {"Prefer": prefer} if prefer else {}
        answer = open_server.post("", {"resourceType": "Bundle", "type": kind, "entry": requests}, **wish)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["entry"]
        assert found[3]["resource"]["id"] == kept["id"]
        assert "resource" not in found[4]
        assert found[4]["response"]["etag"] == found[3]["response"]["etag"]
        assert found[5]["resource"]["type"] == "searchset"
        for each in found[:2]:
            assert each["response"].keys() >= {"status", "location", "etag", "lastModified"}
        return found

    for each in entries("")[:3]:
        assert "resource" not in each
        assert "outcome" not in each["response"]
    for each in entries("return=representation")[:2]:
        assert each["resource"]["resourceType"] == "Device"
    for each in entries("return=OperationOutcome")[:3]:
        assert "resource" not in each
        assert each["response"].get("outcome", {"resourceType": "OperationOutcome"})["resourceType"] == (
            "OperationOutcome"
        )
        assert each["response"]["status"][0] == "2"
    assert all("outcome" in each["response"] for each in entries("return=OperationOutcome")[:2])


def test_l11_who_may_not_read_what_they_wrote_gets_nothing_of_it(own_house: House) -> None:
    """L11: a blocked doctor's push, whatever is preferred; an outcome tells only that it was done."""
    from fhir_server.demo.family import consent, named

    house = own_house
    rpps = {"identifier": {"system": "https://rpps.esante.gouv.fr", "value": "99900000022"}}
    block = consent(house.cast["patient"], "block", {"type": "deny", "actor": named(rpps)})
    assert house.patient.post("Consent", block).status_code == 201
    observation = {**OBSERVATION, "subject": {"reference": house.cast["patient"]}}
    answer = house.other_doctor.post("Observation", observation, Prefer="return=representation")
    assert (answer.status_code, answer.content) == (201, b"")
    answer = house.other_doctor.post("Observation", observation, Prefer="return=OperationOutcome")
    assert answer.status_code == 201
    assert [each["code"] for each in answer.json()["issue"]] == ["informational"]
    entry = {"resource": observation, "request": {"method": "POST", "url": "Observation"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    (given,) = house.other_doctor.post("", bundle, Prefer="return=representation").json()["entry"]
    assert given["response"]["status"] == "201 Created"
    assert "resource" not in given
