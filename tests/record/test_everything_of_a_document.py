"""All that a document becomes is in the record with it, hidden with it, replaced with it, withdrawn with it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from fhir_server.app import services
from fhir_server.auth.tokens import issue
from fhir_server.demo.build import actors
from tests.conftest import Caller, House
from tests.record.cda_versions import document, found, push, stored, values
from tests.scenarios.test_the_patient_decides import mask

LABELS = "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"
DEGREES = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
TYPES = ("Observation", "Composition", "Provenance")


def of(house: House, caller: Caller, reference: str) -> dict[str, list[dict[str, Any]]]:
    """What a caller sees of what a document became, by type."""
    source = house.patient.get(reference).json()["masterIdentifier"]["value"]
    return from_source(house, caller, source)


def from_source(house: House, caller: Caller, source: str) -> dict[str, list[dict[str, Any]]]:
    """The same by the name of the document, which the caller need not see."""
    seen = [each for each in record(house, caller) if each["meta"].get("source") == source]
    return {type_: [each for each in seen if each["resourceType"] == type_] for type_ in TYPES}


def record(house: House, caller: Caller) -> list[dict[str, Any]]:
    """What $everything gives."""
    answer = caller.get(f"{house.cast['patient']}/$everything?_count=500").json()
    return [each["resource"] for each in answer.get("entry", ())]


def counts(house: House, caller: Caller, reference: str) -> list[int]:
    """How many of each type."""
    return [len(each) for each in of(house, caller, reference).values()]


def labelled(caller: Caller, reference: str, *labels: str) -> int:
    """Set the labels of a document by PATCH; the status."""
    value = [{"coding": [{"system": DEGREES, "code": "N"}]}]
    value += [{"coding": [{"system": LABELS, "code": each}]} for each in labels]
    patch = [{"op": "add", "path": "/securityLabel", "value": value}]
    headers = {"Content-Type": "application/json-patch+json"}
    return caller.request("PATCH", reference, json=patch, headers=headers).status_code


def everything(house: House, caller: Caller) -> set[str]:
    """What $everything gives, as "Type/id"."""
    return {f"{each['resourceType']}/{each['id']}" for each in record(house, caller)}


def test_a_document_is_in_the_record_with_all_it_says(house: House) -> None:
    """Observations with their exact values, the section tree, who says so: all pointing to each other by id."""
    reference = stored(house.lgc, document(10_001, {"718-7": "1.50", "2951-2": "140"}))
    seen = of(house, house.patient, reference)
    assert values(seen["Observation"]) == {"718-7": "1.5", "2951-2": "140"}
    assert b'"value":1.50' in house.patient.get(f"Observation/{seen['Observation'][0]['id']}").content
    [composition] = seen["Composition"]
    links = {each["reference"] for each in composition["section"][0]["entry"]}
    assert links == {f"Observation/{each['id']}" for each in seen["Observation"]}
    targets = {each["reference"] for one in seen["Provenance"] for each in one["target"]}
    assert {reference, f"Composition/{composition['id']}"} <= targets
    assert {f"{each}/_history/1" for each in links} <= targets
    for one in seen["Provenance"]:
        assert one["entity"] == [{"role": "source", "what": {"reference": reference}}]
    assert all("urn:uuid" not in str(each) for several in seen.values() for each in several)


def test_it_is_one_commit_and_one_line_of_the_access_log(own_house: House) -> None:
    """All is in the record at the same moment; the patient reads one line for one push."""
    house = own_house
    reference = stored(house.lgc, document(10_002, {"718-7": "1.5"}))
    resources = [each for several in of(house, house.patient, reference).values() for each in several]
    resources.append(house.patient.get(reference).json())
    assert len({each["meta"]["lastUpdated"] for each in resources}) == 1
    log = house.patient.get(f"{house.cast['patient']}/$access-log?_count=100").json()["entry"]
    lines = [each["resource"] for each in log]
    about = [each for each in lines if any(reference in str(entity) for entity in each.get("entity", ()))]
    pushes = [each for each in about if "import" in str(each) or each.get("action") in ("C", "E")]
    assert len(pushes) == 1
    assert not any("Observation/" in str(each.get("entity", ())) for each in lines if each not in about)


def test_numbers_ids_and_links_survive_a_search(house: House) -> None:
    """What the entries became is found by what they say, as if a client had written it."""
    reference = stored(house.lgc, document(10_003, {"2345-7": "0.95"}))
    patient = house.cast["patient"]
    hits = found(house.care_team, "Observation", patient, "&code=2345-7&value-quantity=gt0.9")
    assert [each["meta"]["source"] for each in hits] == ["urn:oid:2.25.10003"]
    url = f"Observation?code=2345-7&patient={patient}&_revinclude=Provenance:target"
    answer = house.patient.get(url).json()
    assert "Provenance" in {each["resource"]["resourceType"] for each in answer["entry"]}
    assert house.patient.get(reference).status_code == 200


@pytest.mark.parametrize("how", ["directive", "label"])
def test_masking_a_document_masks_all_it_says_and_unmasking_shows_it_again(house: House, how: str) -> None:
    """To a professional nothing is left: read, search, $everything. The patient sees all of it all the time."""
    number = 10_010 if how == "directive" else 10_011
    reference = stored(house.lgc, document(number, {"718-7": "1.5", "2951-2": "140"}))
    links = [f"{type_}/{each['id']}" for type_, some in of(house, house.patient, reference).items() for each in some]
    assert counts(house, house.care_team, reference) == [2, 1, 2]
    assert set(links) <= everything(house, house.care_team)

    consent = ""
    if how == "directive":
        consent = mask(house, reference)
    else:
        assert labelled(house.patient, reference, "MASQUE_PS") == 200
    assert counts(house, house.care_team, reference) == [0, 0, 0]
    assert {house.care_team.get(each).status_code for each in links} == {404}
    assert everything(house, house.care_team).isdisjoint(links)
    assert counts(house, house.patient, reference) == [2, 1, 2]
    assert counts(house, house.medecin_traitant, reference) == [2, 1, 2]

    if how == "directive":
        ended = house.patient.get(consent).json() | {"status": "inactive"}
        assert house.patient.put(consent, ended).status_code == 200
    else:
        security = of(house, house.patient, reference)["Observation"][0]["meta"]["security"]
        assert "MASQUE_PS" in {each["code"] for each in security}
        assert labelled(house.patient, reference) == 200
        security = of(house, house.patient, reference)["Observation"][0]["meta"].get("security", [])
        assert "MASQUE_PS" not in {each["code"] for each in security}
    assert counts(house, house.care_team, reference) == [2, 1, 2]
    assert set(links) <= everything(house, house.care_team)


def test_what_is_announced_first_is_hidden_from_the_patient_with_its_document(house: House) -> None:
    """INVISIBLE_PATIENT of the envelope: no result reaches the patient before it is announced, then all do."""
    reference = stored(house.lgc, document(10_020, {"718-7": "0.7"}), "?visibility=INVISIBLE_PATIENT")
    source = "urn:oid:2.25.10020"

    def seen(caller: Caller) -> list[int]:
        return [len(each) for each in from_source(house, caller, source).values()]

    assert house.patient.get(reference).status_code == 404
    assert seen(house.patient) == [0, 0, 0]
    assert seen(house.care_team) == [1, 1, 2]
    assert labelled(house.lgc, reference) == 200
    assert seen(house.patient) == [1, 1, 2]


def test_content_of_an_entry_is_seen_and_masked_with_the_document(house: House) -> None:
    """A picture in a report is a Binary of its own, which the document holds."""
    reference = stored(house.lgc, document(10_030, {"718-7": "1.5"}, picture=True))
    [composition] = of(house, house.care_team, reference)["Composition"]
    [picture] = [each["reference"] for each in composition["section"][0]["entry"] if "Binary" in each["reference"]]
    assert picture in composition["section"][0]["text"]["div"]
    read = house.care_team.get(picture, Accept="image/png")
    assert (read.status_code, read.content[:4]) == (200, b"\x89PNG")
    assert labelled(house.patient, reference, "MASQUE_PS") == 200
    assert house.care_team.get(picture, Accept="image/png").status_code == 404
    assert house.patient.get(picture, Accept="image/png").status_code == 200


@pytest.mark.parametrize("how", ["delete", "entered-in-error"])
def test_withdrawing_a_document_withdraws_all_it_says(house: House, how: str) -> None:
    """DELETE and entered-in-error (DOC-17): nothing of it is found any more, by anybody."""
    reference = stored(house.lgc, document(10_040 + len(how), {"718-7": "1.5", "2951-2": "140"}))
    links = [f"{type_}/{each['id']}" for type_, some in of(house, house.patient, reference).items() for each in some]
    if how == "delete":
        assert house.lgc.delete(reference).status_code == 204
    else:
        patch = [{"op": "replace", "path": "/status", "value": "entered-in-error"}]
        headers = {"Content-Type": "application/json-patch+json"}
        assert house.lgc.request("PATCH", reference, json=patch, headers=headers).status_code == 200
    gone = {each: house.patient.get(each).status_code for each in links}
    assert {status for each, status in gone.items() if each.startswith("Observation/")} == {410}
    assert set(gone.values()) <= {404, 410}
    assert everything(house, house.patient).isdisjoint(links)
    again = stored(house.lgc, document(10_040 + len(how), {"718-7": "1.5", "2951-2": "140"}))
    assert again != reference
    assert counts(house, house.patient, again) == [2, 1, 2]


def test_a_new_version_updates_what_is_still_said_and_takes_back_what_is_not(house: House) -> None:
    """The same entry keeps its id; the old document keeps its Composition, without entries, and its Provenance."""
    first = stored(house.lgc, document(10_051, {"718-7": "1.5", "2951-2": "140"}, set_id=1005, version=1))
    before = {each["code"]["coding"][0]["code"]: each["id"] for each in of(house, house.patient, first)["Observation"]}
    answer = push(house.lgc, document(10_052, {"718-7": "1.6", "2823-3": "4.1"}, set_id=1005, version=2))
    assert answer.status_code == 201, answer.text
    second = next(
        part["valueReference"]["reference"]
        for each in answer.json()["parameter"]
        if each["name"] == "document"
        for part in each["part"]
        if part["name"] == "reference"
    )
    seen = of(house, house.patient, second)
    after = {each["code"]["coding"][0]["code"]: each["id"] for each in seen["Observation"]}
    assert values(seen["Observation"]) == {"718-7": "1.6", "2823-3": "4.1"}
    assert after["718-7"] == before["718-7"]
    assert house.patient.get(f"Observation/{after['718-7']}").json()["meta"]["versionId"] == "2"
    assert house.patient.get(f"Observation/{before['2951-2']}").status_code == 410
    assert house.patient.get(f"Observation/{before['2951-2']}/_history/1").status_code == 200
    old = of(house, house.patient, first)
    assert [len(each) for each in old.values()] == [0, 1, 1]
    assert "entry" not in old["Composition"][0]["section"][0]
    assert counts(house, house.care_team, first) == [0, 1, 1]
    # And back: what had gone comes again under its id.
    third = stored(house.lgc, document(10_053, {"2951-2": "138"}, set_id=1005, version=3))
    [back] = of(house, house.patient, third)["Observation"]
    assert (back["id"], back["meta"]["versionId"]) == (before["2951-2"], "3")


def test_a_new_version_of_a_masked_document_is_masked_with_all_it_says(house: House) -> None:
    """No push unmasks (DOC-8), neither the document nor an entry of it."""
    first = stored(house.lgc, document(10_061, {"718-7": "1.5"}, set_id=1006, version=1))
    assert labelled(house.patient, first, "MASQUE_PS") == 200
    second = stored(house.lgc, document(10_062, {"718-7": "1.6", "2823-3": "4"}, set_id=1006, version=2))
    assert counts(house, house.care_team, second) == [0, 0, 0]
    assert counts(house, house.patient, second) == [2, 1, 2]
    assert labelled(house.patient, second) == 200
    assert counts(house, house.care_team, second) == [2, 1, 2]
    assert counts(house, house.care_team, first) == [0, 0, 0]


def test_what_was_edited_since_is_left_alone_and_still_masked(house: House) -> None:
    """The version that somebody made of an entry outlives the document's next one; the mask covers it all the same."""
    first = stored(house.lgc, document(10_071, {"718-7": "1.5", "2951-2": "140"}, set_id=1007, version=1))
    seen = of(house, house.patient, first)["Observation"]
    edited = next(each for each in seen if each["code"]["coding"][0]["code"] == "718-7")
    del edited["meta"]
    edited["valueQuantity"]["value"] = 9
    assert house.lgc.put(f"Observation/{edited['id']}", edited).status_code == 200
    answer = push(house.lgc, document(10_072, {"718-7": "1.6"}, set_id=1007, version=2))
    assert answer.status_code == 201
    assert "edited-since" in answer.text
    now = house.patient.get(f"Observation/{edited['id']}").json()
    assert now["valueQuantity"]["value"] == 9
    second = next(
        each["id"]
        for each in found(house.patient, "DocumentReference", house.cast["patient"])
        if each["masterIdentifier"]["value"] == "urn:oid:2.25.10072"
    )
    assert labelled(house.patient, f"DocumentReference/{second}", "MASQUE_PS") == 200
    assert house.care_team.get(f"Observation/{edited['id']}").status_code == 404
    assert labelled(house.patient, f"DocumentReference/{second}") == 200
    assert house.care_team.get(f"Observation/{edited['id']}").status_code == 200


