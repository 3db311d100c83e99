"""ITI-105: a document in one resource, its bytes inside (domain DOC-12, COD-10)."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import httpx
import pytest

from tests.conftest import Caller, House
from tests.interactions.provided import MHD, ORGANIZATION, PDSM, ROLE, coded, nos, sha1, urn

PDF = b"%PDF-1.4 published"
LEVELS = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"


def published(subject: str, **more: Any) -> dict[str, Any]:
    """A document as software publishes it in one resource."""
    attachment = {"contentType": "application/pdf", "data": b64encode(PDF).decode(), "title": "Note"}
    resource = {
        "resourceType": "DocumentReference",
        "meta": {"profile": [f"{PDSM}pdsm-simplified-publish"]},
        "contained": [ROLE, ORGANIZATION],
        "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": urn()},
        "status": "current",
        "type": coded("http://loinc.org", "11488-4"),
        "subject": {"reference": subject},
        "date": "2026-10-01T10:00:00+02:00",
        "author": [{"reference": "#author"}],
        "custodian": {"reference": "#org"},
        "content": [{"attachment": attachment}],
        "context": {"event": [coded("TRE_R02-SecteurActivite", "SA25")]},
    }
    return resource | more


def with_attachment(subject: str, **change: Any) -> dict[str, Any]:
    """The same with something else in its attachment; None: left out."""
    resource = published(subject)
    attachment = resource["content"][0]["attachment"] | change
    kept = {name: each for name, each in attachment.items() if each is not None}
    return resource | {"content": [{"attachment": kept}]}


def publish(caller: Caller, resource: dict[str, Any]) -> httpx.Response:
    """POST DocumentReference."""
    return caller.post("DocumentReference", resource)


def sets_of(house: House, document: str) -> list[dict[str, Any]]:
    """The submission sets that name a document."""
    found = house.patient.get(f"List?code=submissionset&status=current&item={document}").json()
    return [each["resource"] for each in found.get("entry", ())]


@pytest.fixture
def patient(house: House) -> str:
    """The subject."""
    return house.cast["patient"]


def test_it_becomes_content_document_and_submission_set(house: House, patient: str) -> None:
    """DOC-12: url, size and hash in place of the bytes; 201 with Location, id, version and time."""
    answer = publish(house.lgc, published(patient))
    assert answer.status_code == 201, answer.text
    document = answer.json()
    assert answer.headers["location"].endswith(f"DocumentReference/{document['id']}/_history/1")
    assert document["meta"]["versionId"] == "1"
    assert document["meta"]["lastUpdated"]
    assert "profile" not in document["meta"], "it is not in that form any more"
    attachment = document["content"][0]["attachment"]
    assert "data" not in attachment
    assert (attachment["size"], attachment["hash"]) == (len(PDF), sha1(PDF))
    assert house.patient.get(attachment["url"], Accept="*/*").content == PDF
    assert document["securityLabel"] == [coded(LEVELS, "N")], "COD-10"
    assert document["category"][0]["coding"][0]["code"] == "10", "COD-11"


def test_the_submission_set_is_made_of_the_document(house: House, patient: str) -> None:
    """DOC-12: source of the author, sourceId of the custodian, designation of the event, now."""
    document = publish(house.lgc, published(patient)).json()
    [made] = sets_of(house, f"DocumentReference/{document['id']}")
    by_url = {each["url"].removeprefix(MHD): each for each in made["extension"]}
    assert by_url["ihe-designationType"]["valueCodeableConcept"] == coded("TRE_R02-SecteurActivite", "SA25")
    assert by_url["ihe-sourceId"]["valueIdentifier"] == ORGANIZATION["identifier"][0]
    assert made["source"] == {"reference": "#author"}
    assert {each["id"] for each in made["contained"]} == {"author", "org"}
    assert made["subject"] == {"reference": patient}
    assert made["date"][:10] == document["meta"]["lastUpdated"][:10]


def test_without_a_custodian_the_client_is_the_source(house: House, patient: str) -> None:
    """DOC-12, §4.2: no custodian and no date are warnings."""
    resource = {name: each for name, each in published(patient).items() if name not in ("custodian", "date")}
    answer = publish(house.lgc, resource)
    assert answer.status_code == 201, answer.text
    assert sum("custodian" in each or "date" in each for each in answer.headers.get_list("warning")) == 2
    [made] = sets_of(house, f"DocumentReference/{answer.json()['id']}")
    assert made["extension"][-1]["valueIdentifier"]["value"] == "demo-lgc"


def test_the_same_publication_again_is_answered_by_the_first(house: House, patient: str) -> None:
    """DOC-4: 200, nothing new; other bytes under the identifier 409."""
    sent = published(patient)
    first, second = publish(house.lgc, sent), publish(house.lgc, sent)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]
    assert len(sets_of(house, f"DocumentReference/{first.json()['id']}")) == 1
    other = with_attachment(patient, title="Autre") | {"masterIdentifier": sent["masterIdentifier"]}
    assert publish(house.lgc, other).status_code == 409


def test_a_replacement_ends_what_it_replaces(house: House, patient: str) -> None:
    """DOC-6: with ITI-105 the server always does."""
    old = publish(house.lgc, published(patient)).json()["id"]
    related = [{"code": "replaces", "target": {"reference": f"DocumentReference/{old}"}}]
    assert publish(house.lgc, published(patient, relatesTo=related)).status_code == 201
    assert house.patient.get(f"DocumentReference/{old}").json()["status"] == "superseded"


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"data": ""}, "content[0].attachment.data"),
        ({"data": None}, "content[0].attachment.data"),
        ({"url": "Binary/1"}, "content[0].attachment.url"),
        ({"title": None}, "content[0].attachment.title"),
        ({"size": 250000}, "content[0].attachment.size"),
        ({"hash": sha1(b"other")}, "content[0].attachment.hash"),
    ],
)
def test_what_the_profile_does_not_allow_is_refused(
    house: House, patient: str, change: dict[str, Any], place: str
) -> None:
    """§4.2, DOC-5, DOC-9: 422, the place named, nothing stored."""
    count = f"DocumentReference?patient={patient}&_summary=count"
    before = house.patient.get(count).json()["total"]
    answer = publish(house.lgc, with_attachment(patient, **change))
    assert answer.status_code == 422, answer.text
    assert f"DocumentReference.{place}" in [each["expression"][0] for each in answer.json()["issue"]]
    assert house.patient.get(count).json()["total"] == before


def test_a_patient_publishes_their_own(house: House, patient: str) -> None:
    """DOC-26, DOC-12: class 90, by the patient; the submission set is their expression."""
    own = published(
        patient,
        type=coded("TRE_A05-TypeDocComplementaire", "EXPPAT_1"),
        author=[{"reference": patient}],
        context={
            "facilityType": coded("TRE_A00-ProducteurDocNonPS", "EXP_PATIENT"),
            "practiceSetting": coded("TRE_A00-ProducteurDocNonPS", "EXP_PATIENT"),
        },
    )
    for name in ("contained", "custodian"):
        del own[name]
    answer = publish(house.patient, own)
    assert answer.status_code == 201, answer.text
    assert answer.json()["category"][0]["coding"][0]["code"] == "90"
    [made] = sets_of(house, f"DocumentReference/{answer.json()['id']}")
    designation = made["extension"][0]["valueCodeableConcept"]["coding"][0]
    assert designation == {"system": nos("TRE_A00-ProducteurDocNonPS"), "code": "EXP_PATIENT"}
    assert made["source"] == {"reference": patient}
    assert publish(house.lgc, published(patient, type=own["type"])).status_code == 422
