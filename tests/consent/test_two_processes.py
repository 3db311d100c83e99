"""I12: a request begun after the answer to a consent write obeys it, on whatever process (access §5)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson

from fhir_server.app import services
from fhir_server.context import Context, Request, Services, Trace
from fhir_server.demo.build import actors, build
from fhir_server.demo.family import consent
from fhir_server.errors import NotFound
from fhir_server.interactions.router import answer
from fhir_server.settings import Settings


async def ask(parts: Services, who: Any, method: str, url: str, body: Any = None) -> bytes:
    """One interaction at one of the servers; b"" for what is not there."""
    path, _, query = url.partition("?")
    pairs = tuple(each.partition("=")[::2] for each in query.split("&")) if query else ()
    sent = b"" if body is None else orjson.dumps(body)
    request = Request(method, tuple(path.split("/")), pairs, sent)
    try:
        return (await answer(Context(parts, who, Trace()), request)).body
    except NotFound:
        return b""


def test_what_one_process_writes_the_next_request_of_another_obeys(tmp_path: Path) -> None:
    """Mask and unmask, again and again, at the one; read and search at the other, whose caches are warm."""

    async def play() -> None:
        settings = Settings(store=f"sqlite:{tmp_path / 'record.db'}", demo=True)
        async with services(settings) as one, services(settings) as other:
            cast = await build(one)
            people = actors(cast)
            patient, reader = people["patient"], people["care_team"]
            search = f"DocumentReference?status=current&patient={cast['patient']}&_total=accurate"
            before = orjson.loads(await ask(other, reader, "GET", search))
            document = "DocumentReference/" + before["entry"][0]["resource"]["id"]
            data = [{"meaning": "instance", "reference": {"reference": document}}]
            for _ in range(3):
                assert await ask(other, reader, "GET", document)
                directive = consent(cast["patient"], "mask", {"type": "deny", "data": data})
                made = orjson.loads(await ask(one, patient, "POST", "Consent", directive))
                assert await ask(other, reader, "GET", document) == b""
                found = orjson.loads(await ask(other, reader, "GET", search))
                assert found["total"] == before["total"] - 1
                made["status"] = "inactive"
                await ask(one, patient, "PUT", f"Consent/{made['id']}", made)
                assert orjson.loads(await ask(other, reader, "GET", search))["total"] == before["total"]

    asyncio.run(play())
