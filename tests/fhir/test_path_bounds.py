"""An expression from outside can be anything: it is answered, or it is a PathError, soon."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.fhir.definitions import Definitions, load_definitions
from fhir_server.fhir.path import PathError, compile_expression
from fhir_server.fhir.path.library import LIBRARY
from fhir_server.fhir.path.regular import Regular


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    return load_definitions()


WORDS = st.sampled_from([
    "Patient", "name", "birthDate", "extension", "contact", ".", ".", "(", ")", "[", "]", "{}", "|", "and", "or", "xor",
    "implies", "as", "is", "=", "!=", "~", "!~", "<", ">=", "in", "contains", "+", "-", "*", "/", "div", "mod", "&",
    "'x'", "'[a-z]+'", "@2024", "@2024-05-01T10:00", "@T10:30", "1", "2.50", "1000000000", "3 days", "4 'mg'", "true",
    "$this", "$index", "$total", "%resource", "%ucum", "%a", "`given`", ",", "where", "System.Integer", "Quantity",
])  # fmt: skip
CALLS = st.sampled_from(sorted([*LIBRARY, "sort", "as", "is", "ofType"])).map(lambda name: f".{name}(")
TEXTS = st.lists(st.one_of(WORDS, CALLS), max_size=12).map(" ".join)

ATOMS = st.sampled_from(["name", "birthDate", "active", "$this", "'ab'", "1", "2.5", "{}", "@2024-05", "4 'mg'", "true",
                         "multipleBirth", "name.given", "extension", "%resource", "today()", "children()"])  # fmt: skip
OPERATORS = ["|", "and", "or", "xor", "implies", "=", "!=", "~", "!~", "<", ">", "<=", ">=", "in", "contains", "+", "-",
             "*", "/", "div", "mod", "&"]  # fmt: skip
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(OPERATORS), inner).map(lambda parts: "({} {} {})".format(*parts)),
        st.tuples(inner, st.sampled_from(sorted(LIBRARY)), st.lists(inner, max_size=2)).map(
            lambda parts: f"({parts[0]}).{parts[1]}({', '.join(parts[2])})"),
        st.tuples(inner, inner).map(lambda parts: f"({parts[0]})[{parts[1]}]"),
    ),
    max_leaves=6,
)  # fmt: skip

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.just("2024-05-01")
    | st.decimals(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["name", "_name", "given", "_given", "birthDate", "_birthDate", "extension", "url", "active",
                         "valueQuantity", "value", "code", "multipleBirthInteger", "contained", "resourceType", "id"]),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


def evaluated(definitions: Definitions, text: str, resource: dict[str, Any]) -> list[Any]:
    try:
        return compile_expression(text, definitions).evaluate(resource)
    except PathError:
        return []


@settings(max_examples=200)
@given(TEXTS, JSON)
def test_any_words_give_nodes_or_a_path_error(definitions: Definitions, text: str, value: Any) -> None:
    """Whatever stands where, in the text and in the resource."""
    resource = {**(value if isinstance(value, dict) else {"name": value}), "resourceType": "Patient"}
    assert isinstance(evaluated(definitions, text, resource), list)


@settings(max_examples=200)
@given(EXPRESSIONS, JSON)
def test_any_expression_gives_nodes_or_a_path_error_on_any_resource(
    definitions: Definitions, text: str, value: Any
) -> None:
    """Every function with every kind of input and argument."""
    resource = {**(value if isinstance(value, dict) else {"birthDate": value}), "resourceType": "Patient"}
    assert isinstance(evaluated(definitions, text, resource), list)


@settings(max_examples=200)
@given(st.text("ab.*+?()[]{}|^$\\-,12d:", max_size=12), st.text("ab1-", max_size=8))
def test_any_pattern_matches_or_is_a_path_error(pattern: str, text: str) -> None:
    """The regular expressions too."""
    try:
        found = Regular(pattern).search(text, lambda work: None)
    except PathError:
        return
    assert found is None or 0 <= found[0] <= found[1] <= len(text)


@pytest.mark.parametrize("text", [
    "descendants().select(%resource.descendants()).select(%resource.descendants())",
    "descendants().where(%resource.descendants().where(%resource.descendants().count() > 1).exists())",
    "(1 | 2).repeat($this + 1)",
    "('" + "a" * 9000 + "').matches('(a|aa)+(a|aa)+(a|aa)+b')",
    "'ab'.replace('', 'abababababab').replace('', 'abababababab').replace('', 'abababababab')"
    + ".replace('', 'abababababab').replace('', 'abababababab').replace('', 'abababababab')",
    "name.combine(name)" + ".combine($this.descendants())" * 300,
    "(1).select($this | 2)" + ".combine(%resource.descendants())" * 300 + ".isDistinct()",
    "%resource" + " | %resource" * 800,
    "descendants() ~ descendants()",
    "descendants().where(" + "true and " * 300 + "true)",
    "descendants().select(-1" + " + 1" * 300 + ")",
    "name.aggregate($total + $total, 'ab')",
    "name.aggregate($total & $total, 'ab')",
    "'a'" + ".encode('hex')" * 300,
])  # fmt: skip
def test_work_is_bounded(definitions: Definitions, text: str) -> None:
    """What would take minutes is refused; the budget is counted in nodes and characters, not in time."""
    patient = {"resourceType": "Patient", "name": [{"given": [str(n), "x"]} for n in range(300)]}
    expression = compile_expression(text, definitions)
    with pytest.raises(PathError):
        expression.evaluate(patient)


@pytest.mark.parametrize("text", ["(" * 5000, "-" * 5000 + "1", "a" * 10_001, "9" * 5000, "1." + "9" * 5000,
                                  "name" + ".first()" * 3000, "@0000-00", "'a'.matches('(?=a)')"])  # fmt: skip
def test_size_is_bounded(definitions: Definitions, text: str) -> None:
    """Length, nesting and digits."""
    with pytest.raises(PathError):
        compile_expression(text, definitions).evaluate({"resourceType": "Patient", "name": [{}]})


def test_units_do_not_grow_without_end(definitions: Definitions) -> None:
    """A product of products of units is no unit that anyone knows."""
    expression = compile_expression("name.aggregate($total * $total, 1 'mg')", definitions)
    assert expression.evaluate({"resourceType": "Patient", "name": [{}] * 100}) == []


def test_what_stops_other_matchers_does_not_stop_this_one(definitions: Definitions) -> None:
    """Patterns with an exponential number of ways to fail take a few steps a character."""
    for pattern in ("(a*)*b", "(a|a)*b", "(a|aa)+$b", "([a-z]+)+!", "(.*)(.*)(.*)(.*)b"):
        expression = compile_expression(f"'{'a' * 1000}'.matches('{pattern}')", definitions)
        assert [node.value for node in expression.evaluate({})] == [False]


def test_a_number_of_a_billion_digits_is_no_number(definitions: Definitions) -> None:
    """1E999999999 is JSON; written out it would fill the memory."""
    observation = {"resourceType": "Observation", "valueQuantity": {"value": Decimal("1E999999")}}
    for text in ("value.value.toString()", "value.value.floor()", "value.value * 10"):
        assert compile_expression(text, definitions).evaluate(observation) == []
