"""Treatments, prescriptions and what was dispensed: one resource each, with every line of how they are taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

TREATMENT = "1.2.250.1.213.1.1.3.42"
PRESCRIPTION = "1.2.250.1.213.1.1.3.83"
LINE = "1.2.250.1.213.1.1.3.83.1"
DISPENSE = "1.2.250.1.213.1.1.3.204"
C_CDA = "2.16.840.1.113883.10.20.22.4.16"

CIS = "urn:oid:1.2.250.1.213.2.3.1"
ATC = "http://www.whocc.no/atc"
UCUM = "http://unitsofmeasure.org"
MATERIAL = """<code code="63564053" displayName="PLAVIX 75 mg, comprimé" codeSystem="1.2.250.1.213.2.3.1">
  <originalText><reference value="#m"/></originalText></code><name>PLAVIX 75 mg</name>"""
NARRATIVE = (
    '<content ID="m">PLAVIX 75mg cp</content> <content ID="how">un le matin</content> <content ID="none">-</content>'
)
COURSE = '<effectiveTime xsi:type="IVL_TS"><low value="20200101"/><high value="20200105"/></effectiveTime>'
DAILY = '<effectiveTime xsi:type="PIVL_TS" operator="A"><period value="1" unit="d"/></effectiveTime>'

Convert = Callable[..., Any]


def treatment(
    content: str = "", template: str = TREATMENT, material: str = MATERIAL, attributes: str = "", mood: str = "EVN"
) -> str:
    """A substanceAdministration: its content, then its product."""
    consumable = f"""<consumable><manufacturedProduct><manufacturedMaterial>{material}</manufacturedMaterial>
          </manufacturedProduct></consumable>"""
    return f"""<substanceAdministration classCode="SBADM" moodCode="{mood}" {attributes}><templateId root="{template}"/>
      <id root="AADC9C14-F1CA-4177-B2C8-A5178D5B3CA0"/>
        {content}{consumable if material else ""}</substanceAdministration>"""


def within(tag: str, inner: str, relation: str = 'typeCode="COMP"', body: str = "") -> str:
    """A nested statement of that template."""
    name = "supply" if "<quantity" in body or "<product" in body else "observation" if "<value" in body else "act"
    return f"""<entryRelationship {relation}><{name} classCode="X" moodCode="EVN"><templateId root="{tag}"/>
          {inner}{body}</{name}></entryRelationship>"""


def only(found: Any, kind: str) -> dict[str, Any]:
    """The one resource that was made, of that type."""
    (resource,) = found.resources
    assert resource["resourceType"] == kind
    return dict(resource)


def test_a_treatment_is_a_statement_with_its_course_and_its_dosage(entry_of: Convert) -> None:
    """The first interval is the effective period, the second effectiveTime the timing of the dosage."""
    dose = '<routeCode code="20053000" codeSystem="0.4.0.127.0.16.1.1.2.1" displayName="Voie orale"/>'
    dose += '<doseQuantity><low value="1" unit="{tablet}"/><high value="2" unit="{tablet}"/></doseQuantity>'
    found = only(
        entry_of(treatment(f'<statusCode code="completed"/>{COURSE}{DAILY}{dose}'), NARRATIVE), "MedicationStatement"
    )
    assert found["effectivePeriod"] == {"start": "2020-01-01", "end": "2020-01-05"}
    (line,) = found["dosage"]
    assert line["timing"] == {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}}
    assert line["route"]["coding"][0]["system"] == "http://standardterms.edqm.eu"
    assert [line["doseAndRate"][0]["doseRange"][end]["value"] for end in ("low", "high")] == [1, 2]


def test_the_product_is_named_as_on_its_box(entry_of: Convert) -> None:
    """Not by the cell of the narrative its code points to; the code of its generic class stands behind its own."""
    generic = """<pharm:asSpecializedKind><pharm:generalizedMedicineClass>
          <pharm:code code="B01AC04" codeSystem="2.16.840.1.113883.6.73"/>"""
    generic += "</pharm:generalizedMedicineClass></pharm:asSpecializedKind>"
    found = only(entry_of(treatment(material=MATERIAL + generic), NARRATIVE), "MedicationStatement")
    product = found["medicationCodeableConcept"]
    assert product["text"] == "PLAVIX 75 mg"
    assert [(each["system"], each["code"]) for each in product["coding"]] == [(CIS, "63564053"), (ATC, "B01AC04")]
    assert "contained" not in found


def test_form_ingredients_and_lot_stand_in_a_contained_medication(entry_of: Convert) -> None:
    """An extension points to it, so that the codes stay where a search finds them."""
    more = '<lotNumberText>L1</lotNumberText><pharm:formCode code="10219000" codeSystem="0.4.0.127.0.16.1.1.2.1"/>'
    more += """<pharm:ingredient classCode="ACTI"><pharm:quantity><numerator value="75" unit="mg"/>
          <denominator value="1"/></pharm:quantity>"""
    more += "<pharm:ingredient><pharm:name>clopidogrel</pharm:name></pharm:ingredient></pharm:ingredient>"
    found = only(entry_of(treatment(material=MATERIAL + more), NARRATIVE), "MedicationStatement")
    (details,) = found["contained"]
    assert found["extension"][0]["valueReference"] == {"reference": f"#{details['id']}"}
    assert details["code"] == found["medicationCodeableConcept"]
    assert details["batch"] == {"lotNumber": "L1"}
    (ingredient,) = details["ingredient"]
    assert ingredient["isActive"] is True
    assert ingredient["itemCodeableConcept"] == {"text": "clopidogrel"}
    assert ingredient["strength"]["numerator"]["code"] == "mg"


@pytest.mark.parametrize(
    ("material", "expected"),
    [
        ("<name>NUROFEN</name>", {"coding": [{"system": ATC, "code": "M01AE01"}], "text": "NUROFEN"}),
        ('<code nullFlavor="UNK"/>', {"coding": [{"system": ATC, "code": "M01AE01"}]}),
    ],
)
def test_a_product_without_code_has_the_atc_code_of_its_one_ingredient(
    entry_of: Convert, material: str, expected: dict[str, Any]
) -> None:
    """As the European patient summaries code their medicines."""
    inner = '<pharm:code code="M01AE01" codeSystem="2.16.840.1.113883.6.73"/>'
    ingredient = f"<pharm:ingredient><pharm:ingredient>{inner}</pharm:ingredient></pharm:ingredient>"
    found = only(entry_of(treatment(material=material + ingredient)), "MedicationStatement")
    assert found["medicationCodeableConcept"] == expected


def test_several_ingredients_name_a_product_together(entry_of: Convert) -> None:
    """No code of one part is the code of the whole."""
    one = "<pharm:ingredient><pharm:ingredient><pharm:name>{}</pharm:name></pharm:ingredient></pharm:ingredient>"
    found = only(entry_of(treatment(material=one.format("A") + one.format("B"))), "MedicationStatement")
    assert found["medicationCodeableConcept"] == {"text": "A + B"}


def test_a_product_that_is_not_told_leaves_the_treatment_its_place(entry_of: Convert) -> None:
    """The text of the statement, else the reason why it is absent: R4 wants a product."""
    said = only(
        entry_of(treatment('<text><reference value="#how"/></text>', material="<name/>"), NARRATIVE),
        "MedicationStatement",
    )
    assert said["medicationCodeableConcept"] == {"text": "un le matin"}
    silent = only(entry_of(treatment(COURSE, material='<code nullFlavor="UNK"/>')), "MedicationStatement")
    assert silent["medicationCodeableConcept"]["extension"][0]["valueCode"] == "unknown"


@pytest.mark.parametrize(
    ("status", "content", "attributes", "template", "expected"),
    [
        ("completed", '<effectiveTime xsi:type="IVL_TS"><low value="2020"/></effectiveTime>', "", TREATMENT, "active"),
        ("completed", COURSE, "", TREATMENT, "completed"),
        (
            "completed",
            '<effectiveTime xsi:type="IVL_TS"><low value="2020"/><high value="2099"/></effectiveTime>',
            "",
            TREATMENT,
            "active",
        ),
        ("completed", "", "", TREATMENT, "unknown"),
        ("active", "", "", TREATMENT, "active"),
        ("completed", '<effectiveTime xsi:type="IVL_TS"><low value="2020"/></effectiveTime>', "", C_CDA, "completed"),
        ("aborted", COURSE, "", TREATMENT, "stopped"),
        ("suspended", COURSE, "", TREATMENT, "on-hold"),
        ("nullified", COURSE, "", TREATMENT, "entered-in-error"),
        ("completed", COURSE, 'negationInd="true"', TREATMENT, "not-taken"),
    ],
)
def test_the_status_of_a_treatment_is_told_by_its_end(
    entry_of: Convert, status: str, content: str, attributes: str, template: str, expected: str
) -> None:
    """CI-SIS writes `completed` always; C-CDA means it."""
    xml = treatment(f'<statusCode code="{status}"/>{content}', template, attributes=attributes)
    assert only(entry_of(xml), "MedicationStatement")["status"] == expected


def test_a_treatment_of_one_day_has_a_date(entry_of: Convert) -> None:
    """A value alone, or equal ends."""
    found = only(entry_of(treatment('<effectiveTime value="20200101"/>')), "MedicationStatement")
    assert found["effectiveDateTime"] == "2020-01-01"


def test_no_known_medications_is_a_statement_and_no_information_is_none(entry_of: Convert) -> None:
    """The IPS codes: the one is recorded as a fact, the other is why the section is empty."""
    code = '<code code="{}" codeSystem="2.16.840.1.113883.5.1150.1"/>'
    known = only(entry_of(treatment(code.format("no-known-medications"), material="<name/>")), "MedicationStatement")
    assert known["medicationCodeableConcept"]["coding"][0]["code"] == "no-known-medications"
    for attributes in ("", 'nullFlavor="UNK"'):
        silent = entry_of(treatment(code.format("no-medication-info"), material="", attributes=attributes))
        assert silent.resources == []
        assert silent.outcome.bucket == "mapped"
        (composition,) = [each for each in silent.whole.resources if each["resourceType"] == "Composition"]
        assert composition["section"][0]["emptyReason"]["coding"][0]["code"] == "unavailable"


def test_reasons_are_read_from_what_is_referred_to(entry_of: Convert) -> None:
    """The code of an internal reference, the value of an observation, else a text."""
    act = '<code code="I20.0" codeSystem="2.16.840.1.113883.6.3"/>'
    value = '<code code="X"/><value xsi:type="CD" code="G45" codeSystem="2.16.840.1.113883.6.3"/>'
    said = '<code nullFlavor="NA"/><text>douleur</text>'
    reasons = "".join(within("1.2.250.1.213.1.1.3.36", each, 'typeCode="RSON"') for each in (act, said))
    reasons += within("2.16.840.1.113883.10.20.22.4.19", "", 'typeCode="RSON"', value)
    found = only(entry_of(treatment(reasons)), "MedicationStatement")["reasonCode"]
    assert [each.get("text") or each["coding"][0]["code"] for each in found] == ["I20.0", "douleur", "G45"]


def test_a_statement_about_a_child_is_not_the_patients(entry_of: Convert) -> None:
    """Rule 1: narrative only, whoever wrote it."""
    subject = '<subject><relatedSubject classCode="{}"><code code="CHILD"/></relatedSubject></subject>'
    assert entry_of(treatment(subject.format("PRS"))).resources == []
    assert len(entry_of(treatment(subject.format("PAT"))).resources) == 1


def prescribed(content: str = "", mood: str = "INT", template: str = PRESCRIPTION) -> str:
    """A prescribed treatment."""
    return treatment(content, template, mood=mood)


def test_a_prescription_is_a_request_with_what_is_to_be_dispensed(entry_of: Convert) -> None:
    """Renewals, packages of the EDQM, substitution and its reason, instructions; a dash of a table says nothing."""
    content = f'<statusCode code="completed"/>{COURSE}<repeatNumber value="3"/>'
    content += within("1.2.250.1.213.1.1.3.33", '<text><reference value="#how"/></text>')
    content += within("1.2.250.1.213.1.1.3.34", "<text>sécable</text>") + within(
        "1.2.250.1.213.1.1.3.34", '<text><reference value="#none"/></text>'
    )
    content += within("1.2.250.1.213.1.1.3.86", "", body='<quantity value="2" unit="30009000"/>')
    content += within(
        "1.2.250.1.213.1.1.3.87",
        '<code code="N" codeSystem="2.16.840.1.113883.5.1070"><originalText>marge étroite</originalText></code>',
    )
    found = only(entry_of(prescribed(content), NARRATIVE), "MedicationRequest")
    assert (found["status"], found["intent"]) == ("active", "order")
    assert found["authoredOn"]
    assert found["dispenseRequest"] == {
        "numberOfRepeatsAllowed": 3,
        "quantity": {"value": 2, "system": "http://standardterms.edqm.eu", "code": "30009000"},
    }
    assert found["substitution"]["allowedCodeableConcept"]["coding"][0]["code"] == "N"
    assert found["substitution"]["reason"] == {"text": "marge étroite"}
    assert found["note"] == [{"text": "sécable"}]
    (line,) = found["dosageInstruction"]
    assert line["patientInstruction"] == "un le matin"


def test_the_course_of_a_prescription_bounds_its_dosage(entry_of: Convert) -> None:
    """A request has no effective period: with a schedule or without, its course limits the timing."""
    period = {"start": "2020-01-01", "end": "2020-01-05"}
    for content, more in ((COURSE, {}), (COURSE + DAILY, {"frequency": 1, "period": 1, "periodUnit": "d"})):
        (line,) = only(entry_of(prescribed(content)), "MedicationRequest")["dosageInstruction"]
        assert line["timing"]["repeat"] == {"boundsPeriod": period, **more}


def test_subordinate_statements_are_dosage_lines_and_no_medications(entry_of: Convert) -> None:
    """In the order of their sequence numbers, each with what the treatment says for all."""
    line = """<entryRelationship typeCode="COMP"><sequenceNumber value="{}"/>
          <substanceAdministration classCode="SBADM" moodCode="INT">"""
    line += f"""<templateId root="{LINE}"/><effectiveTime xsi:type="SXPR_TS"><comp xsi:type="IVL_TS">
          <low value="2020010{{}}"/><width value="2" unit="d"/></comp>"""
    line += """<comp xsi:type="PIVL_TS"><period value="8" unit="h"/></comp></effectiveTime>
          <doseQuantity value="{}"/></substanceAdministration></entryRelationship>"""
    route = """<routeCode code="20053000" codeSystem="0.4.0.127.0.16.1.1.2.1"/><maxDoseQuantity>
          <numerator value="4"/><denominator value="1" unit="d"/></maxDoseQuantity>"""
    found = only(entry_of(prescribed(route + line.format(2, 3, 5) + line.format(1, 1, 9))), "MedicationRequest")
    lines = found["dosageInstruction"]
    assert [each["sequence"] for each in lines] == [1, 2]
    assert [each["doseAndRate"][0]["doseQuantity"]["value"] for each in lines] == [9, 5]
    assert [each["timing"]["repeat"]["boundsPeriod"]["end"] for each in lines] == ["2020-01-02", "2020-01-04"]
    assert all(each["route"] and each["maxDosePerPeriod"]["numerator"] == {"value": 4} for each in lines)


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        ("<text>en cas de douleur</text>", {"asNeededCodeableConcept": {"text": "en cas de douleur"}}),
        ('<code code="ASSERTION"/><value xsi:type="CD" nullFlavor="NI"/>', {"asNeededBoolean": True}),
        ('<text><reference value="#none"/></text>', {}),
        ('<code code="MED-375"/><value xsi:type="BL" value="false"/>', {}),
    ],
)
def test_a_precondition_is_what_a_medicine_is_taken_for(
    entry_of: Convert, criterion: str, expected: dict[str, Any]
) -> None:
    """A criterion answered by yes or no is a check that was made, and no condition."""
    xml = prescribed(f'<doseQuantity value="1"/><precondition><criterion>{criterion}</criterion></precondition>')
    (line,) = only(entry_of(xml, NARRATIVE), "MedicationRequest")["dosageInstruction"]
    assert {name: part for name, part in line.items() if name.startswith("asNeeded")} == expected


def test_the_text_of_a_statement_is_its_dosage_unless_it_repeats_the_product(entry_of: Convert) -> None:
    """Most French prescriptions point from `text` to the name of the product."""
    for target, expected in (("m", None), ("how", "un le matin")):
        xml = prescribed(f'<text><reference value="#{target}"/></text><doseQuantity value="1"/>')
        (line,) = only(entry_of(xml, NARRATIVE), "MedicationRequest")["dosageInstruction"]
        assert line.get("text") == expected


def test_the_circumstances_of_a_prescription_are_contained_observations(entry_of: Convert) -> None:
    """Long illness, work accident, off-label: of the request, and not observations of the patient's list."""
    flag = """<code code="MED-574" codeSystem="1.2.250.1.213.1.1.4.322" displayName="ALD"/>
          <value xsi:type="BL" value="false"/>"""
    found = only(entry_of(prescribed(within("1.2.250.1.213.1.1.3.48.13", "", body=flag))), "MedicationRequest")
    (observation,) = found["contained"]
    assert observation["valueBoolean"] is False
    assert found["supportingInformation"] == [{"reference": f"#{observation['id']}"}]


