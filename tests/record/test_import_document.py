"""$import-document over HTTP: the right patient or none, once, replaced in one step."""

from __future__ import annotations

import re
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.conftest import Caller, House
from tests.scenarios.test_the_patient_decides import CDA, pushed


def send(caller: Caller, document: bytes, query: str = "", kind: str = "application/xml") -> httpx.Response:
    """Push a document."""
    return caller.request("POST", f"$import-document{query}", content=document, headers={"Content-Type": kind})


def numbered(number: int, version: int = 1, set_id: str = "", more: bytes = b"") -> bytes:
    """The document under another identifier; with a set, one of its versions."""
    document = CDA.replace(b"2.25.77001", b"2.25.%d" % number)
    if set_id:
        names = f'<setId root="{set_id}"/><versionNumber value="{version}"/>'.encode()
        document = document.replace(b"  <recordTarget>", b"  " + names + more + b"  <recordTarget>", 1)
    return document


def code(answer: httpx.Response) -> str:
    """The code of a refusal."""
    return str(answer.json()["issue"][0]["details"]["coding"][0]["code"])


def status(answer: httpx.Response) -> str:
    """What happened to a document."""
    parts = next(each for each in answer.json()["parameter"] if each["name"] == "document")["part"]
    return str(next(each["valueCode"] for each in parts if each["name"] == "status"))


def document_reference(house: House, answer: httpx.Response) -> dict[str, Any]:
    """The DocumentReference of an import, as the patient sees it."""
    found: dict[str, Any] = house.patient.get(pushed(answer.json())).json()
    return found


def test_the_header_becomes_a_document_reference(house: House) -> None:
    """Type, category, author, patient, title, hash and both contents."""
    document = numbered(1)
    resource = document_reference(house, send(house.lgc, document))
    assert resource["status"] == "current"
    assert resource["subject"]["reference"] == house.cast["patient"]
    assert resource["masterIdentifier"] == {"system": "urn:ietf:rfc:3986", "value": "urn:oid:2.25.1"}
    assert resource["type"]["coding"][0]["code"] == "34749-2"
    assert [each["attachment"]["contentType"] for each in resource["content"]] == ["text/xml", "text/plain"]
    assert resource["content"][0]["attachment"]["title"] == "Lettre de liaison"
    assert resource["content"][0]["attachment"]["size"] == len(document)
    body = house.patient.get(resource["content"][1]["attachment"]["url"])
    assert body.content == b"Bonjour"
    assert body.headers["content-type"].startswith("text/plain")


def test_the_same_document_again_writes_nothing(house: House) -> None:
    """201, then 200 with the same reference; the history has one version."""
    first, second = send(house.lgc, numbered(2)), send(house.lgc, numbered(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert status(second) == "unchanged"
    assert pushed(first.json()) == pushed(second.json())
    history = house.patient.get(pushed(first.json()) + "/_history").json()
    assert len(history["entry"]) == 1


def test_the_same_document_pushed_at_once_is_stored_once(house: House) -> None:
    """Eight concurrent pushes: one 201, seven 200, one reference."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: send(house.lgc, numbered(3)), range(8)))
    assert sorted(each.status_code for each in answers) == [200] * 7 + [201]
    assert len({pushed(each.json()) for each in answers}) == 1


def test_the_same_identifier_with_other_bytes_is_a_conflict(house: House) -> None:
    """409, and nothing changes."""
    send(house.lgc, numbered(4))
    answer = send(house.lgc, numbered(4).replace(b"Lettre de liaison", b"Autre lettre"))
    assert answer.status_code == 409


def test_another_depositors_hidden_document_does_not_show_in_a_push(house: House) -> None:
    """Two who may not see each other's deposits both get a 201 for the same document (I8, access over DOC-4)."""
    assert send(house.lgc, numbered(5)).status_code == 201
    assert send(house.other_doctor, numbered(5)).status_code == 201


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b"279035121518989", b"255069999999934", "902"),
        (b'<id root="1.2.250.1.213.1.4.10" extension="279035121518989"/>', b'<id root="1.2.3" extension="7"/>', "903"),
        (b">PAT-TROIS<", b">PAT-QUATRE<", "904"),
        (b"19790328", b"19790329", "904"),
        (b'<birthTime value="19790328"/>', b"", "905"),
    ],
)
def test_a_document_that_is_not_surely_this_patients_is_refused(
    house: House, old: bytes, new: bytes, expected: str
) -> None:
    """422 with the French code; the answer holds no value of the record."""
    answer = send(house.lgc, numbered(6).replace(old, new))
    assert answer.status_code == 422, answer.text
    assert code(answer) == expected
    for secret in ("PAT-TROIS", "DOMINIQUE", "1979"):
        assert secret not in answer.text


