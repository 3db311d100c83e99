"""Archives, registry requests and PDF at the door of $import-document, and $xdm, which makes archives again."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest

from importers.export.ebrim import provide_and_register
from importers.export.entries import submission
from importers.export.xdm import archive
from importers.metadata import (
    APPROVED,
    ARCHIVED,
    DELETED,
    DEPRECATED,
    Association,
    Code,
    DocumentEntry,
    Identifier,
    Registry,
    SubmissionSet,
)
from importers.submission import open_submission
from tests.conftest import House
from tests.record.cda_versions import document, found, push

INS = Identifier("279035121518989", "1.2.250.1.213.1.4.10", "NH")
INFO = (
    "PID-3|279035121518989^^^&1.2.250.1.213.1.4.10&ISO^NH",
    "PID-5|PAT-TROIS^DOMINIQUE^DOMINIQUE MARIE-LOUISE^^^^L",
    "PID-7|19790328",
    "PID-8|F",
)
PDF = b"%PDF-1.4 ordonnance"
LOINC = "2.16.840.1.113883.6.1"
SET = SubmissionSet("urn:uuid:5e0c3f6e-54b2-4b8e-8ff2-0123456789ab", "2.25.5000", "2.25.5001", INS, status=APPROVED)


def entry(number: int, mime_type: str = "application/pdf", **more: Any) -> DocumentEntry:
    """The metadata of a document `2.25.<number>`."""
    made = DocumentEntry(
        id=f"urn:uuid:00000000-0000-4000-9000-{number:012d}",
        mime_type=mime_type,
        status=APPROVED,
        unique_id=f"2.25.{number}",
        patient_id=INS,
        source_patient_info=INFO,
        type_code=Code("57833-6", LOINC, "Ordonnance"),
        title="Ordonnance",
        confidentiality=(Code("N", "2.16.840.1.113883.5.25"),),
    )
    return replace(made, **more)


def xdm(entries: Sequence[DocumentEntry], documents: Sequence[bytes], *more: Association) -> bytes:
    """An archive."""
    contents = {each.id: body for each, body in zip(entries, documents, strict=True)}
    return archive(submission(entries, SET, *more), contents)


def parts(answer: httpx.Response) -> list[dict[str, Any]]:
    """What is told of each document: its status, its reference, its codes."""
    told = []
    for each in answer.json()["parameter"]:
        if each["name"] == "document":
            by_name = {part["name"]: part for part in each["part"]}
            issues = by_name.get("outcome", {}).get("resource", {}).get("issue", ())
            told.append(
                {
                    "status": by_name["status"]["valueCode"],
                    "reference": by_name.get("reference", {}).get("valueReference", {}).get("reference", ""),
                    "codes": [each["details"]["coding"][0]["code"] for each in issues if "coding" in each["details"]],
                }
            )
    return told


def pushed_zip(house: House, body: bytes, query: str = "") -> httpx.Response:
    """Push an archive."""
    return push(house.lgc, body, query, "application/zip")


def test_an_archive_of_a_report_and_a_prescription_is_two_documents(house: House) -> None:
    """A CDA with its results, a PDF with its metadata; the same again changes nothing."""
    entries = [entry(20_001, "text/xml"), entry(20_002)]
    body = xdm(entries, [document(20_001, {"718-7": "1.5"}), PDF])
    answer = pushed_zip(house, body)
    assert answer.status_code == 201, answer.text
    told = parts(answer)
    assert [each["status"] for each in told] == ["created", "created"]
    report, prescription = (house.patient.get(each["reference"]).json() for each in told)
    assert entries[0].id in {each["value"] for each in report["identifier"]}
    assert prescription["type"]["coding"][0]["code"] == "57833-6"
    assert house.patient.get(prescription["content"][0]["attachment"]["url"], Accept="*/*").content == PDF
    again = pushed_zip(house, body)
    assert (again.status_code, [each["status"] for each in parts(again)]) == (200, ["unchanged", "unchanged"])
    lists = found(house.patient, "List", house.cast["patient"], "&identifier=urn:oid:2.25.5000")
    submitted = [{each["item"]["reference"] for each in one["entry"]} for one in lists]
    assert submitted.count({each["reference"] for each in told}) == 1
    assert [each["reference"] for each in parts(again)] == [each["reference"] for each in told]


def test_one_bad_document_of_an_archive_costs_no_other(house: House) -> None:
    """A patient who is not known, another than the document's: each is told with its code, the rest is stored."""
    entries = [entry(20_011), entry(20_012), entry(20_013, "text/xml")]
    documents = [PDF + b"1", PDF + b"2", document(20_013)]
    wrong = replace(INS, value="255069999999934")
    body = xdm([entries[0], replace(entries[1], patient_id=wrong), replace(entries[2], patient_id=wrong)], documents)
    answer = pushed_zip(house, body)
    told = parts(answer)
    assert answer.status_code == 201
    assert [each["status"] for each in told] == ["created", "rejected", "rejected"]
    assert [each["codes"] for each in told][1:] == [["902"], ["904"]]


