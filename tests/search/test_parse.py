"""From the parameters of a request to a query: what they mean, and what is refused."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.errors import Malformed
from fhir_server.fhir.definitions import Definitions
from fhir_server.search.parse import Limits, parse
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import (
    TRUE,
    DateIs,
    Eq,
    NumberIs,
    Predicate,
    Present,
    QuantityIs,
    RefersTo,
    StringIs,
    TokenIs,
    Updated,
    UriIs,
    conj,
    disj,
    negate,
    one_of,
)
from fhir_server.search.query import Query
from fhir_server.search.registry import SearchRegistry

BASE = "http://localhost/fhir"
UCUM = "http://unitsofmeasure.org"


@pytest.fixture(scope="session")
def ask(registry: SearchRegistry) -> Any:
    """Parse `Type?name=value&…` written out as pairs."""

    def asked(types: str, *pairs: tuple[str, str], strict: bool = False, **more: Any) -> Query:
        return parse(registry, tuple(types.split(",")), pairs, strict=strict, base_url=BASE, **more)

    return asked


def us(text: str) -> int:
    """Microseconds of an ISO moment in UTC."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000_000)


def issues(raised: pytest.ExceptionInfo[Malformed]) -> list[tuple[str, str]]:
    return [(issue.code, issue.expression) for issue in raised.value.issues]


# What one criterion means

