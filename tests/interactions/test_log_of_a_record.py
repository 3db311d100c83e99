"""$access-log, and the events that other systems write into the log of a record (access §6, record REC-110)."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from fhir_server.app import services
from fhir_server.auth.actor import Actor
from fhir_server.demo.build import Cast
from fhir_server.fhir.definitions import load_definitions
from fhir_server.validation.validator import Validator
from tests.conftest import Caller, House, open_house
from tests.interactions.test_access_log import log_of

TRE_A07 = "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"
FEED = Actor(
    "lgc", "Device/feed", "Archive", "", frozenset({"client:feed"}), client="feed", scopes=("system/AuditEvent.c",)
)


def guests(cast: Cast) -> Mapping[str, Actor]:
    """A registered feed, and software that is none."""
    return {"feed": FEED, "other_software": replace(FEED, client="x", scopes=("system/Observation.c",))}


@pytest.fixture(scope="module")
def log_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house with a feed."""
    yield from open_house(tmp_path_factory.mktemp("log"), guests)


def told(caller: Caller, patient: str, query: str = "") -> list[dict[str, Any]]:
    """Every event of $access-log, page after page."""
    url: str | None = f"{patient}/$access-log?_count=3{query}"
    found: list[dict[str, Any]] = []
    while url:
        answer = caller.get(url)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert page["type"] == "searchset"
        found += [each["resource"] for each in page.get("entry", ())]
        url = next((each["url"] for each in page["link"] if each["relation"] == "next"), None)
    return found


def data_of(event: dict[str, Any]) -> dict[str, Any]:
    """The entity that is what the interaction was about."""
    return next((each for each in event["entity"] if each.get("role", {}).get("code") == "4"), {})


def document(house: House, title: str, *codes: str) -> dict[str, Any]:
    """A report, labelled so."""
    labels = [{"coding": [{"system": TRE_A07, "code": code}]} for code in codes]
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "type": {"coding": [{"system": "http://loinc.org", "code": "11488-4"}]},
        "category": [{"coding": [{"system": "https://mos.esante.gouv.fr/NOS/TRE_A03-ClasseDocument", "code": "10"}]}],
        "subject": {"reference": house.cast["patient"]},
        "description": title,
        "content": [{"attachment": {"contentType": "text/plain", "data": "YQ==", "title": title}}],
        **({"securityLabel": labels} if labels else {}),
    }


def pushed(house: House, title: str, *codes: str) -> str:
    """The id of a document that the other doctor has deposited."""
    answer = house.other_doctor.post("DocumentReference", document(house, title, *codes))
    assert answer.status_code == 201, answer.text
    return answer.headers["location"].split("/fhir/")[1].partition("/_history")[0]


def test_the_patient_is_told_who_when_what_how_and_with_what_software(log_house: House) -> None:
    """Name, profession and structure; the action; the mode; the title of the document."""
    link = pushed(log_house, "Compte rendu de consultation")
    log_house.medecin_traitant.get(link)
    events = told(log_house.patient, log_house.cast["patient"])
    validator = Validator(load_definitions())
    assert all(validator.validate(each, expect_type="AuditEvent") == [] for each in events)
    read = next(each for each in events if data_of(each).get("what", {}).get("reference", "").startswith(link))
    user = next(each for each in read["agent"] if each["requestor"])
    assert user["who"]["reference"] == log_house.medecin_traitant.reference
    assert user["name"]
    assert user["role"][0]["coding"][0] == {
        "system": "https://mos.esante.gouv.fr/NOS/TRE_G15-ProfessionSante/FHIR/TRE-G15-ProfessionSante",
        "code": "10",
        "display": "Médecin",
    }
    assert any(agent["type"]["coding"][0]["code"] == "PROV" and agent["who"]["display"] for agent in read["agent"])
    assert (read["action"], read["outcome"]) == ("R", "0")
    assert read["recorded"]
    assert data_of(read)["name"] == "Compte rendu de consultation"


def test_it_is_one_event_an_interaction_newest_first_in_pages(log_house: House) -> None:
    """What a search of AuditEvent gives, without the decisions that stand beside an interaction there."""
    for caller in (log_house.medecin_traitant, log_house.other_doctor, log_house.nurse):
        caller.get(log_house.cast["patient"])
    day = "&date=lt2099-01-01"
    both = [each["id"] for each in log_of(log_house.patient, log_house.cast["patient"], day)]
    events = told(log_house.patient, log_house.cast["patient"])
    mine = [each["id"] for each in events]
    assert [each for each in mine if each in both] == [each for each in both if not each.endswith("-authz")]
    assert [each["recorded"] for each in events] == sorted((each["recorded"] for each in events), reverse=True)
    assert len(set(mine)) == len(mine)


