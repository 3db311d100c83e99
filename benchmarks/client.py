"""A load client on asyncio, run as a process of its own: `python -m benchmarks.client` reads its order from stdin.

One connection has one request in flight. Requests are ready bytes, sent in turn; a response is counted when its last
byte is here, and one that comes after the end of the run is not counted.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from array import array
from collections import Counter
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Final, cast

import orjson
import uvloop

_LENGTH: Final = b"content-length: "


class Load:
    """One run: the requests left to send, and what has come back. `once`: every request is sent one time."""

    def __init__(self, requests: list[bytes], seconds: float, *, once: bool = False) -> None:
        self._requests = iter(requests) if once else cycle(requests)
        self._seconds = seconds
        self.start = self.end = self.last = 0.0
        self.latencies = array("d")
        self.statuses: Counter[int] = Counter()

    def begin(self) -> None:
        """Start the clock."""
        self.start = self.last = time.perf_counter()
        self.end = self.start + self._seconds

    def take(self) -> bytes | None:
        """The next request, None when there is none or the time is over."""
        return next(self._requests, None) if time.perf_counter() < self.end else None

    def done(self, sent: float, status: int) -> None:
        """Count one response."""
        now = time.perf_counter()
        if now <= self.end:
            self.last = now
            self.latencies.append(now - sent)
            self.statuses[status] += 1


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, load: Load, finished: asyncio.Future[None]) -> None:
        self._load = load
        self._finished = finished
        self._buffer = b""
        self._wanted = 0
        self._sent = 0.0
        self._waiting = False
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to send."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Gather one response, then send the next request."""
        self._buffer = self._buffer + data if self._buffer else data
        if not self._wanted:
            head = self._buffer.find(b"\r\n\r\n")
            if head < 0:
                return
            self._wanted = head + 4 + _content_length(self._buffer, head)
        if len(self._buffer) >= self._wanted:
            self._load.done(self._sent, int(self._buffer[9:12]))
            self._buffer, self._wanted = b"", 0
            self.send()

    def connection_lost(self, error: Exception | None) -> None:
        """The end; a response that will not come any more is a failure."""
        if self._waiting:
            self._load.statuses[0] += 1
        if not self._finished.done():
            self._finished.set_result(None)

    def send(self) -> None:
        """The next request, or the end."""
        assert self._transport
        request = self._load.take()
        self._waiting = request is not None
        if request is None:
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(request)


def _content_length(buffer: bytes, head: int) -> int:
    start = buffer.find(_LENGTH, 0, head)
    if start < 0:
        return 0
    start += len(_LENGTH)
    return int(buffer[start : buffer.find(b"\r\n", start)])


def percentiles(latencies: list[float]) -> dict[str, float]:
    """p50, p95, p99 in milliseconds."""
    ordered = sorted(latencies)
    if not ordered:
        return {"p50": 0.0, "p95": 0.0, "p99": 0.0}
    return {f"p{share}": 1000 * ordered[min(len(ordered) * share // 100, len(ordered) - 1)] for share in (50, 95, 99)}


async def run(port: int, requests: list[bytes], connections: int, seconds: float, *, once: bool = False) -> Load:
    """Keep `connections` busy for `seconds`, or until every request was sent `once`."""
    loop = asyncio.get_running_loop()
    load = Load(requests, seconds, once=once)
    ends: list[asyncio.Future[None]] = [loop.create_future() for _ in range(connections)]
    made = [await loop.create_connection(partial(Connection, load, end), "127.0.0.1", port) for end in ends]
    # The clock starts when all are connected: what is measured is requests, not the queue of a listening socket.
    load.begin()
    for _, connection in made:
        connection.send()
    await asyncio.wait(ends, timeout=seconds + 30)
    return load


def main() -> None:
    """Order in, figures out, as JSON; the requests lie in a file, a NUL after each."""
    order = orjson.loads(sys.stdin.buffer.read())
    requests = Path(order["requests"]).read_bytes().split(b"\0")[:-1]
    before = resource.getrusage(resource.RUSAGE_SELF)
    load = uvloop.run(run(order["port"], requests, order["connections"], order["seconds"], once=order["once"]))
    used = resource.getrusage(resource.RUSAGE_SELF)
    figures = {
        "requests": len(load.latencies),
        "seconds": load.last - load.start if order["once"] else order["seconds"],
        "statuses": {str(status): count for status, count in load.statuses.items()},
        "client_cpu": used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime,
        **percentiles(list(load.latencies)),
    }
    sys.stdout.buffer.write(orjson.dumps(figures))


if __name__ == "__main__":
    main()
