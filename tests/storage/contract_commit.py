"""The storage contract: a commit is all or nothing, decided on what stands, stamped in order, and durable."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest

from fhir_server.errors import Conflict, Unavailable
from fhir_server.search.entries import Entries, Token
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import TRUE, Eq, TokenIs
from fhir_server.storage.interface import Commit, Guard, PolicyGuard, Snapshot, Stale, Store, Taken, Version
from tests.storage.making import (
    MILLISECOND,
    NOON,
    Clock,
    audit_row,
    counted,
    deletion,
    found,
    ids,
    of,
    one,
    put,
    versions,
    write,
)

Opened = Callable[[Clock], Awaitable[Store]]


async def policy(store: Store, patient: str = "p1") -> int:
    """The policy version of a patient."""
    async with store.snapshot() as snapshot:
        return await snapshot.policy_version(patient)


async def logged(store: Store, patient: str = "p1") -> list[str]:
    """The ids of a patient's audit rows, oldest first."""
    async with store.snapshot() as snapshot:
        return [entry.row.id for entry in reversed(await snapshot.audits(patient, visible=TRUE, limit=1000))]


# --- All or nothing


async def test_a_commit_gives_the_new_versions_in_the_order_of_its_writes(store: Store) -> None:
    """One per write; none for a commit of guards or audit rows alone."""
    made = await put(store, write("Patient/p1"), write("Observation/b"), write("Observation/a"))
    assert ids(made) == ["p1", "b", "a"]
    assert list(await store.commit(Commit())) == []
    assert list(await store.commit(Commit(audits=(audit_row("a1"),)))) == []


@pytest.mark.parametrize(
    "obstacle",
    [
        {"writes": (write("Observation/old", version=3),)},
        {"guards": (Guard("Observation", "old", 2),)},
        {"guards": (PolicyGuard("p1", 7),)},
        {"writes": (write("Observation/taker", keys=("k",)),)},
    ],
    ids=["a wrong base", "a guard", "a policy guard", "a taken key"],
)
async def test_a_commit_that_cannot_stand_leaves_nothing_behind(store: Store, obstacle: dict[str, Any]) -> None:
    """Neither its other writes, nor its policy steps, nor its audit rows, nor its keys."""
    await put(store, write("Observation/old", keys=("k",)))
    entries = Entries(tokens=(Token("code", None, "x"),))
    good = (write("Observation/new", entries=entries, keys=("k2",)), write("Condition/new"))
    whole = Commit(good, bump=frozenset({"p1"}), audits=(audit_row("a1"),))
    with pytest.raises(Conflict):
        await store.commit(replace(whole, **{**obstacle, "writes": good + obstacle.get("writes", ())}))
    assert ids(await found(store, "Observation", "Condition")) == ["old"]
    assert await found(store, "Observation", where=TokenIs("code", None, "x")) == []
    assert await policy(store) == 0
    assert await logged(store) == []
    await put(store, write("Observation/other", keys=("k2",)))
    assert ids(await store.commit(replace(whole, writes=(good[1],)))) == ["new"]


async def test_a_commit_that_stands_does_all_it_says(store: Store) -> None:
    """Writes, policy steps and audit rows appear together."""
    await store.commit(
        Commit(
            (write("Observation/a"), write("Condition/b")),
            guards=(Guard("Observation", "a", 0), PolicyGuard("p1", 0)),
            bump=frozenset({"p1", "p2"}),
            audits=(audit_row("x"), audit_row("y"), audit_row("z", patient="p2")),
        )
    )
    assert ids(await found(store, "Observation", "Condition")) == ["a", "b"]
    assert (await policy(store, "p1"), await policy(store, "p2"), await policy(store, "p3")) == (1, 1, 0)
    assert (await logged(store), await logged(store, "p2")) == (["x", "y"], ["z"])


# --- Bases and guards


@pytest.mark.parametrize("version", [0, 1, 2, 4, 5])
async def test_a_write_stands_on_the_current_version_only(store: Store, version: int) -> None:
    """After version 2 comes 3, and no other."""
    await put(store, write("Observation/o1"))
    await put(store, write("Observation/o1", version=2))
    with pytest.raises(Stale):
        await put(store, write("Observation/o1", version=version))
    assert await versions(store, "Observation/o1") == [2, 1]
    await put(store, write("Observation/o1", version=3))


