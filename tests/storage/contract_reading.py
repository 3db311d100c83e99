"""The storage contract: what is written comes back, to those who may see it, with its history and its links."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from fhir_server.fhir.dates import format_instant
from fhir_server.search.entries import Entries, Ref, Token
from fhir_server.search.facts import MASQUE_PS, Facts
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import (
    FALSE,
    TRUE,
    AllRefs,
    AnyRef,
    Bit,
    Eq,
    Has,
    RefersTo,
    SomeRef,
    TokenIs,
    conj,
    disj,
    negate,
)
from fhir_server.storage.interface import Store
from tests.storage.making import (
    MILLISECOND,
    NOON,
    Clock,
    counted,
    deletion,
    found,
    ids,
    links,
    of,
    one,
    put,
    versions,
    write,
)

UNMASKED = negate(Bit(MASQUE_PS))


# --- What is written comes back


async def test_a_resource_is_read_back_with_its_bytes_its_facts_and_the_time_of_the_store(store: Store) -> None:
    """The body is kept byte for byte but for the 24 characters of meta.lastUpdated."""
    asked = write("Observation/o1", text="1.00", authors=frozenset({"rpps:1"}), data_time=5)
    (made,) = await put(store, asked)
    read = await one(store, "Observation/o1")
    assert read == made
    assert (made.type, made.id, made.version, made.deleted) == ("Observation", "o1", 1, False)
    assert made.facts == asked.facts
    assert made.time == NOON
    assert asked.stamp is not None
    assert made.body[: asked.stamp] == asked.body[: asked.stamp]
    assert made.body[asked.stamp + 24 :] == asked.body[asked.stamp + 24 :]
    assert orjson.loads(made.body)["meta"]["lastUpdated"] == format_instant(NOON) == "2026-11-22T12:00:00.000Z"


async def test_a_body_without_a_stamp_is_kept_as_it_is(store: Store) -> None:
    """`stamp=None` changes nothing in the body."""
    asked = replace(write("Observation/o1"), body=b'{"any": "bytes"}', stamp=None)
    (made,) = await put(store, asked)
    assert made.body == asked.body


@pytest.mark.parametrize("stamp", [-1, 1000])
async def test_a_stamp_outside_the_body_is_refused(store: Store, stamp: int) -> None:
    """No commit can damage a body."""
    with pytest.raises(ValueError, match="stamp"):
        await put(store, replace(write("Observation/o1"), stamp=stamp))
    assert await one(store, "Observation/o1") is None


async def test_facts_of_another_resource_are_refused(store: Store) -> None:
    """A row is never judged by facts that are not its own."""
    wrong = replace(write("Observation/o1"), facts=Facts("Observation", "o2", "record", "p1"))
    with pytest.raises(ValueError, match="facts"):
        await put(store, wrong)


async def test_what_was_never_written_is_absent(store: Store) -> None:
    """Unknown id, unknown version, unknown type."""
    await put(store, write("Observation/o1"))
    assert await one(store, "Observation/o2") is None
    assert await one(store, "Condition/o1") is None
    assert await one(store, "Observation/o1", version=2) is None
    assert await one(store, "Observation/o1", version=0) is None
    assert await versions(store, "Observation/o2") == []
    assert await found(store, "Condition") == []
    assert await found(store) == []


async def test_ids_are_compared_exactly(store: Store) -> None:
    """Case matters, and a prefix is another id."""
    await put(store, write("Observation/abc"), write("Observation/ABC", text="upper"))
    read = await one(store, "Observation/ABC")
    assert read is not None
    assert b"upper" in read.body
    assert await one(store, "Observation/ab") is None


async def test_positions_grow_with_creation_and_stay(store: Store) -> None:
    """An update keeps the place of its resource."""
    first, second = await put(store, write("Observation/b"), write("Observation/a"))
    (third,) = await put(store, write("Observation/c"))
    assert first.position < second.position < third.position
    (again,) = await put(store, write("Observation/b", version=2))
    assert again.position == first.position


# --- Visibility


@pytest.mark.parametrize("verb", ["read", "history", "search", "count", "audits", "audit"])
async def test_every_reading_verb_demands_a_predicate(store: Store, verb: str) -> None:
    """There is no overload without `visible`, and it goes by name."""
    arguments = {
        "read": ("Observation", "o1"),
        "history": ("Observation", "o1"),
        "search": (Plan(("Observation",)),),
        "count": (Plan(("Observation",)),),
        "audits": ("p1",),
        "audit": ("a1",),
    }[verb]
    async with store.snapshot() as snapshot:
        with pytest.raises(TypeError, match="visible"):
            await getattr(snapshot, verb)(*arguments)
        with pytest.raises(TypeError):
            await getattr(snapshot, verb)(*arguments, TRUE)


async def test_a_row_that_is_not_visible_is_absent_from_every_verb(store: Store) -> None:
    """read, vread, history, search and count answer as for an id that never was."""
    await put(store, write("Observation/o1"))
    for hidden in (FALSE, of("p2"), negate(Eq("kind", "record"))):
        assert await one(store, "Observation/o1", hidden) is None
        assert await one(store, "Observation/o1", hidden, version=1) is None
        assert await versions(store, "Observation/o1", hidden) == []
        assert await found(store, "Observation", visible=hidden) == []
        assert await counted(store, "Observation", visible=hidden) == 0


async def test_hidden_rows_do_not_use_up_the_page(store: Store) -> None:
    """A hundred hidden rows, then one visible: it is on a page of one, and counted alone."""
    await put(store, *(write(f"Observation/h{n}", vis=MASQUE_PS) for n in range(100)), write("Observation/seen"))
    assert ids(await found(store, "Observation", visible=UNMASKED, limit=1)) == ["seen"]
    assert await counted(store, "Observation", visible=UNMASKED) == 1


async def test_search_and_visibility_are_joined_by_and(store: Store) -> None:
    """An `or` in either does not reach over into the other."""
    await put(
        store, write("Observation/a", vis=MASQUE_PS), write("Observation/b"), write("Observation/c", patient="p2")
    )
    either = disj(Eq("id", "a"), Eq("id", "b"), Eq("id", "c"))
    seen = conj(disj(of("p1"), of("p3")), UNMASKED)
    assert ids(await found(store, "Observation", where=either, visible=seen)) == ["b"]
    assert ids(await found(store, "Observation", where=seen, visible=either)) == ["b"]


async def test_an_old_version_is_judged_by_the_current_facts_and_by_its_own(store: Store) -> None:
    """Masked now hides the open past; masked then stays hidden after unmasking."""
    await put(store, write("Observation/o1"))
    await put(store, write("Observation/o1", version=2, vis=MASQUE_PS))
    assert await one(store, "Observation/o1", UNMASKED, version=1) is None
    assert await versions(store, "Observation/o1", UNMASKED) == []
    await put(store, write("Observation/o1", version=3))
    assert await one(store, "Observation/o1", UNMASKED, version=2) is None
    first = await one(store, "Observation/o1", UNMASKED, version=1)
    assert first is not None
    assert first.version == 1
    assert await versions(store, "Observation/o1", UNMASKED) == [3, 1]


async def test_an_old_version_is_judged_by_the_index_entries_it_had(store: Store) -> None:
    """A predicate may look at entries too, as that of a granular scope does."""
    lab = Entries(tokens=(Token("category", "urn:c", "laboratory"),))
    vital = Entries(tokens=(Token("category", "urn:c", "vital-signs"),))
    await put(store, write("Observation/o1", entries=vital))
    await put(store, write("Observation/o1", version=2, entries=lab))
    only_lab = TokenIs("category", "urn:c", "laboratory")
    assert await one(store, "Observation/o1", only_lab, version=2) is not None
    assert await one(store, "Observation/o1", only_lab, version=1) is None
    assert await one(store, "Observation/o1", TokenIs("category", "urn:c", "vital-signs"), version=1) is None


# --- History


async def test_a_history_is_newest_first_and_goes_on_below_a_version(store: Store) -> None:
    """`before` and `limit` page through it."""
    for version in range(1, 8):
        await put(store, write("Observation/o1", version=version, text=str(version)))
    assert await versions(store, "Observation/o1") == [7, 6, 5, 4, 3, 2, 1]
    assert await versions(store, "Observation/o1", limit=3) == [7, 6, 5]
    assert await versions(store, "Observation/o1", limit=3, before=5) == [4, 3, 2]
    assert await versions(store, "Observation/o1", before=1) == []


async def test_hidden_versions_do_not_use_up_a_page_of_history(store: Store) -> None:
    """The limit counts what is shown."""
    for version in range(1, 10):
        await put(store, write("Observation/o1", version=version, vis=0 if version % 4 == 1 else MASQUE_PS))
    assert await versions(store, "Observation/o1", UNMASKED, limit=2) == [9, 5]
    assert await versions(store, "Observation/o1", UNMASKED, limit=2, before=5) == [1]


async def test_old_versions_keep_their_bytes_facts_and_times(store: Store, clock: Clock) -> None:
    """A version never changes."""
    first = await put(store, write("Observation/o1", text="first", class_code="10"))
    clock.now += MILLISECOND
    await put(store, write("Observation/o1", version=2, text="second", class_code="11"))
    assert await one(store, "Observation/o1", version=1) == first[0]


# --- Deletion


async def test_a_deleted_resource_is_shown_without_body_and_not_found(store: Store) -> None:
    """`read` and `history` know it; `search` and `count` do not."""
    await put(store, write("Observation/o1", entries=Entries(tokens=(Token("code", None, "x"),))))
    (gone,) = await put(store, deletion("Observation/o1", 2))
    read = await one(store, "Observation/o1")
    assert read == gone
    assert (gone.deleted, gone.body, gone.version) == (True, b"", 2)
    assert await versions(store, "Observation/o1") == [2, 1]
    assert await found(store, "Observation") == []
    assert await found(store, "Observation", where=TokenIs("code", None, "x")) == []
    assert await found(store, "Observation", where=Eq("id", "o1")) == []
    assert await counted(store, "Observation") == 0


async def test_a_deletion_is_judged_by_the_facts_of_the_last_live_version(store: Store) -> None:
    """Whatever facts the deletion itself comes with."""
    await put(store, write("Observation/o1", vis=MASQUE_PS, authors=frozenset({"rpps:1"})))
    (gone,) = await put(store, deletion("Observation/o1", 2, vis=0))
    assert gone.facts.vis == MASQUE_PS
    assert await one(store, "Observation/o1", UNMASKED) is None
    assert await one(store, "Observation/o1", Has("authors", "rpps:1")) == gone
    assert await versions(store, "Observation/o1", UNMASKED) == []


async def test_a_deletion_is_judged_by_the_entries_of_the_last_live_version(store: Store) -> None:
    """A granular scope sees that what it saw is gone, and nothing else."""
    await put(store, write("Observation/o1", entries=Entries(tokens=(Token("category", None, "laboratory"),))))
    await put(store, deletion("Observation/o1", 2))
    assert await one(store, "Observation/o1", TokenIs("category", None, "laboratory")) is not None
    assert await one(store, "Observation/o1", TokenIs("category", None, "vital-signs")) is None


async def test_a_deleted_resource_can_be_brought_back(store: Store) -> None:
    """The next version lives; the deletion stays in the history."""
    entries = Entries(tokens=(Token("code", None, "x"),))
    await put(store, write("Observation/o1", entries=entries, links=frozenset({"Patient/p1"})))
    await put(store, deletion("Observation/o1", 2))
    await put(store, write("Observation/o1", version=3, entries=entries, links=frozenset({"Patient/p1"})))
    assert links(await found(store, "Observation", where=TokenIs("code", None, "x"))) == ["Observation/o1"]
    assert await versions(store, "Observation/o1") == [3, 2, 1]
    second = await one(store, "Observation/o1", version=2)
    assert second is not None
    assert second.deleted


async def test_a_deletion_in_the_middle_is_judged_by_what_lived_before_it(store: Store) -> None:
    """Version 2 ended a masked version; the open version 3 does not show it."""
    await put(store, write("Observation/o1", vis=MASQUE_PS))
    await put(store, deletion("Observation/o1", 2))
    await put(store, write("Observation/o1", version=3))
    assert await versions(store, "Observation/o1", UNMASKED) == [3]


# --- Links


async def test_all_refs_asks_every_record_target_to_be_live_and_to_satisfy(store: Store) -> None:
    """Public targets and those that never were are passed over; none at all is fine."""
    await put(
        store,
        write("DocumentReference/open"),
        write("DocumentReference/masked", vis=MASQUE_PS),
        write("Practitioner/x"),
        write("Composition/none"),
        write("Composition/one", links=frozenset({"DocumentReference/open", "Practitioner/x", "Encounter/never"})),
        write("Composition/both", links=frozenset({"DocumentReference/open", "DocumentReference/masked"})),
    )
    rule = AllRefs(UNMASKED)
    assert ids(await found(store, "Composition", visible=rule)) == ["none", "one"]
    assert ids(await found(store, "Composition", visible=negate(rule))) == ["both"]
    assert await one(store, "Composition/one", rule) is not None
    assert await one(store, "Composition/both", rule) is None
    await put(store, deletion("DocumentReference/open", 2))
    assert ids(await found(store, "Composition", visible=rule)) == ["none"]
    assert await one(store, "Composition/one", rule) is None


async def test_some_ref_wants_one_live_linked_record_row_to_satisfy(store: Store) -> None:
    """Unlike AllRefs: none at all is not enough, nor is a deleted one, a public one or one that never was."""
    await put(
        store,
        write("DocumentReference/open"),
        write("DocumentReference/masked", vis=MASQUE_PS),
        write("Practitioner/x"),
        write("List/none", links=frozenset({"Practitioner/x", "Encounter/never"})),
        write("List/hidden", links=frozenset({"DocumentReference/masked"})),
        write("List/both", links=frozenset({"DocumentReference/open", "DocumentReference/masked"})),
    )
    rule = SomeRef(UNMASKED)
    assert ids(await found(store, "List", visible=rule)) == ["both"]
    assert ids(await found(store, "List", visible=negate(rule))) == ["none", "hidden"]
    assert await one(store, "List/both", rule) is not None
    assert await one(store, "List/hidden", rule) is None
    assert await one(store, "List/none", rule) is None
    await put(store, deletion("DocumentReference/open", 2))
    assert await found(store, "List", visible=rule) == []
    assert await one(store, "List/both", rule) is None


async def test_a_link_counts_from_the_moment_its_target_is_written(store: Store) -> None:
    """Who comes first does not matter."""
    await put(store, write("Composition/c", links=frozenset({"DocumentReference/later"})))
    assert await one(store, "Composition/c", AllRefs(UNMASKED)) is not None
    await put(store, write("DocumentReference/later", vis=MASQUE_PS))
    assert await one(store, "Composition/c", AllRefs(UNMASKED)) is None
    assert await found(store, "Composition", visible=AllRefs(UNMASKED)) == []


async def test_any_ref_asks_some_live_referrer_to_satisfy(store: Store) -> None:
    """A Binary is reached through a document that the caller may see."""
    await put(
        store,
        write("Binary/b1"),
        write("Binary/b2"),
        write("Binary/alone"),
        write("DocumentReference/open", links=frozenset({"Binary/b1"})),
        write("DocumentReference/masked", vis=MASQUE_PS, links=frozenset({"Binary/b1", "Binary/b2"})),
    )
    rule = AnyRef(conj(Eq("rtype", "DocumentReference"), UNMASKED))
    assert ids(await found(store, "Binary", visible=rule)) == ["b1"]
    assert ids(await found(store, "Binary", visible=negate(rule))) == ["b2", "alone"]
    assert ids(await found(store, "Binary", visible=negate(AnyRef(TRUE)))) == ["alone"]
    assert await one(store, "Binary/b1", rule) is not None
    assert await one(store, "Binary/b2", rule) is None
    await put(store, write("DocumentReference/open", version=2))
    assert await one(store, "Binary/b1", rule) is None
    await put(store, write("DocumentReference/open", version=3, links=frozenset({"Binary/b2"})))
    assert ids(await found(store, "Binary", visible=rule)) == ["b2"]
    await put(store, deletion("DocumentReference/open", 4))
    assert await found(store, "Binary", visible=rule) == []


async def test_a_reference_entry_is_not_a_link(store: Store) -> None:
    """AnyRef follows the links among the facts, not what a search parameter found."""
    await put(
        store,
        write("Binary/b"),
        write("DocumentReference/d", entries=Entries(references=(Ref("relatesto", "Binary/b"),))),
    )
    assert await found(store, "Binary", visible=AnyRef(TRUE)) == []
    assert ids(await found(store, "DocumentReference", where=RefersTo("relatesto", "Binary/b"))) == ["d"]


async def test_links_are_followed_through_links(store: Store) -> None:
    """AllRefs within AllRefs: a bundle of a composition of a masked document."""
    await put(
        store,
        write("DocumentReference/d", vis=MASQUE_PS),
        write("Composition/c", links=frozenset({"DocumentReference/d"})),
        write("Bundle/b", links=frozenset({"Composition/c"})),
    )
    assert ids(await found(store, "Bundle", visible=AllRefs(UNMASKED))) == ["b"]
    assert await found(store, "Bundle", visible=AllRefs(AllRefs(UNMASKED))) == []
    assert await one(store, "Bundle/b", AllRefs(AllRefs(UNMASKED))) is None
