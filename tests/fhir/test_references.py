"""A reference is read from its text alone: https://hl7.org/fhir/R4/references.html#literal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.fhir.references import ParsedReference, parse_reference

UUID = "urn:uuid:0b5903af-a008-4780-8179-52c268784af8"
BASE = "http://example.org/fhir"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Patient/1", ParsedReference("relative", "Patient", "1")),
        ("Patient/a.b-C9", ParsedReference("relative", "Patient", "a.b-C9")),
        ("Patient/1/_history/2", ParsedReference("relative", "Patient", "1", "2")),
        (BASE + "/Patient/1", ParsedReference("absolute", "Patient", "1", base=BASE)),
        (BASE + "/Patient/1/_history/2", ParsedReference("absolute", "Patient", "1", "2", BASE)),
        ("https://h:8080/a/b/Patient/1", ParsedReference("absolute", "Patient", "1", base="https://h:8080/a/b")),
        (
            "http://h/Patient/1/Observation/2",
            ParsedReference("absolute", "Observation", "2", base="http://h/Patient/1"),
        ),
        (BASE, ParsedReference("absolute")),
        (BASE + "/Patient/a_b", ParsedReference("absolute")),
        ("mailto:a@example.org", ParsedReference("absolute")),
        ("#x", ParsedReference("fragment", id="x")),
        ("#", ParsedReference("fragment")),
        (UUID, ParsedReference("urn", id=UUID)),
        ("urn:oid:1.2.3", ParsedReference("urn", id="urn:oid:1.2.3")),
        ("Patient?identifier=s|v&x=y", ParsedReference("conditional", "Patient", query="identifier=s|v&x=y")),
    ],
)
def test_each_form_is_read_into_its_parts(text: str, expected: ParsedReference) -> None:
    """Relative, absolute, fragment, urn, conditional; with a version where one is named."""
    assert parse_reference(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "Patient", "Patient/", "/Patient/1", "patient/1", "Patient/1/", "Patient/1/_history", "Patient/a b",
        "Patient/1 ", "Patient/1\n", "Patient?", "?a=b", "# x", "urn:", "urn:uuid: x", "http://a b",
        "Patient/" + "x" * 65, "Patient/1?x=y", "Pati3nt/1", "Patient/1/_history/", "../Patient/1",
    ],
)  # fmt: skip
def test_anything_else_is_invalid(text: str) -> None:
    """Without raising."""
    assert parse_reference(text) == ParsedReference("invalid")


IDS = st.from_regex(r"[A-Za-z0-9.\-]{1,64}", fullmatch=True)
TYPES = st.from_regex(r"[A-Z][A-Za-z]{1,20}", fullmatch=True)


@given(TYPES, IDS, IDS | st.just(""))
def test_what_is_put_together_comes_apart_again(type_name: str, id: str, version: str) -> None:
    """Relative and absolute, with and without version."""
    text = f"{type_name}/{id}" + (f"/_history/{version}" if version else "")
    assert parse_reference(text) == ParsedReference("relative", type_name, id, version)
    assert parse_reference(f"{BASE}/{text}") == ParsedReference("absolute", type_name, id, version, BASE)


@given(st.text(max_size=40))
def test_any_text_is_answered(text: str) -> None:
    """Nothing raises, and what has a type has the text of it."""
    parsed = parse_reference(text)
    assert parsed.type in text
    assert parsed.id in text


def test_a_long_text_takes_no_longer_than_its_length() -> None:
    """No form backtracks over the whole of a hostile text."""
    for text in ("http://" + "a/" * 200_000, "http://" + "A" * 400_000, "http://x/" + "Patient/" * 50_000 + " "):
        assert parse_reference(text).kind in ("absolute", "invalid")


def test_a_long_text_is_read_as_a_short_one() -> None:
    """What is remembered of short texts and what is read anew of long ones is the same."""
    query = "identifier=" + "a" * 1_000
    assert parse_reference(f"Patient?{query}") == ParsedReference("conditional", "Patient", query=query)
    assert parse_reference(f"https://h/{'a/' * 500}Patient/1").base == "https://h/" + "a/" * 499 + "a"
