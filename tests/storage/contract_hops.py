"""The storage contract: searching by what rows refer to, by combinations, by words; in the order of entries."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fhir_server.search.entries import Combination, Entries, Number, Prose, Ref, Span, Text, Token, Uri
from fhir_server.search.facts import MASQUE_PS
from fhir_server.search.plan import Plan, Sort
from fhir_server.search.predicate import (
    FALSE,
    TRUE,
    AllRefs,
    Bit,
    Chained,
    Eq,
    NumberIs,
    Predicate,
    Referred,
    StringIs,
    Together,
    TokenIs,
    Words,
    conj,
    disj,
    negate,
)
from fhir_server.storage.interface import Store
from tests.storage.making import counted, deletion, found, ids, links, of, one, put, write
from tests.storage.worlds import pages

UNMASKED = negate(Bit(MASQUE_PS))
HERE = conj(disj(Eq("kind", "public"), of("p1")), UNMASKED)
SCOPES = pytest.mark.parametrize("patients", [("p1",), None], ids=["of a patient", "of all"])


def refers(param: str, target: str, *, name: str = "") -> Entries:
    """A reference, and a name to be found by."""
    return Entries(references=(Ref(param, target),), strings=(Text("name", name, name),) if name else ())


def named(name: str) -> Entries:
    """A name to be found by."""
    return Entries(strings=(Text("name", name, name),))


# --- Hops


async def encounters(store: Store) -> None:
    """Two encounters, one masked, each with an observation; a practitioner; another patient's."""
    await put(
        store,
        write("Practitioner/x", entries=named("martin")),
        write("Encounter/open", entries=refers("participant", "Practitioner/x", name="visite")),
        write("Encounter/masked", entries=refers("participant", "Practitioner/x", name="visite"), vis=MASQUE_PS),
        write("Observation/a", entries=refers("encounter", "Encounter/open")),
        write("Observation/b", entries=refers("encounter", "Encounter/masked")),
        write("Observation/c", entries=refers("encounter", "Encounter/never")),
        write("Observation/other", patient="p2", entries=refers("encounter", "Encounter/theirs")),
        write("Encounter/theirs", patient="p2", entries=refers("participant", "Practitioner/x", name="visite")),
    )


def in_a(encounter: Predicate, visible: Predicate | None = HERE) -> Predicate:
    """`encounter:Encounter…`"""
    return Chained("encounter", ("Encounter",), encounter, visible)


VISIT = StringIs("name", "starts", "vis")


@SCOPES
async def test_a_chain_leads_through_visible_rows_only(store: Store, patients: tuple[str, ...] | None) -> None:
    """The caller does not find a row by what a hidden one says (access §4)."""
    await encounters(store)
    assert ids(await found(store, "Observation", where=in_a(VISIT), patients=patients)) == ["a"]
    assert ids(await found(store, "Observation", where=in_a(VISIT, of("p1")), patients=patients)) == ["a", "b"]
    assert await found(store, "Observation", where=in_a(TRUE, FALSE), patients=patients) == []
    others = ids(await found(store, "Observation", where=negate(in_a(VISIT)), patients=("p1",)))
    assert others == ["b", "c"]
    either = disj(in_a(VISIT), Eq("id", "c"))
    assert ids(await found(store, "Observation", where=either, patients=patients)) == ["a", "c"]
    assert await counted(store, "Observation", where=in_a(VISIT), patients=patients) == 1


@SCOPES
async def test_a_chain_may_have_several_turns(store: Store, patients: tuple[str, ...] | None) -> None:
    """Each with its own predicate."""
    await encounters(store)
    martin = Chained("participant", ("Practitioner",), StringIs("name", "starts", "mar"), HERE)
    hidden = replace(martin, visible=negate(Eq("kind", "public")))
    assert ids(await found(store, "Observation", where=in_a(martin), patients=patients)) == ["a"]
    assert await found(store, "Observation", where=in_a(hidden), patients=patients) == []


