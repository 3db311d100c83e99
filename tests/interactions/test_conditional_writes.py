"""create, update and delete by criteria (https://hl7.org/fhir/R4/http.html#ccreate, #cond-update, #cdelete)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from typing import Any

import httpx
import orjson
import pytest

from fhir_server.app import services
from fhir_server.auth.tokens import authenticate, issue
from fhir_server.context import Context, Trace
from fhir_server.interactions.draft import Once
from tests.conftest import Caller, House
from tests.leaks.test_hidden_is_absent import NEVER, OBSERVATION, same
from tests.record.test_import_document import numbered, send
from tests.scenarios.test_the_patient_decides import mask, pushed

SYSTEM = "urn:oid:1.2.250.7"
_VALUES = (f"v{number}" for number in count())


def device(value: str, **more: Any) -> dict[str, Any]:
    """A Device with that identifier."""
    return {"resourceType": "Device", "identifier": [{"system": SYSTEM, "value": value}], **more}


def by(value: str) -> str:
    """The criteria that find it."""
    return f"identifier={SYSTEM}|{value}"


def found(caller: Caller, value: str) -> int:
    """How many there are."""
    total: int = caller.get(f"Device?{by(value)}&_summary=count").json()["total"]
    return total


@pytest.fixture
def value() -> str:
    """An identifier that no other test uses."""
    return next(_VALUES)


# Update


def test_an_update_makes_what_its_criteria_do_not_find(open_server: Caller, value: str) -> None:
    """201 with an id of the server's, then 200 and the same resource."""
    made = open_server.put(f"Device?{by(value)}", device(value))
    assert made.status_code == 201, made.text
    assert made.headers["etag"] == 'W/"1"'
    assert made.headers["location"].endswith(f"/fhir/Device/{made.json()['id']}/_history/1")
    again = open_server.put(f"Device?{by(value)}", device(value, status="inactive"))
    assert again.status_code == 200
    assert again.json()["id"] == made.json()["id"]
    assert again.json()["meta"]["versionId"] == "2"


def test_an_update_of_several_is_refused(open_server: Caller, value: str) -> None:
    """412, nothing is written."""
    for _ in range(2):
        open_server.post("Device", device(value))
    assert open_server.put(f"Device?{by(value)}", device(value)).status_code == 412
    assert found(open_server, value) == 2


def test_the_id_in_the_body_is_that_of_the_match_or_none(open_server: Caller, value: str) -> None:
    """400 for another."""
    id_ = open_server.post("Device", device(value)).json()["id"]
    assert open_server.put(f"Device?{by(value)}", device(value, id=id_)).status_code == 200
    other = open_server.put(f"Device?{by(value)}", device(value, id="other"))
    assert other.status_code == 400
    assert other.json()["issue"][0]["expression"] == ["Device.id"]


def test_the_open_server_lets_an_update_choose_a_free_id(open_server: Caller, value: str) -> None:
    """201 under that id; 409 where it is another resource's."""
    made = open_server.put(f"Device?{by(value)}", device(value, id=f"chosen-{value}"))
    assert made.status_code == 201
    assert made.json()["id"] == f"chosen-{value}"
    taken = open_server.put(f"Device?{by(value + 'x')}", device(value + "x", id=f"chosen-{value}"))
    assert taken.status_code == 409


def test_if_match_and_if_none_match_are_asked_of_the_match(open_server: Caller, value: str) -> None:
    """412 when they do not hold, also where nothing is found."""
    url = f"Device?{by(value)}"
    assert open_server.put(url, device(value), **{"If-Match": 'W/"1"'}).status_code == 412
    assert open_server.put(url, device(value), **{"If-None-Match": "*"}).status_code == 201
    assert open_server.put(url, device(value), **{"If-None-Match": "*"}).status_code == 412
    assert open_server.put(url, device(value), **{"If-None-Match": 'W/"1"'}).status_code == 412
    assert open_server.put(url, device(value), **{"If-Match": 'W/"1"'}).status_code == 200
    assert open_server.put(url, device(value), **{"If-Match": 'W/"1"'}).status_code == 412
    assert open_server.put(url, device(value), **{"If-Match": "*"}).status_code == 200


def test_if_none_match_star_makes_an_update_a_create_alone(open_server: Caller, value: str) -> None:
    """PUT [type]/[id] with If-None-Match: *."""
    url, body = f"Device/new-{value}", device(value, id=f"new-{value}")
    assert open_server.put(url, body, **{"If-None-Match": "*"}).status_code == 201
    assert open_server.put(url, body, **{"If-None-Match": "*"}).status_code == 412
    assert open_server.delete(url).status_code == 204
    assert open_server.put(url, body, **{"If-None-Match": "*"}).status_code == 201


