"""Every line of the access log, of whatever kind, is an AuditEvent that IHE BALP 1.1 knows (https://profiles.ihe.net/ITI/BALP/).

The constraints of its profiles stand here as a table of facts: the package itself is not at hand offline.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.auth.actor import Actor
from fhir_server.consent.audit import row
from fhir_server.consent.audit_event import DECISION, PROFILE, to_audit_events
from fhir_server.search.facts import Facts
from fhir_server.storage.interface import AuditEntry
from tests.consent.consent_store import BASE, DOCTOR, NOW, PATIENT, REPRESENTATIVE
from tests.consent.test_audit import INFORMED, VALIDATOR, Asked

DCM = "http://dicom.nema.org/resources/ontology/DCM"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
PARTICIPANT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
ROLE_CLASS = "http://terminology.hl7.org/CodeSystem/v3-RoleClass"
SECURITY_ROLE = "http://terminology.hl7.org/CodeSystem/extra-security-role-type"
ENTITY = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
OBJECT_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
BALP = "https://profiles.ihe.net/ITI/BALP/CodeSystem/"
REST = "http://terminology.hl7.org/CodeSystem/audit-event-type"
INTERACTION = "http://hl7.org/fhir/restful-interaction"

AUTHORS = {(PARTICIPATION, "AUT"), (PARTICIPATION, "INF"), (PARTICIPATION, "CST")}
READERS = {(PARTICIPATION, "IRCP")}


@dataclass(frozen=True)
class Pattern:
    """What a profile demands: one subtype of `subtypes` (None: of no concern), the action, the types of its agents."""

    action: str
    subtypes: set[str] | None
    client: tuple[str, str]
    server: tuple[str, str]
    users: set[tuple[str, str]]


PATTERNS = {
    "Create": Pattern("C", {"create"}, (DCM, "110153"), (DCM, "110152"), AUTHORS),
    "Read": Pattern("R", None, (DCM, "110152"), (DCM, "110153"), READERS),
    "Update": Pattern("U", None, (DCM, "110153"), (DCM, "110152"), AUTHORS),
    "Delete": Pattern("D", {"delete"}, (DCM, "110150"), (PARTICIPANT, "custodian"), AUTHORS),
    "Query": Pattern("E", None, (DCM, "110153"), (DCM, "110152"), READERS),
}


def codings(element: Any) -> Iterator[tuple[str, str]]:
    """The codings of a CodeableConcept, or the one that a Coding is."""
    for each in element.get("coding", [element]):
        yield each.get("system", ""), each.get("code", "")


def slice_of(elements: list[dict[str, Any]], *kinds: tuple[str, str]) -> list[dict[str, Any]]:
    """The elements of a type."""
    return [each for each in elements if "type" in each and not set(kinds).isdisjoint(codings(each["type"]))]


def check(event: dict[str, Any]) -> None:
    """The constraints of the profile that an event claims."""
    [claimed] = event["meta"]["profile"]
    name = claimed.removeprefix(PROFILE)
    if name == "AuthZconsent":
        check_decision(event)
        return
    pattern = PATTERNS[name.removeprefix("Patient")]
    assert (REST, "rest") in codings(event["type"])
    assert event["action"] == pattern.action
    assert event["outcome"] == "0"
    told = {each["code"] for each in event["subtype"] if each["system"] == INTERACTION}
    assert pattern.subtypes is None or told == pattern.subtypes
    [client], [server] = slice_of(event["agent"], pattern.client), slice_of(event["agent"], pattern.server)
    for each in (client, server):
        assert each["who"]
        assert each["network"]
        assert "media" not in each
    [user] = slice_of(event["agent"], *pattern.users)
    assert user["who"]
    assert user["requestor"] is True
    assert not {"media", "network"} & user.keys()
    [data] = slice_of(event["entity"], (ENTITY, "2"))
    if name.endswith("Query"):
        assert list(codings(data["role"])) == [(OBJECT_ROLE, "24")]
        assert b64decode(data["query"], validate=True)
        assert not {"what", "lifecycle", "detail"} & data.keys()
    else:
        assert list(codings(data["role"])) == [(OBJECT_ROLE, "4")]
        assert data["what"]
    patients = slice_of(event["entity"], (ENTITY, "1"))
    assert len(patients) == name.startswith("Patient")
    for each in patients:
        assert list(codings(each["role"])) == [(OBJECT_ROLE, "1")]
        assert each["what"]["reference"].startswith("Patient/")
    for each in slice_of(event["entity"], (f"{BALP}BasicAuditEntityType", "XrequestId")):
        assert each["what"]["identifier"]["value"]


def check_decision(event: dict[str, Any]) -> None:
    """IHE.BasicAudit.AuthZconsent."""
    assert (DCM, "110113") in codings(event["type"])
    assert [(each["system"], each["code"]) for each in event["subtype"]] == [(f"{BALP}AuthZsubType", "AuthZ-Consent")]
    assert event["action"] == "E"
    [client] = slice_of(event["agent"], (DCM, "110150"))
    assert client["network"]
    assert not {"role", "altId", "name", "location", "media", "purposeOfUse"} & client.keys()
    [user] = slice_of(event["agent"], (PARTICIPATION, "IRCP"))
    assert user["requestor"] is True
    assert not {"altId", "location", "media", "network"} & user.keys()
    [organization] = slice_of(event["agent"], (ROLE_CLASS, "PROV"))
    assert organization["who"]
    assert organization["requestor"] is False
    [authority] = slice_of(event["agent"], (SECURITY_ROLE, "authserver"))
    assert authority["who"] == event["source"]["observer"]
    assert authority.keys() == {"type", "who", "requestor"}
    kinds = [next(codings(each["type"])) for each in event["entity"]]
    assert kinds[:2] == [(ENTITY, "1"), ("http://hl7.org/fhir/resource-types", "Consent")]
    assert kinds[2:] in ([], [(f"{BALP}UserAgentTypes", "UserOauthAgent")])
    for each in event["entity"][2:]:
        assert each["what"]["identifier"]["value"].startswith("urn:ietf:params:oauth:jti:")


GATEWAY = Actor(
    role="ncp",
    reference="Device/ncp-de",
    name="Anna Muster",
    jti="jti-eu",
    keys=frozenset({"country:DE", "client:ncp-de"}),
    profession="Medical doctor",
    structure="DE-77",
    structure_name="Charité",
    client="ncp-de",
    country="DE",
    asserted=(
        "professional.family_name=Muster",
        "professional.given_name=Anna",
        "professional.country_code=DE",
        "professional.hp_identifier=HP-1",
        "professional.issuing_authority_name=Ärztekammer",
        "professional.hp_professional_role=Medical doctor",
        "professional.healthcare_provider_identifier=DE-77",
        "provider.healthcare_provider_identifier=DE-77",
        "provider.issuing_authority_name=Senat",
        "provider.healthcare_provider_name=Charité",
        "provider.healthcare_provider_address=Berlin",
    ),
)
CALLERS = (
    DOCTOR,
    INFORMED,
    PATIENT,
    REPRESENTATIVE,
    GATEWAY,
    replace(DOCTOR, mode="bris_de_glace"),
    replace(DOCTOR, secret=True, purpose=""),
    Actor("app", "Device/a", "App", "j", frozenset({"client:a"}), ("p1",), "patient", "Patient/p1", client="a"),
    Actor("lgc", "Device/l", "LGC", "j", frozenset({"client:l"}), client="l", software="LGC 2"),
    Actor("admin", "Device/ops", "Ops", "j"),
    Actor("anonymous", "", "", ""),
)
INTERACTIONS = (
    *("read", "vread", "create", "update", "patch", "delete", "history-instance", "history-type", "history-system"),
    *("search-type", "search-system", "transaction", "batch", "login", "refused", "throttled", "grant", "deny", ""),
    *("$everything", "$import-document", "$attest-consent", "$declare-emergency", "$access-log", "$match"),
)
DOCUMENT = Facts("DocumentReference", "d", "record", "p1", type_code="60591-5", authors=frozenset({"org:990000001"}))


@st.composite
def lines(draw: st.DrawFn) -> tuple[Actor, Asked, str]:
    """A caller, what they did, what came of it."""
    interaction = draw(st.sampled_from(INTERACTIONS))
    asked = Asked(
        interaction,
        draw(st.sampled_from(["", "Observation", "DocumentReference", "Binary", "Patient", "Consent", "AuditEvent"])),
        draw(st.sampled_from(["", "x1"])),
        draw(st.sampled_from([None, "p1"])),
        draw(st.sampled_from(["", "identifier=1", "code=a%7Cb&_count=5"])) if "search" in interaction else "",
        draw(st.integers(0, 3)),
        draw(st.integers(0, 31)),
        draw(st.sampled_from([None, NOW])),
        draw(st.sampled_from(["", "req"])),
        draw(st.sampled_from([[], [1, 2]])),
        draw(st.sampled_from([[], [DOCUMENT]])),
        draw(st.sampled_from(["", "inconscient, seul"])),
    )
    outcome = draw(st.sampled_from(["", "", "", "forbidden", "not-found", "transient", "throttled", "processing"]))
    return draw(st.sampled_from(CALLERS)), asked, outcome


def events_of(actor: Actor, asked: Asked, outcome: str = "", **more: Any) -> list[dict[str, Any]]:
    """What a line is rendered as."""
    return to_audit_events(AuditEntry(1, b"", row(actor, asked, outcome=outcome, now=NOW)), base=BASE, **more)


@settings(max_examples=200)
@given(line=lines(), withheld=st.booleans(), title=st.sampled_from(["", "Compte rendu"]))
def test_every_kind_of_line_is_valid_and_of_the_pattern_it_claims(
    line: tuple[Actor, Asked, str], withheld: bool, title: str
) -> None:
    """R4 and BALP; a refusal claims none of the patterns of success; ids are one a line, and one a decision."""
    actor, asked, outcome = line
    events = events_of(actor, asked, outcome, withheld=withheld, title=title)
    for each in events:
        assert VALIDATOR.validate(each, expect_type="AuditEvent") == []
        if "profile" in each["meta"]:
            check(each)
    assert "profile" not in events[0]["meta"] or not outcome
    assert [each["id"] for each in events[1:]] in ([], [events[0]["id"] + DECISION])
    text = str(events)
    assert "'returned'" not in text
    if withheld and "search" not in asked.interaction:
        assert "x1" not in text
        assert "Compte rendu" not in text


@pytest.mark.parametrize(
    ("actor", "asked", "outcome", "expected"),
    [
        (DOCTOR, Asked(), "", False),
        (DOCTOR, Asked("search-type", "Consent"), "", False),
        (DOCTOR, Asked(), "forbidden", True),
        (DOCTOR, Asked("$attest-consent", "Patient", "p1"), "", True),
        (DOCTOR, Asked("$declare-emergency", "Patient", "p1", reason="inconscient"), "", True),
        (replace(DOCTOR, openings=(f"bris_de_glace|p1|{NOW + 1}",)), Asked(), "", True),
        (replace(DOCTOR, openings=(f"bris_de_glace|p2|{NOW + 1}",)), Asked(), "", False),
        (replace(DOCTOR, openings=(f"bris_de_glace|p1|{NOW}",)), Asked(), "", False),
        (PATIENT, Asked("create", "Consent", "c1"), "", True),
        (PATIENT, Asked("update", "Consent", "c1"), "", True),
        (PATIENT, Asked("grant", "Consent", ""), "", True),
        (PATIENT, Asked("deny", "Consent", ""), "forbidden", True),
    ],
)
def test_what_is_about_the_right_itself_makes_a_decision_besides(
    actor: Actor, asked: Asked, outcome: str, expected: bool
) -> None:
    """AuthZconsent for grants, denials, emergencies on that record while they last, consent changes, attestations."""
    events = events_of(actor, asked, outcome)
    assert len(events) == 1 + expected
    if expected:
        check(events[1])
        consents = [each["what"] for each in events[1]["entity"] if ("Consent" in str(each.get("type")))]
        named = [{"reference": "Consent/c1"}] if asked.id == "c1" else [{"display": "directives of the record"}]
        assert consents == named


@pytest.mark.parametrize(
    ("interaction", "type_", "number"),
    [
        ("search-type", "DocumentReference", "ITI-67"),
        ("read", "DocumentReference", "ITI-68"),
        ("vread", "Binary", "ITI-68"),
        ("search-type", "Patient", "ITI-78"),
        ("$match", "Patient", "ITI-119"),
    ],
)
def test_a_call_from_another_country_says_all_that_was_asserted(interaction: str, type_: str, number: str) -> None:
    """The IHE transaction, the professional and provider with their issuers, category, purpose and origin."""
    [event] = events_of(GATEWAY, Asked(interaction, type_, "d", facts=[DOCUMENT]))
    assert ("urn:ihe:event-type-code", number) in [(each["system"], each["code"]) for each in event["subtype"]]
    details = [(each["type"], each["valueString"]) for entity in event["entity"] for each in entity.get("detail", ())]
    assert {("category", "60591-5"), ("origin", "990000001")} <= set(details)
    assert {tuple(each.split("=")) for each in GATEWAY.asserted} <= set(details)
    user, provider = event["agent"][:2]
    assert user["who"]["identifier"] == {"value": "HP-1", "assigner": {"display": "Ärztekammer"}}
    assert provider["who"]["identifier"] == {"value": "DE-77", "assigner": {"display": "Senat"}}
    assert "Medical doctor" in str(user["role"])
    assert "'DE'" in str(user["role"])
    assert event["purposeOfEvent"][0]["coding"][0]["code"] == "TREAT"