async def test_a_chain_goes_as_deep_as_it_is_asked(store: Store) -> None:
    """Twelve hops, there and back, beside a visibility that follows links itself."""
    await put(store, *(write(f"Observation/o{n}", entries=refers("next", f"Observation/o{n + 1}")) for n in range(12)))
    await put(store, write("Observation/o12", entries=named("fin")))
    carriers = AllRefs(disj(UNMASKED, AllRefs(disj(UNMASKED, AllRefs(UNMASKED)))))
    there: Predicate = StringIs("name", "starts", "fin")
    for _ in range(12):
        there = Chained("next", ("Observation",), there, carriers)
    assert ids(await found(store, "Observation", where=there, visible=carriers)) == ["o0"]
    back: Predicate = Eq("id", "o0")
    for _ in range(12):
        back = Referred("Observation", "next", back, carriers)
    assert ids(await found(store, "Observation", where=back, visible=carriers)) == ["o12"]


async def test_a_chain_leads_to_live_rows_of_its_types(store: Store) -> None:
    """A deleted encounter says nothing any more, nor does a resource of another type."""
    await encounters(store)
    assert await found(store, "Observation", where=Chained("encounter", ("Condition",), TRUE, HERE)) == []
    both = Chained("encounter", ("Condition", "Encounter"), TRUE, HERE)
    assert ids(await found(store, "Observation", where=both)) == ["a"]
    await put(store, deletion("Encounter/open", 2))
    assert await found(store, "Observation", where=both) == []
    assert await found(store, "Observation", where=in_a(VISIT)) == []


@SCOPES
async def test_rows_are_found_by_what_refers_to_them(store: Store, patients: tuple[str, ...] | None) -> None:
    """`_has`: by visible, live referrers of the type, through that parameter."""
    await encounters(store)
    await put(store, write("Condition/k", entries=refers("encounter", "Encounter/open"), vis=MASQUE_PS))

    async def by(type: str, by: Predicate = TRUE, visible: Predicate = HERE, param: str = "encounter") -> list[str]:
        where = Referred(type, param, by, visible)
        return ids(await found(store, "Encounter", where=where, patients=patients))

    assert await by("Observation") == ["open", "masked"]
    assert await by("Observation", Eq("id", "a")) == ["open"]
    assert await by("Observation", visible=conj(HERE, Eq("id", "b"))) == ["masked"]
    assert await by("Observation", param="subject") == []
    assert await by("Condition") == []
    assert await by("Condition", visible=of("p1")) == ["open"]
    assert await by("Procedure") == []
    await put(store, deletion("Observation/a", 2))
    assert await by("Observation") == ["masked"]


async def test_an_update_changes_what_a_hop_leads_to(store: Store) -> None:
    """Both ends are judged as they are now."""
    await encounters(store)
    await put(store, write("Encounter/open", version=2, entries=named("urgence")))
    assert await found(store, "Observation", where=in_a(VISIT)) == []
    await put(store, write("Observation/c", version=2, entries=refers("encounter", "Encounter/open")))
    assert ids(await found(store, "Observation", where=in_a(named_is("urgence")))) == ["a", "c"]


def named_is(name: str) -> Predicate:
    """The row has that name."""
    return StringIs("name", "starts", name)


@pytest.mark.parametrize(
    "hop",
    [
        Chained("encounter", ("Encounter",), TRUE),
        Referred("Observation", "encounter", TRUE),
        Chained("encounter", ("Never",), TRUE),
        negate(Chained("encounter", ("Encounter",), TRUE)),
        Chained("encounter", ("Encounter",), Referred("Observation", "encounter", TRUE), HERE),
    ],
    ids=repr,
)
@pytest.mark.parametrize("filled", [True, False])
async def test_a_hop_that_nobody_has_cleared_is_refused(store: Store, hop: Predicate, filled: bool) -> None:
    """As a condition and as visibility, in a full store and in an empty one."""
    if filled:
        await encounters(store)
    for where, visible in ((hop, TRUE), (TRUE, hop)):
        with pytest.raises(ValueError, match="hop"):
            await found(store, "Observation", where=where, visible=visible)
        with pytest.raises(ValueError, match="hop"):
            await counted(store, "Observation", where=where, visible=visible)


