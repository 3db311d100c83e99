"""Security facts: whose record, which kind, how visible, by whom (access §3.1; COD-7 to COD-12, DOC-8, DOC-24)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.auth.actor import Actor
from fhir_server.consent.compartment import links_of, patient_of, said_in
from fhir_server.consent.facts import facts_of, month_after
from fhir_server.consent.kinds import kind_of, types
from fhir_server.consent.labels import ACT_CODE, BITS, CONFIDENTIALITY, MASKS, TRE_A07
from fhir_server.errors import Invalid
from fhir_server.fhir.dates import date_range
from fhir_server.fhir.definitions import load_definitions
from fhir_server.search.facts import (
    INVISIBLE_PATIENT,
    INVISIBLE_REPRESENTANTS_LEGAUX,
    MASKED_BY_HOLDER,
    MASQUE_PS,
    Facts,
)

R4 = load_definitions()
NOW = date_range("2026-01-31T12:00:00Z")[0]
DOCTOR = Actor(
    "ps",
    "Practitioner/x",
    "X",
    "j",
    frozenset({"rpps:10000000001", "org:990000001", "Practitioner/x"}),
    profession="10",
)
PATIENT = Actor("patient", "Patient/p1", "P", "j", patients=("p1",))
REPRESENTATIVE = Actor("rep", "RelatedPerson/r1", "R", "j", patients=("p1",))
APPLICATION = Actor(
    "app", "Device/a", "A", "j", frozenset({"client:a"}), ("p1",), authoriser="patient", authoriser_key="Patient/p1"
)
OPEN = Actor("open", "", "open", "")
P1 = {"reference": "Patient/p1"}
P2 = {"reference": "Patient/p2"}


def facts(resource: dict[str, Any], by: Actor = DOCTOR, **more: Any) -> Facts:
    """The facts of a resource with id `x`, written at NOW."""
    return facts_of(R4, resource, id="x", depositor=by, now=NOW, **more)


def document(*visibility: str, **more: Any) -> dict[str, Any]:
    """A DocumentReference of p1 with these TRE_A07 codes."""
    labels = [{"coding": [{"system": TRE_A07, "code": code}]} for code in visibility]
    return {"resourceType": "DocumentReference", "subject": P1, "securityLabel": labels, **more}


def labelled(*visibility: str) -> dict[str, Any]:
    """A Condition of p1 with these TRE_A07 codes."""
    security = [{"system": TRE_A07, "code": code} for code in visibility]
    return {"resourceType": "Condition", "subject": P1, "meta": {"security": security}}


# Whose record


@pytest.mark.parametrize(
    ("resource", "patient"),
    [
        ({"resourceType": "Observation", "subject": P1}, "p1"),
        ({"resourceType": "AllergyIntolerance", "patient": P1, "recorder": P2}, "p1"),
        ({"resourceType": "DocumentReference", "subject": P1, "author": [P2]}, "p1"),
        ({"resourceType": "QuestionnaireResponse", "author": P1}, "p1"),
        ({"resourceType": "Coverage", "beneficiary": P1, "payor": [P2]}, "p1"),
        (
            {"resourceType": "Appointment", "participant": [{"actor": {"reference": "Practitioner/x"}}, {"actor": P1}]},
            "p1",
        ),
        ({"resourceType": "Task", "for": P1}, "p1"),
        ({"resourceType": "Device", "patient": P1}, "p1"),
        ({"resourceType": "Provenance", "target": [P1, {"reference": "Observation/o"}]}, "p1"),
        ({"resourceType": "Observation", "subject": {"reference": "Patient/p1/_history/3"}}, "p1"),
        ({"resourceType": "Observation", "subject": {"reference": "https://here.example/fhir/Patient/p1"}}, "p1"),
        ({"resourceType": "Patient"}, "x"),
        (
            {
                "resourceType": "Bundle",
                "entry": [
                    {"resource": {"resourceType": "Composition", "subject": P1}},
                    {"resource": {"resourceType": "Patient", "id": "elsewhere"}},
                ],
            },
            "p1",
        ),
    ],
    ids=lambda each: each.get("resourceType") if isinstance(each, dict) else each,
)
def test_a_resource_is_in_the_record_of_the_patient_it_is_about(resource: dict[str, Any], patient: str) -> None:
    """The compartment's parameters, the one that says what it is about first."""
    found = facts(resource, base="https://here.example/fhir")
    assert (found.patient, found.kind) == (patient, "record")


