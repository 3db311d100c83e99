"""The access decision: the compiled predicate against a naive telling of the rules, and its invariants (access §8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fhir_server.auth.actor import Actor
from fhir_server.consent import rules as engine
from fhir_server.consent.directives import Directive
from fhir_server.consent.grounds import Ground
from fhir_server.consent.keys import own_keys
from fhir_server.consent.periods import Span
from fhir_server.consent.policy import Member, RecordPolicy, Team
from fhir_server.consent.rules import Case, Rules, shares_type
from fhir_server.consent.shapes import Label
from fhir_server.search.entries import Entries
from fhir_server.search.facts import Facts
from fhir_server.search.match import Row, holds
from fhir_server.search.predicate import FALSE, TRUE, conj, has_any, negate
from tests.consent import consent_oracle
from tests.consent.consent_worlds import (
    DENIES,
    NOW,
    PERMITS,
    REGIMES,
    RPPS,
    RULES,
    World,
    application,
    directives,
    holder,
    link,
    opening,
    other,
    professional,
    random_world,
    worlds,
)

many = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
DOCTOR = Actor("ps", "Practitioner/x", "X", "j", frozenset({RPPS[0], "org:990000001"}), profession="10")


def _document(**facts: Any) -> Facts:
    return replace(
        Facts("DocumentReference", "1", "record", "p1", class_code="10", lineage="DocumentReference/1"), **facts
    )


def _directive(id: str, **parts: Any) -> Directive:
    return Directive(id, True, "p1", "Patient/p1", **parts)


def _sees(actor: Actor, row: Facts, *directives: Directive, now: int = NOW, **policy: Any) -> bool:
    record = RecordPolicy("p1", 1, exists=True, directives=directives, **policy)
    return holds(RULES.predicate(actor, {"p1": record}, now), Row(row, Entries(), NOW), World(actor, {}, (row,)).refs)


@many
@given(worlds())
def test_the_predicate_shows_what_the_naive_rules_show(world: World) -> None:
    """Row by row, for every kind of caller: the compiled predicate and the oracle agree."""
    assert world.seen() == consent_oracle.seen(world)


@many
@given(worlds())
def test_a_predicate_for_one_type_shows_the_rows_of_that_type_that_the_whole_one_shows(world: World) -> None:
    """The short predicate of a single read decides as the long one, and nothing about other types."""
    for rtype in {each.rtype for each in world.rows}:
        short = RULES.predicate(world.actor, world.policies, NOW, only=(rtype,))
        whole = RULES.predicate(world.actor, world.policies, NOW)
        for each in world.rows:
            row = Row(each, Entries(), NOW)
            expected = each.rtype == rtype and holds(whole, row, world.refs)
            assert holds(short, row, world.refs) == expected


@many
@given(worlds())
def test_no_row_of_a_patient_whose_policy_was_not_asked_is_seen(world: World) -> None:
    """I2: what is seen is nobody's, or in a record whose policy was loaded; without policies, no record at all."""
    for each in world.rows:
        if link(each) in world.seen() and each.patient:
            assert each.patient in world.policies
    assert not world.records(replace(world, policies={}).seen())


@many
@given(worlds(), directives(*DENIES, "D01"))
def test_a_new_deny_never_shows_more(world: World, deny: Directive) -> None:
    """I3."""
    assert world.having(replace(deny, active=True)).seen() <= world.seen()


@many
@given(worlds(), directives(*PERMITS))
def test_a_new_permit_never_shows_less(world: World, permit: Directive) -> None:
    """I4."""
    assert world.having(permit).seen() >= world.seen()


@many
@given(worlds(), st.randoms())
def test_the_order_of_directives_does_not_matter(world: World, random: Any) -> None:
    """I5."""
    directives = list(world.policies["p1"].directives)
    random.shuffle(directives)
    shuffled = replace(world.policies["p1"], directives=tuple(directives))
    assert replace(world, policies={**world.policies, "p1": shuffled}).seen() == world.seen()


