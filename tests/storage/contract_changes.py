"""The storage contract: what changed, over many resources and over time; and indexing again."""

from __future__ import annotations

import pytest

from fhir_server.search.entries import Combination, Entries, Prose, Ref, Span, Text, Token
from fhir_server.search.facts import MASQUE_PS
from fhir_server.search.plan import Plan, Sort
from fhir_server.search.predicate import (
    FALSE,
    TRUE,
    AllRefs,
    AnyRef,
    Bit,
    Chained,
    Eq,
    Has,
    Predicate,
    RefersTo,
    Together,
    TokenIs,
    Words,
    conj,
    disj,
    negate,
)
from fhir_server.storage.interface import Snapshot, Store, Version
from tests.storage.making import MILLISECOND, NOON, Clock, audit_row, deletion, found, ids, of, put, versions, write

UNMASKED = negate(Bit(MASQUE_PS))
TYPES = ("Observation", "Condition", "Patient", "Practitioner")


async def changed(store: Store, *types: str, visible: Predicate = TRUE, **more: object) -> list[str]:
    """ "id/version" of each change."""
    async with store.snapshot() as snapshot:
        rows = await snapshot.changes(types or TYPES, visible=visible, **more)  # type: ignore[arg-type]
    return [f"{row.id}/{row.version}" for row in rows]


async def past(store: Store, clock: Clock) -> None:
    """Nine versions, a millisecond apart, of two records and the directory."""
    steps = [
        write("Observation/a"),
        write("Observation/b", patient="p2"),
        write("Condition/c"),
        write("Observation/a", version=2, vis=MASQUE_PS),
        write("Practitioner/x"),
        deletion("Condition/c", 2),
        write("Observation/a", version=3),
        write("Observation/d", vis=MASQUE_PS),
        write("Observation/b", version=2, patient="p2"),
    ]
    for step in steps:
        await put(store, step)
        clock.now += MILLISECOND


ALL = ["b/2", "d/1", "a/3", "c/2", "x/1", "a/2", "c/1", "b/1", "a/1"]


async def test_changes_come_the_last_written_first(store: Store, clock: Clock) -> None:
    """Of all types, of some, of a record; deletions too."""
    await past(store, clock)
    assert await changed(store) == ALL
    assert await changed(store, "Observation") == ["b/2", "d/1", "a/3", "a/2", "b/1", "a/1"]
    assert await changed(store, "Condition", "Never") == ["c/2", "c/1"]
    assert await changed(store, patients=("p2",)) == ["b/2", "b/1"]
    assert await changed(store, "Condition", patients=("p1",)) == ["c/2", "c/1"]
    assert await changed(store, patients=(None,)) == ["x/1"]
    assert await changed(store, patients=(None, "p2")) == ["b/2", "x/1", "b/1"]
    assert await changed(store, patients=()) == await changed(store, "Never") == await changed(store, limit=0) == []


async def test_changes_are_judged_as_a_history_is(store: Store, clock: Clock) -> None:
    """By the current facts and by the version's own; a deletion, and what came before it, by those of the last live
    version."""
    await past(store, clock)
    assert await changed(store, visible=UNMASKED) == ["b/2", "a/3", "c/2", "x/1", "c/1", "b/1", "a/1"]
    assert await changed(store, visible=of("p2")) == ["b/2", "b/1"]
    assert await changed(store, visible=FALSE) == []
    assert await changed(store, visible=AllRefs(TRUE)) == ALL
    await put(store, write("Observation/a", version=4, vis=MASQUE_PS), deletion("Observation/d", 2))
    assert await changed(store, "Observation", visible=UNMASKED) == ["b/2", "b/1"]
    for step in (
        write("Observation/e"),
        write("Observation/e", version=2, vis=MASQUE_PS),
        deletion("Observation/e", 3),
    ):
        await put(store, step)
    assert await changed(store, "Observation", visible=UNMASKED) == ["b/2", "b/1"]
    await put(store, write("Condition/k", labels=frozenset({"PSY"})))
    await put(store, deletion("Condition/k", 2))
    assert await changed(store, "Condition", visible=Has("labels", "PSY")) == ["k/2", "k/1"]


async def test_changes_of_what_few_can_see_are_judged_alike(store: Store) -> None:
    """By who wrote it, by the documents that point to it; a deletion too, to which no fact leads any more."""
    mine, document = frozenset({"rpps:1"}), conj(Eq("rtype", "DocumentReference"), of("p1"))
    for step in (
        write("DocumentReference/d", links=frozenset({"Binary/a"})),
        write("DocumentReference/e", patient="p2", links=frozenset({"Binary/b"})),
        write("Binary/a", patient=None),
        write("Binary/b", patient=None),
        write("Binary/c", patient=None, authors=mine),
        write("Binary/e", patient=None, authors=mine),
        deletion("Binary/e", 2),
        write("Observation/o", authors=mine),
        write("Observation/n"),
        write("Observation/o", version=2),
    ):
        await put(store, step)
    content = conj(Eq("rtype", "Binary"), AnyRef(document))
    fresh = conj(Eq("rtype", "Binary"), Has("authors", "rpps:1"), negate(AnyRef(TRUE)))
    nobodys = disj(content, fresh, of("p1"))
    assert await changed(store, "Binary", visible=nobodys, patients=(None,)) == ["e/2", "e/1", "c/1", "a/1"]
    wrote = conj(of("p1"), Has("authors", "rpps:1"))
    assert await changed(store, "Observation", visible=wrote, patients=("p1",)) == []
    await put(store, write("Observation/n", version=2, authors=mine))
    assert await changed(store, "Observation", visible=wrote, patients=("p1",)) == ["n/2"]