@pytest.mark.parametrize(
    ("resource", "place"),
    [
        ({"resourceType": "Observation"}, "Observation.subject"),
        ({"resourceType": "Observation", "subject": {"reference": "Group/g"}}, "Observation.subject"),
        (
            {"resourceType": "Observation", "subject": {"identifier": {"value": "1"}}, "performer": [P2]},
            "Observation.subject",
        ),
        (
            {"resourceType": "Observation", "subject": {"reference": "https://other.example/Patient/p1"}},
            "Observation.subject",
        ),
        ({"resourceType": "Immunization", "patient": {"reference": "#p"}}, "Immunization.patient"),
        ({"resourceType": "Task"}, "Task.for"),
        ({"resourceType": "Provenance", "target": [{"reference": "Observation/o"}]}, "Provenance.target"),
        ({"resourceType": "Linkage"}, "Linkage"),
    ],
)
def test_a_resource_of_no_patient_is_refused_at_the_place(resource: dict[str, Any], place: str) -> None:
    """A subject that is not resolved is not replaced by whoever else is named."""
    with pytest.raises(Invalid) as refused:
        facts(resource)
    assert [(each.code, each.expression) for each in refused.value.issues] == [("required", place)]


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "Appointment", "participant": [{"actor": P1}, {"actor": P2}]},
        {"resourceType": "Provenance", "target": [P1, P2]},
        {
            "resourceType": "Bundle",
            "entry": [
                {"resource": {"resourceType": "Observation", "subject": P1}},
                {"resource": {"resourceType": "Observation", "subject": P2}},
            ],
        },
    ],
    ids=lambda each: each["resourceType"],
)
def test_a_resource_of_two_patients_is_refused(resource: dict[str, Any]) -> None:
    """Exactly one (access §3.1)."""
    with pytest.raises(Invalid) as refused:
        facts(resource)
    assert refused.value.issues[0].code == "business-rule"


def test_what_names_no_patient_is_where_what_it_points_to_is() -> None:
    """A Provenance follows its target; two records are none."""
    provenance = {"resourceType": "Provenance", "target": [{"reference": "Observation/o"}]}
    assert facts(provenance, through=frozenset({"p1"})).patient == "p1"
    with pytest.raises(Invalid):
        facts(provenance, through=frozenset({"p1", "p2"}))


def test_in_an_open_server_a_resource_may_be_nobodys() -> None:
    """Without authorization there is no record to protect, and the FHIR tests have such resources."""
    found = facts({"resourceType": "Observation"}, OPEN)
    assert (found.patient, found.kind, found.authors) == (None, "record", frozenset())


def test_directory_and_definitions_are_public_and_shared_things_until_they_name_a_patient() -> None:
    """kind: public, server, record."""
    assert facts({"resourceType": "Practitioner"}).kind == "public"
    assert facts({"resourceType": "ValueSet"}).kind == "public"
    assert facts({"resourceType": "Device"}).kind == "public"
    assert facts({"resourceType": "Schedule", "actor": [{"reference": "Practitioner/x"}]}).kind == "public"
    assert facts({"resourceType": "Subscription"}).kind == "server"
    binary = facts({"resourceType": "Binary"})
    assert (binary.kind, binary.patient) == ("record", None)


def test_every_type_of_the_patient_compartment_is_a_record() -> None:
    """R4's own list; only what can be of nobody in particular is public without a patient."""
    for type_ in R4.compartment("Patient"):
        assert kind_of(type_) == "record" or type_ in types().shared, type_
    lists = (types().public, types().shared, types().server, types().carriers, types().participants)
    assert frozenset().union(*lists, *types().written_by.values()) <= R4.resource_types
    assert not types().public & (types().shared | types().server)


def test_every_compartment_parameter_is_understood() -> None:
    """No parameter of the Patient compartment has an expression that the reading of whose record it is misses."""
    for type_, codes in R4.compartment("Patient").items():
        for code in codes:
            parts = [part.strip() for part in R4.search_parameters(type_)[code].expression.split("|")]
            own = [part for part in parts if part.startswith(f"{type_}.")]
            assert own, (type_, code)
            for part in own:
                path = part.removesuffix(".where(resolve() is Patient)").removeprefix(f"{type_}.")
                resource: Any = P1
                for name in reversed(path.split(".")):
                    resource = {name: resource}
                assert patient_of(R4, {"resourceType": type_, **resource}) == "p1", (type_, part)


