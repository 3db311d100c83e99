"""How professional software finds the record to feed (PAT-9, PAT-12)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fhir_server.auth.actor import Actor
from fhir_server.demo.build import Cast
from fhir_server.demo.family import consent, named
from tests.conftest import Caller, House, open_house

INS = "urn:oid:1.2.250.1.213.1.4.10|279035121518989"


def _lookup(caller: Caller, identifier: str = INS, born: str = "1979-03-28") -> Any:
    return caller.get(f"Patient?identifier={identifier}&birthdate={born}")


def test_a_professional_without_the_gate_learns_that_the_record_is_open(house: House) -> None:
    """id, the identifier asked for, active; nothing else."""
    bundle = _lookup(house.other_doctor).json()
    assert bundle["total"] == 1
    found = bundle["entry"][0]["resource"]
    assert f"Patient/{found['id']}" == house.cast["patient"]
    assert found["active"] is True
    assert found["identifier"] == [{"system": "urn:oid:1.2.250.1.213.1.4.10", "value": "279035121518989"}]
    assert set(found) == {"resourceType", "id", "meta", "identifier", "active"}


def test_the_identifier_may_be_a_bare_oid(house: House) -> None:
    """ID-7."""
    assert _lookup(house.other_doctor, "1.2.250.1.213.1.4.10|279035121518989").json()["total"] == 1


def test_a_professional_with_the_gate_sees_the_patient(house: House) -> None:
    """The médecin traitant gets the resource as it is."""
    assert _lookup(house.medecin_traitant).json()["entry"][0]["resource"]["birthDate"] == "1979-03-28"


@pytest.mark.parametrize(
    "query",
    [
        "identifier=" + INS,
        "birthdate=1979-03-28",
        "name=PAT-TROIS",
        "identifier=279035121518989&birthdate=1979-03-28",
        f"identifier={INS}&birthdate=1979",
        f"identifier={INS}&birthdate=1979-03-28&name=x",
        f"identifier={INS}&birthdate=ge1979-03-28",
        f"identifier={INS},{INS[:-1]}8&birthdate=1979-03-28",
        "",
    ],
)
def test_a_patient_is_not_looked_for_by_less_or_by_more(house: House, query: str) -> None:
    """400: no browsing, no guessing."""
    assert house.other_doctor.get(f"Patient?{query}").status_code == 400


def test_a_wrong_birth_date_finds_nothing(house: House) -> None:
    """As if there were no such record."""
    assert _lookup(house.other_doctor, born="1979-03-29").json()["total"] == 0


def test_a_deposit_names_its_patient_by_ins(house: House) -> None:
    """The conditional reference is resolved for whoever may feed the record."""
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "Poids"},
        "subject": {"reference": f"Patient?identifier={INS}"},
    }
    stored = house.other_doctor.post("Observation", observation)
    assert stored.status_code == 201, stored.text
    assert house.patient.get("Observation/" + stored.json()["id"]).json()["subject"] == {
        "reference": house.cast["patient"]
    }
    observation["subject"] = {"reference": "Patient?identifier=urn:oid:1.2.250.1.213.1.4.10|299999999999999"}
    assert house.other_doctor.post("Observation", observation).status_code == 404


def test_a_patient_does_not_look_for_others(house: House) -> None:
    """A patient's search of Patient is of the own record."""
    assert _lookup(house.patient, "urn:oid:1.2.250.1.213.1.4.10|124018852493334", "2024-01-19").json()["total"] == 0


def _gateway(_: Cast) -> Mapping[str, Actor]:
    """A German gateway, and the software of a country that nobody let in."""
    return {
        name: Actor("ncp", f"Device/{country}", "Anna", "", keys=frozenset({f"country:{country}"}), country=country)
        for name, country in (("gateway", "DE"), ("stranger", "PL"))
    }


def _opting_in(patient: str) -> dict[str, Any]:
    """The Consent that lets a country ask (D10)."""
    treatment = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"}
    country = named({"identifier": {"system": "urn:iso:std:iso:3166", "value": "DE"}})
    return consent(patient, "cross-border", {"type": "permit", "purpose": [treatment], "actor": country})


def test_a_gateway_finds_by_identifier_the_patients_who_opted_in(tmp_path: Path) -> None:
    """ITI-78 and `patient.identifier`: nothing before the patient lets that country in, and then the record itself; of
    nobody else, not by a name alone, not for another country."""
    for house in open_house(tmp_path, _gateway):
        asked = (
            f"Patient?identifier={INS}",
            f"Patient?identifier={INS}&birthdate=1979-03-28",
            f"DocumentReference?status=current&patient.identifier={INS}",
        )
        assert [house.gateway.get(each).json()["total"] for each in asked] == [0, 0, 0]
        assert house.patient.post("Consent", _opting_in(house.cast["patient"])).status_code == 201
        found = [house.gateway.get(each).json() for each in asked]
        assert [each["total"] for each in found[:2]] == [1, 1]
        assert f"Patient/{found[0]['entry'][0]['resource']['id']}" == house.cast["patient"]
        named = house.gateway.get(f"DocumentReference?status=current&patient={house.cast['patient']}").json()
        assert found[2]["total"] == named["total"]
        nothing = (
            f"Patient?identifier={INS}&birthdate=1979-03-29",
            f"Patient?identifier={INS[:-1]}8",
            "Patient?identifier=urn:oid:1.2.250.1.213.1.4.10|124018852493334",
            "Patient?name=PAT-TROIS",
        )
        assert [house.gateway.get(each).json()["total"] for each in nothing] == [0, 0, 0, 0]
        assert [house.stranger.get(each).json()["total"] for each in asked] == [0, 0, 0]
