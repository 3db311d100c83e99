"""ITI-65: documents with their submission set in one transaction, all or nothing (domain §4.4)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest

from fhir_server.fhir.definitions import load_definitions
from fhir_server.fhir.xml.read import to_json
from fhir_server.fhir.xml.write import to_xml
from tests.conftest import Caller, House
from tests.interactions.provided import (
    ARCHIVED,
    INS,
    PATIENT,
    binary,
    bundle,
    coded,
    document,
    ending,
    folder,
    nos,
    posted,
    provide,
    sha1,
    submission,
    urn,
)

PDF = b"%PDF-1.4 synthetic\x00\xff\n%%EOF"
XML = "application/fhir+xml"


def send(caller: Caller, sent: dict[str, Any]) -> httpx.Response:
    """POST [base]."""
    return caller.post("", sent)


def links(answer: httpx.Response) -> list[str]:
    """Where each entry is, as "Type/id"."""
    assert answer.status_code == 200, answer.text
    located = [each["response"].get("location", "") for each in answer.json()["entry"]]
    return [each.partition("/fhir/")[2].partition("/_history")[0] for each in located]


def statuses(answer: httpx.Response) -> list[str]:
    """The status of each entry, as a number."""
    return [each["response"]["status"][:3] for each in answer.json()["entry"]]


def told(answer: httpx.Response, index: int) -> list[str]:
    """Where the warnings of an entry are."""
    outcome = answer.json()["entry"][index]["response"].get("outcome", {"issue": []})
    assert all(each["severity"] == "warning" for each in outcome["issue"])
    return [each.get("expression", [""])[0] for each in outcome["issue"]]


def refused(answer: httpx.Response, status: int, *places: str) -> None:
    """Refused with that status, all these places named."""
    assert answer.status_code == status, answer.text
    named = {each.get("expression", [""])[0] for each in answer.json()["issue"]}
    assert set(places) <= named, named


def count(house: House) -> list[int]:
    """How many documents, sets and contents there are for the patient."""
    patient = house.cast["patient"]
    return [
        house.patient.get(f"{type_}?patient={patient}&_summary=count").json()["total"]
        for type_ in ("DocumentReference", "List")
    ]


@pytest.fixture
def patient(house: House) -> str:
    """The subject."""
    return house.cast["patient"]


def test_what_is_provided_is_stored_whole_and_its_bytes_come_back(house: House, patient: str) -> None:
    """DOC-1, DOC-3, DOC-10: entry by entry in the order of the request, links resolved, bytes identical."""
    answer = send(house.lgc, provide(patient, PDF))
    set_, stored, content = links(answer)
    assert statuses(answer) == ["201", "201", "201"]
    assert [told(answer, index) for index in range(3)] == [[], [], []]
    for each in answer.json()["entry"]:
        assert each["response"]["etag"] == 'W/"1"'
        assert each["response"]["lastModified"]
    resource = house.patient.get(stored).json()
    assert resource["content"][0]["attachment"]["url"] == content
    assert house.patient.get(set_).json()["entry"] == [{"item": {"reference": stored}}]
    raw = house.patient.get(content, Accept="application/pdf")
    assert raw.content == PDF
    assert raw.headers["content-type"] == "application/pdf"
    assert raw.headers["content-length"] == str(len(PDF))
    assert raw.headers["etag"] == 'W/"1"'
    assert house.patient.get(content, Accept="application/fhir+json").json()["resourceType"] == "Binary"
    assert b"<Binary xmlns" in house.patient.get(content, Accept=XML).content


def test_it_is_provided_in_xml_too(house: House, patient: str) -> None:
    """DOC-1: the same Bundle in XML, answered in XML."""
    body = to_xml(orjson.dumps(provide(patient, PDF)), load_definitions())
    answer = house.lgc.request("POST", "", content=body, headers={"Content-Type": XML, "Accept": XML})
    assert answer.status_code == 200, answer.text
    said = orjson.loads(to_json(answer.content, load_definitions()))
    assert [each["response"]["status"][:3] for each in said["entry"]] == ["201"] * 3
    content = said["entry"][2]["response"]["location"].partition("/fhir/")[2].partition("/_history")[0]
    assert house.patient.get(content, Accept="*/*").content == PDF


def test_a_subject_is_named_by_its_ins(house: House, patient: str) -> None:
    """PAT-12: the conditional reference becomes the Patient; an INS that finds none is 404 of the whole deposit."""
    by_ins = f"Patient?identifier={INS}|279035121518989"
    stored = links(send(house.lgc, provide(by_ins, PDF)))[1]
    assert house.patient.get(stored).json()["subject"] == {"reference": patient}
    before = count(house)
    answer = send(house.lgc, provide(f"Patient?identifier={INS}|299999999999999", PDF))
    assert answer.status_code == 404
    assert answer.json()["issue"][0]["code"] == "not-found"
    assert count(house) == before


def test_the_patient_of_a_bundle_is_only_named(house: House, patient: str) -> None:
    """§4.2, PAT-8: it stands for the open record of its INS and traits, and makes no patient; other traits are 422."""
    named = {**PATIENT, "birthDate": "1979-03-28", "gender": "female"}
    named.pop("id")
    url = urn()
    sent = provide(url, PDF)
    sent["entry"].append(posted(named, url))
    answer = send(house.lgc, sent)
    assert statuses(answer) == ["201", "201", "201", "200"]
    assert links(answer)[3] == patient
    assert house.patient.get(links(answer)[1]).json()["subject"] == {"reference": patient}
    for wrong in ({"birthDate": "1979-03-29"}, {"identifier": [{"system": "urn:oid:1.2.3", "value": "7"}]}):
        sent = provide(url, PDF)
        sent["entry"].append(posted(named | wrong, url))
        answer = send(house.lgc, sent)
        assert answer.status_code == 422, answer.text
        assert "1979" not in answer.text


@pytest.mark.parametrize(
    ("place", "change"),
    [
        ("attachment.size", {"size": 7}),
        ("attachment.hash", {"hash": sha1(b"other")}),
        ("attachment.url", {"url": "Binary/nosuch"}),
        ("attachment.url", {"url": "https://elsewhere.example/doc.pdf"}),
    ],
)
def test_content_that_is_not_what_it_is_said_to_be_refuses_all(
    house: House, patient: str, place: str, change: dict[str, Any]
) -> None:
    """DOC-1, DOC-3, DOC-9: 422, the entry named, nothing stored."""
    before, sent = count(house), provide(patient, PDF)
    sent["entry"][1]["resource"]["content"][0]["attachment"] |= change
    refused(send(house.lgc, sent), 422, f"Bundle.entry[1].resource.content[0].{place}")
    assert count(house) == before


def test_empty_content_is_refused(house: House, patient: str) -> None:
    """DOC-5."""
    refused(send(house.lgc, provide(patient, b"")), 422, "Bundle.entry[2].resource.data")
    sent = provide(patient, b"")
    del sent["entry"][2]["resource"]["data"]
    refused(send(house.lgc, sent), 422, "Bundle.entry[1].resource.content[0].attachment")


def test_size_and_hash_are_computed_where_they_are_not_said(house: House, patient: str) -> None:
    """DOC-9: with a warning for each in the answer to that entry."""
    sent = provide(patient, PDF)
    for name in ("size", "hash"):
        del sent["entry"][1]["resource"]["content"][0]["attachment"][name]
    answer = send(house.lgc, sent)
    attachment = house.patient.get(links(answer)[1]).json()["content"][0]["attachment"]
    assert (attachment["size"], attachment["hash"]) == (len(PDF), sha1(PDF))
    assert told(answer, 1) == [f"DocumentReference.content[0].attachment.{name}" for name in ("size", "hash")]


def test_all_is_of_one_patient(house: House, patient: str) -> None:
    """DOC-2: a set or a document of somebody else refuses all."""
    before = count(house)
    for index in (0, 1):
        sent = provide(patient, PDF)
        sent["entry"][index]["resource"]["subject"] = {"reference": house.cast["child"]}
        assert send(house.lgc, sent).status_code == 422
    second = document(house.cast["child"], PDF, (url := urn()))
    sent = provide(patient, PDF)
    sent["entry"] += [posted(second), posted(binary(PDF), url)]
    refused(send(house.lgc, sent), 422, "Bundle.entry[3].resource.subject")
    assert count(house) == before


def test_the_same_deposit_again_stores_nothing(house: House, patient: str) -> None:
    """DOC-4: 200 for each entry, at the place of the first; and for the document alone under another set."""
    sent = provide(patient, PDF)
    first = send(house.lgc, sent)
    before = count(house)
    again = send(house.lgc, sent)
    assert links(again) == links(first)
    assert statuses(again) == ["200"] * 3
    assert count(house) == before
    other = copy.deepcopy(sent)
    other["entry"][0]["resource"]["identifier"][0]["value"] = urn()
    answer = send(house.lgc, other)
    assert statuses(answer) == ["201", "200", "200"]
    assert house.patient.get(links(answer)[0]).json()["entry"] == [{"item": {"reference": links(first)[1]}}]


def test_another_document_under_the_same_identifier_is_a_conflict(house: House, patient: str) -> None:
    """DOC-4: other bytes, or other metadata, 409; whoever may not see the first deposits their own (I8)."""
    sent = provide(patient, PDF)
    master = sent["entry"][1]["resource"]["masterIdentifier"]
    assert send(house.lgc, sent).status_code == 200
    titled = copy.deepcopy(sent)
    titled["entry"][1]["resource"]["content"][0]["attachment"]["title"] = "Autre"
    for other in (provide(patient, PDF + b"x", masterIdentifier=master), titled):
        refused(send(house.lgc, other), 409, "Bundle.entry[1].resource.masterIdentifier")
    hidden = send(house.other_doctor, provide(patient, PDF + b"x", masterIdentifier=master))
    assert statuses(hidden) == ["201"] * 3


def test_a_masked_document_sent_again_is_the_same(house: House, patient: str) -> None:
    """DOC-4: what the patient has done to it since is no other document."""
    sent = provide(patient, PDF)
    stored = links(send(house.lgc, sent))[1]
    mask = [
        {"op": "add", "path": "/securityLabel/-", "value": coded(nos("TRE_A07-StatutVisibiliteDocument"), "MASQUE_PS")}
    ]
    patched = house.patient.request(
        "PATCH", stored, content=orjson.dumps(mask), headers={"Content-Type": "application/json-patch+json"}
    )
    assert patched.status_code == 200, patched.text
    assert statuses(send(house.lgc, sent)) == ["200"] * 3


@pytest.mark.parametrize("patched", [True, False])
def test_a_replaced_document_is_superseded_in_the_same_step(house: House, patient: str, patched: bool) -> None:
    """DOC-6: by the PATCH of the Bundle, else by the server with a warning; a second time it is refused."""
    old = links(send(house.lgc, provide(patient, PDF)))[1]
    sent = provide(patient, PDF, relatesTo=[{"code": "replaces", "target": {"reference": old}}])
    if patched:
        sent["entry"].append(ending(old))
    answer = send(house.lgc, sent)
    new = links(answer)[1]
    assert told(answer, 1) == ([] if patched else ["DocumentReference.relatesTo"])
    assert [house.patient.get(each).json()["status"] for each in (old, new)] == ["superseded", "current"]
    assert house.patient.get(old).json()["meta"]["versionId"] == "2"
    assert send(house.lgc, sent).json()["entry"][1]["response"]["status"][:3] == "200", "sent again"
    third = provide(patient, PDF, relatesTo=[{"code": "replaces", "target": {"reference": old}}])
    refused(send(house.lgc, third), 422)


def test_a_patch_that_leaves_the_replaced_document_current_is_refused(house: House, patient: str) -> None:
    """DOC-6: nothing stored."""
    old = links(send(house.lgc, provide(patient, PDF)))[1]
    sent = provide(patient, PDF, relatesTo=[{"code": "replaces", "target": {"reference": old}}])
    archive = [
        {"name": "type", "valueCode": "add"},
        {"name": "path", "valueString": "DocumentReference"},
        {"name": "name", "valueString": "extension"},
        {"name": "value", "part": [{"name": "url", "valueUri": ARCHIVED}, {"name": "value", "valueBoolean": True}]},
    ]
    entry = ending(old)
    entry["resource"]["parameter"][0]["part"] = archive
    sent["entry"].append(entry)
    refused(send(house.lgc, sent), 422, "Bundle.entry[3].resource.status")
    assert house.patient.get(old).json()["meta"]["versionId"] == "1"


def test_a_patch_in_a_bundle_obeys_the_same_list(house: House, patient: str) -> None:
    """DOC-19, DOC-20: 405 for the description, nothing stored."""
    old = links(send(house.lgc, provide(patient, PDF)))[1]
    entry = ending(old)
    entry["resource"]["parameter"][0]["part"][1:] = [
        {"name": "path", "valueString": "DocumentReference.custodian"},
        {"name": "value", "valueReference": {"reference": "Organization/other"}},
    ]
    before, sent = count(house), provide(patient, PDF)
    sent["entry"].append(entry)
    refused(send(house.lgc, sent), 405, "Bundle.entry[3].resource.custodian")
    assert count(house) == before


def test_what_a_document_signs_or_appends_to_is_there(house: House, patient: str) -> None:
    """DOC-7: stored, changes no status; a target that is not there is 422."""
    first = links(send(house.lgc, provide(patient, PDF)))[1]
    related = [{"code": "appends", "target": {"reference": first}}]
    assert statuses(send(house.lgc, provide(patient, PDF, relatesTo=related))) == ["201"] * 3
    assert house.patient.get(first).json()["status"] == "current"
    related = [{"code": "signs", "target": {"reference": "DocumentReference/nosuch"}}]
    refused(
        send(house.lgc, provide(patient, PDF, relatesTo=related)), 422, "Bundle.entry[1].resource.relatesTo[0].target"
    )


def test_a_folder_comes_with_its_documents(house: House, patient: str) -> None:
    """§4.2: a folder List by POST, its set pointing to it."""
    sent = provide(patient, PDF)
    document_url, folder_url = sent["entry"][1]["fullUrl"], urn()
    sent["entry"][0]["resource"]["entry"].append({"item": {"reference": folder_url}})
    sent["entry"].append(posted(folder(patient, document_url), folder_url))
    set_, stored, _, made = links(send(house.lgc, sent))
    assert house.patient.get(made).json()["entry"][0]["item"]["reference"] == stored
    assert [each["item"]["reference"] for each in house.patient.get(set_).json()["entry"]] == [stored, made]


def fhir_document() -> dict[str, Any]:
    """A document in FHIR whose inside is a world of its own."""
    subject = {"reference": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"}
    composition = {
        "resourceType": "Composition",
        "status": "final",
        "type": coded("http://loinc.org", "60591-5"),
        "subject": subject,
        "date": "2026-10-01",
        "author": [{"display": "Laboratoire"}],
        "title": "Synthèse",
    }
    return {
        "resourceType": "Bundle",
        "identifier": {"system": "urn:ietf:rfc:3986", "value": urn()},
        "type": "document",
        "timestamp": "2026-10-01T10:00:00+02:00",
        "entry": [
            {"fullUrl": urn(), "resource": composition},
            {"fullUrl": subject["reference"], "resource": {"resourceType": "Patient", "name": [{"family": "X"}]}},
        ],
    }


def of_fhir(patient: str) -> dict[str, Any]:
    """The Bundle that provides such a document."""
    document_url, bundle_url = urn(), urn()
    reference = document(patient, b"", bundle_url)
    for name in ("size", "hash"):
        del reference["content"][0]["attachment"][name]
    reference["content"][0]["attachment"]["contentType"] = "application/fhir+json"
    return bundle(
        posted(submission(patient, document_url)), posted(reference, document_url), posted(fhir_document(), bundle_url)
    )


def test_a_document_in_fhir_is_read_as_it_was_sent(house: House, patient: str) -> None:
    """DOC-10: GET Bundle/[id]; size and hash stay absent, and a warning is all that they bring (DOC-9)."""
    sent = of_fhir(patient)
    answer = send(house.lgc, sent)
    _, stored, content = links(answer)
    assert house.patient.get(stored).json()["content"][0]["attachment"]["url"] == content
    got = house.patient.get(content).json()
    assert got["entry"] == sent["entry"][2]["resource"]["entry"]
    assert statuses(send(house.lgc, sent)) == ["200"] * 3
    sized = of_fhir(patient)
    sized["entry"][1]["resource"]["content"][0]["attachment"]["size"] = 4096
    assert told(send(house.lgc, sized), 1) == ["DocumentReference.content[0].attachment.size"]


def test_a_document_in_fhir_hides_and_goes_with_its_reference(house: House, patient: str) -> None:
    """DOC-11, DOC-17: masked with it, shown with it, deleted with it, and not changed by itself."""
    _, stored, content = links(send(house.lgc, of_fhir(patient)))
    assert house.care_team.get(content).status_code == 200
    label = coded(nos("TRE_A07-StatutVisibiliteDocument"), "MASQUE_PS")
    kind = {"Content-Type": "application/json-patch+json"}
    for patch, status in (
        ([{"op": "add", "path": "/securityLabel/-", "value": label}], 404),
        ([{"op": "remove", "path": "/securityLabel/1"}], 200),
    ):
        answer = house.lgc.request("PATCH", stored, content=orjson.dumps(patch), headers=kind)
        assert answer.status_code == 200, answer.text
        assert house.care_team.get(content).status_code == status
        assert house.care_team.get(stored).status_code == status
    body = house.lgc.get(content).json()
    assert house.lgc.put(content, body).status_code == 405
    assert house.lgc.delete(content).status_code == 405
    assert house.lgc.delete(stored).status_code == 204
    assert house.patient.get(stored).status_code == 410
    assert house.patient.get(content).status_code == 404


def test_a_document_in_fhir_comes_with_its_reference(house: House, patient: str) -> None:
    """DOC-3: pointing to a Bundle that is there already is refused: it would not be hidden with the document."""
    content = links(send(house.lgc, of_fhir(patient)))[2]
    sent = provide(patient, PDF)
    sent["entry"][1]["resource"]["content"][0]["attachment"]["url"] = content
    refused(send(house.lgc, sent), 422, "Bundle.entry[1].resource.content[0].attachment.url")


Change = Callable[[list[dict[str, Any]]], None]


@pytest.mark.parametrize(
    ("place", "change"),
    [
        ("Bundle.entry", lambda entries: entries.pop(0)),
        ("Bundle.entry", lambda entries: entries.append({**entries[0], "fullUrl": urn()})),
        ("Bundle.entry", lambda entries: entries.pop(1)),
        ("Bundle.entry[3].request", lambda entries: entries.append(posted({"resourceType": "Device"}))),
        (
            "Bundle.entry[3].request",
            lambda entries: entries.append({"request": {"method": "DELETE", "url": "DocumentReference/x"}}),
        ),
    ],
)
def test_a_bundle_that_provides_documents_has_their_shape(
    house: House, patient: str, place: str, change: Change
) -> None:
    """§4.2: one submission set, a document at least, nothing else."""
    sent = provide(patient, PDF)
    change(sent["entry"])
    refused(send(house.lgc, sent), 422, place)


def test_a_deposit_needs_no_right_to_read(house: House) -> None:
    """DOC-25: whoever may not see the record feeds it."""
    patient = house.cast["child"]
    assert statuses(send(house.pharmacist, provide(patient, PDF))) == ["201"] * 3
    named = f"DocumentReference?patient={patient}&status=current"
    assert house.pharmacist.get(named).json()["total"] == 1, "only their own"
