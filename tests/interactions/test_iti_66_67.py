"""ITI-66 and ITI-67: what professional software searches documents and submission sets by (domain DOC-13 to DOC-16,
DOC-27 to DOC-29)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.conftest import House
from tests.interactions.provided import ARCHIVED, INS, provide
from tests.interactions.test_iti_65 import PDF, links, send

KIND = {"Content-Type": "application/json-patch+json"}


@pytest.fixture(scope="module")
def provided(house: House) -> list[str]:
    """Set, document and content of one deposit."""
    return links(send(house.lgc, provide(house.cast["patient"], PDF)))


def ids(house: House, url: str, **headers: str) -> set[str]:
    """What the care team finds, as "Type/id"."""
    answer = house.care_team.get(url, **headers)
    assert answer.status_code == 200, answer.text
    found = (each["resource"] for each in answer.json().get("entry", ()) if each["search"]["mode"] == "match")
    return {f"{each['resourceType']}/{each['id']}" for each in found}


@pytest.mark.parametrize(
    ("query", "missing"),
    [
        ("DocumentReference?status=current", "patient"),
        ("DocumentReference?patient={patient}", "status"),
        ("List?patient={patient}&status=current", "code"),
        ("List?patient={patient}&code=submissionset", "status"),
        ("List?code=submissionset&status=current", "patient"),
        ("{patient}/DocumentReference", "status"),
    ],
)
def test_what_a_professional_has_to_name(house: House, query: str, missing: str) -> None:
    """DOC-13, DOC-14: 400 that names the parameter, by POST too; the patient's own search is exempt."""
    query = query.format(patient=house.cast["patient"])
    answer = house.care_team.get(query)
    assert answer.status_code == 400
    assert missing in [each["expression"][0] for each in answer.json()["issue"]]
    path, _, form = query.partition("?")
    posted = house.care_team.request(
        "POST", f"{path}/_search", content=form, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert posted.status_code == 400
    assert house.patient.get(query).status_code == 200


@pytest.mark.parametrize(
    "criteria",
    [
        "type=http://loinc.org|11488-4",
        "category=10",
        "facility=SA25",
        "setting=AMBULATOIRE",
        "creation=2026-10-01",
        "date=ge2026-10-01",
        "security-label=N",
        "isArchived=false",
        "PDSm_isArchived=false",
        "period=ge2026-10",
        "period-start=2026-10-01",
        "period-end=le2026-10-01T10:00:00Z",
        "PDSm_DocumentReference_period-start=2026-10-01",
        "format=urn:ihe:iti:xds-sd:pdf:2008",
    ],
)
def test_documents_are_found_by_every_parameter(house: House, provided: list[str], criteria: str) -> None:
    """DOC-14, §4.5."""
    whose = f"DocumentReference?status=current&patient={house.cast['patient']}&_count=100"
    assert provided[1] in ids(house, f"{whose}&{criteria}", Prefer="handling=strict")


def test_the_patient_is_named_in_three_ways(house: House, provided: list[str]) -> None:
    """DOC-13, DOC-14: patient, subject, patient.identifier."""
    patient = house.cast["patient"]
    for whose in (f"patient={patient}", f"subject={patient}", f"patient.identifier={INS}|279035121518989"):
        assert provided[1] in ids(house, f"DocumentReference?status=current&_count=100&{whose}")
        assert provided[0] in ids(house, f"List?code=submissionset&status=current&_count=100&{whose}")


def test_identifier_finds_the_master_identifier(house: House, provided: list[str]) -> None:
    """DOC-15."""
    master = house.patient.get(provided[1]).json()["masterIdentifier"]
    whose = f"DocumentReference?status=current&patient={house.cast['patient']}"
    assert ids(house, f"{whose}&identifier={master['system']}|{master['value']}") == {provided[1]}


@pytest.mark.parametrize(
    "criteria",
    [
        "date=2026-10-01",
        "designationType=SA25",
        "DesignationType=SA25",
        "sourceId=urn:oid:1.2.3|lgc-1",
        "title=Lot",
        "isArchived=false",
    ],
)
def test_submission_sets_are_found_by_every_parameter(house: House, provided: list[str], criteria: str) -> None:
    """DOC-13, §4.5."""
    whose = f"List?code=submissionset&status=current&patient={house.cast['patient']}&_count=100"
    assert provided[0] in ids(house, f"{whose}&{criteria}", Prefer="handling=strict")


def test_what_is_archived_is_found_unless_it_is_asked_for(house: House) -> None:
    """DOC-16: it stays current; `isArchived=false` leaves it out, nothing else does."""
    stored = links(send(house.lgc, provide(house.cast["patient"], PDF)))[1]
    patch = [{"op": "add", "path": "/extension", "value": [{"url": ARCHIVED, "valueBoolean": True}]}]
    assert house.lgc.request("PATCH", stored, content=orjson.dumps(patch), headers=KIND).status_code == 200
    assert house.patient.get(stored).json()["status"] == "current"
    whose = f"DocumentReference?status=current&patient={house.cast['patient']}&_count=100"
    assert stored in ids(house, whose)
    assert stored in ids(house, f"{whose}&isArchived=true")
    assert stored not in ids(house, f"{whose}&isArchived=false")


def test_changes_are_followed_without_a_gap(house: House) -> None:
    """DOC-27: each set once over the pages, though others come in between."""
    patient = house.cast["patient"]
    wanted = {links(send(house.lgc, provide(patient, PDF)))[0] for _ in range(5)}
    url: str = (
        f"List?code=submissionset&status=current&patient.identifier={INS}|279035121518989&date=ge2026-01-01&_count=2"
    )
    seen: list[str] = []
    while url:
        page: dict[str, Any] = house.care_team.get(url).json()
        seen += [f"List/{each['resource']['id']}" for each in page.get("entry", ())]
        send(house.lgc, provide(patient, PDF)) if len(seen) < 7 else None
        url = next((each["url"] for each in page["link"] if each["relation"] == "next"), "")
    assert wanted <= set(seen)
    assert len(seen) == len(set(seen))


def test_an_unknown_parameter_is_ignored_with_a_warning(house: House) -> None:
    """DOC-29: and refused when that is preferred."""
    url = f"DocumentReference?status=current&patient={house.cast['patient']}&couleur=bleu"
    modes = [each["search"]["mode"] for each in house.care_team.get(url).json()["entry"]]
    assert "outcome" in modes
    assert house.care_team.get(url, Prefer="handling=strict").status_code == 400
