"""How much a request may bring."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from fhir_server.api.negotiate import Head
from fhir_server.errors import Malformed, TooLarge

_FRAMED: Final = frozenset({b"content-length", b"transfer-encoding"})
"""One of them stands where there is a body (RFC 9112 §6.3)."""


async def read_body(receive: Callable[[], Awaitable[MutableMapping[str, Any]]], head: Head, limit: int) -> bytes:
    """The whole body; raises TooLarge as soon as it is known to exceed `limit`, before the rest is read."""
    if head.method == "GET" and not head.has_any(_FRAMED):
        return b""
    announced = head.get(b"content-length")
    if announced and (not announced.isdecimal() or len(announced) > 18):
        raise Malformed("Content-Length is not a number.", expression="Content-Length")
    if announced and int(announced) > limit:
        raise _too_large(limit)
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Malformed("The request ended before its body.")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise _too_large(limit)
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"A body may have {limit} bytes.", expression="Content-Length")
