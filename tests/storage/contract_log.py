"""The storage contract: the access log and its chain, the ledger, the unrestricted view."""

from __future__ import annotations

import asyncio
from hashlib import sha256

import pytest

from fhir_server.search.plan import Plan
from fhir_server.search.predicate import FALSE, TRUE, Eq, conj
from fhir_server.storage.interface import AuditEntry, Commit, Store
from tests.storage.making import NOON, Clock, audit_row, deletion, ids, of, one, put, write


async def log(store: Store, patient: str = "p1", **more: int) -> list[str]:
    """The ids of one page of a patient's log."""
    async with store.snapshot() as snapshot:
        return [entry.row.id for entry in await snapshot.audits(patient, visible=TRUE, **more)]


async def chain(store: Store, first: int = 1) -> list[AuditEntry]:
    """The whole chain."""
    return [entry async for entry in store.system().audit_chain(first)]


# --- The access log


async def test_the_log_of_a_patient_is_newest_first(store: Store) -> None:
    """Rows of one commit keep their order; other patients' rows are elsewhere."""
    await store.commit(Commit(audits=(audit_row("a"), audit_row("b"), audit_row("other", patient="p2"))))
    await store.commit(Commit(audits=(audit_row("c"), audit_row("nobody", patient=None))))
    assert await log(store) == ["c", "b", "a"]
    assert await log(store, "p2") == ["other"]
    assert await log(store, "never") == []


async def test_the_log_is_cut_by_time_and_place(store: Store) -> None:
    """`since` is included, `until` is not; `before` and `limit` page."""
    await store.commit(Commit(audits=tuple(audit_row(f"a{n}", time=NOON + n) for n in range(10))))
    assert await log(store, since=NOON + 3, until=NOON + 6) == ["a5", "a4", "a3"]
    assert await log(store, since=NOON + 8) == ["a9", "a8"]
    assert await log(store, until=NOON + 2) == ["a1", "a0"]
    assert await log(store, limit=2) == ["a9", "a8"]
    async with store.snapshot() as snapshot:
        page = await snapshot.audits("p1", visible=TRUE, limit=4)
        rest = await snapshot.audits("p1", visible=TRUE, before=page[-1].seq, limit=4)
    assert [entry.row.id for entry in rest] == ["a5", "a4", "a3", "a2"]


async def test_the_log_is_for_those_who_may_see_the_audit_events_of_the_record(store: Store) -> None:
    """Judged as an AuditEvent of kind record in that patient's compartment, for the list and for one line."""
    await store.commit(Commit(audits=(audit_row("a"), audit_row("b", patient="p2"), audit_row("n", patient=None))))
    own = conj(Eq("rtype", "AuditEvent"), Eq("kind", "record"), of("p1"))
    async with store.snapshot() as snapshot:
        assert [entry.row.id for entry in await snapshot.audits("p1", visible=own)] == ["a"]
        assert await snapshot.audits("p2", visible=own) == []
        assert await snapshot.audits("p1", visible=FALSE) == []
        assert await snapshot.audit("b", visible=own) is None
        assert await snapshot.audit("n", visible=own) is None
        assert await snapshot.audit("never", visible=TRUE) is None
        (listed,) = await snapshot.audits("p1", visible=own)
        assert await snapshot.audit("a", visible=own) == listed
        nobody = await snapshot.audit("n", visible=TRUE)
    assert listed.row == audit_row("a")
    assert nobody is not None
    assert nobody.row == audit_row("n", patient=None)


# --- The chain


async def test_each_row_is_linked_to_all_before_it(store: Store) -> None:
    """h(n) = SHA-256(h(n-1) ‖ body), seq without gaps, in commit order; the head is recorded apart."""
    seq, genesis = await store.system().audit_head()
    assert (seq, len(genesis)) == (0, 32)
    assert await chain(store) == []
    for n in range(7):
        await store.commit(Commit(audits=(audit_row(f"a{n}"), audit_row(f"b{n}", patient=None))))
    entries = await chain(store)
    assert [entry.seq for entry in entries] == list(range(1, 15))
    assert [entry.row.id for entry in entries][:4] == ["a0", "b0", "a1", "b1"]
    hash = genesis
    for entry in entries:
        hash = sha256(hash + entry.row.body).digest()
        assert entry.hash == hash
    assert await store.system().audit_head() == (14, hash)
    assert await chain(store, first=13) == entries[12:]
    assert await chain(store, first=15) == []


async def test_a_long_chain_is_read_to_its_end(store: Store) -> None:
    """Beyond any page of it."""
    for n in range(3):
        await store.commit(Commit(audits=tuple(audit_row(f"a{n}-{m}") for m in range(700))))
    assert [entry.seq for entry in await chain(store)] == list(range(1, 2101))