def test_a_document_that_an_ordinary_client_replaces_takes_its_entries_with_it(house: House) -> None:
    """The hook is the document's, not the importer's: a PDF in its place leaves no result of the old version."""
    first = stored(house.lgc, document(10_081, {"718-7": "1.5"}))
    old = house.patient.get(first).json()
    links = [f"Observation/{each['id']}" for each in of(house, house.patient, first)["Observation"]]
    content = [{"attachment": {"contentType": "text/plain", "data": "UmVtcGxhY8Op"}}]
    new = {name: old[name] for name in ("resourceType", "type", "subject")}
    new |= {
        "status": "current",
        "content": content,
        "relatesTo": [{"code": "replaces", "target": {"reference": first}}],
    }
    new |= {"masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": "urn:oid:2.25.10082"}}
    answer = house.lgc.post("DocumentReference", new)
    assert answer.status_code == 201, answer.text
    assert house.patient.get(first).json()["status"] == "superseded"
    assert {house.patient.get(each).status_code for each in links} == {410}


def test_two_documents_of_different_types_in_one_set_are_no_versions_of_each_other(house: House) -> None:
    """Both are current, with what each says; the second is told."""
    first = stored(house.lgc, document(10_091, {"718-7": "1.5"}, set_id=1009, version=1))
    answer = push(house.lgc, document(10_092, {"718-7": "1.6"}, set_id=1009, version=1, kind="11488-4"))
    assert answer.status_code == 201, answer.text
    assert "set-shared" in answer.text
    assert house.patient.get(first).json()["status"] == "current"
    assert counts(house, house.patient, first) == [1, 1, 2]


def test_a_token_must_cover_every_type_that_a_document_becomes(house: House) -> None:
    """DocumentReference and Binary are not enough for a document with results."""
    scopes = ("system/DocumentReference.c", "system/Binary.c", "system/Provenance.c")
    actor = replace(actors(house.cast)["lgc"], scopes=scopes)

    async def token() -> str:
        async with services(house.settings) as parts:
            return await issue(parts.store.ledger, actor, ttl=3_600_000_000, now=parts.clock())

    caller = Caller(house.lgc.http, asyncio.run(token()), actor.reference)
    assert push(caller, document(10_101)).status_code == 201
    assert push(caller, document(10_102, {"718-7": "1.5"})).status_code == 403
