"""The storage contract, invariant I1 of access §8: the readers agree on every row and every predicate."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from hypothesis import given, settings

from fhir_server.search.plan import Plan
from fhir_server.search.predicate import Predicate
from fhir_server.storage.interface import Store
from tests.storage.worlds import PLANS, PREDICATES, WORLDS, World


def test_the_store_agrees_with_the_memory_reader(runner: asyncio.Runner, fresh: Callable[[], Awaitable[Store]]) -> None:
    """Random records, some rewritten or deleted; random plans and visibility over the whole algebra."""

    @settings(max_examples=100)
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