async def pages_of(snapshot: Snapshot, limit: int, visible: Predicate, **more: object) -> list[list[Version]]:
    """Every page of the changes."""
    pages: list[list[Version]] = []
    before = None
    for _ in range(50):
        page = await snapshot.changes(TYPES, visible=visible, before=before, limit=limit, **more)  # type: ignore[arg-type]
        if not page:
            break
        pages.append(page)
        (before,) = page[-1].order  # type: ignore[assignment]
    return pages


@pytest.mark.parametrize("patients", [None, ("p1", "p2")], ids=["of all", "of records"])
async def test_pages_of_changes_join_without_a_gap(
    store: Store, clock: Clock, patients: tuple[str, ...] | None
) -> None:
    """Hidden versions do not use up a page."""
    await past(store, clock)
    for visible in (TRUE, UNMASKED):
        async with store.snapshot() as snapshot:
            whole = await snapshot.changes(TYPES, visible=visible, patients=patients)
            for limit in (1, 2, 3, 20):
                pages = await pages_of(snapshot, limit, visible, patients=patients)
                assert [row for page in pages for row in page] == whole
                assert all(len(page) == limit for page in pages[:-1])


async def test_one_commit_is_gone_through_too(store: Store) -> None:
    """Versions of one time have an order as well, and none is shown twice."""
    await put(store, *(write(f"Observation/o{n}") for n in range(5)), write("Observation/o0", version=2))
    async with store.snapshot() as snapshot:
        pages = await pages_of(snapshot, 2, TRUE)
    assert [f"{row.id}/{row.version}" for page in pages for row in page] == [
        "o0/2", "o4/1", "o3/1", "o2/1", "o1/1", "o0/1",
    ]  # fmt: skip


async def test_changes_since_a_time(store: Store, clock: Clock) -> None:
    """Written then or later."""
    await past(store, clock)
    for n in range(len(ALL) + 1):
        for since in (NOON + n * MILLISECOND, NOON + n * MILLISECOND - 1):
            assert await changed(store, since=since) == ALL[: len(ALL) - n]
    assert await changed(store, "Observation", patients=("p1",), since=NOON + 6 * MILLISECOND) == ["d/1", "a/3"]
    assert await versions(store, "Observation/a", since=NOON + 3 * MILLISECOND) == [3, 2]
    assert await versions(store, "Observation/a", since=NOON + 7 * MILLISECOND) == []


async def test_what_was_current_at_a_time(store: Store, clock: Clock) -> None:
    """At some moment of the interval, whose end is not in it; one that ended as it began is not."""
    await past(store, clock)

    def ms(low: int, high: int) -> tuple[int, int]:
        return NOON + low * MILLISECOND, NOON + high * MILLISECOND

    assert await changed(store, at=ms(0, 1)) == ["a/1"]
    assert await changed(store, at=ms(3, 4)) == ["a/2", "c/1", "b/1"]
    assert await changed(store, at=ms(2, 4)) == ["a/2", "c/1", "b/1", "a/1"]
    assert await changed(store, at=ms(100, 101)) == ["b/2", "d/1", "a/3", "c/2", "x/1"]
    assert await changed(store, at=ms(-5, 0)) == await changed(store, at=ms(4, 4)) == []
    assert await changed(store, at=(NOON + 3500, NOON + 3501)) == ["a/2", "c/1", "b/1"]
    assert await changed(store, at=ms(3, 4), since=NOON + 2 * MILLISECOND, patients=("p1",)) == ["a/2", "c/1"]
    assert await versions(store, "Observation/a", at=ms(4, 6)) == [2]
    assert await versions(store, "Observation/a", at=ms(4, 7)) == [3, 2]
    await put(store, write("Condition/twice"), write("Condition/twice", version=2))
    assert await versions(store, "Condition/twice", at=ms(0, 1000)) == [2]


async def test_changes_demand_a_predicate(store: Store) -> None:
    """As every reading verb does."""
    async with store.snapshot() as snapshot:
        with pytest.raises(TypeError, match="visible"):
            await snapshot.changes(TYPES)  # type: ignore[call-arg]


async def test_many_hidden_versions_do_not_hide_the_first(store: Store, clock: Clock) -> None:
    """They are passed over by the hundred."""
    await put(store, write("Observation/seen"))
    await put(store, *(write(f"Observation/h{n}") for n in range(300)))
    await put(store, *(deletion(f"Observation/h{n}", 2) for n in range(300)))
    assert await changed(store, visible=Eq("id", "seen"), limit=1) == ["seen/1"]
    assert await changed(store, visible=Eq("id", "h7")) == ["h7/2", "h7/1"]