def test_links_are_every_resource_of_this_server_that_it_points_to() -> None:
    """References at any depth, in contained ones too, and the content of attachments; nothing of elsewhere."""
    resource = document(
        author=[{"reference": "Practitioner/x"}, {"reference": "#c"}],
        contained=[{"resourceType": "PractitionerRole", "practitioner": {"reference": "Practitioner/y"}}],
        relatesTo=[{"code": "replaces", "target": {"reference": "https://here.example/fhir/DocumentReference/d0"}}],
        content=[{"attachment": {"url": "Binary/b"}}, {"attachment": {"url": "https://here.example/fhir/Binary/c"}}],
        context={"related": [{"reference": "https://other.example/fhir/Observation/o"}, {"reference": "urn:uuid:1"}]},
        identifier=[{"system": "https://example.org", "value": "Observation/1"}],
    )
    assert links_of(said_in(resource), base="https://here.example/fhir") == {
        "Patient/p1",
        "Practitioner/x",
        "Practitioner/y",
        "DocumentReference/d0",
        "Binary/b",
        "Binary/c",
    }


# Which kind


@pytest.mark.parametrize(
    ("resource", "class_code", "type_code"),
    [
        (document(type={"coding": [{"system": "http://loinc.org", "code": "34133-9"}]}), "11", "34133-9"),
        (
            document(
                type={"coding": [{"system": "http://loinc.org", "code": "34133-9"}]},
                category=[
                    {
                        "coding": [
                            {
                                "system": "https://mos.esante.gouv.fr/NOS/TRE_A03-ClasseDocument/FHIR/TRE-A03-ClasseDocument",
                                "code": "10",
                            }
                        ]
                    }
                ],
            ),
            "10",
            "34133-9",
        ),
        (document(type={"coding": [{"system": "urn:other", "code": "zz"}]}), None, "zz"),
        (document(), None, None),
        ({"resourceType": "AllergyIntolerance", "patient": P1}, "11", "60591-5"),
        ({"resourceType": "Immunization", "patient": P1}, "11", "11369-6"),
        (
            {
                "resourceType": "Observation",
                "subject": P1,
                "category": [
                    {
                        "coding": [
                            {
                                "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                                "code": "vital-signs",
                            }
                        ]
                    }
                ],
            },
            "measures",
            "29274-8",
        ),
        ({"resourceType": "Observation", "subject": P1}, None, None),
        (
            {
                "resourceType": "DiagnosticReport",
                "subject": P1,
                "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "RAD"}]}],
            },
            "31",
            "18748-4",
        ),
        ({"resourceType": "Communication", "subject": P1}, "messages", None),
        ({"resourceType": "FamilyMemberHistory", "patient": P1}, None, None),
    ],
)
def test_the_category_of_a_resource_is_that_of_the_table(
    resource: dict[str, Any], class_code: str | None, type_code: str | None
) -> None:
    """access §10: a stated class before the class of the type; uncategorised is None."""
    found = facts(resource)
    assert (found.class_code, found.type_code) == (class_code, type_code)


def test_a_questionnaire_is_the_patients_only_when_they_made_it() -> None:
    """COD-12, also when it is written again by someone else."""
    questionnaire = document(type={"coding": [{"system": "http://loinc.org", "code": "74465-6"}]})
    assert facts(questionnaire).class_code == "10"
    first = facts(questionnaire, PATIENT)
    assert first.class_code == "90"
    assert facts(questionnaire, DOCTOR, before=first).class_code == "90"


@pytest.mark.parametrize(
    ("system", "code", "labels"),
    [
        ("http://hl7.org/fhir/sid/icd-10", "F32.1", {"PSY"}),
        ("https://smt.esante.gouv.fr/terminologie-cim-10", "F10.2", {"ETH"}),
        ("http://hl7.org/fhir/sid/icd-10", "F02.4", {"PSY", "HIV"}),
        ("http://loinc.org", "68599-0", {"PSY"}),
        ("http://www.whocc.no/atc", "J05AR10", {"HIV"}),
        ("http://hl7.org/fhir/sid/icd-10", "J45.0", set()),
        ("urn:other", "F32.1", set()),
    ],
)
def test_a_sensitive_code_anywhere_labels_the_resource(system: str, code: str, labels: set[str]) -> None:
    """The table of codes; what the client says can add a label too."""
    coded = {"coding": [{"system": system, "code": code}]}
    assert facts({"resourceType": "Observation", "subject": P1, "component": [{"code": coded}]}).labels == labels
    security = [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "SDV"}]
    said = {"resourceType": "Condition", "subject": P1, "code": coded, "meta": {"security": security}}
    assert facts(said).labels == labels | {"SDV"}


