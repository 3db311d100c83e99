"""What an update may change: in a document (DOC-20, DOC-21), and in a care team the patient consented to (D04)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fhir_server.auth.actor import Actor
from fhir_server.consent.decide import check_team_update
from fhir_server.consent.directives import Directive
from fhir_server.consent.document_changes import check_document_update
from fhir_server.consent.periods import Span
from fhir_server.consent.policy import RecordPolicy
from fhir_server.errors import Forbidden, MethodNotAllowed

NOW = 1_800_000_000_000_000
BASE = "https://here.example/fhir"
DOCTOR = Actor("ps", "Practitioner/x", "X", "j", frozenset({"rpps:10000000001"}), profession="10")
PATIENT = Actor("patient", "Patient/p1", "P", "j", patients=("p1",))
REPRESENTATIVE = Actor("rep", "RelatedPerson/r1", "R", "j", patients=("p1",))
APPLICATION = Actor("app", "Device/a", "A", "j", frozenset({"client:a"}), ("p1",))
OPEN = Actor("open", "", "open", "")
ARCHIVED = {
    "url": "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-ext-is-archived",
    "valueBoolean": True,
}
OTHER = {"url": "http://x", "valueString": "y"}
DOCUMENT = {
    "resourceType": "DocumentReference",
    "id": "d1",
    "meta": {"versionId": "1"},
    "extension": [OTHER],
    "status": "current",
    "type": {"coding": [{"system": "http://loinc.org", "code": "11502-2"}]},
    "category": [{"coding": [{"code": "10"}]}],
    "subject": {"reference": "Patient/p1"},
    "content": [{"attachment": {"url": "Binary/b1"}}],
}


def refused(actor: Actor, **changes: Any) -> set[str]:
    """The elements that a change of DOCUMENT is refused for; None takes an element out."""
    after = {name: each for name, each in {**DOCUMENT, **changes}.items() if each is not None}
    try:
        check_document_update(actor, DOCUMENT, after, own=True)
    except MethodNotAllowed as error:
        return {each.expression.removeprefix("DocumentReference.") for each in error.issues}
    return set()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"status": "superseded"},
        {"securityLabel": [{"coding": [{"code": "MASQUE_PS"}]}]},
        {"meta": {"tag": [{"code": "x"}]}},
        {"meta": None, "id": None},
        {"extension": [OTHER, ARCHIVED]},
        {"extension": [{**ARCHIVED, "valueBoolean": False}, OTHER]},
    ],
    ids=str,
)
def test_a_document_is_ended_labelled_and_archived(changes: dict[str, Any]) -> None:
    """The allow-list, whoever changes it."""
    for actor in (DOCTOR, APPLICATION, PATIENT, OPEN):
        assert refused(actor, **changes) == set()


@pytest.mark.parametrize(
    ("changes", "elements"),
    [
        ({"category": [{"coding": [{"code": "11"}]}]}, {"category"}),
        ({"category": None}, {"category"}),
        ({"type": {"text": "x"}, "description": "y"}, {"type", "description"}),
        ({"content": [{"attachment": {"url": "Binary/b2"}}]}, {"content"}),
        ({"extension": None}, {"extension"}),
        ({"extension": [{**OTHER, "valueString": "z"}, ARCHIVED]}, {"extension"}),
        ({"modifierExtension": [ARCHIVED]}, {"modifierExtension"}),
        ({"_status": {"extension": [OTHER]}}, {"status"}),
        ({"relatesTo": [{"code": "replaces", "target": {"reference": "DocumentReference/d0"}}]}, {"relatesTo"}),
    ],
)
def test_anything_else_in_a_document_is_replaced_not_changed(changes: dict[str, Any], elements: set[str]) -> None:
    """405 that names each element; the patient's side changes what is in its own documents."""
    for actor in (DOCTOR, APPLICATION, Actor("admin", "Device/a", "A", "j")):
        assert refused(actor, **changes) == elements
    for actor in (PATIENT, REPRESENTATIVE, OPEN):
        assert refused(actor, **changes) == set()


