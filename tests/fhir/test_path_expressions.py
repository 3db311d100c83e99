"""All of FHIRPath on resources: places, types, dates, quantities, references; and what another engine says."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.fhir.definitions import Definitions, load_definitions
from fhir_server.fhir.path import Budget, Node, PathError, compile_expression
from fhir_server.fhir.path.conversions import to_text
from fhir_server.fhir.path.values import atom

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p",
    "birthDate": "1974-12-25",
    "_birthDate": {"id": "b", "extension": [{"url": "http://x/time", "valueDateTime": "1974-12-25T14:35:45-05:00"}]},
    "active": True,
    "name": [
        {"use": "official", "family": "Chalmers", "given": ["Peter", "James"], "_given": [None, {"id": "g"}]},
        {"use": "usual", "given": ["Jim", None], "_given": [None, {"extension": [{"url": "http://x/unknown"}]}]},
    ],
    "deceasedBoolean": False,
    "multipleBirthInteger": 2,
    "contact": [{"name": {"family": "du Marché"}}],
    "contained": [{"resourceType": "Organization", "id": "o", "name": "Org"}],
    "managingOrganization": {"reference": "#o"},
    "extension": [
        {"url": "http://x/weight", "valueQuantity": {"value": Decimal("1.50"), "code": "kg",
                                                     "system": "http://unitsofmeasure.org"}},
        {"url": "http://x/age", "valueAge": {"value": 4}},
    ],
}  # fmt: skip


DEFINITIONS = load_definitions()


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    return DEFINITIONS


def nodes(definitions: Definitions, text: str, resource: dict[str, Any] = PATIENT, **more: Any) -> list[Node]:
    return compile_expression(text, definitions).evaluate(resource, **more)


def texts(definitions: Definitions, text: str, resource: dict[str, Any] = PATIENT, **more: Any) -> list[str]:
    return [
        to_text(value) if (value := atom(node)) is not None else "?"
        for node in nodes(definitions, text, resource, **more)
    ]


# Where a result stands in its tree


@pytest.mark.parametrize(("text", "owner", "name", "index"), [
    ("birthDate", PATIENT, "birthDate", None),
    ("name[1]", PATIENT, "name", 1),
    ("name.given[1]", PATIENT["name"][0], "given", 1),
    ("name.where(use = 'usual').given.first()", PATIENT["name"][1], "given", 0),
    ("multipleBirth", PATIENT, "multipleBirthInteger", None),
    ("extension('http://x/age').value", PATIENT["extension"][1], "valueAge", None),
    ("birthDate.extension.first().value", PATIENT["_birthDate"]["extension"][0], "valueDateTime", None),
    ("birthDate.id", PATIENT["_birthDate"], "id", None),
    ("contained.name", PATIENT["contained"][0], "name", None),
    ("managingOrganization.resolve()", PATIENT, "contained", 0),
    ("descendants().where($this = 'James')", PATIENT["name"][0], "given", 1),
    ("name.given[3]", PATIENT["name"][1], "given", 1),
])  # fmt: skip
def test_a_result_knows_its_place(
    definitions: Definitions, text: str, owner: dict[str, Any], name: str, index: int | None
) -> None:
    """The very dict that holds it, the JSON property, the position in the array."""
    (node,) = nodes(definitions, text)
    assert node.owner is owner
    assert (node.name, node.index) == (name, index)


def test_a_resource_and_what_is_computed_have_no_place(definitions: Definitions) -> None:
    """There is nothing that holds them."""
    assert [node.owner for node in nodes(definitions, "Patient")] == [None]
    assert [node.owner for node in nodes(definitions, "1 + 1")] == [None]


def test_a_value_that_is_missing_is_an_element_all_the_same(definitions: Definitions) -> None:
    """`null` beside an extension: there, without value."""
    assert texts(definitions, "name.given") == ["Peter", "James", "Jim", "?"]
    assert texts(definitions, "name.given.select(hasValue())") == ["true", "true", "true", "false"]
    assert texts(definitions, "name.given.extension('http://x/unknown').exists()") == ["true"]
    assert texts(definitions, "name.given[3].exists() and name.given[3].getValue().empty()") == ["true"]


# Types


@pytest.mark.parametrize(("text", "types"), [
    ("Patient", ["Patient"]),
    ("birthDate | active | name.use", ["date", "boolean", "code", "code"]),
    ("contact", ["Patient.contact"]),
    ("multipleBirth", ["integer"]),
    ("extension.value", ["Quantity", "Age"]),
    ("contained", ["Organization"]),
    ("1 | 1.5 | 'a' | true | @2023 | @2024T | @T10 | 1 'mg'", [
        "System.Integer", "System.Decimal", "System.String", "System.Boolean", "System.Date", "System.DateTime",
        "System.Time", "System.Quantity"]),
    ("today() | now() | timeOfDay()", ["System.Date", "System.DateTime", "System.Time"]),
    ("birthDate.getValue()", ["System.Date"]),
])  # fmt: skip
def test_types_are_those_of_the_definitions(definitions: Definitions, text: str, types: list[str]) -> None:
    """Of FHIR for what stands in the resource, of FHIRPath for what is computed."""
    assert [node.type for node in nodes(definitions, text)] == types


TRUE = """
Patient is Patient; Patient is DomainResource; Patient is FHIR.Resource; (Patient is Observation).not()
name.use.first() is code; name.use.first() is string; (name.use.first() is id).not(); (active is Boolean).not()
extension.value.ofType(Quantity).count() = 2; extension.value.ofType(Age).count() = 1; (1).is(System.Integer)
name.first().type().name = 'HumanName'; 1.type().namespace = 'System'
birthDate.is(date) and birthDate.is(dateTime).not()
contained.first() is Organization; managingOrganization.resolve() is Organization
managingOrganization.resolve().name = 'Org'; %resource.id = 'p'; %rootResource.id = 'p'; %context.id = 'p'
%`vs-administrative-gender` = 'http://hl7.org/fhir/ValueSet/administrative-gender'; %ucum.startsWith('http')
name.use.first().memberOf('http://hl7.org/fhir/ValueSet/name-use'); checkModifiers('http://x').id = 'p'
conformsTo('http://hl7.org/fhir/StructureDefinition/Patient')
name.given.where($index = 1) = 'James'; name.select($index).last() = 1; (1 | 2 | 3).aggregate($this + $total, 0) = 6
name.repeat(given).count() = 4; (3 | 1 | 2).sort() = (1 | 2 | 3); (3 | 1 | 2).sort(-$this).first() = 3
name.sort(family).first().use = 'usual'; {}.sort().empty()
iif(active, 'a', 1 / 'x') = 'a'; iif({}, 1).empty(); name.exists(use = 'usual'); name.all(given.exists())
(true | false).anyTrue(); (true | false).allTrue().not(); name.given.take(2).isDistinct(); {}.allTrue()
(1 | 2).subsetOf(1 | 2 | 3); (1 | 2 | 3).supersetOf(2); (1 | 2).intersect(2 | 3) = 2; (1 | 2).exclude(2) = 1
1.combine(1).count() = 2; 1.union(1).count() = 1; (1 | 2 | 3).tail().first() = 2; (1 | 2 | 3).skip(2) = 3
({} and false) = false; (true or {}) = true; (true and {}).empty(); ({} implies true) = true; (false implies {}) = true
(true xor {}).empty(); ({} = 1).empty(); {} ~ {}; (1 ~ {}) = false; (1 | 2) ~ (2 | 1); (1 | 2) != (2 | 1)
'ABC  d' ~ 'abc D'; 1.001 ~ 1; (1.001 ~ 1.0010001) = true; ('a' = 1) = false; 1 = 1.0; 'a' < 'b'; 2 in (1 | 2)
1.5 + 1 = 2.5; 'a' + 'b' = 'ab'; 'a' & {} = 'a'; 7 div 2 = 3; -7 div 2 = -3; 7 mod 2 = 1; 1 / 4 = 0.25
(1 / 0).empty(); (2147483647 + 1).empty(); 2 + 3 * 4 = 14; -(1) = -1; (1 | 2).count() + 1 = 3
(-1.5).abs() = 1.5; 1.2.ceiling() = 2; (-1.2).floor() = -2; (-1.7).truncate() = -1; 2.5.round() = 3; 0.exp() = 1
8.log(2) = 3; 2.power(10) = 1024; 4.sqrt() = 2; (-1).sqrt().empty(); 1.ln() = 0; 3.14159.round(2) = 3.14
'abc'.length() = 3; 'abc'.substring(1, 1) = 'b'; 'abc'.substring(3).empty(); 'abc'.indexOf('c') = 2
'abcabc'.lastIndexOf('b') = 4; 'abc'.upper() = 'ABC'; 'abc'.contains('b'); 'abc'.startsWith(''); ' a '.trim() = 'a'
'a,b'.split(',') = ('a' | 'b'); ('a' | 'b').join('-') = 'a-b'; 'ab'.toChars().count() = 2; 'aXa'.replace('a', '') = 'X'
'2024-05'.matches('^\\\\d{4}-\\\\d\\\\d$'); 'abc'.matches('b'); 'abc'.matchesFull('b').not()
'a.b'.replaceMatches('\\\\.', '-') = 'a-b'
'John Doe'.replaceMatches('(\\\\w+) (\\\\w+)', '$2, $1') = 'Doe, John'; 'aaa'.replaceMatches('a*?', 'x') = 'xaxaxax'
'ab12'.matches('[^a-z0-9]').not(); 'é'.matches('\\\\p{L}'); 'a\\nb'.matches('a.b'); 'x' .matches('x{2}').not()
'test'.encode('base64') = 'dGVzdA=='; '74657374'.decode('hex') = 'test'; '<'.escape('html') = '&lt;'
'1'.toInteger() = 1; '1.5'.toInteger().empty(); 'yes'.toBoolean(); '1.50'.toDecimal().toString() = '1.50'
true.toInteger() = 1; '2024-05'.toDate() = @2024-05; '10:30'.toTime() = @T10:30; '4 days'.toQuantity() = 4 days
(1 'kg').toQuantity('g') = 1000 'g'; (1 'kg').toQuantity('m').empty(); 'x'.convertsToDate().not()
1.toString() = '1'; @2024-05-01T10:00:00.50+02:00.toString() = '2024-05-01T10:00:00.50+02:00'
1 day.toString() = '1 day'
@2024-05 = @2024-05; (@2024 = @2024-05).empty()
(@2024 < @2024-05).empty(); @2023 < @2024-05; @2024-05-01 != @2024-05-02
@2024-05-01T10:00:00Z = @2024-05-01T12:00:00+02:00; (@2024-05-01T10:00:00Z = @2024-05-01T10:00:00).empty()
@2024-05-01T10:00:00Z < @2024-05-04T10:00:00; @2024-05-01T10:00 ~ @2024-05-01T10:00; (@2024 ~ @2024-05) = false
@2024-01-31 + 1 month = @2024-02-29
@2024-02-29 + 1 year = @2025-02-28; @2024-05 + 40 days = @2024-06
@2024-05-01T23:30:00Z + 45 minutes = @2024-05-02T00:15:00Z; @T23:30 + 1 hour = @T00:30; @2024 - 13 months = @2023
@2024-05-01 - 1 'd' = @2024-04-30
(@9999-12-31 + 1 day).empty(); @2024-05-01T10:00:00.0Z + 1.5 seconds = @2024-05-01T10:00:01.5Z
@2024.lowBoundary() = @2024-01-01; @2024-02.highBoundary() = @2024-02-29; 1.5.lowBoundary(2) = 1.45; 1.5.precision() = 1
@T10:30.highBoundary() = @T10:30:59.999; @2024.precision() = 4; (1 'cm').comparable(1 'km')
1 'kg' = 1000 'g'; 1 'kg' > 999 'g'; (1 'kg' = 1 'm').empty()
7 days = 1 week; 1 year = 12 months; (1 year = 1 'a').empty()
1 year ~ 1 'a'; 2 'm' * 3 'm' = 6 'm2'; 6 'm' / 2 's' = 3 'm/s'; 1 'kg' + 500 'g' = 1.5 'kg'; 4 'mg' = 4 'mg'
extension('http://x/weight').value = 1500 'g'; extension('http://x/weight').value.value.toString() = '1.50'
trace('a').id = 'p'; name.trace('a', given).count() = 2; text.`div`.htmlChecks()
"""


@pytest.mark.parametrize("text", [text for line in TRUE.strip().splitlines() for text in line.split("; ")])
def test_what_fhirpath_says_is_true(definitions: Definitions, text: str) -> None:
    """The three values, types, collections, strings, numbers, dates and quantities."""
    assert texts(definitions, text) == ["true"]


@pytest.mark.parametrize("text", [
    "name.single()", "1 + 'a'", "'a' - 'b'", "-'a'", "name < 1", "true < false",
    "@2024 + 1", "@2024 + 1 'mo'", "@2024 < @T10", "(1 | 2) < 1", "(1 | 2).not()", "(name | id) is Patient",
    "name.as(HumanName)", "iif('a', 1)", "'a'.substring('b')", "1.startsWith('a')", "name.first().upper()",
    "'a'.matches('(')", "'a'.matches('a{2,1}')", "'a'.encode('x')", "name['a']", "(1 | 2).toString()", "%nothing",
    "nothing()", "count(1)", "name is Nothing", "ofType(1)", "1.5.round(-1)", "conformsTo('http://x')",
    "name.use.first().memberOf('http://x')", "'a' & 1", "(1|'a').allTrue()", "1.comparable(2)", "@2024-02-30",
    "active.lowBoundary()", "(true).abs()",
])  # fmt: skip
def test_what_is_an_error_is_a_path_error(definitions: Definitions, text: str) -> None:
    """While compiling or while it runs, never another exception and never a silent nothing."""
    with pytest.raises(PathError):
        nodes(definitions, text)


@pytest.mark.parametrize("text", [
    "nme", "name.familly", "name.valueString", "multipleBirthInteger", "Observation.status", "name.given.family",
    "contact.name.first().telecom", "birthDate.startsWith('1').foo", "name.where(famly = 'a')",
    "managingOrganization.startsWith('a')",
])  # fmt: skip
def test_with_a_focus_a_misspelt_element_is_an_error_before_it_runs(definitions: Definitions, text: str) -> None:
    """The types are followed as far as they are known."""
    with pytest.raises(PathError):
        compile_expression(text, definitions, "Patient")


def test_variables_and_the_clock_come_from_the_caller(definitions: Definitions) -> None:
    """`%name` of a value, a node or several; one `now()` for the whole evaluation."""
    now = datetime(2024, 5, 1, 23, 30, 15, 250_000, tzinfo=timezone(timedelta(hours=2)))
    variables = {"a": 1, "b": [1, 2], "n": nodes(definitions, "name[0]")[0]}
    assert texts(definitions, "%a + %b.count()", variables=variables) == ["3"]
    assert texts(definitions, "%n.family", variables=variables) == ["Chalmers"]
    assert texts(definitions, "now()", now=now) == ["2024-05-01T23:30:15.250+02:00"]
    assert texts(definitions, "today() | timeOfDay()", now=now) == ["2024-05-01", "23:30:15.250"]
    assert texts(definitions, "now() = now()") == ["true"]
    assert nodes(definitions, "now()")[0].value.fields[0] == datetime.now(UTC).year


def test_a_focus_and_a_container_can_be_given(definitions: Definitions) -> None:
    """As for an invariant of a backbone element of a contained resource."""
    contained = PATIENT["contained"][0]
    focus = nodes(definitions, "Patient.contact")[0]
    assert texts(definitions, "name.family | %resource.id | %context.name.family", focus=focus) == ["du Marché", "p"]
    assert texts(definitions, "%rootResource.id | %resource.id", contained, root=PATIENT) == ["p", "o"]


def test_entries_of_a_bundle_resolve_by_their_url_or_type_and_id(definitions: Definitions) -> None:
    """Nothing is fetched: what is not there is not found."""
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [
        {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient", "id": "a"}},
        {"fullUrl": "http://x/Patient/b", "resource": {"resourceType": "Patient", "id": "b"}},
        {"resource": {"resourceType": "Group", "id": "g", "type": "person", "actual": True, "member": [
            {"entity": {"reference": reference}} for reference in
            ("urn:uuid:1", "http://x/Patient/b", "Patient/b", "Patient/c", "urn:uuid:2", "#x")]}}]}  # fmt: skip
    assert texts(definitions, "entry.resource.member.entity.resolve().id", bundle) == ["a", "b", "b"]


def test_a_budget_is_shared_by_evaluations(definitions: Definitions) -> None:
    """What one has spent the next has not."""
    expression, budget = compile_expression("descendants().count()", definitions), Budget()
    before = budget.left
    assert expression.evaluate(PATIENT, budget=budget)
    budget = Budget((before - budget.left) * 3 // 2)
    assert expression.evaluate(PATIENT, budget=budget)
    with pytest.raises(PathError, match="work"):
        expression.evaluate(PATIENT, budget=budget)


# Another engine


# The other engine takes the companion of a primitive value for one more value.
PLAIN: dict[str, Any] = {
    **{key: value for key, value in PATIENT.items() if key not in ("_birthDate", "extension")},
    "name": [
        {"use": "official", "family": "Chalmers", "given": ["Peter", "James"]},
        {"use": "usual", "given": ["Jim"]},
    ],
}


def other(text: str) -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import fhirpathpy
        from fhirpathpy.models import models
    found: list[Any] = fhirpathpy.evaluate(PLAIN, text, {}, models["r4"])
    return found


NUMBER = st.integers(-20, 20).map(lambda number: f"({number})")
STRING = st.sampled_from(["'a'", "'abc'", "name.family", "id", "name[1].use"])
BOOLEAN = st.sampled_from(["true", "false", "{}", "active", "name.exists()", "deceased"])
MANY = st.sampled_from(["name.given.take(3)", "name.use", "(1 | 2 | 3)", "name", "{}", "name[0].given", "contact.name"])


def joined(*parts: Any) -> Any:
    return st.tuples(*parts).map(lambda each: "(" + " ".join(each) + ")")


NUMBERS = st.recursive(
    NUMBER, lambda inner: joined(inner, st.sampled_from(["+", "-", "*"]), inner) | inner.map("{}.abs()".format)
)
STRINGS = st.recursive(
    STRING,
    lambda inner: (
        joined(inner, st.just("&"), inner)
        | st.tuples(inner, st.sampled_from([".upper()", ".lower()", ".substring(1)", ".replace('a', 'b')"])).map(
            "".join
        )
    ),
    max_leaves=4,
)
FUNCTIONS = st.sampled_from(["", ".first()", ".last()", ".tail()", ".skip(1)", ".take(2)", ".distinct()", "[1]",
                             ".where($this = 'Jim')", ".select($this)", ".combine(1 | 2).count()", ".exclude(2)",
                             ".intersect(2 | 3)"])  # fmt: skip
MANIES = st.tuples(MANY, FUNCTIONS).map("".join)
BOOLEANS = st.recursive(
    BOOLEAN
    | joined(NUMBER, st.sampled_from(["=", "!=", "<", ">", "<=", ">="]), NUMBER)
    | joined(STRING, st.sampled_from(["=", "!=", "~"]), STRING)
    | st.tuples(MANIES, st.sampled_from([".exists()", ".empty()", ".count() > 1", ".isDistinct()"])).map("".join),
    lambda inner: (
        joined(inner, st.sampled_from(["and", "or", "xor", "implies"]), inner) | inner.map("({}).not()".format)
    ),
    max_leaves=4,
)


@settings(max_examples=150)
@given(st.one_of(NUMBERS, STRINGS, MANIES, BOOLEANS))
def test_another_engine_says_the_same(text: str) -> None:
    """fhirpathpy, on numbers, strings, collections and the three values, where both follow the standard."""
    try:
        mine: Any = [node.value for node in nodes(DEFINITIONS, text, PLAIN)]
    except PathError:
        mine = "error"
    try:
        theirs: Any = other(text)
    except Exception:
        theirs = "error"
    assert mine == theirs
