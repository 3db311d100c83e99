"""Allergies of the three families of templates become AllergyIntolerance (importers §6 rules 8 to 12)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

EntryOf = Callable[..., Any]
SNOMED = "2.16.840.1.113883.6.96"
IPS = "2.16.840.1.113883.5.1150.1"
AGENT = (
    '<participant typeCode="CSM"><participantRole><playingEntity><code code="387517004" '
    f'codeSystem="{SNOMED}"/><name>Paracétamol</name></playingEntity></participantRole></participant>'
)


def cd(name: str, code: str, system: str = SNOMED, text: str = "") -> str:
    """A coded element."""
    kind = 'xsi:type="CD" ' if name == "value" else ""
    return f'<{name} {kind}code="{code}" codeSystem="{system}"><originalText>{text}</originalText></{name}>'


def nested(kind: str, template: str, content: str) -> str:
    """A nested observation."""
    return (
        f'<entryRelationship typeCode="{kind}"><observation classCode="OBS" moodCode="EVN">'
        f'<templateId root="{template}"/>{content}</observation></entryRelationship>'
    )


def allergy(content: str, *, template: str = "1.2.250.1.213.1.1.3.41", negated: str = "false", status: str = "") -> str:
    """An allergy in its concern."""
    concern = f'<statusCode code="{status}"/>' if status else ""
    return (
        '<act classCode="ACT" moodCode="EVN"><templateId root="1.2.250.1.213.1.1.3.40"/>'
        f'{concern}<entryRelationship typeCode="SUBJ"><observation classCode="OBS" moodCode="EVN" '
        f'negationInd="{negated}"><templateId root="1.3.6.1.4.1.19376.1.5.3.1.4.5"/><templateId root="{template}"/>'
        f"{content}</observation></entryRelationship></act>"
    )


def only(found: Any) -> dict[str, Any]:
    """The one resource, an AllergyIntolerance."""
    (resource,) = found.resources
    assert resource["resourceType"] == "AllergyIntolerance"
    assert resource["patient"] == {"reference": "Patient/p1"}
    made: dict[str, Any] = resource
    return made


def code_of(concept: dict[str, Any]) -> str:
    """The first code of a concept."""
    code: str = concept["coding"][0]["code"]
    return code


def test_the_agent_is_the_code_and_the_coded_value_its_manifestation(entry_of: EntryOf) -> None:
    """And the problem template it also bears makes no Condition."""
    found = only(entry_of(allergy(cd("code", "416098002") + cd("value", "247472004", text="urticaire") + AGENT)))
    assert found["code"] == {
        "coding": [{"system": "http://snomed.info/sct", "code": "387517004"}],
        "text": "Paracétamol",
    }
    assert (found["type"], found["category"]) == ("allergy", ["medication"])
    assert [code_of(each["manifestation"][0]) for each in found["reaction"]] == ["247472004"]


def test_without_agent_the_value_is_the_code(entry_of: EntryOf) -> None:
    """There is no manifestation then."""
    found = only(entry_of(allergy(cd("code", "416098002") + cd("value", "91936005"))))
    assert code_of(found["code"]) == "91936005"
    assert "reaction" not in found


def test_without_agent_nor_code_the_kind_of_allergy_and_the_words_are_kept(entry_of: EntryOf) -> None:
    """An uncoded value says something beside its kind; an empty one nothing."""
    kind = f'<code code="414285001" codeSystem="{SNOMED}" displayName="allergie alimentaire"/>'
    found = only(entry_of(allergy(f'{kind}<value xsi:type="CD"><originalText>arachide</originalText></value>')))
    assert (code_of(found["code"]), found["code"]["text"]) == ("414285001", "allergie alimentaire : arachide")
    found = only(
        entry_of(allergy(f'{kind}<value xsi:type="CD"><originalText><reference value="#"/></originalText></value>'))
    )
    assert found["code"]["text"] == "allergie alimentaire"


@pytest.mark.parametrize(
    ("code", "category", "kind"),
    [
        ("416098002", ["medication"], "allergy"),
        ("DALG", ["medication"], "allergy"),
        ("414285001", ["food"], "allergy"),
        ("FALG", ["food"], "allergy"),
        ("EALG", ["environment"], "allergy"),
        ("ALG", None, "allergy"),
        ("609328004", None, "allergy"),
        ("419199007", None, "allergy"),
        ("DINT", ["medication"], "intolerance"),
        ("FINT", ["food"], "intolerance"),
        ("EINT", ["environment"], "intolerance"),
        ("OINT", None, "intolerance"),
        ("59037007", ["medication"], "intolerance"),
        ("235719002", ["food"], "intolerance"),
        ("419511003", ["medication"], None),
        ("1", None, None),
    ],
)
def test_the_kind_of_allergy_is_category_and_type(
    entry_of: EntryOf, code: str, category: list[str] | None, kind: str | None
) -> None:
    """Of the code (CI-SIS, IHE) or of the value (C-CDA), which is then no manifestation."""
    found = only(entry_of(allergy(cd("code", code) + AGENT)))
    assert (found.get("category"), found.get("type")) == (category, kind)
    if code != "1":
        american = cd("code", "ASSERTION", "2.16.840.1.113883.5.4") + cd("value", code) + AGENT
        found = only(entry_of(allergy(american, template="2.16.840.1.113883.10.20.22.4.7")))
        assert (found.get("category"), found.get("type"), found.get("reaction")) == (category, kind, None)


def test_reactions_have_their_severity_and_onset(entry_of: EntryOf) -> None:
    """A denied one is none; the severity of the allergy serves a reaction that has none of its own."""

    def reaction(code: str, severity: str = "", template: str = "1.2.250.1.213.1.1.3.37") -> str:
        degree = nested("SUBJ", "1.2.250.1.213.1.1.3.29", cd("value", severity)) if severity else ""
        time = '<effectiveTime><low value="20180603"/></effectiveTime>'
        return nested("MFST", template, time + cd("value", code) + degree)

    denied = reaction("R06").replace('moodCode="EVN"', 'moodCode="EVN" negationInd="true"', 1)
    general = nested("SUBJ", "1.2.250.1.213.1.1.3.29", cd("value", "255604002"))
    american = reaction("L50", "24484000", "2.16.840.1.113883.10.20.22.4.9")
    found = only(entry_of(allergy(AGENT + reaction("R21", "H") + denied + american + reaction("R11") + general)))
    assert [(code_of(each["manifestation"][0]), each["severity"], each["onset"]) for each in found["reaction"]] == [
        ("R21", "severe", "2018-06-03"),
        ("L50", "severe", "2018-06-03"),
        ("R11", "mild", "2018-06-03"),
    ]


@pytest.mark.parametrize(
    ("content", "status", "expected"),
    [
        (nested("REFR", "1.2.250.1.213.1.1.3.30", cd("value", "inactive", "2.16.840.1.113883.4.642.4.1373")), "active",
         "inactive"),
        (nested("REFR", "1.2.250.1.213.1.1.3.30", cd("value", "G-A230", "1.2.250.1.213.2.12")), "completed", "active"),
        (nested("REFR", "1.2.250.1.213.1.1.3.30", cd("value", "recurrence")), "", "active"),
        (nested("REFR", "2.16.840.1.113883.10.20.22.4.6", cd("value", "73425007")), "active", "inactive"),
        ('<effectiveTime><low value="2010"/><high value="2012"/></effectiveTime>', "active", "resolved"),
        ('<effectiveTime><low value="2010"/><high nullFlavor="UNK"/></effectiveTime>', "active", "resolved"),
        ('<effectiveTime><low value="2010"/><high nullFlavor="NA"/></effectiveTime>', "active", "active"),
        ("", "completed", "resolved"),
        ("", "suspended", "inactive"),
        ("", "active", "active"),
        ("", "", "active"),
    ],
)  # fmt: skip
def test_status_is_said_or_dated_or_that_of_the_concern(
    entry_of: EntryOf, content: str, status: str, expected: str
) -> None:
    """In that order; codes are judged whatever their system."""
    found = only(entry_of(allergy(AGENT + content, status=status)))
    assert code_of(found["clinicalStatus"]) == expected
    assert found["clinicalStatus"]["coding"][0]["system"].endswith("/allergyintolerance-clinical")


@pytest.mark.parametrize(
    ("code", "negated", "expected"),
    [("confirmed", "false", "confirmed"), ("presumed", "false", "unconfirmed"), ("confirmed", "true", "refuted"),
     ("?", "false", None), (None, "true", "refuted"), (None, "false", None)],
)  # fmt: skip
def test_certainty_and_negation_are_the_verification(
    entry_of: EntryOf, code: str | None, negated: str, expected: str | None
) -> None:
    """Negation wins: the document says that the allergy is not there."""
    certainty = nested("SUBJ", "1.2.250.1.213.1.1.3.171", cd("value", code)) if code else ""
    found = only(entry_of(allergy(AGENT + certainty, negated=negated)))
    verification = found.get("verificationStatus")
    assert (code_of(verification) if verification else None) == expected


def test_an_error_has_no_clinical_status(entry_of: EntryOf) -> None:
    """ait-2."""
    certainty = nested("SUBJ", "1.2.250.1.213.1.1.3.171", cd("value", "entered-in-error"))
    assert "clinicalStatus" not in only(entry_of(allergy(AGENT + certainty)))


@pytest.mark.parametrize(
    ("code", "expected"), [("low", "low"), ("CRITH", "high"), ("unable-to-assess",) * 2, ("x", None)]
)
def test_criticality_is_that_of_its_observation(entry_of: EntryOf, code: str, expected: str | None) -> None:
    """FHIR's codes, and those of ObservationValue that C-CDA uses."""
    criticality = nested("SUBJ", "1.2.250.1.213.1.1.3.172", cd("value", code))
    assert only(entry_of(allergy(AGENT + criticality))).get("criticality") == expected