def test_nobody_changes_the_subject_of_a_document() -> None:
    """Not the patient either."""
    for actor in (DOCTOR, PATIENT, REPRESENTATIVE):
        assert refused(actor, subject={"reference": "Patient/p1", "display": "x"}) == {"subject"}


def test_other_resources_are_corrected_in_anything() -> None:
    """The allow-list is of documents."""
    before = {"resourceType": "Observation", "status": "final"}
    check_document_update(DOCTOR, before, {**before, "code": {"text": "x"}}, own=True)


def _member(reference: str, **period: str) -> dict[str, Any]:
    return {"member": {"reference": reference}, **({"period": period} if period else {})}


TEAM = {
    "resourceType": "CareTeam",
    "id": "t1",
    "status": "active",
    "period": {"start": "2026-01-01", "end": "2028-01-01"},
    "participant": [_member("Practitioner/x"), _member("Practitioner/y", end="2027-06-01")],
}
CONSENT = Directive("D04", True, "p1", "Patient/p1", team="CareTeam/t1")


def grows(before: dict[str, Any], *directives: Directive, by: Actor = DOCTOR, **changes: Any) -> bool:
    """Whether a change of that team is refused."""
    policy = RecordPolicy("p1", 1, exists=True, directives=directives)
    after = {name: each for name, each in {**before, **changes}.items() if each is not None}
    try:
        check_team_update(by, policy, before, after, now=NOW, base=BASE)
    except Forbidden:
        return True
    return False


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"name": "Team"}, False),
        ({"participant": [_member("Practitioner/y", end="2027-06-01")]}, False),
        ({"participant": None}, False),
        ({"participant": [_member(f"{BASE}/Practitioner/x", end="2027-01-01")]}, False),
        ({"status": "inactive", "participant": [_member("Practitioner/z")]}, False),
        ({"period": {"start": "2026-02-01", "end": "2027-01-01"}}, False),
        ({"participant": [*TEAM["participant"], _member("Practitioner/z")]}, True),
        ({"participant": [_member("Practitioner/z")]}, True),
        ({"participant": [_member(f"{BASE}/Practitioner/z")]}, True),
        ({"participant": [_member("Practitioner/y", end="2027-12-01")]}, True),
        ({"participant": [_member("Practitioner/y")]}, True),
        ({"period": None}, True),
        ({"period": {"start": "2025-01-01", "end": "2028-01-01"}}, True),
    ],
    ids=str,
)
def test_a_care_team_that_was_consented_to_shrinks_and_does_not_grow(changes: dict[str, Any], expected: bool) -> None:
    """By a professional's hand: no member and no time is won after the patient's consent."""
    assert grows(TEAM, CONSENT, **changes) is expected


def test_an_ended_care_team_is_not_taken_up_again() -> None:
    """Neither as it was, nor with members it was given meanwhile."""
    assert grows({**TEAM, "status": "inactive"}, CONSENT, status="active")


def test_a_care_team_grows_where_no_consent_is_touched() -> None:
    """No D04 for it, one that is over or withdrawn; the administrator and other resources are not asked."""
    more = [_member("Practitioner/z")]
    for consent in (
        replace(CONSENT, active=False),
        replace(CONSENT, period=Span(None, NOW)),
        replace(CONSENT, team="CareTeam/t2"),
        Directive("D05", True, "p1", "Patient/p1", actor="rpps:10000000001"),
    ):
        assert not grows(TEAM, consent, participant=more)
    assert grows(TEAM, replace(CONSENT, period=Span(NOW + 1, None)), participant=more)
    assert not grows(TEAM, CONSENT, by=Actor("admin", "Device/a", "A", "j"), participant=more)
    assert not grows({**TEAM, "resourceType": "Group"}, CONSENT, participant=more)
