"""What explains a decision is what made it: verdict and reasons against the predicate, in random worlds (access §6)."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from fhir_server.auth.actor import Actor
from fhir_server.consent.directives import Directive
from fhir_server.consent.grounds import Reason
from fhir_server.consent.kinds import types
from fhir_server.consent.openings import EMERGENCIES
from fhir_server.consent.periods import Span
from fhir_server.consent.policy import Member, RecordPolicy, Team
from fhir_server.consent.rules import Case
from fhir_server.consent.shapes import Label
from fhir_server.search.entries import Entries
from fhir_server.search.facts import Facts
from fhir_server.search.match import Row
from tests.consent.consent_worlds import NOW, RPPS, RULES, World, link, opening, random_world, worlds

many = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WORDS: dict[str, Any] = json.loads(files("terminologies").joinpath("access", "reasons.json").read_text("utf-8"))
BARS = {
    "matrix-deny",
    "masked",
    "directive",
    "closed",
    "confidential",
    "invisible-patient",
    "invisible-representatives",
    "messages",
    "not-cross-border",
    "no-ground",
}
DOCTOR = Actor("ps", "Practitioner/x", "X", "j", frozenset({RPPS[0], "org:990000001"}), profession="10")
GRANT = Directive("D05", True, "p1", "Patient/p1", "c5", actor=RPPS[0])
TEAM = Team("CareTeam/t1", Span(), (Member(frozenset({RPPS[0]}), Span()),))


def told(actor: Actor, row: Facts, *directives: Directive, **policy: Any) -> set[Reason]:
    """Why that caller sees the row, or does not."""
    record = RecordPolicy("p1", 1, exists=True, directives=directives, **policy)
    return set(RULES.grounds(Case(actor, record, NOW)).reasons(Row(row, Entries(), 0)))


@many
@given(worlds())
def test_the_explanation_gives_the_verdict_of_the_predicate(world: World) -> None:
    """Row by row: what the grounds show is what the predicate shows; what the reasons say is on the same side."""
    seen = world.seen()
    for row in world.rows:
        if link(row) in world.dead or row.patient not in world.policies or row.rtype in types().linked:
            continue
        grounds = RULES.grounds(Case(world.actor, world.policies[row.patient], NOW))
        judged = Row(row, Entries(), 0)
        assert grounds.shows(judged) == (link(row) in seen)
        reasons = {each.code for each in grounds.reasons(judged)}
        assert reasons
        assert reasons.isdisjoint(BARS) if link(row) in seen else not reasons.isdisjoint(BARS)
        assert reasons <= WORDS["reasons"].keys()


def test_the_worlds_reach_every_reason_but_those_of_the_explanation_itself() -> None:
    """So the property above speaks of each."""
    found = set()
    for seed in range(3_000):
        world = random_world(Random(seed))
        for row in world.rows:
            if row.patient in world.policies:
                case = Case(world.actor, world.policies[row.patient], NOW)
                found |= {each.code for each in RULES.grounds(case).reasons(Row(row, Entries(), 0))}
    assert found == WORDS["reasons"].keys() - {"carries"}


def test_every_word_is_there_in_french_and_in_english() -> None:
    """No reason without its sentence."""
    for group in ("reasons", "verdicts", "strangers"):
        for sentences in WORDS[group].values():
            assert sentences.keys() == {"fr", "en"}
            assert all(sentences.values())
    assert set(EMERGENCIES) < WORDS["strangers"].keys()


DOCUMENT = Facts("DocumentReference", "1", "record", "p1", class_code="10", lineage="DocumentReference/1")


@pytest.mark.parametrize(
    ("row", "directives", "policy", "expected"),
    [
        (DOCUMENT, (), {}, {Reason("no-ground")}),
        (DOCUMENT, (GRANT,), {}, {Reason("grant", "Consent/c5")}),
        (replace(DOCUMENT, authors=frozenset({RPPS[0]})), (), {}, {Reason("own")}),
        (DOCUMENT, (), {"practitioners": frozenset({RPPS[0]})}, {Reason("mt", "Patient/p1")}),
        (
            DOCUMENT,
            (Directive("D06", True, "p1", "Patient/p1", "c6", actor=RPPS[0]),),
            {},
            {Reason("mt", "Patient/p1")},
        ),
        (
            DOCUMENT,
            (Directive("D04", True, "p1", "Patient/p1", "c4", team="CareTeam/t1"),),
            {"teams": (TEAM,)},
            {Reason("team", "Consent/c4")},
        ),
        (
            replace(DOCUMENT, type_code="ATTEST-RESID"),
            (GRANT,),
            {},
            {Reason("matrix-deny")},
        ),
        (
            DOCUMENT,
            (GRANT, Directive("D07", True, "p1", "Patient/p1", "c7", instance="DocumentReference/1")),
            {},
            {Reason("masked", "Consent/c7")},
        ),
        (replace(DOCUMENT, vis=1), (GRANT,), {}, {Reason("masked")}),
        (
            DOCUMENT,
            (GRANT, Directive("D08", True, "p1", "Patient/p1", "c8", label=Label("class_code", "10"))),
            {},
            {Reason("directive", "Consent/c8")},
        ),
        (DOCUMENT, (GRANT, Directive("D01", True, "p1", "Patient/p1", "c1")), {}, {Reason("closed")}),
        (replace(DOCUMENT, rtype="Consent"), (GRANT,), {}, {Reason("confidential")}),
    ],
    ids=lambda each: str(each) if isinstance(each, set) else "",
)
def test_what_each_reason_is_about(
    row: Facts, directives: tuple[Directive, ...], policy: dict[str, Any], expected: set[Reason]
) -> None:
    """The Consent that says so is named."""
    assert told(DOCTOR, row, *directives, **policy) == expected


def test_a_declaration_is_a_reason_of_its_own() -> None:
    """consult, bris_de_glace, centre_15."""
    for regime in ("consult", "bris_de_glace", "centre_15"):
        assert told(replace(DOCTOR, openings=(opening(regime),)), DOCUMENT) == {Reason(regime)}
