"""Vaccinations become Immunization, recommended ones ImmunizationRecommendation (importers §6 rules 5, 8, 10, 15)."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

EntryOf = Callable[..., Any]
ATC = '<translation code="J07AM" codeSystem="2.16.840.1.113883.6.73" displayName="Vaccin antitétanique"/>'
PERSON = (
    '<assignedEntity><id root="1.2.250.1.71.4.2.1" extension="810000000021"/><assignedPerson><name><given>Lise</given>'
    "<family>CARON</family></name></assignedPerson></assignedEntity>"
)


def product(code: str = f"<code>{ATC}</code>", more: str = "", maker: str = "") -> str:
    """A vaccine."""
    material = f"<manufacturedMaterial>{code}{more}</manufacturedMaterial>"
    return f"<consumable><manufacturedProduct>{material}{maker}</manufacturedProduct></consumable>"


def vaccination(content: str, attributes: str = "", template: str = "1.2.250.1.213.1.1.3.45", mood: str = "EVN") -> str:
    """A vaccination."""
    return (
        f'<substanceAdministration classCode="SBADM" moodCode="{mood}" {attributes}><templateId root="{template}"/>'
        f"{content}</substanceAdministration>"
    )


def nested(kind: str, template: str, content: str) -> str:
    """A nested observation."""
    return (
        f'<entryRelationship typeCode="{kind}"><observation classCode="OBS" moodCode="EVN">'
        f'<templateId root="{template}"/>{content}</observation></entryRelationship>'
    )


def only(found: Any, kind: str = "Immunization") -> dict[str, Any]:
    """The one resource, of that type."""
    (resource,) = found.resources
    assert resource["resourceType"] == kind
    made: dict[str, Any] = resource
    return made


@pytest.mark.parametrize(
    "template",
    ["1.2.250.1.213.1.1.3.45", "1.3.6.1.4.1.19376.1.5.3.1.4.12", "1.3.6.1.4.1.12559.11.10.1.3.1.3.24",
     "2.16.840.1.113883.10.20.22.4.52"],
)  # fmt: skip
def test_a_vaccination_of_any_family_is_an_immunization(entry_of: EntryOf, template: str) -> None:
    """French, IHE, MyHealth@EU, C-CDA."""
    found = only(entry_of(vaccination(f'<effectiveTime value="2009"/>{product()}', template=template)))
    assert (found["status"], found["occurrenceDateTime"]) == ("completed", "2009")
    assert found["vaccineCode"]["coding"][0]["code"] == "J07AM"


def test_what_was_given_where_and_by_whom(entry_of: EntryOf) -> None:
    """Lot, expiry, maker, dose, route, site, performer, comment, rank in the series."""
    more = '<lotNumberText>4456672</lotNumberText><expirationTime value="202512310000+0100"/>'
    maker = "<manufacturerOrganization><name>Labo</name></manufacturerOrganization>"
    content = (
        '<code code="INITIMMUNIZ" codeSystem="2.16.840.1.113883.5.4" displayName="1ère série"/>'
        '<effectiveTime value="20090928094914+0100"/><doseQuantity value="0.50" unit="mL"/>'
        '<routeCode code="20035000" codeSystem="0.4.0.127.0.16.1.1.2.1"/>'
        '<approachSiteCode code="16217701000119102" codeSystem="2.16.840.1.113883.6.96"/>'
        f"{product(more=more, maker=maker)}<performer>{PERSON}</performer>"
        + nested("SUBJ", "1.2.250.1.213.1.1.3.82", '<value xsi:type="INT" value="2"/>')
        + '<entryRelationship typeCode="SUBJ"><act><templateId root="1.2.250.1.213.1.1.3.32"/><text>RAS</text></act>'
        "</entryRelationship>"
    )
    found = only(entry_of(vaccination(content)))
    assert found["occurrenceDateTime"] == "2009-09-28T09:49:14+01:00"
    assert (found["lotNumber"], found["expirationDate"]) == ("4456672", "2025-12-31")
    assert found["manufacturer"] == {"type": "Organization", "display": "Labo"}
    assert found["doseQuantity"]["value"] == Decimal("0.50")
    assert str(found["doseQuantity"]["value"]) == "0.50"
    assert found["route"]["coding"][0]["code"] == "20035000"
    assert found["site"]["coding"][0]["code"] == "16217701000119102"
    assert found["performer"][0]["actor"]["identifier"]["value"] == "810000000021"
    assert found["note"] == [{"text": "RAS"}]
    assert found["protocolApplied"] == [{"series": "1ère série", "doseNumberPositiveInt": 2}]


@pytest.mark.parametrize("rank", ["0", "-1", "x", "", "99999999999"])
def test_a_rank_that_is_none_is_left_out(entry_of: EntryOf, rank: str) -> None:
    """protocolApplied wants a positive number."""
    content = product() + nested("SUBJ", "1.2.250.1.213.1.1.3.82", f'<value xsi:type="INT" value="{rank}"/>')
    assert "protocolApplied" not in only(entry_of(vaccination(content)))


@pytest.mark.parametrize(
    ("time", "code"),
    [('<effectiveTime nullFlavor="UNK"/>', "unknown"), ('<effectiveTime nullFlavor="NAV"/>', "temp-unknown"),
     ('<effectiveTime nullFlavor="ASKU"/>', "asked-unknown"), ('<effectiveTime nullFlavor="NASK"/>', "not-asked"),
     ('<effectiveTime nullFlavor="MSK"/>', "masked"), ('<effectiveTime nullFlavor="NA"/>', "not-applicable"),
     ('<effectiveTime value="2009" nullFlavor="UNK"/>', "unknown")],
)  # fmt: skip
def test_an_unknown_date_is_said_and_never_invented(entry_of: EntryOf, time: str, code: str) -> None:
    """`inconnue`, with the reason."""
    found = only(entry_of(vaccination(time + product())))
    assert found["occurrenceString"] == "inconnue"
    (extension,) = found["_occurrenceString"]["extension"]
    assert extension == {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": code}
    assert "occurrenceDateTime" not in found


def test_a_vaccination_not_given_is_not_done_with_its_reason(entry_of: EntryOf) -> None:
    """negationInd, or a status that says so; otherwise the reason is one to vaccinate."""
    reason = nested("RSON", "1.2.3", '<code code="PATOBJ" codeSystem="2.16.840.1.113883.5.8"/>')
    refused = only(entry_of(vaccination(product() + reason, 'negationInd="true"')))
    assert refused["status"] == "not-done"
    assert refused["statusReason"]["coding"][0]["code"] == "PATOBJ"
    assert "reasonCode" not in refused
    given = only(entry_of(vaccination(product() + reason)))
    assert given["reasonCode"][0]["coding"][0]["code"] == "PATOBJ"
    aborted = only(entry_of(vaccination('<statusCode code="aborted"/>' + product())))
    assert aborted["status"] == "not-done"


def test_the_reactions_are_contained_in_their_vaccination(entry_of: EntryOf) -> None:
    """A Problem Entry under a vaccine is its reaction, never a Condition; a denied one is none."""
    value = '<effectiveTime><low value="20120505"/></effectiveTime><value xsi:type="CD" code="{}" codeSystem="1.2.3"/>'
    fever = nested("CAUS", "1.2.250.1.213.1.1.3.37", value.format("R50.2"))
    denied = nested("CAUS", "1.2.250.1.213.1.1.3.37", value.format("R21")).replace("EVN", 'EVN" negationInd="true')
    found = only(entry_of(vaccination(product() + denied + fever)))
    (observation,) = found["contained"]
    assert observation["valueCodeableConcept"]["coding"][0]["code"] == "R50.2"
    assert observation["subject"] == {"reference": "Patient/p1"}
    assert found["reaction"] == [{"date": "2012-05-05", "detail": {"reference": f"#{observation['id']}"}}]


@pytest.mark.parametrize(
    ("code", "more", "expected"),
    [
        ('<code><originalText><reference value="#v"/></originalText></code>', "<name>X</name>", "tétanos"),
        ("<code/>", "<name>VACCIN X</name>", "VACCIN X"),
        ('<code nullFlavor="NA"/>', '<name nullFlavor="NA"/>', "tétanos"),
    ],
)
def test_a_vaccine_without_code_has_a_name(entry_of: EntryOf, code: str, more: str, expected: str) -> None:
    """originalText, name of the product, narrative of the entry: in that order."""
    content = f'<text><reference value="v"/></text>{product(code, more)}'
    found = only(entry_of(vaccination(content), narrative='<content ID="v">tétanos</content>'))
    assert found["vaccineCode"] == {"text": expected}


def test_a_vaccine_that_nothing_names_is_unknown(entry_of: EntryOf) -> None:
    """vaccineCode is required."""
    assert only(entry_of(vaccination("")))["vaccineCode"] == {"text": "inconnu"}


@pytest.mark.parametrize(
    ("time", "criteria"),
    [
        ('<low value="20271201"/><high value="20271231"/>', [("30981-5", "2027-12-01"), ("59777-3", "2027-12-31")]),
        ("", []),
    ],
)
def test_a_recommended_vaccine_is_no_immunization(
    entry_of: EntryOf, time: str, criteria: list[tuple[str, str]]
) -> None:
    """It is due, between the dates it says; the date of the document stands for its own."""
    content = f'<effectiveTime xsi:type="IVL_TS">{time}</effectiveTime>{product()}'
    for template in ("1.2.250.1.213.1.1.3.47", "1.3.6.1.4.1.19376.1.5.3.1.4.12.2"):
        found = only(entry_of(vaccination(content, template=template, mood="INT")), "ImmunizationRecommendation")
        assert found["date"] == "2025-06-18"
        (recommended,) = found["recommendation"]
        assert recommended["vaccineCode"][0]["coding"][0]["code"] == "J07AM"
        assert recommended["forecastStatus"]["coding"][0]["code"] == "due"
        dates = [(each["code"]["coding"][0]["code"], each["value"]) for each in recommended.get("dateCriterion", [])]
        assert dates == criteria


def test_a_single_date_is_the_one_it_is_due_on(entry_of: EntryOf) -> None:
    """And its own author says when."""
    author = '<author><time value="20240301"/><assignedAuthor/></author>'
    statement = vaccination(f'<effectiveTime value="2027"/>{product()}{author}', template="1.2.250.1.213.1.1.3.47")
    found = only(entry_of(statement), "ImmunizationRecommendation")
    assert found["date"] == "2024-03-01"
    (criterion,) = found["recommendation"][0]["dateCriterion"]
    assert (criterion["code"]["coding"][0]["code"], criterion["value"]) == ("30980-7", "2027")
