"""Opening a record for a time: attested consent, bris de glace, Centre 15 (access §3.2, §7; L69, L71, I13)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import httpx
import pytest

from fhir_server.app import services
from fhir_server.auth.actor import Actor
from fhir_server.auth.tokens import amend
from fhir_server.consent.openings import REGULATION, openings_of
from fhir_server.demo.build import Cast, actors
from fhir_server.demo.family import consent, named
from tests.conftest import Caller, House, open_house

REASON = "Patient inconscient, sans accompagnant"
BTG = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "BTG"}
REGULATED = {"system": "https://example.org/fhir-server/CodeSystem/access-mode", "code": "centre_15"}


def guests(cast: Cast) -> Mapping[str, Actor]:
    """A regulating doctor, one of a sector that needs a grant, a laboratory that claims an emergency, a gateway."""
    known = actors(cast)
    stranger = known["other_doctor"]
    return {
        "second": replace(stranger, name="Second login"),
        "regulating": replace(known["regulator"], keys=known["regulator"].keys | {REGULATION}),
        "insurer": replace(stranger, sector="SA66"),
        "claiming": replace(known["lgc"], mode="bris_de_glace"),
        "secretly": replace(stranger, secret=True),
        "gateway": Actor("ncp", "Device/ncp", "NCP", "", country="DE", mode="bris_de_glace"),
        "narrow": replace(stranger, scopes=("user/Observation.rs",)),
    }


@pytest.fixture
def clinic(tmp_path: Any) -> Iterator[House]:
    """A house of one test's own, with these guests."""
    yield from open_house(tmp_path, guests)


def declared(caller: Caller, patient: str, operation: str, **values: Any) -> httpx.Response:
    """The answer to an operation with parameters, each as (member, value)."""
    parameters = [{"name": name, member: value} for name, (member, value) in values.items()]
    body = {"resourceType": "Parameters", **({"parameter": parameters} if parameters else {})}
    return caller.post(f"{patient}/${operation}", body)


def emergency(caller: Caller, patient: str, reason: str = REASON, mode: str = "") -> httpx.Response:
    """A declared emergency."""
    more = {"mode": ("valueCode", mode)} if mode else {}
    return declared(caller, patient, "declare-emergency", reason=("valueString", reason), **more)


def documents(caller: Caller, patient: str) -> int:
    """How many documents the caller finds."""
    answer = caller.get(f"DocumentReference?status=current&patient={patient}&_total=accurate")
    assert answer.status_code == 200, answer.text
    return int(answer.json()["total"])


def test_an_attested_consent_opens_the_record_to_this_session_alone(clinic: House) -> None:
    """L69: not to another login of the same professional, nor another record; and it is in the patient's log."""
    patient, child = clinic.cast["patient"], clinic.cast["child"]
    assert documents(clinic.other_doctor, patient) == 0
    answer = clinic.other_doctor.post(f"{patient}/$attest-consent", b"")
    assert answer.status_code == 200, answer.text
    assert documents(clinic.other_doctor, patient) > 0
    assert clinic.other_doctor.get(patient).status_code == 200
    assert "X-Access-Mode" not in clinic.other_doctor.get(patient).headers
    assert clinic.other_doctor.get(child).status_code == 404
    assert documents(clinic.second, patient) == 0
    log = clinic.patient.get(f"AuditEvent?patient={patient}&subtype=AuthZ-Consent").json()
    told = [each["resource"] for each in log["entry"] if "$attest-consent" in str(each["resource"]["subtype"])]
    assert len(told) == 1


