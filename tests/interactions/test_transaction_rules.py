"""The rules of transactions (https://hl7.org/fhir/R4/http.html#trules), and of batches where they differ."""

from __future__ import annotations

from base64 import b64encode
from itertools import count
from typing import Any

import httpx
import orjson
import pytest

from tests.conftest import Caller, House
from tests.leaks.test_hidden_is_absent import OBSERVATION

SYSTEM = "urn:oid:1.2.250.8"
JSON_PATCH = "application/json-patch+json"
P = "urn:uuid:11111111-1111-4111-8111-111111111111"
Q = "urn:oid:1.2.3.4.5"
_VALUES = (f"t{number}" for number in count())


@pytest.fixture
def value() -> str:
    """An identifier that no other test uses."""
    return next(_VALUES)


def device(value: str, **more: Any) -> dict[str, Any]:
    """A Device with that identifier."""
    return {"resourceType": "Device", "identifier": [{"system": SYSTEM, "value": value}], **more}


def by(value: str) -> str:
    """The criteria that find it."""
    return f"identifier={SYSTEM}|{value}"


def observation(device: str, **more: Any) -> dict[str, Any]:
    """An Observation made with that Device."""
    return {**OBSERVATION, "device": {"reference": device}, **more}


def entry(method: str, url: str, resource: Any = None, full_url: str = "", **more: str) -> dict[str, Any]:
    """One entry; `more` are the preconditions."""
    made: dict[str, Any] = {"request": {"method": method, "url": url, **more}}
    if resource is not None:
        made["resource"] = resource
    if full_url:
        made["fullUrl"] = full_url
    return made


def json_patch(*operations: dict[str, Any]) -> dict[str, Any]:
    """The Binary that a PATCH entry carries."""
    data = b64encode(orjson.dumps(operations)).decode()
    return {"resourceType": "Binary", "contentType": JSON_PATCH, "data": data}


def sent(caller: Caller, *entries: dict[str, Any], kind: str = "transaction", **headers: str) -> httpx.Response:
    """The answer to a Bundle."""
    return caller.post("", {"resourceType": "Bundle", "type": kind, "entry": list(entries)}, **headers)


def done(answer: httpx.Response) -> list[dict[str, Any]]:
    """The responses of the entries of a Bundle that was accepted."""
    assert answer.status_code == 200, answer.text
    return [each["response"] for each in answer.json()["entry"]]


def link(response: dict[str, Any]) -> str:
    """ "Type/id" of a response's location."""
    return str(response["location"]).split("/fhir/")[1].partition("/_history")[0]


def found(caller: Caller, value: str) -> list[dict[str, Any]]:
    """The Devices of that identifier."""
    return [each["resource"] for each in caller.get(f"Device?{by(value)}&_sort=_id").json().get("entry", ())]


# Criteria in entries


def test_an_entry_updates_by_criteria(open_server: Caller, value: str) -> None:
    """201 for none, 200 for one, 412 for several; the id in the response."""
    url = f"Device?{by(value)}"
    (made,) = done(sent(open_server, entry("PUT", url, device(value))))
    (again,) = done(sent(open_server, entry("PUT", url, device(value, status="active"))))
    assert (made["status"], again["status"]) == ("201 Created", "200 OK")
    assert link(made) == link(again)
    assert again["etag"] == 'W/"2"'
    open_server.post("Device", device(value))
    refused = sent(open_server, entry("PUT", url, device(value)))
    assert refused.status_code == 412
    assert refused.json()["issue"][0]["expression"] == ["Bundle.entry[0]"]


def test_an_entry_deletes_by_criteria(open_server: Caller, value: str) -> None:
    """204 for one and for none, 412 for several."""
    open_server.post("Device", device(value))
    for _ in range(2):
        (gone,) = done(sent(open_server, entry("DELETE", f"Device?{by(value)}")))
        assert gone["status"] == "204 No Content"
        assert found(open_server, value) == []
    for _ in range(2):
        open_server.post("Device", device(value))
    assert sent(open_server, entry("DELETE", f"Device?{by(value)}")).status_code == 412


