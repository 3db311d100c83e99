"""FHIRPath Patch: elements found by FHIRPath, changed one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from lxml import etree

from fhir_server.errors import FhirServerError, Invalid, Malformed
from fhir_server.fhir.definitions import load_definitions
from fhir_server.fhir.patch import fhirpath_patch
from fhir_server.fhir.xml.read import to_json

DEFINITIONS = load_definitions()
BIRTH = {"extension": [{"url": "http://example.org/time", "valueString": "noon"}]}


def operation(type_: str, path: str, value: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """One operation; `value` is the part without its name, `more` the other parts."""
    parts = [{"name": "type", "valueCode": type_}, {"name": "path", "valueString": path}]
    for name, each in more.items():
        parts.append({"name": name, ("valueInteger" if isinstance(each, int) else "valueString"): each})
    if value is not None:
        parts.append({"name": "value", **value})
    return {"name": "operation", "part": parts}


def patched(resource: dict[str, Any], *operations: Any) -> dict[str, Any]:
    """The resource after the operations."""
    parameters = {"resourceType": "Parameters", "parameter": list(operations)}
    made = fhirpath_patch.apply(orjson.dumps(resource), orjson.dumps(parameters), DEFINITIONS)
    result: dict[str, Any] = orjson.loads(made)
    return result


def patient(**elements: Any) -> dict[str, Any]:
    """A Patient with these elements."""
    return {"resourceType": "Patient", **elements}


@pytest.mark.shared_data
def test_the_cases_of_hl7_pass(shared_data: Path) -> None:
    """All of HL7's collection for FHIRPath Patch."""
    cases = etree.parse(shared_data / "fhir-test-cases/r4/patch/fhir-patch-tests.xml").getroot().findall("case")
    assert len(cases) == 33
    for case in cases:
        given, diff, output = (_resource(case, name) for name in ("input", "diff", "output"))
        assert given is not None
        assert diff is not None
        if case.find("error") is not None:
            with pytest.raises(FhirServerError):
                fhirpath_patch.apply(given, diff, DEFINITIONS)
        else:
            assert output is not None
            made = fhirpath_patch.apply(given, diff, DEFINITIONS)
            assert orjson.loads(made) == orjson.loads(output), case.get("name")


