"""`python -m benchmarks.lag`: for how long the heaviest requests keep every other caller of the server waiting.

Server and clock share one event loop: while a request is answered, a task that wants to run every millisecond notes how
late it comes. What it notes is what any other request would have waited before its first line was run.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any, Final, NamedTuple

import orjson

from fhir_server.api.door import FhirDoor
from fhir_server.app import services
from fhir_server.serving import settle
from fhir_server.settings import Settings

_JSON: Final = "application/fhir+json"
_XML: Final = "application/fhir+xml"
_SYNTHEA: Final = Path(__file__).parents[2] / "shared" / "data" / "synthea"


class Heavy(NamedTuple):
    """A request that costs much. `accept`: "" for JSON."""

    name: str
    method: str
    path: str
    body: bytes = b""
    content_type: str = _JSON
    accept: str = ""


class Lag(NamedTuple):
    """What one request did to the others: seconds it took, and the longest the loop stood still."""

    status: int
    took: float
    worst: float


async def main() -> None:
    """Print a line a request."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lag", description=__doc__)
    parser.add_argument("--only", default="", help="part of the names of the requests to make")
    only = parser.parse_args().only
    with tempfile.TemporaryDirectory(prefix="fhir-server-lag-") as folder:
        async with services(Settings(store=f"sqlite:{folder}/lag.db"), open=True) as parts:
            door = FhirDoor(parts)
            await door.warm()
            await _send(door, Heavy("", "PUT", "Patient/p", b'{"resourceType":"Patient","id":"p"}'))
            settle()
            for heavy in heavies():
                if only in heavy.name:
                    lag = await lag_of(door, heavy)
                    print(f"{heavy.name:44} {lag.status}  {lag.took * 1000:7.0f} ms  worst {lag.worst * 1000:6.1f} ms")


async def lag_of(door: FhirDoor, heavy: Heavy) -> Lag:
    """Send it, and watch."""
    worst, watching = 0.0, True

    async def watch() -> None:
        nonlocal worst
        while watching:
            begun = perf_counter()
            await asyncio.sleep(0.001)
            worst = max(worst, perf_counter() - begun - 0.001)

    watcher = asyncio.create_task(watch())
    await asyncio.sleep(0.01)
    begun = perf_counter()
    status = await _send(door, heavy)
    took = perf_counter() - begun
    await asyncio.sleep(0.01)
    watching = False
    await watcher
    return Lag(status, took, worst)


async def _send(door: FhirDoor, heavy: Heavy) -> int:
    """The status of the answer."""
    path, _, query = f"/fhir/{heavy.path}".partition("?")
    headers = [(b"content-type", heavy.content_type.encode()), (b"accept", (heavy.accept or _JSON).encode())]
    if heavy.body:
        headers.append((b"content-length", b"%d" % len(heavy.body)))
    scope = {
        "type": "http",
        "method": heavy.method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": headers,
        "client": ("127.0.0.1", 1),
    }
    status = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": heavy.body, "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    await door(scope, receive, send)
    return status


def heavies() -> Iterator[Heavy]:
    """Requests that a caller can make, each near a limit."""
    yield Heavy("nothing but a read", "GET", "Patient/p")
    for parts in (1_000_000, 99_000):
        yield Heavy(f"create, {parts} parts", "POST", "Observation", _observation(parts))
        yield Heavy(f"create in XML, {parts} parts", "POST", "Observation", _in_xml(parts), _XML)
    yield Heavy("create, 20,000 items", "POST", "List", _list(20_000))
    yield Heavy("create, 16,000 names", "POST", "Patient", _patient(16_000))
    yield Heavy("create, small and crowded", "POST", "Observation", _crowded(49_000))
    yield Heavy("create, narrative of 5 MB", "POST", "Basic", _narrative(5_000_000))
    yield Heavy("update, 20,000 items", "PUT", "List/l", _list(20_000, "l"))
    yield Heavy("update, 12,000 names", "PUT", "Patient/n", _patient(12_000, "n"))
    yield Heavy("read in XML, 20,000 items", "GET", "List/l", accept=_XML)
    yield Heavy("read indented, 20,000 items", "GET", "List/l?_pretty=true")
    yield Heavy("read, summary, 20,000 items", "GET", "List/l?_summary=true")
    yield Heavy("validated remarks", "GET", "List?_summary=true&_count=500")
    patch = [{"op": "add", "path": "/entry/0", "value": {"item": {"display": "a"}}}] * 1000
    yield Heavy("JSON Patch", "PATCH", "List/l", orjson.dumps(patch), "application/json-patch+json")
    yield Heavy("FHIRPath Patch", "PATCH", "List/l", _fhirpath_patch("List.entry.descendants().count() > 0", 200))
    yield Heavy("XML Patch", "PATCH", "List/l", _xml_patch(500), "application/xml-patch+xml")
    yield Heavy("Binary of 40 MB", "POST", "Binary", b"%PDF" * 10_000_000, "application/pdf")
    yield Heavy("Bundle kept, 500,000 parts", "POST", "Bundle", _bundle("collection", 150_000))
    yield Heavy("transaction, 5,000 entries", "POST", "", _bundle("transaction", 5_000))
    yield Heavy("batch, 5,000 entries", "POST", "", _bundle("batch", 5_000))
    yield Heavy("batch, 20 of 90,000 parts", "POST", "", _batch(20, _observation(90_000)))
    yield Heavy("transaction, 9 of 90,000 parts", "POST", "", _batch(9, _observation(90_000), "transaction"))
    yield Heavy("batch, 500 nasty patches", "POST", "", _patches(500))
    largest = max(_SYNTHEA.glob("**/*.json"), key=lambda path: path.stat().st_size, default=None)
    if largest:
        yield Heavy("transaction of Synthea, the largest", "POST", "", largest.read_bytes())
    yield Heavy("search, pages of 500", "GET", "Observation?_count=500")
    yield Heavy("search in XML, pages of 500", "GET", "Basic?_count=500", accept=_XML)
    yield Heavy("everything", "GET", "Patient/p/$everything")
    yield Heavy("history", "GET", "_history?_count=500")


