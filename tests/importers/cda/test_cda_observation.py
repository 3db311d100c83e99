"""What was observed: one Observation each, its value by the type the document says."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

SIMPLE = "1.2.250.1.213.1.1.3.48"
VITAL_SIGN, VITAL_SIGNS = "1.2.250.1.213.1.1.3.50", "1.2.250.1.213.1.1.3.49"
CODE = '<code code="8310-5" displayName="Température" codeSystem="2.16.840.1.113883.6.1"/>'
FINAL = '<statusCode code="completed"/>'

Convert = Callable[..., Any]


def observed(content: str = "", template: str = SIMPLE, code: str = CODE, attributes: str = "") -> str:
    """An observation."""
    head = f'<observation classCode="OBS" moodCode="EVN" {attributes}><templateId root="{template}"/>'
    return f"{head}{code}{content}</observation>"


def only(found: Any) -> dict[str, Any]:
    """The one Observation that was made."""
    (resource,) = found.resources
    assert resource["resourceType"] == "Observation"
    return dict(resource)


def value_of(resource: dict[str, Any]) -> dict[str, Any]:
    """What it says: its value, or why there is none."""
    return {name: part for name, part in resource.items() if name.startswith("value") or name == "dataAbsentReason"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('xsi:type="PQ" value="37.20" unit="Cel"/>', {"valueQuantity": {"value": Decimal("37.20"), "unit": "Cel"}}),
        ('xsi:type="INT" value="0"/>', {"valueInteger": 0}),
        ('xsi:type="REAL" value="1.5"/>', {"valueQuantity": {"value": Decimal("1.5")}}),
        ('xsi:type="BL" value="false"/>', {"valueBoolean": False}),
        ('xsi:type="ST">oui</value>', {"valueString": "oui"}),
        ('xsi:type="ED"><reference value="#n"/></value>', {"valueString": "selon le texte"}),
        ('xsi:type="TS" value="20260102"/>', {"valueDateTime": "2026-01-02"}),
        ('xsi:type="IVL_TS"><low value="2025"/></value>', {"valuePeriod": {"start": "2025"}}),
        (
            'xsi:type="CD"><originalText><reference value="#n"/></originalText></value>',
            {"valueCodeableConcept": {"text": "selon le texte"}},
        ),
        (
            'xsi:type="IVL_PQ"><high value="2" unit="g" inclusive="false"/></value>',
            {"valueQuantity": {"value": 2, "comparator": "<", "unit": "g"}},
        ),
        (
            'xsi:type="RTO"><numerator value="1"/><denominator value="8"/></value>',
            {"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 8}}},
        ),
    ],
)
def test_a_value_is_of_the_type_the_document_says(entry_of: Convert, value: str, expected: dict[str, Any]) -> None:
    """Every xsi:type that occurs; zero and false are values."""
    found = value_of(only(entry_of(observed(f"<value {value}"), '<content ID="n">selon le texte</content>')))
    for part in (found.get("valueQuantity"), *found.get("valueRatio", {}).values()):
        for name in ("system", "code"):
            (part or {}).pop(name, None)
    assert found == expected


def test_a_type_outside_the_table_is_narrative_only(entry_of: Convert) -> None:
    """Noted, and no exception."""
    found = entry_of(observed('<value xsi:type="GLIST_TS"/>'))
    assert (found.resources, found.outcome.bucket) == ([], "narrative-only")
    assert "unknown-value-type" in {issue.coding[1] for issue in found.whole.report.issues if issue.coding}


@pytest.mark.parametrize(
    ("flavor", "reason"),
    [
        ("UNK", "unknown"),
        ("NI", "unknown"),
        ("NAV", "temp-unknown"),
        ("NASK", "not-asked"),
        ("ASKU", "asked-unknown"),
        ("NA", "not-applicable"),
        ("MSK", "masked"),
    ],
)
def test_a_null_value_says_why_it_is_absent(entry_of: Convert, flavor: str, reason: str) -> None:
    """The nullFlavors of rule 5."""
    found = only(entry_of(observed(f'<value xsi:type="PQ" nullFlavor="{flavor}"/>')))
    assert value_of(found)["dataAbsentReason"]["coding"][0]["code"] == reason


def test_a_number_that_cannot_be_read_stays_the_text_it_is(entry_of: Convert) -> None:
    """No measurement is lost and none is invented."""
    found = entry_of(observed('<value xsi:type="PQ" value="env. 37" unit="Cel"/>'))
    assert value_of(only(found)) == {"valueString": "env. 37 Cel"}
    assert "bad-number" in {issue.coding[1] for issue in found.whole.report.issues if issue.coding}


def test_a_negated_question_is_answered_no(entry_of: Convert) -> None:
    """Yes or no; any other value that is negated is none, and a note says what is denied."""
    no = only(entry_of(observed('<value xsi:type="BL" value="true"/>', attributes='negationInd="true"')))
    assert value_of(no) == {"valueBoolean": False}
    assert "note" not in no
    for value, word in (
        ('xsi:type="CD" code="D1" displayName="fièvre"', "fièvre"),
        ('xsi:type="PQ" value="3" unit="d"', "3 d"),
    ):
        denied = only(entry_of(observed(f"<value {value}/>", attributes='negationInd="true"')))
        assert "negationInd" in value_of(denied)["dataAbsentReason"]["text"]
        assert denied["note"][0]["text"].endswith(word)


def test_mass_beside_mole_is_a_component_of_another_code(entry_of: Convert) -> None:
    """A component with the code of its Observation would have to replace the value (obs-7)."""
    found = only(
        entry_of(
            observed('<value xsi:type="PQ" value="0.88" unit="g/L"><translation value="4.89" code="mmol/L"/></value>')
        )
    )
    (component,) = found["component"]
    assert component["valueQuantity"]["value"] == Decimal("4.89")
    assert component["code"] == {"text": "Température (mmol/L)"}


def test_what_says_how_and_where_goes_on_the_observation(entry_of: Convert) -> None:
    """Time, method, site, interpretation, range, performer, comment."""
    content = f"""{FINAL}<effectiveTime value="20260102"/><value xsi:type="PQ" value="37" unit="Cel"/>
      <interpretationCode code="H" codeSystem="2.16.840.1.113883.5.83"/>
        <methodCode code="M1" codeSystem="2.16.840.1.113883.5.84"/>
      <targetSiteCode code="S1" codeSystem="2.16.840.1.113883.6.96"/>
      <performer><assignedEntity><id root="1.2.250.1.71.4.2.1" extension="801234567897"/><assignedPerson><name>
        <family>A</family></name></assignedPerson></assignedEntity></performer>
      <entryRelationship typeCode="SUBJ" inversionInd="true"><act classCode="ACT" moodCode="EVN">
        <templateId root="1.2.250.1.213.1.1.3.32"/><text>à revoir</text></act></entryRelationship>
      <referenceRange><observationRange><text>adulte</text><value xsi:type="IVL_PQ"><low value="36" unit="Cel"/>
        </value><interpretationCode code="N" codeSystem="2.16.840.1.113883.5.83"/></observationRange>
          </referenceRange>"""
    found = only(entry_of(observed(content)))
    assert found["effectiveDateTime"] == "2026-01-02"
    assert (
        found["interpretation"][0]["coding"][0]["system"]
        == "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
    )
    assert (found["method"]["coding"][0]["code"], found["bodySite"]["coding"][0]["code"]) == ("M1", "S1")
    assert found["performer"][0]["type"] == "Practitioner"
    assert found["note"] == [{"text": "à revoir"}]
    (normal,) = found["referenceRange"]
    assert (normal["low"]["value"], normal["text"], normal["type"]["coding"][0]["code"]) == (36, "adulte", "normal")


def test_a_reference_range_without_numbers_is_its_text(entry_of: Convert) -> None:
    """A range of nothing is none (obs-3)."""
    ranges = "".join(
        f"<referenceRange><observationRange>{each}</observationRange></referenceRange>"
        for each in ('<value xsi:type="ST">négatif</value>', '<value xsi:type="IVL_PQ"/>')
    )
    assert only(entry_of(observed(ranges)))["referenceRange"] == [{"text": "négatif"}]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("completed", "final"),
        ("active", "preliminary"),
        ("aborted", "cancelled"),
        ("nullified", "entered-in-error"),
        ("??", "unknown"),
    ],
)
def test_the_status_of_an_observation(entry_of: Convert, status: str, expected: str) -> None:
    """R4 wants one: unknown where the document has none."""
    assert only(entry_of(observed(f'<statusCode code="{status}"/>')))["status"] == expected


@pytest.mark.parametrize(
    ("template", "category"),
    [
        (SIMPLE, None),
        (f"{SIMPLE}.18", None),
        (VITAL_SIGN, "vital-signs"),
        ("1.2.250.1.213.1.1.3.52", "social-history"),
        ("1.2.250.1.213.1.1.3.53", "social-history"),
        ("1.2.250.1.213.1.1.3.25", "survey"),
        ("1.2.250.1.213.1.1.3.110", "survey"),
        ("1.2.250.1.213.1.1.3.122", None),
        ("1.3.6.1.4.1.19376.1.5.3.1.4.13.2", "vital-signs"),
        ("1.3.6.1.4.1.19376.1.5.3.1.4.13.4", "social-history"),
        ("1.3.6.1.4.1.19376.1.5.3.1.4.13", None),
        ("2.16.840.1.113883.10.20.22.4.2", "laboratory"),
        ("2.16.840.1.113883.10.20.22.4.27", "vital-signs"),
        ("2.16.840.1.113883.10.20.22.4.38", "social-history"),
    ],
)
def test_the_template_of_an_observation_is_its_category(entry_of: Convert, template: str, category: str | None) -> None:
    """French templates, their IHE parents, C-CDA."""
    found = only(entry_of(observed(template=template))).get("category")
    assert (found and found[0]["coding"][0]["code"]) == category


def test_an_observation_without_code_is_named_by_its_text(entry_of: Convert) -> None:
    """Translations first; with neither it is narrative only."""
    translated = '<code nullFlavor="NA"><translation code="GEN-144" codeSystem="1.2.250.1.213.1.1.4.322"/></code>'
    assert only(entry_of(observed(code=translated)))["code"]["coding"][0]["code"] == "GEN-144"
    said = observed('<text><reference value="#n"/></text>', code='<code nullFlavor="NA"/>')
    assert only(entry_of(said, '<content ID="n">chute</content>'))["code"] == {"text": "chute"}
    assert entry_of(observed(code="")).resources == []


def test_an_organizer_gives_its_time_to_its_members_and_is_no_resource(entry_of: Convert) -> None:
    """Systolic and diastolic pressure stay two Observations, as in the document."""
    members = observed('<value xsi:type="PQ" value="120" unit="mm[Hg]"/><effectiveTime nullFlavor="NA"/>', VITAL_SIGN)
    members = f"""<component>{members}</component><component>
          {observed('<effectiveTime value="2025"/>', VITAL_SIGN)}</component>"""
    head = f"""<organizer classCode="CLUSTER" moodCode="EVN"><templateId root="{VITAL_SIGNS}"/>
          <effectiveTime value="20260102"/>"""
    first, second = entry_of(f"{head}{members}</organizer>").resources
    assert (first["effectiveDateTime"], second["effectiveDateTime"]) == ("2026-01-02", "2025")
    assert first["id"] != second["id"]


def test_observations_under_an_observation_are_its_members(entry_of: Convert) -> None:
    """The items of a score, each its own."""
    item = observed('<value xsi:type="INT" value="2"/>', "1.2.250.1.213.1.1.3.8")
    total = observed(f'<entryRelationship typeCode="COMP">{item}</entryRelationship>', "1.2.250.1.213.1.1.3.6")
    first, second = entry_of(total).resources
    assert second["hasMember"] == [{"reference": f"urn:uuid:{first['id']}"}]


def test_a_vital_sign_as_the_reason_of_a_problem_is_its_evidence(entry_of: Convert) -> None:
    """And under a plan, which is narrative only, it is still a vital sign."""
    sign = f'<entryRelationship typeCode="RSON">{observed(template=VITAL_SIGN)}</entryRelationship>'
    problem = f'<value xsi:type="CD" code="T68" codeSystem="2.16.840.1.113883.6.3"/>{sign}'
    found = {each["resourceType"]: each for each in entry_of(observed(problem, "1.2.250.1.213.1.1.3.37")).resources}
    assert found["Condition"]["evidence"] == [{"detail": [{"reference": f"urn:uuid:{found['Observation']['id']}"}]}]
    assert only(entry_of(observed(sign, "1.2.250.1.213.1.1.3.27")))["category"][0]["coding"][0]["code"] == "vital-signs"


def test_a_section_without_code_has_the_one_its_template_prescribes(body_of: Convert) -> None:
    """And its observations without known template are then vital signs."""
    inner = f'<observation classCode="OBS" moodCode="EVN">{CODE}</observation>'
    templates = '<templateId root="1.2.250.1.213.1.1.2.75"/>'
    found = body_of(f"<component><section>{templates}<title>S</title><entry>{inner}</entry></section></component>")
    (composition,) = [each for each in found.resources if each["resourceType"] == "Composition"]
    assert composition["section"][0]["code"]["coding"][0]["code"] == "8716-3"
    assert found.discrete[0]["category"][0]["coding"][0]["code"] == "vital-signs"