def test_the_time_of_the_data_is_its_own_in_paris() -> None:
    """dataPeriod selects by it; a day begins at midnight in Paris; without one it is None."""
    assert (
        facts({"resourceType": "Observation", "subject": P1, "effectiveDateTime": "2020-07-01"}).data_time
        == (date_range("2020-06-30T22:00:00Z")[0])
    )
    assert (
        facts(
            document(context={"period": {"start": "2020-01-01T08:00:00+01:00"}}, date="2021-01-01T00:00:00Z")
        ).data_time
        == (date_range("2020-01-01T07:00:00Z")[0])
    )
    assert facts(document()).data_time is None


@pytest.mark.parametrize(
    ("element", "moment"),
    [
        ({"effectivePeriod": {"start": "2020-01-01T08:00:00Z", "end": "2021-01-01"}}, "2020-01-01T08:00:00Z"),
        ({"effectivePeriod": {"end": "2020-01-01T08:00:00Z"}}, "2020-01-01T08:00:00Z"),
        ({"effectivePeriod": {}, "issued": "2020-01-01T08:00:00Z"}, "2020-01-01T08:00:00Z"),
        ({"effectiveDateTime": "soon", "issued": "2020-01-01T08:00:00Z"}, "2020-01-01T08:00:00Z"),
        ({"effectiveTiming": {"event": ["2020-01-01"]}}, None),
    ],
)
def test_the_first_time_that_is_known_counts(element: dict[str, Any], moment: str | None) -> None:
    """A period by its beginning, by its end without one."""
    expected = date_range(moment)[0] if moment else None
    assert facts({"resourceType": "Observation", "subject": P1, **element}).data_time == expected


# How visible


@pytest.mark.parametrize("code", BITS)
def test_each_visibility_is_read_in_every_spelling(code: str) -> None:
    """COD-9: the right system, the misspelt one, the bare OID, in securityLabel and in meta.security."""
    for system in (
        TRE_A07,
        "https://mos.esante.gouv.fr/NOS/TRE_A07-StatusVisibiliteDocument/FHIR/TRE-A07-StatusVisibiliteDocument",
        "1.2.250.1.213.1.1.4.13",
        "urn:oid:1.2.250.1.213.1.1.4.13",
    ):
        coding = {"system": system, "code": code}
        assert facts({**document(), "securityLabel": [{"coding": [coding]}]}).vis == BITS[code]
        assert facts({"resourceType": "Condition", "subject": P1, "meta": {"security": [coding]}}).vis == BITS[code]


@pytest.mark.parametrize("level", ["N", "R", "V"])
def test_a_level_of_confidentiality_hides_nothing(level: str) -> None:
    """COD-10; also inside the misspelt system."""
    for system in (CONFIDENTIALITY, TRE_A07, "2.16.840.1.113883.5.25"):
        assert facts({**document(), "securityLabel": [{"coding": [{"system": system, "code": level}]}]}).vis == 0


@pytest.mark.parametrize(
    "coding",
    [
        {"system": TRE_A07, "code": "MASQUE"},
        {"system": TRE_A07},
        {"system": CONFIDENTIALITY, "code": "MASQUE_PS"},
        {"system": "urn:other", "code": "MASQUE_PS"},
        {"code": "INVISIBLE_PATIENT"},
    ],
    ids=str,
)
def test_an_unknown_visibility_is_never_taken_for_visible(coding: dict[str, str]) -> None:
    """COD-8: 422 at the label."""
    with pytest.raises(Invalid) as refused:
        facts({**document(), "securityLabel": [{"coding": [coding]}]})
    assert refused.value.issues[0].expression == "DocumentReference.securityLabel[0].coding[0]"


