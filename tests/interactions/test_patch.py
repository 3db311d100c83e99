"""patch over HTTP: three languages, one resource, the rights of an update."""

from __future__ import annotations

from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import orjson
import pytest

from tests.conftest import Caller, House
from tests.leaks.test_hidden_is_absent import NEVER, OBSERVATION, same
from tests.record.test_import_document import numbered, send
from tests.scenarios.test_the_patient_decides import mask, pushed

JSON_PATCH = "application/json-patch+json"
XML_PATCH = "application/xml-patch+xml"
FHIR = "application/fhir+json"
DEVICE = b'{"resourceType":"Device","status":"active","udiCarrier":[{"deviceIdentifier":"1.00"}]}'


def patch(caller: Caller, url: str, body: Any, kind: str = JSON_PATCH, **headers: str) -> httpx.Response:
    """PATCH; a body that is not bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return caller.request("PATCH", url, content=content, headers={"Content-Type": kind, **headers})


def replaced(path: str, value: Any) -> list[dict[str, Any]]:
    """A JSON Patch that replaces one value."""
    return [{"op": "replace", "path": path, "value": value}]


def by_path(type_: str, path: str, **value: Any) -> dict[str, Any]:
    """A FHIRPath Patch of one operation."""
    parts: list[dict[str, Any]] = [{"name": "type", "valueCode": type_}, {"name": "path", "valueString": path}]
    if value:
        parts.append({"name": "value", **value})
    return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}


@pytest.fixture
def device(open_server: Caller) -> str:
    """A new Device, as a url."""
    return "Device/" + str(open_server.post("Device", DEVICE).json()["id"])


def test_json_patch_makes_a_new_version(open_server: Caller, device: str) -> None:
    """200, ETag of the new version, the resource as it is stored now."""
    answer = patch(open_server, device, replaced("/status", "inactive"))
    assert answer.status_code == 200, answer.text
    assert answer.headers["etag"] == 'W/"2"'
    assert answer.headers["location"].endswith(f"/fhir/{device}/_history/2")
    assert answer.json()["status"] == "inactive"
    assert answer.json()["meta"]["versionId"] == "2"
    assert answer.content == open_server.get(device).content
    assert open_server.get(f"{device}/_history/1").json()["status"] == "active"


def test_fhirpath_patch_makes_a_new_version(open_server: Caller, device: str) -> None:
    """Parameters under the media type of FHIR."""
    answer = patch(open_server, device, by_path("replace", "Device.status", valueCode="inactive"), FHIR)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "inactive"


def test_xml_patch_makes_a_new_version(open_server: Caller, device: str) -> None:
    """RFC 5261, on the XML of the resource."""
    body = b'<diff xmlns:f="http://hl7.org/fhir"><replace sel="f:Device/f:status/@value">inactive</replace></diff>'
    answer = patch(open_server, device, body, XML_PATCH)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "inactive"


def test_decimals_that_a_patch_does_not_touch_keep_their_digits(open_server: Caller) -> None:
    """1.00 is stored as 1.00."""
    body = b'{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.00}}'
    url = "Observation/" + open_server.post("Observation", body).json()["id"]
    for content, kind in (
        (replaced("/status", "amended"), JSON_PATCH),
        (by_path("replace", "Observation.status", valueCode="corrected"), FHIR),
    ):
        assert b'"value":1.00' in patch(open_server, url, content, kind).content


def test_if_match_guards_against_a_lost_patch(open_server: Caller, device: str) -> None:
    """412 and nothing is changed; of many at once, one wins."""
    assert patch(open_server, device, replaced("/status", "inactive"), **{"If-Match": 'W/"7"'}).status_code == 412
    with ThreadPoolExecutor(6) as pool:
        answers = list(
            pool.map(
                lambda _: patch(open_server, device, replaced("/status", "inactive"), **{"If-Match": 'W/"1"'}),
                range(6),
            )
        )
    assert sorted(each.status_code for each in answers) == [200] + [412] * 5


def test_patches_at_the_same_time_all_count(open_server: Caller, device: str) -> None:
    """Each is applied to what those before it have made."""
    notes = [[{"op": "add", "path": "/note/-", "value": {"text": str(number)}}] for number in range(6)]
    assert patch(open_server, device, [{"op": "add", "path": "/note", "value": [{"text": "0"}]}]).status_code == 200
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda each: patch(open_server, device, each), notes))
    done = sum(each.status_code == 200 for each in answers)
    assert {each.status_code for each in answers} <= {200, 409}
    assert len(open_server.get(device).json()["note"]) == 1 + done


@pytest.mark.parametrize(
    ("body", "kind", "status", "place"),
    [
        (b"", JSON_PATCH, 400, None),
        (b"{", JSON_PATCH, 400, None),
        ([{"op": "no", "path": "/a"}], JSON_PATCH, 400, "patch[0]"),
        (replaced("/nothing/0", 1), JSON_PATCH, 422, "patch[0]"),
        ([{"op": "test", "path": "/status", "value": "inactive"}], JSON_PATCH, 422, "patch[0]"),
        (replaced("/status", "broken"), JSON_PATCH, 422, "Device.status"),
        (replaced("/id", "other"), JSON_PATCH, 422, "Device.id"),
        ([{"op": "remove", "path": "/id"}], JSON_PATCH, 422, "Device.id"),
        (replaced("/resourceType", "Patient"), JSON_PATCH, 422, None),
        ([{"op": "remove", "path": "/resourceType"}], JSON_PATCH, 422, None),
        (replaced("", [1]), JSON_PATCH, 422, None),
        (replaced("", 1), JSON_PATCH, 422, None),
        ({"resourceType": "Parameters", "parameter": [{"name": 1}]}, FHIR, 400, "Parameters.parameter[0].name"),
        ({"resourceType": "Device"}, FHIR, 400, None),
        (by_path("delete", "Device."), FHIR, 400, "Parameters.parameter[0]"),
        (by_path("replace", "Device.lotNumber", valueString="x"), FHIR, 422, "Parameters.parameter[0]"),
        (by_path("replace", "Device.status", valueCode="broken"), FHIR, 422, "Device.status"),
        (by_path("replace", "Device.id", valueId="other"), FHIR, 422, "Device.id"),
        (b"<diff", XML_PATCH, 400, None),
        (b"x", "text/plain", 415, "Content-Type"),
    ],
)
def test_a_patch_that_cannot_be_applied_changes_nothing(
    open_server: Caller, device: str, body: Any, kind: str, status: int, place: str | None
) -> None:
    """400 for what is no patch, 422 for one that does not fit or makes what R4 does not allow, 415 for other kinds."""
    answer = patch(open_server, device, body, kind)
    assert answer.status_code == status, answer.text
    if place:
        assert answer.json()["issue"][0]["expression"] == [place]
    assert open_server.get(device).headers["etag"] == 'W/"1"'


def test_what_the_server_says_of_a_version_is_not_patched(open_server: Caller, device: str) -> None:
    """versionId and lastUpdated are what they would have been; a patch of nothing else changes nothing (DOC-20)."""
    changes = [*replaced("/meta/versionId", "77"), *replaced("/meta/lastUpdated", "1999-01-01T00:00:00Z")]
    assert patch(open_server, device, changes).json()["meta"]["versionId"] == "1"
    changes += [{"op": "add", "path": "/lotNumber", "value": "7"}]
    answer = patch(open_server, device, changes)
    assert answer.status_code == 200, answer.text
    assert answer.json()["meta"]["versionId"] == "2"
    assert answer.json()["meta"]["lastUpdated"] > "2020"


def test_there_is_nothing_to_patch_where_there_is_nothing(open_server: Caller, device: str) -> None:
    """404 for an id that never was, and for what was deleted."""
    assert patch(open_server, f"Device/{NEVER}", replaced("/status", "inactive")).status_code == 404
    assert open_server.delete(device).status_code == 204
    assert patch(open_server, device, replaced("/status", "inactive")).status_code == 404


def test_criteria_find_what_is_patched(open_server: Caller) -> None:
    """One match is patched, none is 404, several are 412."""
    kinds = [{"resourceType": "Device", "identifier": [{"system": "urn:oid:7.7", "value": each}]} for each in "abb"]
    for each in kinds:
        assert open_server.post("Device", each).status_code == 201
    change = [{"op": "add", "path": "/status", "value": "inactive"}]
    answer = patch(open_server, "Device?identifier=urn:oid:7.7|a", change)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "inactive"
    assert patch(open_server, "Device?identifier=urn:oid:7.7|c", change).status_code == 404
    assert patch(open_server, "Device?identifier=urn:oid:7.7|b", change).status_code == 412
    assert patch(open_server, "Device", change).status_code == 400


def test_entries_of_a_bundle_patch_too(open_server: Caller, device: str) -> None:
    """A Binary holds a JSON or XML Patch, Parameters are a FHIRPath Patch (R4 http.html#transaction)."""
    content = b64encode(orjson.dumps(replaced("/status", "inactive"))).decode()
    binary = {"resourceType": "Binary", "contentType": JSON_PATCH, "data": content}
    parameters = by_path("replace", "Device.status", valueCode="entered-in-error")
    for kind in ("batch", "transaction"):
        for resource, status in ((binary, "inactive"), (parameters, "entered-in-error")):
            entry = {"request": {"method": "PATCH", "url": device}, "resource": resource}
            answer = open_server.post("", {"resourceType": "Bundle", "type": kind, "entry": [entry]})
            assert answer.status_code == 200, answer.text
            assert answer.json()["entry"][0]["response"]["status"] == "200 OK"
            assert open_server.get(device).json()["status"] == status


# Rights


def _observation(house: House, caller: Caller) -> str:
    subject = {"subject": {"reference": house.cast["patient"]}}
    answer = caller.post("Observation", {**OBSERVATION, **subject})
    assert answer.status_code == 201, answer.text
    return answer.headers["location"].split("/fhir/")[1].split("/_history")[0]


def test_an_author_patches_what_they_deposited(house: House) -> None:
    """And another who sees it does not, whatever the patch says."""
    url = _observation(house, house.medecin_traitant)
    assert patch(house.medecin_traitant, url, replaced("/status", "amended")).status_code == 200
    fits, fails = (
        patch(house.care_team, url, [{"op": "test", "path": "/status", "value": each}]) for each in ("amended", "no")
    )
    assert fits.status_code == fails.status_code == 403
    assert fits.content == fails.content


def test_a_patch_moves_nothing_to_another_record(house: House) -> None:
    """422, as for an update (I17)."""
    url = _observation(house, house.medecin_traitant)
    answer = patch(house.medecin_traitant, url, replaced("/subject/reference", house.cast["child"]))
    assert answer.status_code == 422


def test_l09_a_patch_of_a_hidden_document_is_that_of_none(house: House) -> None:
    """L09, L44: whether its `test` holds or not, by id and by criteria."""
    hidden = pushed(send(house.lgc, numbered(901)).json())
    status = house.patient.get(hidden).json()["status"]
    mask(house, hidden)
    never = f"DocumentReference/{NEVER}"
    for value in (status, "superseded"):
        change = [{"op": "test", "path": "/status", "value": value}]
        for headers in ({}, {"If-Match": 'W/"1"'}, {"If-Match": 'W/"9"'}):
            answers = [patch(house.care_team, url, change, **headers) for url in (hidden, never)]
            same(*answers)
            assert answers[0].status_code == 404
        patient = house.cast["patient"]
        found = [
            patch(house.care_team, f"DocumentReference?patient={patient}&_id={url.partition('/')[2]}", change)
            for url in (hidden, never)
        ]
        same(*found)
        assert found[0].status_code == 404


def test_a_depositor_who_may_not_read_patches_without_an_answer_in_the_body(own_house: House) -> None:
    """The correction right (access §3.5): 200, no body, whatever is preferred; the change is there."""
    from fhir_server.demo.family import consent, named

    house = own_house
    url = _observation(house, house.other_doctor)
    rpps = {"identifier": {"system": "https://rpps.esante.gouv.fr", "value": "99900000022"}}
    block = consent(house.cast["patient"], "block", {"type": "deny", "actor": named(rpps)})
    assert house.patient.post("Consent", block).status_code == 201
    assert house.other_doctor.get(url).status_code == 404
    answer = patch(house.other_doctor, url, replaced("/status", "amended"), Prefer="return=representation")
    assert answer.status_code == 200, answer.text
    assert answer.content == b""
    assert house.patient.get(url).json()["status"] == "amended"


def test_of_a_document_a_patch_changes_what_an_update_may(house: House) -> None:
    """DOC-20: its status, not its author; 405 says so."""
    document = pushed(send(house.lgc, numbered(902)).json())
    assert patch(house.lgc, document, replaced("/description", "x")).status_code in (405, 422)
    assert patch(house.lgc, document, [{"op": "add", "path": "/description", "value": "x"}]).status_code == 405
    assert patch(house.lgc, document, replaced("/status", "entered-in-error")).status_code == 200
