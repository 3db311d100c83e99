"""Where a SQLite search begins: with what is fewest, by an index, and to the same result wherever it is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings

from fhir_server.search.entries import Amount, Combination, Entries, Number, Prose, Ref, Span, Text, Token, Uri
from fhir_server.search.plan import Plan, Sort
from fhir_server.search.predicate import (
    TRUE,
    AllRefs,
    AnyRef,
    Chained,
    DateIs,
    Eq,
    Has,
    In,
    Predicate,
    QuantityIs,
    Referred,
    RefersTo,
    Rng,
    StringIs,
    Together,
    TokenIs,
    UriIs,
    Words,
    conj,
    disj,
    negate,
)
from fhir_server.storage import open_store
from fhir_server.storage.sqlite import start
from fhir_server.storage.sqlite.query import Query
from fhir_server.storage.sqlite.store import SqliteStore
from tests.storage.making import Clock, found, ids, of, put, write
from tests.storage.worlds import PLANS, PREDICATES, WORLDS, World

FULL = Entries(
    tokens=(Token("code", "urn:s", "x"), Token("identifier", "urn:s", "1")),
    strings=(Text("name", "abc", "Abc"),),
    dates=(Span("date", 1, 2),),
    numbers=(Number("factor", 1, 2),),
    quantities=(Amount("value", "urn:u", "kg", 1, 2),),
    references=(Ref("subject", "Patient/p1"),),
    uris=(Uri("url", "http://x/a"),),
    combinations=(Combination("pair", Entries(tokens=(Token("0", None, "x"),))),),
    prose=(Prose("_content", "mot"),),
)
GATHERED = {"SCAN p", "SCAN words VIRTUAL TABLE INDEX 0:M1", "SCAN words VIRTUAL TABLE INDEX 0:M1="}
"""Rows that a step before has chosen, and the postings of words."""

CONSENT = conj(of("p1"), disj(Has("authors", "rpps:1"), In("class_code", frozenset({"10", "11"}))))
EITHER = disj(TokenIs("code", "urn:s", "x"), TokenIs("code", "urn:s", "y"))


@pytest.fixture
def store(tmp_path: Path, runner: asyncio.Runner) -> Iterator[SqliteStore]:
    """One resource of each kind, with every kind of entry."""
    made = SqliteStore(tmp_path / "store.db", clock=Clock())
    rows = (write(link, entries=FULL) for link in ("Observation/o", "Patient/p1", "Practitioner/x"))
    runner.run(put(made, *rows))
    yield made
    runner.run(made.close())


async def steps(store: SqliteStore, plan: Plan, visible: Predicate) -> list[str]:
    """How SQLite goes about a search and its count."""
    async with store.snapshot() as snapshot:
        asked = Query(snapshot._reader, plan, visible)
        return [
            step[3]
            for text, args in (*asked.statements(), asked.counting())
            for step in snapshot._cursor.execute(f"EXPLAIN QUERY PLAN {text}", args).fetchall()
        ]


@pytest.mark.parametrize("sort", [(), (Sort("_lastUpdated", descending=True),), (Sort("date", "date"),)], ids=repr)
@pytest.mark.parametrize(
    "where",
    [
        TRUE,
        Eq("id", "o"),
        TokenIs("code", "urn:s", "x"),
        TokenIs("code", None, "x"),
        EITHER,
        conj(EITHER, DateIs("date", "ge", 0, 1)),
        DateIs("date", "eq", 0, 5),
        QuantityIs("value", "gt", 0, 0, None, None),
        StringIs("name", "starts", "ab"),
        RefersTo("subject", "Patient/p1"),
        UriIs("url", "below", "http://x"),
        negate(TokenIs("code", "urn:s", "x")),
        AllRefs(CONSENT),
        AnyRef(CONSENT),
        AllRefs(AllRefs(AnyRef(CONSENT))),
        Words("_content", ("mot",)),
        Together("pair", (TokenIs("0", None, "x"),)),
        Chained("subject", ("Patient",), StringIs("name", "starts", "ab"), CONSENT),
        Chained("subject", ("Patient",), TRUE, CONSENT),
        Chained("subject", ("Patient",), Referred("Observation", "subject", TRUE, CONSENT), CONSENT),
        Referred("Observation", "subject", TokenIs("code", "urn:s", "x"), CONSENT),
        negate(Referred("Observation", "subject", TRUE, CONSENT)),
    ],
)
@pytest.mark.parametrize("few", [0, 100], ids=["scanning", "from the leaf"])
async def test_no_table_is_read_from_end_to_end_for_one_patient(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, where: Predicate, sort: tuple[Sort, ...], few: int
) -> None:
    """Every step of a patient's search goes by an index, and rows come in their order without sorting."""
    monkeypatch.setattr(start, "FEW_OF_RECORDS", few)
    found = await steps(store, Plan(("Observation",), where, ("p1",), sort), CONSENT)
    assert [step for step in found if step.startswith("SCAN") and step not in GATHERED] == []
    if few == 0 and where != Eq("id", "o"):
        # Rows of one date are put in order among themselves.
        assert {step for step in found if "ORDER BY" in step} <= {"USE TEMP B-TREE FOR RIGHT PART OF ORDER BY"} | (
            {"USE TEMP B-TREE FOR ORDER BY"} if sort and sort[0].kind == "date" else set()
        )


