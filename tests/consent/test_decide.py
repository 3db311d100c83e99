"""Who may write what (access §3.3, §3.5; DOC-17, DOC-23, DOC-25, DOC-26; record REC-81)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.auth.actor import Actor
from fhir_server.consent.decide import check_document, check_sender, may_replace, may_write
from fhir_server.consent.directives import Directive
from fhir_server.consent.kinds import kind_of
from fhir_server.consent.periods import ALWAYS
from fhir_server.consent.policy import RecordPolicy
from fhir_server.consent.shapes import Label
from fhir_server.errors import FhirServerError, Forbidden, Invalid, MethodNotAllowed, NotFound
from fhir_server.search.facts import INVISIBLE_REPRESENTANTS_LEGAUX, Facts

NOW = 1_800_000_000_000_000
ME, COLLEAGUE = "rpps:10000000001", "rpps:10000000002"
DOCTOR = Actor("ps", "Practitioner/x", "X", "j", frozenset({ME, "org:990000001"}), profession="10")
PATIENT = Actor("patient", "Patient/p1", "P", "j", patients=("p1",))
REPRESENTATIVE = Actor("rep", "RelatedPerson/r1", "R", "j", patients=("p1",))
APPLICATION = Actor(
    "app", "Device/a", "A", "j", frozenset({"client:a"}), ("p1",), authoriser="patient", authoriser_key="Patient/p1"
)
ADMIN = Actor("admin", "Device/admin", "Admin", "j")
SHARES = (Directive("D09", True, "p1", "Patient/p1", actor="client:a"),)
RECORD = RecordPolicy("p1", 1, exists=True, directives=SHARES, representatives={"RelatedPerson/r1": ALWAYS})
CLOSED = replace(RECORD, directives=(Directive("D01", True, "p1", "Patient/p1", "c1"),))


def row(type_: str, *authors: str, patient: str | None = "p1", **more: Any) -> Facts:
    """Facts of a resource of that type."""
    kind = "record" if patient else kind_of(type_)
    return Facts(type_, more.pop("id", "x"), kind, patient, authors=frozenset(authors), **more)


def verdict(
    actor: Actor, interaction: str, before: Facts | None, after: Facts | None, policy: RecordPolicy | None = RECORD
) -> type[FhirServerError] | None:
    """The error that refuses a write, None when it is allowed."""
    facts = after or before
    assert facts is not None
    record = policy if facts.patient or actor.role == "app" else None
    try:
        may_write(actor, record, interaction, facts.rtype, before, after, now=NOW)
    except FhirServerError as error:
        return type(error)
    return None


@pytest.mark.parametrize(
    ("actor", "type_", "expected"),
    [
        (DOCTOR, "DocumentReference", None),
        (DOCTOR, "Observation", None),
        (DOCTOR, "CareTeam", None),
        (DOCTOR, "Communication", None),
        (DOCTOR, "Consent", Forbidden),
        (DOCTOR, "Patient", Forbidden),
        (DOCTOR, "RelatedPerson", Forbidden),
        (DOCTOR, "AuditEvent", MethodNotAllowed),
        (PATIENT, "DocumentReference", None),
        (PATIENT, "AllergyIntolerance", None),
        (PATIENT, "Consent", None),
        (PATIENT, "Communication", None),
        (PATIENT, "RelatedPerson", None),
        (PATIENT, "Patient", Forbidden),
        (PATIENT, "CareTeam", Forbidden),
        (PATIENT, "MedicationRequest", Forbidden),
        (REPRESENTATIVE, "AllergyIntolerance", None),
        (REPRESENTATIVE, "Consent", None),
        (REPRESENTATIVE, "RelatedPerson", Forbidden),
        (APPLICATION, "Observation", None),
        (APPLICATION, "Consent", Forbidden),
        (APPLICATION, "Communication", Forbidden),
        (ADMIN, "Patient", None),
        (ADMIN, "CareTeam", None),
        (ADMIN, "RelatedPerson", None),
        (ADMIN, "Observation", Forbidden),
        (ADMIN, "Consent", Forbidden),
        (Actor("ncp", "Device/n", "N", "j", country="DE"), "Observation", Forbidden),
        (Actor("lgc", "Device/l", "L", "j"), "DocumentReference", Forbidden),
        (Actor("made-up", "Device/l", "L", "j"), "DocumentReference", Forbidden),
        (Actor("open", "", "open", ""), "Observation", None),
    ],
    ids=lambda each: each.role if isinstance(each, Actor) else getattr(each, "__name__", str(each)),
)
def test_who_may_create_what_in_a_record(actor: Actor, type_: str, expected: type[FhirServerError] | None) -> None:
    """The write column of access §3.3."""
    assert verdict(actor, "create", None, row(type_)) is expected


@pytest.mark.parametrize(
    ("actor", "type_", "expected"),
    [
        (ADMIN, "Practitioner", None),
        (ADMIN, "ValueSet", None),
        (ADMIN, "Subscription", Forbidden),
        (DOCTOR, "Practitioner", Forbidden),
        (DOCTOR, "Medication", None),
        (DOCTOR, "Binary", None),
        (PATIENT, "Binary", None),
        (PATIENT, "Practitioner", Forbidden),
        (APPLICATION, "Device", None),
        (APPLICATION, "Binary", None),
        (APPLICATION, "Medication", Forbidden),
    ],
    ids=lambda each: each.role if isinstance(each, Actor) else getattr(each, "__name__", str(each)),
)
def test_who_may_create_what_is_nobodys(actor: Actor, type_: str, expected: type[FhirServerError] | None) -> None:
    """The directory is the administrator's; content waits for its document."""
    assert verdict(actor, "create", None, row(type_, patient=None)) is expected