def test_a_newer_version_ends_the_one_before_in_the_same_step(house: House) -> None:
    """superseded and current, linked; an older or equal version is refused with 900."""
    first = send(house.lgc, numbered(11, 1, "2.25.110"))
    second = send(house.lgc, numbered(12, 2, "2.25.110"))
    assert second.status_code == 201, second.text
    assert status(second) == "superseding"
    old, new = document_reference(house, first), document_reference(house, second)
    assert (old["status"], new["status"]) == ("superseded", "current")
    assert new["relatesTo"] == [{"code": "replaces", "target": {"reference": f"DocumentReference/{old['id']}"}}]
    for late in (numbered(13, 1, "2.25.110"), numbered(14, 2, "2.25.110")):
        answer = send(house.lgc, late)
        assert (answer.status_code, code(answer)) == (422, "900")


def test_a_replaced_document_keeps_the_mask_of_the_patient(house: House) -> None:
    """A push cannot unmask: the lineage is masked, not the version (DOC-8)."""
    from tests.scenarios.test_the_patient_decides import mask

    first = pushed(send(house.lgc, numbered(21, 1, "2.25.210")).json())
    assert house.care_team.get(first).status_code == 200
    mask(house, first)
    second = pushed(send(house.lgc, numbered(22, 2, "2.25.210")).json())
    assert house.care_team.get(second).status_code == 404
    assert house.medecin_traitant.get(second).status_code == 200


def test_a_missing_parent_is_refused_in_strict_mode_and_noted_in_migration(house: House) -> None:
    """RPLC of a document that is nowhere."""
    parent = (
        b'<relatedDocument typeCode="RPLC"><parentDocument><id root="2.25.999"/></parentDocument></relatedDocument>'
    )
    document = numbered(31, 2, "2.25.310", parent)
    answer = send(house.lgc, document)
    assert (answer.status_code, code(answer)) == (422, "900")
    assert send(house.lgc, document, "?mode=migration").status_code == 201


def test_a_document_is_replaced_once_and_by_its_author(house: House) -> None:
    """900 for a parent that has a successor already, 901 for a document that somebody else deposited (DOC-7)."""
    parent = b'<relatedDocument typeCode="RPLC"><parentDocument><id root="2.25.%d"/></parentDocument></relatedDocument>'
    first = pushed(send(house.lgc, numbered(33)).json())
    other = send(house.medecin_traitant, numbered(34, 2, "2.25.340", parent % 33))
    assert (other.status_code, code(other)) == (422, "901")
    assert send(house.lgc, numbered(35, 2, "2.25.350", parent % 33)).status_code == 201
    assert house.patient.get(first).json()["status"] == "superseded"
    late = send(house.lgc, numbered(36, 3, "2.25.360", parent % 33))
    assert (late.status_code, code(late)) == (422, "900")


def test_a_migration_takes_an_older_version_as_one_that_is_over(house: House) -> None:
    """What comes after its successor does not become the current one."""
    newer = pushed(send(house.lgc, numbered(37, 5, "2.25.370")).json())
    older = send(house.lgc, numbered(38, 4, "2.25.370"), "?mode=migration")
    assert (older.status_code, status(older)) == (201, "superseded")
    assert document_reference(house, older)["status"] == "superseded"
    assert house.patient.get(newer).json()["status"] == "current"


def test_a_document_that_adds_to_another_points_to_it_and_ends_nothing(house: House) -> None:
    """APND."""
    first = pushed(send(house.lgc, numbered(39)).json())
    parent = b'<relatedDocument typeCode="APND"><parentDocument><id root="2.25.39"/></parentDocument></relatedDocument>'
    addition = document_reference(house, send(house.lgc, numbered(40, 1, "2.25.400", parent)))
    assert addition["relatesTo"] == [{"code": "appends", "target": {"reference": first}}]
    assert house.patient.get(first).json()["status"] == "current"