async def test_a_search_may_begin_with_a_hop_or_not(store: Store) -> None:
    """Many rows at the other end, and one: the same rows are found, one way or the other."""
    for n in range(130):
        encounter = f"Encounter/e{n}"
        await put(
            store,
            write(encounter, entries=named("rare" if n == 77 else "commun")),
            write(f"Observation/o{n}", entries=refers("encounter", encounter)),
        )
    for patients in (("p1",), None):
        assert ids(await found(store, "Observation", where=in_a(named_is("rare")), patients=patients)) == ["o77"]
        many = await found(store, "Observation", where=in_a(named_is("commun")), patients=patients, limit=1000)
        assert len(many) == 129


# --- Combinations


async def test_a_combination_is_of_one_place(store: Store) -> None:
    """Systolic 120 and diastolic 80 are not systolic 80."""

    def pressure(code: str, value: float) -> Combination:
        return Combination(
            "component", Entries(tokens=(Token("0", "urn:s", code),), numbers=(Number("1", value, value),))
        )

    entries = Entries(combinations=(pressure("sys", 120), pressure("dia", 80)))
    await put(store, write("Observation/a", entries=entries), write("Observation/b"))

    async def ask(code: str, value: float, param: str = "component") -> list[str]:
        leaves = (TokenIs("0", None, code), NumberIs("1", "eq", value - 1, value + 1))
        return ids(await found(store, "Observation", where=Together(param, leaves)))

    assert await ask("sys", 120) == ["a"]
    assert await ask("sys", 80) == []
    assert await ask("sys", 120, "other") == []
    diastolic = Together("component", (TokenIs("0", "urn:s", "dia"),))
    assert ids(await found(store, "Observation", where=negate(diastolic))) == ["b"]
    assert ids(await found(store, "Observation", visible=diastolic)) == ["a"]
    assert await one(store, "Observation/a", diastolic) is not None
    await put(store, write("Observation/a", version=2, entries=Entries(combinations=(pressure("sys", 80),))))
    assert await ask("sys", 80) == ["a"]
    assert await found(store, "Observation", where=diastolic) == []


# --- Words


def prose(*words: str, param: str = "_content") -> Entries:
    """A text of these words."""
    return Entries(prose=(Prose(param, " ".join(sorted(words))),))


@SCOPES
async def test_rows_are_found_by_all_of_several_words(store: Store, patients: tuple[str, ...] | None) -> None:
    """Whole words, in any order, of that text, of rows as they are now; the narrative is content too."""
    await put(
        store,
        write("Observation/a", entries=prose("asthme", "severe", "œdeme", "日本", "a-b", "x" * 900)),
        write("Observation/b", entries=prose("asthme", "leger")),
        write("Observation/c", entries=prose("asthme", "severe", param="_text")),
        write("Observation/d", entries=prose("")),
        write("Condition/e", entries=prose("asthme")),
        write("Observation/f", patient="p2", entries=prose("rien")),
    )

    async def ask(*words: str, param: str = "_content") -> list[str]:
        return ids(await found(store, "Observation", where=Words(param, words), patients=patients))

    assert await ask("asthme") == ["a", "b", "c"]
    assert await ask("severe", "asthme") == ["a", "c"]
    assert await ask("asthme", param="_text") == ["c"]
    assert await ask("asthm") == await ask("ASTHME") == await ask("œ", "deme") == await ask("a", "b") == []
    assert await ask("œdeme", "日本", "a-b", "x" * 900) == ["a"]
    assert await ask("x" * 899) == []
    assert await ask('"', "OR", "*") == []
    assert await ask("") == ["d"]
    assert await ask("asthme", param="_other") == []
    without = negate(Words("_content", ("asthme",)))
    assert ids(await found(store, "Observation", where=without, patients=("p1",))) == ["d"]
    await put(store, write("Observation/a", version=2, entries=prose("guerie")), deletion("Observation/b", 2))
    assert await ask("asthme") == ["c"]
    assert await ask("guerie") == ["a"]


