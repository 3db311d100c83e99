"""The policy of a record, read from a real store: directives, teams, médecin traitant, representatives (access §3)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fhir_server.consent.policy import PolicyCache
from fhir_server.fhir.dates import date_range
from tests.consent.consent_store import BASE, NOW, PATIENT, House, house
from tests.consent.test_directives import VALID, consent

P1 = {"reference": "Patient/p1"}
CHILD = {"resourceType": "Patient", "birthDate": "2012-06-15"}
MOTHER = {
    "resourceType": "RelatedPerson",
    "patient": P1,
    "relationship": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "MTH"}]}],
}


def run(folder: Path, story: Callable[[House], Awaitable[None]]) -> None:
    """Play a story in an empty house."""

    async def play() -> None:
        async with house(folder) as empty:
            await story(empty)

    asyncio.run(play())


def test_an_unknown_patient_has_a_closed_record(tmp_path: Path) -> None:
    """Fail closed."""

    async def story(at: House) -> None:
        policy = await at.policy("nobody")
        assert policy.closed
        assert not policy.exists

    run(tmp_path, story)


def test_directives_of_this_patient_alone_are_read(tmp_path: Path) -> None:
    """All of them, over many pages, with the ids of their Consents."""

    async def story(at: House) -> None:
        await at.put({"resourceType": "Patient"}, "p1")
        await at.put({"resourceType": "Patient"}, "p2")
        for number in range(7):
            await at.put(VALID["block a country"][0], f"c{number}", PATIENT)
        await at.put(
            {
                **VALID["opposition"][0],
                "patient": {"reference": "Patient/p2"},
                "performer": [{"reference": "Patient/p2"}],
            },
            "other",
        )
        policy = await at.policy()
        assert {each.consent for each in policy.directives} == {f"c{number}" for number in range(7)}
        assert not policy.closed
        assert (await at.policy("p2")).closed

    run(tmp_path, story)


def test_many_sources_are_read_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record with more directives than a page holds loses none."""
    monkeypatch.setattr("fhir_server.consent.policy._PAGE", 2)

    async def story(at: House) -> None:
        await at.put({"resourceType": "Patient"}, "p1")
        for number in range(5):
            await at.put(VALID["block a country"][0], f"c{number}", PATIENT)
        assert len((await at.policy()).directives) == 5

    run(tmp_path, story)


def test_a_directive_that_cannot_be_read_shuts_the_record(tmp_path: Path) -> None:
    """It might be a deny: `readable` is false, whatever the others say."""

    async def story(at: House) -> None:
        await at.put({"resourceType": "Patient"}, "p1")
        await at.put({"resourceType": "Consent", "patient": P1, "status": "active"}, "c1", PATIENT)
        policy = await at.policy()
        assert not policy.readable
        assert not policy.closed

    run(tmp_path, story)


def test_a_record_is_closed_by_the_patient_or_by_the_account_service(tmp_path: Path) -> None:
    """D01 while it is active, or Patient.active false (PAT-10)."""

    async def story(at: House) -> None:
        await at.put({"resourceType": "Patient"}, "p1")
        await at.put(VALID["opposition"][0], "c1", PATIENT)
        assert (await at.policy()).closing == {"c1"}
        await at.put({**VALID["opposition"][0], "status": "inactive"}, "c1", PATIENT, version=2)
        assert not (await at.policy()).closed
        await at.put({"resourceType": "Patient", "active": False}, "p1", version=2)
        assert (await at.policy()).closed

    run(tmp_path, story)


def test_a_mask_covers_the_lineage_of_what_it_names(tmp_path: Path) -> None:
    """Named is the replacement; masked is the chain, also once that document is gone."""

    async def story(at: House) -> None:
        await at.put({"resourceType": "Patient"}, "p1")
        document = await at.put({"resourceType": "DocumentReference", "subject": P1}, "d1")
        await at.put(VALID["mask"][0], "c1", PATIENT)
        [mask] = (await at.policy()).directives
        assert (await at.policy()).lineage(mask) == "DocumentReference/d1"
        await at.delete(document)
        assert (await at.policy()).lineage(mask) == "DocumentReference/d1"

    run(tmp_path, story)


