"""Write a Bundle around stored bytes: resources are joined as they lie, never parsed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson


class Link(NamedTuple):
    """Bundle.link."""

    relation: str
    url: str


class Entry(NamedTuple):
    """Bundle.entry; `resource` and `outcome` are JSON bytes, empty ones are left out."""

    full_url: str = ""
    resource: bytes = b""
    search: str = ""
    request: Mapping[str, str] | None = None
    response: Mapping[str, str] | None = None
    outcome: bytes = b""


def bundle(
    type: str, entries: Iterable[Entry], *, links: Sequence[Link] = (), total: int | None = None, time: str = ""
) -> bytes:
    """A Bundle of that type as JSON. `time`: Bundle.timestamp."""
    head: dict[str, Any] = {"resourceType": "Bundle", "type": type}
    if time:
        head["timestamp"] = time
    if total is not None:
        head["total"] = total
    if links:
        head["link"] = [{"relation": link.relation, "url": link.url} for link in links]
    body = b",".join(map(_entry, entries))
    return orjson.dumps(head)[:-1] + (b',"entry":[' + body + b"]}" if body else b"}")


def _entry(entry: Entry) -> bytes:
    parts = []
    if entry.full_url:
        parts.append(b'"fullUrl":' + orjson.dumps(entry.full_url))
    if entry.resource:
        parts.append(b'"resource":' + entry.resource)
    if entry.search:
        parts.append(b'"search":{"mode":"%s"}' % entry.search.encode())
    if entry.request:
        parts.append(b'"request":' + orjson.dumps(entry.request))
    if entry.response:
        response = orjson.dumps(entry.response)
        parts.append(
            b'"response":' + (response[:-1] + b',"outcome":' + entry.outcome + b"}" if entry.outcome else response)
        )
    return b"{" + b",".join(parts) + b"}"