scopes_of_all_kinds = st.sampled_from(["patient/*.rs", "user/Observation.r", "system/DocumentReference.s", "openid"])


@many
@given(worlds(), st.lists(scopes_of_all_kinds))
def test_scopes_only_take_away(world: World, scopes: list[str]) -> None:
    """I6: whatever the scopes of the token, nothing is seen that was not seen without."""
    assert replace(world, actor=replace(world.actor, scopes=tuple(scopes))).seen() <= world.seen()


@many
@given(worlds(holder))
def test_a_representative_sees_no_more_than_the_patient(world: World) -> None:
    """I10: rep ⊆ patient."""
    representative = replace(world.actor, role="rep", reference="RelatedPerson/r1", patients=("p1",))
    patient = replace(world.actor, role="patient", reference="Patient/p1", patients=("p1",))
    theirs = replace(world, actor=representative)
    assert theirs.records(theirs.seen()) <= replace(world, actor=patient).seen()


@many
@given(worlds(professional))
def test_a_team_member_sees_no_more_than_a_medecin_traitant(world: World) -> None:
    """I10: team ⊆ mt, for the same profession and no deny that names the médecin traitant."""
    me = next(key for key in world.actor.keys if key.startswith("rpps:"))
    policy = world.policies["p1"]
    assume(not any(each.actor == me for each in policy.directives))
    member = replace(world, actor=replace(world.actor, openings=()), policies={"p1": _with_team(policy, me)})
    treating = replace(policy, practitioners=frozenset({me}))
    assert member.seen() <= replace(member, policies={"p1": treating}).seen()


@many
@given(worlds(professional))
def test_an_emergency_opens_no_more_than_a_care_team(world: World) -> None:
    """I10: bris de glace ⊆ team."""
    me = next(key for key in world.actor.keys if key.startswith("rpps:"))
    world = replace(world, actor=replace(world.actor, openings=(opening("bris_de_glace"),)))
    member = replace(
        world,
        actor=replace(world.actor, openings=()),
        policies={patient: _with_team(policy, me) for patient, policy in world.policies.items()},
    )
    assert world.seen() <= member.seen()


@many
@given(worlds(professional))
def test_a_blocked_professional_sees_nothing_of_the_record_but_in_centre_15(world: World) -> None:
    """I10, D03: not even own deposits; regulation does not ask for the authorisation."""
    me = next(key for key in world.actor.keys if key.startswith("rpps:"))
    blocked = world.having(_directive("D03", actor=me))
    blocked = replace(blocked, policies={"p1": replace(blocked.policies["p1"], practitioners=frozenset())})
    assume(not any(each.id == "D06" for each in blocked.policies["p1"].directives))
    assume(not any("centre_15" in each for each in world.actor.openings))
    assert not blocked.records(blocked.seen())


@given(worlds(professional))
@many
def test_an_author_reads_back_own_deposits(world: World) -> None:
    """I15: despite gate, matrix and mask, absent an applicable deny."""
    me = next(key for key in world.actor.keys if key.startswith("rpps:"))
    policy = replace(world.policies["p1"], exists=True, open=True, readable=True)
    permits = tuple(each for each in policy.directives if each.id in ("D04", "D05", "D06", "D09", "D10"))
    masks = (_directive("D07", instance="DocumentReference/d1"),)
    world = replace(world, policies={"p1": replace(policy, directives=permits + masks)}, dead=frozenset())
    own = [each for each in world.rows if me in each.authors and each.patient == "p1" and not each.links]
    # A folder in which nothing is visible is not visible, whoever made it.
    assert {link(each) for each in own if each.rtype not in ("Consent", "List")} <= world.seen()


@many
@given(worlds(professional), st.lists(scopes_of_all_kinds, max_size=2))
def test_on_behalf_of_a_professional_no_more_is_seen_than_by_the_professional(world: World, scopes: list[str]) -> None:
    """I20: through an LGC, with its key and within the scopes it is registered for."""
    keys = world.actor.keys | {"client:app"}
    behalf = replace(world.actor, keys=keys, client="app", scopes=tuple(scopes))
    assert replace(world, actor=behalf).seen() <= world.seen()