def test_a_page_never_has_more_than_was_asked_for(log_house: House) -> None:
    """A refusal makes two events in a search; the pages still concatenate to the whole (I7)."""
    log_house.app.get(f"Condition?patient={log_house.cast['patient']}")
    log_house.app.post("Condition", {"resourceType": "Condition", "subject": {"reference": log_house.cast["patient"]}})
    patient = log_house.cast["patient"]
    until = log_of(log_house.patient, patient)[0]["recorded"]
    whole = [each["id"] for each in log_of(log_house.patient, patient, f"&date=le{until}")]
    url: str | None = f"AuditEvent?patient={patient}&_count=1&date=le{until}"
    found = []
    while url:
        page = log_house.patient.get(url).json()
        assert len(page.get("entry", ())) <= 1
        found += [each["resource"]["id"] for each in page.get("entry", ())]
        url = next((each["url"] for each in page["link"] if each["relation"] == "next"), None)
    assert found == whole
    assert any(each.endswith("-authz") for each in found)


def test_from_and_to_are_both_included_and_days_are_those_of_paris(log_house: House) -> None:
    """By date, by instant, in the url or in posted Parameters; nonsense is named."""
    patient = log_house.cast["patient"]
    newest = told(log_house.patient, patient)[0]["recorded"]
    assert told(log_house.patient, patient, f"&from={newest[:10]}&to={newest[:10]}")
    assert told(log_house.patient, patient, "&to=2020-01-01") == []
    assert told(log_house.patient, patient, "&from=2099-01-01") == []
    assert [each["recorded"] for each in told(log_house.patient, patient, f"&from={newest}&to={newest}")] == [newest]
    posted = {"resourceType": "Parameters", "parameter": [{"name": "to", "valueDate": "2020-01-01"}]}
    assert "entry" not in log_house.patient.post(f"{patient}/$access-log", posted).json()
    for query, name in (("from=yesterday", "from"), ("to=x", "to"), ("_count=0", "_count"), ("since=2020", "since")):
        answer = log_house.patient.get(f"{patient}/$access-log?{query}")
        assert answer.status_code == 400
        assert answer.json()["issue"][0]["expression"] == [name]


@pytest.mark.parametrize("caller", ["medecin_traitant", "other_doctor", "nurse", "lgc", "admin"])
def test_professionals_read_no_log(log_house: House, caller: str) -> None:
    """L72: empty, for a record that is there as for one that is not."""
    one, other = (
        log_house.callers[caller].get(f"{patient}/$access-log") for patient in (log_house.cast["patient"], "Patient/no")
    )
    assert one.status_code == other.status_code
    assert "entry" not in one.json()
    assert "entry" not in other.json()


def test_a_page_link_of_another_opens_nothing(log_house: House) -> None:
    """L20: bound to caller and question."""
    page = log_house.patient.get(f"{log_house.cast['patient']}/$access-log?_count=1").json()
    [link] = [each["url"] for each in page["link"] if each["relation"] == "next"]
    assert log_house.patient.get(link).status_code == 200
    assert log_house.medecin_traitant.get(link).status_code == 400
    assert log_house.patient.get(link.replace("_count=1", "_count=2")).status_code == 400


def test_a_document_not_yet_announced_shows_as_a_document(log_house: House) -> None:
    """L72, REC-114: no id, no type, no title, in $access-log, in a search, in a read of the event."""
    link = pushed(log_house, "Résultat grave", "INVISIBLE_PATIENT")
    log_house.other_doctor.get(link)
    patient = log_house.cast["patient"]
    for events in (told(log_house.patient, patient), log_of(log_house.patient, patient)):
        assert link.partition("/")[2] not in str(events)
        assert "Résultat grave" not in str(events)
        withheld = [each for each in events if data_of(each).get("what") == {"display": "document"}]
        assert len(withheld) >= 2
        one = log_house.patient.get(f"AuditEvent/{withheld[0]['id']}").json()
        assert link.partition("/")[2] not in str(one)


# Events of other systems


def event(patient: str, **more: Any) -> dict[str, Any]:
    """What an archive says of an access of its own."""
    return {
        "resourceType": "AuditEvent",
        "type": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "110103"},
        "action": "R",
        "recorded": "2026-01-10T09:00:00+01:00",
        "outcome": "0",
        "agent": [{"who": {"display": "Dr Ailleurs"}, "requestor": True}],
        "source": {"observer": {"display": "Archive"}},
        "entity": [{"what": {"reference": patient}}],
        **more,
    }


def test_a_registered_feed_writes_into_the_log_marked_as_not_ours(log_house: House) -> None:
    """One line of its own: as sent, under an id of this server, tagged external, with who sent it."""
    patient = log_house.cast["patient"]
    answer = log_house.feed.post("AuditEvent", event(patient))
    assert answer.status_code == 201, answer.text
    line = log_house.patient.get(answer.headers["location"]).json()
    assert {name: line[name] for name in event(patient)} == event(patient)
    assert line["meta"]["tag"][0]["code"] == "external"
    assert line["meta"]["source"].endswith("/client/feed")
    of_feed = [each for each in told(log_house.patient, patient) if "Dr Ailleurs" in str(each)]
    assert [each["id"] for each in of_feed] == [line["id"]]
    assert Validator(load_definitions()).validate(line, expect_type="AuditEvent") == []


