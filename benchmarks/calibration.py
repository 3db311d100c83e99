"""The raw ASGI server that every figure is held against: no framework, no store, the same uvicorn.

`python -m benchmarks.calibration PORT [HTTP]`: HTTP is uvicorn's parser, "httptools" as in the server, or "h11".
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import orjson
import uvicorn

Message = MutableMapping[str, Any]

_HEADERS: Final = [(b"content-type", b"application/fhir+json; charset=utf-8")]
BODY: Final = orjson.dumps({"resourceType": "Observation", "note": [{"text": "x" * 2_000}]})


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """GET: 2 KB of ready bytes. POST: the body is read and parsed, 201."""
    if scope["type"] != "http":
        return
    status, body = 200, BODY
    if scope["method"] == "POST":
        status, body = 201, b""
        orjson.loads(await _body(receive))
    headers = [*_HEADERS, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _body(receive: Callable[[], Awaitable[Message]]) -> bytes:
    parts: bytes = b""
    while True:
        message = await receive()
        parts += message.get("body", b"")
        if not message.get("more_body"):
            return parts


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        http=sys.argv[2] if len(sys.argv) > 2 else "auto",
    )