def test_a_dry_run_writes_nothing(house: House) -> None:
    """Everything but the commit."""
    answer = send(house.lgc, numbered(41), "?dryRun=true")
    assert answer.status_code == 200
    assert send(house.lgc, numbered(41)).status_code == 201


def test_parameters_carry_a_document_and_its_visibility(house: House) -> None:
    """MASQUE_PS of the envelope holds from the first moment."""
    parameters = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "document", "valueBase64Binary": b64encode(numbered(51)).decode()},
            {"name": "visibility", "valueCode": "MASQUE_PS"},
        ],
    }
    answer = house.lgc.post("$import-document", parameters)
    assert answer.status_code == 201, answer.text
    document = pushed(answer.json())
    assert house.care_team.get(document).status_code == 404
    assert house.patient.get(document).status_code == 200


@pytest.mark.parametrize(
    "parameter",
    [
        [],
        [{"name": "document", "valueString": "x"}],
        [{"name": "documents", "valueBase64Binary": "YQ=="}],
        [{"name": "document", "valueBase64Binary": "YQ=="}] * 2,
        [{"name": "document", "valueBase64Binary": "YQ=="}, {"name": "visibility", "valueString": "MASQUE_PS"}],
    ],
)
def test_parameters_that_are_not_one_document_are_refused(house: House, parameter: list[dict[str, Any]]) -> None:
    """A visibility that is passed over would show what was to be hidden."""
    answer = house.lgc.post("$import-document", {"resourceType": "Parameters", "parameter": parameter})
    assert (answer.status_code, answer.json()["resourceType"]) == (400, "OperationOutcome")


@pytest.mark.parametrize("query", ["?mode=easy", "?dryRun=yes", "?visibility=", "?visible=MASQUE_PS"])
def test_an_option_that_is_not_understood_is_refused(house: House, query: str) -> None:
    """Before anything is read."""
    answer = send(house.lgc, numbered(52), query)
    assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (400, [query[1:].partition("=")[0]])


def test_visibility_may_stand_in_the_url(house: House) -> None:
    """The same as in Parameters."""
    document = pushed(send(house.lgc, numbered(53), "?visibility=MASQUE_PS").json())
    assert house.care_team.get(document).status_code == 404


@pytest.mark.parametrize(
    ("document", "kind", "expected"),
    [
        (b"", "application/xml", 400),
        (b"<a>", "application/xml", 400),
        (b"<a/>", "application/xml", 422),
        (b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "application/xml", 400),
        (b"PK\x03\x04zip", "application/zip", 400),
        (b"%PDF-1.7", "application/pdf", 422),
        (b"{}", "application/fhir+json", 400),
        (b"no document", "text/plain", 415),
    ],
)
def test_what_is_no_document_is_refused(house: House, document: bytes, kind: str, expected: int) -> None:
    """Each with its status and an outcome."""
    answer = send(house.lgc, document, kind=kind)
    assert answer.status_code == expected, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_neither_an_administrator_nor_an_application_pushes_documents(house: House) -> None:
    """Clinical content comes from professionals and from the patient."""
    assert send(house.admin, numbered(61)).status_code == 403
    assert send(house.app, numbered(61)).status_code in (403, 422)


def test_a_confidentiality_that_is_not_understood_hides_the_document_and_loses_nothing(house: House) -> None:
    """All three labels and a warning (importers §6.14): for its author alone, until somebody says otherwise."""
    unknown = b'<confidentialityCode code="SECRET" codeSystem="2.16.840.1.113883.5.25"/>'
    document = re.sub(rb"<confidentialityCode[^>]*/>", unknown, numbered(4711))
    assert unknown in document
    answer = send(house.lgc, document)
    assert answer.status_code == 201, answer.text
    warnings = {each["details"]["coding"][0]["code"] for each in answer.json()["parameter"][0]["resource"]["issue"]}
    assert "unknown-visibility" in warnings
    reference = pushed(answer.json())
    labels = house.lgc.get(reference).json()["securityLabel"]
    hidden = {"MASQUE_PS", "INVISIBLE_PATIENT", "INVISIBLE_REPRESENTANTS_LEGAUX"}
    assert {each["coding"][0]["code"] for each in labels} == hidden
    assert house.patient.get(reference).status_code == house.care_team.get(reference).status_code == 404
