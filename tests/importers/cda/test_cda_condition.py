"""Problems become Condition where they stand for themselves (importers §6 rules 8, 9, 10 and 12)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

EntryOf = Callable[..., Any]
VALUE = '<value xsi:type="CD" code="I10" codeSystem="2.16.840.1.113883.6.3" displayName="HTA"/>'
FRENCH, AMERICAN = "1.2.250.1.213.1.1.3.37", "2.16.840.1.113883.10.20.22.4.4"


def problem(content: str, template: str = FRENCH, attributes: str = "") -> str:
    """A problem observation."""
    start = f'<observation classCode="OBS" moodCode="EVN" {attributes}><templateId root="{template}"/>'
    return f"{start}{content}</observation>"


def within(name: str, template: str, inner: str, status: str = "active", relation: str = "SUBJ") -> str:
    """A statement around another."""
    tie = f'<entryRelationship typeCode="{relation}">{inner}</entryRelationship>'
    if name == "organizer":
        tie = f"<component>{inner}</component>"
    return (
        f'<{name} classCode="X" moodCode="EVN"><templateId root="{template}"/><code code="A" codeSystem="1.2.3"/>'
        f'<statusCode code="{status}"/>{tie}</{name}>'
    )


def concern(inner: str, status: str = "active") -> str:
    """A problem in its concern."""
    return within("act", "1.2.250.1.213.1.1.3.39", inner, status)


def said(kind: str, code: str) -> str:
    """A nested observation on a problem: 30 status, 171 certainty, 29 severity, 31 state of the patient."""
    return (
        f'<entryRelationship typeCode="REFR"><observation classCode="OBS" moodCode="EVN"><templateId '
        f'root="1.2.250.1.213.1.1.3.{kind}"/>'
        f'<value xsi:type="CE" code="{code}" codeSystem="1.2.3" displayName="{code}"/>'
        "</observation></entryRelationship>"
    )


def code_of(concept: dict[str, Any]) -> str:
    """The first code of a concept."""
    code: str = concept["coding"][0]["code"]
    return code


def types(found: Any) -> list[str]:
    """The types of the resources made."""
    return [each["resourceType"] for each in found.resources]


def only(found: Any) -> dict[str, Any]:
    """The one resource, a Condition."""
    assert types(found) == ["Condition"]
    made: dict[str, Any] = found.resources[0]
    return made


@pytest.mark.parametrize(
    ("statement", "category"),
    [
        (problem(VALUE), None),
        (concern(problem(VALUE)), "problem-list-item"),
        (within("organizer", "1.2.3", problem(VALUE)), None),
        (within("act", "2.16.840.1.113883.10.20.22.4.33", problem(VALUE, AMERICAN)), "encounter-diagnosis"),
    ],
)
def test_a_problem_for_itself_is_a_condition(entry_of: EntryOf, statement: str, category: str | None) -> None:
    """A direct entry, in a concern, in an organizer, as a diagnosis."""
    found = only(entry_of(statement))
    assert code_of(found["code"]) == "I10"
    assert [code_of(each) for each in found.get("category", [])] == ([category] if category else [])


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (within("substanceAdministration", "1.2.250.1.213.1.1.3.45", problem(VALUE), relation="CAUS"), "Immunization"),
        (within("observation", "1.2.250.1.213.1.1.3.41", problem(VALUE), relation="MFST"), "AllergyIntolerance"),
        (within("procedure", "1.2.250.1.213.1.1.3.62", problem(VALUE), relation="RSON"), "Procedure"),
        (within("procedure", "1.2.250.1.213.1.1.3.62", problem(VALUE), relation="COMP"), "Procedure"),
        (within("encounter", "1.2.250.1.213.1.1.3.58", problem(VALUE), relation="RSON"), "Encounter"),
    ],
)
def test_a_problem_of_something_else_is_no_condition(entry_of: EntryOf, statement: str, expected: str) -> None:
    """Reaction, reason, complication: it is read by what it belongs to."""
    found = entry_of(statement)
    assert types(found) == [expected]
    assert "I10" in str(found.resources[0])


def test_two_problems_of_one_concern_are_two_conditions(entry_of: EntryOf) -> None:
    """Each with its own code."""
    second = f'<entryRelationship typeCode="SUBJ">{problem(VALUE.replace("I10", "I20"))}</entryRelationship></act>'
    found = entry_of(concern(problem(VALUE)).replace("</act>", second))
    assert [code_of(each["code"]) for each in found.resources] == ["I10", "I20"]


@pytest.mark.parametrize(
    ("content", "status", "expected"),
    [
        (said("30", "active"), "completed", "active"),
        (said("30", "G-A230"), "completed", "active"),
        (said("30", "G-A397"), "active", "recurrence"),
        (said("30", "remission"), "active", "remission"),
        (said("30", "?"), "suspended", "inactive"),
        ('<effectiveTime><low value="2010"/><high value="2011"/></effectiveTime>', "active", "resolved"),
        ('<effectiveTime><low value="2010"/></effectiveTime>', "completed", "resolved"),
        ('<effectiveTime><low value="2010"/></effectiveTime>', "active", "active"),
    ],
)
def test_status_is_said_or_dated_or_that_of_the_concern(
    entry_of: EntryOf, content: str, status: str, expected: str
) -> None:
    """In that order."""
    found = only(entry_of(concern(problem(VALUE + content), status)))
    assert code_of(found["clinicalStatus"]) == expected


def test_onset_and_abatement_keep_their_precision(entry_of: EntryOf) -> None:
    """A value alone is the onset; an end before the start is left out."""

    def times(content: str) -> tuple[str | None, str | None]:
        found = only(entry_of(problem(f"{VALUE}<effectiveTime {content}</effectiveTime>")))
        return found.get("onsetDateTime"), found.get("abatementDateTime")

    assert times('><low value="1975"/><high value="197603"/>') == ("1975", "1976-03")
    assert times('value="20200102">') == ("2020-01-02", None)
    assert times('><low value="2020"/><high value="2019"/>') == ("2020", None)
    assert times('nullFlavor="UNK">') == (None, None)


def test_the_end_of_what_goes_on_is_a_note(entry_of: EntryOf) -> None:
    """con-4: the status wins, and the date is not lost."""
    time = '<effectiveTime><low value="2018"/><high value="2019"/></effectiveTime>'
    found = entry_of(problem(VALUE + time + said("30", "active")))
    resource = only(found)
    assert "abatementDateTime" not in resource
    assert resource["note"] == [{"text": "Fin indiquée : 2019"}]
    assert "end-of-active" in {each.coding[1] for each in found.whole.report.issues if each.coding}


@pytest.mark.parametrize(
    ("code", "expected"),
    [("confirmed", "confirmed"), ("unconfirmed", "unconfirmed"), ("presumed", "provisional"), ("?", None)],
)
def test_certainty_is_the_verification(entry_of: EntryOf, code: str, expected: str | None) -> None:
    """Of the R4 codes only."""
    verification = only(entry_of(problem(VALUE + said("171", code)))).get("verificationStatus")
    assert (code_of(verification) if verification else None) == expected


def test_a_denied_problem_is_refuted(entry_of: EntryOf) -> None:
    """negationInd: no clinical status, no place on the problem list."""
    found = only(entry_of(concern(problem(VALUE, attributes='negationInd="true"'))))
    assert code_of(found["verificationStatus"]) == "refuted"
    assert not {"clinicalStatus", "category"} & set(found)


@pytest.mark.parametrize("negated", ["true", "false"])
def test_no_known_problem_is_one_confirmed_statement(entry_of: EntryOf, negated: str) -> None:
    """The IPS code, negated or not."""
    value = '<value xsi:type="CD" code="no-known-problems" codeSystem="2.16.840.1.113883.5.1150.1"/>'
    found = only(entry_of(concern(problem(value, attributes=f'negationInd="{negated}"'))))
    assert code_of(found["code"]) == "no-known-problems"
    assert code_of(found["verificationStatus"]) == "confirmed"


def test_severity_state_site_and_comment(entry_of: EntryOf) -> None:
    """What is nested in a problem stands on it."""
    comment = (
        '<entryRelationship typeCode="SUBJ"><act classCode="ACT" moodCode="EVN"><templateId '
        'root="1.2.250.1.213.1.1.3.32"/><text><reference value="#c"/>à revoir</text></act></entryRelationship>'
    )
    site = '<targetSiteCode code="T" codeSystem="1.2.3" displayName="thorax"/>'
    found = only(entry_of(problem(VALUE + site + said("29", "sévère") + said("31", "asymptomatique") + comment)))
    assert found["severity"]["text"] == "sévère"
    assert found["bodySite"][0]["text"] == "thorax"
    assert [each["text"] for each in found["note"]] == ["à revoir", "Statut clinique du patient : asymptomatique"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('<value xsi:type="ST">fatigue</value>', {"text": "fatigue"}),
        ('<value xsi:type="CD" nullFlavor="NA"><originalText>fatigue</originalText></value>', {"text": "fatigue"}),
        ('<text><reference value="#n"/></text><value xsi:type="CD" nullFlavor="NA"/>', {"text": "noté"}),
    ],
)
def test_an_uncoded_problem_is_its_words(entry_of: EntryOf, content: str, expected: dict[str, str]) -> None:
    """The value, else the narrative it points at."""
    assert only(entry_of(problem(content), narrative='<content ID="n">noté</content>'))["code"] == expected


def test_a_problem_that_says_nothing_makes_nothing(entry_of: EntryOf) -> None:
    """No value and no words: there is no condition to record."""
    found = entry_of(problem('<code code="55607006" codeSystem="1.2.3"/><value xsi:type="CD" nullFlavor="NA"/>'))
    assert (found.resources, found.outcome.bucket) == ([], "narrative-only")