def test_a_blocked_professional_still_deposits() -> None:
    """DOC-25: feeding a record is not reading it."""
    blocked = replace(RECORD, directives=(Directive("D03", True, "p1", "Patient/p1", actor=ME),))
    assert verdict(DOCTOR, "create", None, row("DocumentReference"), blocked) is None


@pytest.mark.parametrize("actor", [DOCTOR, PATIENT, REPRESENTATIVE, APPLICATION], ids=lambda each: each.role)
def test_nothing_is_deposited_into_a_record_that_is_not_open(actor: Actor) -> None:
    """Closed and unknown answer alike: 404, no space."""
    answers = set()
    for policy in (CLOSED, RecordPolicy("p1"), replace(RECORD, open=False)):
        with pytest.raises(NotFound) as refused:
            may_write(actor, policy, "create", "DocumentReference", None, row("DocumentReference"), now=NOW)
        answers.add(str(refused.value))
    assert len(answers) == 1


def test_the_holder_of_a_closed_record_takes_back_what_closed_it() -> None:
    """And writes nothing else, another directive included."""
    closing, other = row("Consent", "Patient/p1", id="c1"), row("Consent", "Patient/p1", id="c2")
    assert verdict(PATIENT, "update", closing, closing, CLOSED) is None
    assert verdict(PATIENT, "update", other, other, CLOSED) is NotFound
    assert verdict(PATIENT, "create", None, other, CLOSED) is NotFound


@pytest.mark.parametrize(
    ("actor", "authors", "expected"),
    [
        (DOCTOR, (ME, "org:990000001"), None),
        (DOCTOR, (COLLEAGUE, "org:990000001"), Forbidden),
        (DOCTOR, ("Patient/p1",), Forbidden),
        (PATIENT, ("Patient/p1",), None),
        (PATIENT, ("RelatedPerson/r1",), None),
        (PATIENT, ("client:a", "Patient/p1"), None),
        (PATIENT, (ME,), Forbidden),
        (REPRESENTATIVE, ("Patient/p1",), None),
        (REPRESENTATIVE, (ME,), Forbidden),
        (APPLICATION, ("client:a", "Patient/p1"), None),
        (APPLICATION, ("Patient/p1",), Forbidden),
    ],
    ids=lambda each: each.role if isinstance(each, Actor) else "",
)
@pytest.mark.parametrize("interaction", ["update", "delete"])
def test_only_its_author_changes_a_resource(
    actor: Actor, authors: tuple[str, ...], expected: type[FhirServerError] | None, interaction: str
) -> None:
    """The author person; for the patient's side whoever of it; seen and not theirs is 403."""
    before = row("Observation", *authors)
    assert verdict(actor, interaction, before, before if interaction == "update" else None) is expected


@pytest.mark.parametrize("actor", [DOCTOR, PATIENT, ADMIN], ids=lambda each: each.role)
def test_what_is_not_seen_is_not_there_to_change(actor: Actor) -> None:
    """404, never 403."""
    assert verdict(actor, "update", None, row("Observation")) is NotFound