def _observation(parts: int) -> bytes:
    components = b",".join([b'{"code":{"coding":[{"code":"a"}]}}'] * (parts // 4))
    return b'{"resourceType":"Observation","status":"final","code":{"text":"a"},"component":[%s]}' % components


def _in_xml(parts: int) -> bytes:
    component = b'<component><code><coding><code value="a"/></coding></code></component>'
    head = b'<status value="final"/><code><text value="a"/></code>'
    return b'<Observation xmlns="http://hl7.org/fhir">%s%s</Observation>' % (head, component * (parts // 4))


def _list(items: int, id: str = "") -> bytes:
    entry = [{"item": {"reference": f"Observation/{number}"}} for number in range(items)]
    about = {"resourceType": "List", "status": "current", "mode": "working", "subject": {"reference": "Patient/p"}}
    return orjson.dumps({**about, **({"id": id} if id else {}), "entry": entry})


def _patient(names: int, id: str = "") -> bytes:
    name = [{"family": f"Name {number}", "given": [f"Given {number}"]} for number in range(names)]
    return orjson.dumps({"resourceType": "Patient", **({"id": id} if id else {}), "name": name})


def _crowded(parts: int) -> bytes:
    return b'{"resourceType":"Observation","status":"final","code":{"text":"a"},"component":[%s]}' % b",".join(
        [b'{"code":{}}'] * parts
    )


def _narrative(size: int) -> bytes:
    div = '<div xmlns="http://www.w3.org/1999/xhtml">' + "<p><b>word</b> word</p>" * (size // 23) + "</div>"
    text = {"status": "generated", "div": div}
    return orjson.dumps({"resourceType": "Basic", "code": {"text": "a"}, "text": text})


def _fhirpath_patch(path: str, operations: int) -> bytes:
    parts = [
        {"name": "type", "valueCode": "replace"},
        {"name": "path", "valueString": f"List.status.where(%resource.{path.removeprefix('List.')})"},
        {"name": "value", "valueCode": "current"},
    ]
    operation = {"name": "operation", "part": parts}
    return orjson.dumps({"resourceType": "Parameters", "parameter": [operation] * operations})


def _xml_patch(operations: int) -> bytes:
    entry = b'<f:entry><f:item><f:display value="a"/></f:item></f:entry>'
    add = b'<add sel="f:List/f:entry[20000]" pos="after">%s</add>' % entry
    return b'<patch xmlns:f="http://hl7.org/fhir">%s</patch>' % (add * operations)


def _bundle(type: str, entries: int) -> bytes:
    resource = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "4548-4"}]},
        "subject": {"reference": "Patient/p"},
    }
    request = {} if type == "collection" else {"request": {"method": "POST", "url": "Observation"}}
    if type == "collection":
        resource = {"resourceType": "Basic", "code": {"text": "a"}}
    entry = {"resource": resource, **request}
    return orjson.dumps({"resourceType": "Bundle", "type": type, "entry": [entry] * entries})


def _batch(entries: int, resource: bytes, type: str = "batch") -> bytes:
    entry = b'{"resource":%s,"request":{"method":"POST","url":"Observation"}}' % resource
    return b'{"resourceType":"Bundle","type":"%s","entry":[%s]}' % (type.encode(), b",".join([entry] * entries))


def _patches(entries: int) -> bytes:
    entry = b'{"resource":%s,"request":{"method":"PATCH","url":"List/l"}}' % _fhirpath_patch(
        "entry.descendants().count() > 0", 3
    )
    return b'{"resourceType":"Bundle","type":"batch","entry":[%s]}' % b",".join([entry] * entries)


if __name__ == "__main__":
    asyncio.run(main())
