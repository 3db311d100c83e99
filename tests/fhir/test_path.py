"""FHIRPath: every text is a tree or an error of its own, and every search expression of R4 becomes a closure."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.fhir.definitions import Definitions, load_definitions
from fhir_server.fhir.path import PathError, compile_path, parse
from fhir_server.fhir.path.tree import (
    Binary,
    Call,
    Constant,
    Empty,
    Item,
    Literal,
    Member,
    Special,
    TypeOperation,
    Unary,
)

OBSERVATION = {
    "resourceType": "Observation",
    "code": {"coding": [{"system": "http://loinc.org", "code": "85354-9"}, {"code": "bp"}], "text": "Tension"},
    "subject": {"reference": "Patient/1"},
    "effectiveDateTime": "2024-05-01",
    "component": [
        {"valueQuantity": {"value": 120}, "code": {"text": "systolic"}},
        {"valueString": "low", "code": {"text": "remark"}},
    ],
    "extension": [{"url": "http://x/e", "valueBoolean": True}, {"url": "http://x/f", "valueCode": "f"}],
}


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    return load_definitions()


def run(definitions: Definitions, text: str, focus: dict[str, Any] | None = None) -> list[Any]:
    resource = OBSERVATION if focus is None else focus
    return compile_path(text, definitions, resource["resourceType"]).run(resource)


def name(text: str) -> Member:
    return Member(None, text)


# From text to tree


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("Patient.name", Member(name("Patient"), "name")),
        ("a.where(b = 'c')", Call(name("a"), "where", (Binary("=", name("b"), Literal("string", "c")),))),
        ("a[0].b", Member(Item(name("a"), Literal("integer", 0)), "b")),
        ("(a as Quantity)", TypeOperation("as", name("a"), "Quantity")),
        ("a is FHIR.Patient", TypeOperation("is", name("a"), "FHIR.Patient")),
        ("$this", Special("this")),
        ("%resource.id", Member(Constant("resource"), "id")),
        ("%'vs-name'", Constant("vs-name")),
        ("{}", Empty()),
        ("-1.50", Unary("-", Literal("decimal", Decimal("1.50")))),
        ("true", Literal("boolean", True)),
        ("@2024-05-01", Literal("date", "2024-05-01")),
        ("@2024-05-01T10:00:00Z", Literal("dateTime", "2024-05-01T10:00:00Z")),
        ("@T10:30", Literal("time", "10:30")),
        ("4 days", Literal("quantity", (Decimal(4), "days"))),
        ("5.4 'mg'", Literal("quantity", (Decimal("5.4"), "mg"))),
        ("`div`.contains", Member(name("div"), "contains")),
        (r"'a\'b\u00e9\n'", Literal("string", "a'bé\n")),
        ("a // of two\n | b /* both */", Binary("|", name("a"), name("b"))),
        ("today()", Call(None, "today")),
    ],
)
def test_every_form_of_the_grammar_has_its_tree(text: str, tree: object) -> None:
    """Literals, names, calls, indexers, types, constants and comments."""
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("a and b or c", "(a and b) or c"),
        ("a or b and c", "a or (b and c)"),
        ("a implies b or c", "a implies (b or c)"),
        ("a = b and c = d", "(a = b) and (c = d)"),
        ("a < b = c", "(a < b) = c"),
        ("a | b = c", "(a | b) = c"),
        ("a as X | b", "(a as X) | b"),
        ("a + b as X", "(a + b) as X"),
        ("a + b * c", "a + (b * c)"),
        ("a - b - c", "(a - b) - c"),
        ("-a.b + c", "(-(a.b)) + c"),
        ("a in b.c and d", "(a in (b.c)) and d"),
        ("a.b is X and c", "((a.b) is X) and c"),
    ],
)
def test_operators_bind_as_fhirpath_says(text: str, same: str) -> None:
    """The precedence table of FHIRPath N1, equal ones from left to right."""
    assert parse(text) == parse(same)


@pytest.mark.parametrize(
    "text",
    [
     "", "a.", "a..b", ".a", "a b", "(a", "a)", "a[", "a[0", "f(a,)", "'a", r"'\q'", "a = ", "and", "a.and", "#",
     "a.$this", "@20", "1.2.3", "a is", "a is 'x'", "%", "$that", "{a}", "a as (X)"],
)  # fmt: skip
def test_what_is_not_fhirpath_is_refused(text: str) -> None:
    """With an error that names the place."""
    with pytest.raises(PathError):
        parse(text)


def test_depth_is_bounded(definitions: Definitions) -> None:
    """Neither parentheses nor signs nor a long path exhaust the stack."""
    for text in ("(" * 5000 + "a" + ")" * 5000, "-" * 5000 + "a", "f(" * 5000):
        with pytest.raises(PathError, match="deeper"):
            parse(text)
    with pytest.raises(PathError):
        compile_path("Observation" + ".value" * 5000, definitions, "Observation")


WORDS = st.sampled_from([
    "Patient", "name", ".", "(", ")", "[", "]", "{", "}", "|", "and", "as", "is", "=", "'x'", "@2024", "1", "-", ",",
    "where", "$this", "%a", "`b`", " ", "'", "`", "\\", "//", "/*", "in", "div", "resolve()", "ofType(", "exists()",
])  # fmt: skip


@given(st.one_of(st.text(), st.lists(WORDS).map("".join)))
def test_any_text_is_a_tree_or_a_path_error(text: str) -> None:
    """Nothing else is raised, whatever the text."""
    try:
        parse(text)
    except PathError:
        return


@given(st.lists(WORDS).map("".join))
def test_any_text_compiles_or_is_a_path_error(definitions: Definitions, text: str) -> None:
    """Compiling raises nothing else either, and what compiles runs."""
    try:
        path = compile_path(text, definitions, "Patient")
    except PathError:
        return
    assert isinstance(path.run({"resourceType": "Patient", "name": [{"family": "x"}]}), list)


# From tree to closure


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("Observation.code.coding.code", ["85354-9", "bp"]),
        ("code.text", ["Tension"]),
        ("Observation.effective.as(dateTime)", ["2024-05-01"]),
        ("Observation.effective", [("dateTime", "2024-05-01")]),
        ("(Observation.effective as Period)", []),
        ("Observation.component.value", [("Quantity", {"value": 120}), ("string", "low")]),
        ("(Observation.component.value as Quantity).value", [120]),
        ("Observation.component.value.ofType(string)", ["low"]),
        ("Observation.component[1].code.text", ["remark"]),
        ("Observation.component[7].code.text", []),
        ("Observation.component.where(code.text = 'systolic').value.ofType(Quantity).value", [120]),
        ("Observation.subject.where(resolve() is Patient)", [{"reference": "Patient/1"}]),
        ("Observation.subject.where(resolve() is Group)", []),
        ("Observation.extension('http://x/e').value.ofType(boolean)", [True]),
        ("Observation.hasExtension('http://x/g')", [False]),
        ("extension.exists(url='http://x/e' and value=true)", [True]),
        ("extension.exists(url='http://x/f' and value=true)", [False]),
        ("Observation.code.text | Observation.component.code.text", ["Tension", "systolic", "remark"]),
        ("Observation.code.text | Observation.code.text", ["Tension"]),
        ("Patient.name | Observation.code.text", ["Tension"]),
        ("Patient.name", []),
        ("Resource.id | DomainResource.extension.url", [("uri", "http://x/e"), ("uri", "http://x/f")]),
        ("Observation.value.exists() and Observation.value != 1", [False]),
        ("Observation.code.exists() or Observation.value.exists()", [True]),
        ("Observation.value.exists() or Observation.note.exists()", [False]),
        ("Observation.status = 'final' and Observation.code.exists()", []),
        ("Observation.code.as(CodeableConcept).text", ["Tension"]),
        ("Observation.effective is dateTime", [True]),
        ("Observation.effective is Period", [False]),
        ("Observation.code is CodeableConcept", [True]),
        ("Observation.component.value.value", [120]),
        ("'x'", ["x"]),
        ("$this.code.text", ["Tension"]),
    ],
)  # fmt: skip
def test_expressions_give_what_is_there(definitions: Definitions, text: str, items: list[Any]) -> None:
    """Elements, choices, types, filters, unions and conditions."""
    assert run(definitions, text) == items


def test_items_of_several_types_go_each_its_own_way(definitions: Definitions) -> None:
    """Types without the element lead nowhere; what comes out is told by its type again."""
    values = [{"valueQuantity": {"value": 1}}, {"valueIdentifier": {"value": "a"}}, {"valueString": "b"}, "no element"]
    patient = {"resourceType": "Patient", "extension": values}
    assert run(definitions, "Patient.extension.value.value", patient) == [("decimal", 1), ("string", "a")]
    assert run(definitions, "Patient.extension.value.value.ofType(string)", patient) == ["a"]
    assert run(definitions, "(Patient.extension.value as FHIR.Identifier).value", patient) == ["a"]
    assert run(definitions, "Patient.extension.value.ofType(FHIR.Identifier).value", patient) == ["a"]
    assert run(definitions, "Patient.extension.where(value is string).value.ofType(boolean)", patient) == []
    # An Age is a Quantity too: which of them it is, the type beside the value tells.
    amounts = [("Quantity", {"value": 1})]
    assert run(definitions, "Patient.extension.value.ofType(Quantity)", patient) == amounts
    twice = "(Patient.extension.value | Patient.extension.value).ofType(Quantity)"
    assert run(definitions, twice, patient) == amounts


def test_a_union_gives_equal_items_once_wherever_they_come_from(definitions: Definitions) -> None:
    """Across its two sides and within one."""
    patient = {"resourceType": "Patient", "name": [{"family": "A", "text": "B"}, {"family": "A"}]}
    assert run(definitions, "Patient.name.family | Patient.name.text", patient) == ["A", "B"]
    assert run(definitions, "Patient.name.family | Patient.name.suffix", patient) == ["A"]
    assert run(definitions, "Patient.name.family", patient) == ["A", "A"]


def test_a_specialisation_is_of_its_general_type(definitions: Definitions) -> None:
    """An Age is a Quantity, a Patient a Resource; the reverse does not hold."""
    condition = {"resourceType": "Condition", "onsetAge": {"value": 4}}
    assert run(definitions, "Condition.onset.as(Age)", condition) == [{"value": 4}]
    assert run(definitions, "Condition.onset.as(Quantity)", condition) == [{"value": 4}]
    assert run(definitions, "Condition.onset.ofType(Period)", condition) == []


def test_resources_inside_resources_are_told_apart_by_their_own_word(definitions: Definitions) -> None:
    """`resourceType` decides, for entries of a Bundle and contained resources."""
    entries = [{"resource": {"resourceType": kind, "id": kind.lower()}} for kind in ("Composition", "Patient")]
    bundle = {"resourceType": "Bundle", "entry": entries}
    assert run(definitions, "Bundle.entry[0].resource", bundle) == [entries[0]["resource"]]
    assert run(definitions, "Bundle.entry.resource.ofType(Patient).id", bundle) == ["patient"]
    assert run(definitions, "Bundle.entry[0].resource is Composition", bundle) == [True]
    assert run(definitions, "Bundle.entry[1].resource is Composition", bundle) == [False]


@pytest.mark.parametrize(
    ("reference", "is_patient"),
    [
        ({"reference": "Patient/1"}, True),
        ({"reference": "Patient/1/_history/2"}, True),
        ({"reference": "http://elsewhere/fhir/Patient/1"}, True),
        ({"reference": "Group/1"}, False),
        ({"reference": "Group/1", "type": "Patient"}, False),
        ({"reference": "PatientX/1"}, False),
        ({"reference": "urn:uuid:1-2", "type": "Patient"}, True),
        ({"reference": "urn:uuid:1-2"}, False),
        ({"reference": "#p", "type": "Patient"}, True),
        ({"identifier": {"value": "1"}, "type": "Patient"}, True),
        ({"identifier": {"value": "1"}}, False),
        ({"reference": 7}, False),
    ],
)
def test_a_reference_says_by_itself_what_it_leads_to(
    definitions: Definitions, reference: Any, is_patient: bool
) -> None:
    """`resolve() is Patient` by the url, else by Reference.type; nothing is fetched and nothing raised."""
    found = run(
        definitions,
        "Observation.subject.where(resolve() is Patient).exists()",
        {"resourceType": "Observation", "subject": reference},
    )
    assert found == [is_patient]


@pytest.mark.parametrize(
    "text",
    [
        "Observation.colour",
        "Observation.code.colour",
        "Observation.value.colour",
        "Colour.code",
        "Observation.value as Colour",
        "Observation.value as Money",
        "Observation.code.ofType(Quantity)",
        "Observation.status.extension",
        "Observation.status.code",
        "Observation.subject.resolve().name",
        "Observation.subject.resolve() as Patient",
        "Observation.component.count()",
        "Observation.component.first()",
        "Observation.component[code]",
        "Observation.code.where(text)",
        "Observation.code.text and true",
        "Observation.value + 1",
        "%resource",
        "{}",
        "$index",
        "@2024",
        "Observation.value.ofType('x')",
        "Observation.extension(url)",
        "-1",
    ],
)
def test_what_is_not_built_is_an_error_before_it_runs(definitions: Definitions, text: str) -> None:
    """A misspelt element, an unknown type or an unbuilt function never yields a silent nothing."""
    with pytest.raises(PathError):
        compile_path(text, definitions, "Observation")


def test_every_search_expression_of_r4_compiles_for_each_of_its_types(definitions: Definitions) -> None:
    """All of them: 1,372 parameters in 2,573 places, none of which could only yield nothing."""
    compiled = {
        (resource_type, code): compile_path(parameter.expression, definitions, resource_type)
        for resource_type in definitions.resource_types
        for code, parameter in definitions.search_parameters(resource_type).items()
        if parameter.expression
    }
    assert len(compiled) == 2573
    assert all(path.types for path in compiled.values())
    known = [each for each in definitions.search_parameters_by_id.values() if each.expression]
    assert len(known) == 1372


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["code", "coding", "subject", "reference", "valueQuantity", "component", "value", "url"]),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(JSON)
def test_no_shape_of_json_makes_a_closure_raise(definitions: Definitions, value: Any) -> None:
    """What R4 does not allow is passed over: validation speaks of it, not the index."""
    resource = {**(value if isinstance(value, dict) else {}), "resourceType": "Observation"}
    for code in ("code", "combo-value-quantity", "patient", "date", "value-string", "_tag"):
        expression = definitions.search_parameters("Observation")[code].expression
        assert isinstance(compile_path(expression, definitions, "Observation").run(resource), list)