# Delete


def test_a_delete_takes_the_one_match(open_server: Caller, value: str) -> None:
    """204; and 204 again when there is none left, as R4 has it; 412 for several."""
    id_ = open_server.post("Device", device(value)).json()["id"]
    assert open_server.delete(f"Device?{by(value)}", **{"If-Match": 'W/"9"'}).status_code == 412
    assert open_server.delete(f"Device?{by(value)}").status_code == 204
    assert open_server.get(f"Device/{id_}").status_code == 410
    assert open_server.delete(f"Device?{by(value)}").status_code == 204
    assert open_server.delete(f"Device?{by(value)}", **{"If-Match": "*"}).status_code == 412
    for _ in range(2):
        open_server.post("Device", device(value))
    assert open_server.delete(f"Device?{by(value)}").status_code == 412
    assert found(open_server, value) == 2


@pytest.mark.parametrize(
    "criteria",
    [
        "",
        "?",
        "?_count=1",
        "?identifier=",
        "?identifier=&status=active",
        "?nonsense=1",
        "?status=active&nonsense=1",
        "?status=active&_sort=_id",
        "?status=active&_include=Device:patient",
        "?status:unknown=active",
    ],
)
def test_criteria_that_narrow_nothing_or_are_not_understood_change_nothing(
    open_server: Caller, criteria: str, value: str
) -> None:
    """400 for each of the four: a criterion that nobody looked at must not delete what it would have spared."""
    body = device(value, status="active")
    change = orjson.dumps([{"op": "remove", "path": "/identifier"}])
    patch = {"Content-Type": "application/json-patch+json"}
    assert open_server.put(f"Device{criteria}", body).status_code == 400
    assert open_server.delete(f"Device{criteria}").status_code == 400
    assert open_server.request("PATCH", f"Device{criteria}", content=change, headers=patch).status_code == 400
    if criteria.startswith("?") and criteria != "?":
        assert open_server.post("Device", body, **{"If-None-Exist": criteria[1:]}).status_code == 400
    assert found(open_server, value) == 0


def test_an_empty_if_none_exist_makes_nothing(open_server: Caller, value: str) -> None:
    """400: who sends the header means it; without a criterion every resource would be made again and again."""
    refused = open_server.post("Device", device(value), **{"If-None-Exist": ""})
    assert (refused.status_code, refused.json()["issue"][0]["expression"]) == (400, ["If-None-Exist"])
    assert found(open_server, value) == 0


def test_what_is_refused_is_not_said_to_be_left_out(open_server: Caller) -> None:
    """An empty criterion is an error of a write, a warning of a search."""
    refused = open_server.delete("Device?identifier=").json()["issue"][0]
    assert refused["details"]["text"] == "This parameter has no value."
    warned = open_server.get("Device?identifier=").json()["entry"][-1]["resource"]["issue"][0]
    assert warned["details"]["text"] == "This parameter has no value and was left out of account."


def test_a_reference_by_criteria_that_does_not_resolve_is_named(open_server: Caller, value: str) -> None:
    """412 with its place, in a resource and in a transaction."""
    open_server.post("Device", device(value))
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "device": {"reference": f"Device?{by(value)}"},
        "performer": [{"display": "someone"}, {"reference": f"Practitioner?{by(value)}"}],
    }
    refused = open_server.post("Observation", observation)
    assert refused.status_code == 412
    assert refused.json()["issue"][0]["expression"] == ["Observation.performer[1].reference"]
    entries = [
        {"resource": each, "request": {"method": "POST", "url": each["resourceType"]}}
        for each in (device(value + "b"), observation)
    ]
    refused = open_server.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert refused.status_code == 412
    assert refused.json()["issue"][0]["expression"] == ["Bundle.entry[1].resource.performer[1].reference"]


def test_format_and_pretty_are_no_criteria(open_server: Caller, value: str) -> None:
    """They speak of the answer."""
    assert open_server.put(f"Device?{by(value)}&_format=json&_pretty=true", device(value)).status_code == 201
    assert found(open_server, value) == 1


# At the same time


def at_once(number: int, act: Callable[[int], httpx.Response]) -> list[httpx.Response]:
    """The answers to requests sent together."""
    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(act, range(number)))


def test_of_thirty_conditional_creates_at_once_one_makes_the_resource(open_server: Caller, value: str) -> None:
    """One 201, twenty-nine 200 with the same id; the order of the criteria does not matter."""
    criteria = [f"{by(value)}&status=active", f"status=active&{by(value)}"]
    body = device(value, status="active")
    answers = at_once(30, lambda n: open_server.post("Device", body, **{"If-None-Exist": criteria[n % 2]}))
    assert sorted(each.status_code for each in answers) == [200] * 29 + [201]
    assert len({each.json()["id"] for each in answers}) == 1
    assert found(open_server, value) == 1


