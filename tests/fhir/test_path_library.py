"""Functions of FHIRPath that no invariant of R4 uses and every client may: texts, patterns, codes, resources."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.fhir.definitions import Definitions, load_definitions
from fhir_server.fhir.path import PathError, compile_expression
from fhir_server.fhir.path.values import atom

OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]},
    "subject": {"reference": "#p"},
    "contained": [{"resourceType": "Patient", "id": "p"}],
    "modifierExtension": [{"url": "http://x/not"}],
    "referenceRange": [
        {"appliesTo": [{"coding": [{"system": "http://hl7.org/fhir/administrative-gender", "code": "female"}]}]}
    ],
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml"><p>x</p></div>'},
}
BUNDLE: dict[str, Any] = {
    "resourceType": "Bundle",
    "type": "collection",
    "entry": [
        {"fullUrl": "urn:uuid:1", "resource": {**OBSERVATION, "id": "o", "focus": [{"reference": "Patient/q"}]}},
        {"fullUrl": "http://x/Patient/q", "resource": {"resourceType": "Patient", "id": "q", "gender": "male"}},
    ],
}
GENDERS = "http://hl7.org/fhir/ValueSet/administrative-gender"


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    return load_definitions()


def values(definitions: Definitions, text: str, resource: dict[str, Any]) -> list[Any]:
    return [atom(node) for node in compile_expression(text, definitions).evaluate(resource)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        # Texts.
        ("'\\u00e9t\\u00e9'.encode('hex')", ["c3a974c3a9"]),
        ("'c3a9'.decode('hex')", ["é"]),
        ("'xyz'.decode('hex')", []),
        ("'a?>'.encode('urlbase64').decode('urlbase64')", ["a?>"]),
        ("'<a & b>'.escape('html')", ["&lt;a &amp; b&gt;"]),
        ("'&lt;a&gt;'.unescape('html')", ["<a>"]),
        ("'a\"b'.escape('json')", ['a\\"b']),
        ("'a\\\\u0041\\\\n\\\\\\\\'.unescape('json')", ["aA\n\\"]),
        # Patterns, which run in time proportional to the text.
        ("'abc'.matches('^a.c$')", [True]),
        ("'xabc'.matches('^abc')", [False]),
        ("'a cat'.matches('\\\\bcat\\\\b')", [True]),
        ("'concat'.matches('\\\\bcat')", [False]),
        ("'concat'.matches('\\\\Bcat')", [True]),
        ("'É'.matches('\\\\p{Lu}')", [True]),
        ("'é'.matches('\\\\P{Lu}')", [True]),
        ("'A'.matches('\\\\x41') and 'A'.matches('\\\\u0041')", [True]),
        ("'b'.matches('[a-c]') and 'd'.matches('[^a-c]')", [True]),
        ("'-'.matches('[a-]')", [True]),
        ("'2026-05'.replaceMatches('(\\\\d+)-(\\\\d+)', '$2/$1')", ["05/2026"]),
        ("'5 EUR'.replaceMatches('EUR', '\\\\$')", ["5 $"]),
        # Codes, types and what lies inside.
        (f"Observation.referenceRange.appliesTo.memberOf('{GENDERS}')", [True]),
        (f"Observation.code.memberOf('{GENDERS}')", [False]),
        (f"'male'.memberOf('{GENDERS}')", [True]),
        (f"Observation.value.memberOf('{GENDERS}')", []),
        ("Observation.conformsTo('http://hl7.org/fhir/StructureDefinition/Observation')", [True]),
        ("Observation.conformsTo('http://hl7.org/fhir/StructureDefinition/Patient')", [False]),
        ("Observation.value.conformsTo('http://hl7.org/fhir/StructureDefinition/Patient')", []),
        ("Observation.subject.resolve().id", ["p"]),
        ("Observation.checkModifiers('http://x/not').status", ["final"]),
        ("Observation.status.trace('to nowhere')", ["final"]),
        ("Observation.text.`div`.htmlChecks()", [True]),
    ],
)
def test_a_function_gives_what_the_language_says(definitions: Definitions, text: str, found: list[Any]) -> None:
    """https://hl7.org/fhirpath and https://hl7.org/fhir/R4/fhirpath.html#functions."""
    assert values(definitions, text, OBSERVATION) == found


@pytest.mark.parametrize(
    "text",
    [
        "'a'.encode('rot13')",
        "'a'.escape('sql')",
        "'a'.matches('[b-a]')",
        "'a'.matches('a{3,1}')",
        "'a'.matches('\\\\q')",
        "'a'.matches('\\\\u00')",
        "'a'.matches('\\\\p{Lu')",
        "'a'.matches('a)')",
        "'a'.matches('[a')",
        "'a'.replaceMatches('a', '$9')",
        "Observation.checkModifiers('http://x/other')",
        "Observation.conformsTo('http://example.org/profile')",
        "Observation.code.memberOf('http://example.org/ValueSet/x')",
    ],
)
def test_what_cannot_be_answered_is_an_error_and_never_a_guess(definitions: Definitions, text: str) -> None:
    """An unknown profile is neither conformed to nor not."""
    with pytest.raises(PathError):
        values(definitions, text, OBSERVATION)


def test_a_reference_is_resolved_inside_its_bundle(definitions: Definitions) -> None:
    """By fullUrl, or by type and id; what is outside stays there."""
    assert values(definitions, "Bundle.entry[0].resource.focus.resolve().gender", BUNDLE) == ["male"]
    assert values(definitions, "'http://x/Patient/q'.resolve().gender", BUNDLE) == ["male"]
    assert values(definitions, "'Patient/elsewhere'.resolve()", BUNDLE) == []
