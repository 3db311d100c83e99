"""The memory reader: two-valued logic over facts, entries and links."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from math import inf
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.search import match, predicate
from fhir_server.search.entries import Amount, Combination, Entries, Number, Prose, Ref, Span, Text, Token, Uri
from fhir_server.search.facts import INVISIBLE_PATIENT, MASQUE_PS, MULTI, SINGLE, TIMES, Facts
from fhir_server.search.match import Row, holds
from fhir_server.search.predicate import (
    FALSE,
    TRUE,
    AllRefs,
    AnyRef,
    Bit,
    Chained,
    DateIs,
    Eq,
    Has,
    In,
    NumberIs,
    Predicate,
    Present,
    QuantityIs,
    Referred,
    RefersTo,
    Rng,
    SomeRef,
    StringIs,
    Together,
    TokenIs,
    Updated,
    UriIs,
    Words,
    conj,
    disj,
    has_any,
    negate,
    one_of,
)

FACTS = Facts(
    rtype="DocumentReference",
    id="d1",
    kind="record",
    patient="p1",
    type_code="34133-9",
    vis=MASQUE_PS,
    labels=frozenset({"PSY"}),
    authors=frozenset({"rpps:1"}),
    data_time=1000,
    deposited_at=2000,
    lineage="DocumentReference/d1",
    links=frozenset({"Patient/p1", "Binary/b1"}),
)
ENTRIES = Entries(
    tokens=(Token("status", None, "current"), Token("type", "http://loinc.org", "34133-9"), Token("type", "", "x")),
    strings=(Text("description", "compte rendu", "Compte rendu"),),
    dates=(Span("date", 100, 200),),
    numbers=(Number("n", 5.0, 5.0),),
    quantities=(Amount("q", "http://unitsofmeasure.org", "mg", 5.4, 5.4),),
    references=(Ref("subject", "Patient/p1"),),
    uris=(Uri("url", "http://x/fhir/ValueSet/1"),),
    combinations=(
        Combination("relationship", Entries(tokens=(Token("1", None, "replaces"),), references=(Ref("0", "D/1"),))),
        Combination("relationship", Entries(tokens=(Token("1", None, "signs"),), references=(Ref("0", "D/2"),))),
    ),
    prose=(Prose("_text", "aigu du oedeme"),),
)
ROW = Row(FACTS, ENTRIES, 3000)


def test_every_node_of_the_algebra_has_a_test() -> None:
    """The table of tests and the type Predicate name the same nodes."""
    nodes = {
        node for part in get_args(predicate.Predicate) for node in (get_args(part) or (part,)) if isinstance(node, type)
    }
    assert set(match._TESTS) == nodes


def test_an_unknown_node_is_an_error_not_an_answer() -> None:
    """Something that is no predicate is never taken for true or false."""
    with pytest.raises(KeyError):
        holds("true", ROW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (TRUE, True),
        (FALSE, False),
        (Eq("patient", "p1"), True),
        (Eq("patient", "p2"), False),
        (Eq("patient", None), False),
        (Eq("class_code", None), True),
        (Eq("class_code", "10"), False),
        (In("rtype", frozenset({"DocumentReference", "List"})), True),
        (In("rtype", frozenset({"List"})), False),
        (In("class_code", frozenset({"10"})), False),
        (In("rtype", frozenset()), False),
        (Has("labels", "PSY"), True),
        (Has("labels", "SDV"), False),
        (Has("participants", "rpps:1"), False),
        (Bit(MASQUE_PS), True),
        (Bit(MASQUE_PS | INVISIBLE_PATIENT), True),
        (Bit(INVISIBLE_PATIENT), False),
        (Bit(0), False),
        (Rng("data_time", 1000, 1001), True),
        (Rng("data_time", None, 1000), False),
        (Rng("data_time", 1001, None), False),
        (Rng("data_time", None, None), True),
        (Rng("release_at", None, None), False),
        (Updated(3000, 3001), True),
        (Updated(None, 3000), False),
        (Updated(3001, None), False),
        (Updated(None, None), True),
        (TokenIs("status", None, "current"), True),
        (TokenIs("status", "", "current"), True),
        (TokenIs("status", "http://x", "current"), False),
        (TokenIs("status", None, "Current"), False),
        (TokenIs("type", "http://loinc.org", None), True),
        (TokenIs("type", "http://loinc.org", "x"), False),
        (TokenIs("type", "", "x"), True),
        (TokenIs("type", None, None), True),
        (TokenIs("category", None, None), False),
        (StringIs("description", "starts", "compte"), True),
        (StringIs("description", "starts", "rendu"), False),
        (StringIs("description", "contains", "rendu"), True),
        (StringIs("description", "exact", "Compte rendu"), True),
        (StringIs("description", "exact", "compte rendu"), False),
        (StringIs("title", "contains", ""), False),
        (DateIs("date", "eq", 100, 200), True),
        (DateIs("period", "eq", 100, 200), False),
        (NumberIs("n", "eq", 4.5, 5.5), True),
        (NumberIs("m", "eq", 4.5, 5.5), False),
        (QuantityIs("q", "eq", 5.35, 5.45, "http://unitsofmeasure.org", "mg"), True),
        (QuantityIs("q", "eq", 5.35, 5.45, None, "mg"), True),
        (QuantityIs("q", "eq", 5.35, 5.45, None, None), True),
        (QuantityIs("q", "eq", 5.35, 5.45, "http://unitsofmeasure.org", "kg"), False),
        (QuantityIs("q", "eq", 5.35, 5.45, "http://x", None), False),
        (QuantityIs("r", "eq", 5.35, 5.45, None, None), False),
        (RefersTo("subject", "Patient/p1"), True),
        (RefersTo("subject", "Patient/p"), False),
        (RefersTo("author", "Patient/p1"), False),
        (UriIs("url", "exact", "http://x/fhir/ValueSet/1"), True),
        (UriIs("url", "exact", "http://x/fhir/ValueSet"), False),
        (UriIs("url", "below", "http://x/fhir/"), True),
        (UriIs("url", "below", "http://y/"), False),
        (UriIs("url", "above", "http://x/fhir/ValueSet/1/_history/5"), True),
        (UriIs("url", "above", "http://x/fhir/"), False),
        (Present("status"), True),
        (Present("description"), True),
        (Present("date"), True),
        (Present("n"), True),
        (Present("q"), True),
        (Present("subject"), True),
        (Present("url"), True),
        (Present("period"), False),
        (StringIs("description", "equals", "compte rendu"), True),
        (StringIs("description", "equals", "compte"), False),
        (Together("relationship", (RefersTo("0", "D/1"), TokenIs("1", None, "replaces"))), True),
        (Together("relationship", (RefersTo("0", "D/1"), TokenIs("1", None, "signs"))), False),
        (Together("other", (RefersTo("0", "D/1"),)), False),
        (RefersTo("0", "D/1"), False),
        (Words("_text", ("aigu", "oedeme")), True),
        (Words("_text", ("aigu", "oede")), False),
        (Words("_content", ("aigu",)), True),
        (Words("_content", ("foie",)), False),
        (conj(Eq("patient", "p1"), Has("labels", "PSY")), True),
        (conj(Eq("patient", "p1"), Has("labels", "SDV")), False),
        (disj(Eq("patient", "p2"), Has("labels", "PSY")), True),
        (disj(Eq("patient", "p2"), Has("labels", "SDV")), False),
    ],
)
def test_each_node_says_what_the_algebra_says(asked: Predicate, answer: bool) -> None:
    """And its negation the contrary: a test on an absent value is false, never unknown."""
    assert holds(asked, ROW) is answer
    assert holds(negate(asked), ROW) is not answer


# How ranges compare, by the definitions of https://hl7.org/fhir/R4/search.html#prefix

PREFIXES = ["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]
DATES = {
    # entry: [low, high) against the search [100, 200)
    (120, 130): "eq ge le ap",
    (100, 200): "eq ge le ap",
    (100, 201): "ne gt ge ap",
    (99, 200): "ne lt le ap",
    (50, 300): "ne gt lt ge le ap",
    (50, 120): "ne lt le ap",
    (150, 250): "ne gt ge ap",
    (200, 210): "ne gt ge sa",
    (90, 100): "ne lt le eb",
    (-(2**62), 2**62): "ne gt lt ge le ap",
    (150, 2**62): "ne gt ge ap",
    (200, 2**62): "ne gt ge sa",
    (-(2**62), 100): "ne lt le eb",
}
NUMBERS = {
    # entry: [low, high] closed; eq and ne against [99.5, 100.5), ap against [90, 110], the rest against 100
    (100.0, 100.0): "eq ge le ap",
    (99.5, 99.5): "eq lt le eb ap",
    (100.5, 100.5): "ne gt ge sa ap",
    (99.0, 99.0): "ne lt le eb ap",
    (110.0, 110.0): "ne gt ge sa ap",
    (111.0, 111.0): "ne gt ge sa",
    (89.0, 89.0): "ne lt le eb",
    (99.0, 101.0): "ne gt lt ge le ap",
    (-inf, 99.0): "ne lt le eb ap",
    (-inf, inf): "ne gt lt ge le ap",
    (100.0, inf): "ne gt ge le ap",
}


@pytest.mark.parametrize(("entry", "matching"), DATES.items())
def test_dates_compare_as_half_open_ranges(entry: tuple[int, int], matching: str) -> None:
    """eq contains, gt and lt reach beyond, ge and le also contain, sa and eb lie wholly beyond, ap overlaps."""
    row = Row(FACTS, Entries(dates=(Span("date", *entry),)), 0)
    assert [prefix for prefix in PREFIXES if holds(DateIs("date", prefix, 100, 200), row)] == matching.split()


@pytest.mark.parametrize(("entry", "matching"), NUMBERS.items())
def test_numbers_compare_with_the_exact_value_except_for_eq_and_ne(entry: tuple[float, float], matching: str) -> None:
    """Quantities too."""
    asked = dict.fromkeys(PREFIXES, (100.0, 100.0)) | {
        "eq": (99.5, 100.5),
        "ne": (99.5, 100.5),
        "ap": (90.0, 110.0),
    }
    number = Row(FACTS, Entries(numbers=(Number("n", *entry),)), 0)
    amount = Row(FACTS, Entries(quantities=(Amount("n", "", "", *entry),)), 0)
    found = [prefix for prefix in PREFIXES if holds(NumberIs("n", prefix, *asked[prefix]), number)]
    assert found == matching.split()
    assert found == [p for p in PREFIXES if holds(QuantityIs("n", p, *asked[p], None, None), amount)]


def test_a_parameter_with_many_entries_matches_by_any_of_them() -> None:
    """So eq and ne, gt and lt can all hold of one resource."""
    row = Row(FACTS, Entries(dates=(Span("date", 10, 20), Span("date", 100, 200))), 0)
    for prefix in ("eq", "ne", "lt", "ap"):
        assert holds(DateIs("date", prefix, 100, 200), row)
    assert not holds(DateIs("date", "gt", 100, 200), row)


def test_unit_and_value_of_a_quantity_are_of_the_same_entry() -> None:
    """5 mg and 7 kg are not 5 kg."""
    row = Row(FACTS, Entries(quantities=(Amount("q", "u", "mg", 5.0, 5.0), Amount("q", "u", "kg", 7.0, 7.0))), 0)
    assert holds(QuantityIs("q", "eq", 4.5, 5.5, "u", "mg"), row)
    assert not holds(QuantityIs("q", "eq", 4.5, 5.5, "u", "kg"), row)


# Links


@dataclass
class Linked:
    """A small world of linked rows."""

    to: list[tuple[Facts, bool]]
    by: list[Facts]

    def targets(self, facts: Facts) -> Iterable[tuple[Facts, bool]]:
        assert facts is FACTS
        return self.to

    def referrers(self, facts: Facts) -> Iterable[Facts]:
        assert facts is FACTS
        return self.by

    def row(self, link: str) -> Row | None:
        rows = {f"{facts.rtype}/{facts.id}": Row(facts, ENTRIES, 0) for facts, live in self.to if live}
        return rows.get(link)

    def referring(self, type: str, param: str, link: str) -> Iterable[Row]:
        assert (param, link) == ("subject", "DocumentReference/d1")
        return [Row(facts, ENTRIES, 0) for facts in self.by if facts.rtype == type]


OPEN = Facts("Observation", "open", "record", "p1")
HIDDEN = replace(OPEN, id="hidden", vis=MASQUE_PS)
PUBLIC = Facts("Practitioner", "dr", "public", vis=MASQUE_PS)
UNMASKED = negate(Bit(MASQUE_PS))


@pytest.mark.parametrize(
    ("targets", "answer"),
    [
        ([], True),
        ([(OPEN, True)], True),
        ([(OPEN, True), (HIDDEN, True)], False),
        ([(OPEN, False)], False),
        ([(HIDDEN, False)], False),
        ([(PUBLIC, True), (PUBLIC, False)], True),
    ],
)
def test_all_refs_wants_every_known_record_resource_live_and_right(
    targets: list[tuple[Facts, bool]], answer: bool
) -> None:
    """Deleted ones fail, public ones and unknown ones say nothing, none at all is fine."""
    refs = Linked(targets, [])
    assert holds(AllRefs(UNMASKED), ROW, refs) is answer
    assert holds(negate(AllRefs(UNMASKED)), ROW, refs) is not answer


@pytest.mark.parametrize(
    ("targets", "answer"),
    [
        ([], False),
        ([(OPEN, True)], True),
        ([(OPEN, True), (HIDDEN, True)], True),
        ([(OPEN, False)], False),
        ([(HIDDEN, True)], False),
        ([(PUBLIC, True)], False),
    ],
)
def test_some_ref_wants_one_record_resource_live_and_right(targets: list[tuple[Facts, bool]], answer: bool) -> None:
    """Deleted and public ones do not count, none at all is not enough."""
    refs = Linked(targets, [])
    assert holds(SomeRef(UNMASKED), ROW, refs) is answer
    assert holds(negate(SomeRef(UNMASKED)), ROW, refs) is not answer


@pytest.mark.parametrize(("referrers", "answer"), [([], False), ([HIDDEN], False), ([HIDDEN, OPEN], True)])
def test_any_ref_wants_one_that_links_here(referrers: list[Facts], answer: bool) -> None:
    """Some live resource with a link to this one is right."""
    assert holds(AnyRef(UNMASKED), ROW, Linked([], referrers)) is answer


def test_linked_rows_are_judged_by_their_facts_alone() -> None:
    """They come without entries."""
    refs = Linked([(OPEN, True)], [OPEN])
    assert not holds(AllRefs(Present("status")), ROW, refs)
    assert not holds(AnyRef(Present("status")), ROW, refs)


CURRENT = TokenIs("status", None, "current")


@pytest.mark.parametrize(
    ("hop", "answer"),
    [
        (Chained("subject", ("Patient",), CURRENT, TRUE), True),
        (Chained("subject", ("Group", "Patient"), CURRENT, UNMASKED), True),
        (Chained("subject", ("Group",), CURRENT, TRUE), False),
        (Chained("author", ("Patient",), CURRENT, TRUE), False),
        (Chained("subject", ("Patient",), negate(CURRENT), TRUE), False),
        (Chained("subject", ("Patient",), CURRENT, Bit(MASQUE_PS)), False),
        (Referred("Observation", "subject", CURRENT, TRUE), True),
        (Referred("Observation", "subject", Eq("id", "hidden"), TRUE), True),
        (Referred("Observation", "subject", Eq("id", "hidden"), UNMASKED), False),
        (Referred("Condition", "subject", CURRENT, TRUE), False),
        (Referred("Observation", "subject", negate(CURRENT), TRUE), False),
    ],
)
def test_a_hop_leads_to_live_rows_that_the_caller_sees(hop: Predicate, answer: bool) -> None:
    """They are judged whole, entries and all; what is hidden is as if it were not there, also under a negation."""
    patient = Facts("Patient", "p1", "record")
    refs = Linked([(patient, True)], [OPEN, HIDDEN])
    assert holds(hop, ROW, refs) is answer
    assert holds(negate(hop), ROW, refs) is not answer
    assert not holds(hop, ROW, Linked([(patient, False)], []))


def test_following_links_without_the_links_is_an_error() -> None:
    """Neither true nor false would be safe."""
    for asked in (AllRefs(TRUE), SomeRef(TRUE), AnyRef(TRUE), conj(Eq("patient", "p1"), AllRefs(TRUE))):
        with pytest.raises(ValueError, match="links"):
            holds(asked, ROW)


# Laws

LEAVES = st.sampled_from([
    TRUE, FALSE, Eq("patient", "p1"), Eq("class_code", None), In("rtype", frozenset({"List"})), Has("labels", "PSY"),
    Bit(INVISIBLE_PATIENT), Rng("data_time", 0, 10), TokenIs("status", None, "current"), Present("period"),
])  # fmt: skip
PREDICATES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda parts: conj(*parts))
        | st.lists(inner, max_size=4).map(lambda parts: disj(*parts))
        | inner.map(negate)
    ),
    max_leaves=20,
)


@given(PREDICATES, PREDICATES)
def test_the_logic_is_two_valued(a: Predicate, b: Predicate) -> None:
    """Excluded middle, de Morgan, and constructors that change no meaning when they simplify."""
    assert holds(negate(a), ROW) is not holds(a, ROW)
    assert holds(conj(a, b), ROW) is (holds(a, ROW) and holds(b, ROW))
    assert holds(disj(a, b), ROW) is (holds(a, ROW) or holds(b, ROW))
    assert holds(negate(conj(a, b)), ROW) is holds(disj(negate(a), negate(b)), ROW)


def test_constructors_simplify_what_is_decided() -> None:
    """No needless nodes reach a store."""
    leaf = Eq("patient", "p1")
    assert (negate(TRUE), negate(FALSE), negate(negate(leaf))) == (FALSE, TRUE, leaf)
    assert (one_of("rtype", []), one_of("rtype", ["A"])) == (FALSE, Eq("rtype", "A"))
    assert one_of("rtype", ["A", "B"]) == In("rtype", frozenset({"A", "B"}))
    assert (has_any("labels", []), has_any("labels", ["PSY"])) == (FALSE, Has("labels", "PSY"))
    assert (conj(), disj(), conj(leaf), disj(leaf, FALSE)) == (TRUE, FALSE, leaf, leaf)
    assert conj(leaf, conj(TRUE, leaf, Bit(1))) == conj(leaf, Bit(1))


def test_every_column_that_may_be_asked_for_is_a_fact() -> None:
    """SINGLE, MULTI and TIMES name attributes of Facts, so no predicate can fail on a name."""
    assert {each.name for each in fields(Facts)} >= SINGLE | MULTI | TIMES