def _resource(case: Any, name: str) -> bytes | None:
    """One of the resources of a case, in JSON."""
    found = case.find(name)
    if found is None:
        return None
    (inside,) = [each for each in found if isinstance(each.tag, str)]
    for each in inside.iter():
        # An extension of the collection stands without its url, which R4 does not allow; it is not what is tested.
        if each.tag == "{http://hl7.org/fhir}extension" and not each.get("url"):
            each.set("url", "http://example.org/unnamed")
    return to_json(etree.tostring(inside, with_tail=False), DEFINITIONS)


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        (
            patient(),
            operation("add", "Patient", {"valueBoolean": False}, name="deceased"),
            patient(deceasedBoolean=False),
        ),
        (
            patient(deceasedBoolean=True),
            operation("replace", "Patient.deceased", {"valueDateTime": "2020"}),
            patient(deceasedDateTime="2020"),
        ),
        (patient(deceasedBoolean=True), operation("delete", "Patient.deceased"), patient()),
        (
            patient(birthDate="1920"),
            operation("replace", "Patient.birthDate", {"valueDateTime": "1921"}),
            patient(birthDate="1921"),
        ),
        (
            patient(birthDate="1920", _birthDate=BIRTH),
            operation("replace", "Patient.birthDate", {"valueDate": "1921"}),
            patient(birthDate="1921"),
        ),
        (
            patient(birthDate="1920"),
            operation("replace", "Patient.birthDate", {"valueDate": "1921", "_valueDate": BIRTH}),
            patient(birthDate="1921", _birthDate=BIRTH),
        ),
        (
            patient(birthDate="1920"),
            operation(
                "add",
                "Patient.birthDate",
                {
                    "part": [
                        {"name": "url", "valueUri": "http://example.org/time"},
                        {"name": "value", "valueString": "noon"},
                    ]
                },
                name="extension",
            ),
            patient(birthDate="1920", _birthDate=BIRTH),
        ),
        (
            patient(birthDate="1920", _birthDate=BIRTH),
            operation("delete", "Patient.birthDate.extension[0]"),
            patient(birthDate="1920"),
        ),
        (
            patient(name=[{"given": ["A", "B", "C"], "_given": [None, BIRTH, None]}]),
            operation("delete", "Patient.name.given[0]"),
            patient(name=[{"given": ["B", "C"], "_given": [BIRTH, None]}]),
        ),
        (
            patient(name=[{"given": ["A", "B"], "_given": [None, BIRTH]}]),
            operation("move", "Patient.name.given", source=1, destination=0),
            patient(name=[{"given": ["B", "A"], "_given": [BIRTH, None]}]),
        ),
        (
            patient(name=[{"given": ["A", None], "_given": [None, BIRTH]}]),
            operation("delete", "Patient.name.given[1]"),
            patient(name=[{"given": ["A"]}]),
        ),
        (
            patient(name=[{"given": ["A", None], "_given": [None, BIRTH]}]),
            operation("delete", "Patient.name.given[1].extension"),
            patient(name=[{"given": ["A", None]}]),
        ),
        (
            patient(name=[{"given": ["A"]}]),
            operation("insert", "Patient.name.given", {"valueString": "B", "_valueString": BIRTH}, index=0),
            patient(name=[{"given": ["B", "A"], "_given": [BIRTH, None]}]),
        ),
        (
            patient(name=[{"given": ["A"]}], active=True),
            operation("delete", "Patient.name.given[0]"),
            patient(active=True),
        ),
        (
            patient(),
            operation(
                "add",
                "Patient",
                {
                    "part": [
                        {"name": "relationship", "valueCodeableConcept": {"text": "a"}},
                        {"name": "relationship", "valueCodeableConcept": {"text": "b"}},
                        {"name": "gender", "valueCode": "male"},
                        {"name": "name", "part": [{"name": "text", "valueString": "x"}]},
                    ]
                },
                name="contact",
            ),
            patient(
                contact=[{"relationship": [{"text": "a"}, {"text": "b"}], "gender": "male", "name": {"text": "x"}}]
            ),
        ),
        (
            patient(name=[{"family": "A"}]),
            operation("replace", "Patient.name[0]", {"valueHumanName": {"family": "B"}}),
            patient(name=[{"family": "B"}]),
        ),
        (
            patient(),
            operation("add", "Patient", {"resource": {"resourceType": "Device", "id": "d"}}, name="contained"),
            patient(contained=[{"resourceType": "Device", "id": "d"}]),
        ),
        (
            patient(extension=[{"url": "http://e", "valueString": "a"}]),
            operation("replace", "Patient.extension.where(url = 'http://e').value", {"valueInteger": 7}),
            patient(extension=[{"url": "http://e", "valueInteger": 7}]),
        ),
        (
            patient(text={"status": "empty", "div": "<div/>"}),
            operation("replace", "Patient.text.div", {"valueString": "<div>x</div>"}),
            patient(text={"status": "empty", "div": "<div>x</div>"}),
        ),
        (patient(active=True), operation("delete", "Patient.birthDate"), patient(active=True)),
        (
            {"resourceType": "Observation", "valueQuantity": {"value": 1}},
            operation("replace", "Observation.value", {"valueString": "a"}),
            {"resourceType": "Observation", "valueString": "a"},
        ),
    ],
)
def test_an_operation_changes_the_element_it_finds(
    before: dict[str, Any], change: dict[str, Any], after: dict[str, Any]
) -> None:
    """Choices under the name of their type, values with what stands beside them, and no element left empty."""
    assert patched(before, change) == after


