"""`fhir-server reindex`: new definitions take effect for the whole store at once, nothing written is missed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from fhir_server.app import services
from fhir_server.errors import Conflict
from fhir_server.indexing import IN_FORCE, KIND, Edition
from fhir_server.operations import reindex as walk
from fhir_server.operations.reindex import Report, reindex
from fhir_server.settings import Settings
from tests.conftest import Caller, House
from tests.live import running

URL = "https://example.org/SearchParameter/patient-nickname"
NICKNAME = {
    "resourceType": "SearchParameter",
    "url": URL,
    "name": "nickname",
    "status": "active",
    "description": "The name a person goes by.",
    "code": "nickname",
    "base": ["Patient"],
    "type": "string",
    "expression": "Patient.name.where(use = 'nickname').given",
}


def person(nickname: str) -> dict[str, Any]:
    """A Patient who goes by that name."""
    return {"resourceType": "Patient", "name": [{"use": "nickname", "given": [nickname]}]}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Settings, Caller]]:
    """An open server on a store of its own."""
    with (
        running(tmp_path, open=True) as settings,
        httpx.Client(base_url=settings.fhir_base + "/", timeout=30) as http,
    ):
        yield settings, Caller(http, "", "")


def reindexed(settings: Settings, progress: Callable[[int], None] = lambda done: None, **more: Any) -> Report | None:
    """What the command does, with a connection to the store of its own, beside the server's."""

    async def go() -> Report | None:
        async with services(settings) as parts:
            return await reindex(parts, parts.store.system(), progress, **more)

    return asyncio.run(go())


def found(caller: Caller, query: str) -> set[str]:
    """The ids that a search finds, once the server has noticed what is in force."""
    deadline = time.monotonic() + 10
    while True:
        answer = caller.get(f"Patient?{query}&_count=500", Prefer="handling=strict")
        if answer.status_code == 200:
            return {each["resource"]["id"] for each in answer.json().get("entry", ())}
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.05)


def codes(caller: Caller) -> set[str]:
    """The search parameters of Patient that /metadata lists."""
    (patient,) = [each for each in caller.get("metadata").json()["rest"][0]["resource"] if each["type"] == "Patient"]
    return {each["name"] for each in patient["searchParam"]}


def test_a_custom_parameter_takes_effect_after_the_reindex_and_not_before(server: tuple[Settings, Caller]) -> None:
    """Stored: unknown to searches and statement. Reindexed: both know it, for what was written before too."""
    settings, caller = server
    old = caller.post("Patient", person("Dédé")).json()["id"]
    assert caller.post("SearchParameter", NICKNAME).status_code == 201
    assert caller.get("Patient?nickname=dede", Prefer="handling=strict").status_code == 400
    assert "nickname" not in codes(caller)
    report = reindexed(settings)
    assert report
    assert report.parameters == (URL,)
    assert found(caller, "nickname=dede") == {old}
    assert "nickname" in codes(caller)
    new = caller.post("Patient", person("Dédé")).json()["id"]
    assert found(caller, "nickname=dede") == {old, new}


