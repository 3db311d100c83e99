"""What is blind is found as if it were not. That SQL finds it too: test_sqlite_at_rest.py."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.fhir.identity import INS_NIR, INS_NIR_TEST, ins_key
from fhir_server.search.entries import Combination, Entries, Prose, Token
from fhir_server.search.facts import Facts
from fhir_server.search.match import Row, holds
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import (
    AllRefs,
    AnyRef,
    Chained,
    Eq,
    Not,
    Predicate,
    Present,
    Referred,
    Together,
    TokenIs,
    Words,
    conj,
    disj,
)
from fhir_server.storage.blind import asked, asked_plan, blinded

NUMBER = "279035121518989"
CORSICAN = "178062A004001"
CODES = st.sampled_from(
    (NUMBER, CORSICAN + ins_key(CORSICAN), "2790351215189", "2 79 03 51 215 189 89", "x", "odd", "")
)
SYSTEMS = st.sampled_from((None, "", INS_NIR, INS_NIR_TEST, INS_NIR.removeprefix("urn:oid:"), "urn:other"))
PARAMS = st.sampled_from(("identifier", "subject:identifier", "code"))
OF_TYPE = st.builds(Token, st.just("identifier:of-type"), st.just("urn:types"), CODES.map("INS-NIR|{}".format))
TOKENS = st.builds(Token, PARAMS, SYSTEMS, CODES) | OF_TYPE
WORDS = st.sampled_from((NUMBER, "mots", "2a", "1790351215189"))
PROSE = st.builds(Prose, st.sampled_from(("_text", "_content")), st.lists(WORDS, min_size=1, unique=True).map(" ".join))
ENTRIES = st.builds(
    Entries,
    tokens=st.lists(TOKENS, max_size=3).map(tuple),
    prose=st.lists(PROSE, max_size=2).map(tuple),
    combinations=st.lists(
        st.builds(
            Combination,
            st.just("pair"),
            st.builds(Entries, tokens=st.builds(Token, st.just("0"), SYSTEMS, CODES).map(lambda token: (token,))),
        ),
        max_size=1,
    ).map(tuple),
)
LEAVES: st.SearchStrategy[Predicate] = (
    st.builds(TokenIs, PARAMS, SYSTEMS, CODES | st.none())
    | OF_TYPE.map(lambda token: TokenIs(*token))
    | st.builds(Words, st.sampled_from(("_text", "_content")), WORDS.map(lambda word: (word,)))
    | st.builds(Together, st.just("pair"), st.builds(TokenIs, st.just("0"), SYSTEMS, CODES).map(lambda leaf: (leaf,)))
    | st.builds(Present, PARAMS)
)
QUESTIONS = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: conj(*parts))
        | st.lists(inner, min_size=2, max_size=3).map(lambda parts: disj(*parts))
        | inner.map(Not)
    ),
    max_leaves=4,
)


def blind(value: str) -> str:
    """As a store's cipher does it."""
    return sha256(b"key" + value.encode()).hexdigest()[:32]


def row(entries: Entries) -> Row:
    """Somebody's."""
    return Row(Facts("Patient", "p1", "record", "p1"), entries, 0)


@settings(max_examples=500)
@given(ENTRIES, QUESTIONS)
def test_a_blind_question_finds_in_blind_entries_what_the_question_finds(entries: Entries, question: Predicate) -> None:
    """`:not` and `:missing` included; no value of an INS system, and nothing that looks like an INS, is left."""
    hidden = blinded(entries, blind)
    assert holds(asked(question, blind), row(hidden)) == holds(question, row(entries))
    left = [token.code for token in hidden.tokens if token.system in (INS_NIR, INS_NIR_TEST)]
    assert all(len(code) == 32 for code in left)
    assert NUMBER not in repr(hidden)


def test_what_hides_nothing_stays_the_very_same() -> None:
    """So that what is remembered of a predicate by identity is found again."""
    clear = Entries(tokens=(Token("code", "urn:s", "x"),), prose=(Prose("_text", "a b"),))
    assert blinded(clear, blind) is clear
    leaf = TokenIs("code", "urn:s", "x")
    far = Chained("subject", ("Patient",), leaf, Eq("patient", "p1"))
    for same in (leaf, far, Not(leaf), conj(leaf, Eq("id", "x")), AllRefs(leaf), AnyRef(leaf), Words("_text", ("a",))):
        assert asked(same, blind) is same
    plan = Plan(("Patient",), leaf)
    assert asked_plan(plan, blind) is plan


@pytest.mark.parametrize("wrap", [
    lambda leaf: Chained("subject", ("Patient",), leaf, leaf),
    lambda leaf: Referred("Observation", "subject", leaf, leaf),
    AllRefs,
    AnyRef,
    Not,
    lambda leaf: conj(leaf, Eq("id", "x")),
    lambda leaf: Together("pair", (leaf,)),
])  # fmt: skip
def test_a_number_is_hidden_however_deep_it_is_asked(wrap: object) -> None:
    """In hops and in what the caller may see at their ends too."""
    question = wrap(TokenIs("identifier", INS_NIR, NUMBER))  # type: ignore[operator]
    assert NUMBER not in repr(asked(question, blind))
    assert NUMBER not in repr(asked_plan(Plan(("Patient",), question), blind))
    assert repr(asked(question, blind)).count(blind(NUMBER)) == repr(question).count(NUMBER)
