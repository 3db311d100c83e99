"""The storage contract: searching by every kind of entry, in order, page by page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fhir_server.search.entries import Amount, Entries, Number, Ref, Span, Text, Token, Uri
from fhir_server.search.facts import MASQUE_PS
from fhir_server.search.plan import Plan, Sort
from fhir_server.search.predicate import (
    TRUE,
    Bit,
    DateIs,
    Eq,
    In,
    NumberIs,
    Or,
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
)
from fhir_server.storage.interface import Snapshot, Store
from tests.storage.making import MILLISECOND, NOON, Clock, counted, deletion, found, ids, links, put, write

FULL = Entries(
    tokens=(
        Token("code", "http://loinc.org", "8867-4"),
        Token("code", None, "pulse"),
        Token("status", "urn:s", "final"),
    ),
    strings=(Text("description", "compte rendu d'ete", "Compte rendu d'été"),),
    dates=(Span("date", 100, 200),),
    numbers=(Number("probability", 0.45, 0.55),),
    quantities=(Amount("value-quantity", "http://unitsofmeasure.org", "/min", 79.5, 80.5),),
    references=(
        Ref("subject", "Patient/p1"),
        Ref("instantiates", "http://example.org/Plan|2"),
        Ref("encounter", "Encounter/never"),
    ),
    uris=(Uri("url", "http://example.org/fhir/ValueSet/a"),),
)
LOW_SURROGATE_NEIGHBOUR = "\ud7ff"

# Each leaf with whether the one full row satisfies it; the row without entries never does.
LEAVES = [
    (TokenIs("code", "http://loinc.org", "8867-4"), True),
    (TokenIs("code", None, "8867-4"), True),
    (TokenIs("code", "", "8867-4"), False),
    (TokenIs("code", "", "pulse"), True),
    (TokenIs("code", "http://loinc.org", "pulse"), False),
    (TokenIs("code", "http://loinc.org", None), True),
    (TokenIs("code", "", None), True),
    (TokenIs("code", None, None), True),
    (TokenIs("code", "http://unknown.example", None), False),
    (TokenIs("code", None, "8867"), False),
    (TokenIs("status", None, "8867-4"), False),
    (TokenIs("category", None, "8867-4"), False),
    (StringIs("description", "starts", "compte"), True),
    (StringIs("description", "starts", "compte rendu d'ete"), True),
    (StringIs("description", "starts", "rendu"), False),
    (StringIs("description", "starts", ""), True),
    (StringIs("description", "starts", "compte rendu d'ete et plus"), False),
    (StringIs("description", "starts", "\U0010ffff"), False),
    (StringIs("description", "starts", LOW_SURROGATE_NEIGHBOUR), False),
    (StringIs("description", "contains", "rendu"), True),
    (StringIs("description", "contains", "Rendu"), False),
    (StringIs("description", "contains", "%"), False),
    (StringIs("description", "contains", ""), True),
    (StringIs("description", "exact", "Compte rendu d'été"), True),
    (StringIs("description", "exact", "compte rendu d'ete"), False),
    (DateIs("date", "eq", 100, 200), True),
    (DateIs("date", "eq", 101, 200), False),
    (DateIs("date", "ne", 101, 200), True),
    (DateIs("date", "ne", 100, 200), False),
    (DateIs("date", "gt", 0, 199), True),
    (DateIs("date", "gt", 0, 200), False),
    (DateIs("date", "lt", 101, 300), True),
    (DateIs("date", "lt", 100, 300), False),
    (DateIs("date", "ge", 100, 300), True),
    (DateIs("date", "ge", 150, 200), False),
    (DateIs("date", "le", 50, 200), True),
    (DateIs("date", "le", 50, 199), False),
    (DateIs("date", "sa", 0, 100), True),
    (DateIs("date", "sa", 0, 101), False),
    (DateIs("date", "eb", 200, 300), True),
    (DateIs("date", "eb", 199, 300), False),
    (DateIs("date", "ap", 199, 300), True),
    (DateIs("date", "ap", 200, 300), False),
    (NumberIs("probability", "eq", 0.4, 0.6), True),
    (NumberIs("probability", "eq", 0.4, 0.55), False),
    (NumberIs("probability", "ne", 0.4, 0.55), True),
    (NumberIs("probability", "gt", 0.54, 0.54), True),
    (NumberIs("probability", "lt", 0.45, 0.45), False),
    (NumberIs("probability", "ge", 0.55, 0.55), True),
    (NumberIs("probability", "le", 0.45, 0.45), True),
    (NumberIs("probability", "sa", 0.45, 0.45), False),
    (NumberIs("probability", "eb", 0.56, 0.56), True),
    (NumberIs("probability", "ap", 0.55, 0.7), True),
    (QuantityIs("value-quantity", "eq", 79.0, 81.0, None, None), True),
    (QuantityIs("value-quantity", "eq", 79.0, 81.0, "http://unitsofmeasure.org", "/min"), True),
    (QuantityIs("value-quantity", "eq", 79.0, 81.0, None, "/h"), False),
    (QuantityIs("value-quantity", "eq", 79.0, 81.0, "", "/min"), False),
    (QuantityIs("value-quantity", "gt", 90.0, 90.0, None, None), False),
    (RefersTo("subject", "Patient/p1"), True),
    (RefersTo("subject", "Patient/p2"), False),
    (RefersTo("encounter", "Encounter/never"), True),
    (RefersTo("encounter", "Patient/p1"), False),
    (RefersTo("instantiates", "http://example.org/Plan|2"), True),
    (RefersTo("instantiates", "http://example.org/Plan"), False),
    (UriIs("url", "exact", "http://example.org/fhir/ValueSet/a"), True),
    (UriIs("url", "exact", "http://example.org/fhir/ValueSet"), False),
    (UriIs("url", "below", "http://example.org/fhir"), True),
    (UriIs("url", "below", "http://example.org/fhir/"), True),
    (UriIs("url", "below", "http://example.org/fhir/ValueSet/ab"), False),
    (UriIs("url", "above", "http://example.org/fhir/ValueSet/a/b"), True),
    (UriIs("url", "above", "http://example.org/fhir/ValueSet"), False),
    (Present("code"), True),
    (Present("description"), True),
    (Present("date"), True),
    (Present("probability"), True),
    (Present("value-quantity"), True),
    (Present("subject"), True),
    (Present("url"), True),
    (Present("performer"), False),
    (Updated(NOON, NOON + 1), True),
    (Updated(NOON + 1, None), False),
    (Updated(None, NOON), False),
    (Updated(None, None), True),
]


@pytest.mark.parametrize("patients", [("p1",), None], ids=["of a patient", "of all"])
@pytest.mark.parametrize(
    ("leaf", "satisfied"), LEAVES, ids=lambda each: repr(each) if not isinstance(each, bool) else ""
)
async def test_each_kind_of_entry_is_found_by_its_leaf(
    store: Store, clock: Clock, leaf: Predicate, satisfied: bool, patients: tuple[str, ...] | None
) -> None:
    """As the tables of search/match.py say; the negation finds the other rows."""
    await put(store, write("Observation/full", entries=FULL))
    clock.now += 10 * MILLISECOND
    await put(store, write("Observation/bare"))
    bare = isinstance(leaf, Updated) and leaf.high is None
    wanted = (["full"] if satisfied else []) + (["bare"] if bare else [])
    assert ids(await found(store, "Observation", where=leaf, patients=patients)) == wanted
    others = [id for id in ("full", "bare") if id not in wanted]
    assert ids(await found(store, "Observation", where=negate(leaf), patients=patients)) == others
    assert ids(await found(store, "Observation", where=TRUE, visible=leaf, patients=patients)) == wanted
    assert await counted(store, "Observation", where=leaf, patients=patients) == len(wanted)


async def test_an_or_of_alike_leaves_finds_each_row_once(store: Store) -> None:
    """Codes and targets are often asked for by the dozen; a row with two of them comes once."""
    for n in range(6):
        tokens = (Token("code", "urn:a", f"c{n}"), Token("code", None, "all"), Token("code", "urn:b", f"c{n}"))
        entries = Entries(tokens=tokens, references=(Ref("subject", f"Patient/s{n}"), Ref("subject", "Patient/all")))
        await put(store, write(f"Observation/o{n}", entries=entries))
    for patients in (("p1",), None):
        codes = disj(*(TokenIs("code", "urn:a", f"c{n}") for n in (1, 2, 3)), TokenIs("code", None, "c2"))
        assert ids(await found(store, "Observation", where=codes, patients=patients)) == ["o1", "o2", "o3"]
        targets = disj(RefersTo("subject", "Patient/s4"), RefersTo("subject", "Patient/all"))
        assert len(await found(store, "Observation", where=targets, patients=patients)) == 6
        either = disj(TokenIs("code", "urn:b", "c0"), RefersTo("subject", "Patient/s5"), Present("nothing"))
        assert ids(await found(store, "Observation", where=either, patients=patients)) == ["o0", "o5"]
        assert await counted(store, "Observation", where=targets, patients=patients) == 6


async def test_an_or_of_thousands_is_answered(store: Store) -> None:
    """A chain can end in as many targets as there are patients."""
    entries = Entries(references=(Ref("subject", "Patient/s7"),))
    await put(store, write("Observation/o1", entries=entries))
    targets = Or(tuple(RefersTo("subject", f"Patient/s{n}") for n in range(5000)))
    assert ids(await found(store, "Observation", where=targets)) == ["o1"]
    mixed = Or((*(Updated(n, n + 1) for n in range(1500)), RefersTo("subject", "Patient/s7")))
    assert ids(await found(store, "Observation", where=mixed)) == ["o1"]


async def test_a_parameter_of_one_type_says_nothing_of_another(store: Store) -> None:
    """Condition.code is not Observation.code, alone or in a search of both."""
    code = Entries(tokens=(Token("code", None, "x"),))
    await put(store, write("Observation/o", entries=code), write("Condition/c", entries=code), write("Condition/d"))
    wanted = TokenIs("code", None, "x")
    assert links(await found(store, "Condition", where=wanted)) == ["Condition/c"]
    assert links(await found(store, "Observation", "Condition", where=wanted)) == ["Observation/o", "Condition/c"]
    assert links(await found(store, "Condition", "Observation", where=negate(wanted))) == ["Condition/d"]


async def test_an_update_is_found_by_what_it_says_now(store: Store) -> None:
    """The entries of the version before are gone, those of both stay."""
    await put(store, write("Observation/o1", entries=FULL))
    now = replace(FULL, tokens=(Token("code", None, "pulse"), Token("code", None, "new")), dates=(), uris=())
    await put(store, write("Observation/o1", version=2, entries=now))
    for leaf in (TokenIs("code", "http://loinc.org", "8867-4"), Present("date"), Present("url"), Present("status")):
        assert await found(store, "Observation", where=leaf) == []
    for leaf in (TokenIs("code", None, "pulse"), TokenIs("code", None, "new"), RefersTo("subject", "Patient/p1")):
        assert ids(await found(store, "Observation", where=leaf)) == ["o1"]


async def test_an_update_may_move_a_resource_to_another_record(store: Store) -> None:
    """The store does not forbid it; consent does. The entries move along."""
    code = Entries(tokens=(Token("code", None, "x"),))
    await put(store, write("Observation/o1", entries=code))
    await put(store, write("Observation/o1", version=2, patient="p2", entries=code))
    wanted = TokenIs("code", None, "x")
    assert await found(store, "Observation", where=wanted, patients=("p1",)) == []
    assert ids(await found(store, "Observation", where=wanted, patients=("p2",))) == ["o1"]
    assert ids(await found(store, "Observation", where=wanted)) == ["o1"]


async def test_patients_are_found_among_all_patients_and_in_their_own_record(store: Store) -> None:
    """An identifier leads to a Patient without knowing whose record to look in."""
    for n in range(3):
        tokens = (Token("identifier", "urn:ins", str(n)), Token("gender", None, "female"))
        identifier = Entries(tokens=tokens, dates=(Span("birthdate", n, n + 1),))
        await put(store, write(f"Patient/p{n}", entries=identifier), write(f"Observation/o{n}", patient=f"p{n}"))
    wanted = TokenIs("identifier", "urn:ins", "1")
    assert ids(await found(store, "Patient", where=wanted)) == ["p1"]
    assert ids(await found(store, "Patient", where=wanted, patients=("p1",))) == ["p1"]
    assert await found(store, "Patient", where=wanted, patients=("p2",)) == []
    assert ids(await found(store, "Patient", where=DateIs("birthdate", "ge", 1, 2))) == ["p1", "p2"]
    female, male = TokenIs("gender", None, "female"), TokenIs("gender", None, "male")
    assert ids(await found(store, "Patient", where=conj(wanted, female), visible=female)) == ["p1"]
    assert await found(store, "Patient", where=conj(wanted, male)) == []
    assert await found(store, "Patient", where=wanted, visible=male) == []
    both = await found(store, "Patient", "Observation", patients=("p1",))
    assert links(both) == ["Patient/p1", "Observation/o1"]
    either = disj(wanted, Eq("rtype", "Observation"))
    assert links(await found(store, "Patient", "Observation", where=either, patients=("p1",))) == links(both)
    assert links(await found(store, "Patient", "Observation", where=wanted)) == ["Patient/p1"]


async def test_public_rows_are_found_by_everyone(store: Store) -> None:
    """The directory belongs to no record."""
    name = Entries(strings=(Text("name", "martin", "Martin"),), tokens=(Token("identifier", "urn:rpps", "1"),))
    await put(store, write("Practitioner/x", entries=name), write("Observation/o"))
    for where in (TRUE, StringIs("name", "starts", "mar"), TokenIs("identifier", "urn:rpps", "1"), Eq("patient", None)):
        assert ids(await found(store, "Practitioner", where=where)) == ["x"]
    assert await found(store, "Practitioner", where=TRUE, patients=("p1",)) == []
    assert ids(await found(store, "Practitioner", "Observation", where=Eq("kind", "public"))) == ["x"]


async def test_a_search_confined_to_records_finds_nothing_elsewhere(store: Store) -> None:
    """Unknown patients have no rows; no patients at all is nothing."""
    await put(store, *(write(f"Observation/o{n}", patient=f"p{n}") for n in range(4)))
    assert ids(await found(store, "Observation", patients=("p1", "p3"))) == ["o1", "o3"]
    assert ids(await found(store, "Observation", patients=("p1", "never"))) == ["o1"]
    assert await found(store, "Observation", patients=("never",)) == []
    assert await found(store, "Observation", patients=()) == []
    assert await counted(store, "Observation", patients=()) == 0


async def test_an_id_leads_straight_to_its_row(store: Store) -> None:
    """`_id` with other conditions, with several values, over several types."""
    await put(store, write("Observation/a"), write("Condition/a"), write("Observation/b", vis=MASQUE_PS))
    both = ("Observation", "Condition")
    assert links(await found(store, *both, where=Eq("id", "a"))) == ["Observation/a", "Condition/a"]
    assert links(await found(store, *both, where=In("id", frozenset({"a", "b", "c"})))) == [
        "Observation/a",
        "Condition/a",
        "Observation/b",
    ]
    seen = conj(In("id", frozenset({"a", "b"})), negate(Bit(MASQUE_PS)))
    assert links(await found(store, "Observation", where=seen, patients=("p1",))) == ["Observation/a"]
    assert await found(store, "Observation", where=Eq("id", "a"), patients=("p2",)) == []
    assert await found(store, "Observation", where=Eq("id", "never")) == []
    assert links(await found(store, *both, where=negate(Eq("id", "a")))) == ["Observation/b"]


# --- Order and pages

ORDERS: dict[tuple[Sort, ...], list[str]] = {
    (): ["c", "a", "d", "b"],
    (Sort("_id"),): ["a", "b", "c", "d"],
    (Sort("_id", descending=True),): ["d", "c", "b", "a"],
    (Sort("_lastUpdated"),): ["a", "d", "b", "c"],
    (Sort("_lastUpdated", descending=True),): ["c", "b", "d", "a"],
    (Sort("_lastUpdated", descending=True), Sort("_id")): ["c", "b", "d", "a"],
    (Sort("_lastUpdated"), Sort("_id", descending=True)): ["a", "d", "b", "c"],
}


async def in_order(store: Store, clock: Clock) -> None:
    """Created c, a, d and b (d and b at one time), then c changed."""
    await put(store, write("Observation/c"))
    clock.now += MILLISECOND
    await put(store, write("Observation/a"))
    clock.now += MILLISECOND
    await put(store, write("Observation/d"), write("Observation/b"))
    clock.now += MILLISECOND
    await put(store, write("Observation/c", version=2))


async def paged(snapshot: Snapshot, plan: Plan, visible: Predicate = TRUE) -> list[list[str]]:
    """The ids of every page."""
    pages = []
    while page := await snapshot.search(plan, visible=visible):
        pages.append(ids(page))
        plan = replace(plan, after=(page[-1].order, page[-1].position))
    return pages


@pytest.mark.parametrize("patients", [("p1",), None], ids=["of a patient", "of all"])
@pytest.mark.parametrize("sort", ORDERS, ids=repr)
async def test_rows_come_in_the_order_asked_for(
    store: Store, clock: Clock, sort: tuple[Sort, ...], patients: tuple[str, ...] | None
) -> None:
    """Ties go by position, in the same direction; pages of any size put together give the same rows."""
    await in_order(store, clock)
    for where in (TRUE, In("id", frozenset("abcd")), negate(Present("nothing"))):
        plan = Plan(("Observation",), where=where, patients=patients, sort=sort)
        async with store.snapshot() as snapshot:
            assert ids(await snapshot.search(plan, visible=TRUE)) == ORDERS[sort]
            for limit in (1, 2, 3):
                pages = await paged(snapshot, replace(plan, limit=limit))
                assert [id for page in pages for id in page] == ORDERS[sort]
                assert all(len(page) == limit for page in pages[:-1])


async def test_an_unknown_order_is_refused(store: Store) -> None:
    """Rather than giving any."""
    with pytest.raises(ValueError, match="sorted"):
        await found(store, "Observation", sort=(Sort("date"),))


async def test_types_are_mixed_in_one_order(store: Store) -> None:
    """A search of several types is one list; the same id in two types is two rows."""
    await put(store, write("Condition/b"), write("Observation/a"), write("Condition/a"))
    both = ("Observation", "Condition")
    assert links(await found(store, *both)) == ["Condition/b", "Observation/a", "Condition/a"]
    assert links(await found(store, *both, sort=(Sort("_id"),))) == ["Observation/a", "Condition/a", "Condition/b"]
    async with store.snapshot() as snapshot:
        pages = await paged(snapshot, Plan(both, sort=(Sort("_id"),), limit=1))
    assert pages == [["a"], ["a"], ["b"]]


async def test_a_page_can_be_empty_by_request(store: Store) -> None:
    """`limit=0` gives no row."""
    await put(store, write("Observation/o1"))
    assert await found(store, "Observation", limit=0) == []


async def test_a_count_does_not_depend_on_the_page(store: Store) -> None:
    """`after`, `limit` and the order change nothing."""
    await put(store, *(write(f"Observation/o{n}") for n in range(7)))
    assert await counted(store, "Observation", limit=2) == 7
    assert await counted(store, "Observation", limit=2, after=((), 5)) == 7
    assert await counted(store, "Observation", limit=0, sort=(Sort("_id", descending=True),)) == 7


@pytest.mark.parametrize("sort", ORDERS, ids=repr)
async def test_pages_hold_while_others_write(store: Store, clock: Clock, sort: tuple[Sort, ...]) -> None:
    """Rows that nobody touches come exactly once, whatever is added or deleted between the pages."""
    await put(store, *(write(f"Observation/m{n}") for n in range(10)))
    seen: list[str] = []
    plan = Plan(("Observation",), patients=("p1",), sort=sort, limit=3)
    for step in range(20):
        page = await found(store, "Observation", patients=("p1",), sort=sort, limit=3, after=plan.after)
        if not page:
            break
        seen += ids(page)
        plan = replace(plan, after=(page[-1].order, page[-1].position))
        clock.now += MILLISECOND
        await put(store, write(f"Observation/a{step}"), write(f"Observation/z{step}", vis=MASQUE_PS))
        if step:
            await put(store, deletion(f"Observation/a{step - 1}", 2))
    kept = [id for id in seen if id.startswith("m")]
    assert sorted(kept) == [f"m{n}" for n in range(10)]
    assert len(seen) == len(set(seen))