@many
@given(worlds(), st.sampled_from(["", "PS", "root", "anonymous", "patient "]))
def test_an_unknown_role_sees_nothing(world: World, role: str) -> None:
    """I16: not even the directory."""
    assert not replace(world, actor=replace(world.actor, role=role)).seen()


@many
@given(
    worlds(professional),
    st.sampled_from(["", "BTG|p1|9", "Centre_15|p1|x", "consult|p1|", "consult||9", "consult|p1|-1", "consult|p1|٣"]),
    st.sampled_from(["", "emergency", "bris_de_glace", "centre_15"]),
)
def test_what_is_no_declaration_opens_nothing(world: World, text: str, mode: str) -> None:
    """I16: malformed text in a token, and an emergency that a token claims without one that was declared (L71)."""
    normal = replace(world, actor=replace(world.actor, openings=(), mode="normal"))
    assert replace(world, actor=replace(world.actor, openings=(text,), mode=mode)).seen() == normal.seen()


@many
@given(worlds(professional), st.sampled_from(REGIMES), st.sampled_from([NOW, NOW + 1]))
def test_a_declaration_opens_one_record_until_its_end(world: World, regime: str, until: int) -> None:
    """L71, I13: nothing of another patient's record, and nothing from its last moment on."""
    shut = replace(world, actor=replace(world.actor, openings=()))
    declared = replace(world, actor=replace(world.actor, openings=(opening(regime, until=until),)))
    gained = declared.seen() - shut.seen()
    assert shut.seen() <= declared.seen()
    assert not gained or until > NOW
    record = {link(each) for each in world.rows if each.patient == "p1" or each.rtype == "Binary"}
    assert gained <= record


@many
@given(st.one_of(worlds(application), worlds(holder)))
def test_who_has_no_patient_in_the_token_sees_no_record(world: World) -> None:
    """A token of a patient, representative or application that is bound to nobody opens no record."""
    world = replace(world, actor=replace(world.actor, patients=()))
    assert not world.records(world.seen())


@many
@given(worlds(other))
def test_software_alone_and_administrators_see_no_record(world: World) -> None:
    """access §3.3: nothing, whatever keys they hold."""
    assert not world.records(world.seen())


def _with_team(policy: RecordPolicy, key: str) -> RecordPolicy:
    team = Team("CareTeam/t9", Span(), (Member(frozenset({key}), Span()),))
    consent = _directive("D04", team="CareTeam/t9")
    return replace(policy, teams=(*policy.teams, team), directives=(*policy.directives, consent))


# What it looks like, one sentence each.


@pytest.mark.parametrize(
    ("directives", "policy", "expected"),
    [
        ((), {}, False),
        ((_directive("D05", actor=RPPS[0], period=Span(0, None)),), {}, True),
        ((_directive("D06", actor=RPPS[0]),), {}, True),
        ((), {"practitioners": frozenset({RPPS[0]})}, True),
        ((_directive("D04", team="CareTeam/t1"),), {}, False),
        ((), {"teams": (Team("CareTeam/t1", Span(), (Member(frozenset({RPPS[0]}), Span()),)),)}, False),
    ],
    ids=["nothing", "grant", "mt by directive", "mt on the patient", "consent without team", "team without consent"],
)
def test_what_opens_a_record_to_a_professional(
    directives: tuple[Directive, ...], policy: dict[str, Any], expected: bool
) -> None:
    """A relation to the patient, or a grant of theirs; a care team counts only when the patient has consented to it."""
    assert _sees(DOCTOR, _document(), *directives, **policy) == expected


def test_a_right_is_gone_at_the_end_of_its_period() -> None:
    """I13: the last microsecond holds, the next does not."""
    grant = _directive("D05", actor=RPPS[0], period=Span(0, NOW))
    assert _sees(DOCTOR, _document(), grant, now=NOW - 1)
    assert not _sees(DOCTOR, _document(), grant, now=NOW)


