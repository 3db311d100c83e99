"""What an adversary found once, and does not find again."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.demo.family import consent, named
from tests.conftest import Caller, House
from tests.interactions.test_access_log import log_of
from tests.leaks.test_hidden_is_absent import NEVER, OBSERVATION
from tests.record.test_import_document import numbered, send
from tests.scenarios.test_the_patient_decides import mask, pushed


def document(patient: str, **more: Any) -> dict[str, Any]:
    """A small document of one's own."""
    content = [{"attachment": {"contentType": "text/plain", "data": "eA=="}}]
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": patient},
        "content": content,
        **more,
    }


def made(answer: Any) -> str:
    """Where a created resource is."""
    assert answer.status_code == 201, answer.text
    return str(answer.headers["location"].split("/fhir/")[1].partition("/_history")[0])


def lines(house: House, **wanted: str) -> list[dict[str, Any]]:
    """The lines of the patient's log about one resource, or by one agent."""
    query = "".join(f"&{name}={value}" for name, value in wanted.items())
    return log_of(house.patient, house.cast["patient"], query)


def test_a_record_is_not_deleted_by_an_administrator(own_house: House) -> None:
    """405, and everything stays: the record, the documents, the log."""
    patient = own_house.cast["patient"]
    assert own_house.admin.delete(patient).status_code == 405
    assert own_house.patient.get(patient).status_code == 200
    assert log_of(own_house.patient, patient)


def test_a_professionals_search_names_one_patient(house: House) -> None:
    """Two patients, or ids of two records, would be in nobody's log; 400, whether they exist or not."""
    patient = house.cast["patient"]
    for query in (f"patient={patient},Patient/{NEVER}", f"_id={NEVER},x", f"patient={patient},{house.cast['child']}"):
        assert house.care_team.get(f"DocumentReference?{query}").status_code == 400


def test_the_log_says_which_resource_was_written(house: House) -> None:
    """create, update and delete, alone and in a transaction."""
    subject = {"subject": {"reference": house.cast["patient"]}}
    url = made(house.lgc.post("Observation", {**OBSERVATION, **subject}))
    body = house.lgc.get(url).json()
    house.lgc.put(url, body)
    house.lgc.delete(url)
    assert {each["action"] for each in lines(house, entity=url)} == {"C", "R", "U", "D"}
    entry = {"resource": {**OBSERVATION, **subject}, "request": {"method": "POST", "url": "Observation"}}
    answer = house.lgc.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    url = answer.json()["entry"][0]["response"]["location"].split("/fhir/")[1].partition("/_history")[0]
    assert [each["action"] for each in lines(house, entity=url)] == ["C"]


def test_a_refused_transaction_is_in_the_log_of_the_record_it_was_aimed_at(house: House) -> None:
    """As the plain request would be."""
    hidden = pushed(send(house.lgc, numbered(301), "?visibility=MASQUE_PS").json())
    body = house.patient.get(hidden).json()
    entry = {"resource": body, "request": {"method": "PUT", "url": hidden}}
    answer = house.care_team.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    assert answer.status_code == 404
    [line] = list(lines(house, entity=hidden, agent=house.care_team.reference))
    assert line["outcome"] == "4"


def test_a_search_of_ones_record_is_in_the_log_with_its_type(house: House) -> None:
    """BALP PatientQuery: type and query, in valid FHIR."""
    from base64 import b64decode

    house.patient.get("Immunization")
    line = lines(house, agent=house.patient.reference)
    queries = [b64decode(entity["query"]).decode() for each in line for entity in each["entity"] if "query" in entity]
    assert any(each.startswith("Immunization") for each in queries)


@pytest.mark.parametrize("target", ["reference", "identifier"])
def test_a_replacement_takes_over_the_mask_and_ends_the_document(own_house: House, target: str) -> None:
    """By reference or by identifier; and only once."""
    house, patient = own_house, own_house.cast["patient"]
    identifier = {"system": "urn:x", "value": "1"}
    first = made(house.lgc.post("DocumentReference", document(patient, masterIdentifier=identifier)))
    mask(house, first)
    naming = {"reference": {"reference": first}, "identifier": {"identifier": identifier}}[target]
    relates = [{"code": "replaces", "target": naming}]
    second = made(house.lgc.post("DocumentReference", document(patient, relatesTo=relates)))
    assert house.care_team.get(second).status_code == 404
    assert house.patient.get(first).json()["status"] == "superseded"
    assert house.lgc.post("DocumentReference", document(patient, relatesTo=relates)).status_code == 422


def test_an_update_does_not_claim_to_replace_anothers_document(house: House) -> None:
    """A document is not edited into a replacement."""
    others = pushed(send(house.lgc, numbered(302)).json())
    own = house.medecin_traitant.post("DocumentReference", document(house.cast["patient"])).json()
    own["relatesTo"] = [{"code": "replaces", "target": {"reference": others}}]
    assert house.medecin_traitant.put("DocumentReference/" + own["id"], own).status_code >= 400


def test_masked_content_is_not_opened_by_a_second_document(house: House) -> None:
    """Not even by the médecin traitant, who sees it."""
    first = pushed(send(house.lgc, numbered(303)).json())
    content = house.patient.get(first).json()["content"][0]["attachment"]["url"]
    mask(house, first)
    second = document(house.cast["patient"], content=[{"attachment": {"contentType": "text/xml", "url": content}}])
    assert house.medecin_traitant.post("DocumentReference", second).status_code == 422
    assert house.care_team.get(content).status_code == 404