MEANINGS: list[tuple[str, str, str, Predicate]] = [
    # token
    ("Observation", "code", "85354-9", TokenIs("code", None, "85354-9")),
    ("Observation", "code", "http://loinc.org|85354-9", TokenIs("code", "http://loinc.org", "85354-9")),
    ("Observation", "code", "|bp", TokenIs("code", "", "bp")),
    ("Observation", "code", "http://loinc.org|", TokenIs("code", "http://loinc.org", None)),
    ("Observation", "code", "a,b", disj(TokenIs("code", None, "a"), TokenIs("code", None, "b"))),
    ("Observation", "code", r"a\,b\|c\$d\\e", TokenIs("code", None, "a,b|c$d\\e")),
    ("Observation", "code", r"s\|t|c", TokenIs("code", "s|t", "c")),
    ("Observation", "code:not", "a,b", negate(disj(TokenIs("code", None, "a"), TokenIs("code", None, "b")))),
    ("Observation", "code:text", "Tension", StringIs("code:text", "starts", "tension")),
    ("Observation", "code:missing", "true", negate(disj(Present("code"), Present("code:text")))),
    ("Observation", "code:missing", "false", disj(Present("code"), Present("code:text"))),
    ("Patient", "identifier", "urn:oid:1.2.250.1.213.1.4.8|1",
     TokenIs("identifier", "urn:oid:1.2.250.1.213.1.4.8", "1")),
    ("Patient", "identifier", "1.2.250.1.213.1.4.8|1",
     disj(TokenIs("identifier", "1.2.250.1.213.1.4.8", "1"),
          TokenIs("identifier", "urn:oid:1.2.250.1.213.1.4.8", "1"))),
    # string
    ("Patient", "address-city", "Évry", StringIs("address-city", "starts", "evry")),
    ("Patient", "address-city:exact", "Évry", StringIs("address-city", "exact", "Évry")),
    ("Patient", "address-city:contains", "VR", StringIs("address-city", "contains", "vr")),
    ("Patient", "family", "Le Gall", StringIs("family", "starts", "le gall")),
    ("Patient", "name", "Jean Dupont", conj(StringIs("name", "starts", "jean"), StringIs("name", "starts", "dupont"))),
    ("Patient", "name", "a b c d e f g h i j k", StringIs("name", "starts", "a b c d e f g h i j k")),
    ("Patient", "name:contains", "an du", StringIs("name", "contains", "an du")),
    # date: the prefix is kept, the range is as wide as the precision
    ("Observation", "date", "2024", DateIs("date", "eq", us("2024-01-01"), us("2025-01-01"))),
    ("Observation", "date", "ne2024-02", DateIs("date", "ne", us("2024-02-01"), us("2024-03-01"))),
    ("Observation", "date", "gt2024-02-29", DateIs("date", "gt", us("2024-02-29"), us("2024-03-01"))),
    ("Observation", "date", "lt2024-05-01T10:00",
     DateIs("date", "lt", us("2024-05-01T10:00:00"), us("2024-05-01T10:01:00"))),
    ("Observation", "date", "ge2024-05-01T10:00:00Z",
     DateIs("date", "ge", us("2024-05-01T10:00:00"), us("2024-05-01T10:00:01"))),
    ("Observation", "date", "le2024-05-01T10:00:00.5+02:00",
     DateIs("date", "le", us("2024-05-01T08:00:00.500000"), us("2024-05-01T08:00:00.600000"))),
    ("Observation", "date", "sa2024-05-01T10:00:00 02:00",
     DateIs("date", "sa", us("2024-05-01T08:00:00"), us("2024-05-01T08:00:01"))),
    ("Observation", "date", "eb2024", DateIs("date", "eb", us("2024-01-01"), us("2025-01-01"))),
    ("Observation", "date", "ap2024-05-02", DateIs("date", "ap", us("2024-05-01"), us("2024-05-04"))),
    # number: R4's own table of precision
    ("RiskAssessment", "probability", "100", NumberIs("probability", "eq", 99.5, 100.5)),
    ("RiskAssessment", "probability", "100.00", NumberIs("probability", "eq", 99.995, 100.005)),
    ("RiskAssessment", "probability", "1e2", NumberIs("probability", "eq", 95.0, 105.0)),
    ("RiskAssessment", "probability", "1.00e2", NumberIs("probability", "eq", 99.5, 100.5)),
    ("RiskAssessment", "probability", "-2.0", NumberIs("probability", "eq", -2.05, -1.95)),
    ("RiskAssessment", "probability", "ne100", NumberIs("probability", "ne", 99.5, 100.5)),
    ("RiskAssessment", "probability", "lt100", NumberIs("probability", "lt", 100.0, 100.0)),
    ("RiskAssessment", "probability", "ge8e-1", NumberIs("probability", "ge", 0.8, 0.8)),
    ("RiskAssessment", "probability", "ap100", NumberIs("probability", "ap", 90.0, 110.0)),
    ("RiskAssessment", "probability", "ap0", NumberIs("probability", "ap", -0.5, 0.5)),
    # quantity
    ("Observation", "value-quantity", f"5.4|{UCUM}|mg",
     QuantityIs("value-quantity:ucum", "eq", 0.00535, 0.00545, UCUM, "g")),
    ("Observation", "value-quantity", f"ge37.0|{UCUM}|Cel",
     QuantityIs("value-quantity:ucum", "ge", 310.15, 310.15, UCUM, "K")),
    ("Observation", "value-quantity", f"5.4|{UCUM}|spoons",
     QuantityIs("value-quantity", "eq", 5.35, 5.45, UCUM, "spoons")),
    ("Observation", "value-quantity", f"5.40e-3|{UCUM}|g",
     QuantityIs("value-quantity:ucum", "eq", 0.005395, 0.005405, UCUM, "g")),
    ("Observation", "value-quantity", "5.4||mg", QuantityIs("value-quantity", "eq", 5.35, 5.45, None, "mg")),
    ("Observation", "value-quantity", "5.4", QuantityIs("value-quantity", "eq", 5.35, 5.45, None, None)),
    ("Observation", "value-quantity", f"le5.4|{UCUM}|", QuantityIs("value-quantity", "le", 5.4, 5.4, UCUM, None)),
    # reference
    ("Observation", "subject", "Patient/1", RefersTo("subject", "Patient/1")),
    ("Observation", "subject", "Patient/1/_history/2", RefersTo("subject", "Patient/1")),
    ("Observation", "subject", f"{BASE}/Patient/1", RefersTo("subject", "Patient/1")),
    ("Observation", "subject", "http://elsewhere/fhir/Patient/1",
     RefersTo("subject", "http://elsewhere/fhir/Patient/1")),
    ("Observation", "subject", "urn:uuid:1-2", RefersTo("subject", "urn:uuid:1-2")),
    ("Observation", "subject:Patient", "1", RefersTo("subject", "Patient/1")),
    ("Observation", "subject:Patient", "Patient/1", RefersTo("subject", "Patient/1")),
    ("Observation", "patient", "1", RefersTo("patient", "Patient/1")),
    ("Observation", "subject", "1",
     disj(*(RefersTo("subject", f"{type_}/1") for type_ in ("Device", "Group", "Location", "Patient")))),
    ("Observation", "subject:identifier", "urn:oid:1|9", TokenIs("subject:identifier", "urn:oid:1", "9")),
    ("Observation", "subject:missing", "true", negate(disj(Present("subject"), Present("subject:identifier")))),
    # uri
    ("ValueSet", "url", "http://x/ValueSet/1", UriIs("url", "exact", "http://x/ValueSet/1")),
    ("ValueSet", "url:below", "http://x/", UriIs("url", "below", "http://x/")),
    ("ValueSet", "url:above", "http://x/ValueSet/1", UriIs("url", "above", "http://x/ValueSet/1")),
    ("ValueSet", "url", "http://x/ValueSet/1|2.0",
     conj(UriIs("url", "exact", "http://x/ValueSet/1"), TokenIs("version", None, "2.0"))),
    # every resource
    ("Observation", "_id", "a,b", disj(Eq("id", "a"), Eq("id", "b"))),
    ("Observation", "_id:not", "a", negate(Eq("id", "a"))),
    ("Observation", "_id:missing", "false", TRUE),
    ("Observation", "_lastUpdated:missing", "true", negate(TRUE)),
    ("Observation", "_lastUpdated", "2024", Updated(us("2024-01-01"), us("2025-01-01"))),
    ("Observation", "_lastUpdated", "ne2024", negate(Updated(us("2024-01-01"), us("2025-01-01")))),
    ("Observation", "_lastUpdated", "gt2024", Updated(us("2025-01-01"), None)),
    ("Observation", "_lastUpdated", "sa2024", Updated(us("2025-01-01"), None)),
    ("Observation", "_lastUpdated", "ge2024", Updated(us("2024-01-01"), None)),
    ("Observation", "_lastUpdated", "lt2024", Updated(None, us("2024-01-01"))),
    ("Observation", "_lastUpdated", "eb2024", Updated(None, us("2024-01-01"))),
    ("Observation", "_lastUpdated", "le2024", Updated(None, us("2025-01-01"))),
    ("Observation", "_lastUpdated", "ap2024-05-02", Updated(us("2024-05-01"), us("2024-05-04"))),
    ("Observation", "_tag", "s|t", TokenIs("_tag", "s", "t")),
    ("Observation", "_security", "R", TokenIs("_security", None, "R")),
    ("Observation", "_profile", "http://x/p", UriIs("_profile", "exact", "http://x/p")),
    ("Observation", "_source", "urn:oid:1", UriIs("_source", "exact", "urn:oid:1")),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "name", "value", "meaning"), MEANINGS)
