"""The invariants of R4: each can be broken, is told where it is, and is told of nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.fhir.definitions import Definitions
from fhir_server.fhir.path import Node, PathError, compile_expression
from fhir_server.validation.findings import MAX_WORK
from fhir_server.validation.invariants import CORRECTED, NATIVE, NOT_EVALUATED, Invariants
from fhir_server.validation.validator import Validator

UCUM = "http://unitsofmeasure.org"
CODE = {"text": "x"}
REFERENCE = {"reference": "Patient/1"}
ERROR = "entered-in-error"


def concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": f"http://terminology.hl7.org/CodeSystem/{system}", "code": code}]}


def observation(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "status": "final", "code": CODE, **more}


def patient(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", **more}


def condition(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Condition", "subject": REFERENCE, **more}


def allergy(**more: Any) -> dict[str, Any]:
    return {"resourceType": "AllergyIntolerance", "patient": REFERENCE, **more}


def question(**more: Any) -> dict[str, Any]:
    item = {"linkId": "1", "type": "string", **more}
    return {"resourceType": "Questionnaire", "status": "active", "item": [item]}


def timed(**repeat: Any) -> dict[str, Any]:
    dosage = {"timing": {"repeat": repeat}}
    return {"resourceType": "MedicationStatement", "status": "active", "medicationCodeableConcept": CODE,
            "subject": REFERENCE, "dosage": [dosage]}  # fmt: skip


def value_set(**include: Any) -> dict[str, Any]:
    return {"resourceType": "ValueSet", "status": "active", "compose": {"include": [include]}}


def structure(**more: Any) -> dict[str, Any]:
    return {"resourceType": "StructureDefinition", "url": "http://x/s", "name": "S", "status": "active",
            "kind": "resource", "abstract": False, "type": "Patient", "baseDefinition": "http://x/b",
            "derivation": "constraint", "differential": {"element": [{"id": "Patient", "path": "Patient"}]},
            **more}  # fmt: skip


def element(**more: Any) -> dict[str, Any]:
    named = {"id": "Patient.name", "path": "Patient.name", **more}
    return structure(differential={"element": [{"id": "Patient", "path": "Patient"}, named]})


def consent(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Consent", "status": "active", "scope": CODE, "category": [CODE], **more}


def capability(**more: Any) -> dict[str, Any]:
    return {"resourceType": "CapabilityStatement", "status": "active", "date": "2024", "kind": "requirements",
            "fhirVersion": "4.0.1", "format": ["json"], "description": "x", "rest": [{"mode": "server"}],
            **more}  # fmt: skip


REPEAT = "MedicationStatement.dosage[0].timing.repeat"
ITEM = "Questionnaire.item[0]"
DIFFERENTIAL = "StructureDefinition.differential.element[1]"

BROKEN: list[tuple[str, str, dict[str, Any]]] = [
    ("ait-1", "AllergyIntolerance", allergy()),
    ("ait-2", "AllergyIntolerance", allergy(
        verificationStatus=concept("allergyintolerance-verification", ERROR),
        clinicalStatus=concept("allergyintolerance-clinical", "active"))),
    ("app-1", "Appointment.participant[0]",
     {"resourceType": "Appointment", "status": "cancelled", "participant": [{"status": "accepted"}]}),
    ("app-3", "Appointment", {"resourceType": "Appointment", "status": "booked",
                              "participant": [{"status": "accepted", "actor": REFERENCE}]}),
    ("app-4", "Appointment", {"resourceType": "Appointment", "status": "proposed", "cancelationReason": CODE,
                              "participant": [{"status": "accepted", "actor": REFERENCE}]}),
    ("att-1", "Patient.photo[0]", patient(photo=[{"data": "QQ=="}])),
    ("cmp-1", "Composition.section[0]",
     {"resourceType": "Composition", "status": "final", "type": CODE, "date": "2024", "author": [REFERENCE],
      "title": "x", "section": [{"title": "x"}]}),
    ("con-1", "Condition.stage[0]", condition(stage=[{"type": CODE}], clinicalStatus=CODE | concept(
        "condition-clinical", "active"))),
    ("con-2", "Condition.evidence[0]", condition(evidence=[{"id": "e", "extension": [
        {"url": "http://x", "valueString": "x"}]}])),
    ("con-4", "Condition", condition(abatementDateTime="2024", clinicalStatus=concept("condition-clinical", "active"))),
    ("con-5", "Condition", condition(verificationStatus=concept("condition-ver-status", ERROR),
                                     clinicalStatus=concept("condition-clinical", "active"))),
    ("cpb-1", "CapabilityStatement", {key: value for key, value in capability().items() if key != "rest"}),
    ("cpb-7", "CapabilityStatement", capability(
        document=[{"mode": "producer", "profile": "http://x/p"}, {"mode": "producer", "profile": "http://x/p"}])),
    ("cpb-9", "CapabilityStatement.rest[0]", capability(
        rest=[{"mode": "server", "resource": [{"type": "Patient"}, {"type": "Patient"}]}])),
    ("cpb-12", "CapabilityStatement.rest[0].resource[0]", capability(rest=[{"mode": "server", "resource": [
        {"type": "Patient", "searchParam": [{"name": "a", "type": "token"}, {"name": "a", "type": "token"}]}]}])),
    ("cpb-16", "CapabilityStatement", capability(software={"name": "x"})),
    ("cpl-3", "CarePlan.activity[0]",
     {"resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": REFERENCE,
      "activity": [{"reference": {"reference": "Task/1"}, "detail": {"status": "completed"}}]}),
    ("cpt-2", "Patient.telecom[0]", patient(telecom=[{"value": "01"}])),
    ("csd-1", "CodeSystem", {"resourceType": "CodeSystem", "status": "active", "content": "complete",
                             "concept": [{"code": "a", "concept": [{"code": "b"}]}, {"code": "b"}]}),
    ("drq-1", "Library.dataRequirement[0].codeFilter[0]",
     {"resourceType": "Library", "status": "active", "type": CODE,
      "dataRequirement": [{"type": "Patient", "codeFilter": [{"path": "a", "searchParam": "b"}]}]}),
    ("eld-2", DIFFERENTIAL, element(min=2, max="1")),
    ("eld-3", DIFFERENTIAL + ".max", element(max="-1")),
    ("eld-8", DIFFERENTIAL, element(patternString="a", fixedString="b", type=[{"code": "string"}])),
    ("eld-13", DIFFERENTIAL, element(type=[{"code": "string"}, {"code": "string"}])),
    ("eld-14", DIFFERENTIAL, element(constraint=[
        {"key": "a-1", "severity": "error", "human": "x", "expression": "true"}] * 2)),
    ("eld-16", DIFFERENTIAL, element(sliceName="a b")),
    ("eld-18", DIFFERENTIAL, element(isModifier=True)),
    ("exp-1", "PlanDefinition.action[0].condition[0].expression",
     {"resourceType": "PlanDefinition", "status": "active", "action": [
         {"condition": [{"kind": "start", "expression": {"language": "text/cql"}}]}]}),
    ("fhs-1", "FamilyMemberHistory", {"resourceType": "FamilyMemberHistory", "status": "completed",
                                      "patient": REFERENCE, "relationship": CODE, "ageString": "4",
                                      "bornString": "2020"}),
    ("gol-1", "Goal.target[0]", {"resourceType": "Goal", "lifecycleStatus": "active", "description": CODE,
                                 "subject": REFERENCE, "target": [{"detailString": "x"}]}),
    ("grp-1", "Group", {"resourceType": "Group", "type": "person", "actual": False, "member": [{"entity": REFERENCE}]}),
    ("ig-1", "ImplementationGuide.definition",
     {"resourceType": "ImplementationGuide", "url": "http://x", "name": "X", "status": "active", "packageId": "x",
      "fhirVersion": ["4.0.1"], "definition": {"grouping": [{"id": "a", "name": "a"}],
                                               "resource": [{"reference": REFERENCE, "groupingId": "b"}]}}),
    ("imm-1", "Immunization.education[0]",
     {"resourceType": "Immunization", "status": "completed", "vaccineCode": CODE, "patient": REFERENCE,
      "occurrenceString": "x", "education": [{"publicationDate": "2024"}]}),
    ("inv-1", "Parameters.parameter[0]", {"resourceType": "Parameters", "parameter": [{"name": "a"}]}),
    ("inv-1", "Task", {"resourceType": "Task", "status": "draft", "intent": "order",
                       "authoredOn": "2024-05-02", "lastModified": "2024-05-01"}),
    ("lnk-1", "Linkage", {"resourceType": "Linkage", "item": [{"type": "source", "resource": REFERENCE}]}),
    ("lst-1", "List", {"resourceType": "List", "status": "current", "mode": "working", "emptyReason": CODE,
                       "entry": [{"item": REFERENCE}]}),
    ("lst-2", "List", {"resourceType": "List", "status": "current", "mode": "working",
                       "entry": [{"item": REFERENCE, "deleted": True}]}),
    ("mad-1", "MedicationAdministration.dosage",
     {"resourceType": "MedicationAdministration", "status": "completed", "medicationCodeableConcept": CODE,
      "subject": REFERENCE, "effectiveDateTime": "2024", "dosage": {"text": "x"}}),
    ("mdd-1", "MedicationDispense",
     {"resourceType": "MedicationDispense", "status": "completed", "medicationCodeableConcept": CODE,
      "whenPrepared": "2024-05-02T10:00:00Z", "whenHandedOver": "2024-05-02T11:59:00+02:00"}),
    ("msq-3", "MolecularSequence", {"resourceType": "MolecularSequence", "coordinateSystem": 2}),
    ("obs-3", "Observation.referenceRange[0]", observation(referenceRange=[{"type": CODE}])),
    ("obs-6", "Observation", observation(dataAbsentReason=CODE, valueString="x")),
    ("obs-7", "Observation", observation(code=concept("v3-x", "a"), valueString="x", component=[
        {"code": concept("v3-x", "a"), "valueString": "y"}])),
    ("opd-2", "OperationDefinition.parameter[0]",
     {"resourceType": "OperationDefinition", "name": "X", "status": "active", "kind": "operation", "code": "x",
      "system": True, "type": False, "instance": False, "parameter": [
          {"name": "a", "use": "in", "min": 0, "max": "1", "type": "integer", "searchType": "token"}]}),
    ("org-1", "Organization", {"resourceType": "Organization", "active": True}),
    ("org-2", "Organization.address[1]", {"resourceType": "Organization", "name": "x",
                                          "address": [{"use": "work"}, {"use": "home"}]}),
    ("org-3", "Organization.telecom[0]", {"resourceType": "Organization", "name": "x", "telecom": [{"use": "home"}]}),
    ("pat-1", "Patient.contact[0]", patient(contact=[{"gender": "male"}])),
    ("per-1", "Patient.name[0].period", patient(name=[{"period": {"start": "2024-05", "end": "2024-04"}}])),
    ("ppc-1", "Consent", consent(patient=REFERENCE)),
    ("prr-1", "ServiceRequest", {"resourceType": "ServiceRequest", "status": "active", "intent": "order",
                                 "subject": REFERENCE, "orderDetail": [CODE]}),
    ("qrs-1", "QuestionnaireResponse.item[0]",
     {"resourceType": "QuestionnaireResponse", "status": "completed", "item": [
         {"linkId": "1", "answer": [{"valueString": "x"}], "item": [{"linkId": "2"}]}]}),
    ("qty-3", "Observation.value.ofType(Quantity)", observation(valueQuantity={"value": 1, "code": "kg"})),
    ("que-1", ITEM, question(type="group")),
    ("que-2", "Questionnaire", question(type="group", item=[{"linkId": "1", "type": "string"}])),
    ("que-3", ITEM, question(type="display", code=[{"code": "x"}])),
    ("que-5", ITEM, question(type="boolean", answerOption=[{"valueString": "x"}])),
    ("que-7", ITEM + ".enableWhen[0]", question(enableWhen=[
        {"question": "2", "operator": "exists", "answerString": "x"}])),
    ("que-10", ITEM, question(type="date", maxLength=3)),
    ("que-12", ITEM, question(enableWhen=[{"question": "2", "operator": "exists", "answerBoolean": True}] * 3)),
    ("rat-1", "Observation.value.ofType(Ratio)", observation(valueRatio={"numerator": {"value": 1}})),
    ("rng-2", "Observation.value.ofType(Range)", observation(valueRange={
        "low": {"value": 2, "system": UCUM, "code": "g"}, "high": {"value": 1500, "system": UCUM, "code": "mg"}})),
    ("ras-1", "RiskAssessment.prediction[0].probability.ofType(Range)",
     {"resourceType": "RiskAssessment", "status": "final", "subject": REFERENCE,
      "prediction": [{"probabilityRange": {"low": {"value": 1, "system": UCUM, "code": "g"}}}]}),
    ("ras-2", "RiskAssessment.prediction[0]",
     {"resourceType": "RiskAssessment", "status": "final", "subject": REFERENCE,
      "prediction": [{"probabilityDecimal": 101}]}),
    ("rqg-1", "RequestGroup.action[0]", {"resourceType": "RequestGroup", "status": "active", "intent": "plan",
                                         "action": [{"title": "x"}]}),
    ("sdf-4", "StructureDefinition", {key: value for key, value in structure().items() if key != "baseDefinition"}),
    ("sdf-8a", "StructureDefinition.differential", structure(
        differential={"element": [{"id": "Patient", "path": "Patient"}, {"id": "b", "path": "Observation.code"}]})),
    ("sdf-17", "StructureDefinition", structure(
        differential={"element": [{"id": "Patient", "path": "Patient"}, {"id": "Patient", "path": "Patient.name"}]})),
    ("tim-1", REPEAT, timed(duration=1)),
    ("tim-2", REPEAT, timed(period=1)),
    ("tim-4", REPEAT, timed(duration=-1, durationUnit="h")),
    ("tim-9", REPEAT, timed(offset=1)),
    ("tim-10", REPEAT, timed(timeOfDay=["10:00:00"], when=["MORN"])),
    ("trd-3", "PlanDefinition.action[0].trigger[0]",
     {"resourceType": "PlanDefinition", "status": "active", "action": [{"trigger": [{"type": "named-event"}]}]}),
    ("tst-7", "TestScript.setup.action[0].operation",
     {"resourceType": "TestScript", "url": "http://x", "name": "X", "status": "active",
      "setup": {"action": [{"operation": {"type": {"code": "read"}, "encodeRequestUrl": True}}]}}),
    ("vsd-1", "ValueSet.compose.include[0]", value_set(version="1")),
    ("vsd-2", "ValueSet.compose.include[0]", value_set(valueSet=["http://x"], concept=[{"code": "a"}])),
    ("vsd-3", "ValueSet.compose.include[0]", value_set(
        system="http://x", concept=[{"code": "a"}], filter=[{"property": "a", "op": "=", "value": "b"}])),
]  # fmt: skip


@pytest.mark.parametrize(("key", "place", "resource"), BROKEN, ids=[key for key, _, _ in BROKEN])
def test_a_broken_invariant_is_told_with_its_place_and_nothing_else(
    validator: Validator, key: str, place: str, resource: dict[str, Any]
) -> None:
    """One issue, an error, that names the rule, its expression and the element."""
    issues = validator.validate(resource)
    told = [(issue.text.split()[2], issue.expression, issue.code, issue.severity) for issue in issues]
    assert told == [(key, place, "invariant", "error")]


@pytest.mark.parametrize("resource", [
    patient(name=[{"period": {"start": "2024-05", "end": "2024-05-10"}}]),
    observation(subject={"display": "x"}),
    observation(valueRange={"low": {"value": 1}, "high": {"value": 2, "unit": "g"}}),
    observation(valueRatio={"extension": [{"url": "http://x", "valueString": "x"}]}),
    observation(valueQuantity={"_value": {"extension": [{"url": "http://x", "valueString": "x"}]}}),
    condition(abatementString="x", clinicalStatus=concept("condition-clinical", "resolved")),
    allergy(clinicalStatus={**concept("allergyintolerance-clinical", "active"), "id": "c"}),
    question(enableWhen=[{"question": "2", "operator": "exists", "answerBoolean": False}]),
], ids=range(8))  # fmt: skip
def test_what_an_invariant_does_not_decide_is_not_broken(validator: Validator, resource: dict[str, Any]) -> None:
    """Dates of other precision, quantities without a common unit, references without a reference, extensions alone."""
    assert validator.validate(resource) == []


def test_rules_that_only_warn_are_told_when_asked_for(validator: Validator) -> None:
    """dom-6 wants a narrative, con-3 a status: good to know, no reason to refuse."""
    resource = condition(category=[concept("condition-category", "problem-list-item")])
    assert validator.validate(resource) == []
    told = {(issue.text.split()[2], issue.expression, issue.severity) for issue in
            validator.validate(resource, warnings=True)}  # fmt: skip
    assert told == {("dom-6", "Condition", "warning"), ("con-3", "Condition", "warning")}
    other = condition(category=[concept("condition-category", "encounter-diagnosis")], text={
        "status": "generated", "div": "<div xmlns='http://www.w3.org/1999/xhtml'>x</div>"})  # fmt: skip
    assert validator.validate(other, warnings=True) == []


def test_what_a_contained_resource_breaks_is_told_at_its_place(validator: Validator) -> None:
    """`%resource` is the contained one there, not the one that contains it."""
    inside = observation(id="a", code=concept("v3-x", "a"), valueString="x",
                         component=[{"code": concept("v3-x", "a"), "valueString": "y"}])  # fmt: skip
    outside = observation(contained=[inside], hasMember=[{"reference": "#a"}])
    told = [(issue.text.split()[2], issue.expression) for issue in validator.validate(outside)]
    assert told == [("obs-7", "Observation.contained[0]")]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": outside}]}
    told = [(issue.text.split()[2], issue.expression) for issue in validator.validate(bundle)]
    assert told == [("obs-7", "Bundle.entry[0].resource.contained[0]")]


def test_every_invariant_of_r4_is_native_or_compiles_or_stands_in_the_table(definitions: Definitions) -> None:
    """239 of them in 125 places; one that is worded wrongly without standing there would raise."""
    invariants = Invariants(definitions)
    for name in [*definitions.resource_types, "ElementDefinition", "Quantity", "Timing", "TriggerDefinition"]:
        invariants.of_type(name)
    stated = {(path, each.key) for path in {path for path, _ in NOT_EVALUATED.keys() | CORRECTED.keys()}
              for each in definitions.invariants(path)}  # fmt: skip
    assert NOT_EVALUATED.keys() | CORRECTED.keys() <= stated
    assert len(NATIVE) == 21


def test_wrong_invariants_are_wrong_in_r4(definitions: Definitions) -> None:
    """Those of the table cannot be asked, or are not broken by what breaks their meaning."""
    broken = {
        "ppc-2": consent(scope=concept("consentscope", "patient-privacy")),
        "ppc-3": consent(scope=concept("consentscope", "research")),
        "ppc-4": consent(scope=concept("consentscope", "adr")),
        "ppc-5": consent(scope=concept("consentscope", "treatment")),
        "eld-11": {"path": "a", "type": [{"code": "date"}], "binding": {"strength": "example"}},
    }
    for path, key in NOT_EVALUATED:
        (expression,) = (each.expression for each in definitions.invariants(path) if each.key == key)
        if key == "cid-0":
            with pytest.raises(PathError):
                compile_expression(expression, definitions, path)
        else:
            node = Node(broken[key], path)
            assert compile_expression(expression, definitions, path).holds({}, focus=node) is True


def test_a_body_made_to_be_expensive_is_not(validator: Validator) -> None:
    """sdf-8a is quadratic in the elements: what exceeds the budget is not told broken."""
    elements = [{"id": f"Patient.e{n}", "path": f"Patient.e{n}"} for n in range(2000)]
    resource = structure(differential={"element": [{"id": "Patient", "path": "Patient"}, *elements]})
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": resource}] * 20}
    assert MAX_WORK < 2000**2
    assert validator.validate(bundle) == []
    assert {issue.code for issue in validator.validate(bundle, warnings=True)} == {"invariant", "too-costly"}
