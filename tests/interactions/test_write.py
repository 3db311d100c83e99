"""create, update and delete over HTTP."""

from __future__ import annotations

from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest

from tests.conftest import Caller

DEVICE = {"resourceType": "Device", "identifier": [{"system": "urn:oid:1.2.3", "value": "d1"}]}


def _device(value: str) -> dict[str, Any]:
    return {"resourceType": "Device", "identifier": [{"system": "urn:oid:1.2.3", "value": value}]}


def test_create_answers_201_with_location_etag_and_the_resource(open_server: Caller) -> None:
    """The id is the server's, whatever the client sent."""
    answer = open_server.post("Device", {**DEVICE, "id": "mine", "meta": {"versionId": "9"}})
    assert answer.status_code == 201
    body = answer.json()
    assert body["id"] != "mine"
    assert body["meta"]["versionId"] == "1"
    assert answer.headers["location"].endswith(f"/fhir/Device/{body['id']}/_history/1")
    assert answer.headers["etag"] == 'W/"1"'
    assert answer.content == open_server.get(f"Device/{body['id']}").content


def test_prefer_minimal_leaves_the_body_out(open_server: Caller) -> None:
    """Prefer: return=minimal."""
    answer = open_server.post("Device", DEVICE, Prefer="return=minimal")
    assert answer.status_code == 201
    assert answer.content == b""


def test_all_errors_come_at_once_each_with_its_place(open_server: Caller) -> None:
    """400 and one issue an error."""
    broken = {"resourceType": "Patient", "birthDate": "2023-02-30", "gender": "femme", "names": [], "active": "yes"}
    answer = open_server.post("Patient", broken)
    assert answer.status_code == 400
    places = {each["expression"][0] for each in answer.json()["issue"]}
    assert places >= {"Patient.birthDate", "Patient.gender", "Patient.names", "Patient.active"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'{"resourceType":"Device","resourceType":"Patient"}', 400),
        (b'{"resourceType":"Patient","id":"a","id":"b"}', 400),
        (b'{"resourceType":"Nothing"}', 400),
        (b'{"resourceType":"Patient"}', 400),
        (b'\xff\xfe{"resourceType":"Device"}', 400),
        (b'{"resourceType":"Device","text":' + b"[" * 5000 + b"]" * 5000 + b"}", 400),
    ],
)
def test_a_body_that_is_no_device_is_refused(open_server: Caller, body: bytes, status: int) -> None:
    """Never a 500, and the outcome says what is wrong."""
    answer = open_server.post("Device", body)
    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_other_formats_are_refused(open_server: Caller) -> None:
    """415 for what is no FHIR, and for another FHIR."""
    for kind in ("text/plain", "application/pdf", "application/fhir+json; fhirVersion=3.0"):
        assert open_server.post("Device", DEVICE, **{"Content-Type": kind}).status_code == 415


def test_if_match_guards_against_a_lost_update(open_server: Caller) -> None:
    """412 when someone was faster; nothing is written."""
    url = "Device/" + open_server.post("Device", DEVICE).json()["id"]
    body = open_server.get(url).json()
    assert open_server.put(url, body, **{"If-Match": 'W/"1"'}).status_code == 200
    assert open_server.put(url, body, **{"If-Match": 'W/"1"'}).status_code == 412
    assert open_server.delete(url, **{"If-Match": 'W/"1"'}).status_code == 412
    assert open_server.get(url).headers["etag"] == 'W/"2"'


def test_of_many_updates_of_one_version_one_wins(open_server: Caller) -> None:
    """Concurrent If-Match updates: one 200, the rest 412."""
    url = "Device/" + open_server.post("Device", DEVICE).json()["id"]
    body = open_server.get(url).json()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: open_server.put(url, body, **{"If-Match": 'W/"1"'}), range(8)))
    assert sorted(each.status_code for each in answers) == [200] + [412] * 7


