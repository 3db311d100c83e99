"""A predicate that is remembered says what one made anew would say, at every moment and to every caller."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_server.auth.actor import Actor
from fhir_server.consent.directives import Directive
from fhir_server.consent.periods import Span
from fhir_server.consent.policy import Member, RecordPolicy, Team
from fhir_server.consent.remembered import Remembered
from fhir_server.search.predicate import Predicate
from tests.consent.consent_worlds import NOW, RPPS, RULES, random_world

DOCTOR = Actor("ps", "Practitioner/x", "X", "j", frozenset({RPPS[0], "org:990000001"}), profession="10")
GRANT = Directive("D05", True, "p1", "Patient/p1", "c1", actor=RPPS[0], period=Span(NOW - 10, NOW + 10))
MOMENTS = (NOW - 6, NOW - 5, NOW - 1, NOW, NOW + 1, NOW + 2, NOW + 4, NOW + 5, NOW + 9)
ASKED = (None, ("Observation",), ("DocumentReference", "Condition"), ("Binary",), ("Patient",))


@given(st.integers(0, 2**32), st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_remembered_is_what_the_rules_say(seed: int, data: st.DataObject) -> None:
    """I12, I13, I18: whoever asked before, and whichever way the clock went since."""
    random = Random(seed)
    world = random_world(random)
    others = [world.actor, random_world(random).actor, replace(world.actor, scopes=("user/Observation.r",))]
    remembered = Remembered(RULES, size=8)
    for now in data.draw(st.lists(st.sampled_from(MOMENTS), min_size=2, max_size=12)):
        actor, only, letter = random.choice(others), random.choice(ASKED), random.choice("rs")
        found = remembered.predicate(actor, world.policies, now, letter=letter, only=only)
        assert found == RULES.predicate(actor, world.policies, now, letter=letter, only=only)


def test_every_period_of_a_policy_has_its_edges() -> None:
    """Of directives, teams, those who take part in them, and representatives; an open end is none."""
    member = Member(frozenset({RPPS[0]}), Span(4, 5))
    found = RecordPolicy(
        "p1",
        directives=(GRANT, replace(GRANT, period=Span(1, None))),
        teams=(Team("CareTeam/t1", Span(2, 3), (member,)),),
        representatives={"RelatedPerson/r1": Span(None, 6)},
    )
    assert sorted(found.edges()) == [1, 2, 3, 4, 5, 6, NOW - 10, NOW + 10]


def policy(version: int, *directives: Directive) -> dict[str, RecordPolicy]:
    """A record whose policy has that version."""
    return {"p1": RecordPolicy("p1", version, exists=True, directives=directives)}


def asked(remembered: Remembered, policies: dict[str, RecordPolicy], now: int) -> Predicate:
    """What a doctor may read of the observations of a record."""
    return remembered.predicate(DOCTOR, policies, now, letter="r", only=("Observation",))


def test_a_predicate_is_remembered_while_it_stays_true() -> None:
    """Between two edges of the policy it is the same object; beyond one, and for another version, another."""
    remembered = Remembered(RULES)
    first = asked(remembered, policy(1, GRANT), NOW)
    assert asked(remembered, policy(1, GRANT), NOW + 9) is first
    assert asked(remembered, policy(1, GRANT), NOW + 10) != first
    assert asked(remembered, policy(1, GRANT), NOW - 11) != first
    assert asked(remembered, policy(2), NOW) != first
    assert asked(remembered, policy(1, GRANT), NOW) == first


def test_the_least_used_is_forgotten() -> None:
    """So that memory is bounded, however many callers and records there are."""
    remembered = Remembered(RULES, size=2)
    first, second = (asked(remembered, policy(version, GRANT), NOW) for version in (1, 2))
    assert asked(remembered, policy(1, GRANT), NOW) is first
    asked(remembered, policy(3, GRANT), NOW)
    assert asked(remembered, policy(1, GRANT), NOW) is first
    assert asked(remembered, policy(2, GRANT), NOW) is not second


def test_a_rule_about_the_present_is_asked_each_time() -> None:
    """What a patient sees of a document that is announced to them changes with the clock, not with the policy."""
    patient = Actor("patient", "Patient/p1", "P", "j", patients=("p1",))
    remembered = Remembered(RULES)
    one, other = (
        remembered.predicate(patient, policy(1), now, letter="r", only=("Observation",)) for now in (NOW, NOW + 1)
    )
    assert one != other


def test_what_is_remembered_is_found_by_versions_alone() -> None:
    """Without the policies themselves; for another version, caller, right, type or time there is none."""
    remembered = Remembered(RULES)
    made = asked(remembered, policy(1, GRANT), NOW)
    at = (("p1", 1),)
    assert remembered.known(DOCTOR, at, NOW, letter="r", only=("Observation",)) is made
    assert remembered.known(DOCTOR, (("p1", 2),), NOW, letter="r", only=("Observation",)) is None
    assert remembered.known(replace(DOCTOR, mode="centre_15"), at, NOW, letter="r", only=("Observation",)) is None
    assert remembered.known(DOCTOR, at, NOW, letter="s", only=("Observation",)) is None
    assert remembered.known(DOCTOR, at, NOW, letter="r", only=None) is None
    assert remembered.known(DOCTOR, at, NOW + 10, letter="r", only=("Observation",)) is None
