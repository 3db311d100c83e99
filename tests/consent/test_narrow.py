"""From a request to a predicate, over a real store: which record, whose policy, what is seen (access §3.1, §3.5)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from fhir_server.auth.actor import Actor
from fhir_server.consent.narrow import Narrow
from fhir_server.errors import Forbidden
from fhir_server.search.entries import Entries
from fhir_server.search.facts import Facts
from fhir_server.search.match import Row, holds
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import Eq, Predicate, conj, disj, negate
from fhir_server.settings import Settings
from tests.consent.consent_store import BASE, COLLEAGUE, DOCTOR, PATIENT, REPRESENTATIVE, House
from tests.consent.consent_worlds import MATRIX, NOW, RULES, random_world
from tests.consent.test_directives import VALID, actor, consent
from tests.consent.test_policy import CHILD, MOTHER, run

P1 = {"reference": "Patient/p1"}
APPLICATION = Actor(
    "app",
    "Device/a",
    "A",
    "j",
    frozenset({"client:demo-app"}),
    ("p1",),
    authoriser="patient",
    authoriser_key="Patient/p1",
)


def document(content: str = "", **more: object) -> dict[str, object]:
    """A consultation report of p1."""
    coded = {"coding": [{"system": "http://loinc.org", "code": "11488-4"}]}
    attachment = {"url": content} if content else {"title": "x"}
    return {
        "resourceType": "DocumentReference",
        "subject": P1,
        "type": coded,
        "content": [{"attachment": attachment}],
        **more,
    }


def test_one_consent_hides_a_document_and_ending_it_shows_it_again(tmp_path: Path) -> None:
    """The story of the front page: read, hide, not found, ask; nothing else is written on the document."""

    async def story(at: House) -> None:
        await at.put({"resourceType": "Patient"}, "p1")
        await at.put(document(), "d1", COLLEAGUE)
        assert not await at.sees(DOCTOR, "DocumentReference/d1")
        grant = consent(
            "grant",
            purpose=VALID["grant"][0]["provision"]["purpose"],
            actor=actor("https://rpps.esante.gouv.fr", "10000000001"),
            period={"start": "2026-01-01"},
        )
        await at.put(grant, "c1", PATIENT)
        assert await at.sees(DOCTOR, "DocumentReference/d1")
        await at.put(VALID["mask"][0], "c2", PATIENT)
        assert not await at.sees(DOCTOR, "DocumentReference/d1")
        assert await at.sees(COLLEAGUE, "DocumentReference/d1")
        assert await at.sees(PATIENT, "DocumentReference/d1")
        await at.put({**VALID["mask"][0], "status": "inactive"}, "c2", PATIENT, version=2)
        assert await at.sees(DOCTOR, "DocumentReference/d1")

    run(tmp_path, story)


@pytest.mark.parametrize("url", ["Binary/b1", f"{BASE}/Binary/b1"])
def test_content_is_seen_through_its_document(tmp_path: Path, url: str) -> None:
    """DOC-11: the content has no policy of its own; unlinked, it is its depositor's for an hour."""

    async def story(at: House) -> None:
        await at.put({"resourceType": "Patient", "generalPractitioner": [{"reference": "Practitioner/x"}]}, "p1")
        await at.put({"resourceType": "Binary"}, "b1", COLLEAGUE)
        assert await at.sees(COLLEAGUE, "Binary/b1")
        assert not await at.sees(DOCTOR, "Binary/b1")
        at.now += 3_600_000_000
        assert not await at.sees(COLLEAGUE, "Binary/b1")
        await at.put(document(url), "d1", COLLEAGUE)
        for each in (COLLEAGUE, DOCTOR, PATIENT):
            assert await at.sees(each, "Binary/b1")
        stranger = replace(COLLEAGUE, keys=frozenset({"rpps:10000000003"}))
        assert not await at.sees(stranger, "Binary/b1")
        async with at.store.snapshot() as snapshot:
            for link in ("Binary/b1", "DocumentReference/d1"):
                found = await at.narrow.whereabouts(snapshot, *link.split("/"))
                assert [(each.rtype, each.id, each.patient) for each in found] == [("DocumentReference", "d1", "p1")]
            assert await at.narrow.whereabouts(snapshot, "Binary", "none") == []
            own = await snapshot.read("DocumentReference", "d1", visible=at.narrow.own(COLLEAGUE))
            assert own is not None

    run(tmp_path, story)