# --- Order by entries

ROWS = {
    "many": Entries(
        dates=(Span("date", 30, 31), Span("date", 5, 6)), strings=(Text("name", "b", "B"), Text("name", "a", ""))
    ),
    "early": Entries(dates=(Span("date", 10, 11),), strings=(Text("name", "é", "É"), Text("name", "z", "Z"))),
    "none": Entries(),
    "late": Entries(
        dates=(Span("date", 20, 99),), strings=(Text("name", "\U00010000", "X"), Text("name", "\uffff", "Y"))
    ),
    "same": Entries(dates=(Span("date", 20, 21), Span("date", 20, 22)), strings=(Text("name", "b", "x"),)),
    "bare": Entries(uris=(Uri("url", "urn:x"),), strings=(Text("name", "a", ""),)),
}
DATE, LATEST, NAME = Sort("date", "date"), Sort("date", "date", True), Sort("name", "string")
SORTED = {
    (DATE,): ["many", "early", "late", "same", "none", "bare"],
    (LATEST,): ["many", "same", "late", "early", "bare", "none"],
    (NAME,): ["many", "same", "early", "late", "none", "bare"],
    (Sort("name", "string", True),): ["late", "early", "same", "many", "bare", "none"],
    (DATE, Sort("_id", descending=True)): ["many", "early", "same", "late", "none", "bare"],
    (NAME, LATEST): ["many", "same", "early", "late", "bare", "none"],
    (Sort("never", "token"), Sort("_id")): ["bare", "early", "late", "many", "none", "same"],
    (Sort("date", "string"),): ["many", "early", "none", "late", "same", "bare"],
    (Sort("url", "uri"), DATE): ["bare", "many", "early", "late", "same", "none"],
}


@SCOPES
@pytest.mark.parametrize("public", [False, True], ids=["records", "directory"])
@pytest.mark.parametrize("sort", SORTED, ids=repr)
async def test_rows_come_in_the_order_of_their_entries(
    store: Store, sort: tuple[Sort, ...], public: bool, patients: tuple[str, ...] | None
) -> None:
    """By the least entry, descending by the greatest; strings that are only found by do not count; rows without
    one come last either way; pages of any size agree."""
    type = "Practitioner" if public else "Observation"
    await put(store, *(write(f"{type}/{id}", entries=entries) for id, entries in ROWS.items()))
    await put(store, write(f"{type}/hidden", entries=ROWS["early"], vis=MASQUE_PS))
    plan = Plan((type,), patients=None if public else patients, sort=sort)
    async with store.snapshot() as snapshot:
        for limit in (1, 2, 4, 6, 7):
            got = [page async for page in pages(snapshot, replace(plan, limit=limit), UNMASKED)]
            assert [id for page in got for id in ids(page)] == SORTED[sort]
            assert all(len(page) == limit for page in got[:-1])


async def test_a_row_says_its_place(store: Store) -> None:
    """`order` has the value of each key."""
    await put(store, *(write(f"Observation/{id}", entries=entries) for id, entries in ROWS.items()))
    rows = await found(store, "Observation", sort=(DATE, NAME, Sort("_id")))
    assert [row.order for row in rows][:2] == [(5, "b", "many"), (10, "z", "early")]
    assert rows[-1].order == (None, None, "none")
    assert links(rows)[-1] == "Observation/none"
