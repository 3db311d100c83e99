"""SMART scopes: grammar, older spellings, and what they take away (access §2)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.auth.actor import Actor
from fhir_server.auth.scopes import (
    PARAMETERS,
    ResourceScope,
    allows,
    granted,
    is_scope,
    lies_within,
    parse_scope,
    print_scope,
    resource_scopes,
    scope_predicate,
)
from fhir_server.search.entries import Entries, Token
from fhir_server.search.facts import Facts
from fhir_server.search.match import Row, holds

CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
scopes = st.builds(
    ResourceScope,
    level=st.sampled_from(["patient", "user", "system"]),
    type=st.sampled_from(["*", "Patient", "Observation", "DocumentReference"]),
    letters=st.sets(st.sampled_from("cruds"), min_size=1).map(
        lambda found: "".join(each for each in "cruds" if each in found)
    ),
    criteria=st.lists(
        st.tuples(
            st.sampled_from(PARAMETERS),
            st.text(st.characters(exclude_characters=",", codec="utf-8"), min_size=1, max_size=12),
        ),
        max_size=2,
    ).map(tuple),
)


def actor(*texts: str, patients: tuple[str, ...] = ("p1",)) -> Actor:
    """A caller with these scopes."""
    return Actor("app", "Device/a", "A", "j", patients=patients, scopes=texts)


def shows(caller: Actor, facts: Facts, letters: str = "r", **entries: tuple[Token, ...]) -> bool:
    """Whether the caller's scopes leave that row."""
    refs = type("None", (), {"targets": lambda self, row: (), "referrers": lambda self, row: ()})()
    return holds(scope_predicate(caller, letters), Row(facts, Entries(**entries), 0), refs)


@settings(max_examples=200)
@given(scopes)
def test_a_printed_scope_reads_as_itself(scope: ResourceScope) -> None:
    """I19."""
    assert parse_scope(print_scope(scope)) == scope


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("patient/Observation.rs", "patient/Observation.rs"),
        ("user/*.cruds", "user/*.cruds"),
        ("patient/Observation.read", "patient/Observation.rs"),
        ("patient/Observation.write", "patient/Observation.cud"),
        ("system/*.*", "system/*.cruds"),
        ("system/Patient.search", "system/Patient.s"),
        ("system/DocumentReference.create", "system/DocumentReference.c"),
        ("system/DocumentReference.update", "system/DocumentReference.u"),
        ("system/DocumentReference.delete", "system/DocumentReference.d"),
        ("patient/Observation.rs?category=laboratory", "patient/Observation.rs?category=laboratory"),
        (f"patient/Observation.rs?category={CATEGORY}|laboratory", None),
    ],
)
def test_older_spellings_are_printed_as_letters(text: str, printed: str | None) -> None:
    """v1 and EU words."""
    assert printed is None or print_scope(parse_scope(text)) == printed
    assert parse_scope(print_scope(parse_scope(text))) == parse_scope(text)


@pytest.mark.parametrize(
    "text",
    [
        "patient/Observation.",
        "patient/Observation",
        "patient/Observation.sr",
        "patient/Observation.rr",
        "patient/Observation.x",
        "patient/observation.r",
        "Patient/Observation.r",
        "admin/Observation.r",
        "patient/Observation.rs?",
        "patient/Observation.rs?category",
        "patient/Observation.rs?category=",
        "patient/Observation.rs?category:in=x",
        "patient/Observation.rs?subject.name=x",
        "patient/Observation.rs?_filter=x",
        "patient/Observation.rs?category=a,b",
        "patient/Observation.rs ",
        "patient/*Observation.rs",
        "openid",
        "launch/patient",
        "",
    ],
)
def test_what_is_not_a_scope_on_resources_is_refused(text: str) -> None:
    """invalid_scope, and no right."""
    with pytest.raises(ValueError):
        parse_scope(text)
    assert not allows((text,), actor(), "Observation", "r")


def test_each_letter_is_a_right_of_its_own() -> None:
    """L64: read is not search, search is not read."""
    for letter in "cruds":
        assert [each for each in "cruds" if allows((f"user/Observation.{letter}",), actor(), "Observation", each)] == [
            letter
        ]
    assert not allows(("user/Observation.cruds",), actor(), "Condition", "r")
    assert allows(("user/*.r",), actor(), "Condition", "r")
    assert not allows(("user/Observation.r",), actor(), "*", "r")
    assert allows(("user/*.s",), actor(), "*", "s")


def test_no_scope_is_all_that_the_role_may_and_a_useless_one_is_nothing() -> None:
    """A first-party session has none; a token with `openid` alone opens no resource."""
    assert allows((), actor(), "Observation", "d")
    assert not allows(("openid", "fhirUser"), actor(), "Observation", "r")
    assert resource_scopes(("openid", "user/*.r")) == (ResourceScope("user", "*", "r"),)
    assert not shows(actor("openid"), Facts("Practitioner", "x", "public"))