def test_a_criterion_means_what_r4_says(ask: Any, type_: str, name: str, value: str, meaning: Predicate) -> None:
    """And is part of the self link as it was sent."""
    query = ask(type_, (name, value), strict=True)
    assert query.plan.where == meaning
    assert query.used == ((name, value),)
    assert query.warnings == ()


def test_repeated_criteria_all_hold_and_joined_values_any(ask: Any) -> None:
    """`&` is and, the comma is or."""
    query = ask("Observation", ("status", "final"), ("code", "a,b"), ("code", "c"))
    assert query.plan.where == conj(
        disj(TokenIs("code", None, "a"), TokenIs("code", None, "b")),
        TokenIs("code", None, "c"),
        TokenIs("status", None, "final"),
    )


def test_no_criteria_are_everything_of_the_type(ask: Any) -> None:
    """One page of it."""
    assert ask("Observation") == Query(Plan(("Observation",), TRUE, None, (), None, 20))


def test_dates_without_offset_are_asked_in_the_zone_of_the_registry(definitions: Definitions) -> None:
    """As they are indexed."""
    registry = SearchRegistry(definitions, zone=ZoneInfo("Europe/Paris"))
    query = parse(registry, ("Patient",), [("birthdate", "2024-01-01")], strict=True, base_url=BASE)
    assert query.plan.where == DateIs("birthdate", "eq", us("2023-12-31T23:00:00"), us("2024-01-01T23:00:00"))


# What is refused