@pytest.mark.parametrize("negated", ["false", "true"])
def test_no_known_allergies_is_one_confirmed_statement(entry_of: EntryOf, negated: str) -> None:
    """The IPS code in the value; of a French document, negated or not."""
    value = cd("code", "416098002") + cd("value", "no-known-allergies", IPS, "Aucune")
    found = only(entry_of(allergy(value, negated=negated, status="completed")))
    assert code_of(found["code"]) == "no-known-allergies"
    assert code_of(found["verificationStatus"]) == "confirmed"
    assert code_of(found["clinicalStatus"]) == "active"
    assert "category" not in found


def test_who_says_so_and_since_when(entry_of: EntryOf) -> None:
    """Onset from low, recorder and its time, asserter."""
    person = (
        '<{0}>{1}<{2}><id root="1.2.250.1.71.4.2.1" extension="810000000021"/><assignedPerson><name><given>Lise</given>'
        "<family>CARON</family></name></assignedPerson></{2}></{0}>"
    )
    author = person.format("author", '<time value="20200102"/>', "assignedAuthor")
    informant = person.format("informant", "", "assignedEntity")
    time = '<effectiveTime><low value="1999"/></effectiveTime>'
    found = only(entry_of(allergy(time + AGENT + author + informant)))
    assert (found["onsetDateTime"], found["recordedDate"]) == ("1999", "2020-01-02")
    assert found["recorder"] == found["asserter"]
    assert (found["recorder"]["type"], found["recorder"]["display"]) == ("Practitioner", "Lise CARON")