def test_an_entry_patches_by_criteria(open_server: Caller, value: str) -> None:
    """And links in what it puts in lead to other entries."""
    open_server.post("Device", device(value))
    patch = json_patch({"op": "add", "path": "/owner", "value": {"reference": P}})
    owner = {"resourceType": "Organization", "name": "x"}
    patched, made = done(
        sent(open_server, entry("PATCH", f"Device?{by(value)}", patch), entry("POST", "Organization", owner, P))
    )
    assert patched["status"] == "200 OK"
    assert found(open_server, value)[0]["owner"]["reference"] == link(made)
    missing = sent(open_server, entry("PATCH", f"Device?{by('none')}", patch))
    assert missing.status_code == 404
    several = open_server.post("Device", device(value))
    assert several.status_code == 201
    assert sent(open_server, entry("PATCH", f"Device?{by(value)}", patch)).status_code == 412


def test_a_create_on_condition_and_what_points_to_it(open_server: Caller, value: str) -> None:
    """The fullUrl leads to what was there, or to what is made, from every entry and by every twin."""
    create = {"ifNoneExist": by(value)}
    twins = [entry("POST", "Device", device(value), each, **create) for each in (P, Q)]
    pointing = [entry("POST", "Observation", observation(each)) for each in (P, Q)]
    for status in ("201 Created", "200 OK"):
        first, second, *observations = done(sent(open_server, *twins, *pointing))
        assert first["status"] == status
        assert second["status"] == "200 OK"
        assert link(first) == link(second)
        assert first["etag"] == second["etag"] == 'W/"1"'
        for each in observations:
            assert open_server.get(link(each)).json()["device"]["reference"] == link(first)
    assert len(found(open_server, value)) == 1


def test_criteria_that_differ_in_their_order_only_are_the_same(open_server: Caller, value: str) -> None:
    """Two creates of one thing make one."""
    body = device(value, status="active")
    one = entry("POST", "Device", body, ifNoneExist=f"{by(value)}&status=active")
    other = entry("POST", "Device", body, ifNoneExist=f"status=active&{by(value)}")
    done(sent(open_server, one, other))
    assert len(found(open_server, value)) == 1


def test_a_deletion_comes_before_a_create_of_the_same(open_server: Caller, value: str) -> None:
    """By id or by criteria, in whatever order they stand: the old one is gone, a new one is there."""
    old = open_server.post("Device", device(value)).json()["id"]
    for url in (f"Device/{old}", f"Device?{by(value)}"):
        before = found(open_server, value)
        create = entry("POST", "Device", device(value), ifNoneExist=by(value))
        made, gone = done(sent(open_server, create, entry("DELETE", url)))
        assert (made["status"], gone["status"]) == ("201 Created", "204 No Content")
        (after,) = found(open_server, value)
        assert after["id"] != before[0]["id"]


@pytest.mark.parametrize(
    "others",
    [
        [("PUT", "Device/{id}"), ("PUT", "Device/{id}")],
        [("PUT", "Device/{id}"), ("PUT", "Device?{by}")],
        [("DELETE", "Device/{id}"), ("PUT", "Device?{by}")],
        [("DELETE", "Device/{id}"), ("DELETE", "Device?{by}")],
        [("PATCH", "Device/{id}"), ("PUT", "Device/{id}")],
        [("PATCH", "Device?{by}"), ("DELETE", "Device/{id}")],
        [("PUT", "Device?{by}"), ("PUT", "Device?{by}")],
    ],
)
def test_two_entries_for_one_resource_fail(open_server: Caller, value: str, others: list[tuple[str, str]]) -> None:
    """400 naming the second, by whatever name the resource goes (R4: identities must not overlap)."""
    id_ = open_server.post("Device", device(value)).json()["id"]
    bodies = {
        "PUT": lambda url: device(value, **({} if "?" in url else {"id": id_})),
        "PATCH": lambda url: json_patch({"op": "add", "path": "/status", "value": "active"}),
        "DELETE": lambda url: None,
    }
    entries = [entry(method, url.format(id=id_, by=by(value)), bodies[method](url)) for method, url in others]
    answer = sent(open_server, *entries)
    assert answer.status_code == 400, answer.text
    assert answer.json()["issue"][0]["expression"][0].startswith("Bundle.entry[")
    assert open_server.get(f"Device/{id_}").headers["etag"] == 'W/"1"'


