"""A client that sends exactly the bytes it is told to, and reads one response to them."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

# A request that takes longer is a hang.
PATIENCE: Final = 20.0
# The server closes a connection that was idle for 5 seconds; one that comes near is not used again.
_IDLE: Final = 3.0


@dataclass(frozen=True, slots=True)
class Response:
    """Header names in lower case."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Closed(Exception):
    """The server closed the connection without a response."""


class Connection:
    """One connection, opened again whenever the server has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._used = 0.0

    async def send(self, request: bytes, *, head: bool = False, patience: float = PATIENCE) -> Response:
        """The final response to a request; raises TimeoutError or Closed. `head`: a response has no body."""
        try:
            async with asyncio.timeout(patience):
                response = await self._exchange(request, head)
        except TimeoutError:
            await self.close()
            raise
        except (OSError, asyncio.IncompleteReadError) as error:
            await self.close()
            raise Closed from error
        if response.headers.get("connection", "").lower() == "close":
            await self.close()
        return response

    async def close(self) -> None:
        """Let go of the connection."""
        if self._writer:
            self._writer.close()
            with suppress(OSError):
                await self._writer.wait_closed()
        self._reader = self._writer = None

    async def _exchange(self, request: bytes, head: bool) -> Response:
        idle = time.monotonic() - self._used > _IDLE
        if self._reader is None or self._writer is None or self._reader.at_eof() or idle:
            await self.close()
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
        self._writer.write(request)
        # The server may refuse a body before it has come to its end; what it said of it can still be read.
        with suppress(OSError):
            await self._writer.drain()
        while True:
            status, headers = await _head(self._reader)
            if status >= 200:
                break
        self._used = time.monotonic()
        size = 0 if head or status in (204, 304) else int(headers.get("content-length", 0))
        return Response(status, headers, await self._reader.readexactly(size))


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, found, value = line.partition(":")
        if found:
            headers[name.lower()] = value.strip()
    return int(first.split(" ", 2)[1]), headers