def test_nothing_that_is_written_during_a_reindex_is_missed(
    server: tuple[Settings, Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between all batches the server changes what the walk has passed and creates more: every one is found after it.

    The server has not looked at the ledger since the announcement: its first write is refused as stale and made again.
    """
    monkeypatch.setattr(walk, "BATCH", 5)
    settings, caller = server
    ids = [caller.post("Patient", person(f"Before {number}")).json()["id"] for number in range(30)]
    caller.post("SearchParameter", NICKNAME)
    changed, made = set(), set()

    def meanwhile(done: int) -> None:
        if done < len(ids):
            id = ids[done // 2]
            assert caller.put(f"Patient/{id}", person("During") | {"id": id}).status_code == 200
            changed.add(id)
            made.add(caller.post("Patient", person("During")).json()["id"])

    report = reindexed(settings, meanwhile)
    assert report
    assert len(changed) > 3
    assert found(caller, "nickname=during") == changed | made
    assert found(caller, "nickname=before") == set(ids) - changed


def test_a_reindex_that_was_stopped_goes_on_where_it_was(
    server: tuple[Settings, Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle, nothing is in force; the next run does the rest, and all is found."""
    monkeypatch.setattr(walk, "BATCH", 5)
    settings, caller = server
    ids = {caller.post("Patient", person("Dédé")).json()["id"] for _ in range(12)}
    caller.post("SearchParameter", NICKNAME)
    steps = []

    def stop(done: int) -> None:
        steps.append(done)
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reindexed(settings, stop)
    assert "nickname" not in codes(caller)
    more: list[int] = []
    report = reindexed(settings, more.append)
    assert report
    assert report.resumed
    assert more[0] == 10
    assert report.resources == 13
    assert found(caller, "nickname=dede") == ids


def test_after_another_change_a_stopped_reindex_begins_anew(
    server: tuple[Settings, Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place of a walk is worth something for its own definitions only."""
    monkeypatch.setattr(walk, "BATCH", 2)
    settings, caller = server
    ids = {caller.post("Patient", person("Dédé")).json()["id"] for _ in range(4)}
    caller.post("SearchParameter", NICKNAME)

    def stop(done: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reindexed(settings, stop)
    other = NICKNAME | {"url": URL + "-2", "code": "nickname-2", "name": "nickname2"}
    caller.post("SearchParameter", other)
    report = reindexed(settings)
    assert report
    assert not report.resumed
    assert found(caller, "nickname=dede") == found(caller, "nickname-2=dede") == ids


def test_what_is_not_active_any_more_is_forgotten_with_the_next_reindex(server: tuple[Settings, Caller]) -> None:
    """Retired: in force until the next reindex, then gone from searches and statement."""
    settings, caller = server
    stored = caller.post("SearchParameter", NICKNAME).json()
    reindexed(settings)
    caller.put(f"SearchParameter/{stored['id']}", stored | {"status": "retired"})
    report = reindexed(settings)
    assert report
    assert report.parameters == ()
    deadline = time.monotonic() + 10
    while "nickname" in codes(caller):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert caller.get("Patient?nickname=x", Prefer="handling=strict").status_code == 400


def test_a_parameter_defined_anew_answers_by_its_old_definition_or_its_new_one_and_by_no_mixture(
    server: tuple[Settings, Caller],
) -> None:
    """Changed: the old definition is in force until the reindex, none during it, the new one after it."""
    settings, caller = server
    id = caller.post("Patient", {"resourceType": "Patient", "name": [{"use": "usual", "family": "Lune"}]}).json()["id"]
    stored = caller.post("SearchParameter", NICKNAME).json()
    reindexed(settings)
    assert found(caller, "nickname=lune") == set()
    changed = stored | {"expression": "Patient.name.where(use = 'usual').family"}
    assert caller.put(f"SearchParameter/{stored['id']}", changed).status_code == 200
    assert found(caller, "nickname=lune") == set()
    during = []

    def meanwhile(done: int) -> None:
        # A write makes the server see the announcement at once.
        if done:
            caller.post("Patient", person("Zoé"))
            during.append(caller.get("Patient?nickname=lune", Prefer="handling=strict").status_code)

    reindexed(settings, meanwhile)
    assert set(during) == {400}
    assert found(caller, "nickname=lune") == {id}


@pytest.mark.parametrize(
    "change",
    [
        {"expression": "Patient.name.where("},
        {"expression": "Patient.name.nickname()"},
        {"code": "name"},
        {"code": "_id"},
        {"base": ["Nobody"]},
        {"type": "special"},
    ],
    ids=["broken", "unknown function", "name of another", "name of every type's", "no type", "special"],
)
def test_a_parameter_that_cannot_be_indexed_is_named_and_left_out(
    server: tuple[Settings, Caller], change: dict[str, Any]
) -> None:
    """The others come into force; the report says why this one does not."""
    settings, caller = server
    id = caller.post("Patient", person("Dédé")).json()["id"]
    caller.post("SearchParameter", NICKNAME)
    bad = NICKNAME | {"url": URL + "-bad", "name": "bad", "code": "bad"} | change
    answer = caller.post("SearchParameter", bad)
    if answer.status_code != 201:
        assert answer.status_code in (400, 422)
        return
    report = reindexed(settings)
    assert report
    assert report.refused.keys() == {URL + "-bad"}
    assert report.parameters == (URL,)
    assert found(caller, "nickname=dede") == {id}


def test_two_at_once_are_one_too_many(server: tuple[Settings, Caller]) -> None:
    """The second is told so and changes nothing."""
    settings, caller = server
    caller.post("SearchParameter", NICKNAME)
    seen = []

    async def go() -> None:
        async with services(settings) as parts:
            await reindex(parts, parts.store.system(), lambda done: None)

    def second(done: int) -> None:
        if seen:
            return
        seen.append(done)
        # A thread, because this is called from within the first one's loop.
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as pool, pytest.raises(Conflict):
            pool.submit(asyncio.run, go()).result()

    assert reindexed(settings, second)
    assert seen


def test_an_index_made_with_other_definitions_is_not_asked_for_what_it_lacks(tmp_path: Path) -> None:
    """A parameter whose definition the index was not made with is in no search and in no statement until reindexed."""
    settings = Settings(store=f"sqlite:{tmp_path / 'record.db'}")

    async def age() -> None:
        """As a server would have left it that knew another definition of Patient.birthdate, and none of gender."""
        async with services(settings) as parts:
            edition = parts.index.packaged.edition()
            known = dict(edition.known)
            known["http://hl7.org/fhir/SearchParameter/individual-birthdate"] = "another"
            del known["http://hl7.org/fhir/SearchParameter/individual-gender"]
            aged = Edition("older", known)
            await parts.store.ledger.put(KIND, IN_FORCE, aged.dump(), expires=None)

    asyncio.run(age())

    def offered() -> set[str]:
        with (
            running(tmp_path, open=True, store=settings.store) as live,
            httpx.Client(base_url=live.fhir_base + "/", timeout=30) as http,
        ):
            return codes(Caller(http, "", ""))

    assert not offered() & {"birthdate", "gender"}
    assert {"name", "identifier"} <= offered()
    reindexed(settings)
    assert {"name", "identifier", "birthdate", "gender"} <= offered()


def test_a_new_store_is_made_with_what_the_server_knows(tmp_path: Path) -> None:
    """Nothing to do: the command says so, and changes nothing."""
    assert reindexed(Settings(store=f"sqlite:{tmp_path / 'record.db'}")) is None


def test_on_demand_it_walks_although_nothing_has_changed(server: tuple[Settings, Caller]) -> None:
    """After a change of the base url, say, which decides what a local reference is."""
    settings, caller = server
    caller.post("Patient", person("Dédé"))
    report = reindexed(settings, again=True)
    assert report
    assert (report.resources, report.indexed) == (1, 1)


def test_an_edition_is_kept_as_it_is() -> None:
    """What is loaded is what was put away; nothing put away is the edition of nothing."""
    edition = Edition("x", {"a": "b"}, (NICKNAME,))
    assert Edition.load(edition.dump()) == edition
    assert Edition.load(None) == Edition()
    assert orjson.loads(edition.dump())["custom"] == [NICKNAME]


def test_only_an_administrator_stores_search_parameters(house: House) -> None:
    """What every search can ask for is not for those who are in one record to decide."""
    for name in ("patient", "medecin_traitant", "app"):
        assert house.callers[name].post("SearchParameter", NICKNAME).status_code == 403, name
    assert house.admin.post("SearchParameter", NICKNAME).status_code == 201
