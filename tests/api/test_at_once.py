"""Many callers at once, and two processes on one file: each answer is in the log, and what is taken away is gone."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from fhir_server.app import services
from fhir_server.auth.actor import Actor
from fhir_server.auth.tokens import issue, revoke
from fhir_server.consent.audit_chain import verify
from fhir_server.demo.build import DAY
from fhir_server.demo.family import consent
from tests.conftest import Caller, House
from tests.live import ENVIRONMENT, free_port

ROOT = Path(__file__).parents[2]
CALLERS = 12
ROUNDS = 6


def file_of(house: House) -> str:
    """The file of its store."""
    return house.settings.store.removeprefix("sqlite:")


def lines(house: House) -> list[dict[str, Any]]:
    """The access log as it is on the disk now, read past the server."""
    with closing(sqlite3.connect(file_of(house))) as connection:
        return [orjson.loads(body) for (body,) in connection.execute("SELECT body FROM audit ORDER BY seq")]


def observation(house: House, text: str) -> bytes:
    """A result in the patient's record."""
    return orjson.dumps(
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": text},
            "subject": {"reference": house.cast["patient"]},
        }
    )


def test_each_of_many_at_once_is_in_the_log_before_its_answer_is_here(own_house: House) -> None:
    """I14: readers and writers together; one line for each, by the request id of its answer, and an unbroken chain."""
    asyncio.run(many_at_once(own_house))


async def many_at_once(house: House) -> None:
    """Callers who each write, read back and ask for what is not there, and look into the log after each turn."""
    headers = {"Authorization": f"Bearer {house.lgc.token}", "Content-Type": "application/fhir+json"}
    before = len(lines(house))

    async def caller(number: int) -> list[str]:
        requests = []
        async with httpx.AsyncClient(base_url=house.base + "/", headers=headers, timeout=60) as http:
            for turn in range(ROUNDS):
                made = await http.post("Observation", content=observation(house, f"{number}-{turn}"))
                assert made.status_code == 201
                link = f"Observation/{made.json()['id']}"
                read = await http.get(link)
                assert read.json()["code"]["text"] == f"{number}-{turn}"
                missing = await http.get(f"{link}x")
                assert missing.status_code == 404
                requests += [each.headers["x-request-id"] for each in (made, read, missing)]
                written = {line.get("request") for line in await asyncio.to_thread(lines, house)}
                assert written.issuperset(requests)
        return requests

    requests = [each for mine in await asyncio.gather(*map(caller, range(CALLERS))) for each in mine]
    assert len(set(requests)) == len(requests) == CALLERS * ROUNDS * 3
    log = [line.get("request", "") for line in lines(house)]
    assert len(log) == before + len(requests)
    assert sorted(log[before:]) == sorted(requests)
    async with services(house.settings) as parts:
        assert (await verify(parts.store.system())).intact


@contextmanager
def second_process(house: House) -> Iterator[str]:
    """Another server on the same file; the url of its FHIR base."""
    port = free_port()
    chosen = {"FHIR_SERVER_STORE": house.settings.store, "FHIR_SERVER_PORT": str(port), "FHIR_SERVER_DEMO": "true"}
    environment = {**os.environ, **ENVIRONMENT, **chosen}
    with subprocess.Popen([sys.executable, "-m", "fhir_server", "serve"], cwd=ROOT, env=environment) as server:
        try:
            while True:
                try:
                    if httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 204:
                        break
                except httpx.TransportError:
                    assert server.poll() is None
                    time.sleep(0.02)
            yield f"http://127.0.0.1:{port}/fhir/"
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def doors(house: House) -> Iterator[tuple[House, httpx.Client, httpx.Client]]:
    """A house and two doors of two processes to the same record."""
    with (
        second_process(house) as url,
        httpx.Client(base_url=house.base + "/", timeout=30) as first,
        httpx.Client(base_url=url, timeout=30) as second,
    ):
        yield house, first, second


def test_a_token_revoked_by_one_process_opens_nothing_at_any(doors: tuple[House, httpx.Client, httpx.Client]) -> None:
    """I11: at the very next request, though both have just met it and remember whom it stands for."""
    house, *clients = doors
    actor = Actor("admin", "Device/guest", "Guest", "")

    async def with_ledger(token: str = "") -> str:
        async with services(house.settings) as parts:
            if token:
                assert await revoke(parts.store.ledger, token)
                return token
            return await issue(parts.store.ledger, actor, ttl=DAY, now=parts.clock())

    token = asyncio.run(with_ledger())
    for _ in range(2):
        for client in clients:
            assert Caller(client, token, "").get("Practitioner").status_code == 200
    asyncio.run(with_ledger(token))
    for client in clients:
        assert Caller(client, token, "").get("Practitioner").status_code == 401


def test_a_consent_given_at_one_process_is_obeyed_at_the_other(
    doors: tuple[House, httpx.Client, httpx.Client],
) -> None:
    """I12: the next request sees the new policy, and the next again the old one, whichever door each goes through."""
    house, first, second = doors
    doctor = [replace(house.care_team, http=client) for client in (first, second)]
    patient = [replace(house.patient, http=client) for client in (first, second)]
    link = f"Observation/{house.lgc.post('Observation', observation(house, 'x')).json()['id']}"
    for turn in range(4):
        there, here = patient[turn % 2], patient[(turn + 1) % 2]
        assert [each.get(link).status_code for each in doctor] == [200, 200]
        data = [{"meaning": "instance", "reference": {"reference": link}}]
        given = there.post("Consent", consent(house.cast["patient"], "mask", {"type": "deny", "data": data}))
        assert given.status_code == 201, given.text
        assert [each.get(link).status_code for each in (*doctor, *reversed(doctor))] == [404] * 4
        ended = here.put(f"Consent/{given.json()['id']}", {**given.json(), "status": "inactive"})
        assert ended.status_code == 200, ended.text