@pytest.mark.parametrize(
    ("before", "change"),
    [
        (patient(), operation("add", "Patient", {"valueString": "x"}, name="nothing")),
        (patient(), operation("add", "Patient", {"valueString": "x"}, name="deceased")),
        (patient(birthDate="1920"), operation("add", "Patient", {"valueDate": "1921"}, name="birthDate")),
        (patient(_birthDate=BIRTH), operation("add", "Patient", {"valueDate": "1921"}, name="birthDate")),
        (
            patient(deceasedBoolean=True),
            operation("add", "Patient", {"valueDateTime": "1921"}, name="deceased"),
        ),
        (patient(), operation("add", "Patient", {"valueString": "x"}, name="name")),
        (patient(), operation("add", "Patient", {"valueHumanName": {"text": "x"}}, name="birthDate")),
        (patient(), operation("add", "Patient", {"part": [{"name": "no", "valueString": "x"}]}, name="contact")),
        (patient(), operation("add", "Patient", {"part": [{"name": "x", "valueString": "x"}]}, name="birthDate")),
        (
            patient(),
            operation(
                "add",
                "Patient",
                {"part": [{"name": "gender", "valueCode": "male"}, {"name": "gender", "valueCode": "male"}]},
                name="contact",
            ),
        ),
        (patient(), operation("add", "Patient.name", {"valueString": "x"}, name="family")),
        (
            patient(name=[{"family": "a"}, {"family": "b"}]),
            operation("replace", "Patient.name.family", {"valueString": "x"}),
        ),
        (patient(name=[{"family": "a"}, {"family": "b"}]), operation("delete", "Patient.name.family")),
        (patient(), operation("replace", "Patient.birthDate", {"valueDate": "1920"})),
        (patient(), operation("delete", "Patient")),
        (patient(active=True), operation("replace", "Patient.active.not()", {"valueBoolean": True})),
        (patient(name=[{}]), operation("insert", "Patient.name", {"valueHumanName": {"text": "x"}}, index=2)),
        (patient(name=[{"text": "a"}]), operation("insert", "Patient.name", {"valueHumanName": {}}, index=-1)),
        (patient(), operation("insert", "Patient.name", {"valueHumanName": {"text": "x"}}, index=0)),
        (
            patient(name=[{"use": "old", "text": "a"}, {"text": "b"}]),
            operation("move", "Patient.name.where(use = 'old')", source=0, destination=0),
        ),
        (patient(name=[{"text": "a"}]), operation("move", "Patient.name", source=0, destination=1)),
        (patient(birthDate="1920"), operation("move", "Patient.birthDate", source=0, destination=0)),
        (patient(birthDate="1920"), operation("replace", "Patient.birthDate / 0 + 'a'", {"valueDate": "1920"})),
    ],
)
def test_an_operation_that_does_not_fit_is_invalid_and_names_itself(
    before: dict[str, Any], change: dict[str, Any]
) -> None:
    """422: a wrong type, no element or several, no such place in a list."""
    with pytest.raises(Invalid) as refused:
        patched(before, operation("delete", "Patient.maritalStatus"), change)
    assert refused.value.issues[0].expression == "Parameters.parameter[1]"


@pytest.mark.parametrize(
    "change",
    [
        {"name": "operations", "part": []},
        {"name": "operation"},
        operation("change", "Patient.active"),
        operation("replace", "Patient.active"),
        operation("replace", "Patient.", {"valueBoolean": True}),
        operation("add", "Patient", {"valueBoolean": True, "valueString": "x"}, name="active"),
        operation("add", "Patient", {}, name="active"),
        operation("insert", "Patient.name", {"valueHumanName": {"text": "x"}}),
        operation("insert", "Patient.name", {"valueHumanName": {"text": "x"}}, index="0"),
        operation("move", "Patient.name", source=0),
        {
            "name": "operation",
            "part": [
                {"name": "type", "valueCode": "delete"},
                {"name": "path", "valueString": "Patient.name"},
                {"name": "path", "valueString": "Patient.active"},
            ],
        },
    ],
)
def test_what_is_no_operation_is_malformed(change: dict[str, Any]) -> None:
    """400."""
    with pytest.raises(Malformed):
        patched(patient(name=[{"text": "a"}], active=True), change)


def test_only_parameters_are_a_patch() -> None:
    """400 for any other resource."""
    with pytest.raises(Malformed):
        fhirpath_patch.apply(b"{}", b'{"resourceType":"Patient"}', DEFINITIONS)


def test_operations_see_what_those_before_them_have_made() -> None:
    """An element that was added can be found."""
    made = patched(
        patient(),
        operation("add", "Patient", {"valueHumanName": {"family": "A"}}, name="name"),
        operation("add", "Patient.name[0]", {"valueString": "B"}, name="given"),
        operation("insert", "Patient.name[0].given", {"valueString": "C"}, index=0),
        operation("replace", "Patient.name.where(family = 'A').given.where($this = 'B')", {"valueString": "D"}),
    )
    assert made == patient(name=[{"family": "A", "given": ["C", "D"]}])


def test_digits_stay_as_they_are_written() -> None:
    """Of what is there and of what comes."""
    body = b'{"resourceType":"Observation","referenceRange":[{"low":{"value":1.00}}],"valueQuantity":{"value":5.50}}'
    change = operation("replace", "Observation.value.value", {"valueDecimal": "@"})
    patch = orjson.dumps({"resourceType": "Parameters", "parameter": [change]}).replace(b'"@"', b"7.000")
    assert fhirpath_patch.apply(body, patch, DEFINITIONS) == body.replace(b"5.50", b"7.000")


def test_a_patch_that_visits_everything_again_and_again_is_stopped() -> None:
    """422, within about a second of work and not a minute of it."""
    many = patient(name=[{"family": str(number)} for number in range(2_000)])
    with pytest.raises(Invalid) as refused:
        patched(many, *[operation("delete", "Patient.descendants().where($this = 'x')")] * 1_000)
    assert refused.value.issues[0].code == "too-costly"
    with pytest.raises(Invalid):
        patched(patient(), *[operation("delete", "Patient.name")] * 1_001)
