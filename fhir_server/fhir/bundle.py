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
    # Bodies are many and large: everything is laid out in pieces, and copied once.
    pieces: list[bytes] = [orjson.dumps(head)[:-1], b',"entry":[']
    for entry in entries:
        _add(entry, pieces)
        pieces.append(b",")
    if len(pieces) == 2:
        return pieces[0] + b"}"
    pieces[-1] = b"]}"
    return b"".join(pieces)


def _add(entry: Entry, pieces: list[bytes]) -> None:
    start = len(pieces)
    if entry.full_url:
        pieces.append(b',"fullUrl":%s' % orjson.dumps(entry.full_url))
    if entry.resource:
        pieces += (b',"resource":', entry.resource)
    if entry.search:
        pieces.append(b',"search":{"mode":"%s"}' % entry.search.encode())
    if entry.request:
        pieces.append(b',"request":%s' % orjson.dumps(entry.request))
    if entry.response:
        pieces.append(b',"response":%s' % orjson.dumps(entry.response))
        if entry.outcome:
            pieces[-1] = pieces[-1][:-1] + b',"outcome":%s}' % entry.outcome
    if len(pieces) == start:
        pieces.append(b"{}")
    else:
        pieces[start] = b"{" + pieces[start][1:]
        pieces.append(b"}")