@pytest.mark.parametrize("version", [0, 2, 3])
async def test_a_resource_begins_with_version_one(store: Store, version: int) -> None:
    """Versions number without gaps."""
    with pytest.raises(Stale):
        await put(store, write("Observation/o1", version=version))
    assert await one(store, "Observation/o1") is None


async def test_a_guard_holds_while_the_current_version_is_that(store: Store) -> None:
    """0 for what never was; a deletion is a version like another."""
    await put(store, write("Observation/o1"))
    await put(store, deletion("Observation/o1", 2))
    await store.commit(Commit(guards=(Guard("Observation", "o1", 2), Guard("Observation", "never", 0))))
    for guard in (Guard("Observation", "o1", 1), Guard("Observation", "o1", 0), Guard("Observation", "never", 1)):
        with pytest.raises(Stale):
            await store.commit(Commit(guards=(guard,)))


async def test_a_policy_guard_holds_until_the_policy_steps(store: Store) -> None:
    """A decision made under the old policy cannot be carried out under the new."""
    await store.commit(Commit((write("Observation/a"),), guards=(PolicyGuard("p1", 0),)))
    await store.commit(Commit(bump=frozenset({"p1"})))
    with pytest.raises(Stale):
        await store.commit(Commit((write("Observation/b"),), guards=(PolicyGuard("p1", 0),)))
    await store.commit(Commit((write("Observation/b"),), guards=(PolicyGuard("p1", 1), PolicyGuard("p2", 0))))
    assert await policy(store) == 1


async def test_one_commit_may_write_a_resource_twice(store: Store) -> None:
    """The second stands on the first; the last one counts."""
    x, y = Entries(tokens=(Token("code", None, "x"),)), Entries(tokens=(Token("code", None, "y"),))
    made = await put(store, write("Observation/o", entries=x), write("Observation/o", version=2, entries=y))
    assert [each.version for each in made] == [1, 2]
    assert await found(store, "Observation", where=TokenIs("code", None, "x")) == []
    assert ids(await found(store, "Observation", where=TokenIs("code", None, "y"))) == ["o"]
    with pytest.raises(Stale):
        await put(store, write("Observation/q"), write("Observation/q"))


async def test_of_many_updates_from_one_base_just_one_stands(store: Store) -> None:
    """However they are grouped."""
    await put(store, write("Observation/o1"))
    tried = [put(store, write("Observation/o1", version=2, text=str(n))) for n in range(20)]
    outcomes = await asyncio.gather(*tried, return_exceptions=True)
    assert sum(isinstance(outcome, Stale) for outcome in outcomes) == 19
    ((won,),) = [outcome for outcome in outcomes if isinstance(outcome, list)]
    assert await one(store, "Observation/o1") == won


async def test_of_many_policy_steps_none_is_lost(store: Store) -> None:
    """Concurrent commits bump one after the other."""
    await asyncio.gather(*(store.commit(Commit(bump=frozenset({"p1"}))) for _ in range(30)))
    assert await policy(store) == 30


async def test_commits_that_come_together_stand_or_fall_alone(store: Store) -> None:
    """A stale one among many takes nobody with it."""
    await put(store, write("Observation/base"))
    commits = [
        put(store, write("Observation/base", version=5) if n % 3 == 0 else write(f"Observation/o{n}"))
        for n in range(30)
    ]
    outcomes = await asyncio.gather(*commits, return_exceptions=True)
    assert [isinstance(outcome, Stale) for outcome in outcomes] == [n % 3 == 0 for n in range(30)]
    assert await counted(store, "Observation") == 21


# --- Unique keys


async def test_a_key_is_held_by_one_live_resource(store: Store) -> None:
    """The second is told who holds it, in a field and never in the message."""
    await put(store, write("DocumentReference/d1", keys=("urn:secret|1", "urn:secret|2")))
    with pytest.raises(Taken) as caught:
        await put(store, write("DocumentReference/d2", keys=("urn:secret|2",)))
    assert (caught.value.key, caught.value.holder) == ("urn:secret|2", "DocumentReference/d1")
    assert "secret" not in str(caught.value)
    assert "d1" not in str(caught.value)
    assert "secret" not in repr(caught.value.issues)