# --- Indexing again

OLD = Entries(
    tokens=(Token("code", "urn:s", "old"), Token("code", None, "kept")),
    strings=(Text("name", "vieux", "Vieux"),),
    prose=(Prose("_content", "mots vieux"), Prose("_text", "vieux")),
)
NEW = Entries(
    tokens=(Token("code", "urn:new", "new"), Token("code", None, "kept"), Token("fresh", None, "x")),
    dates=(Span("date", 1, 2),),
    references=(Ref("encounter", "Encounter/e"),),
    combinations=(Combination("pair", Entries(tokens=(Token("0", "urn:new", "n"),))),),
    prose=(Prose("_content", "mots neufs"),),
)


async def all_live(store: Store, limit: int) -> list[Version]:
    """What a reindex walks through."""
    rows: list[Version] = []
    while page := await store.system().live(after=rows[-1].position if rows else 0, limit=limit):
        rows += page
    return rows


async def test_a_reindex_walks_through_what_lives(store: Store) -> None:
    """Each once, as it stands, whoever it belongs to."""
    await put(store, *(write(f"Observation/o{n}", entries=OLD) for n in range(7)), write("Practitioner/x"))
    await put(store, deletion("Observation/o3", 2), write("Observation/o1", version=2, text="now"))
    for limit in (1, 3, 100):
        rows = await all_live(store, limit)
        assert ids(rows) == ["o0", "o1", "o2", "o4", "o5", "o6", "x"]
        assert rows[1].version == 2
        assert b"now" in rows[1].body


async def test_a_reindex_exchanges_entries_and_nothing_else(store: Store, clock: Clock) -> None:
    """Old entries find nothing any more, new ones do; versions, times and the access log stay."""
    (made,) = await put(store, write("Observation/o", entries=OLD, authors=frozenset({"rpps:1"})))
    await put(store, write("Observation/other", entries=OLD), write("Encounter/e"), audits=(audit_row("l"),))
    head, clock.now = await store.system().audit_head(), clock.now + MILLISECOND
    assert await store.system().reindex([(made, NEW)]) == 1
    assert await all_live(store, 1) == [made, *(await all_live(store, 9))[1:]]
    assert await store.system().audit_head() == head
    finds = {
        TokenIs("code", None, "old"): ["other"],
        TokenIs("code", None, "kept"): ["o", "other"],
        TokenIs("code", "urn:new", "new"): ["o"],
        TokenIs("fresh", None, "x"): ["o"],
        RefersTo("encounter", "Encounter/e"): ["o"],
        Chained("encounter", ("Encounter",), TRUE, TRUE): ["o"],
        Together("pair", (TokenIs("0", "urn:new", "n"),)): ["o"],
        Words("_content", ("vieux",)): ["other"],
        Words("_content", ("mots",)): ["o", "other"],
        Words("_content", ("neufs",)): ["o"],
        Words("_text", ("vieux",)): ["other"],
        Has("authors", "rpps:1"): ["o"],
    }
    for where, wanted in finds.items():
        assert ids(await found(store, "Observation", where=where)) == wanted, where
        assert ids(await found(store, "Observation", visible=where)) == wanted, where
    async with store.snapshot() as snapshot:
        rows = await snapshot.search(Plan(("Observation",), sort=(Sort("date", "date"),)), visible=TRUE)
    assert [row.order for row in rows] == [(1,), (None,)]


async def test_a_reindex_passes_over_what_has_changed_meanwhile(store: Store) -> None:
    """What replaced a version was indexed when it was written; what is deleted has no entries."""
    old, gone, kept = await put(store, *(write(f"Observation/{id}", entries=OLD) for id in ("old", "gone", "kept")))
    await put(store, write("Observation/old", version=2, entries=OLD), deletion("Observation/gone", 2))
    assert await store.system().reindex([(old, NEW), (gone, NEW), (kept, NEW)]) == 1
    assert ids(await found(store, "Observation", where=TokenIs("code", None, "new"))) == ["kept"]
    assert ids(await found(store, "Observation", where=TokenIs("code", None, "old"))) == ["old"]
    assert await store.system().reindex([]) == 0


async def test_after_a_reindex_updates_and_deletions_take_away_what_is_there(store: Store) -> None:
    """The new entries are what the next version is compared with."""
    (made,) = await put(store, write("Observation/o", entries=OLD))
    await store.system().reindex([(made, NEW)])
    await store.system().reindex([(made, NEW)])
    await put(store, write("Observation/o", version=2, entries=OLD))
    assert ids(await found(store, "Observation", where=TokenIs("code", None, "old"))) == ["o"]
    for leaf in (TokenIs("code", None, "new"), Words("_content", ("neufs",)), RefersTo("encounter", "Encounter/e")):
        assert await found(store, "Observation", where=leaf) == []
    await put(store, deletion("Observation/o", 3))
    assert await found(store, "Observation", where=TokenIs("code", None, "kept")) == []
