"""Transactions in a record: what is hidden is not there, each entry wants its right and has its line in the log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.conftest import House
from tests.interactions.test_access_log import log_of
from tests.interactions.test_transaction_rules import by, done, entry, json_patch, sent
from tests.leaks.test_hidden_is_absent import OBSERVATION
from tests.record.test_import_document import numbered, send
from tests.scenarios.test_the_patient_decides import mask, pushed


def test_l43_a_hidden_document_is_none_for_every_entry(house: House) -> None:
    """L42 L43 L44 in a transaction: the answer is that for an id, or criteria, of nothing."""
    hidden = pushed(send(house.lgc, numbered(921)).json())
    body = house.patient.get(hidden).json()
    mask(house, hidden)
    never = "DocumentReference/00000000-0000-4000-8000-000000000000"
    patient = house.cast["patient"]
    status = json_patch({"op": "test", "path": "/status", "value": "current"})

    def acts(url: str) -> Iterator[dict[str, Any]]:
        id_ = url.partition("/")[2]
        yield entry("DELETE", url)
        yield entry("PATCH", url, status)
        yield entry("PUT", url, {**body, "id": id_}, ifMatch='W/"9"')
        yield entry("DELETE", f"DocumentReference?patient={patient}&_id={id_}")
        yield entry("PATCH", f"DocumentReference?patient={patient}&_id={id_}", status)
        derived = {"derivedFrom": [{"reference": f"DocumentReference?_id={id_}"}]}
        yield entry("POST", "Observation", {**OBSERVATION, "subject": {"reference": patient}, **derived})

    for one, other in zip(acts(hidden), acts(never), strict=True):
        answers = [sent(house.care_team, each) for each in (one, other)]
        assert answers[0].status_code == answers[1].status_code
        assert answers[0].content == answers[1].content


def test_each_entry_wants_its_own_right(house: House) -> None:
    """One entry that the caller may not do, and none is done; the refusal is in the log of the record."""
    subject = {"subject": {"reference": house.cast["patient"]}}
    made = house.medecin_traitant.post("Observation", {**OBSERVATION, **subject})
    url = made.headers["location"].split("/fhir/")[1].partition("/_history")[0]
    patch = json_patch({"op": "replace", "path": "/status", "value": "amended"})
    answer = sent(house.care_team, entry("POST", "Observation", {**OBSERVATION, **subject}), entry("PATCH", url, patch))
    assert answer.status_code == 403
    assert answer.json()["issue"][0]["expression"] == ["Bundle.entry[1]"]
    assert house.medecin_traitant.get(url).headers["etag"] == 'W/"1"'
    read, refused = log_of(house.patient, house.cast["patient"])[:2]
    assert (read["action"], read["outcome"]) == ("R", "0")
    assert (refused["action"], refused["outcome"]) == ("U", "4")


def test_a_deletion_that_finds_nothing_is_in_the_log_of_the_record(house: House) -> None:
    """By itself and in a transaction: the log tells what was aimed at a record."""
    patient = house.cast["patient"]
    before = len(log_of(house.patient, patient))
    url = f"Observation?patient={patient}&{by('nothing')}"
    assert house.medecin_traitant.delete(url).status_code == 204
    done(sent(house.medecin_traitant, entry("DELETE", url)))
    lines = log_of(house.patient, patient)
    # The two deletions, and the first look into the log.
    assert len(lines) == before + 3