@pytest.mark.parametrize(
    ("mood", "template", "intent"),
    [
        ("INT", TREATMENT, "plan"),
        ("RQO", TREATMENT, "order"),
        ("PRP", TREATMENT, "proposal"),
        ("INT", PRESCRIPTION, "order"),
    ],
)
def test_what_is_not_yet_taken_is_a_request(entry_of: Convert, mood: str, template: str, intent: str) -> None:
    """Whatever its template says, the mood decides."""
    assert only(entry_of(prescribed(mood=mood, template=template)), "MedicationRequest")["intent"] == intent


def test_a_dispensed_product_is_a_dispense(entry_of: Convert) -> None:
    """Quantity, hand-over, the days it lasts, whether another product was given."""
    xml = f"""<supply classCode="SPLY" moodCode="EVN"><templateId root="{DISPENSE}"/><id root="1.2.3" extension="d"/>
      <effectiveTime value="20240105"/><quantity value="1" unit="30009000"/><expectedUseTime>
        <width value="5" unit="d"/></expectedUseTime>
      <product><manufacturedProduct><manufacturedMaterial>{MATERIAL}</manufacturedMaterial></manufacturedProduct></product>
      {within("1.3.6.1.4.1.19376.1.9.1.3.9.2", '<code code="G" codeSystem="2.16.840.1.113883.5.1070"/>')}</supply>"""
    found = only(entry_of(xml), "MedicationDispense")
    assert (found["status"], found["whenHandedOver"], found["daysSupply"]["value"]) == ("completed", "2024-01-05", 5)
    assert found["substitution"]["wasSubstituted"] is True
    assert found["medicationCodeableConcept"]["text"] == "PLAVIX 75 mg"