def test_updates_without_if_match_all_get_their_version(open_server: Caller) -> None:
    """Concurrent updates queue up; versions number without gaps."""
    url = "Device/" + open_server.post("Device", DEVICE).json()["id"]
    body = open_server.get(url).json()
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: open_server.put(url, body), range(6)))
    versions = [each.json()["meta"]["versionId"] for each in answers if each.status_code == 200]
    assert sorted(versions) == [str(number) for number in range(2, len(versions) + 2)]
    assert {each.status_code for each in answers} <= {200, 409}


def test_the_id_of_url_and_body_must_agree(open_server: Caller) -> None:
    """400 naming the id."""
    answer = open_server.put("Device/a1", {**DEVICE, "id": "a2"})
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["expression"] == ["Device.id"]


def test_a_deleted_resource_comes_back_by_put(open_server: Caller) -> None:
    """In the open server a PUT creates, also what was deleted."""
    created = open_server.put("Device/chosen", {**DEVICE, "id": "chosen"})
    assert created.status_code == 201
    assert open_server.delete("Device/chosen").status_code == 204
    assert open_server.delete("Device/chosen").status_code == 404
    again = open_server.put("Device/chosen", {**DEVICE, "id": "chosen"})
    assert again.status_code == 201
    assert again.json()["meta"]["versionId"] == "3"


def test_if_none_exist_finds_what_is_there(open_server: Caller) -> None:
    """201, then 200 with the same resource, 412 when there are several."""
    criteria = {"If-None-Exist": "identifier=urn:oid:1.2.3|once"}
    first = open_server.post("Device", _device("once"), **criteria)
    second = open_server.post("Device", _device("once"), **criteria)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]
    open_server.post("Device", _device("once"))
    assert open_server.post("Device", _device("once"), **criteria).status_code == 412
    assert open_server.post("Device", DEVICE, **{"If-None-Exist": "nonsense=1"}).status_code == 400


def test_a_conditional_reference_takes_the_id_of_what_it_finds(open_server: Caller) -> None:
    """None or several: 412, nothing stored."""
    patient = {"resourceType": "Patient", "identifier": [{"system": "urn:oid:9.9", "value": "p1"}]}
    id_ = open_server.post("Patient", patient).json()["id"]
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": "Patient?identifier=urn:oid:9.9|p1"},
    }
    stored = open_server.post("Observation", observation)
    assert stored.status_code == 201
    assert stored.json()["subject"]["reference"] == f"Patient/{id_}"
    observation["subject"] = {"reference": "Patient?identifier=urn:oid:9.9|nobody"}
    assert open_server.post("Observation", observation).status_code == 412


def test_whatever_is_read_by_get_has_a_head(open_server: Caller) -> None:
    """The same status and headers, and no body."""
    url = "Device/" + open_server.post("Device", DEVICE).json()["id"]
    for each in (url, f"{url}/_history/1", f"{url}/_history", "Device?_count=1", "metadata", "Device/never", "Nothing"):
        got, headed = open_server.get(each), open_server.request("HEAD", each)
        assert headed.content == b""
        assert headed.status_code == got.status_code
        apart = ("x-request-id", "date")
        assert {k: v for k, v in headed.headers.items() if k not in apart} == {
            k: v for k, v in got.headers.items() if k not in apart
        }


@pytest.mark.parametrize("kind", ["document", "collection", "message", "searchset", "history", "transaction", "batch"])
def test_a_bundle_posted_to_its_type_is_stored_as_it_is(open_server: Caller, kind: str) -> None:
    """POST /Bundle runs nothing: the entries come back byte for byte, decimals and all."""
    first = {"document": "Composition", "message": "MessageHeader"}.get(kind)
    entries = b'{"fullUrl":"urn:uuid:11111111-1111-4111-8111-111111111111","resource":%s' % orjson.dumps(_first(first))
    if kind in ("transaction", "batch", "history"):
        entries += b',"request":{"method":"POST","url":"Observation"}'
    if kind == "history":
        entries += b',"response":{"status":"201"}'
    head = b'"type":"%s"' % kind.encode()
    if kind == "document":
        head += b',"identifier":{"system":"urn:oid:1.2","value":"d"},"timestamp":"2024-01-01T00:00:00Z"'
    stored = open_server.post("Bundle", b'{"resourceType":"Bundle",%s,"entry":[%s}]}' % (head, entries))
    assert stored.status_code == 201, stored.text
    got = open_server.get("Bundle/" + stored.json()["id"])
    assert b'"entry":[' + entries + b"}]" in got.content


