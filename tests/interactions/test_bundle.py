"""batch and transaction over HTTP."""

from __future__ import annotations

from typing import Any

from tests.conftest import Caller

PATIENT = {"resourceType": "Patient", "name": [{"family": "Durand"}]}


def _entry(method: str, url: str, resource: Any = None, full_url: str = "", **more: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"request": {"method": method, "url": url, **more}}
    if resource is not None:
        entry["resource"] = resource
    if full_url:
        entry["fullUrl"] = full_url
    return entry


def _bundle(kind: str, *entries: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


def _observation(subject: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": subject},
        **more,
    }


P, OBS = "urn:uuid:11111111-1111-4111-8111-111111111111", "urn:uuid:22222222-2222-4222-8222-222222222222"


def test_references_between_entries_become_ids_whatever_their_order(open_server: Caller) -> None:
    """Also circular ones, also inside contained resources; an identifier that looks the same is left alone."""
    observation = _observation(P, identifier=[{"system": "urn:ietf:rfc:3986", "value": P}])
    observation["contained"] = [{"resourceType": "Device", "id": "d", "patient": {"reference": P}}]
    observation["device"] = {"reference": "#d"}
    patient = {**PATIENT, "link": [{"other": {"reference": P}, "type": "seealso"}]}
    answer = open_server.post(
        "",
        _bundle("transaction", _entry("POST", "Observation", observation, OBS), _entry("POST", "Patient", patient, P)),
    )
    assert answer.status_code == 200, answer.text
    first, second = answer.json()["entry"]
    assert first["response"]["status"] == second["response"]["status"] == "201 Created"
    url = first["response"]["location"].split("/fhir/")[1].split("/_history")[0]
    patient_url = second["response"]["location"].split("/fhir/")[1].split("/_history")[0]
    stored = open_server.get(url).json()
    assert stored["subject"]["reference"] == patient_url
    assert stored["contained"][0]["patient"]["reference"] == patient_url
    assert stored["identifier"][0]["value"] == P
    assert open_server.get(patient_url).json()["link"][0]["other"]["reference"] == patient_url


def test_one_bad_entry_leaves_nothing_of_a_transaction(open_server: Caller) -> None:
    """The refusal names the entry."""
    marker = {**PATIENT, "identifier": [{"system": "urn:oid:1.1", "value": "half"}]}
    answer = open_server.post(
        "",
        _bundle(
            "transaction", _entry("POST", "Patient", marker), _entry("POST", "Patient", {**PATIENT, "birthDate": "x"})
        ),
    )
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["expression"] == ["Bundle.entry[1].resource.birthDate"]
    assert open_server.get("Patient?identifier=urn:oid:1.1|half&_summary=count").json()["total"] == 0


def test_two_creates_with_the_same_criteria_make_one(open_server: Caller) -> None:
    """And a third time finds it."""
    patient = {**PATIENT, "identifier": [{"system": "urn:oid:1.1", "value": "twin"}]}
    entry = _entry("POST", "Patient", patient, ifNoneExist="identifier=urn:oid:1.1|twin")
    answer = open_server.post("", _bundle("transaction", entry, entry)).json()
    locations = {each["response"]["location"].split("/_history")[0] for each in answer["entry"]}
    assert len(locations) == 1
    again = open_server.post("", _bundle("transaction", entry)).json()
    assert again["entry"][0]["response"]["status"] == "200 OK"
    assert open_server.get("Patient?identifier=urn:oid:1.1|twin&_summary=count").json()["total"] == 1


def test_a_transaction_updates_deletes_creates_and_then_reads(open_server: Caller) -> None:
    """Answers stand in the order of the entries."""
    kept, gone = (open_server.post("Patient", PATIENT).json() for _ in range(2))
    answer = open_server.post(
        "",
        _bundle(
            "transaction",
            _entry("GET", f"Patient/{kept['id']}"),
            _entry("PUT", f"Patient/{kept['id']}", {**kept, "active": True}, ifMatch='W/"1"'),
            _entry("DELETE", f"Patient/{gone['id']}"),
        ),
    )
    assert answer.status_code == 200, answer.text
    read, put, deleted = answer.json()["entry"]
    assert read["resource"]["active"] is True
    assert put["response"]["etag"] == 'W/"2"'
    assert deleted["response"]["status"] == "204 No Content"
    assert open_server.get(f"Patient/{gone['id']}").status_code == 410


def test_the_same_resource_twice_in_a_transaction_is_refused(open_server: Caller) -> None:
    """R4: a transaction may not change one resource twice."""
    kept = open_server.post("Patient", PATIENT).json()
    put = _entry("PUT", f"Patient/{kept['id']}", kept)
    assert open_server.post("", _bundle("transaction", put, put)).status_code == 400


def test_a_stale_if_match_fails_the_whole_transaction(open_server: Caller) -> None:
    """412, and the other entry is not written."""
    kept = open_server.post("Patient", PATIENT).json()
    marker = {**PATIENT, "identifier": [{"system": "urn:oid:1.1", "value": "never"}]}
    put = _entry("PUT", f"Patient/{kept['id']}", kept, ifMatch='W/"7"')
    assert open_server.post("", _bundle("transaction", _entry("POST", "Patient", marker), put)).status_code == 412
    assert open_server.get("Patient?identifier=urn:oid:1.1|never&_summary=count").json()["total"] == 0


def test_a_conditional_reference_finds_what_the_same_transaction_writes(open_server: Caller) -> None:
    """R4 resolves them last."""
    patient = {**PATIENT, "identifier": [{"system": "urn:oid:1.1", "value": "inside"}]}
    observation = _observation("Patient?identifier=urn:oid:1.1|inside")
    answer = open_server.post(
        "", _bundle("transaction", _entry("POST", "Observation", observation), _entry("POST", "Patient", patient))
    )
    assert answer.status_code == 200, answer.text
    url = answer.json()["entry"][0]["response"]["location"].split("/fhir/")[1].split("/_history")[0]
    assert open_server.get(url).json()["subject"]["reference"].startswith("Patient/")


def test_each_entry_of_a_batch_stands_alone(open_server: Caller) -> None:
    """A refused entry carries its own outcome."""
    answer = open_server.post(
        "",
        _bundle(
            "batch",
            _entry("POST", "Patient", PATIENT),
            _entry("POST", "Patient", {**PATIENT, "gender": "x"}),
            _entry("GET", "Patient/never"),
            _entry("GET", "Patient?_count=1"),
        ),
    )
    assert answer.status_code == 200
    created, refused, absent, found = answer.json()["entry"]
    assert created["response"]["status"] == "201 Created"
    assert refused["response"]["status"] == "400 Bad Request"
    assert refused["response"]["outcome"]["issue"][0]["expression"] == ["Patient.gender"]
    assert absent["response"]["status"] == "404 Not Found"
    assert found["resource"]["resourceType"] == "Bundle"


def test_the_capability_statement_is_read_in_a_batch_too(open_server: Caller) -> None:
    """As at its url."""
    entries = [{"request": {"method": "GET", "url": "metadata"}}]
    (entry,) = open_server.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries}).json()["entry"]
    assert entry["response"]["status"] == "200 OK"
    assert entry["resource"] == open_server.get("metadata").json()


def test_a_body_that_is_no_batch_is_refused(open_server: Caller) -> None:
    """400 naming what is wrong."""
    for body, place in (
        (PATIENT, "Bundle"),
        (_bundle("collection"), "Bundle.type"),
        ({"resourceType": "Bundle", "type": "batch", "entry": [{}]}, "Bundle.entry[0].request"),
        ({"resourceType": "Bundle", "type": "batch", "entry": [7]}, "Bundle.entry[0]"),
        ({"resourceType": "Bundle", "type": "batch", "entry": [{"resource": PATIENT}]}, "Bundle.entry[0].request"),
    ):
        answer = open_server.post("", body)
        assert answer.status_code == 400, answer.text
        assert answer.json()["issue"][0]["expression"][0].startswith(place)