@pytest.mark.parametrize(
    ("name", "values", "status"),
    [
        ("other_doctor", {"minutes": ("valueInteger", 61)}, 422),
        ("other_doctor", {"minutes": ("valueInteger", 0)}, 422),
        ("other_doctor", {"minutes": ("valueString", "5")}, 422),
        ("other_doctor", {"beneficiary": ("valueString", "Dr X")}, 422),
        ("other_doctor", {"else": ("valueString", "Dr X")}, 400),
        ("insurer", {}, 403),
        ("patient", {}, 403),
        ("representative", {}, 403),
        ("app", {}, 403),
        ("admin", {}, 403),
        ("gateway", {}, 403),
        ("narrow", {}, 403),
        ("nobody", {}, 401),
    ],
)
def test_a_consent_is_attested_by_a_professional_for_an_hour_at_the_most(
    houses: House, name: str, values: dict[str, Any], status: int
) -> None:
    """Nobody else, no longer, and not where the sector wants the patient's own grant."""
    caller = houses.callers[name]
    assert declared(caller, houses.cast["patient"], "attest-consent", **values).status_code == status
    if status == 403 and name == "insurer":
        assert documents(caller, houses.cast["patient"]) == 0


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house for tests that open nothing."""
    yield from open_house(tmp_path_factory.mktemp("openings"), guests)


def test_a_shorter_consent_may_name_who_benefits(clinic: House) -> None:
    """The end of the opening is told; the beneficiary is a professional by the RPPS identifier."""
    rpps = {"system": "https://rpps.esante.gouv.fr", "value": "99900000022"}
    values = {"minutes": ("valueInteger", 5), "beneficiary": ("valueIdentifier", rpps)}
    answer = declared(clinic.other_doctor, clinic.cast["patient"], "attest-consent", **values)
    assert answer.status_code == 200, answer.text
    [until] = [each["valueInstant"] for each in answer.json()["parameter"] if each["name"] == "until"]
    assert until


def test_an_emergency_is_for_one_patient_with_a_reason_and_everyone_is_told(clinic: House) -> None:
    """L71, REC-112: the flag on every answer, a notice to the holder and the médecin traitant, a queue for review."""
    patient, child = clinic.cast["patient"], clinic.cast["child"]
    doctor = clinic.other_doctor
    for reason in ("urgent", "   urgent      "):
        assert emergency(doctor, patient, reason).status_code == 422
    assert documents(doctor, patient) == 0
    answer = emergency(doctor, patient)
    assert answer.status_code == 200, answer.text
    assert documents(doctor, patient) > 0
    assert doctor.get(child).status_code == 404
    for read in (doctor.get(patient), doctor.get("Practitioner"), doctor.get(f"Condition?patient={patient}")):
        assert read.headers["X-Access-Mode"].startswith(f"bris_de_glace; patient={patient}; until=")
    for reader in (clinic.patient, clinic.medecin_traitant):
        [notice] = reader.get(f"Communication?patient={patient}").json()["entry"]
        assert REASON in notice["resource"]["payload"][0]["contentString"]
        assert REASON in notice["resource"]["payload"][1]["contentString"]
    assert clinic.app.get(f"Communication?patient={patient}").status_code == 403
    assert documents(clinic.care_team, patient) > 0
    assert clinic.care_team.get(f"Communication?patient={patient}").json().get("entry") is None
    queue = clinic.admin.post("$review-emergencies", b"")
    assert queue.status_code == 200, queue.text
    [waiting] = queue.json()["parameter"]
    said = {each["name"]: each for each in waiting["part"]}
    assert said["patient"]["valueReference"]["reference"] == patient
    assert said["rpps"]["valueString"] == "99900000022"
    assert REASON not in queue.text
    done = {"name": "reviewed", "valueString": said["id"]["valueString"]}
    after = clinic.admin.post("$review-emergencies", {"resourceType": "Parameters", "parameter": [done]})
    assert after.status_code == 200
    assert "parameter" not in after.json()
    done["valueString"] = "nothing"
    again = clinic.admin.post("$review-emergencies", {"resourceType": "Parameters", "parameter": [done]})
    assert again.status_code == 422
    assert doctor.post("$review-emergencies", b"").status_code == 403


def test_an_emergency_ends_by_itself(clinic: House) -> None:
    """I13: at the instant it ends, with its flag; the record is as it was."""
    patient = clinic.cast["patient"]
    assert emergency(clinic.other_doctor, patient).status_code == 200
    assert documents(clinic.other_doctor, patient) > 0

    async def over() -> None:
        async with services(clinic.settings) as parts:
            ledger, now = parts.store.ledger, parts.clock()
            sessions = {key.partition(" ")[0] for key in await ledger.keys("token-of-session", now=now)}
            for session in sessions:
                await amend(ledger, session, lambda actor: _ended(actor, now), now)

    asyncio.run(over())
    assert documents(clinic.other_doctor, patient) == 0
    assert "X-Access-Mode" not in clinic.other_doctor.get("Practitioner").headers


def _ended(actor: Actor, now: int) -> Actor:
    """The same, as if what it declared had been declared so long ago that it ends now."""
    return replace(actor, openings=tuple(str(each._replace(until=now)) for each in openings_of(actor)))


def test_an_opposed_emergency_is_refused(clinic: House) -> None:
    """L71, D02: 403, for that mode alone; no notice of what did not happen; the other still opens."""
    patient = clinic.cast["patient"]
    opposed = consent(patient, "no-emergency", {"type": "deny", "purpose": [BTG]})
    assert clinic.patient.post("Consent", opposed).status_code == 201
    assert emergency(clinic.regulating, patient).status_code == 403
    assert documents(clinic.regulating, patient) == 0
    assert clinic.patient.get(f"Communication?patient={patient}").json()["total"] == 0
    assert emergency(clinic.regulating, patient, mode="centre_15").status_code == 200
    assert documents(clinic.regulating, patient) > 0


def test_an_opposition_said_afterwards_ends_the_emergency(clinic: House) -> None:
    """access §5: from the next request on."""
    patient = clinic.cast["patient"]
    assert emergency(clinic.other_doctor, patient).status_code == 200
    opposed = consent(patient, "no-emergency", {"type": "deny", "purpose": [BTG]})
    assert clinic.patient.post("Consent", opposed).status_code == 201
    assert documents(clinic.other_doctor, patient) == 0


def test_regulation_wants_its_right_and_passes_over_a_block_only(clinic: House) -> None:
    """Centre 15: `Acces_Regulation_Medicale`; D03 is not asked, D08 and masks hold; its own D02."""
    patient = clinic.cast["patient"]
    assert emergency(clinic.other_doctor, patient, mode="centre_15").status_code == 403
    rpps = {"identifier": {"system": "https://rpps.esante.gouv.fr", "value": "99900000055"}}
    block = consent(patient, "block", {"type": "deny", "actor": named(rpps)})
    assert clinic.patient.post("Consent", block).status_code == 201
    assert emergency(clinic.regulating, patient).status_code == 200
    assert documents(clinic.regulating, patient) == 0
    answer = emergency(clinic.regulating, patient, mode="centre_15")
    assert answer.status_code == 200, answer.text
    seen = clinic.regulating.get(f"DocumentReference?status=current&patient={patient}").json()["entry"]
    assert clinic.regulating.get(patient).headers["X-Access-Mode"]
    data = [{"meaning": "instance", "reference": {"reference": f"DocumentReference/{seen[0]['resource']['id']}"}}]
    assert clinic.patient.post("Consent", consent(patient, "mask", {"type": "deny", "data": data})).status_code == 201
    assert documents(clinic.regulating, patient) == len(seen) - 1
    opposed = consent(patient, "no-emergency", {"type": "deny", "purpose": [REGULATED]})
    assert clinic.patient.post("Consent", opposed).status_code == 201
    assert documents(clinic.regulating, patient) == 0
    assert emergency(clinic.regulating, patient, mode="centre_15").status_code == 403


def test_what_a_token_claims_opens_nothing_without_a_declaration(clinic: House) -> None:
    """access §7, the LGC's purpose: the same path, the reason included; an NCP's emergency is refused."""
    patient = clinic.cast["patient"]
    before = documents(clinic.claiming, patient)
    assert before == documents(clinic.lgc, patient)
    assert declared(clinic.claiming, patient, "declare-emergency").status_code == 422
    assert emergency(clinic.claiming, patient).status_code == 200
    assert documents(clinic.claiming, patient) >= before
    assert emergency(clinic.gateway, patient).status_code == 403
    assert emergency(clinic.other_doctor, patient, mode="normal").status_code == 422


def test_a_record_that_is_not_open_is_opened_by_nobody(clinic: House) -> None:
    """D01: the same bytes as for a patient who is not here."""
    patient = clinic.cast["patient"]
    assert clinic.patient.post("Consent", consent(patient, "opposition", {"type": "deny"})).status_code == 201
    for ask in (emergency, lambda caller, who: caller.post(f"{who}/$attest-consent", b"")):
        closed, unknown = ask(clinic.other_doctor, patient), ask(clinic.other_doctor, "Patient/none")
        assert closed.status_code == unknown.status_code == 404
        assert closed.content == unknown.content


def test_in_a_secret_session_the_representatives_are_not_told(clinic: House) -> None:
    """access §7: no notice, no line of the log, to them; the médecin traitant and the patient are told."""
    child = clinic.cast["child"]
    assert emergency(clinic.secretly, child).status_code == 200
    assert clinic.representative.get(f"Communication?patient={child}").json()["total"] == 0
    assert "declare-emergency" not in clinic.representative.get(f"AuditEvent?patient={child}&_count=100").text
    assert emergency(clinic.other_doctor, child).status_code == 200
    assert clinic.representative.get(f"Communication?patient={child}").json()["total"] == 1
    assert "declare-emergency" in clinic.representative.get(f"AuditEvent?patient={child}&_count=100").text


def test_an_opening_is_asked_for_by_post(houses: House) -> None:
    """405 by GET; the statement lists what is offered."""
    patient = houses.cast["patient"]
    for name in ("$attest-consent", "$declare-emergency"):
        assert houses.other_doctor.get(f"{patient}/{name}").status_code == 405
    told = houses.nobody.get("metadata").json()["rest"][0]["resource"]
    [of_patient] = [each for each in told if each["type"] == "Patient"]
    offered = {each["name"] for each in of_patient["operation"]}
    assert {"attest-consent", "declare-emergency", "explain-access", "everything"} <= offered