@pytest.mark.parametrize(
    "where",
    [TokenIs("identifier", "urn:s", "1"), StringIs("name", "starts", "ab"), DateIs("date", "eq", 0, 5), Eq("id", "x")],
    ids=repr,
)
@pytest.mark.parametrize("type", ["Patient", "Practitioner"])
async def test_patients_and_the_directory_are_looked_up_by_an_index(
    store: SqliteStore, type: str, where: Predicate
) -> None:
    """One compartment holds them all; records are not gone through."""
    found = await steps(store, Plan((type,), where), TRUE)
    assert [step for step in found if step.startswith("SCAN") and step not in GATHERED] == []
    assert not any("record" in step for step in found)


@pytest.mark.parametrize(
    "predicate",
    [
        Eq("labels", "PSY"),
        Eq("vis", "1"),
        In("authors", frozenset({"x"})),
        Has("rtype", "Observation"),
        Rng("vis", 0, 1),
        StringIs("name", "like", "x"),
        UriIs("url", "near", "http://x"),
        DateIs("date", "zz", 0, 1),
    ],
    ids=repr,
)
@pytest.mark.parametrize("hidden", [False, True], ids=["as a condition", "as visibility"])
async def test_what_the_algebra_does_not_have_is_refused(
    store: SqliteStore, predicate: Predicate, hidden: bool
) -> None:
    """A mistaken column, prefix or manner is an error, never a wider or a narrower answer."""
    where, visible = (TRUE, predicate) if hidden else (predicate, TRUE)
    with pytest.raises(ValueError):
        await found(store, "Observation", where=where, visible=visible)
    with pytest.raises(ValueError):
        await found(store, "Observation", where=negate(where), visible=negate(visible))


async def test_a_search_begins_with_the_leaf_that_finds_fewest(store: SqliteStore) -> None:
    """A code of one among a status of thirty."""
    for n in range(30):
        tokens = (Token("status", None, "final"), Token("code", None, f"c{n}"))
        await put(store, write(f"Observation/n{n}", entries=Entries(tokens=tokens)))
    both = conj(TokenIs("status", None, "final"), TokenIs("code", None, "c7"))
    plan = Plan(("Observation",), both, ("p1",))
    async with store.snapshot() as snapshot:
        ((text, args),) = Query(snapshot._reader, plan, TRUE).statements()
    first = args[: text[: text.index("AND r.type")].count("?")]
    assert "c7" in first
    assert "final" not in first
    assert ids(await found(store, "Observation", where=both, patients=("p1",))) == ["n7"]


@pytest.mark.parametrize(
    "where", [TRUE, TokenIs("code", "urn:s", "x"), negate(TokenIs("code", "urn:s", "x"))], ids=repr
)
async def test_who_sees_only_what_they_wrote_begins_there(store: SqliteStore, where: Predicate) -> None:
    """What is hidden from them is not looked at, however much it is: nothing can be told of it by the time."""
    wrote = disj(Has("authors", "rpps:1"), conj(Eq("rtype", "Task"), Has("participants", "rpps:1")))
    visible = conj(of("p1"), wrote, negate(Has("labels", "PSY")))
    for n in range(200):
        await put(store, write(f"Observation/n{n}", entries=FULL))
    await put(store, write("Observation/mine", entries=FULL, authors=frozenset({"rpps:1"})))
    plan = Plan(("Observation",), where, ("p1",))
    async with store.snapshot() as snapshot:
        asked = Query(snapshot._reader, plan, visible)
        for text, args in (*asked.statements(), asked.counting()):
            given = snapshot._cursor.execute(f"EXPLAIN QUERY PLAN {text}", args).fetchall()
            (entered,) = [step[3] for step in given if step[3].startswith("SEARCH r ")]
            assert "INTEGER PRIMARY KEY" in entered
            assert any("SEARCH m USING PRIMARY KEY (cid=? AND fact=? AND value=?)" in step[3] for step in given)
    assert ids(await found(store, "Observation", where=where, visible=visible)) == (
        [] if where == negate(TokenIs("code", "urn:s", "x")) else ["mine"]
    )


async def test_content_is_entered_through_its_documents(store: SqliteStore) -> None:
    """Not through all content there is."""
    document = conj(Eq("rtype", "DocumentReference"), of("p1"))
    visible = conj(Eq("rtype", "Binary"), AnyRef(document))
    await put(store, write("Binary/a", patient=None), write("DocumentReference/d", links=frozenset({"Binary/a"})))
    given = await steps(store, Plan(("Binary",)), visible)
    assert any("by_record (cid=? AND type=?)" in step for step in given)
    assert not any("SEARCH r USING INDEX by_type" in step for step in given)
    assert ids(await found(store, "Binary", visible=visible)) == ["a"]


@pytest.mark.parametrize("few", [0, 10**9], ids=["scanning", "from a leaf"])
def test_where_a_search_begins_changes_nothing_in_what_it_finds(
    tmp_path: Path, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """The agreement with the memory reader, each way forced."""
    monkeypatch.setattr(start, "FEW_OF_RECORDS", few)
    monkeypatch.setattr(start, "FEW_OF_ALL", few)
    files = count()

    @settings(max_examples=60)
    @given(WORLDS, PLANS, PREDICATES)
    def agree(world: World, plan: Plan, visible: Predicate) -> None:
        async def check() -> None:
            store = open_store(str(tmp_path / f"{next(files)}.db"), clock=Clock())
            await world.fill(store)
            assert await world.differences(store, plan, visible) == []
            await store.close()

        runner.run(check())

    agree()