def test_a_carrier_is_seen_when_all_that_it_carries_is(tmp_path: Path) -> None:
    """L39: a Provenance of a hidden document is hidden; that the Patient is not seen hides nothing."""

    async def story(at: House) -> None:
        await at.put({"resourceType": "Patient"}, "p1", COLLEAGUE)
        await at.put(document(), "d1", COLLEAGUE)
        await at.put(document(), "d2", DOCTOR)
        for id, target in (("v1", "DocumentReference/d1"), ("v2", "DocumentReference/d2")):
            await at.put({"resourceType": "Provenance", "target": [P1, {"reference": target}]}, id, DOCTOR)
        assert await at.sees(DOCTOR, "Provenance/v2")
        assert not await at.sees(DOCTOR, "Provenance/v1")
        assert not await at.sees(DOCTOR, "Patient/p1")
        assert await at.sees(PATIENT, "Provenance/v1")

    run(tmp_path, story)


def test_a_search_is_confined_to_the_records_that_it_names_and_the_caller_may_open(tmp_path: Path) -> None:
    """A professional who names none sees the directory alone; a patient sees their own whatever they name."""

    async def story(at: House) -> None:
        for patient in ("p1", "p2"):
            await at.put({"resourceType": "Patient", "generalPractitioner": [{"reference": "Practitioner/x"}]}, patient)
            await at.put({"resourceType": "Condition", "subject": {"reference": f"Patient/{patient}"}}, f"{patient}-c")
        await at.put({"resourceType": "Practitioner"}, "x")

        async def found(actor: Actor, patients: tuple[str, ...] | None) -> set[str]:
            async with at.store.snapshot() as snapshot:
                visible = await at.narrow.for_search(snapshot, actor, patients)
                rows = await snapshot.search(Plan(types=("Condition", "Practitioner")), visible=visible)
            return {each.id for each in rows}

        assert await found(DOCTOR, None) == {"x"}
        assert await found(DOCTOR, ("p1",)) == {"x", "p1-c"}
        assert await found(DOCTOR, ("p1", "p2", "nobody")) == {"x", "p1-c", "p2-c"}
        assert await found(PATIENT, None) == {"x", "p1-c"}
        assert await found(PATIENT, ("p2",)) == {"x"}
        assert await found(Actor("lgc", "Device/l", "L", "j"), ("p1",)) == {"x"}
        assert await found(Actor("unknown", "Device/l", "L", "j"), ("p1",)) == set()

    run(tmp_path, story)


def test_who_must_name_a_patient(tmp_path: Path) -> None:
    """Professionals and gateways, for types of the record; looking a patient up is how one learns whom to name."""

    async def story(at: House) -> None:
        assert at.narrow.must_name_patient(DOCTOR, ("Observation",))
        assert at.narrow.must_name_patient(Actor("ncp", "Device/n", "N", "j"), ("Practitioner", "Observation"))
        assert not at.narrow.must_name_patient(DOCTOR, ("Practitioner",))
        assert not at.narrow.must_name_patient(DOCTOR, ("Patient",))
        assert not at.narrow.must_name_patient(PATIENT, ("Observation",))

    run(tmp_path, story)


