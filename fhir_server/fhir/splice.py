"""Change a resource's own bytes in a few places and leave every other byte as the client sent it.

`1.00` stays `1.00` because nothing is parsed and printed again: members are cut out raw and joined. All functions take
bodies that `fhir.json.parse` has accepted (valid JSON, no duplicate keys).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import orjson

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENTRIES: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_DIV: Final = re.compile(rb'"div"\s*:\s*"[^"\\]*(?:\\.[^"\\]*)*"')
_HREF: Final = re.compile(rb'(\b(?:href|src)\s*=\s*(?:\\"|\'))(urn:[^"\'\\<>]+)(\\"|\')')
_STAMP: Final = b"0000-00-00T00:00:00.000Z"
# Keys whose values are uris that a Bundle's fullUrl may stand in (http.html#trules): an Identifier.value is not one.
_LINK: Final = re.compile(rb'"(reference|url|uri|value(?:Ur[il]|Uuid|Oid))"(\s*:\s*)("[^"\\]*(?:\\.[^"\\]*)*")')


def members(body: bytes) -> dict[str, bytes]:
    """The top-level members of an object, raw, in order."""
    return {name: bytes(raw) for name, raw in _MEMBERS.decode(body).items()}


def entry_resources(body: bytes) -> list[bytes | None]:
    """The raw resource of each entry of a Bundle, None where an entry has none."""
    entries = _ENTRIES.decode(_MEMBERS.decode(body).get("entry", b"[]"))
    return [bytes(entry["resource"]) if "resource" in entry else None for entry in entries]


def with_identity(body: bytes, id: str, version: int) -> tuple[bytes, int]:
    """The resource under that id and meta.versionId, and the offset where the store stamps meta.lastUpdated.

    What else the client put into meta (profile, tag, security, source, extension) stays.
    """
    parts = _MEMBERS.decode(body)
    type_ = parts.pop("resourceType")
    parts.pop("id", None)
    meta = _MEMBERS.decode(parts.pop("meta", b"{}"))
    for taken in ("versionId", "lastUpdated", "_versionId", "_lastUpdated"):
        meta.pop(taken, None)
    head = b'{"resourceType":%s,"id":"%s","meta":{"versionId":"%d","lastUpdated":"' % (type_, id.encode(), version)
    return b"".join((head, _STAMP, b'"', _tail(meta), b"}", _tail(parts), b"}")), len(head)


def with_members(body: bytes, changes: Mapping[str, Any]) -> bytes:
    """The object with these top-level members set (None: removed); others keep their bytes and order."""
    parts = _MEMBERS.decode(body)
    for name, value in changes.items():
        if value is None:
            parts.pop(name, None)
        else:
            parts[name] = msgspec.Raw(orjson.dumps(value))
    return b"{" + _tail(parts)[1:] + b"}"


def with_links(body: bytes, resolve: Callable[[str, str], str | None]) -> bytes:
    """The body with each uri `resolve(key, uri)` answers for replaced by that answer.

    Exact on text: inside a JSON string a quote is escaped, so the pattern only ever meets real keys.
    """

    def change(found: re.Match[bytes]) -> bytes:
        key, colon, uri = found.groups()
        target = resolve(key.decode(), orjson.loads(uri) if b"\\" in uri else uri[1:-1].decode())
        return found[0] if target is None else b'"%s"%s%s' % (key, colon, orjson.dumps(target))

    return _LINK.sub(change, body)


def with_narrative_links(body: bytes, resolve: Callable[[str], str | None]) -> bytes:
    """The body with each `urn:` uri in an href or src of a narrative that `resolve` answers for replaced."""

    def link(found: re.Match[bytes]) -> bytes:
        target = resolve(found[2].decode())
        return found[0] if target is None else found[1] + target.encode() + found[3]

    return _DIV.sub(lambda div: _HREF.sub(link, div[0]), body) if b"urn:" in body else body


def _tail(parts: Mapping[str, msgspec.Raw]) -> bytes:
    return b"".join([b",%s:%s" % (orjson.dumps(name), raw) for name, raw in parts.items()])
