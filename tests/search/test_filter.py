"""`_filter`: its grammar, what its tests mean, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds_of_links import BASE, World

from fhir_server.errors import Malformed
from fhir_server.search.limits import Limits
from fhir_server.search.parse import parse
from fhir_server.search.predicate import (
    TRUE,
    Chained,
    DateIs,
    Eq,
    NumberIs,
    Predicate,
    Present,
    QuantityIs,
    Referred,
    RefersTo,
    StringIs,
    TokenIs,
    UriIs,
    conj,
    disj,
    negate,
)
from fhir_server.search.registry import SearchRegistry


def meaning(registry: SearchRegistry, type_: str, text: str, **more: Any) -> Predicate:
    return parse(registry, (type_,), [("_filter", text)], strict=True, base_url=BASE, **more).plan.where


YEAR = (1704067200000000, 1735689600000000)
FINAL = TokenIs("status", None, "final")
MEANINGS: list[tuple[str, str, Predicate]] = [
    ("Patient", 'given eq "Étienne"', StringIs("given", "equals", "etienne")),
    ("Patient", 'name co "pet"', StringIs("name", "contains", "pet")),
    ("Patient", "name sw pet", StringIs("name", "starts", "pet")),
    ("Patient", "family pr true", Present("family")),
    ("Patient", "family pr false", negate(Present("family"))),
    ("Patient", "birthdate eq 2024", DateIs("birthdate", "eq", *YEAR)),
    ("Patient", "birthdate po 2024", DateIs("birthdate", "ap", *YEAR)),
    ("Patient", "birthdate sa 2024", DateIs("birthdate", "sa", *YEAR)),
    ("Patient", "gender ne male",
     conj(disj(Present("gender"), Present("gender:text")), negate(TokenIs("gender", None, "male")))),
    ("Patient", "_id eq a", Eq("id", "a")),
    ("Patient", "general-practitioner re Practitioner/1", RefersTo("general-practitioner", "Practitioner/1")),
    ("Observation", "code eq http://loinc.org|1234-5", TokenIs("code", "http://loinc.org", "1234-5")),
    ("Observation", 'code eq "a,b c)"', TokenIs("code", None, "a,b c)")),
    ("Observation", "value-quantity gt 5.4||mg", QuantityIs("value-quantity", "gt", 5.4, 5.4, None, "mg")),
    ("Observation", "subject:Patient.gender eq male",
     Chained("subject", ("Patient",), TokenIs("gender", None, "male"))),
    ("Observation", "patient.given co pet", Chained("patient", ("Patient",), StringIs("given", "contains", "pet"))),
    ("Patient", "_has:Observation:patient:status eq final", Referred("Observation", "patient", FINAL)),
    ("RiskAssessment", "probability ge 0.5", NumberIs("probability", "ge", 0.5, 0.5)),
    ("ValueSet", "url sw http://x/", UriIs("url", "below", "http://x/")),
    ("Observation", "status in http://hl7.org/fhir/ValueSet/days-of-week",
     disj(*(TokenIs("status", "", day) for day in ("fri", "mon", "sat", "sun", "thu", "tue", "wed")))),
    # logic
    ("Observation", "not(status eq final)", negate(FINAL)),
    ("Observation", "not ( status eq final )", negate(FINAL)),
    ("Observation", "((status eq final))", FINAL),
    ("Observation", "status eq final and code eq a", conj(FINAL, TokenIs("code", None, "a"))),
    ("Observation", "status eq final or code eq a and code eq b",
     conj(disj(FINAL, TokenIs("code", None, "a")), TokenIs("code", None, "b"))),
    ("Observation", "status eq final or (code eq a and code eq b)",
     disj(FINAL, conj(TokenIs("code", None, "a"), TokenIs("code", None, "b")))),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "text", "asked"), MEANINGS)
def test_a_filter_means_what_its_parameters_mean(
    registry: SearchRegistry, type_: str, text: str, asked: Predicate
) -> None:
    """`and` and `or` from the left."""
    assert meaning(registry, type_, text) == asked


REFUSED = [
    ("Patient", "()"),
    ("Patient", "given"),
    ("Patient", "given eq"),
    ("Patient", 'given eq "a'),
    ("Patient", r'given eq "\x"'),
    ("Patient", "given eq a b"),
    ("Patient", "given eq a and"),
    ("Patient", "(given eq a"),
    ("Patient", "given eq a)"),
    ("Patient", "not given eq a"),
    ("Patient", "given is a"),
    ("Patient", "given ew a"),
    ("Patient", "given gt a"),
    ("Patient", "given re Patient/1"),
    ("Patient", "given ne a"),
    ("Patient", "given:exact eq a"),
    ("Patient", "family pr maybe"),
    ("Patient", "gender co a"),
    ("Patient", "gender ss a"),
    ("Patient", "gender sb a"),
    ("Patient", "gender po 2024"),
    ("Patient", "birthdate eq soon"),
    ("Patient", "birthdate in http://x"),
    ("Patient", "gender in http://x"),
    ("Patient", "phonetic co a"),
    ("Patient", "_text eq a"),
    ("Patient", "_list eq a"),
    ("Patient", "_id co a"),
    ("Observation", "code-value-quantity pr true"),
    ("Observation", "related[type eq has-component].target pr true"),
]


@pytest.mark.parametrize(("type_", "text"), REFUSED)
def test_what_has_no_honest_answer_is_refused(registry: SearchRegistry, type_: str, text: str) -> None:
    """By the name of the parameter, without repeating what was sent."""
    with pytest.raises(Malformed) as raised:
        meaning(registry, type_, text)
    assert [issue.expression for issue in raised.value.issues] == ["_filter"]


def test_a_filter_of_an_unknown_parameter_is_left_out_as_a_whole(registry: SearchRegistry) -> None:
    """Or refused, under strict handling."""
    pairs = [("_filter", "colour eq red or gender eq male")]
    query = parse(registry, ("Patient",), pairs, strict=False, base_url=BASE)
    assert (query.plan.where, query.used) == (TRUE, ())
    assert [warning.expression for warning in query.warnings] == ["_filter"]
    with pytest.raises(Malformed):
        parse(registry, ("Patient",), pairs, strict=True, base_url=BASE)


def test_a_filter_is_bounded(registry: SearchRegistry) -> None:
    """In length, in tests, in brackets."""
    for text, code in (
        ("_id eq " + "a" * 4_000, "too-long"),
        ("(" * 11 + "_id eq a" + ")" * 11, "too-costly"),
        (" or ".join(["_id eq a"] * 201), "too-costly"),
    ):
        with pytest.raises(Malformed) as raised:
            meaning(registry, "Patient", text)
        assert [issue.code for issue in raised.value.issues] == [code]
    assert meaning(registry, "Patient", " or ".join(["_id eq a"] * 200)) == Eq("id", "a")
    with pytest.raises(Malformed):
        meaning(registry, "Patient", "_id eq a or _id eq b", limits=Limits(values=1))


# Against an oracle

TESTS = {
    "gender eq male": lambda patient: patient["gender"] == "male",
    "gender ne male": lambda patient: patient["gender"] != "male",
    "given eq ANN": lambda patient: "ann" in patient["given"],
    'given co "n"': lambda patient: any("n" in each for each in patient["given"]),
    "birthdate ge 2001": lambda patient: patient["year"] >= 2001,
    "given pr false": lambda patient: not patient["given"],
}
TREES = st.recursive(
    st.sampled_from(sorted(TESTS)).map(lambda text: ("test", text)),
    lambda inner: (
        st.tuples(st.just("and"), inner, inner)
        | st.tuples(st.just("or"), inner, inner)
        | st.tuples(st.just("not"), inner)
    ),
    max_leaves=6,
)
PATIENTS = st.fixed_dictionaries({
    "gender": st.sampled_from(["male", "female"]),
    "given": st.lists(st.sampled_from(["ann", "anna", "bo"]), max_size=2),
    "year": st.integers(1999, 2003),
})  # fmt: skip


def written(tree: Any) -> str:
    match tree:
        case "test", text:
            return str(text)
        case "not", inner:
            return f"not({written(inner)})"
        case operator, left, right:
            return f"({written(left)}) {operator} ({written(right)})"
    raise AssertionError


def said(tree: Any, patient: Any) -> bool:
    match tree:
        case "test", text:
            return bool(TESTS[text](patient))
        case "not", inner:
            return not said(inner, patient)
        case "and", left, right:
            return said(left, patient) and said(right, patient)
        case _, left, right:
            return said(left, patient) or said(right, patient)
    raise AssertionError


@given(PATIENTS, TREES)
def test_a_filter_finds_what_its_words_say(registry: SearchRegistry, patient: dict[str, Any], tree: Any) -> None:
    """Tests joined in any way."""
    resource = {
        "resourceType": "Patient",
        "id": "p",
        "gender": patient["gender"],
        "name": [{"given": patient["given"]}],
        "birthDate": f"{patient['year']}-06-01",
    }
    found = World(registry, [resource]).found("Patient", "_filter", written(tree))
    assert found == ({"p"} if said(tree, patient) else set())


WORDS = st.sampled_from([
    "gender", "_id", "general-practitioner.name", "eq", "ne", "co", "pr", "in", "and", "or", "not", "(", ")", "[", "]",
    '"a b"', '"', "male", "2024", "true", "\\", "|", "http://x", "é", ".", ":",
])  # fmt: skip


@given(st.lists(WORDS, max_size=12).map(" ".join) | st.text(max_size=30), st.booleans())
def test_any_text_is_a_filter_or_refused(registry: SearchRegistry, text: str, strict: bool) -> None:
    """Nothing else is raised."""
    try:
        query = parse(registry, ("Patient",), [("_filter", text)], strict=strict, base_url=BASE)
    except Malformed as error:
        named = {issue.expression for issue in error.issues}
    else:
        named = {name for name, _ in query.used} | {warning.expression for warning in query.warnings}
    assert named == {"_filter"}