REFUSED = [
    ("Observation", "date", "yesterday"),
    ("Observation", "date", "2023-02-29"),
    ("Observation", "date", "xx2024"),
    ("Observation", "date", "2024-05-01T10"),
    ("Observation", "date", "2024,soon"),
    ("Observation", "_lastUpdated", "soon"),
    ("RiskAssessment", "probability", "a"),
    ("RiskAssessment", "probability", "1e999"),
    ("RiskAssessment", "probability", "1e9999999999"),
    ("RiskAssessment", "probability", "nan"),
    ("RiskAssessment", "probability", "١"),
    ("Observation", "value-quantity", "5.4|mg"),
    ("Observation", "value-quantity", "mg"),
    ("Observation", "value-quantity", "|s|c"),
    ("Observation", "code", "|"),
    ("Observation", "subject", "Patient/"),
    ("Observation", "subject", "a b"),
    ("Observation", "subject", "#1"),
    ("Observation", "subject", "Patient?identifier=1"),
    ("Observation", "subject:Patient", "Group/1"),
    ("Observation", "subject:Patient", "http://elsewhere/fhir/Patient/1"),
    ("Observation", "focus", "1"),
    ("Patient", "name", "…"),
    ("ValueSet", "url:below", "urn:oid:1.2"),
    ("Observation", "code:missing", "yes"),
    ("Observation", "code:missing", "true,false"),
    ("Observation", "_count", "-1"),
    ("Observation", "_count", "ten"),
    ("Observation", "_count", "1" * 30),
    ("Observation", "_count", "²"),
    ("Observation", "_total", "all"),
    ("Observation", "_summary", "short"),
    ("Observation", "code", ","),
    # modifiers that the parameter does not have
    ("Observation", "code:exact", "a"),
    ("Observation", "code:in", "http://x/vs"),
    ("Observation", "status:in", "http://hl7.org/fhir/ValueSet/mimetypes"),
    ("Observation", "code:not-in", "http://x/vs"),
    ("Observation", "code:above", "a"),
    ("Observation", "code:below", "a"),
    ("Observation", "code:of-type", "a|b|c"),
    ("Observation", "status:text", "a"),
    ("Observation", "code:nonsense", "a"),
    ("Observation", "code:identifier", "a"),
    ("Observation", "code:Patient", "a"),
    ("Observation", "date:exact", "2024"),
    ("Observation", "date:not", "2024"),
    ("Observation", "value-quantity:not", "1"),
    ("Observation", "subject:not", "Patient/1"),
    ("Observation", "subject:Practitioner", "1"),
    ("Observation", "subject:above", "1"),
    ("Patient", "name:not", "a"),
    ("Patient", "name:text", "a"),
    ("ValueSet", "url:exact", "http://x"),
    ("ValueSet", "url:contains", "http://x"),
    ("Observation", "code-value-quantity:missing", "true"),
    ("Observation", "_text:contains", "a"),
    ("Patient", "identifier:of-type", "a|b"),
    ("Patient", "identifier:of-type", "|b|c"),
    ("Patient", "gender:of-type", "a|b|c"),
    ("CarePlan", "instantiates-canonical:below", "urn:x:1"),
    # shapes of the answer
    ("Observation", "_contained", "some"),
    ("Observation", "_containedType", "some"),
    ("Observation", "_include", "Observation"),
    ("Observation", "_include", "subject"),
    ("Observation", "_include", "Colour:subject"),
    ("Observation", "_include", "Observation:subject:Colour"),
    ("Observation", "_include", "Observation:subject:Practitioner"),
    ("Observation", "_include", "Observation:code"),
    ("Observation", "_include", "Observation:*:Patient"),
    ("Observation", "_include", "*:*"),
    ("Patient", "_revinclude", "*"),
    ("CarePlan", "_include", "CarePlan:instantiates-canonical"),
    # composites
    ("Observation", "code-value-quantity", "a"),
    ("Observation", "code-value-quantity", "a$1$2"),
    ("Observation", "code-value-quantity", "a$b"),
    ("Observation", "code-value-quantity", "|$1"),
    # chains
    ("Observation", "code.name", "a"),
    ("Observation", "subject:Practitioner.name", "a"),
    ("Observation", "subject:Patient.birthdate", "soon"),
    ("Observation", "subject:Patient.gender:exact", "a"),
    ("Patient", "_has:Observation:patient", "a"),
    ("Patient", "_has:Colour:patient:code", "a"),
    ("Patient", "_has:Observation:code:code", "a"),
    ("Patient", "_has:Encounter:location:status", "a"),
    ("Patient", "_has:Observation:patient:date", "soon"),
    ("Observation", "_list", "$current-allergies"),
    ("Observation", "_list", "Patient/1"),
    ("Observation", "_list:not", "1"),
    # words
    ("Observation", "_text", "…"),
    ("Observation", "_text", "(a"),
    ("Observation", "_text", "a)"),
    ("Observation", "_text", "a OR"),
    ("Observation", "_text", "NOT"),
    ("Observation", "_content", "a " * 60),
    ("Observation", "_content", "(" * 20 + "a" + ")" * 20),
]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(("type_", "name", "value"), REFUSED)
def test_unreadable_values_and_foreign_modifiers_are_refused_always(
    ask: Any, type_: str, name: str, value: str, strict: bool
) -> None:
    """Under either handling; the error names the parameter."""
    with pytest.raises(Malformed) as raised:
        ask(type_, (name, value), strict=strict)
    assert issues(raised) == [("value", name)]