async def test_concurrent_commits_make_one_chain(store: Store) -> None:
    """No two rows have one place."""
    await asyncio.gather(*(store.commit(Commit(audits=(audit_row(f"a{n}"),))) for n in range(60)))
    _, hash = await store.system().audit_head()
    entries = await chain(store)
    assert [entry.seq for entry in entries] == list(range(1, 61))
    assert entries[-1].hash == hash
    assert {entry.row.id for entry in entries} == {f"a{n}" for n in range(60)}


async def test_live_resources_are_counted_by_type(store: Store) -> None:
    """Versions and deleted resources are not."""
    await put(store, write("Observation/a"), write("Observation/b"), write("Condition/c"), write("Practitioner/x"))
    await put(store, write("Observation/a", version=2), deletion("Condition/c", 2))
    assert await store.system().counts() == {"Observation": 2, "Practitioner": 1}


async def orphans(store: Store, until: int = NOON, **more: int) -> list[str]:
    """The ids of one page of Binaries that nothing points to."""
    return ids((await store.system().orphans(until, **more))[0])


async def test_content_that_nothing_ever_pointed_to_is_found(store: Store) -> None:
    """By the time of its deposit, at that moment too; neither what is deleted nor what is no Binary; without a body."""
    await put(
        store,
        *(write(f"Binary/{id}", patient=None, deposited_at=NOON + n, text=id) for n, id in enumerate("abcd")),
        write("Observation/o", deposited_at=NOON),
    )
    await put(store, deletion("Binary/b", 2, patient=None))
    assert await orphans(store, NOON - 1) == []
    assert await orphans(store, NOON) == ["a"]
    assert await orphans(store, NOON + 2) == ["a", "c"]
    (found,), _ = await store.system().orphans(NOON)
    whole = await one(store, "Binary/a")
    assert whole
    assert whole.body
    assert found == whole._replace(body=b"")


async def test_content_that_was_ever_pointed_to_is_no_orphan(store: Store) -> None:
    """By a document as it is, as it was, as it was before it was deleted, or for no longer than one commit; before the
    content was there or after."""
    early = write("DocumentReference/early", links=frozenset({"Binary/early"}))
    await put(store, early)
    names = ("never", "early", "now", "once", "deleted", "passing")
    await put(store, *(write(f"Binary/{each}", patient=None) for each in names))
    for each in ("now", "once", "deleted"):
        await put(store, write(f"DocumentReference/{each}", links=frozenset({f"Binary/{each}"})))
    await put(store, write("DocumentReference/once", version=2))
    await put(store, deletion("DocumentReference/deleted", 2))
    passing = write("DocumentReference/passing", links=frozenset({"Binary/passing"}))
    await put(store, passing, write("DocumentReference/passing", version=2))
    assert await orphans(store) == ["never"]


async def test_orphans_are_looked_for_in_bounded_steps(store: Store) -> None:
    """A step looks at so many Binaries, whether they are orphans or not, and says where to go on; 0 at the end."""
    system = store.system()
    assert await system.orphans(NOON) == ([], 0)
    held = write("DocumentReference/d", links=frozenset(f"Binary/b{n}" for n in range(5)))
    await put(store, held, *(write(f"Binary/b{n}", patient=None) for n in range(7)))
    pages, after, going = [], 0, True
    while going:
        found, after = await system.orphans(NOON, after=after, limit=2)
        pages.append(ids(found))
        going = after > 0
    assert pages == [[], [], ["b5"], ["b6"]]


# --- The ledger


async def test_the_ledger_keeps_a_value_until_it_is_replaced_or_deleted(store: Store) -> None:
    """Kinds are apart; `delete` says whether there was something."""
    ledger = store.ledger
    assert await ledger.get("token", "a", now=NOON) is None
    assert await ledger.put("token", "a", b"1", expires=None)
    assert await ledger.put("code", "a", b"other", expires=None)
    assert await ledger.put("token", "a", b"2", expires=None)
    assert await ledger.get("token", "a", now=NOON) == b"2"
    assert await ledger.delete("token", "a")
    assert not await ledger.delete("token", "a")
    assert await ledger.get("token", "a", now=NOON) is None
    assert await ledger.get("code", "a", now=NOON) == b"other"


async def test_a_value_is_gone_when_it_expires(store: Store) -> None:
    """Live while `now` is before `expires`."""
    await store.ledger.put("token", "a", b"1", expires=NOON + 10)
    assert await store.ledger.get("token", "a", now=NOON + 9) == b"1"
    assert await store.ledger.get("token", "a", now=NOON + 10) is None