def test_of_thirty_conditional_updates_at_once_one_makes_the_resource(open_server: Caller, value: str) -> None:
    """The others update it, each with a version of its own."""
    answers = at_once(30, lambda _: open_server.put(f"Device?{by(value)}", device(value)))
    codes = [each.status_code for each in answers]
    assert codes.count(201) == 1
    assert set(codes) <= {200, 201, 409}
    assert found(open_server, value) == 1


def test_of_thirty_transactions_at_once_one_makes_the_resource(open_server: Caller, value: str) -> None:
    """Whether alone in their Bundle or beside others, and beside plain conditional creates."""
    other = value + "b"
    entries = [
        {"resource": device(each), "request": {"method": "POST", "url": "Device", "ifNoneExist": by(each)}}
        for each in (value, other)
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}

    def act(number: int) -> httpx.Response:
        if number % 3:
            return open_server.post("", bundle)
        return open_server.post("Device", device(other), **{"If-None-Exist": by(other)})

    answers = at_once(30, act)
    assert {each.status_code for each in answers} <= {200, 201}
    assert found(open_server, value) == found(open_server, other) == 1


def test_what_was_made_and_does_not_fit_its_criteria_is_made_again(open_server: Caller, value: str) -> None:
    """If-None-Exist is about what is there: the key that settles a race is not a memory."""
    answers = [open_server.post("Device", device("other"), **{"If-None-Exist": by(value)}) for _ in range(3)]
    assert [each.status_code for each in answers] == [201] * 3
    assert len({each.json()["id"] for each in answers}) == 3


def test_after_a_deletion_the_criteria_make_a_new_one(open_server: Caller, value: str) -> None:
    """The key goes with the resource."""
    first = open_server.post("Device", device(value), **{"If-None-Exist": by(value)})
    assert open_server.delete(f"Device/{first.json()['id']}").status_code == 204
    second = open_server.post("Device", device(value), **{"If-None-Exist": by(value)})
    assert (first.status_code, second.status_code) == (201, 201)


# Rights


def _observation(house: House, value: str) -> dict[str, Any]:
    identifier = [{"system": SYSTEM, "value": value}]
    return {**OBSERVATION, "identifier": identifier, "subject": {"reference": house.cast["patient"]}}


def _criteria(house: House, value: str) -> str:
    return f"patient={house.cast['patient']}&{by(value)}"


def test_a_professional_writes_by_criteria_in_one_named_record(house: House, value: str) -> None:
    """Create, update, delete, as author; 400 when the criteria do not say whose record it is."""
    doctor, url = house.medecin_traitant, f"Observation?{_criteria(house, value)}"
    assert doctor.put(f"Observation?{by(value)}", _observation(house, value)).status_code == 400
    assert doctor.put(url, _observation(house, value)).status_code == 201
    assert doctor.put(url, _observation(house, value)).status_code == 200
    assert doctor.delete(url).status_code == 204
    assert doctor.get(url).json()["total"] == 0


def test_in_a_guarded_server_an_update_by_criteria_chooses_no_id(house: House, value: str) -> None:
    """422, whether the id is nobody's, or of a resource that the caller does not see."""
    url = f"Observation?{_criteria(house, value)}"
    hidden = house.lgc.post("Observation", {**OBSERVATION, "subject": {"reference": house.cast["child"]}}).json()["id"]
    answers = [house.medecin_traitant.put(url, {**_observation(house, value), "id": each}) for each in (hidden, NEVER)]
    same(*answers)
    assert answers[0].status_code == 422


def test_criteria_find_what_others_made_and_rights_decide(house: House, value: str) -> None:
    """403 for who sees it and is not its author; nothing is changed."""
    assert house.medecin_traitant.post("Observation", _observation(house, value)).status_code == 201
    url = f"Observation?{_criteria(house, value)}"
    assert house.care_team.put(url, _observation(house, value)).status_code == 403
    assert house.care_team.delete(url).status_code == 403
    assert house.medecin_traitant.get(url).json()["entry"][0]["resource"]["meta"]["versionId"] == "1"


def test_l44_criteria_do_not_find_what_is_hidden(house: House, value: str) -> None:
    """L44: an update, a patch and a deletion by criteria see a hidden document as none; the document stays."""
    hidden = pushed(send(house.lgc, numbered(911)).json())
    body = house.patient.get(hidden).json()
    mask(house, hidden)
    patient = house.cast["patient"]
    change = orjson.dumps([{"op": "test", "path": "/status", "value": "current"}])
    headers = {"Content-Type": "application/json-patch+json"}
    urls = [f"DocumentReference?patient={patient}&_id={each}" for each in (hidden.partition("/")[2], NEVER)]
    for act in (
        lambda url: house.care_team.delete(url),
        lambda url: house.care_team.delete(url, **{"If-Match": 'W/"1"'}),
        lambda url: house.care_team.request("PATCH", url, content=change, headers=dict(headers)),
        lambda url: house.care_team.put(url, body),
        lambda url: house.care_team.put(url, {**body, "id": NEVER}),
    ):
        same(*(act(url) for url in urls))
    assert house.patient.get(hidden).status_code == 200