def test_a_supply_under_a_treatment_is_a_resource_of_its_own(entry_of: Convert) -> None:
    """C-CDA: the order counts its first supply among its repeats, the dispense has the product of the treatment."""
    order = """<supply classCode="SPLY" moodCode="INT"><templateId root="2.16.840.1.113883.10.20.22.4.17"/>
          <repeatNumber value="1"/><quantity value="75"/>"""
    order += f"""<product><manufacturedProduct><manufacturedMaterial>{MATERIAL}</manufacturedMaterial>
          </manufacturedProduct></product></supply>"""
    given = """<supply classCode="SPLY" moodCode="EVN"><templateId root="2.16.840.1.113883.10.20.22.4.18"/>
          <statusCode code="completed"/></supply>"""
    nested = "".join(f'<entryRelationship typeCode="REFR">{each}</entryRelationship>' for each in (order, given))
    found = {each["resourceType"]: each for each in entry_of(treatment(nested, C_CDA)).resources}
    assert set(found) == {"MedicationStatement", "MedicationRequest", "MedicationDispense"}
    assert found["MedicationRequest"]["dispenseRequest"] == {"numberOfRepeatsAllowed": 0, "quantity": {"value": 75}}
    assert found["MedicationDispense"]["medicationCodeableConcept"]["text"] == "PLAVIX 75 mg"


def test_a_dose_without_unit_is_counted_in_administration_units(entry_of: Convert) -> None:
    """Two puffs."""
    unit = """<doseQuantity value="2"/>
          <administrationUnitCode code="PUFF" displayName="Puff" codeSystem="2.16.840.1.113883.5.85"/>"""
    (line,) = only(entry_of(treatment(unit, C_CDA)), "MedicationStatement")["dosage"]
    assert line["doseAndRate"][0]["doseQuantity"]["unit"] == "Puff"