def test_a_resource_stays_in_its_record() -> None:
    """I17: neither to another patient, nor out of every record."""
    before = row("Device", ME)
    for after in (row("Device", ME, patient="p2"), row("Device", ME, patient=None)):
        assert verdict(DOCTOR, "update", before, after) is Invalid


def test_nobody_writes_into_a_record_that_the_token_is_not_bound_to() -> None:
    """Decided from token and request: 403, whether that record exists or not."""
    for actor in (PATIENT, REPRESENTATIVE, APPLICATION):
        for policy in (None, RecordPolicy("p2"), replace(RECORD, patient="p2")):
            assert verdict(actor, "create", None, row("Observation", patient="p2"), policy) is Forbidden


def test_a_representation_that_has_ended_writes_nothing() -> None:
    """L70: as if the record were not there."""
    ended = replace(RECORD, representatives={})
    assert verdict(REPRESENTATIVE, "create", None, row("Observation"), ended) is NotFound
    through = replace(APPLICATION, authoriser="rep", authoriser_key="RelatedPerson/r1")
    assert verdict(through, "create", None, row("Observation")) is None
    assert verdict(through, "create", None, row("Observation"), ended) is NotFound


def test_an_application_writes_what_is_shared_with_it() -> None:
    """D09 by category: 403 for the rest, in the words of MES-6."""
    vitals = Directive("D09", True, "p1", "Patient/p1", actor="client:a")
    narrowed = replace(RECORD, directives=(replace(vitals, label=None, active=False),))
    assert verdict(APPLICATION, "create", None, row("Observation"), narrowed) is Forbidden
    with pytest.raises(Forbidden, match="Consent not given, access refused"):
        may_write(APPLICATION, narrowed, "create", "Observation", None, row("Observation"), now=NOW)


@pytest.mark.parametrize("type_", ["Binary", "Device"])
def test_an_application_with_which_nothing_is_shared_writes_nothing(type_: str) -> None:
    """Not even what is nobody's; one category is enough to write content."""
    share = replace(SHARES[0], label=Label("class_code", "11"))
    for directives, expected in (((share,), None), ((replace(share, active=False),), Forbidden), ((), Forbidden)):
        record = replace(RECORD, directives=directives)
        assert verdict(APPLICATION, "create", None, row(type_, patient=None), record) is expected
    assert verdict(APPLICATION, "create", None, row(type_, patient=None), CLOSED) is NotFound
    for unknown in (None, replace(RECORD, patient="p2")):
        assert verdict(APPLICATION, "create", None, row(type_, patient=None), unknown) is Forbidden


def test_directives_are_ended_logs_kept_content_replaced() -> None:
    """405 for what is not offered to anybody."""
    for type_, interaction in (
        ("Consent", "delete"),
        ("AuditEvent", "update"),
        ("Binary", "update"),
        ("Binary", "delete"),
    ):
        assert verdict(PATIENT, interaction, row(type_), row(type_)) is MethodNotAllowed


def test_in_a_secret_session_everything_is_hidden_from_the_representatives() -> None:
    """access §7: 422 without the label; content has none of its own."""
    secret = replace(DOCTOR, secret=True)
    assert verdict(secret, "create", None, row("DocumentReference")) is Invalid
    hidden = row("DocumentReference", vis=INVISIBLE_REPRESENTANTS_LEGAUX)
    assert verdict(secret, "create", None, hidden) is None
    assert verdict(secret, "create", None, row("Binary", patient=None)) is None


@settings(max_examples=200)
@given(
    st.sampled_from([DOCTOR, PATIENT, REPRESENTATIVE, APPLICATION, ADMIN]),
    st.sampled_from(["create", "update", "delete"]),
    st.sampled_from(["DocumentReference", "Observation", "Consent", "Patient", "Binary", "AuditEvent", "Practitioner"]),
    st.sampled_from([None, "p1", "p2"]),
    st.sampled_from([None, "p1", "p2"]),
    st.sampled_from([None, RECORD, CLOSED]),
)
def test_a_write_that_is_allowed_keeps_its_patient(
    actor: Actor, interaction: str, type_: str, first: str | None, then: str | None, policy: RecordPolicy | None
) -> None:
    """I17, whatever the combination; and only errors of the domain are raised."""
    before = (
        None if interaction == "create" else row(type_, ME, "Patient/p1", "client:a", "Device/admin", patient=first)
    )
    after = None if interaction == "delete" else row(type_, patient=then)
    if verdict(actor, interaction, before, after, policy) is None and before and after:
        assert before.patient == after.patient