def test_content_that_is_nowhere_is_refused(house: House) -> None:
    """DOC-3: a fullUrl that no entry has."""
    attachment = {"contentType": "text/plain", "url": "urn:uuid:99999999-9999-4999-8999-999999999999"}
    assert (
        house.lgc.post(
            "DocumentReference", document(house.cast["patient"], content=[{"attachment": attachment}])
        ).status_code
        == 422
    )


def test_an_application_reads_content_of_what_is_shared_and_writes_nothing_after_the_end(own_house: House) -> None:
    """A D09 for one category opens the Binary of its documents; ended, a write is refused and nothing is stored."""
    house = own_house
    assert house.app.get(pushed(send(house.lgc, numbered(304)).json())).status_code == 200
    grants = house.patient.get("Consent?_count=50").json()["entry"]
    for each in (entry["resource"] for entry in grants):
        if each["policy"][0]["uri"].endswith("app-share"):
            assert house.patient.put("Consent/" + each["id"], {**each, "status": "inactive"}).status_code == 200
    kind = {"Content-Type": "text/plain"}
    before = len(lines(house, action="C"))
    assert house.app.post("Binary", b"x", **kind).status_code in (403, 404)
    assert house.app.get("Observation").status_code == 403
    assert len(lines(house, action="C")) == before


def test_a_carrier_points_only_to_what_its_writer_sees(house: House) -> None:
    """A Provenance of what is hidden and one of what is nowhere are refused alike."""
    hidden = made(
        house.medecin_traitant.post("Observation", {**OBSERVATION, "subject": {"reference": house.cast["child"]}})
    )
    own = made(house.other_doctor.post("Observation", {**OBSERVATION, "subject": {"reference": house.cast["patient"]}}))
    answers = []
    for target in (hidden, f"Observation/{NEVER}"):
        provenance = {
            "resourceType": "Provenance",
            "target": [{"reference": own}, {"reference": target}],
            "recorded": "2026-01-01T00:00:00Z",
            "agent": [{"who": {"display": "x"}}],
        }
        answers.append(house.other_doctor.post("Provenance", provenance))
    assert answers[0].status_code == answers[1].status_code == 422
    assert answers[0].content == answers[1].content


@pytest.mark.parametrize(
    "query",
    [
        "&birthdate=ge1900,,,,",
        "&birthdate=1979,,,,,,",
        "&birthdate=1979-03-28&_lastUpdated=gt2020",
        "&birthdate=1979-03-28&_tag=x",
    ],
)
def test_a_patient_is_not_looked_for_by_tricks(house: House, query: str) -> None:
    """The identity, whole, and nothing that probes what cannot be read."""
    ins = "urn:oid:1.2.250.1.213.1.4.10|279035121518989"
    assert house.other_doctor.get(f"Patient?identifier={ins}{query}").status_code == 400


def test_primitives_that_have_only_an_extension_make_no_fault(house: House, open_server: Caller) -> None:
    """A value that is absent with a reason is absent."""
    absent = {
        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]
    }
    relates = [{"_code": absent, "target": {"reference": f"DocumentReference/{NEVER}"}}]
    assert house.lgc.post("DocumentReference", document(house.cast["patient"], relatesTo=relates)).status_code < 500
    for request in ({"method": "POST", "_url": absent}, {"_method": absent, "url": "Patient"}):
        bundle = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": request}]}
        assert open_server.post("", bundle).status_code == 400
    binary = {"resourceType": "Binary", "_contentType": absent, "data": "eA=="}
    url = made(open_server.post("Binary", binary))
    assert open_server.get(url, Accept="text/plain").content == b"x"


def test_links_in_the_narrative_of_a_transaction_are_resolved(open_server: Caller) -> None:
    """href of another entry; canonicals are left alone."""
    full_url = "urn:uuid:11111111-1111-4111-8111-111111111111"
    text = {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{full_url}">x</a></div>'}
    extension = [{"url": "http://example.org/x", "valueCanonical": full_url}]
    observation = {**OBSERVATION, "text": text, "extension": extension}
    entries = [
        {"resource": observation, "request": {"method": "POST", "url": "Observation"}},
        {"fullUrl": full_url, "resource": {"resourceType": "Patient"}, "request": {"method": "POST", "url": "Patient"}},
    ]
    answer = open_server.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries}).json()["entry"]
    urls = [each["response"]["location"].split("/fhir/")[1].partition("/_history")[0] for each in answer]
    stored = open_server.get(urls[0]).json()
    assert f'href="{urls[1]}"' in stored["text"]["div"]
    assert stored["extension"][0]["valueCanonical"] == full_url


@pytest.mark.leak("L11")
def test_a_block_holds_in_the_answer_of_a_transaction_too(own_house: House) -> None:
    """L11: no echo to whoever may not read."""
    house = own_house
    rpps = {"identifier": {"system": "https://rpps.esante.gouv.fr", "value": "99900000022"}}
    house.patient.post("Consent", consent(house.cast["patient"], "block", {"type": "deny", "actor": named(rpps)}))
    resource = {**OBSERVATION, "subject": {"reference": house.cast["patient"]}}
    entry = {"resource": resource, "request": {"method": "POST", "url": "Observation"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    answer = house.other_doctor.post("", bundle, Prefer="return=representation")
    assert answer.status_code == 200
    assert "resource" not in answer.json()["entry"][0]


def test_allow_names_the_methods_of_the_target(house: House) -> None:
    """RFC 9110 §10.2.1."""
    assert house.admin.request("GET", "$import-document").headers["allow"] == "POST"
    assert "DELETE" not in house.patient.delete("Consent/x").headers.get("allow", "")