@pytest.mark.parametrize(
    ("type_", "name"),
    [
        ("Observation", "date"),
        ("Observation", "value-quantity"),
        ("RiskAssessment", "probability"),
        ("Observation", "subject"),
        ("Observation", "code:missing"),
        ("Observation", "code:exact"),
        ("Observation", "_count"),
        ("Observation", "_total"),
        ("Observation", "_summary"),
        ("Observation,Patient", "_type"),
    ],
)
def test_an_error_never_repeats_the_value(ask: Any, type_: str, name: str) -> None:
    """It may be someone's name."""
    with pytest.raises(Malformed) as raised:
        ask(type_, (name, "Jeanne Dupont"))
    assert "Dupont" not in repr(raised.value.issues)
    assert "Dupont" not in str(raised.value)


def test_all_errors_are_told_at_once(ask: Any) -> None:
    """One issue each."""
    with pytest.raises(Malformed) as raised:
        ask("Observation", ("date", "soon"), ("code:exact", "a"), ("_count", "x"), ("status", "final"))
    assert issues(raised) == [("value", "code:exact"), ("value", "date"), ("value", "_count")]


UNSUPPORTED = [
    ("Observation", "colour", "red"),
    ("Observation", "Code", "a"),
    ("Observation", "colour.name", "a"),
    ("Observation", "subject.colour", "a"),
    ("Observation", "subject:Patient.colour", "a"),
    ("Observation", "patient.near", "a"),
    ("CarePlan", "instantiates-canonical.name", "a"),
    ("Patient", "_has", "a"),
    ("Patient", "_has:Observation:colour:code", "a"),
    ("Patient", "_has:Observation:patient:colour", "a"),
    ("Observation", "_include", "Observation:colour"),
    ("Observation", "_include:recurse", "Observation:subject"),
    ("Patient", "_revinclude", "Observation:colour"),
    ("Observation", "_filter", "colour eq a"),
    ("Observation", "_query", "q"),
    ("Observation", "_elements", "colour"),
    ("Observation", "_contained", "true"),
    ("Observation", "_contained", "both"),
    ("Observation", "_containedType", "contained"),
    ("Observation", "_type", "Patient"),
    ("Observation", "_sort", "colour"),
    ("Observation", "_sort", "code-value-quantity"),
    ("Observation", "_sort", "_text"),
    ("Patient", "_sort", "phonetic"),
    ("Location", "near", "48|2"),
]


@pytest.mark.parametrize(("type_", "name", "value"), UNSUPPORTED)
def test_what_is_unknown_or_not_built_is_left_out_with_a_warning(ask: Any, type_: str, name: str, value: str) -> None:
    """Absent from the self link; the rest of the search stands."""
    query = ask(type_, (name, value), ("_id", "1"))
    assert query.plan.where == Eq("id", "1")
    assert query.used == (("_id", "1"),)
    (warning,) = query.warnings
    assert (warning.code, warning.severity, warning.expression) == ("not-supported", "warning", name)