def test_only_its_author_replaces_a_document() -> None:
    """DOC-6."""
    may_replace(DOCTOR, row("DocumentReference", ME))
    may_replace(PATIENT, row("DocumentReference", "Patient/p1"))
    may_replace(Actor("open", "", "open", ""), row("DocumentReference", ME))
    for actor in (PATIENT, replace(DOCTOR, keys=frozenset({COLLEAGUE, "org:990000001"}))):
        with pytest.raises(Forbidden):
            may_replace(actor, row("DocumentReference", ME, "org:990000001"))


def _setting(code: str) -> dict[str, Any]:
    return {"coding": [{"system": "s", "code": code}]}


def test_a_patients_document_says_so_and_a_professionals_does_not() -> None:
    """DOC-26: 422 at each place; other depositors are not asked."""
    own = {
        "author": [{"reference": "Patient/p1"}],
        "context": {"facilityType": _setting("EXP_PATIENT"), "practiceSetting": _setting("EXP_PATIENT")},
    }
    theirs = {"context": {"facilityType": _setting("SA01"), "practiceSetting": _setting("ETABLISSEMENT")}}
    mine, clinical = (
        row("DocumentReference", class_code="90", type_code="EXPPAT_1"),
        row("DocumentReference", class_code="10"),
    )
    check_document(PATIENT, own, mine)
    check_document(DOCTOR, theirs, clinical)
    check_document(APPLICATION, theirs, clinical)
    with pytest.raises(Invalid) as refused:
        check_document(DOCTOR, own, mine)
    assert {issue.expression for issue in refused.value.issues} == {
        "DocumentReference.category",
        "DocumentReference.type",
        "DocumentReference.context.facilityType",
        "DocumentReference.context.practiceSetting",
    }
    with pytest.raises(Invalid) as refused:
        check_document(PATIENT, {}, mine)
    assert len(refused.value.issues) == 3


@pytest.mark.parametrize(
    ("actor", "authors", "expected"),
    [
        (PATIENT, [{"reference": "Patient/p1", "display": "P"}], True),
        (PATIENT, [{"reference": "https://here.example/fhir/Patient/p1"}], True),
        (PATIENT, [{"reference": "https://elsewhere.example/fhir/Patient/p1"}], False),
        (PATIENT, [{"reference": "Patient/p2"}], False),
        (PATIENT, [{"reference": "RelatedPerson/r1"}], False),
        (PATIENT, [{"reference": "Patient/p1"}, {"reference": "Practitioner/x"}], False),
        (
            PATIENT,
            [
                {
                    "reference": "Patient/p1",
                    "identifier": {"system": "https://rpps.esante.gouv.fr", "value": "10000000001"},
                }
            ],
            False,
        ),
        (PATIENT, [{"display": "Dr MARTIN"}], False),
        (PATIENT, [], False),
        (REPRESENTATIVE, [{"reference": "RelatedPerson/r1"}], True),
        (REPRESENTATIVE, [{"reference": "Patient/p1"}], True),
        (REPRESENTATIVE, [{"reference": "RelatedPerson/r2"}], False),
    ],
)
def test_a_patients_document_is_by_the_patient_or_who_represents_them(
    actor: Actor, authors: list[dict[str, Any]], expected: bool
) -> None:
    """DOC-26: 422 at the author, whoever else is named."""
    setting = _setting("EXP_PATIENT")
    resource = {"author": authors, "context": {"facilityType": setting, "practiceSetting": setting}}
    facts = row("DocumentReference", actor.reference, class_code="90", type_code="DOCPAT08")
    refused: tuple[str | None, ...] = ()
    try:
        check_document(actor, resource, facts, base="https://here.example/fhir")
    except Invalid as error:
        refused = tuple(each.expression for each in error.issues)
    assert refused == (() if expected else ("DocumentReference.author",))


def test_a_message_is_sent_by_the_one_who_writes_it() -> None:
    """REC-81: the sender is never taken from the body."""
    message = {"resourceType": "Communication", "sender": {"reference": "Patient/p1"}}
    check_sender(PATIENT, message)
    check_sender(
        DOCTOR,
        {
            "resourceType": "Communication",
            "sender": {"identifier": {"system": "https://rpps.esante.gouv.fr", "value": "10000000001"}},
        },
    )
    check_sender(DOCTOR, {"resourceType": "Observation"})
    for actor, sent in ((DOCTOR, message), (PATIENT, {"resourceType": "Communication"})):
        with pytest.raises(Forbidden):
            check_sender(actor, sent)