def test_two_updates_on_one_condition_that_nothing_meets_fail(open_server: Caller, value: str) -> None:
    """They would make two."""
    put = entry("PUT", f"Device?{by(value)}", device(value))
    assert sent(open_server, put, put).status_code == 400
    create = entry("POST", "Device", device(value), ifNoneExist=by(value))
    assert sent(open_server, put, create).status_code == 400
    assert found(open_server, value) == []


# Preconditions


def test_preconditions_of_entries_are_kept(open_server: Caller, value: str) -> None:
    """ifMatch and ifNoneMatch of writes fail the whole; those of reads are answered in their entry."""
    body = open_server.post("Device", device(value)).json()
    url = f"Device/{body['id']}"
    for bad in (
        entry("PUT", url, body, ifMatch='W/"9"'),
        entry("DELETE", url, ifMatch='W/"9"'),
        entry("PATCH", url, json_patch(), ifMatch='W/"9"'),
        entry("PUT", url, body, ifNoneMatch="*"),
        entry("PUT", f"Device?{by(value)}", device(value), ifNoneMatch="*"),
    ):
        other = entry("POST", "Device", device(value + "never"))
        refused = sent(open_server, other, bad)
        assert refused.status_code == 412, refused.text
        assert refused.json()["issue"][0]["expression"] == ["Bundle.entry[1]"]
    assert found(open_server, value + "never") == []
    time = body["meta"]["lastUpdated"]
    for kind in ("transaction", "batch"):
        unchanged, by_time, changed = done(
            sent(
                open_server,
                entry("GET", url, ifNoneMatch='W/"1"'),
                entry("GET", url, ifModifiedSince=time),
                entry("GET", url, ifModifiedSince="2001-01-01T00:00:00Z"),
                kind=kind,
            )
        )
        assert unchanged["status"] == by_time["status"] == "304 Not Modified"
        assert changed["status"] == "200 OK"


def test_an_entry_that_fails_is_named_and_nothing_is_done(open_server: Caller, value: str) -> None:
    """Whatever fails: reading it, its criteria, its patch, what it would make, its key."""
    good = entry("POST", "Device", device(value))
    for bad, status in (
        (entry("POST", "Device", {**device("x"), "status": "broken"}), 400),
        (entry("POST", "Device", device("x"), ifNoneExist="nonsense=1"), 400),
        (entry("POST", "Nothing", device("x")), 400),
        (entry("POST", "Device/1", device("x")), 400),
        (entry("PUT", "Device", device("x")), 400),
        (entry("PUT", "Device/1?status=active", device("x", id="1")), 400),
        (entry("PUT", "Device/1", device("x", id="2")), 400),
        (entry("POST", "/", device("x")), 400),
        (entry("DELETE", "Device/never"), 404),
        (entry("PATCH", "Device/never", json_patch()), 404),
        (entry("PATCH", f"Device?{by(value)}", {"resourceType": "Binary", "contentType": "text/plain"}), 415),
        (entry("POST", "$import-document", {"resourceType": "Parameters"}), 400),
    ):
        answer = sent(open_server, good, bad)
        assert answer.status_code == status, answer.text
        assert answer.json()["issue"][0]["expression"][0].startswith("Bundle.entry[1]"), answer.text
    assert found(open_server, value) == []


