"""A Consent is one directive of the closed set, or is refused at the place of each fault (access §3.4)."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.auth.actor import Actor
from fhir_server.consent.directives import Directive, check_performer, check_target, check_update, parse_directive
from fhir_server.consent.periods import Span
from fhir_server.consent.shapes import POLICY, SHAPES, Label
from fhir_server.errors import Invalid
from fhir_server.fhir.dates import date_range
from fhir_server.search.facts import Facts

C = "https://example.org/fhir-server"
REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
ROLE = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}
TREAT = [{"system": REASON, "code": "TREAT"}]
SYNTHESES = [{"system": f"{C}/CodeSystem/mes-category", "code": "11"}]
PSYCHIATRY = [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "PSY"}]


def actor(system: str, value: str) -> list[dict[str, Any]]:
    """Consent.provision.actor naming one recipient."""
    return [{"role": ROLE, "reference": {"identifier": {"system": system, "value": value}}}]


DOCTOR = actor("https://rpps.esante.gouv.fr", "99900000022")
CLINIC = actor("https://finess.esante.gouv.fr", "990000001")
GERMANY = actor("urn:iso:std:iso:3166", "DE")
APP = actor(f"{C}/client", "demo-app")
TEAM = [{"role": ROLE, "reference": {"reference": "CareTeam/t1"}}]
DOCUMENT = [{"meaning": "instance", "reference": {"reference": "DocumentReference/d1"}}]


def consent(policy: str, **provision: Any) -> dict[str, Any]:
    """A directive of that policy as the patient p1 gives it."""
    shape = SHAPES.get(policy)
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": "Patient/p1"},
        "performer": [{"reference": "Patient/p1"}],
        "sourceAttachment": {"title": "Portail"},
        "policy": [{"uri": POLICY + policy}],
        "provision": {"type": shape.type if shape else "deny", **provision},
    }


VALID: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "opposition": (consent("opposition"), {"id": "D01"}),
    "no bris de glace": (
        consent("no-emergency", purpose=[{"system": REASON, "code": "BTG"}]),
        {"id": "D02", "purpose": "bris_de_glace"},
    ),
    "no Centre 15": (
        consent("no-emergency", purpose=[{"system": f"{C}/CodeSystem/access-mode", "code": "centre_15"}]),
        {"id": "D02", "purpose": "centre_15"},
    ),
    "block a professional": (consent("block", actor=DOCTOR), {"id": "D03", "actor": "rpps:99900000022"}),
    "block a structure": (consent("block", actor=CLINIC), {"id": "D03", "actor": "org:990000001"}),
    "block a country": (consent("block", actor=GERMANY), {"id": "D03", "actor": "country:DE"}),
    "care team": (consent("care-team", actor=TEAM), {"id": "D04", "team": "CareTeam/t1"}),
    "grant": (
        consent("grant", purpose=TREAT, actor=DOCTOR, period={"start": "2026-01-10"}),
        {"id": "D05", "actor": "rpps:99900000022"},
    ),
    "grant except psychiatry": (
        consent(
            "grant",
            purpose=TREAT,
            actor=CLINIC,
            period={"start": "2026-01-10", "end": "2026-03-31"},
            provision=[{"type": "deny", "securityLabel": PSYCHIATRY}],
        ),
        {"id": "D05", "except_label": Label("labels", "PSY")},
    ),
    "médecin traitant": (consent("mt-rights", actor=DOCTOR), {"id": "D06"}),
    "mask": (consent("mask", data=DOCUMENT), {"id": "D07", "instance": "DocumentReference/d1", "actor": None}),
    "mask for one": (consent("mask", data=DOCUMENT, actor=DOCTOR), {"id": "D07", "actor": "rpps:99900000022"}),
    "hide a category": (consent("hide", securityLabel=SYNTHESES), {"label": Label("class_code", "11")}),
    "hide a time": (
        consent("hide", securityLabel=PSYCHIATRY, dataPeriod={"start": "2015-01-01", "end": "2018-12-31"}),
        {"id": "D08", "label": Label("labels", "PSY")},
    ),
    "application": (
        consent("app-share", purpose=[{"system": REASON, "code": "PATRQT"}], actor=APP, securityLabel=SYNTHESES),
        {"id": "D09", "actor": "client:demo-app"},
    ),
    "cross-border": (consent("cross-border", purpose=TREAT, actor=GERMANY), {"id": "D10", "actor": "country:DE"}),
}


@pytest.mark.parametrize("name", VALID)
def test_each_shape_is_read(name: str) -> None:
    """D01 to D10, with what each says."""
    resource, expected = VALID[name]
    found = parse_directive(resource)
    assert found.active
    assert found.patient == "p1"
    assert {field: getattr(found, field) for field in expected} == expected


def _changed(name: str, change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    resource = copy.deepcopy(VALID[name][0])
    change(resource)
    return resource


INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "unknown policy": (consent("nope"), "Consent.policy[0].uri"),
    "policy of another server": (
        _changed("opposition", lambda c: c.update(policy=[{"uri": "https://other.example/policy/block"}])),
        "Consent.policy[0].uri",
    ),
    "authority beside the uri": (
        _changed("opposition", lambda c: c["policy"][0].update(authority="https://example.org")),
        "Consent.policy[0].authority",
    ),
    "two categories": (_changed("opposition", lambda c: c["category"].append(c["category"][0])), "Consent.category"),
    "another scope": (_changed("opposition", lambda c: c["scope"]["coding"][0].update(code="adr")), "Consent.scope"),
    "a scope with text": (_changed("opposition", lambda c: c["scope"].update(text="x")), "Consent.scope"),
    "identifier": (_changed("opposition", lambda c: c.update(identifier=[{"value": "1"}])), "Consent.identifier"),
    "extension": (_changed("opposition", lambda c: c.update(extension=[{"url": "x"}])), "Consent.extension"),
    "contained": (_changed("opposition", lambda c: c.update(contained=[])), "Consent.contained"),
    "primitive extension": (_changed("opposition", lambda c: c.update(_status={})), "Consent._status"),
    "no source": (_changed("opposition", lambda c: c.pop("sourceAttachment")), "Consent.source"),
    "source by reference": (
        _changed("opposition", lambda c: c.update(sourceReference={"reference": "Consent/1"})),
        "Consent.sourceReference",
    ),
    "no provision": (_changed("opposition", lambda c: c.pop("provision")), "Consent.provision"),
    "rejected": (_changed("opposition", lambda c: c.update(status="rejected")), "Consent.status"),
    "two performers": (
        _changed("opposition", lambda c: c["performer"].append({"reference": "RelatedPerson/r"})),
        "Consent.performer",
    ),
    "another patient performs": (
        _changed("opposition", lambda c: c.update(performer=[{"reference": "Patient/p2"}])),
        "Consent.performer[0]",
    ),
    "patient by identifier": (
        _changed("opposition", lambda c: c.update(patient={"identifier": {"value": "1"}})),
        "Consent.patient",
    ),
    "permit for a block": (
        _changed("block a country", lambda c: c["provision"].update(type="permit")),
        "Consent.provision.type",
    ),
    "block with data": (
        _changed("block a country", lambda c: c["provision"].update(data=DOCUMENT)),
        "Consent.provision.data",
    ),
    "eleven digits short": (
        consent("block", actor=actor("https://rpps.esante.gouv.fr", "9990000002")),
        "Consent.provision.actor[0].reference.identifier.value",
    ),
    "a country in words": (
        consent("block", actor=actor("urn:iso:std:iso:3166", "Germany")),
        "Consent.provision.actor[0].reference.identifier.value",
    ),
    "IdNat_PS for RPPS": (
        consent("block", actor=actor("urn:oid:1.2.250.1.71.4.2.1", "899900000022")),
        "Consent.provision.actor[0].reference.identifier.system",
    ),
    "mt-rights to a structure": (
        consent("mt-rights", actor=CLINIC),
        "Consent.provision.actor[0].reference.identifier.system",
    ),
    "reference beside identifier": (
        _changed(
            "block a professional",
            lambda c: c["provision"]["actor"][0]["reference"].update(reference="Practitioner/1"),
        ),
        "Consent.provision.actor[0].reference",
    ),
    "identifier with a period": (
        _changed(
            "block a professional",
            lambda c: c["provision"]["actor"][0]["reference"]["identifier"].update(period={"end": "2020-01-01"}),
        ),
        "Consent.provision.actor[0].reference.identifier.period",
    ),
    "a team that is none": (
        consent("care-team", actor=[{"role": ROLE, "reference": {"reference": "Organization/o"}}]),
        "Consent.provision.actor[0].reference",
    ),
    "grant without purpose": (
        consent("grant", actor=DOCTOR, period={"start": "2026-01-10"}),
        "Consent.provision.purpose",
    ),
    "grant without beginning": (
        consent("grant", purpose=TREAT, actor=DOCTOR, period={"end": "2026-01-10"}),
        "Consent.provision.period.start",
    ),
    "grant to a structure without end": (
        consent("grant", purpose=TREAT, actor=CLINIC, period={"start": "2026-01-10"}),
        "Consent.provision.period.end",
    ),
    "a permit inside a grant": (
        _changed("grant except psychiatry", lambda c: c["provision"]["provision"][0].update(type="permit")),
        "Consent.provision.provision[0].type",
    ),
    "an exception without label": (
        _changed("grant except psychiatry", lambda c: c["provision"]["provision"][0].pop("securityLabel")),
        "Consent.provision.provision[0].securityLabel",
    ),
    "purpose of another directive": (
        consent("no-emergency", purpose=TREAT),
        "Consent.provision.purpose[0]",
    ),
    "messages to an application": (
        _changed("application", lambda c: c["provision"].update(securityLabel=[{**SYNTHESES[0], "code": "messages"}])),
        "Consent.provision.securityLabel[0]",
    ),
    "absolute data": (
        consent("mask", data=[{"meaning": "instance", "reference": {"reference": f"{C}/DocumentReference/d1"}}]),
        "Consent.provision.data[0].reference",
    ),
    "a day that is not": (
        _changed("grant", lambda c: c["provision"]["period"].update(end="2026-02-30")),
        "Consent.provision.period",
    ),
    "an empty period": (_changed("grant", lambda c: c["provision"].update(period={})), "Consent.provision.period"),
    "ends as it begins": (
        _changed(
            "grant",
            lambda c: c["provision"].update(period={"start": "2026-01-10T00:00:00Z", "end": "2026-01-10T00:00:00Z"}),
        ),
        "Consent.provision.period",
    ),
}


@pytest.mark.parametrize("name", INVALID)
def test_what_is_not_in_the_shape_is_refused_at_its_place(name: str) -> None:
    """422 with the path; nothing in a directive is passed over."""
    resource, place = INVALID[name]
    with pytest.raises(Invalid) as refused:
        parse_directive(resource)
    assert place in [issue.expression for issue in refused.value.issues]


def test_all_faults_are_told_at_once() -> None:
    """Three faults, three places."""
    resource = _changed("block a professional", lambda c: (c.update(status="draft"), c.pop("sourceAttachment")))
    resource["provision"]["actor"][0]["role"] = {"coding": [{"code": "AUT"}]}
    with pytest.raises(Invalid) as refused:
        parse_directive(resource)
    assert {issue.expression for issue in refused.value.issues} == {
        "Consent.status",
        "Consent.source",
        "Consent.provision.actor[0].role",
    }


@pytest.mark.shared_data
def test_the_published_examples_are_judged_as_published(shared_data: Path) -> None:
    """data/access: every valid one is read, every invalid one refused at its path or a parent of it."""
    cases = json.loads((shared_data / "access" / "consent-directives.json").read_text(encoding="utf-8"))
    assert {parse_directive(each["consent"]).id for each in cases["valid"]} == {f"D{n:02}" for n in range(1, 11)}
    for each in cases["invalid"]:
        with pytest.raises(Invalid) as refused:
            parse_directive(each["consent"])
        places = [issue.expression for issue in refused.value.issues]
        assert any(each["path"] == place or each["path"].startswith(place + ".") for place in places), each["id"]


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(
            st.sampled_from(["reference", "coding", "system", "code", "start", "type", "x"]), inner, max_size=3
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=200)
@given(st.sampled_from(sorted(VALID)), st.data())
def test_no_json_makes_the_reading_fail_otherwise(name: str, data: st.DataObject) -> None:
    """Any value at any place: a directive or Invalid, never another error."""
    resource = copy.deepcopy(VALID[name][0])
    place: Any = resource
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        inner = place[key]
        if not isinstance(inner, (dict, list)) or not inner or data.draw(st.booleans()):
            place[key] = data.draw(json_values)
            break
        place = inner
    places = ["Consent"]
    try:
        assert isinstance(parse_directive(resource), Directive)
    except Invalid as refused:
        places = [issue.expression for issue in refused.issues]
    assert places
    assert all(each.startswith("Consent") for each in places)


def test_a_day_as_end_is_covered_and_an_instant_is_not() -> None:
    """Days are those of Europe/Paris: 31 March 2026 ends there at 22:00 UTC."""
    grant = VALID["grant except psychiatry"][0]
    midnight = date_range("2026-03-31T22:00:00Z")[0]
    assert parse_directive(grant).period.high == midnight
    grant = _changed("grant except psychiatry", lambda c: c["provision"]["period"].update(end="2026-03-31T22:00:00Z"))
    assert parse_directive(grant).period == Span(date_range("2026-01-09T23:00:00Z")[0], midnight)
    assert parse_directive(grant).live(midnight - 1)
    assert not parse_directive(grant).live(midnight)


def test_an_update_ends_a_directive_or_moves_its_period_and_nothing_else() -> None:
    """access §3.4: everything else is another directive."""
    before = VALID["grant"][0]
    check_update(before, {**before, "status": "inactive"})
    check_update(before, _changed("grant", lambda c: c["provision"]["period"].update(end="2027-01-01")))
    for change, place in (
        (lambda c: c["provision"].update(actor=CLINIC), "Consent.provision.actor"),
        (lambda c: c["provision"].pop("purpose"), "Consent.provision.purpose"),
        (lambda c: c.update(performer=[{"reference": "RelatedPerson/r"}]), "Consent.performer"),
        (lambda c: c.update(policy=[{"uri": POLICY + "block"}]), "Consent.policy"),
    ):
        with pytest.raises(Invalid) as refused:
            check_update(before, _changed("grant", change))
        assert [issue.expression for issue in refused.value.issues] == [place]


def test_an_ended_directive_stays_ended() -> None:
    """A new one is given instead, with its own date and author."""
    ended = {**VALID["grant"][0], "status": "inactive"}
    with pytest.raises(Invalid) as refused:
        check_update(ended, VALID["grant"][0])
    assert refused.value.issues[0].expression == "Consent.status"


def test_what_is_named_is_in_this_patients_record_or_unknown() -> None:
    """Another patient's document reads as one that does not exist, word for word."""
    mask = parse_directive(VALID["mask"][0])
    target = "DocumentReference/d1"
    check_target(mask, target, Facts("DocumentReference", "d1", "record", "p1"))
    errors = []
    for facts in (None, Facts("DocumentReference", "d1", "record", "p2"), Facts("DocumentReference", "d1", "public")):
        with pytest.raises(Invalid) as refused:
            check_target(mask, target, facts)
        errors.append(refused.value.issues)
    assert errors[0] == errors[1] == errors[2]
    assert errors[0][0].expression == "Consent.provision.data[0].reference"


def test_a_directive_is_given_by_who_writes_it() -> None:
    """A representative signs with their own name."""
    directive = parse_directive(VALID["mask"][0])
    check_performer(directive, Actor("patient", "Patient/p1", "P", "j"))
    with pytest.raises(Invalid):
        check_performer(directive, Actor("rep", "RelatedPerson/r1", "R", "j"))
