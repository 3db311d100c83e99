"""The order of a search in memory, which stores are held to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.search.entries import Amount, Entries, Number, Ref, Span, Text, Token, Uri
from fhir_server.search.facts import Facts
from fhir_server.search.match import Row
from fhir_server.search.order import compare, key_of, values
from fhir_server.search.plan import Sort

ROW = Row(
    Facts("Observation", "o1", "record"),
    Entries(
        tokens=(Token("code", "s", "b"), Token("code", None, "a"), Token("status", None, "final")),
        strings=(Text("name", "zoe", "Zoé"), Text("name", "anne", "Anne"), Text("name", "abel", "")),
        dates=(Span("date", 5, 9), Span("date", 3, 20)),
        numbers=(Number("n", 1.5, 2.0),),
        quantities=(
            Amount("q", "s", "mg", 5.0, 6.0),
            Amount("q", "", "mg", 7.0, 7.0),
            Amount("q:ucum", "s", "g", 0.0, 0.0),
        ),
        references=(Ref("subject", "Patient/p"),),
        uris=(Uri("url", "http://x"),),
    ),
    1000,
)  # fmt: skip


@pytest.mark.parametrize(
    ("key", "least", "greatest"),
    [
        (("_id", "row"), "o1", "o1"),
        (("_lastUpdated", "row"), 1000, 1000),
        (("code", "token"), "a", "b"),
        (("name", "string"), "anne", "zoe"),
        (("date", "date"), 3, 5),
        (("n", "number"), 1.5, 1.5),
        (("q", "quantity"), 5.0, 7.0),
        (("subject", "reference"), "Patient/p", "Patient/p"),
        (("url", "uri"), "http://x", "http://x"),
        (("period", "date"), None, None),
    ],
)
def test_a_row_stands_where_its_least_or_greatest_entry_stands(key: tuple[str, str], least: Any, greatest: Any) -> None:
    """The least going up, the greatest going down, of strings those that are written so; nothing where it has none."""
    assert values([Sort(*key), Sort(*key, descending=True)], ROW) == (least, greatest)


def test_a_kind_without_order_is_an_error() -> None:
    """Composite parameters have none."""
    with pytest.raises(KeyError):
        values([Sort("code-value-quantity", "composite")], ROW)


VALUE = st.none() | st.integers(0, 3)
PLACES = st.lists(st.tuples(VALUE, VALUE), max_size=8).map(
    lambda rows: [(row, position) for position, row in enumerate(rows)]
)
KEYS = st.lists(st.booleans(), min_size=2, max_size=2).map(
    lambda ways: tuple(Sort(str(number), "number", way) for number, way in enumerate(ways))
)


@given(PLACES, KEYS)
def test_rows_without_a_value_come_last_either_way(places: list[Any], keys: tuple[Sort, ...]) -> None:
    """The first key decides, then the next, then the order of creation, in the direction of the last key."""

    def plain(place: Any) -> list[Any]:
        row, position = place
        parts: list[Any] = []
        for value, key in zip(row, keys, strict=True):
            parts.append((value is None, 0 if value is None else (-value if key.descending else value)))
        return [*parts, -position if keys[-1].descending else position]

    assert sorted(places, key=key_of(keys)) == sorted(places, key=plain)


@given(PLACES, KEYS)
def test_no_two_rows_share_a_place(places: list[Any], keys: tuple[Sort, ...]) -> None:
    """So a page can begin behind any row."""
    for one in places:
        for other in places:
            assert (compare(keys, one, other) == 0) is (one == other)
            assert compare(keys, one, other) == -compare(keys, other, one)


def test_without_keys_the_order_is_that_of_creation() -> None:
    """Nothing else is known."""
    assert compare((), ((), 1), ((), 2)) < 0


def test_texts_are_in_the_order_of_their_code_points() -> None:
    """Not of UTF-16, nor of any language."""
    key = (Sort("name", "string"),)
    names = ["\U0001d400", "\uff21", "b", "a", "B"]
    ordered = sorted([((name,), 0) for name in names], key=key_of(key))
    assert [name for (name,), _ in ordered] == ["B", "a", "b", "\uff21", "\U0001d400"]