def _first(type_: str | None) -> dict[str, Any]:
    resources: dict[str | None, dict[str, Any]] = {
        "Composition": {
            "status": "final",
            "type": {"text": "x"},
            "date": "2024",
            "author": [{"display": "x"}],
            "title": "x",
        },
        "MessageHeader": {"eventUri": "http://example.org/event", "source": {"endpoint": "http://example.org"}},
        None: {"status": "final", "code": {"text": "x"}, "valueQuantity": {"value": 1.5}},
    }
    return {"resourceType": type_ or "Observation", **resources[type_]}


def test_binary_goes_in_and_out_raw_and_as_a_resource(open_server: Caller) -> None:
    """The content is the same either way, and is never shown by a browser."""
    content = b"%PDF-1.4 \x00\xff tiny"
    raw = open_server.post("Binary", content, **{"Content-Type": "application/pdf"})
    assert raw.status_code == 201
    id_ = raw.headers["location"].split("/Binary/")[1].split("/")[0]
    got = open_server.get(f"Binary/{id_}", Accept="application/pdf")
    assert got.content == content
    assert got.headers["content-type"] == "application/pdf"
    assert got.headers["content-disposition"] == "attachment"
    assert "sandbox" in got.headers["content-security-policy"]
    resource = open_server.get(f"Binary/{id_}", Accept="application/fhir+json").json()
    assert resource["data"] == b64encode(content).decode()
    assert open_server.post("Binary", {k: v for k, v in resource.items() if k != "id"}).status_code == 201


def test_content_is_updated_raw(open_server: Caller) -> None:
    """R4: PUT of a native content type under a Binary's id, as POST takes it (binary.html#rest)."""
    made = open_server.request("POST", "Binary", content=b"one", headers={"Content-Type": "text/plain"})
    url = made.headers["location"].partition("/_history")[0]
    given = open_server.request("PUT", url, content=b"%PDF-2", headers={"Content-Type": "application/pdf"})
    assert given.status_code == 200
    now = open_server.get(url)
    assert (now.content, now.headers["content-type"], now.headers["etag"]) == (b"%PDF-2", "application/pdf", 'W/"2"')


def test_the_open_server_takes_what_is_of_several_patients(open_server: Caller) -> None:
    """Nothing is in anybody's record there; with authorization a Group of two is refused."""
    patients = [open_server.post("Patient", {"resourceType": "Patient"}).json()["id"] for _ in range(2)]
    member = [{"entity": {"reference": f"Patient/{each}"}} for each in patients]
    group = {"resourceType": "Group", "type": "person", "actual": True, "member": member}
    assert open_server.post("Group", group).status_code == 201
    for each in patients:
        assert open_server.get(f"Group?member=Patient/{each}").json()["total"] == 1


def test_methods_that_do_not_fit_are_refused(open_server: Caller) -> None:
    """405 for a method no url of that shape has, 501 for an operation that is not here."""
    answer = open_server.post("Device/x", DEVICE)
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "PUT", "PATCH", "DELETE"}
    assert open_server.post("Device/x/_history/1", DEVICE).status_code == 405
    assert open_server.request("PUT", "metadata").status_code in (404, 405)
    answer = open_server.post("$unknown", {})
    assert answer.status_code == 501
    assert orjson.loads(answer.content)["issue"][0]["expression"] == ["$unknown"]