@pytest.mark.parametrize(("type_", "name", "value"), UNSUPPORTED)
def test_under_strict_handling_it_is_an_error(ask: Any, type_: str, name: str, value: str) -> None:
    """That names it."""
    with pytest.raises(Malformed) as raised:
        ask(type_, (name, value), strict=True)
    assert issues(raised) == [("not-supported", name)]


def test_a_parameter_without_value_is_left_out_with_a_warning(ask: Any) -> None:
    """Strict or not: it asks for nothing."""
    for strict in (True, False):
        query = ask("Observation", ("code", ""), ("status", " "), strict=strict)
        assert query.plan.where == TRUE
        assert query.used == ()
        assert [warning.expression for warning in query.warnings] == ["code", "status"]


def test_empty_values_between_commas_are_passed_over(ask: Any) -> None:
    """As long as one is left."""
    assert ask("Observation", ("code", "a,,b,")).plan.where == disj(
        TokenIs("code", None, "a"), TokenIs("code", None, "b")
    )


# What shapes the result


def test_count_is_cut_to_the_largest_page(ask: Any) -> None:
    """And the self link says what was applied."""
    query = ask("Observation", ("_count", "5000"), max_count=100)
    assert (query.plan.limit, query.used) == (100, (("_count", "100"),))
    assert ask("Observation", default_count=7).plan.limit == 7


def test_a_count_of_zero_and_the_summary_count_ask_for_the_total_alone(ask: Any) -> None:
    """Whichever comes with which."""
    assert ask("Observation", ("_count", "0")).plan.limit == 0
    assert ask("Observation", ("_summary", "count")).plan.limit == 0
    assert ask("Observation", ("_summary", "count"), ("_count", "5")).plan.limit == 0
    assert ask("Observation", ("_summary", "false"), strict=True).plan.limit == 20


def test_the_total_is_passed_on(ask: Any) -> None:
    """None unless asked for."""
    assert ask("Observation").total == "none"
    for value in ("none", "estimate", "accurate"):
        assert ask("Observation", ("_total", value)).total == value


@pytest.mark.parametrize("name", ["_sort", "_count", "_total", "_summary"])
def test_what_shapes_the_result_is_given_once(ask: Any, name: str) -> None:
    """Two page sizes are none."""
    value = {"_sort": "_id", "_count": "1", "_total": "none", "_summary": "false"}[name]
    with pytest.raises(Malformed) as raised:
        ask("Observation", (name, value), (name, value))
    assert issues(raised) == [("value", name)]


def test_negotiation_is_none_of_the_searchs_business(ask: Any) -> None:
    """_format and _pretty are neither used nor warned of."""
    query = ask("Observation", ("_format", "json"), ("_pretty", "true"), strict=True)
    assert (query.used, query.warnings) == ((), ())


def test_the_order_of_the_parameters_does_not_count(ask: Any) -> None:
    """One self link and one digest for one search; another search has another."""
    pairs = [("status", "final"), ("_count", "5"), ("code", "b"), ("code", "a"), ("_sort", "_id")]
    one, other = ask("Observation", *pairs), ask("Observation", *reversed(pairs))
    assert one == other
    assert one.used == (("code", "a"), ("code", "b"), ("status", "final"), ("_sort", "_id"), ("_count", "5"))
    assert one.digest == other.digest
    assert one.digest != ask("Observation", *pairs[1:]).digest
    assert ask("Observation", ("code", "a")).digest != ask("Condition", ("code", "a")).digest


# Whose record


