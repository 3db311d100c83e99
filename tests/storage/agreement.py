"""The storage contract, invariant I1 of access §8: the readers agree on every row and every predicate."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.search.plan import Plan
from fhir_server.search.predicate import Predicate
from fhir_server.storage.interface import Store, Version
from tests.storage.making import MILLISECOND, NOON
from tests.storage.worlds import DIVIDING, PASTS, PATIENTS, PLANS, PREDICATES, TYPES, WORLDS, World

MOMENTS = st.integers(0, 8).map(lambda n: NOON + n * MILLISECOND // 2)
INTERVALS = st.tuples(MOMENTS, MOMENTS).map(sorted).map(lambda ends: (ends[0], ends[1]))


@pytest.fixture
def examples() -> int:
    """How many worlds are tried; a module that runs the contract a second time may have fewer."""
    return 100


def test_the_store_agrees_with_the_memory_reader(
    runner: asyncio.Runner, fresh: Callable[[], Awaitable[Store]], examples: int
) -> None:
    """Random records, some rewritten or deleted; random plans and visibility over the whole algebra."""

    @settings(max_examples=examples)
    @given(WORLDS, PLANS, PREDICATES, PLANS)
    def agree(world: World, plan: Plan, visible: Predicate, other: Plan) -> None:
        async def check() -> None:
            store = await fresh()
            await world.fill(store)
            assert await world.differences(store, plan, visible) == []
            assert await world.differences(store, other, visible) == []
            await store.close()

        runner.run(check())

    agree()


def test_the_store_tells_what_changed_as_the_memory_reader_does(
    runner: asyncio.Runner, fresh: Callable[[], Awaitable[Store]], examples: int
) -> None:
    """Random pasts in commits of any size; random visibility over the whole algebra, times, records and pages."""

    @settings(max_examples=examples)
    @given(
        PASTS,
        st.lists(st.integers(1, 3), min_size=8, max_size=8),
        st.sampled_from((TYPES, TYPES, ("Observation", "Condition"))),
        DIVIDING | DIVIDING | PREDICATES,
        PATIENTS | st.sampled_from(((None,), (None, "a"))),
        st.none() | MOMENTS,
        st.none() | INTERVALS,
        st.integers(1, 4),
    )
    def agree(
        world: World,
        sizes: list[int],
        types: tuple[str, ...],
        visible: Predicate,
        patients: tuple[str | None, ...] | None,
        since: int | None,
        at: tuple[int, int] | None,
        limit: int,
    ) -> None:
        async def check() -> None:
            store = await fresh()
            wanted = world.changes(await world.live_through(store, sizes), types, visible, patients, since, at)
            async with store.snapshot() as snapshot:
                tell = partial(snapshot.changes, types, visible=visible, patients=patients, since=since, at=at)
                assert changed(await tell(limit=20)) == wanted
                told: list[tuple[str, int]] = []
                page = await tell(limit=limit)
                while page:
                    told += changed(page)
                    page = await tell(limit=limit, before=page[-1].order[0])
            assert told == wanted
            await store.close()

        runner.run(check())

    agree()


def changed(versions: list[Version]) -> list[tuple[str, int]]:
    """("Type/id", version) of each."""
    return [(f"{each.type}/{each.id}", each.version) for each in versions]
