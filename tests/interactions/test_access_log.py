"""AuditEvent: who came, as the holder of the record reads it (access §6)."""

from __future__ import annotations

import asyncio
import re
from base64 import b64decode
from typing import Any

import pytest

from fhir_server.app import services
from fhir_server.consent.audit_chain import verify
from fhir_server.fhir.definitions import load_definitions
from fhir_server.validation.validator import Validator
from tests.conftest import Caller, House


def log_of(caller: Caller, patient: str, query: str = "") -> list[dict[str, Any]]:
    """All lines, page after page."""
    url: str | None = f"AuditEvent?patient={patient}&_count=50{query}"
    found: list[dict[str, Any]] = []
    while url:
        page = caller.get(url).json()
        found += [each["resource"] for each in page.get("entry", ())]
        url = next((each["url"] for each in page["link"] if each["relation"] == "next"), None)
    return found


def test_every_line_is_a_valid_r4_audit_event(house: House) -> None:
    """Of every interaction that the demonstration and this test make."""
    patient = house.cast["patient"]
    for caller in (house.patient, house.medecin_traitant, house.other_doctor, house.nurse, house.app, house.admin):
        caller.get(patient)
        caller.get(f"DocumentReference?status=current&patient={patient}&type=11502-2")
        caller.delete("DocumentReference/none")
    validator = Validator(load_definitions())
    events = log_of(house.patient, patient)
    assert len(events) > 12
    for event in events:
        assert validator.validate(event, expect_type="AuditEvent") == []


def test_one_interaction_is_one_line_refused_ones_included(house: House) -> None:
    """A read, a refused read, a search, each entry of a batch; the asking for the log itself too."""
    patient = house.cast["patient"]
    before = len(log_of(house.patient, patient))
    house.medecin_traitant.get(patient)
    house.other_doctor.get(patient)
    house.nurse.get(f"Observation?patient={patient}")
    entries = [{"request": {"method": "GET", "url": patient}}] * 3
    house.medecin_traitant.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries})
    after = log_of(house.patient, patient)
    asked = [each for each in after if each["entity"] and "AuditEvent" in str(each)]
    assert asked
    first_page_of_before = 1
    assert len(after) == before + 6 + first_page_of_before


def test_a_line_says_who_for_whom_what_and_with_what_outcome(house: House) -> None:
    """Name, profession and structure of a professional; the refusal is outcome 4."""
    patient = house.cast["patient"]
    house.other_doctor.get(patient)
    line = log_of(house.patient, patient, f"&agent={house.other_doctor.reference}")[0]
    user = next(each for each in line["agent"] if each["requestor"])
    assert user["who"]["reference"] == house.other_doctor.reference
    assert user["name"] == "Hugo PETIT"
    assert "Cabinet médical du Nord" in str(line)
    assert line["outcome"] == "4"
    assert line["action"] == "R"
    assert {"reference": patient} in [each.get("what") for each in line["entity"]]


def test_queries_are_kept_without_the_values_that_identify(house: House) -> None:
    """Of a look-up by identity only the shape remains."""
    patient = house.cast["patient"]
    house.other_doctor.get("Patient?identifier=urn:oid:1.2.250.1.213.1.4.10|279035121518989&birthdate=1979-03-28")
    line = log_of(house.patient, patient, f"&agent={house.other_doctor.reference}")[0]
    [query] = [b64decode(each["query"]).decode() for each in line["entity"] if "query" in each]
    assert query == "Patient?birthdate=*&identifier=*"
    assert "279035121518989" not in str(log_of(house.patient, patient))


@pytest.mark.parametrize(
    ("query", "test"),
    [
        ("&action=R", lambda each: each["action"] == "R"),
        ("&outcome=4", lambda each: each["outcome"] == "4"),
        ("&date=ge2020-01-01&date=lt2099-01-01", lambda each: True),
        ("&_sort=-date", lambda each: True),
    ],
)
def test_the_log_is_filtered(house: House, query: str, test: Any) -> None:
    """Only lines that match, and some."""
    house.other_doctor.get(house.cast["patient"])
    found = log_of(house.patient, house.cast["patient"], query)
    assert found
    assert all(test(each) for each in found)
    assert log_of(house.patient, house.cast["patient"], "&date=lt2020-01-01") == []


def test_a_line_is_read_by_its_id_by_the_holder_only(house: House) -> None:
    """404 for everyone else."""
    line = log_of(house.patient, house.cast["patient"])[0]
    url = f"AuditEvent/{line['id']}"
    assert house.patient.get(url).json() == line
    for caller in (house.medecin_traitant, house.representative, house.app, house.admin):
        assert caller.get(url).status_code == 404


def test_nobody_changes_the_log(house: House) -> None:
    """405 for a change or a deletion, whoever asks; 403 for writing into it, which takes a registered feed."""
    line = log_of(house.patient, house.cast["patient"])[0]
    for caller in (house.patient, house.medecin_traitant, house.admin):
        assert caller.put(f"AuditEvent/{line['id']}", line).status_code == 405
        assert caller.delete(f"AuditEvent/{line['id']}").status_code == 405
        assert caller.request("PATCH", f"AuditEvent/{line['id']}", content=b"[]").status_code == 405
        assert caller.post("AuditEvent", line).status_code == 403


@pytest.mark.parametrize(
    "query", ["&unknown=1", "&_sort=date", "&date=yesterday", "&_count=0", "&_count=x", "&_cursor=AAAA"]
)
def test_what_is_not_understood_is_refused(house: House, query: str) -> None:
    """400 naming the parameter."""
    answer = house.patient.get(f"AuditEvent?patient={house.cast['patient']}{query}")
    assert answer.status_code == 400
    name = re.split("[&=]", query)[1]
    assert answer.json()["issue"][0]["expression"] == [name]


def test_a_refused_login_is_in_the_chain_but_in_no_ones_log(own_house: House) -> None:
    """The log of a record holds what concerns that record."""
    before = log_of(own_house.patient, own_house.cast["patient"])
    own_house.nobody.get(own_house.cast["patient"])
    after = log_of(own_house.patient, own_house.cast["patient"])
    assert len(after) == len(before) + 1


@pytest.mark.parametrize("patient", ["", "Patient/", "Patient/nobody", "%00", "Patient/a b"])
def test_the_log_of_nobody_is_empty_and_asking_for_it_leaves_the_chain_whole(house: House, patient: str) -> None:
    """Whatever stands where a patient should."""
    answer = house.patient.get(f"AuditEvent?patient={patient}")
    assert answer.status_code in (200, 400)
    assert answer.json().get("entry") is None
    assert _intact(house)


def _intact(house: House) -> bool:
    async def walk() -> bool:
        async with services(house.settings) as parts:
            return (await verify(parts.store.system())).intact

    return asyncio.run(walk())