@pytest.mark.parametrize(
    ("type_", "pairs", "patients"),
    [
        ("Observation", [("patient", "Patient/1")], ("1",)),
        ("Observation", [("patient", "1")], ("1",)),
        ("Observation", [("subject", f"{BASE}/Patient/1")], ("1",)),
        ("Observation", [("subject:Patient", "1,2")], ("1", "2")),
        ("Observation", [("subject", "Patient/1,Group/2")], None),
        ("Observation", [("subject", "1")], None),
        ("Observation", [("subject", "http://elsewhere/fhir/Patient/1")], None),
        ("Observation", [("subject:identifier", "1")], None),
        ("Observation", [("subject:missing", "false")], None),
        ("Observation", [("performer", "Patient/1")], None),
        ("Observation", [("code", "1")], None),
        ("Observation", [("_id", "1")], None),
        ("Patient", [("_id", "1,2")], ("1", "2")),
        ("Patient", [("_id:not", "1")], None),
        ("Patient", [("link", "Patient/1")], None),
        ("Consent", [("patient", "Patient/1")], ("1",)),
        ("Coverage", [("beneficiary", "Patient/1")], ("1",)),
        ("Communication", [("recipient", "Patient/1")], None),
        ("Appointment", [("patient", "Patient/1")], ("1",)),
        ("Task", [("patient", "Patient/1")], ("1",)),
        ("Device", [("patient", "Patient/1")], ("1",)),
        ("Practitioner", [("name", "1")], None),
        ("Observation,Condition", [("patient", "Patient/1")], ("1",)),
        ("Observation,Practitioner", [("_id", "1")], None),
    ],
)
def test_a_search_knows_whose_record_it_asks_about(
    ask: Any, type_: str, pairs: list[tuple[str, str]], patients: tuple[str, ...] | None
) -> None:
    """When a criterion says so that decides the record of the type, and says nothing else."""
    assert ask(type_, *pairs).plan.patients == patients


def test_the_ids_asked_for_are_told(ask: Any) -> None:
    """For the question whose record they are in."""
    assert ask("Observation", ("_id", "a,b")).ids == ("a", "b")
    assert ask("Observation", ("_id:not", "a")).ids == ()


def test_a_compartment_confines_the_search(ask: Any) -> None:
    """By the parameters that place the type in it, and to the record it is."""
    query = ask("Observation", ("status", "final"), compartment=("Patient", "1"))
    placed = disj(RefersTo("subject", "Patient/1"), RefersTo("performer", "Patient/1"))
    assert query.plan.where == conj(placed, Eq("patient", "1"), TokenIs("status", None, "final"))
    assert query.plan.patients == ("1",)
    assert query.used == (("status", "final"),)


def test_a_compartment_of_something_else_is_no_record(ask: Any) -> None:
    """An Encounter's."""
    query = ask("Observation", compartment=("Encounter", "e"))
    assert query.plan.where == RefersTo("encounter", "Encounter/e")
    assert query.plan.patients is None


def test_a_resource_is_in_its_own_compartment(ask: Any) -> None:
    """And what cannot be in one is not found there."""
    where = ask("Patient", compartment=("Patient", "1")).plan.where
    assert where == conj(disj(Eq("id", "1"), RefersTo("link", "Patient/1")), Eq("patient", "1"))
    assert ask("ValueSet", compartment=("Patient", "1")).plan.where == negate(TRUE)


# Several types


def test_over_several_types_a_criterion_is_known_to_all(ask: Any) -> None:
    """And means for each what its own parameter means."""
    query = ask("Condition,Observation", ("patient", "Patient/1"), strict=True)
    assert query.plan.where == RefersTo("patient", "Patient/1")
    query = ask("Condition,Observation", ("subject", "1"), strict=True)
    condition = disj(RefersTo("subject", "Group/1"), RefersTo("subject", "Patient/1"))
    observation = disj(*(RefersTo("subject", f"{each}/1") for each in ("Device", "Group", "Location", "Patient")))
    assert query.plan.where == disj(
        conj(one_of("rtype", ["Condition"]), condition), conj(one_of("rtype", ["Observation"]), observation)
    )
    with pytest.raises(Malformed):
        ask("Condition,Patient", ("onset-date", "2024"), strict=True)


def test_type_narrows_a_search_of_several_types(ask: Any) -> None:
    """Unknown types are refused; `_type` is understood wherever it stands."""
    query = ask("Condition,Observation,Patient", ("onset-date", "2024"), ("_type", "Condition"), strict=True)
    assert query.plan.types == ("Condition",)
    assert query.used == (("_type", "Condition"), ("onset-date", "2024"))
    with pytest.raises(Malformed) as raised:
        ask("Condition,Observation", ("_type", "Colour"))
    assert issues(raised) == [("value", "_type")]


# Limits