def test_hiding_from_the_patient_ends_a_month_after_the_deposit() -> None:
    """REC-T3: at the instant of release, not before; and never without an instant of release."""
    patient = Actor("patient", "Patient/p1", "P", "j", patients=("p1",))
    hidden = _document(vis=2, release_at=NOW)
    assert not _sees(patient, hidden, now=NOW - 1)
    assert _sees(patient, hidden, now=NOW)
    assert not _sees(patient, _document(vis=2, release_at=None))


def test_the_patient_who_closed_a_record_sees_only_what_closed_it() -> None:
    """D01: to everyone else the patient is unknown; the holder can take it back."""
    patient = Actor("patient", "Patient/p1", "P", "j", patients=("p1",))
    closing = _directive("D01", consent="c1")
    for row, expected in ((_document(), False), (Facts("Patient", "p1", "record", "p1"), False)):
        assert _sees(patient, row, closing) is expected
    assert _sees(patient, Facts("Consent", "c1", "record", "p1"), closing)
    assert not _sees(patient, Facts("Consent", "c2", "record", "p1"), closing)
    assert not _sees(DOCTOR, _document(authors=frozenset({RPPS[0]})), closing)


def test_an_unreadable_directive_closes_the_record_to_all_but_its_holder() -> None:
    """Fail closed: what may be a deny is not passed over."""
    patient = Actor("patient", "Patient/p1", "P", "j", patients=("p1",))
    treating = {"practitioners": frozenset({RPPS[0]}), "readable": False}
    assert not _sees(DOCTOR, _document(), **treating)
    assert _sees(patient, Facts("Consent", "c1", "record", "p1"), readable=False)


def test_a_replacement_is_masked_with_what_it_replaces() -> None:
    """D07 selects the lineage: a new document of the chain is masked without a word being written on it."""
    mask = _directive("D07", instance="DocumentReference/1")
    second = _document(id="2", lineage="DocumentReference/1")
    team = Team("CareTeam/t1", Span(), (Member(frozenset({RPPS[0]}), Span()),))
    opened = (_directive("D04", team="CareTeam/t1"),)
    assert _sees(DOCTOR, second, *opened, teams=(team,))
    assert not _sees(DOCTOR, second, mask, *opened, teams=(team,))
    assert _sees(DOCTOR, second, mask, practitioners=frozenset({RPPS[0]}))
    assert _sees(DOCTOR, replace(second, authors=frozenset({RPPS[0]})), mask)


def test_a_nurse_of_the_team_reads_who_the_patient_is_and_not_what_has_no_category() -> None:
    """Identity is outside the matrix; data without category follows the profession's default."""
    nurse = replace(DOCTOR, profession="60")
    team = Team("CareTeam/t1", Span(), (Member(frozenset({RPPS[0]}), Span()),))
    opened = (_directive("D04", team="CareTeam/t1"),)
    assert _sees(nurse, Facts("Patient", "p1", "record", "p1"), *opened, teams=(team,))
    assert _sees(nurse, _document(), *opened, teams=(team,))
    assert not _sees(nurse, Facts("FamilyMemberHistory", "1", "record", "p1"), *opened, teams=(team,))


def test_a_message_is_for_those_who_take_part_in_it() -> None:
    """MSG-4: the médecin traitant reads no message between others."""
    message = Facts("Communication", "1", "record", "p1", class_code="messages")
    treating = {"practitioners": frozenset({RPPS[0]})}
    assert not _sees(DOCTOR, message, **treating)
    assert _sees(DOCTOR, replace(message, participants=frozenset({RPPS[0]})))


def test_own_deposits_can_be_those_of_the_person_alone() -> None:
    """`own_by_structure` off: a colleague's deposit is not one's own."""
    row = _document(authors=frozenset({"rpps:10000000002", "org:990000001"}))
    record = {"p1": RecordPolicy("p1", 1, exists=True)}
    for by_structure in (True, False):
        rules = Rules(RULES.matrix, own_by_structure=by_structure)
        assert (
            holds(rules.predicate(DOCTOR, record, NOW, only=("DocumentReference",)), Row(row, Entries(), 0))
            is by_structure
        )