@pytest.mark.parametrize("caller", ["patient", "medecin_traitant", "admin", "lgc", "other_software", "app"])
def test_who_is_no_feed_writes_nothing_into_the_log(log_house: House, caller: str) -> None:
    """403: the scope `system/AuditEvent.c` has to be given, no role has it by itself."""
    answer = log_house.callers[caller].post("AuditEvent", event(log_house.cast["patient"]))
    assert answer.status_code == 403


def test_a_feed_is_not_believed_blindly(log_house: House) -> None:
    """Valid R4, about one patient who is known, of a reasonable size."""
    patient = log_house.cast["patient"]
    for wrong, status in (
        ({**event(patient), "action": "Z"}, 400),
        (event("Patient/nobody"), 422),
        (event(patient, entity=[{"what": {"reference": each}} for each in (patient, "Patient/other")]), 422),
        (event(patient, outcomeDesc="x" * 70_000), 413),
    ):
        assert log_house.feed.post("AuditEvent", wrong).status_code == status
    assert log_house.feed.get(f"AuditEvent?patient={patient}").status_code in (200, 403)


def test_an_event_about_what_the_patient_is_not_to_know_yet_says_nothing_of_it(log_house: House) -> None:
    """Whatever the other system has put into it."""
    link = pushed(log_house, "Annonce", "INVISIBLE_PATIENT")
    patient = log_house.cast["patient"]
    sent = event(
        patient,
        entity=[{"what": {"reference": patient}}, {"what": {"reference": link}, "name": "Annonce"}],
        text={"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Annonce</div>'},
    )
    answer = log_house.feed.post("AuditEvent", sent)
    assert answer.status_code == 201, answer.text
    line = log_house.patient.get(answer.headers["location"]).json()
    assert "Annonce" not in str(line)
    assert link.partition("/")[2] not in str(line)
    assert line["entity"] == [{"what": {"display": "document"}}]
    assert Validator(load_definitions()).validate(line, expect_type="AuditEvent") == []


# What the log keeps for nobody's eyes


def test_what_left_in_an_answer_is_kept_and_never_shown(log_house: House, tmp_path: Path) -> None:
    """Access §6: the ids that a search returned are in the line itself, as places in the store; no event tells them."""
    patient = log_house.cast["patient"]
    found = log_house.patient.get(f"DocumentReference?patient={patient}").json()
    with sqlite3.connect(log_house.settings.store.removeprefix("sqlite:")) as file:
        rows = [orjson.loads(body) for (body,) in file.execute("SELECT body FROM audit ORDER BY seq DESC LIMIT 1")]
        [row] = rows
        places = ",".join(map(str, row["returned"]))
        ids = {key.partition("/")[2] for (key,) in file.execute(f"SELECT key FROM resource WHERE rid IN ({places})")}
    file.close()
    assert ids == {each["resource"]["id"] for each in found["entry"]}
    assert "returned" not in str(log_of(log_house.patient, patient))


def test_a_log_with_feeds_in_it_is_whole(log_house: House) -> None:
    """They are rows of the chain like all others."""
    from fhir_server.consent.audit_chain import verify

    async def walk() -> bool:
        async with services(log_house.settings) as parts:
            return (await verify(parts.store.system())).intact

    assert asyncio.run(walk())


def test_l72_a_hidden_document_and_an_absent_one_are_refused_by_the_same_work(log_house: House) -> None:
    """L72: the same bytes, one line each; only whose log the line stands in differs, which who asks never sees."""
    link = pushed(log_house, "Caché", "MASQUE_PS")
    absent = "DocumentReference/00000000-0000-4000-8000-000000000000"
    answers, rows = [], []
    for asked in (link, absent):
        answers.append(log_house.nurse.get(asked))
        with sqlite3.connect(log_house.settings.store.removeprefix("sqlite:")) as file:
            rows.append(file.execute("SELECT seq, cid, body FROM audit ORDER BY seq DESC LIMIT 1").fetchone())
        file.close()
    hidden, missing = answers
    assert hidden.status_code == missing.status_code == 404
    assert hidden.content == missing.content
    same = [{**each.headers, "x-request-id": "", "date": ""} for each in answers]
    assert same[0] == same[1]
    (one, whose, line), (other, nobodys, bare) = rows
    assert (other - one, nobodys) == (1, 0)
    assert whose != 0
    told_of, told = orjson.loads(line), orjson.loads(bare)
    assert told_of["outcome"] == told["outcome"] == "not-found"
    assert set(told_of) - set(told) <= {"patient", "vis", "release_at"}