def test_a_search_is_bounded(ask: Any) -> None:
    """In parameters, in values and in the length of each; the limits can be set."""
    assert ask("Observation", *[("status", "final")] * 50)
    for pairs, code in (
        ([("status", "final")] * 51, "too-costly"),
        ([("code", ",".join("a" * 201))], "too-costly"),
        ([("code", ",".join("a" * 150)), ("status", ",".join("a" * 150))], "too-costly"),
        ([("code", "a" * 1001)], "too-long"),
        ([("code", "x:" + "a" * 1_000_000)], "too-long"),
    ):
        with pytest.raises(Malformed) as raised:
            ask("Observation", *pairs)
        assert raised.value.issues[0].code == code
    with pytest.raises(Malformed):
        ask("Observation", ("code", "a,b"), limits=Limits(values=1))
    with pytest.raises(Malformed) as raised:
        ask("Patient", ("family", "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}" * 900))
    assert issues(raised) == [("value", "family")]
    long_name = ask("Observation", ("x" * 5000, "1"))
    assert len(long_name.warnings[0].expression) == 100


@pytest.mark.parametrize("value", ["," * 2_000_000, "a\\," * 1_000_000], ids=["commas", "escaped commas"])
def test_what_is_too_much_is_refused_before_it_is_taken_apart(ask: Any, value: str) -> None:
    """The refusal takes little memory beside that of the value itself."""
    tracemalloc.start()
    try:
        with pytest.raises(Malformed):
            ask("Observation", ("code", value), ("status", value))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_a_comma_that_is_escaped_parts_no_values(ask: Any) -> None:
    """However many there are of them, and an escaped backslash before a comma is none."""
    assert ask("Observation", ("code", "a\\,b" * 250))
    with pytest.raises(Malformed):
        ask("Observation", ("code", "a\\\\," * 200))


NAMES = st.sampled_from([
    "code", "code:not", "code:text", "date", "patient", "subject:Patient", "subject:identifier", "value-quantity",
    "_id", "_lastUpdated", "_sort", "_count", "_type", "status:missing", "_profile:below", "performer.name", "x:y.z",
    "subject.name", "subject:Patient.general-practitioner.name", "_has:Provenance:target:agent.name", "_list", "_text",
    "_content", "_filter", "code-value-quantity", "_include", "_revinclude:iterate", "_elements", "_summary", "_has:",
    "code:in", "identifier:of-type", "patient.identifier", "_contained", "subject..name", ".", ":", "_has:Group::x",
])  # fmt: skip
VALUES = st.one_of(
    st.text(max_size=20),
    st.lists(
        st.sampled_from(
            [
                "eq",
                "ap",
                "2024",
                "-02",
                "|",
                ",",
                "\\",
                "$",
                "1",
                "e9",
                "Patient/",
                "http://x",
                ".",
                "a",
                "(",
                ")",
                " and ",
                " or ",
                "not(",
                "code",
                "subject.name",
                " eq ",
                " ne ",
                " co ",
                " pr true",
                '"',
                "[",
                "]",
                " OR ",
                "NOT ",
                "Observation:",
                "subject",
                "*",
                "-date",
                "valueQuantity",
            ]
        ),
        max_size=8,
    ).map("".join),
)


@given(st.lists(st.tuples(NAMES | st.text(max_size=10), VALUES), max_size=6), st.booleans())
def test_any_request_is_a_query_or_malformed(
    registry: SearchRegistry, pairs: list[tuple[str, str]], strict: bool
) -> None:
    """Nothing else is raised; a query understood strictly left nothing out but empty values."""
    try:
        query = parse(registry, ("Observation",), pairs, strict=strict, base_url=BASE)
    except Malformed:
        return
    assert len(query.digest) == 64
    assert {name for name, _ in query.used} <= {name for name, _ in pairs}
    if strict:
        assert all(any(name[:100] == w.expression and not v.strip() for name, v in pairs) for w in query.warnings)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=4))
def test_the_self_link_asks_the_same_again(registry: SearchRegistry, pairs: list[tuple[str, str]]) -> None:
    """Parsing what was used gives the same plan, without warnings, even strictly."""
    try:
        query = parse(registry, ("Observation",), pairs, strict=False, base_url=BASE)
    except Malformed:
        return
    again = parse(registry, ("Observation",), query.used, strict=True, base_url=BASE)
    assert (again.plan, again.used, again.warnings) == (query.plan, query.used, ())