def test_a_block_can_be_without_effect_for_the_medecin_traitant() -> None:
    """`mt_block_effective` off: no deny reaches them; for a colleague of the same record it does."""
    record = {
        "p1": RecordPolicy(
            "p1", 1, exists=True, directives=(_directive("D03", actor=RPPS[0]),), practitioners=frozenset({RPPS[0]})
        )
    }
    for effective in (True, False):
        rules = Rules(RULES.matrix, mt_block_effective=effective)
        shown = holds(rules.predicate(DOCTOR, record, NOW, only=("DocumentReference",)), Row(_document(), Entries(), 0))
        assert shown is not effective


def test_what_a_professional_may_correct_is_their_own_deposit_wherever_it_is() -> None:
    """The correction right: the person's, ungated, blocked or not; no directive, no log line, nobody else's."""
    mine = _document(authors=frozenset({RPPS[0], "org:990000001"}), vis=1)
    for row, expected in (
        (mine, True),
        (replace(mine, authors=frozenset({RPPS[1], "org:990000001"})), False),
        (replace(mine, rtype="Consent"), False),
    ):
        assert holds(RULES.own(DOCTOR), Row(row, Entries(), 0)) is expected
    narrowed = replace(DOCTOR, scopes=("user/DocumentReference.u",))
    assert holds(RULES.own(narrowed), Row(mine, Entries(), 0))
    assert not holds(RULES.own(replace(DOCTOR, scopes=("user/*.rs",))), Row(mine, Entries(), 0))
    for role in ("patient", "app", "lgc", "ncp", "made-up"):
        assert RULES.own(replace(DOCTOR, role=role)) == FALSE


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        (("user/*.r",), True),
        (("user/Binary.r",), True),
        (("user/DocumentReference.rs", "user/Binary.r"), True),
        (("user/DocumentReference.rs?type=11488-4", "user/Binary.r"), True),
        (("user/DocumentReference.rs?type=http://loinc.org|11488-4", "user/Binary.r"), True),
        (("user/DocumentReference.rs?type=60591-5", "user/Binary.r"), False),
        (("user/DocumentReference.rs?type=60591-5", "user/DocumentReference.s", "user/Binary.r"), True),
        (("user/DocumentReference.rs?type=60591-5", "user/DocumentReference.c", "user/Binary.r"), False),
        (("user/DocumentReference.rs?type=11488-4&category=x", "user/Binary.r"), False),
        (("user/*.rs?type=60591-5", "user/Binary.r"), False),
        (("user/DocumentReference.rs?type=http://loinc.org|", "user/Binary.r"), False),
        (("user/Observation.rs?code=1", "user/Binary.r"), True),
        (("user/DocumentReference.rs?type=11488-4",), False),
    ],
)
def test_a_scope_that_narrows_documents_narrows_their_content(scopes: tuple[str, ...], expected: bool) -> None:
    """L65: content is reached through a document that the scopes give, and where they cannot be judged not at all."""
    document = _document(type_code="11488-4", links=frozenset({"Binary/1"}))
    content = Facts("Binary", "1", "record")
    record = {"p1": RecordPolicy("p1", 1, exists=True, practitioners=frozenset({RPPS[0]}))}
    seen = World(replace(DOCTOR, scopes=scopes), record, (document, content)).seen()
    assert ("Binary/1" in seen) is expected


def test_an_application_asks_for_content_as_for_documents() -> None:
    """A D09 of one category can show a document of it, hence its content; without one, neither."""
    caller = Actor("app", "Device/a", "A", "j", frozenset({"client:a"}), ("p1",))
    share = _directive("D09", actor="client:a", label=Label("class_code", "11"))
    for shares, expected in (((share,), True), ((replace(share, active=False),), False), ((), False)):
        record = RecordPolicy("p1", 1, exists=True, directives=shares)
        assert [shares_type(caller, record, each, NOW) for each in ("Binary", "DocumentReference")] == [expected] * 2
    assert not shares_type(caller, RecordPolicy("p1", 1, exists=True, directives=(share,)), "Device", NOW)