async def test_a_key_is_free_when_its_holder_is_deleted_or_written_without_it(store: Store) -> None:
    """And held again by whoever takes it."""
    await put(store, write("DocumentReference/d1", keys=("k",)))
    await put(store, write("DocumentReference/d1", version=2, keys=("k",)))
    await put(store, write("DocumentReference/d1", version=3))
    await put(store, write("DocumentReference/d2", keys=("k",)))
    await put(store, deletion("DocumentReference/d2", 2))
    await put(store, write("DocumentReference/d3", keys=("k",)))
    with pytest.raises(Taken):
        await put(store, write("DocumentReference/d2", version=3, keys=("k",)))


async def test_keys_change_hands_within_one_commit(store: Store) -> None:
    """What the commit lets go, it can take, whatever the order of its writes."""
    await put(store, write("DocumentReference/d1", keys=("a",)), write("DocumentReference/d2", keys=("b",)))
    taker = write("DocumentReference/d1", version=2, keys=("b",))
    await put(store, taker, write("DocumentReference/d2", version=2, keys=("a",)))
    with pytest.raises(Taken) as caught:
        await put(store, write("DocumentReference/d3", keys=("a",)))
    assert caught.value.holder == "DocumentReference/d2"


async def test_one_commit_cannot_give_a_key_to_two(store: Store) -> None:
    """Not even when both are new."""
    with pytest.raises(Taken):
        await put(store, write("DocumentReference/d1", keys=("k",)), write("DocumentReference/d2", keys=("k",)))
    assert await found(store, "DocumentReference") == []


async def test_of_many_takers_of_a_key_just_one_has_it(store: Store) -> None:
    """However they are grouped."""
    tried = [put(store, write(f"DocumentReference/d{n}", keys=("k",))) for n in range(20)]
    outcomes = await asyncio.gather(*tried, return_exceptions=True)
    assert sum(isinstance(outcome, Taken) for outcome in outcomes) == 19
    assert await counted(store, "DocumentReference") == 1


# --- Times


async def test_times_never_run_backwards(store: Store, clock: Clock) -> None:
    """Whatever the clock does; whole milliseconds; each snapshot-visible step has its own."""
    times = []
    for step in (0, 1500, -3_600_000_000, 0, 999, 2_000_000):
        clock.now += step
        (made,) = await put(store, write(f"Observation/o{len(times)}"))
        times.append(made.time)
        assert orjson.loads(made.body)["meta"]["lastUpdated"].endswith("Z")
    assert times == sorted(set(times))
    assert all(time % MILLISECOND == 0 for time in times)
    assert times[0] == NOON


async def test_times_do_not_run_backwards_over_a_restart(opened: Opened, clock: Clock) -> None:
    """The last time given is part of what is kept."""
    (before,) = await put(await opened(clock), write("Observation/a"))
    (after,) = await put(await opened(Clock(NOON - 3_600_000_000)), write("Observation/b"))
    assert after.time > before.time


# --- Snapshots


async def test_a_snapshot_keeps_seeing_what_it_first_saw(store: Store) -> None:
    """Every verb, policy versions and the access log included."""
    await put(store, write("Observation/o1", text="before"), audits=(audit_row("a1"),))

    async def view(snapshot: Snapshot) -> tuple[Any, ...]:
        return (
            await snapshot.read("Observation", "o1", visible=TRUE),
            await snapshot.history("Observation", "o1", visible=TRUE),
            await snapshot.search(Plan(("Observation",)), visible=TRUE),
            await snapshot.count(Plan(("Observation",)), visible=TRUE),
            await snapshot.policy_version("p1"),
            await snapshot.compartment("Observation", "o2"),
            len(await snapshot.audits("p1", visible=TRUE)),
        )

    async with store.snapshot() as first:
        before = await view(first)
        again = Commit(
            (write("Observation/o1", version=2, text="after"), write("Observation/o2")),
            bump=frozenset({"p1"}),
            audits=(audit_row("a2"),),
        )
        await store.commit(again)
        assert await view(first) == before
        async with store.snapshot() as second:
            after = await view(second)
        assert await view(first) == before
    assert [a != b for a, b in zip(before, after, strict=True)] == [True] * 7
    assert after[3:] == (2, 1, "p1", 2)


