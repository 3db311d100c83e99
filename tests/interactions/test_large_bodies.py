"""What one resource and one Bundle may cost: the parts of a resource, the time of a Bundle."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from threading import get_ident
from typing import Any

import orjson
import pytest

from fhir_server.app import services
from fhir_server.auth.actor import Actor
from fhir_server.context import Aside, Context, Pace, Request, Trace, is_large
from fhir_server.errors import TooLarge
from fhir_server.fhir.json import MAX_RESOURCE_PARTS, parts_of
from fhir_server.interactions.router import answer
from fhir_server.settings import Settings
from tests.conftest import Caller

LIMIT = str(MAX_RESOURCE_PARTS)


def listed(parts: int, **more: Any) -> dict[str, Any]:
    """A valid List of at least so many parts."""
    entry = [{"item": {"display": "a"}}] * (parts // 2)
    return {"resourceType": "List", "status": "current", "mode": "working", "entry": entry, **more}


TOO_MUCH = listed(MAX_RESOURCE_PARTS)
SMALL = listed(2)


def refused(given: Any) -> bool:
    """Whether an answer is a 413 that names the limit."""
    return given.status_code == 413 and LIMIT in given.json()["issue"][0]["details"]["text"]


def test_a_resource_of_too_many_parts_is_not_taken(open_server: Caller) -> None:
    """Created, updated, in XML: 413, naming the limit."""
    assert refused(open_server.post("List", TOO_MUCH))
    assert refused(open_server.put("List/a", {**TOO_MUCH, "id": "a"}))
    entry = b'<entry><item><display value="a"/></item></entry>' * (MAX_RESOURCE_PARTS // 2)
    head = b'<List xmlns="http://hl7.org/fhir"><status value="current"/><mode value="working"/>'
    assert refused(open_server.post("List", head + entry + b"</List>", **{"Content-Type": "application/fhir+xml"}))


def test_nor_made_by_a_patch(open_server: Caller) -> None:
    """Neither the patch nor what it makes of the resource may have more."""
    made = open_server.post("List", listed(MAX_RESOURCE_PARTS - 10)).json()["id"]
    more = [{"op": "add", "path": "/entry/-", "value": {"item": {"display": "a"}}}] * 10
    kind = {"Content-Type": "application/json-patch+json"}
    assert refused(open_server.request("PATCH", f"List/{made}", content=orjson.dumps(more), headers=kind))
    many = b"[" + b"{}," * MAX_RESOURCE_PARTS + b"1]"
    assert refused(open_server.request("PATCH", f"List/{made}", content=many, headers=kind))
    assert open_server.get(f"List/{made}").json()["meta"]["versionId"] == "1"


def test_nor_by_an_entry(open_server: Caller) -> None:
    """A batch goes on without it, a transaction does not; the entry is named."""
    entries = [{"resource": each, "request": {"method": "POST", "url": "List"}} for each in (SMALL, TOO_MUCH)]
    batch = open_server.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries}).json()
    assert [each["response"]["status"][:3] for each in batch["entry"]] == ["201", "413"]
    given = open_server.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert refused(given)
    assert given.json()["issue"][0]["expression"] == ["Bundle.entry[1]"]


def test_a_bundle_may_have_more(open_server: Caller) -> None:
    """As many entries together, each small; kept as it is, or done."""
    entries = [{"resource": listed(3_000), "request": {"method": "POST", "url": "List"}}] * 40
    done = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    assert parts_of(orjson.dumps(done)) > MAX_RESOURCE_PARTS
    assert open_server.post("", done).status_code == 200
    kept = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": SMALL}] * 25_000}
    made = open_server.post("Bundle", kept)
    assert made.status_code == 201
    assert len(open_server.get(f"Bundle/{made.json()['id']}").json()["entry"]) == 25_000


def test_what_is_large_is_done_by_another_thread() -> None:
    """By its length, or by its parts; what is small is done at once."""
    assert is_large(b" " * 40_000)
    assert is_large(b"[" + b"{}," * 2_000 + b"{}]")
    assert is_large(b"<a/>" * 2_000)
    assert not is_large(b'{"data":"%s"}' % (b"a" * 20_000))

    async def threads() -> list[int]:
        aside = Aside()
        return [get_ident(), await aside(b"", get_ident), await aside(b" " * 40_000, get_ident)]

    here, small, large = asyncio.run(threads())
    assert small == here != large


def test_a_pace_ends() -> None:
    """What is done entry by entry has its time, and is refused where that is over."""

    async def work(pace: Pace) -> None:
        for _ in range(3):
            await pace.rest()
            time.sleep(0.006)

    asyncio.run(work(Pace()))
    with pytest.raises(TooLarge) as over:
        asyncio.run(work(Pace(0)))
    assert over.value.issues[0].code == "too-costly"


def test_a_batch_whose_time_is_over_goes_no_further(tmp_path: Path) -> None:
    """Each entry that is left says so; of a transaction nothing is done."""
    entry = {"resource": SMALL, "request": {"method": "POST", "url": "List"}}
    settings = Settings(store=f"sqlite:{tmp_path}/store.db")

    async def run(type: str) -> tuple[list[str], int]:
        async with services(settings, open=True) as parts:
            ctx = Context(parts, Actor(role="open", reference="Device/open", name="", jti=""), Trace(), Pace(0))
            time.sleep(0.006)
            body = orjson.dumps({"resourceType": "Bundle", "type": type, "entry": [entry] * 3})
            try:
                given = orjson.loads((await answer(ctx, Request("POST", body=body))).body)["entry"]
            except TooLarge:
                given = []
            return [each["response"]["status"][:3] for each in given], (await parts.store.system().counts()).get(
                "List", 0
            )

    assert asyncio.run(run("batch")) == (["413"] * 3, 0)
    assert asyncio.run(run("transaction")) == ([], 0)