def test_a_team_counts_while_it_is_active_and_for_members_in_their_time(tmp_path: Path) -> None:
    """PRO-6: status, period of the team, period of the participant."""

    async def story(at: House) -> None:
        await at.put({"resourceType": "Patient"}, "p1")
        member = {"member": {"reference": "PractitionerRole/r"}, "period": {"start": "2026-01-01", "end": "2026-05-31"}}
        absolute = {"member": {"reference": f"{BASE}/Practitioner/y"}}
        numbered = {"member": {"identifier": {"system": "https://rpps.esante.gouv.fr", "value": "10000000009"}}}
        team = {
            "resourceType": "CareTeam",
            "status": "active",
            "subject": P1,
            "participant": [member, absolute, numbered],
        }
        await at.put(team, "t1")
        [found] = (await at.policy()).teams
        assert found.holds(frozenset({"PractitionerRole/r"}), date_range("2026-05-31T21:59:59Z")[0])
        assert not found.holds(frozenset({"PractitionerRole/r"}), date_range("2026-05-31T22:00:00Z")[0])
        assert found.holds(frozenset({"Practitioner/y"}), NOW)
        assert found.holds(frozenset({"rpps:10000000009"}), NOW)
        assert not found.holds(frozenset({"Practitioner/z"}), NOW)
        await at.put({**team, "status": "inactive"}, "t1", version=2)
        assert (await at.policy()).teams == ()

    run(tmp_path, story)


def test_the_medecin_traitant_is_a_person(tmp_path: Path) -> None:
    """generalPractitioner naming an organisation makes nobody médecin traitant."""

    async def story(at: House) -> None:
        named = [
            {"reference": "Organization/o"},
            {"reference": "Practitioner/x"},
            {"identifier": {"system": "urn:oid:1.2.250.1.71.4.2.1", "value": "810000000001"}},
            {"identifier": {"system": "https://finess.esante.gouv.fr", "value": "990000001"}},
        ]
        await at.put({"resourceType": "Patient", "generalPractitioner": named}, "p1")
        assert (await at.policy()).practitioners == {"Practitioner/x", "rpps:10000000001"}

    run(tmp_path, story)


@pytest.mark.parametrize(
    ("patient", "related", "represents"),
    [
        (CHILD, MOTHER, True),
        ({**CHILD, "birthDate": "2008-06-01"}, MOTHER, False),
        ({**CHILD, "birthDate": "2008-06-02"}, MOTHER, True),
        ({"resourceType": "Patient"}, MOTHER, False),
        ({"resourceType": "Patient"}, {**MOTHER, "period": {"end": "2026-12-31"}}, True),
        (CHILD, {**MOTHER, "period": {"end": "2026-05-31"}}, False),
        (CHILD, {**MOTHER, "active": False}, False),
        ({**CHILD, "deceasedDateTime": "2026-05-01"}, MOTHER, False),
        ({**CHILD, "birthDate": "1950-01-01"}, MOTHER, False),
        ({**CHILD, "birthDate": "1950-01-01"}, {**MOTHER, "period": {"start": "2020-01-01"}}, True),
        (CHILD, {**MOTHER, "relationship": [{"coding": [{"code": "MTH"}]}]}, False),
        (
            CHILD,
            {
                **MOTHER,
                "relationship": [
                    {"coding": [{"system": MOTHER["relationship"][0]["coding"][0]["system"], "code": "NBOR"}]}
                ],
            },  # type: ignore[index]
            False,
        ),
        (CHILD, {k: v for k, v in MOTHER.items() if k != "relationship"}, False),
    ],
    ids=[
        "a child's mother",
        "of age today",
        "of age tomorrow",
        "no birth date",
        "no birth date but an end",
        "authority ended",
        "no longer active",
        "deceased",
        "an adult's mother",
        "guardian since adulthood",
        "a code of no system",
        "a neighbour",
        "no relationship",
    ],
)
def test_who_represents_a_patient(tmp_path: Path, patient: Any, related: Any, represents: bool) -> None:
    """Parents and those the law puts in their place, until the 18th birthday in Paris (record REC-100 to REC-109)."""

    async def story(at: House) -> None:
        await at.put(patient, "p1")
        await at.put(related, "r1")
        assert (await at.policy()).represents("RelatedPerson/r1", NOW) is represents
        assert not (await at.policy()).represents("RelatedPerson/r2", NOW)

    run(tmp_path, story)


def test_the_next_request_after_a_consent_obeys_it(tmp_path: Path) -> None:
    """I12: the cache is asked by version, and old policies are forgotten."""

    async def story(at: House) -> None:
        cache = PolicyCache(size=1)

        async def policy(patient: str) -> Any:
            async with at.store.snapshot() as snapshot:
                return await cache.policy(snapshot, patient)

        await at.put({"resourceType": "Patient"}, "p1")
        first = await policy("p1")
        assert await policy("p1") is first
        await at.put(consent("opposition"), "c1", PATIENT)
        assert (await policy("p1")).closed
        await policy("p2")
        assert (await policy("p1")) is not first

    run(tmp_path, story)