def test_of_an_archive_of_which_nothing_is_stored_the_refusal_is_told(house: House) -> None:
    """422 with a part for each document; nothing of any value in it."""
    wrong = replace(INS, value="255069999999934")
    bad = [replace(entry(number), patient_id=wrong) for number in (20_021, 20_022)]
    answer = pushed_zip(house, xdm(bad, [PDF + b"3", PDF + b"4"]))
    assert answer.status_code == 422
    assert [each["codes"] for each in parts(answer)] == [["902"], ["902"]]
    assert "255069999999934" not in answer.text


@pytest.mark.parametrize(
    ("status", "expected"),
    [(APPROVED, ("current", [])), (DEPRECATED, ("superseded", [])), (ARCHIVED, ("current", [True]))],
)
@pytest.mark.parametrize("kind", ["pdf", "cda"])
def test_the_availability_of_the_envelope_holds(
    house: House, status: str, expected: tuple[str, list[bool]], kind: str
) -> None:
    """Deprecated is superseded, and says nothing more; archived is current and marked so (importers-tables §6)."""
    is_cda = kind == "cda"
    number = 20_031 + [APPROVED, DEPRECATED, ARCHIVED].index(status) + 3 * is_cda
    made = entry(number, "text/xml" if is_cda else "application/pdf", status=status)
    body = document(number, {"718-7": "3.5"}) if is_cda else PDF + str(number).encode()
    [told] = parts(pushed_zip(house, xdm([made], [body])))
    stored = house.patient.get(told["reference"]).json()
    flags = [each["valueBoolean"] for each in stored.get("extension", ()) if "is-archived" in each["url"]]
    assert (stored["status"], flags) == expected
    said = found(house.patient, "Observation", house.cast["patient"], "&code=718-7&value-quantity=3.5")
    sources = [each for each in said if each["meta"]["source"] == f"urn:oid:2.25.{number}"]
    assert len(sources) == (1 if is_cda and status != DEPRECATED else 0)


def test_what_is_deleted_where_it_comes_from_is_withdrawn_here(house: House) -> None:
    """Status Deleted of a document that is here takes it back with all it says; of another it stores nothing."""
    made, body = entry(20_041, "text/xml"), document(20_041, {"718-7": "4.5"})
    [told] = parts(pushed_zip(house, xdm([made], [body])))
    gone = xdm([replace(made, status=DELETED)], [body])
    answer = pushed_zip(house, gone)
    assert [each["status"] for each in parts(answer)] == ["deleted"]
    assert house.patient.get(told["reference"]).status_code == 410
    assert found(house.patient, "Observation", house.cast["patient"], "&code=718-7&value-quantity=4.5") == []
    assert pushed_zip(house, gone).status_code == 200


def test_an_archive_may_replace_what_stands_in_it_or_in_the_record(house: House) -> None:
    """RPLC of the envelope, in any order of the objects, and of an entryUUID that came before."""
    entries = [entry(20_052), entry(20_051)]
    body = xdm(entries, [PDF + b"new", PDF + b"old"], Association("RPLC", entries[0].id, entries[1].id))
    new, old = parts(pushed_zip(house, body))
    assert (new["status"], old["status"]) == ("superseding", "created")
    assert house.patient.get(old["reference"]).json()["status"] == "superseded"
    third = entry(20_053)
    [told] = parts(pushed_zip(house, xdm([third], [PDF + b"newest"], Association("RPLC", third.id, entries[0].id))))
    assert told["status"] == "superseding"
    relation = {"code": "replaces", "target": {"reference": new["reference"]}}
    assert house.patient.get(told["reference"]).json()["relatesTo"] == [relation]