@pytest.mark.parametrize("kind", ["batch", "transaction"])
@pytest.mark.parametrize(
    "bad",
    [
        entry("PATCH", "Device/1", {"resourceType": "Binary", "contentType": JSON_PATCH, "data": "%%%"}),
        entry("PATCH", "Device/1", {"resourceType": "Binary", "contentType": JSON_PATCH, "data": 7}),
        entry("PATCH", "Device/1", {"resourceType": "Binary", "meta": "x", "contentType": JSON_PATCH, "data": "eA=="}),
        entry("PATCH", "Device/1", {"resourceType": "Binary", "meta": "x", "contentType": ["x"], "data": "eA=="}),
        entry(
            "PATCH",
            "Device/1",
            {"resourceType": "Binary", "contentType": "application/fhir+json", "data": "InVybCI6IlwiIg=="},
        ),
        entry("PATCH", "Device/1", [1]),
        entry("PATCH", "Device/1", "x"),
        entry("PATCH", "Device/1"),
        entry("PATCH", "Device/1", {"resourceType": "Parameters", "meta": [], "parameter": 1}),
        entry("POST", "Device", [1], P),
        entry("POST", "Device", None, P),
        entry("PUT", "Device/1", {"resourceType": "Device", "id": 1, "meta": 1}),
        entry("POST", "Patient/$nothing", {"resourceType": "Parameters"}),
        entry("PUT", "$x", {"resourceType": "Device"}),
        entry("DELETE", "Device/_search"),
        entry("GET", "Device/1", ifModifiedSince="2016-12-31T23:59:60Z"),
    ],
)
def test_an_entry_that_is_nonsense_is_a_refusal_and_no_fault(open_server: Caller, kind: str, bad: Any) -> None:
    """Never a 500, and nothing is done."""
    answer = sent(open_server, bad, kind=kind)
    if answer.status_code == 200:
        (response,) = done(answer)
        assert response["status"][0] == "4" or response["status"][:3] == "501"
    else:
        assert answer.status_code in (400, 404, 405, 415, 422), answer.text


def test_a_key_that_is_taken_names_its_entry(house: House) -> None:
    """409: the INS of a Patient who is there already."""
    patient = house.admin.get(house.cast["patient"])
    ins = [{"system": "urn:oid:1.2.250.1.213.1.4.10", "value": "279035121518989"}]
    body = {"resourceType": "Patient", "identifier": ins, "active": True}
    first = {"resourceType": "Organization", "name": "x"}
    answer = sent(house.admin, entry("POST", "Organization", first), entry("POST", "Patient", body))
    assert answer.status_code == 409, (patient.status_code, answer.text)
    assert answer.json()["issue"][0]["expression"] == ["Bundle.entry[1].resource.identifier"]


# Reads


def test_reads_are_answered_last_whatever_they_are(open_server: Caller, value: str) -> None:
    """read, search, history, of type and instance, see what was written."""
    kept = open_server.post("Device", device(value)).json()
    url = f"Device/{kept['id']}"
    answer = sent(
        open_server,
        entry("GET", url),
        entry("GET", f"Device?{by(value)}"),
        entry("GET", f"{url}/_history"),
        entry("GET", "Device/never"),
        entry("PUT", url, {**kept, "status": "inactive"}),
    )
    assert answer.status_code == 200, answer.text
    read, search, history, absent, _ = answer.json()["entry"]
    assert read["resource"]["status"] == "inactive"
    assert search["resource"]["entry"][0]["resource"]["status"] == "inactive"
    assert len(history["resource"]["entry"]) == 2
    assert absent["response"]["status"] == "404 Not Found"
    assert absent["response"]["outcome"]["issue"][0]["code"] == "not-found"


# Batches


def test_entries_of_a_batch_may_do_all_that_requests_do(open_server: Caller, value: str) -> None:
    """Each with its own end."""
    url = f"Device?{by(value)}"
    patch = json_patch({"op": "add", "path": "/status", "value": "inactive"})
    responses = done(
        sent(
            open_server,
            entry("PUT", url, device(value)),
            entry("POST", "Device", device(value), ifNoneExist=by(value)),
            entry("PATCH", url, patch),
            entry("PATCH", url, json_patch({"op": "test", "path": "/status", "value": "active"})),
            entry("DELETE", url, ifMatch='W/"7"'),
            entry("DELETE", url),
            entry("POST", "Device/_search?status=active"),
            kind="batch",
        )
    )
    codes = [each["status"].partition(" ")[0] for each in responses]
    assert codes == ["201", "200", "200", "422", "412", "204", "200"]
    assert responses[3]["outcome"]["issue"][0]["expression"] == ["patch[0]"]


def test_an_entry_of_a_batch_that_leans_on_another_is_refused(open_server: Caller, value: str) -> None:
    """R4: no interdependencies; a urn would be stored that leads nowhere."""
    first, second, third = done(
        sent(
            open_server,
            entry("POST", "Device", device(value), P),
            entry("POST", "Observation", observation(P)),
            entry("POST", "Observation", observation(Q)),
            kind="batch",
        )
    )
    assert [each["status"].partition(" ")[0] for each in (first, second, third)] == ["201", "400", "201"]