def test_a_depositor_finds_patients_and_nothing_else() -> None:
    """PAT-9: feeding a record needs no gate."""
    narrow = Narrow(MATRIX, Settings(), lambda: NOW)

    def finds(actor: Actor, type_: str) -> bool:
        return holds(narrow.for_deposit(actor), Row(Facts(type_, "1", "record", "p1"), Entries(), 0))

    assert finds(DOCTOR, "Patient")
    assert not finds(DOCTOR, "Observation")
    assert not finds(PATIENT, "Patient")
    assert not finds(Actor("ncp", "Device/n", "N", "j"), "Patient")


def test_the_widest_predicate_is_not_too_deep_for_the_store(tmp_path: Path) -> None:
    """SQL parsers have a bounded stack; whatever the policies, there is room for a search around the predicate."""

    async def story(at: House) -> None:
        where: Predicate = Eq("id", "none")
        for level in range(8):
            where = negate(conj(disj(where, Eq("id", f"or{level}")), Eq("type_code", f"and{level}")))
        async with at.store.snapshot() as snapshot:
            for seed in range(60):
                world = random_world(Random(seed), closing=False)
                visible = RULES.predicate(world.actor, world.policies, NOW)
                found = await snapshot.search(Plan(types=("Task", "Observation"), where=where), visible=visible)
                assert found == []

    run(tmp_path, story)


def test_a_representative_reads_until_the_day_of_majority(tmp_path: Path) -> None:
    """L70: not even what they read the day before."""

    async def story(at: House) -> None:
        await at.put(CHILD, "p1")
        await at.put(MOTHER, "r1")
        await at.put(document(), "d1")
        assert await at.sees(REPRESENTATIVE, "DocumentReference/d1")
        at.now = 1_907_704_800_000_000 - 1  # 2030-06-15T00:00:00+02:00
        assert await at.sees(REPRESENTATIVE, "DocumentReference/d1")
        at.now += 1
        assert not await at.sees(REPRESENTATIVE, "DocumentReference/d1")
        assert await at.sees(PATIENT, "DocumentReference/d1")

    run(tmp_path, story)


def test_an_application_is_told_when_a_type_is_not_shared_with_it(tmp_path: Path) -> None:
    """D09: 403 for its own grant; within it, what is hidden is simply not there."""

    async def story(at: House) -> None:
        await at.put({"resourceType": "Patient"}, "p1")
        async with at.store.snapshot() as snapshot:
            with pytest.raises(Forbidden, match="Consent not given"):
                await at.narrow.check_shared(snapshot, APPLICATION, "AllergyIntolerance")
        await at.put(VALID["application"][0], "c1", PATIENT)
        await at.put({"resourceType": "AllergyIntolerance", "patient": P1}, "a1")
        await at.put({"resourceType": "Goal", "subject": P1}, "g1")
        async with at.store.snapshot() as snapshot:
            await at.narrow.check_shared(snapshot, PATIENT, "Goal")
            for shared in ("AllergyIntolerance", "DocumentReference", "Practitioner"):
                await at.narrow.check_shared(snapshot, APPLICATION, shared)
            for kept in ("Goal", "Communication", "Consent", "AuditEvent"):
                with pytest.raises(Forbidden):
                    await at.narrow.check_shared(snapshot, APPLICATION, kept)
        assert await at.sees(APPLICATION, "AllergyIntolerance/a1")
        assert not await at.sees(APPLICATION, "Goal/g1")

    run(tmp_path, story)


def test_the_server_without_authorization_shows_everything(tmp_path: Path) -> None:
    """Role open: no policy is read."""

    async def story(at: House) -> None:
        await at.put({"resourceType": "Patient"}, "p1")
        assert await at.sees(Actor("open", "", "open", ""), "Patient/p1")
        async with at.store.snapshot() as snapshot:
            visible = await at.narrow.for_search(snapshot, Actor("open", "", "open", ""), None)
            assert await snapshot.count(Plan(types=("Patient",), where=Eq("id", "p1")), visible=visible) == 1

    run(tmp_path, story)