def test_hidden_from_the_patient_and_masked_to_professionals_at_once_is_refused() -> None:
    """DOC-24, however both come together: stated, or by the mask of what is replaced; unless the setting lets them."""
    both = document("INVISIBLE_PATIENT", "MASQUE_PS")
    for resource, more in (
        (both, {}),
        (labelled("INVISIBLE_PATIENT", "MASQUE_PS"), {}),
        (document("INVISIBLE_PATIENT"), {"replaced": facts(document("MASQUE_PS"))}),
        (document("MASQUE_PS", "INVISIBLE_PATIENT"), {"before": facts(document("INVISIBLE_PATIENT"))}),
    ):
        with pytest.raises(Invalid) as refused:
            facts(resource, **more)
        place = "securityLabel" if resource["resourceType"] == "DocumentReference" else "meta.security"
        assert refused.value.issues[0].expression == f"{resource['resourceType']}.{place}"
    assert facts(both, together=True).vis == INVISIBLE_PATIENT | MASQUE_PS


def test_what_the_clock_has_released_may_be_masked() -> None:
    """The stored label of an announcement that is over does not stand in the patient's way."""
    released = replace(facts(document("INVISIBLE_PATIENT")), release_at=NOW)
    assert facts(document("INVISIBLE_PATIENT", "MASQUE_PS"), PATIENT, before=released).vis & MASQUE_PS


def test_what_is_hidden_from_the_patient_is_released_a_month_after_deposit() -> None:
    """Calendar month in Paris, the day clipped; other documents have no release."""
    assert facts(document("INVISIBLE_PATIENT")).release_at == date_range("2026-02-28T12:00:00Z")[0]
    assert facts(document()).release_at is None


@pytest.mark.parametrize(
    ("moment", "later"),
    [
        ("2026-01-31T12:00:00Z", "2026-02-28T12:00:00Z"),
        ("2024-01-31T12:00:00Z", "2024-02-29T12:00:00Z"),
        ("2026-12-15T08:00:00Z", "2027-01-15T08:00:00Z"),
        ("2026-03-10T12:00:00Z", "2026-04-10T11:00:00Z"),
        ("2026-11-30T23:30:00Z", "2027-01-01T00:30:00+01:00"),
    ],
)
def test_a_month_is_one_of_the_calendar_in_paris(moment: str, later: str) -> None:
    """REC-T2; summer time keeps the hour of the clock."""
    assert month_after(date_range(moment)[0]) == date_range(later)[0]


def test_a_replacement_takes_over_lineage_visibility_and_clock() -> None:
    """No unmasking by pushing again, and no second month of hiding (REC-124)."""
    first = replace(facts(document("MASQUE_PS")), id="1", lineage="DocumentReference/0")
    second = facts(document(), replaced=first)
    assert (second.lineage, second.vis) == ("DocumentReference/0", MASQUE_PS)
    hidden = replace(first, vis=INVISIBLE_PATIENT, release_at=NOW - 5)
    assert facts(document(), replaced=hidden).release_at == NOW - 5
    assert facts(document("INVISIBLE_PATIENT"), replaced=replace(first, deposited_at=0)).release_at == month_after(0)


def test_the_patient_replacing_a_document_decides_anew() -> None:
    """DOC-8: except for the patient's own replacement; what hides from representatives stays."""
    first = facts(document("MASQUE_PS", "INVISIBLE_REPRESENTANTS_LEGAUX"))
    assert facts(document(), PATIENT, replaced=first).vis == INVISIBLE_REPRESENTANTS_LEGAUX


def test_hiding_afterwards_what_the_patient_could_see_is_refused() -> None:
    """REC-124; leaving the label out is the announcement (REC-121)."""
    with pytest.raises(Invalid):
        facts(document("INVISIBLE_PATIENT"), before=facts(document()))
    announced = facts(document(), before=facts(document("INVISIBLE_PATIENT")))
    assert (announced.vis, announced.release_at) == (0, None)


visibilities = st.sampled_from([0, 1, 2, 4, 8, 16, 5, 25])
asked = st.lists(st.sampled_from(["MASQUE_PS", "INVISIBLE_REPRESENTANTS_LEGAUX", "MASQUE_PT"]), max_size=2)