def test_visibility_of_the_envelope_hides_the_document_and_all_it_says(house: House) -> None:
    """MASQUE_PS beside N."""
    masked = (Code("N", "2.16.840.1.113883.5.25"), Code("MASQUE_PS", "1.2.250.1.213.1.1.4.13"))
    made = entry(20_061, "text/xml", confidentiality=masked)
    [told] = parts(pushed_zip(house, xdm([made], [document(20_061, {"718-7": "5.5"})])))
    query = "&code=718-7&value-quantity=5.5"
    assert house.care_team.get(told["reference"]).status_code == 404
    assert found(house.care_team, "Observation", house.cast["patient"], query) == []
    assert len(found(house.patient, "Observation", house.cast["patient"], query)) == 1


@pytest.mark.parametrize("form", ["soap", "multipart"])
def test_a_registry_request_is_taken_inline_and_with_attachments(house: House, form: str) -> None:
    """ITI-41 with base64 in the request, and as multipart/related with XOP."""
    number = 20_070 + len(form)
    made, body = entry(number), PDF + form.encode()
    request = provide_and_register(Registry((made,), SET, (), ()), {made.id: body})
    kind = "application/xml"
    if form == "multipart":
        inline = b64encode(body)
        assert inline in request
        include = b'<xop:Include xmlns:xop="http://www.w3.org/2004/08/xop/include" href="cid:one"/>'
        root = b"Content-Type: application/xop+xml\r\n\r\n" + request.replace(inline, include)
        part = b"Content-Type: application/pdf\r\nContent-ID: <one>\r\n\r\n" + body
        request = b"".join(b"--b\r\n" + each + b"\r\n" for each in (root, part)) + b"--b--\r\n"
        kind = 'multipart/related; boundary="b"'
    answer = push(house.lgc, request, "", kind)
    assert answer.status_code == 201, answer.text
    [told] = parts(answer)
    url = house.patient.get(told["reference"]).json()["content"][0]["attachment"]["url"]
    assert house.patient.get(url, Accept="*/*").content == body


def test_a_pdf_is_taken_for_a_named_patient_and_type(house: House) -> None:
    """By id or by INS; the same bytes again are the same document; without them 422."""
    patient, body = house.cast["patient"], PDF + b"5"
    answer = push(house.lgc, body, f"?patient={patient}&type=57833-6", "application/pdf")
    assert answer.status_code == 201, answer.text
    [told] = parts(answer)
    stored = house.patient.get(told["reference"]).json()
    assert stored["subject"]["reference"] == patient
    assert stored["type"]["coding"] == [{"system": "http://loinc.org", "code": "57833-6"}]
    assert stored["content"][0]["attachment"]["contentType"] == "application/pdf"
    ins = "urn:oid:1.2.250.1.213.1.4.10|279035121518989"
    again = push(house.lgc, body, f"?patient={ins}&type=57833-6".replace("|", "%7C"), "application/pdf")
    assert (again.status_code, parts(again)[0]["reference"]) == (200, told["reference"])
    assert push(house.lgc, body + b"6", f"?patient={patient}", "application/pdf").status_code == 422
    assert push(house.lgc, body + b"6", "?type=57833-6", "application/pdf").status_code == 422
    for more in ("&visibility=MASQUE", "&visibility=MASQUE_PS&visibility=x"):
        said = push(house.lgc, body + b"6", f"?patient={patient}&type=57833-6{more}", "application/pdf")
        assert (said.status_code, said.json()["issue"][0]["expression"]) == (400, ["visibility"])
    unknown = push(house.lgc, body + b"6", "?patient=Patient/nobody&type=57833-6", "application/pdf")
    assert (unknown.status_code, "902" in unknown.text) == (422, True)


