"""The main job, told once from door to door: a document is pushed, read, hidden, and every access is seen."""

from __future__ import annotations

from typing import Any

import orjson

from fhir_server.demo.family import consent, named
from tests.conftest import Caller, House

CDA = b"""<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3">
  <typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>
  <templateId root="1.3.6.1.4.1.19376.1.2.20"/>
  <id root="2.25.77001"/>
  <code code="34749-2" displayName="Lettre" codeSystem="2.16.840.1.113883.6.1"/>
  <title>Lettre de liaison</title>
  <effectiveTime value="20260410093000+0200"/>
  <confidentialityCode code="N" codeSystem="2.16.840.1.113883.5.25"/>
  <languageCode code="fr-FR"/>
  <recordTarget><patientRole>
    <id root="1.2.250.1.213.1.4.10" extension="279035121518989"/>
    <patient>
      <name><family qualifier="BR">PAT-TROIS</family><given qualifier="BR">DOMINIQUE</given></name>
      <administrativeGenderCode code="F" codeSystem="2.16.840.1.113883.5.1"/>
      <birthTime value="19790328"/>
      <birthplace><place><addr><county>51215</county></addr></place></birthplace>
    </patient>
  </patientRole></recordTarget>
  <author><time value="20260410093000+0200"/><assignedAuthor>
    <id root="1.2.250.1.71.4.2.1" extension="899900000077"/>
    <code code="G15_10/SM03" codeSystem="1.2.250.1.213.1.1.4.5"/>
    <assignedPerson><name><family>ROUX</family><given>Karim</given></name></assignedPerson>
    <representedOrganization>
      <id root="1.2.250.1.71.4.2.2" extension="1990000003"/><name>Laboratoire</name>
    </representedOrganization>
  </assignedAuthor></author>
  <custodian><assignedCustodian><representedCustodianOrganization>
    <id root="1.2.250.1.71.4.2.2" extension="1990000003"/><name>Laboratoire</name>
  </representedCustodianOrganization></assignedCustodian></custodian>
  <component><nonXMLBody><text mediaType="text/plain" representation="B64">Qm9uam91cg==</text></nonXMLBody></component>
</ClinicalDocument>
"""


def push(caller: Caller, document: bytes = CDA) -> dict[str, Any]:
    """Push a CDA document; the Parameters of the answer."""
    answer = caller.request("POST", "$import-document", content=document, headers={"Content-Type": "application/xml"})
    assert answer.status_code == 201, answer.text
    return orjson.loads(answer.content)  # type: ignore[no-any-return]


def pushed(parameters: dict[str, Any]) -> str:
    """The DocumentReference of an import."""
    [document] = [each for each in parameters["parameter"] if each["name"] == "document"]
    [reference] = [each for each in document["part"] if each["name"] == "reference"]
    return str(reference["valueReference"]["reference"])


def mask(house: House, document: str) -> str:
    """The patient masks a document; the url of the directive."""
    data = [{"meaning": "instance", "reference": {"reference": document}}]
    answer = house.patient.post("Consent", consent(house.cast["patient"], "mask", {"type": "deny", "data": data}))
    assert answer.status_code == 201, answer.text
    return "Consent/" + answer.json()["id"]