def test_the_key_of_a_race_is_its_callers_own(house: House, value: str) -> None:
    """Two who cannot see each other's deposit make one each, with the same criteria: neither learns of the other. Nor
    does the one who comes later go without a key: of their requests at the same time one makes the resource too."""
    body, criteria = _observation(house, value), {"If-None-Exist": _criteria(house, value)}
    one = house.other_doctor.post("Observation", body, **criteria)
    others = at_once(12, lambda _: house.nurse.post("Observation", body, **criteria))
    assert [each.status_code for each in (one, *sorted(others, key=_status))] == [201, *[200] * 11, 201]
    locations = {each.headers["location"] for each in others}
    assert len(locations) == 1
    assert one.headers["location"] not in locations


def _status(answer: httpx.Response) -> int:
    return answer.status_code


def test_no_caller_waits_for_the_key_of_another(house: House) -> None:
    """To be refused a key that somebody else holds would take longer, and tell by that what is hidden."""

    async def keys() -> list[tuple[str, ...]]:
        async with services(house.settings) as parts:
            tokens = (house.nurse.token, house.other_doctor.token, house.nurse.token)
            actors = [await authenticate(parts.store.ledger, f"Bearer {each}", now=parts.clock()) for each in tokens]
            return [Once().keys(Context(parts, each, Trace(request_id="r")), "Device", "d") for each in actors]

    nurse, doctor, again = asyncio.run(keys())
    assert nurse == again != doctor


def test_criteria_are_a_search_and_want_its_right(house: House, value: str) -> None:
    """SMART: without `s` on the type 403 for each, whatever is there; with it, the right of the write decides."""

    async def tokens(*scopes: str) -> list[str]:
        async with services(house.settings) as parts:
            now = parts.clock()
            actor = await authenticate(parts.store.ledger, f"Bearer {house.medecin_traitant.token}", now=now)
            return [
                await issue(parts.store.ledger, replace(actor, scopes=(each,), jti=""), ttl=10**12, now=now)
                for each in scopes
            ]

    given = asyncio.run(tokens("user/Observation.cud", "user/Observation.cuds", "user/Observation.rs"))
    without, full, reading = (replace(house.medecin_traitant, token=each) for each in given)
    url, body = f"Observation?{_criteria(house, value)}", _observation(house, value)
    change = {"content": b'[{"op":"replace","path":"/status","value":"amended"}]'}
    kind = {"Content-Type": "application/json-patch+json"}
    for caller, codes in (
        (without, [403, 403, 403, 403]),
        (reading, [403, 403, 403, 403]),
        (full, [201, 200, 200, 204]),
    ):
        answers = [
            caller.post("Observation", body, **{"If-None-Exist": _criteria(house, value)}),
            caller.put(url, body),
            caller.request("PATCH", url, headers=dict(kind), **change),
            caller.delete(url),
        ]
        assert [each.status_code for each in answers] == codes


def test_what_criteria_find_is_changed_by_the_right_of_the_write(house: House, value: str) -> None:
    """A search may reach further than the right to change: what lies beyond is not there to be changed, 404."""

    async def token() -> str:
        async with services(house.settings) as parts:
            now = parts.clock()
            actor = await authenticate(parts.store.ledger, f"Bearer {house.medecin_traitant.token}", now=now)
            scopes = ("user/Observation.rs", "patient/Observation.ud")
            elsewhere = replace(actor, scopes=scopes, patients=("another",), jti="")
            return await issue(parts.store.ledger, elsewhere, ttl=10**12, now=now)

    made = house.medecin_traitant.post("Observation", _observation(house, value)).headers["location"]
    caller = replace(house.medecin_traitant, token=asyncio.run(token()))
    url = f"Observation?{_criteria(house, value)}"
    assert caller.get(url).json()["total"] == 1
    kind = {"Content-Type": "application/json-patch+json"}
    for given in (
        caller.put(url, _observation(house, value)),
        caller.request("PATCH", url, headers=kind, content=b'[{"op":"replace","path":"/status","value":"amended"}]'),
        caller.delete(url),
    ):
        assert given.status_code == 404
    assert house.medecin_traitant.get(made).json()["meta"]["versionId"] == "1"