def test_a_pdf_is_taken_with_a_document_reference_beside_it(house: House) -> None:
    """Parameters: what the DocumentReference says is kept; its hash and size must be those of the bytes."""
    metadata = {
        "resourceType": "DocumentReference",
        "status": "current",
        "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": "urn:oid:2.25.20081"},
        "type": {"coding": [{"system": "http://loinc.org", "code": "57833-6"}]},
        "subject": {"reference": house.cast["patient"]},
        "description": "Ordonnance du 1er avril",
        "content": [{"attachment": {"contentType": "application/pdf", "title": "Ordonnance", "size": len(PDF)}}],
    }

    def send(more: dict[str, Any]) -> httpx.Response:
        parameters = [
            {"name": "document", "valueBase64Binary": b64encode(PDF).decode()},
            {"name": "metadata", "resource": metadata | more},
            {"name": "visibility", "valueCode": "MASQUE_PS"},
        ]
        return house.lgc.post("$import-document", {"resourceType": "Parameters", "parameter": parameters})

    wrong = [{"attachment": {"contentType": "application/pdf", "hash": "AAAA"}}]
    refused = send({"content": wrong})
    assert (refused.status_code, "hash-mismatch" in refused.text) == (422, True)
    answer = send({})
    assert answer.status_code == 201, answer.text
    [told] = parts(answer)
    stored = house.patient.get(told["reference"]).json()
    assert stored["description"] == "Ordonnance du 1er avril"
    attachment = stored["content"][0]["attachment"]
    assert attachment["hash"] == b64encode(hashlib.sha1(PDF).digest()).decode()
    assert house.care_team.get(told["reference"]).status_code == 404
    assert send({}).status_code == 200


def test_an_empty_or_hostile_archive_is_refused(house: House) -> None:
    """No XDM, a name that climbs."""
    assert pushed_zip(house, b"PK\x05\x06" + bytes(18)).status_code in (400, 422)
    assert pushed_zip(house, b"PK\x03\x04" + bytes(40)).status_code == 400


def test_an_export_is_the_archive_of_what_the_caller_sees(own_house: House) -> None:
    """$xdm: reproducible, read back with equal metadata; what is masked is not in it."""
    house, patient = own_house, own_house.cast["patient"]
    entries = [entry(20_091, "text/xml"), entry(20_092)]
    report, prescription = document(20_091, {"718-7": "1.5"}), PDF + b"9"
    told = parts(pushed_zip(house, xdm(entries, [report, prescription])))
    one = house.patient.get(f"{told[0]['reference']}/$xdm", Accept="application/zip")
    assert (one.status_code, one.headers["content-type"]) == (200, "application/zip"), one.text
    assert [each.document for each in open_submission(one.content)] == [report]

    url = f"DocumentReference/$xdm?patient={patient}&status=current&identifier=urn:oid:2.25.20091,urn:oid:2.25.20092"
    answer = house.patient.get(url)
    assert answer.status_code == 200, answer.text
    whole = answer.content
    assert whole == house.patient.get(url).content
    back = open_submission(whole)
    assert {each.document for each in back} == {report, prescription}
    assert {each.metadata.entry.unique_id for each in back if each.metadata} == {"2.25.20091", "2.25.20092"}
    assert all(each.metadata and each.metadata.entry.patient_id == INS for each in back)

    again = push(house.lgc, whole, "", "application/zip")
    assert (again.status_code, [each["status"] for each in parts(again)]) == (200, ["unchanged"] * 2)

    value = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N"}]}]
    system = "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"
    value += [{"coding": [{"system": system, "code": "MASQUE_PS"}]}]
    patch = [{"op": "add", "path": "/securityLabel", "value": value}]
    headers = {"Content-Type": "application/json-patch+json"}
    assert house.patient.request("PATCH", told[0]["reference"], json=patch, headers=headers).status_code == 200
    answer = house.care_team.get(url)
    assert answer.status_code == 200, answer.text
    seen = open_submission(answer.content)
    assert [each.document for each in seen] == [prescription]
    assert house.care_team.get(f"{told[0]['reference']}/$xdm").status_code == 404