def test_a_patient_scope_without_a_patient_gives_nothing() -> None:
    """L63."""
    assert not allows(("patient/*.r",), actor(patients=()), "Observation", "r")
    assert not shows(actor("patient/*.r", patients=()), Facts("Observation", "o", "record", "p1"))


def test_a_patient_scope_is_confined_to_the_patient_of_the_token() -> None:
    """Their record, and what is nobody's."""
    caller = actor("patient/*.r")
    assert shows(caller, Facts("Observation", "o", "record", "p1"))
    assert not shows(caller, Facts("Observation", "o", "record", "p2"))
    assert shows(caller, Facts("Practitioner", "x", "public"))
    assert shows(actor("user/*.r"), Facts("Observation", "o", "record", "p2"))


def test_criteria_are_part_of_what_is_seen() -> None:
    """L65: a narrowed scope narrows every row, and gives no right to write."""
    caller = actor(f"user/Observation.cruds?category={CATEGORY}|laboratory&code=x", "user/Patient.s")
    row = Facts("Observation", "o", "record", "p1")
    both = (Token("category", CATEGORY, "laboratory"), Token("code", None, "x"))
    assert shows(caller, row, tokens=both)
    assert not shows(caller, row, tokens=both[:1])
    assert not shows(caller, row, tokens=(Token("category", "other", "laboratory"), both[1]))
    assert not shows(caller, Facts("Patient", "p1", "record", "p1"))
    assert shows(caller, Facts("Patient", "p1", "record", "p1"), letters="s")
    assert allows(caller.scopes, caller, "Observation", "r")
    for letter in "cud":
        assert not allows(caller.scopes, caller, "Observation", letter)


@pytest.mark.parametrize(
    ("value", "system", "code", "expected"),
    [
        ("x", "any", "x", True),
        ("s|x", "s", "x", True),
        ("s|x", "t", "x", False),
        ("s|", "s", "y", True),
        ("|x", None, "x", True),
        ("|x", "s", "x", False),
        ("|", "s", "x", False),
    ],
)
def test_a_criterion_is_a_token_as_in_a_search(value: str, system: str | None, code: str, expected: bool) -> None:
    """code, system|code, system|, |code."""
    caller = actor(f"user/*.r?code={value}")
    assert shows(caller, Facts("Observation", "o", "record", "p1"), tokens=(Token("code", system, code),)) is expected


lists = st.lists(scopes.map(print_scope), max_size=3)
RIGHTS = [(type, letter) for type in ("Patient", "Observation", "DocumentReference", "Condition") for letter in "cruds"]


@settings(max_examples=200)
@given(lists, lists)
def test_what_is_granted_is_what_both_give(asked: list[str], allowed: list[str]) -> None:
    """I6: no right that one of the two lacks; every one that a pair of scopes of one level both give."""
    found = granted(asked, allowed)
    assert all(map(is_scope, found))
    assert lies_within(found, asked)
    assert lies_within(found, allowed)
    for level in ("patient", "user", "system"):
        one, other, both = (
            [each for each in scopes if each.startswith(level)] for scopes in (asked, allowed, list(found))
        )
        for right in RIGHTS:
            covered = [any(parse_scope(each).covers(*right) for each in scopes) for scopes in (one, other, both)]
            assert covered[2] <= (covered[0] and covered[1])
            if not any("?" in each for each in (*one, *other)):
                assert covered[2] == (covered[0] and covered[1])


@settings(max_examples=100)
@given(lists)
def test_all_of_what_one_may_have_is_granted(allowed: list[str]) -> None:
    """And lies within itself."""
    assert lies_within(allowed, allowed)
    assert lies_within(allowed, granted(allowed, allowed))


@pytest.mark.parametrize(
    ("asked", "allowed", "found"),
    [
        ("patient/*.rs", "patient/Observation.cruds patient/Patient.r", "patient/Observation.rs patient/Patient.r"),
        ("patient/Observation.read", "patient/*.rs", "patient/Observation.rs"),
        ("patient/*.rs", "user/*.rs", ""),
        ("openid launch/patient", "openid", "openid"),
        ("user/Observation.rs", "user/Observation.rs?category=laboratory", "user/Observation.rs?category=laboratory"),
        ("user/Observation.rs?code=x", "user/*.s", "user/Observation.s?code=x"),
        ("user/*.rs", "user/*.r user/Observation.r user/*.s", "user/*.r user/*.s"),
    ],
)
def test_a_scope_is_cut_to_what_is_allowed(asked: str, allowed: str, found: str) -> None:
    """Type, letters and criteria each; what another covers is not said twice."""
    assert " ".join(granted(asked.split(), allowed.split())) == found


def test_more_lies_in_nothing_less() -> None:
    """Each way of being more."""
    for more in ("patient/*.rs", "user/Observation.rs", "patient/Observation.rus", "patient/Observation.rs", "openid"):
        assert not lies_within([more], ["patient/Observation.rs?category=x"])
    assert lies_within(["patient/Observation.r?category=x&code=y"], ["patient/Observation.rs?category=x"])