@settings(max_examples=100)
@given(visibilities, asked, st.sampled_from([DOCTOR, REPRESENTATIVE, APPLICATION]), st.booleans())
def test_writing_again_never_lowers_what_hides(vis: int, codes: list[str], by: Actor, theirs: bool) -> None:
    """I17: the holder's masks stay for professionals, every mask for applications and in what is no document; what
    hides from representatives stays for all but the patient."""
    vis |= MASKED_BY_HOLDER if theirs and vis & MASKS else 0
    resource = document(*codes) if theirs or by is not DOCTOR else labelled(*codes)
    before = replace(facts(resource), vis=vis, release_at=NOW if vis & INVISIBLE_PATIENT else None)
    after = facts(resource, by, before=before, lifts=True)
    kept = vis & ~INVISIBLE_PATIENT if by.role != "rep" else vis & INVISIBLE_REPRESENTANTS_LEGAUX
    assert after.vis & kept == kept
    assert (after.authors, after.lineage, after.deposited_at) == (before.authors, before.lineage, before.deposited_at)


def test_a_professional_unmasks_a_document_that_the_holder_has_not_masked() -> None:
    """DOC-23: the author's own mask, or the médecin traitant's; never the patient's, nor what representatives see."""
    for mask in ("MASQUE_PS", "MASQUE_PT", "MASQUE_PSOCIAL"):
        assert facts(document(), before=facts(document(mask)), lifts=True).vis == 0
        assert facts(document(), before=facts(document(mask))).vis == BITS[mask]
        theirs = facts(document(mask), PATIENT, before=facts(document()))
        assert theirs.vis == BITS[mask] | MASKED_BY_HOLDER
        assert facts(document(), before=theirs, lifts=True).vis == theirs.vis
        assert facts(document(), REPRESENTATIVE, before=theirs).vis == 0
    kept = facts(document("INVISIBLE_REPRESENTANTS_LEGAUX"))
    assert facts(document(), before=kept, lifts=True).vis == INVISIBLE_REPRESENTANTS_LEGAUX


def test_a_replacement_keeps_whose_mask_it_is() -> None:
    """DOC-8: the author of a masked document does not unmask it by replacing it and editing the replacement."""
    masked = facts(document("MASQUE_PS"), PATIENT, before=facts(document()))
    second = facts(document(), replaced=masked)
    assert facts(document(), before=second, lifts=True).vis == MASQUE_PS | MASKED_BY_HOLDER


@pytest.mark.parametrize("by", [DOCTOR, APPLICATION, PATIENT, REPRESENTATIVE, OPEN], ids=lambda each: each.role)
def test_only_the_holder_takes_a_sensitivity_away(by: Actor) -> None:
    """I17: an update and a replacement keep the labels of what they follow; another may be added."""
    psychiatric = document(meta={"security": [{"system": ACT_CODE, "code": "PSY"}]})
    for earlier in ("before", "replaced"):
        sensitive = replace(facts(document()), labels=frozenset({"HIV"}))
        kept = {"HIV"} if by.role in ("ps", "app") else set()
        assert facts(document(), by, **{earlier: sensitive}).labels == kept
        assert facts(psychiatric, by, **{earlier: sensitive}).labels == kept | {"PSY"}


def test_the_patient_lifts_masks_from_what_they_write() -> None:
    """DOC-23: all labels of own documents."""
    before = facts(document("MASQUE_PS", "INVISIBLE_REPRESENTANTS_LEGAUX"), PATIENT)
    assert facts(document(), PATIENT, before=before).vis == 0


# By whom


@pytest.mark.parametrize(
    ("actor", "authors"),
    [
        (DOCTOR, {"rpps:10000000001", "org:990000001"}),
        (PATIENT, {"Patient/p1"}),
        (REPRESENTATIVE, {"RelatedPerson/r1"}),
        (APPLICATION, {"client:a", "Patient/p1"}),
    ],
    ids=lambda each: each.role if isinstance(each, Actor) else "",
)
def test_the_authors_are_the_depositors_keys_whatever_the_resource_says(actor: Actor, authors: set[str]) -> None:
    """Person and structure; the patient or representative; an application and who it acts for."""
    resource = document(author=[{"reference": "Practitioner/somebody-else"}])
    assert facts(resource, actor).authors == authors


def test_participants_are_named_by_reference_and_by_number() -> None:
    """IdNat_PS and RPPS are one key (PRO-3)."""
    message = {
        "resourceType": "Communication",
        "subject": P1,
        "sender": {"reference": "Practitioner/x"},
        "recipient": [{"identifier": {"system": "urn:oid:1.2.250.1.71.4.2.1", "value": "810000000001"}}, P1],
    }
    assert facts(message).participants == {"Practitioner/x", "rpps:10000000001", "Patient/p1"}
    assert facts({"resourceType": "Observation", "subject": P1, "performer": [P1]}).participants == frozenset()