async def test_only_new_never_replaces_a_live_value(store: Store, clock: Clock) -> None:
    """A replay is told from a first use; a key that has expired, by the store's clock, is new again."""
    ledger = store.ledger
    assert await ledger.put("jti", "a", b"1", expires=NOON + 10, only_new=True)
    assert not await ledger.put("jti", "a", b"2", expires=NOON + 99, only_new=True)
    assert await ledger.get("jti", "a", now=NOON) == b"1"
    assert await ledger.get("jti", "a", now=NOON + 10) is None
    clock.now = NOON + 10
    assert not await ledger.delete("jti", "a")
    assert await ledger.put("jti", "a", b"3", expires=NOON + 99, only_new=True)
    assert await ledger.get("jti", "a", now=NOON + 10) == b"3"


async def test_of_many_first_uses_just_one_is_first(store: Store) -> None:
    """However they come together; and of many that take a value away, one had it."""
    puts = (store.ledger.put("jti", "a", b"%d" % n, expires=None, only_new=True) for n in range(30))
    assert sum(await asyncio.gather(*puts)) == 1
    assert sum(await asyncio.gather(*(store.ledger.delete("jti", "a") for _ in range(30)))) == 1


async def test_of_many_that_take_a_value_one_has_it(store: Store, clock: Clock) -> None:
    """Single use: however they come together; nobody takes what has expired."""
    ledger = store.ledger
    await ledger.put("code", "a", b"1", expires=NOON + 10)
    assert sorted(await asyncio.gather(*(ledger.take("code", "a") for _ in range(30))), key=bool)[-2:] == [None, b"1"]
    assert await ledger.get("code", "a", now=NOON) is None
    await ledger.put("code", "a", b"2", expires=NOON + 10)
    clock.now = NOON + 10
    assert await ledger.take("code", "a") is None


async def test_of_many_that_swap_a_value_one_finds_it(store: Store, clock: Clock) -> None:
    """Compare and set: nothing changes for the others, nor where there is no value any more."""
    ledger = store.ledger
    await ledger.put("grant", "a", b"0", expires=NOON + 10)
    swaps = (ledger.swap("grant", "a", b"0", b"%d" % n, expires=NOON + 20) for n in range(1, 30))
    assert sum(await asyncio.gather(*swaps)) == 1
    kept = await ledger.get("grant", "a", now=NOON + 19)
    assert kept not in (b"0", None)
    assert not await ledger.swap("grant", "b", b"", b"1", expires=None)
    clock.now = NOON + 20
    assert not await ledger.swap("grant", "a", kept, b"x", expires=None)


async def test_the_keys_of_a_kind_are_told_by_their_beginning(store: Store) -> None:
    """Live ones, of that kind alone, in order; the prefix is no pattern."""
    ledger = store.ledger
    for key in ("b:2", "a:1", "a:2", "a%", "aé"):
        await ledger.put("of", key, b"", expires=None)
    await ledger.put("of", "a:3", b"", expires=NOON + 1)
    await ledger.put("other", "a:4", b"", expires=None)
    assert await ledger.keys("of", prefix="a:", now=NOON) == ["a:1", "a:2", "a:3"]
    assert await ledger.keys("of", prefix="a:", now=NOON + 1) == ["a:1", "a:2"]
    assert await ledger.keys("of", prefix="a%", now=NOON) == ["a%"]
    assert await ledger.keys("of", now=NOON + 1) == ["a%", "a:1", "a:2", "aé", "b:2"]


async def test_what_has_expired_is_cleared_away_unseen(store: Store, clock: Clock) -> None:
    """Hundreds of dead values do not trouble the live one."""
    for n in range(300):
        await store.ledger.put("code", str(n), b"x", expires=NOON + 1)
    await store.ledger.put("code", "live", b"y", expires=NOON + 1000)
    clock.now = NOON + 500
    for n in range(10):
        await store.ledger.put("other", str(n), b"z", expires=None)
    assert await store.ledger.get("code", "live", now=clock.now) == b"y"
    assert await store.ledger.get("code", "7", now=clock.now) is None


@pytest.mark.parametrize("value", [b"", b"\x00\xff" * 1000])
async def test_ledger_values_are_any_bytes(store: Store, value: bytes) -> None:
    """Empty is not absent."""
    await store.ledger.put("kind", "key", value, expires=None)
    assert await store.ledger.get("kind", "key", now=NOON) == value


async def test_a_search_never_finds_the_log_or_the_ledger(store: Store) -> None:
    """They are no resources."""
    await store.commit(Commit(audits=(audit_row("a"),)))
    await store.ledger.put("AuditEvent", "a", b"x", expires=None)
    async with store.snapshot() as snapshot:
        assert await snapshot.search(Plan(("AuditEvent",)), visible=TRUE) == []
        assert await snapshot.read("AuditEvent", "a", visible=TRUE) is None
