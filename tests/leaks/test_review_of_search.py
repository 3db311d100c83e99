"""What an adversary found in search, patches and XML: each attack, and that it comes to nothing."""

from __future__ import annotations

import asyncio
import time
from base64 import b64decode
from typing import Any

import orjson
import pytest

from fhir_server.app import services
from fhir_server.operations.reindex import reindex
from tests.conftest import House
from tests.leaks.test_review_findings import made
from tests.leaks.test_search_leaks import observation

XML = {"Content-Type": "application/fhir+xml"}
# Of a second or so when it is bounded, of minutes when it is not.
SOON = 20.0


def crowd(count: int) -> str:
    """So many attributes, or so many prefixes of namespaces where they are called so."""
    return " ".join(f'a{number}="u"' for number in range(count))


def test_an_element_crowded_with_attributes_does_not_stop_the_server(house: House) -> None:
    """lxml reads the attributes of one element in a time that grows with their square: 200,000 of them, in two
    megabytes, stopped the server for six minutes, whoever sent them."""
    begun = time.monotonic()
    body = f'<Observation xmlns="http://hl7.org/fhir" {crowd(200_000)}><status value="final"/></Observation>'
    assert house.patient.request("POST", "Observation", content=body.encode(), headers=XML).status_code == 400
    div = f'<div xmlns="http://www.w3.org/1999/xhtml" {crowd(90_000)}>x</div>'
    told = {**observation(house.cast["patient"], "a"), "text": {"status": "generated", "div": div}}
    assert house.lgc.post("Observation", told).status_code == 400
    assert time.monotonic() - begun < SOON


def test_prefixes_without_number_are_refused(house: House) -> None:
    """A document may declare few: lxml gathers them anew for each narrative and each operation of a patch."""
    named = crowd(100).replace("a", "xmlns:a")
    body = f'<Observation xmlns="http://hl7.org/fhir" {named}><status value="final"/></Observation>'
    answer = house.lgc.request("POST", "Observation", content=body.encode(), headers=XML)
    assert answer.status_code == 400
    assert "prefixes" in answer.text


def test_a_copy_of_a_copy_of_a_copy_is_soon_refused(house: House) -> None:
    """Thirty operations that each double what there is: 422, before a tenth of a second's worth of values is made."""
    place = made(house.lgc.post("Observation", observation(house.cast["patient"], "bomb")))
    bomb = [{"op": "copy", "from": "", "path": f"/x{number}"} for number in range(30)]
    begun = time.monotonic()
    answer = house.lgc.request(
        "PATCH", place, content=orjson.dumps(bomb), headers={"Content-Type": "application/json-patch+json"}
    )
    assert answer.status_code == 422
    assert time.monotonic() - begun < SOON
    assert house.lgc.get(place).headers["etag"] == 'W/"1"'


def test_chains_of_one_search_are_counted_together(house: House) -> None:
    """However they are spread over criteria and tests of a filter: each costs a walk of its own."""
    filter = " or ".join(f"subject:Patient.name co {number}" for number in range(101))
    criteria = "&".join(f"subject:Patient._has:Observation:patient:code={number}" for number in range(50))
    too_many = f"{criteria}&subject:Patient.name=x"
    for query, status in ((f"_filter={filter}", 400), (criteria, 200), (too_many, 400)):
        assert house.patient.get(f"Observation?{query}").status_code == status


@pytest.mark.parametrize("url", ["_history?_count=", "Patient/{}/$everything?_count="])
def test_a_count_of_thousands_of_digits_is_no_fault(house: House, url: str) -> None:
    """400, as for any other number that is none."""
    patient = house.cast["patient"].partition("/")[2]
    assert house.patient.get(url.format(patient) + "1" * 5000).status_code == 400


@pytest.mark.parametrize("instant", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_that_http_cannot_say_is_no_fault_of_a_batch(house: House, instant: str) -> None:
    """It is passed over, as RFC 9110 §13.1.3 has it of an invalid date: the entry is answered."""
    entry = {"request": {"method": "GET", "url": house.cast["patient"], "ifModifiedSince": instant}}
    answer = house.patient.post("", {"resourceType": "Bundle", "type": "batch", "entry": [entry]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["entry"][0]["response"]["status"].startswith("200")


def test_the_log_keeps_no_value_of_a_parameter_of_ones_own(own_house: House) -> None:
    """Nobody knows what it is made of: here of the INS, and of a name at the end of a chain."""
    nir = {
        "resourceType": "SearchParameter",
        "url": "https://example.org/SearchParameter/nir",
        "name": "nir",
        "status": "active",
        "description": "The number of a person.",
        "code": "nir",
        "base": ["Patient"],
        "type": "token",
        "expression": "Patient.identifier",
    }
    patient = own_house.cast["patient"]
    made(own_house.admin.post("SearchParameter", nir))

    async def go() -> None:
        async with services(own_house.settings) as parts:
            assert await reindex(parts, parts.store.system(), lambda done: None)

    asyncio.run(go())
    deadline = time.monotonic() + 10
    while own_house.patient.get("Patient?nir=279035121518989", Prefer="handling=strict").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert own_house.patient.get("Observation?subject:Patient.nir=279035121518989&code=x").status_code == 200
    kept = [asked for asked in queries(own_house.patient.get(f"AuditEvent?patient={patient}").json()) if "nir" in asked]
    assert sorted(kept) == ["Observation?code=x&subject%3APatient.nir=*", "Patient?nir=*"]


def queries(log: dict[str, Any]) -> list[str]:
    """What the lines of a log say was searched."""
    entities = [each for event in log["entry"] for each in event["resource"].get("entity", ())]
    return [b64decode(each["query"]).decode() for each in entities if "query" in each]
