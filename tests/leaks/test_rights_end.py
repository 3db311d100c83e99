"""The leak catalogue (spec access §8) on rights that end, that are another's, or for another record: one test an id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import time_ns
from typing import Any

import pytest

from fhir_server.auth.actor import Actor
from fhir_server.auth.tokens import issue
from fhir_server.consent.openings import BRIS_DE_GLACE, CENTRE_15, CONSULT, Opening
from fhir_server.demo.build import DAY, Cast, actors
from fhir_server.demo.family import PATIENTS, care_team, consent, named, patient, related_person
from tests.conftest import Caller, House, open_house
from tests.leaks import stores
from tests.leaks.test_hidden_is_absent import NEVER, OBSERVATION, same
from tests.leaks.test_review_findings import document, made
from tests.oauth import office
from tests.operations.test_openings import BTG, emergency
from tests.scenarios.test_the_patient_decides import mask

TITLE = "Annonce à venir"
TREAT = [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"}]
_TRE_A07 = "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"


def rpps(number: str) -> list[dict[str, Any]]:
    """A professional as the actor of a directive."""
    return named({"identifier": {"system": "https://rpps.esante.gouv.fr", "value": number}})


def labelled(code: str) -> list[dict[str, Any]]:
    """The label of a document with that visibility."""
    return [{"coding": [{"system": _TRE_A07, "code": code}]}]


@contextmanager
def said(holder: Caller, record: str, policy: str, provision: dict[str, Any]) -> Iterator[str]:
    """For the length of a block, a directive of the holder; its url."""
    asked = {**consent(record, policy, provision), "performer": [{"reference": holder.reference}]}
    place = made(holder.post("Consent", asked))
    try:
        yield place
    finally:
        ended(holder, place)


def ended(holder: Caller, place: str) -> None:
    """Take a directive back."""
    given = holder.get(place).json()
    assert holder.put(place, {**given, "status": "inactive"}).status_code == 200


@dataclass
class Scene:
    """A record with a visible document and a masked one, and another record; doctors who have nothing to do with it."""

    house: House
    patient: str
    child: str
    seen: str
    hidden: str

    def token(self, actor: Actor) -> Caller:
        """A caller as that actor."""

        async def give(ledger: Any) -> str:
            return await issue(ledger, actor, ttl=DAY, now=time_ns() // 1000)

        with office(self.house) as desk:
            return Caller(self.house.patient.http, desk.ledger(give), actor.reference)

    def absent(self, caller: Caller) -> None:
        """For this caller the record is as one that nobody has: by every way in."""
        for way in ("{}", "{}/$everything", "Observation?patient={}", "{}/DocumentReference", "{}/_history"):
            record, nobody = caller.get(way.format(self.patient)), caller.get(way.format(f"Patient/{NEVER}"))
            assert record.status_code == nobody.status_code
            assert record.json().get("entry") is None
            assert record.json().get("total", 0) == 0
        same(caller.get(self.seen), caller.get(f"DocumentReference/{NEVER}"))


def guests(cast: Cast) -> Mapping[str, Actor]:
    """A doctor who has nothing to do with the record, and logins of theirs whose openings open nothing of it."""
    stranger = replace(actors(cast)["other_doctor"], keys=frozenset({"rpps:99900000088", "Practitioner/stranger"}))
    stranger = replace(stranger, reference="Practitioner/stranger")
    now, record, other = time_ns() // 1000, cast.id("patient"), cast.id("child")

    def declared(*openings: Opening) -> Actor:
        return replace(stranger, openings=tuple(map(str, openings)))

    ends = (now - 1, other), (now + DAY, "")
    return {
        "stranger": stranger,
        "consult_over": declared(Opening(CONSULT, record, now - 1)),
        "consult_elsewhere": declared(*(Opening(CONSULT, each, until) for until, each in ends)),
        "emergency_over": declared(*(Opening(each, record, now - 1) for each in (BRIS_DE_GLACE, CENTRE_15))),
        "emergency_elsewhere": declared(Opening(BRIS_DE_GLACE, other, now + DAY)),
        "misread": replace(stranger, openings=(f"consult|{record}", f"consult|{record}|later", f"all|{record}|9", "x")),
        "claiming": replace(stranger, mode="bris_de_glace"),
    }


@contextmanager
def opened(folder: Path, **chosen: Any) -> Iterator[Scene]:
    """The house with its two records."""
    for house in open_house(folder, guests, **chosen):
        record = house.cast["patient"]
        seen, hidden = (made(house.lgc.post("DocumentReference", document(record))) for _ in range(2))
        mask(house, hidden)
        yield Scene(house, record, house.cast["child"], seen, hidden)


@pytest.fixture(scope="module", params=stores.STORES)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """On each store."""
    folder = tmp_path_factory.mktemp("rights")
    with opened(folder, **stores.chosen(request.param, folder)) as scene:
        yield scene


@pytest.mark.leak("L69")
@pytest.mark.parametrize(
    "who",
    ["stranger", "consult_over", "consult_elsewhere", "emergency_over", "emergency_elsewhere", "misread", "claiming"],
)
def test_l69_what_is_over_or_for_another_record_opens_nothing(scene: Scene, who: str) -> None:
    """An opening that ended, that is for another patient, that cannot be read; the mode that a token claims."""
    scene.absent(scene.house.callers[who])


@pytest.mark.leak("L69")
@pytest.mark.parametrize("how", ["of another patient", "ended", "left", "without consent", "consent ended"])
def test_l69_a_team_opens_its_own_record_while_it_lasts(scene: Scene, how: str) -> None:
    """A team of another patient, one that is over, a membership that is, a team nobody consented to, one taken back."""
    house = scene.house
    elsewhere = how == "of another patient"
    record, holder = (scene.child, house.representative) if elsewhere else (scene.patient, house.patient)
    team = care_team(record, [house.cast["other_doctor role"]], "2026-01-01")
    if how == "ended":
        team["period"]["end"] = "2026-02-01"
    if how == "left":
        team["participant"][0]["period"]["end"] = "2026-02-01"
    place = made(house.admin.post("CareTeam", team))
    if how == "without consent":
        scene.absent(house.other_doctor)
        return
    with said(holder, record, "care-team", {"type": "permit", "actor": named({"reference": place})}) as given:
        if how == "consent ended":
            assert house.other_doctor.get(scene.seen).status_code == 200
            ended(holder, given)
        if elsewhere:
            assert house.other_doctor.get(record).status_code == 200
        scene.absent(house.other_doctor)


@pytest.mark.leak("L69")
@pytest.mark.parametrize("how", ["another's", "over", "not yet", "taken back"])
def test_l69_a_grant_is_for_whom_it_names_and_while_it_lasts(scene: Scene, how: str) -> None:
    """D05: to another professional, ended, not begun, taken back."""
    house = scene.house
    period = {"over": ("2026-01-01", "2026-02-01"), "not yet": ("2090-01-01", "2099-01-01")}.get(how)
    start, end = period or ("2026-01-01", "2099-01-01")
    whom = rpps("99900000044" if how == "another's" else "99900000055")
    grant = {"type": "permit", "purpose": TREAT, "actor": whom, "period": {"start": start, "end": end}}
    with said(house.patient, scene.patient, "grant", grant) as given:
        if how == "taken back":
            assert house.regulator.get(scene.seen).status_code == 200
            ended(house.patient, given)
        scene.absent(house.regulator)


@pytest.mark.leak("L70")
def test_l70_representation_ends_at_majority(scene: Scene) -> None:
    """A token of before is of no use: neither the record nor its log, nor a word of the child who is none any more."""
    house = scene.house
    grown = replace(PATIENTS[2], key="grown", born="1999-01-19")
    unidentified = {name: each for name, each in patient(grown).items() if name != "identifier"}
    record = made(house.admin.post("Patient", unidentified))
    mother = made(house.admin.post("RelatedPerson", related_person(record, PATIENTS[1])))
    late = replace(
        actors(house.cast)["representative"],
        reference=mother,
        keys=frozenset({mother}),
        patients=(record.partition("/")[2],),
    )
    caller = scene.token(late)
    for way in ("{}", "{}/$everything", "{}/$explain-access", "{}/_history"):
        same(caller.get(way.format(record)), caller.get(way.format(f"Patient/{NEVER}")))
    for way in ("AuditEvent?patient={}", "{}/$access-log", "Observation?patient={}", "Consent?patient={}"):
        assert caller.get(way.format(record)).json().get("entry") is None
    closing = {**consent(record, "opposition", {"type": "deny"}), "performer": [{"reference": mother}]}
    assert caller.post("Consent", closing).status_code == 404
    assert caller.post("Observation", {**OBSERVATION, "subject": {"reference": record}}).status_code in (403, 404)


@pytest.mark.leak("L70")
def test_l70_what_is_hidden_from_representatives_leaves_no_line(scene: Scene) -> None:
    """Neither the document nor who read it, who deposited it, or what it is called."""
    house = scene.house
    shut = labelled("INVISIBLE_REPRESENTANTS_LEGAUX")
    hidden = made(house.lgc.post("DocumentReference", document(scene.child, securityLabel=shut, description=TITLE)))
    open_ = made(house.lgc.post("DocumentReference", document(scene.child)))
    house.lgc.get(hidden)
    house.lgc.get(open_)
    rep = house.representative
    same(rep.get(hidden), rep.get(f"DocumentReference/{NEVER}"))
    same(rep.get(f"{hidden}/$explain-access"), rep.get(f"DocumentReference/{NEVER}/$explain-access"))
    for log in (f"AuditEvent?patient={scene.child}&_count=500", f"{scene.child}/$access-log?_count=500"):
        told = rep.get(log)
        assert hidden.partition("/")[2] not in told.text
        assert TITLE not in told.text
        assert open_.partition("/")[2] in told.text
    assert rep.get(f"AuditEvent?patient={scene.child}&entity={hidden}").json().get("entry") is None


@pytest.mark.leak("L71")
def test_l71_an_emergency_is_for_one_patient_has_a_reason_and_pierces_no_mask(scene: Scene) -> None:
    """422 without a reason, = on a second patient, masked documents stay hidden, 403 where it is opposed."""
    house = scene.house
    doctor = scene.token(replace(actors(house.cast)["other_doctor"], session=""))
    for reason in ("urgent", "   urgent        "):
        assert emergency(doctor, scene.patient, reason).status_code == 422
    scene.absent(doctor)
    assert emergency(doctor, scene.patient).status_code == 200
    assert doctor.get(scene.seen).status_code == 200
    same(doctor.get(scene.hidden), doctor.get(f"DocumentReference/{NEVER}"))
    same(doctor.get(scene.child), doctor.get(f"Patient/{NEVER}"))
    assert doctor.get(f"Observation?patient={scene.child}").json().get("entry") is None
    with said(house.patient, scene.patient, "no-emergency", {"type": "deny", "purpose": [BTG]}):
        assert emergency(doctor, scene.patient).status_code == 403
        scene.absent(doctor)


@pytest.mark.leak("L72")
def test_l72_a_log_names_nothing_that_its_reader_may_not_see(scene: Scene) -> None:
    """A document not yet announced has no title, type or id in the patient's log; a professional's has no line."""
    house = scene.house
    waiting = labelled("INVISIBLE_PATIENT")
    place = made(house.lgc.post("DocumentReference", document(scene.patient, securityLabel=waiting, description=TITLE)))
    house.lgc.get(place)
    assert house.medecin_traitant.get(place).status_code == 200
    for log in (f"AuditEvent?patient={scene.patient}&_count=500", f"{scene.patient}/$access-log?_count=500"):
        told = house.patient.get(log)
        assert told.status_code == 200
        assert TITLE not in told.text
        assert place.partition("/")[2] not in told.text
        for caller in (house.medecin_traitant, house.care_team, house.lgc, house.admin, house.mother):
            answer = caller.get(log)
            assert answer.status_code in (200, 403)
            assert answer.json().get("entry") is None
    assert house.patient.get(f"AuditEvent?patient={scene.patient}&entity={place}").json().get("entry") is None


def test_a_directive_for_everyone_does_not_bind_the_medecin_traitant(scene: Scene) -> None:
    """access §3.5: only what names them does; a care team doctor is bound by both."""
    house = scene.house
    label = [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "HIV"}]
    told = document(scene.patient, securityLabel=[{"coding": label}])
    place = made(house.lgc.post("DocumentReference", told))
    assert house.care_team.get(place).status_code == 200
    hide: dict[str, Any] = {"type": "deny", "securityLabel": label}
    for who, seen in ((None, 200), (rpps("99900000011"), 404)):
        provision = {**hide, "actor": who} if who else hide
        with said(house.patient, scene.patient, "hide", provision):
            assert house.medecin_traitant.get(place).status_code == seen
            assert house.care_team.get(place).status_code == (200 if who else 404)


@pytest.mark.leak("L16")
def test_l16_what_has_no_category_and_no_time_is_counted_rightly(scene: Scene) -> None:
    """D08: what has no category is hidden with none; what has no time, for a time, is."""
    house = scene.house
    url = f"Observation?patient={scene.patient}&_total=accurate"
    place = made(house.lgc.post("Observation", {**OBSERVATION, "subject": {"reference": scene.patient}}))
    before = house.care_team.get(url).json()["total"]
    category = [{"system": "https://example.org/fhir-server/CodeSystem/mes-category", "code": "11"}]
    with said(house.patient, scene.patient, "hide", {"type": "deny", "securityLabel": category}):
        assert house.care_team.get(url).json()["total"] == before
        assert house.care_team.get(f"{url}&_id={place.partition('/')[2]}").json()["total"] == 1
    timeless = {"resourceType": "Condition", "subject": {"reference": scene.patient}, "code": {"text": "x"}}
    place = made(house.lgc.post("Condition", timeless))
    one = f"Condition?patient={scene.patient}&_id={place.partition('/')[2]}"
    told = house.care_team.get(f"{scene.patient}/$everything?start=2000-01-01&_type=Condition").json()
    assert place in [f"Condition/{each['resource']['id']}" for each in told["entry"]]
    dated = {"type": "deny", "securityLabel": category, "dataPeriod": {"start": "1990-01-01", "end": "1990-12-31"}}
    assert house.care_team.get(one).json()["total"] == 1
    with said(house.patient, scene.patient, "hide", dated):
        assert house.care_team.get(one).json()["total"] == 0


def test_a_directive_is_taken_back_whatever_became_of_what_it_is_about(scene: Scene) -> None:
    """A mask of a document that its author deleted, the consent to a team that is no more: the patient's word ends when
    the patient says so."""
    house = scene.house
    place = made(house.lgc.post("DocumentReference", document(scene.patient)))
    team = made(house.admin.post("CareTeam", care_team(scene.patient, [house.cast["nurse role"]], "2026-01-01")))
    data = [{"meaning": "instance", "reference": {"reference": place}}]
    deny, permit = {"type": "deny", "data": data}, {"type": "permit", "actor": named({"reference": team})}
    with said(house.patient, scene.patient, "mask", deny), said(house.patient, scene.patient, "care-team", permit):
        assert house.lgc.delete(place).status_code == 204
        assert house.admin.delete(team).status_code == 204