async def test_what_has_been_committed_is_seen_by_every_later_snapshot(store: Store) -> None:
    """A request that begins after a consent was written sees it."""
    for n in range(50):
        await store.commit(Commit((write(f"Observation/o{n}"),), bump=frozenset({"p1"})))
        async with store.snapshot() as snapshot:
            assert await snapshot.policy_version("p1") == n + 1
            assert await snapshot.count(Plan(("Observation",)), visible=of("p1")) == n + 1


async def test_an_error_within_a_snapshot_does_not_keep_it_open(store: Store) -> None:
    """The next snapshot sees what was written meanwhile."""

    async def fail() -> None:
        async with store.snapshot() as snapshot:
            await snapshot.count(Plan(("Observation",)), visible=TRUE)
            raise LookupError

    for n in range(20):
        with pytest.raises(LookupError):
            await fail()
        await put(store, write(f"Observation/o{n}"))
        assert await counted(store, "Observation") == n + 1


async def test_the_compartment_of_a_resource_is_the_patient_of_its_facts(store: Store) -> None:
    """Deleted ones too; None for public rows and absent ones."""
    await put(store, write("Patient/p1"), write("Observation/o1"), write("Practitioner/x"), write("Observation/gone"))
    await put(store, deletion("Observation/gone", 2))
    async with store.snapshot() as snapshot:
        assert await snapshot.compartment("Patient", "p1") == "p1"
        assert await snapshot.compartment("Observation", "o1") == "p1"
        assert await snapshot.compartment("Observation", "gone") == "p1"
        assert await snapshot.compartment("Practitioner", "x") is None
        assert await snapshot.compartment("Observation", "never") is None


# --- Durability, closing


async def test_all_is_there_after_a_restart(opened: Opened, clock: Clock) -> None:
    """Versions, entries, links, keys, policies, the log and the ledger."""
    store = await opened(clock)
    entries = Entries(tokens=(Token("code", "urn:s", "x"),))
    commit = Commit((write("Observation/o", entries=entries, keys=("k",)),), bump=frozenset({"p1"}))
    (made,) = await store.commit(replace(commit, audits=(audit_row("a1"),)))
    await store.ledger.put("token", "t", b"value", expires=None)
    await store.close()
    again = await opened(clock)
    assert await one(again, "Observation/o") == made
    assert ids(await found(again, "Observation", where=TokenIs("code", "urn:s", "x"), visible=Eq("id", "o"))) == ["o"]
    assert await policy(again) == 1
    assert await logged(again) == ["a1"]
    assert await again.ledger.get("token", "t", now=NOON) == b"value"
    with pytest.raises(Taken):
        await put(again, write("Observation/p", keys=("k",)))


async def test_closing_finishes_what_waits(opened: Opened, clock: Clock) -> None:
    """Every commit begun before `close` is answered; none is taken after."""
    store = await opened(clock)
    begun = [asyncio.create_task(put(store, write(f"Observation/o{n}"))) for n in range(40)]
    await asyncio.sleep(0)
    await store.close()
    assert [ids(made) for made in await asyncio.gather(*begun)] == [[f"o{n}"] for n in range(40)]
    with pytest.raises(Unavailable):
        await put(store, write("Observation/late"))
    with pytest.raises(Unavailable):
        await counted(store, "Observation")
    assert await counted(await opened(clock), "Observation") == 40


async def test_a_caller_that_goes_away_leaves_a_whole_commit_or_none(store: Store) -> None:
    """And everybody else is served."""
    tasks = [asyncio.create_task(put(store, write(f"Observation/o{n}"), write(f"Condition/o{n}"))) for n in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    outcomes: list[list[Version] | BaseException] = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, list) for outcome in outcomes[1::2])
    await put(store, write("Observation/after"))
    observations, conditions = (
        ids(await found(store, "Observation", limit=99)),
        ids(await found(store, "Condition", limit=99)),
    )
    assert observations == [*conditions, "after"]
    assert {f"o{n}" for n in range(1, 20, 2)} <= set(conditions)