def test_a_document_is_pushed_read_masked_and_every_access_is_seen(own_house: House) -> None:
    """The story of the README, to the byte."""
    house = own_house
    document = pushed(push(house.lgc))

    read = house.care_team.get(document)
    assert read.status_code == 200
    content = read.json()["content"]
    original = content[0]["attachment"]["url"]
    raw = house.care_team.get(original)
    assert raw.status_code == 200
    assert raw.content == CDA
    assert raw.headers["content-disposition"] == "attachment"

    search = f"DocumentReference?patient={house.cast['patient']}&status:not=entered-in-error&_total=accurate"
    before = house.care_team.get(search).json()
    directive = mask(house, document)

    never = house.care_team.get("DocumentReference/00000000-0000-4000-8000-000000000000")
    for url in (document, f"{document}/_history", f"{document}/_history/1"):
        hidden = house.care_team.get(url)
        assert hidden.status_code == never.status_code == 404
        assert hidden.content == never.content
        assert _headers(hidden) == _headers(never)
    assert house.care_team.get(original).content == never.content
    after = house.care_team.get(search).json()
    assert after["total"] == before["total"] - 1
    assert document not in {"DocumentReference/" + each["resource"]["id"] for each in after.get("entry", ())}

    for still in (house.medecin_traitant, house.patient, house.lgc):
        assert still.get(document).status_code == 200
        assert still.get(original).content == CDA
    assert house.other_doctor.get(document).content == never.content

    ended = {**house.patient.get(directive).json(), "status": "inactive"}
    assert house.patient.put(directive, ended).status_code == 200
    assert house.care_team.get(document).status_code == 200

    log = house.patient.get(f"AuditEvent?patient={house.cast['patient']}&_count=200")
    assert log.status_code == 200
    seen = [_access(each["resource"]) for each in log.json()["entry"]]
    for who in ("care_team", "medecin_traitant", "other_doctor", "patient", "lgc"):
        assert any(name == house.callers[who].reference and what == document for name, what, _ in seen), who
    assert (house.care_team.reference, document, "4") in seen
    assert (house.care_team.reference, document, "0") in seen


def test_professionals_read_no_log(house: House) -> None:
    """The access log is the holder's (access §6)."""
    log = house.medecin_traitant.get(f"AuditEvent?patient={house.cast['patient']}")
    assert log.json().get("entry", []) == []


def test_a_blocked_doctor_may_still_push_and_sees_nothing_of_it(own_house: House) -> None:
    """D03: no read at all; feeding the record stays possible (DOC-25)."""
    house = own_house
    rpps = {"identifier": {"system": "https://rpps.esante.gouv.fr", "value": "99900000077"}}
    block = consent(house.cast["patient"], "block", {"type": "deny", "actor": named(rpps)})
    assert house.patient.post("Consent", block).status_code == 201
    document = pushed(push(house.lgc))
    assert house.lgc.get(document).status_code == 404
    assert house.patient.get(document).status_code == 200


def test_a_grant_opens_the_record_to_one_doctor_until_it_ends(own_house: House) -> None:
    """D05, and its end by the patient (I12)."""
    house = own_house
    document = pushed(push(house.lgc))
    assert house.other_doctor.get(document).status_code == 404
    rpps = {"identifier": {"system": "https://rpps.esante.gouv.fr", "value": "99900000022"}}
    treat = [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"}]
    period = {"start": "2026-01-01", "end": "2099-12-31"}
    provision = {"type": "permit", "purpose": treat, "actor": named(rpps), "period": period}
    granted = house.patient.post("Consent", consent(house.cast["patient"], "grant", provision))
    assert granted.status_code == 201
    assert house.other_doctor.get(document).status_code == 200
    ended = {**granted.json(), "status": "inactive"}
    assert house.patient.put("Consent/" + ended["id"], ended).status_code == 200
    assert house.other_doctor.get(document).status_code == 404


def test_the_mother_reads_her_childs_record_and_no_other(house: House) -> None:
    """A representative's token is bound to the represented patient."""
    assert house.representative.get(house.cast["child"]).status_code == 200
    assert house.representative.get(house.cast["patient"]).status_code == 404
    assert house.patient.get(house.cast["child"]).status_code == 404


def test_a_caller_without_a_token_is_told_to_log_in(house: House) -> None:
    """401 with a challenge; the metadata is for everyone."""
    refused = house.nobody.get(house.cast["patient"])
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert house.nobody.get("metadata").status_code == 200


def _headers(answer: Any) -> list[tuple[str, str]]:
    return [(name, value) for name, value in answer.headers.items() if name not in ("x-request-id", "date")]


def _access(event: dict[str, Any]) -> tuple[str, str, str]:
    who = next(each["who"].get("reference", "") for each in event["agent"] if each["requestor"])
    what = next(
        (
            each["what"]["reference"]
            for each in event.get("entity", ())
            if "reference" in each.get("what", {}) and not each["what"]["reference"].startswith("Patient/")
        ),
        "",
    )
    return who, what.partition("/_history")[0], event.get("outcome", "")
