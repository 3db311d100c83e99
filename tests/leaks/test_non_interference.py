"""I8: what a caller may not see changes nothing that the caller can observe."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Caller, House
from tests.leaks.test_hidden_is_absent import NEVER, OBSERVATION
from tests.leaks.test_review_findings import made
from tests.leaks.test_search_leaks import encounter
from tests.record.test_import_document import numbered, send
from tests.scenarios.test_the_patient_decides import mask, pushed

ACTS = st.lists(
    st.sampled_from(
        [
            "masked document",
            "masked by label",
            "masked observation",
            "others' observation",
            "others' patient log",
            "deleted",
        ]
    ),
    min_size=1,
    max_size=4,
)
_COUNTER = iter(range(1000, 100_000))
INS = "urn:oid:1.2.250.1.213.1.4.10|279035121518989"
MASKED = {
    "security": [
        {
            "system": "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument",
            "code": "MASQUE_PS",
        }
    ]
}


def met(house: House) -> str:
    """A visible encounter of the record, the same each time."""
    patient = house.cast["patient"]
    found = house.patient.get("Encounter").json().get("entry", ())
    return f"Encounter/{found[0]['resource']['id']}" if found else made(house.lgc.post("Encounter", encounter(patient)))


def observations(house: House, caller: Caller) -> list[tuple[int, bytes, list[tuple[str, str]]]]:
    """Everything the caller can ask that hidden rows could show in."""
    patient = house.cast["patient"]
    doctor = f"Practitioner/{house.cast['biologist'].partition('/')[2]}"
    urls = [
        f"DocumentReference?patient={patient}&status=current&_count=2&_total=accurate",
        f"DocumentReference?patient={patient}&status=current&_total=accurate&_sort=-_lastUpdated",
        f"Observation?patient={patient}&_summary=count",
        f"Observation?subject={patient}&status:not=entered-in-error&_count=1",
        f"Consent?patient={patient}",
        f"AuditEvent?patient={patient}",
        f"Patient?_id={patient.partition('/')[2]}",
        f"DocumentReference/{NEVER}",
        f"Binary/{NEVER}",
        "Practitioner?_count=2",
        # A chain and its reverse, two of them together, an include of each kind, a filter, words, composites.
        f"Observation?patient={patient}&subject:Patient.family=PAT-TROIS&_total=accurate",
        f"Observation?subject:Patient.identifier={INS}&_sort=-code,value-quantity&_count=2",
        f"Patient?_id={patient.partition('/')[2]}&_has:Observation:patient:code:text=hidden",
        f"Encounter?patient={patient}&_has:Observation:encounter:value-quantity=gt1&_has:Observation:encounter:code:text=hidden",
        f"Encounter?patient={patient}&_revinclude=Observation:encounter&_include:iterate=*",
        f"DocumentReference?patient={patient}&status=current&_include=*&_revinclude=Provenance:target&_count=2",
        f"Observation?patient={patient}&_filter=date pr false and value-quantity gt 1",
        f"Observation?patient={patient}&_text=hidden",
        f"DocumentReference?patient={patient}&status=current&_content=lettre&_summary=true",
        f"Observation?patient={patient}&code-value-quantity=urn:t|h$gt1&_elements=code",
        f"?_type=Observation,DocumentReference,Encounter&patient={patient}&_sort=-_lastUpdated&_count=3",
        f"{patient}/Observation?_sort=value-quantity&_total=accurate",
        f"{patient}/*?_summary=count",
        f"{doctor}/DocumentReference?patient={patient}&status=current",
        f"{patient}/$everything?_count=5",
        f"{patient}/$everything?start=2020-01-01",
        f"{patient}/_history",
        "_history?_count=3",
        "Practitioner/_history?_since=2020-01-01",
    ]
    return [_observed(caller.get(url)) for url in urls]


def _observed(answer: Any) -> tuple[int, bytes, list[tuple[str, str]]]:
    headers = [(name, value) for name, value in answer.headers.items() if name not in ("x-request-id", "date")]
    return answer.status_code, answer.content, headers


def act(house: House, kind: str) -> None:
    """Something that neither the doctor nor the pharmacist may see."""
    number = next(_COUNTER)
    if kind == "masked document":
        mask(house, pushed(send(house.lgc, numbered(number), "?visibility=MASQUE_PS").json()))
    elif kind == "masked by label":
        send(house.lgc, numbered(number), "?visibility=MASQUE_PS")
    elif kind == "others' observation":
        house.lgc.post("Observation", {**OBSERVATION, "subject": {"reference": house.cast["child"]}})
    elif kind == "others' patient log":
        house.representative.get(house.cast["child"])
    elif kind == "masked observation":
        hidden = {
            "code": {"coding": [{"system": "urn:t", "code": "h"}], "text": "hidden"},
            "valueQuantity": {"value": 9},
        }
        subject = {"subject": {"reference": house.cast["patient"]}, "encounter": {"reference": met(house)}}
        answer = house.lgc.post("Observation", {**OBSERVATION, **subject, **hidden, "meta": MASKED})
        assert answer.status_code == 201, answer.text
        assert house.lgc.put("Observation/" + answer.json()["id"], answer.json()).status_code == 200
    else:
        document = pushed(send(house.lgc, numbered(number), "?visibility=MASQUE_PS").json())
        house.lgc.delete(document)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=ACTS)
def test_invisible_rows_change_nothing_that_can_be_seen(house: House, acts: list[str]) -> None:
    """Status, body, headers, totals, order and links of a list of requests, before and after."""
    callers = [house.care_team, house.pharmacist]
    met(house)
    before = [observations(house, each) for each in callers]
    for kind in acts:
        act(house, kind)
    after = [observations(house, each) for each in callers]
    assert after == before


def test_the_observations_can_fail(house: House) -> None:
    """What is not hidden does show, in each way of asking for it: the comparison is not blind."""
    met(house)
    before = observations(house, house.care_team)
    assert [status for status, _, _ in before].count(200) == len(before) - 2
    send(house.lgc, numbered(next(_COUNTER)))
    subject = {"subject": {"reference": house.cast["patient"]}, "encounter": {"reference": met(house)}}
    hidden = {"code": {"coding": [{"system": "urn:t", "code": "h"}], "text": "hidden"}, "valueQuantity": {"value": 9}}
    narrative = {"text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">hidden</div>'}}
    made(house.lgc.post("Observation", {**OBSERVATION, **subject, **hidden, **narrative}))
    after = observations(house, house.care_team)
    same = [place for place, (one, other) in enumerate(zip(before, after, strict=True)) if one == other]
    assert len(same) <= 13, same
    assert re.search(rb'"total":\d+', before[1][1])