# Wrong rules that somebody might write: each is seen by the comparison with the oracle.


class OwnPiercesDenies(Rules):
    """An author's deposits escape denies."""

    def _denies(self, case: Case, *, mt: bool = False) -> Any:
        others = negate(has_any("authors", own_keys(case.actor, by_structure=True)))
        return tuple(each._replace(rows=conj(each.rows, others)) for each in super()._denies(case, mt=mt))


class TreatingObeysEveryDeny(Rules):
    """The médecin traitant is subject to a deny that names nobody."""

    def _applies(self, directive: Directive, actor: Actor, mode: str, mt: bool) -> bool:
        return super()._applies(directive, actor, mode, mt) or directive.actor is None


class EmergencyPiercesMasks(Rules):
    """An emergency shows what is masked."""

    def _professional(self, case: Case) -> Any:
        if engine.emergency(case.actor, case.policy, case.now):
            mask_free = tuple(each for each in case.policy.directives if each.id != "D07")
            case = replace(case, policy=replace(case.policy, directives=mask_free))
        return super()._professional(case)


class EmergencyPiercesBlocks(Rules):
    """Bris de glace passes over a block, as Centre 15 may."""

    def _applies(self, directive: Directive, actor: Actor, mode: str, mt: bool) -> bool:
        return super()._applies(directive, actor, "centre_15" if mode else mode, mt)


class GrantsWidenTheMatrix(Rules):
    """A grant shows every kind of document."""

    def _matrix(self, case: Case) -> Any:
        return TRUE


@pytest.mark.parametrize(
    "mutant",
    [OwnPiercesDenies, TreatingObeysEveryDeny, EmergencyPiercesMasks, EmergencyPiercesBlocks, GrantsWidenTheMatrix],
)
def test_a_wrong_rule_does_not_survive(mutant: type[Rules]) -> None:
    """access §4: the mutants that must die, die."""
    _dies(lambda world: world.seen(mutant(RULES.matrix)) != consent_oracle.seen(world))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("emergency", lambda actor, policy, now: next(iter(engine.regimes(actor, policy.patient, now)), "")),
        ("emergency", lambda actor, policy, now: actor.mode if actor.mode != "normal" else ""),
        ("gates_of", lambda actor, policy, now: [("mt", "")] if actor.openings else []),
        ("is_treating", lambda actor, policy, now: False),
        ("_masks", lambda case, others=TRUE: Ground("masked", FALSE)),
        ("_in_period", lambda directive: TRUE),
        ("_unlinked", lambda actor, now: FALSE),
    ],
    ids=[
        "opposition ignored",
        "emergency undeclared",
        "gate too wide",
        "no mt",
        "no mask",
        "no data period",
        "no fresh content",
    ],
)
def test_a_wrong_part_does_not_survive(monkeypatch: pytest.MonkeyPatch, name: str, wrong: Callable[..., Any]) -> None:
    """Every part of the decision is needed for the comparison to hold."""
    monkeypatch.setattr(engine, name, wrong)
    _dies(lambda world: world.seen() != consent_oracle.seen(world))


def _dies(disagrees: Callable[[World], bool]) -> None:
    seeds = (Random(seed) for seed in range(30_000))
    assert any(disagrees(random_world(random, pick(random), closing=False)) for random in seeds)


def pick(random: Random) -> Callable[[Random], Actor]:
    """Professionals more often than holders."""
    return random.choice((professional, professional, holder))


def test_the_worlds_reach_what_the_properties_speak_of() -> None:
    """Rows that are seen, rows that are not, content through documents, carriers, other patients."""
    found = [random_world(Random(seed), closing=False) for seed in range(400)]
    seen = [each for world in found for each in world.rows if link(each) in world.seen()]
    assert {"Binary", "Provenance", "Task", "Consent", "DocumentReference"} <= {each.rtype for each in seen}
    assert {"p1", "p2", None} == {each.patient for each in seen}
    assert sum(len(world.rows) for world in found) > 2 * len(seen)
