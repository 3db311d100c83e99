"""I8: what a caller may not see changes nothing that the caller can observe."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Caller, House
from tests.leaks.test_hidden_is_absent import NEVER, OBSERVATION
from tests.record.test_import_document import numbered, send
from tests.scenarios.test_the_patient_decides import mask, pushed

ACTS = st.lists(
    st.sampled_from(["masked document", "masked by label", "others' observation", "others' patient log", "deleted"]),
    min_size=1,
    max_size=4,
)
_COUNTER = iter(range(1000, 100_000))


def observations(house: House, caller: Caller) -> list[tuple[int, bytes, list[tuple[str, str]]]]:
    """Everything the caller can ask that hidden rows could show in."""
    patient = house.cast["patient"]
    urls = [
        f"DocumentReference?patient={patient}&_count=2",
        f"DocumentReference?patient={patient}&_total=accurate&_sort=-_lastUpdated",
        f"Observation?patient={patient}&_summary=count",
        f"Observation?subject={patient}&status:not=entered-in-error&_count=1",
        f"Consent?patient={patient}",
        f"AuditEvent?patient={patient}",
        f"Patient?_id={patient.partition('/')[2]}",
        f"DocumentReference/{NEVER}",
        f"Binary/{NEVER}",
        "Practitioner?_count=2",
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
    else:
        document = pushed(send(house.lgc, numbered(number), "?visibility=MASQUE_PS").json())
        house.lgc.delete(document)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=ACTS)
def test_invisible_rows_change_nothing_that_can_be_seen(house: House, acts: list[str]) -> None:
    """Status, body, headers, totals, order and links of a list of requests, before and after."""
    callers = [house.care_team, house.pharmacist]
    before = [observations(house, each) for each in callers]
    for kind in acts:
        act(house, kind)
    after = [observations(house, each) for each in callers]
    assert after == before


def test_the_observations_can_fail(house: House) -> None:
    """A document that is not hidden does show: the comparison is not blind."""
    before = observations(house, house.care_team)
    send(house.lgc, numbered(next(_COUNTER)))
    assert observations(house, house.care_team) != before
    assert re.search(rb'"total":\d+', before[1][1])
