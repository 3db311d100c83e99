"""Whatever the order in which the versions of a document come, the record ends in the same state (importers §8)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fhir_server.app import services
from fhir_server.context import Services
from fhir_server.interactions.derived import TYPES
from fhir_server.record.files import Place
from fhir_server.record.migration import Migration, migrate
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import TRUE
from fhir_server.settings import Settings
from tests.record.cda_versions import document

NUMBERS = count(1_000)
CODES = ("718-7", "2951-2", "2823-3")


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """One event loop for the store of the module."""
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture(scope="module")
def parts(loop: asyncio.AbstractEventLoop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """A record of its own, reached without HTTP."""
    opened = services(Settings(store=f"sqlite:{tmp_path_factory.mktemp('order') / 'record.db'}"))
    yield loop.run_until_complete(opened.__aenter__())
    loop.run_until_complete(opened.__aexit__(None, None, None))


async def imported(parts: Services, folder: Path, bodies: Sequence[bytes], mode: str = "migration") -> list[str]:
    """What comes of each document, one after the other."""
    places = []
    for body in bodies:
        places.append(Place(folder / f"{next(NUMBERS)}.xml", named=True))
        places[-1].path.write_bytes(body)
    found = [each async for each in migrate(parts, places, Migration(mode))]
    return [" ".join((each.status, *each.codes)) for each in found]


async def state(parts: Services, numbers: Sequence[int]) -> dict[str, Any]:
    """What the record holds of those documents, whatever ids and versions its resources have."""
    sources = {f"urn:oid:2.25.{each}": place for place, each in enumerate(numbers)}
    async with parts.store.snapshot() as snapshot:
        plan = Plan(("DocumentReference", *TYPES), limit=100_000)
        every = [orjson.loads(each.body) for each in await snapshot.search(plan, visible=TRUE)]
    names = {_link(each): _name(each, sources) for each in every}
    found = {}
    for each in every:
        name = names[_link(each)]
        if name is not None:
            found[name] = _said(each, names)
    return found


def _link(resource: dict[str, Any]) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def _name(resource: dict[str, Any], sources: dict[str, int]) -> str | None:
    """What a resource is called whatever its id: by the place of its document in the set."""
    kind = resource["resourceType"]
    source = resource.get("masterIdentifier", {}).get("value") or resource["meta"].get("source")
    if source not in sources:
        return None
    if kind == "Observation":
        return f"Observation {resource['code']['coding'][0]['code']}"
    if kind == "Provenance":
        of_entries = any("Observation/" in each["reference"] for each in resource["target"])
        return "Provenance of entries" if of_entries else f"Provenance {sources[source]}"
    return f"{kind} {sources[source]}"


def _said(resource: dict[str, Any], names: dict[str, str | None]) -> tuple[Any, ...]:
    links = [each["reference"].partition("/_history/")[0] for each in _references(resource)]
    said = (resource.get("status"), resource.get("valueQuantity", {}).get("value"), resource["meta"].get("source"))
    kept = sorted(str(names.get(each)) for each in links if each.partition("/")[0] not in ("Patient", "Binary"))
    relations = [each["code"] for each in resource.get("relatesTo", ())]
    return (*(said if resource["resourceType"] == "Observation" else said[:1]), tuple(kept), tuple(relations))


def _references(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)


contents = st.dictionaries(st.sampled_from(CODES), st.sampled_from(["1.5", "2", "40"]), max_size=3)


@hypothesis_settings(max_examples=25)
@given(
    versions=st.lists(contents, min_size=2, max_size=4),
    declared=st.booleans(),
    by_set=st.booleans(),
    data=st.data(),
)
def test_every_order_of_the_versions_ends_in_the_same_state(
    loop: asyncio.AbstractEventLoop,
    parts: Services,
    tmp_path_factory: pytest.TempPathFactory,
    versions: list[dict[str, str]],
    declared: bool,
    by_set: bool,
    data: st.DataObject,
) -> None:
    """Versions of one set by number, by the parent that each declares, or by both; entries come, change and go."""
    folder = tmp_path_factory.mktemp("files")
    if not by_set:
        declared = True

    async def told(order: Sequence[int]) -> dict[str, Any]:
        numbers = [next(NUMBERS) for _ in versions]
        set_id = next(NUMBERS)
        bodies = [
            document(
                numbers[each],
                entries,
                set_id=set_id if by_set else 0,
                version=each + 1 if by_set else 1,
                replaces=numbers[each - 1] if declared and each else 0,
            )
            for each, entries in enumerate(versions)
        ]
        outcomes = await imported(parts, folder, [bodies[each] for each in order])
        assert {each.partition(" ")[0] for each in outcomes} <= {"created", "superseding", "superseded"}, outcomes
        again = await imported(parts, folder, bodies)
        assert set(again) == {"unchanged"}
        found = await state(parts, numbers)
        return {name: _without_sources(each, numbers) for name, each in found.items()}

    order = data.draw(st.permutations(range(len(versions))))
    in_order = loop.run_until_complete(told(range(len(versions))))
    assert loop.run_until_complete(told(order)) == in_order
    newest = len(versions) - 1
    statuses = {name: each[0] for name, each in in_order.items() if name.startswith("DocumentReference")}
    assert statuses == {
        f"DocumentReference {each}": "current" if each == newest else "superseded" for each in range(len(versions))
    }
    kept = {name.partition(" ")[2] for name in in_order if name.startswith("Observation")}
    assert kept == set(versions[newest])


def _without_sources(said: tuple[Any, ...], numbers: Sequence[int]) -> tuple[Any, ...]:
    places = {f"urn:oid:2.25.{each}": place for place, each in enumerate(numbers)}
    return tuple(places.get(each, each) if isinstance(each, str) else each for each in said)


def test_in_strict_mode_what_comes_late_is_refused(
    loop: asyncio.AbstractEventLoop, parts: Services, tmp_path: Path
) -> None:
    """900, and the newer version stays as it is."""
    old, new = next(NUMBERS), next(NUMBERS)
    bodies = [
        document(new, {"718-7": "2"}, set_id=new, version=2),
        document(old, {"718-7": "1"}, set_id=new, version=1),
    ]
    outcomes = loop.run_until_complete(imported(parts, tmp_path, bodies, "strict"))
    assert outcomes == ["created", "rejected 900"]


def test_versions_that_come_at_the_same_moment_become_one_lineage(
    loop: asyncio.AbstractEventLoop, parts: Services, tmp_path: Path
) -> None:
    """Of eight pushed at once, in a set that was not there, one is current at the end."""
    numbers = [next(NUMBERS) for _ in range(8)]
    set_id = next(NUMBERS)
    bodies = [document(each, {"718-7": "1"}, set_id=set_id, version=v + 1) for v, each in enumerate(numbers)]
    # The patient is there already, so that only the versions meet.
    loop.run_until_complete(imported(parts, tmp_path, [document(next(NUMBERS))]))

    async def at_once() -> None:
        await asyncio.gather(*(imported(parts, tmp_path, [each]) for each in bodies))
        await imported(parts, tmp_path, bodies)

    loop.run_until_complete(at_once())
    found = loop.run_until_complete(state(parts, numbers))
    statuses = [found[f"DocumentReference {place}"][0] for place in range(8)]
    assert statuses == ["superseded"] * 7 + ["current"]
    assert sum(name.startswith("Observation") for name in found) == 1
