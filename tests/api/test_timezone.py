"""Dates without an offset: read in the record's own time zone, by the index and by what asks it, on every door."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from fhir_server.app import services
from fhir_server.operations.reindex import reindex
from fhir_server.settings import Settings
from tests.conftest import Caller
from tests.live import running

TIMES = {
    "last of the night before": "2026-03-28T22:59:59Z",
    "first of the short day": "2026-03-28T23:00:00Z",
    "last of the short day": "2026-03-29T21:59:59Z",
    "first of the next": "2026-03-29T22:00:00Z",
    "the short day": "2026-03-29",
    "first of the long day": "2026-10-24T22:00:00Z",
    "last of the long day": "2026-10-25T22:59:59Z",
    "the night after": "2026-10-25T23:00:00Z",
    "the long day": "2026-10-25",
    "winter": "2026-12-01T00:30:00+01:00",
}


@pytest.fixture(scope="module")
def times(open_server: Caller) -> Caller:
    """An observation at each of the times."""
    for name, time in TIMES.items():
        code = {"coding": [{"system": "urn:timezone", "code": "t"}], "text": name}
        observation = {"resourceType": "Observation", "status": "final", "code": code, "effectiveDateTime": time}
        assert open_server.post("Observation", observation).status_code == 201
    return open_server


def found(caller: Caller, date: str) -> set[str]:
    """The names of the times that a search for a date finds."""
    entries = caller.get(f"Observation?code=urn:timezone|t&date={date}&_count=50").json().get("entry", ())
    return {each["resource"]["code"]["text"] for each in entries}


def test_a_day_is_a_day_in_paris_when_the_clocks_change(times: Caller) -> None:
    """Twenty-three hours in March, twenty-five in October; what is written with an offset is what it says."""
    short = {"first of the short day", "last of the short day", "the short day"}
    assert found(times, "2026-03-29") == short
    assert found(times, "ge2026-03-29&date=lt2026-03-30") == short
    assert found(times, "2026-10-25") == {"first of the long day", "last of the long day", "the long day"}
    assert found(times, "ge2026-03-29T00:00:00Z&date=lt2026-03-30T00:00:00Z") >= {"last of the short day"}
    assert "first of the short day" not in found(times, "ge2026-03-29T00:00:00Z")
    assert found(times, "2026-12-01") == {"winter"}


def test_another_zone_is_another_index(tmp_path: Path) -> None:
    """After a change the start says so, and dates are not searched; after the reindex they are, in the new zone."""
    night = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "effectiveDateTime": "2026-07-01"}

    def asked(zone: str) -> list[int | None]:
        with running(tmp_path, open=True, timezone=zone) as settings, httpx.Client(base_url=settings.fhir_base) as http:
            caller = Caller(http, "", "")
            if not caller.get("Observation").json()["total"]:
                assert caller.post("Observation", night).status_code == 201
            answers = [caller.get(f"Observation?date={each}") for each in ("2026-07-01", "gt2026-06-30T20:00:00Z")]
            strict = caller.get("Observation?date=2026-07-01", Prefer="handling=strict").status_code
            return [*(each.json().get("total") for each in answers), strict]

    assert asked("Europe/Paris") == [1, 1, 200]
    assert asked("America/Cayenne")[2] == 400
    settings = Settings(store=f"sqlite:{tmp_path}/record.db", timezone="America/Cayenne")

    async def anew() -> tuple[bool, bool]:
        async with services(settings, open=True) as parts:
            before = parts.index.outdated
            await reindex(parts, parts.store.system(), lambda done: None)
            await parts.index.refresh(parts.clock())
            return before, parts.index.outdated

    assert asyncio.run(anew()) == (True, False)
    assert asked("America/Cayenne") == [1, 1, 200]
    assert asked("Europe/Paris")[2] == 400


def test_a_zone_that_nobody_knows_is_refused() -> None:
    """Naming the variable."""
    with pytest.raises(ValueError, match="FHIR_SERVER_TIMEZONE"):
        _ = Settings(timezone="Europe/Nulle-Part").zone
