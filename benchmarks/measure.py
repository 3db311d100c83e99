"""One measured run: a client process against one server, with what the run cost and whether it was disturbed."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.processes import Server, busy

# Above this share of one core, taken by processes that are not of the run, a figure says little.
DISTURBED: Final = 0.10


@dataclass(frozen=True, slots=True)
class Run:
    """The figures of one run. Times in milliseconds, CPU in seconds; `others`: share of one core that processes
    outside the run used; `server`: calibration, guarded or open; `tool`: wrk or asyncio."""

    workload: str
    server: str
    connections: int
    repeat: int
    tool: str
    requests: int
    seconds: float
    failed: int
    p50: float
    p95: float
    p99: float
    server_cpu: float
    client_cpu: float
    others: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds if self.seconds else 0.0

    @property
    def cost(self) -> float:
        """CPU of the server for one request, in milliseconds."""
        return 1000 * self.server_cpu / self.requests if self.requests else 0.0

    @property
    def disturbed(self) -> bool:
        """Whether others used the machine meanwhile."""
        return self.others > DISTURBED


def wrk() -> str | None:
    """The path of wrk, if it is installed."""
    return shutil.which("wrk")


def measure(
    server: Server,
    name: tuple[str, str],
    requests: Sequence[bytes],
    *,
    connections: int,
    seconds: int,
    repeat: int = 0,
    once: bool = False,
) -> Run:
    """Send `requests` in turn for `seconds` (or each `once`). `name`: workload and server.

    wrk sends what is sent in turn, when it is installed; the asyncio client the rest.
    """
    with tempfile.NamedTemporaryFile(suffix=".requests") as file:
        file.write(b"".join(each + b"\0" for each in requests))
        file.flush()
        cpu, worked, own = server.cpu(), busy(), _own_cpu()
        tool = wrk() if not once else None
        if tool:
            figures = _with_wrk(tool, server.port, Path(file.name), connections, seconds)
        else:
            figures = _with_asyncio(server.port, Path(file.name), connections, seconds, once)
        cpu, worked, own = server.cpu() - cpu, busy() - worked, _own_cpu() - own
    return Run(
        workload=name[0],
        server=name[1],
        connections=connections,
        repeat=repeat,
        tool="wrk" if tool else "asyncio",
        requests=figures["requests"],
        seconds=figures["seconds"],
        failed=figures["failed"],
        p50=figures["p50"],
        p95=figures["p95"],
        p99=figures["p99"],
        server_cpu=cpu,
        client_cpu=figures.get("client_cpu", own),
        others=max(0.0, worked - cpu - own) / max(figures["seconds"], 0.1),
    )


def get(path: str, headers: dict[str, str]) -> bytes:
    """A GET as it goes over the wire."""
    return _request("GET", path, headers, b"")


def post(path: str, headers: dict[str, str], body: bytes) -> bytes:
    """A POST of FHIR JSON as it goes over the wire."""
    return _request("POST", path, {**headers, **_described(body)}, body)


def put(path: str, headers: dict[str, str], body: bytes) -> bytes:
    """A PUT of FHIR JSON as it goes over the wire."""
    return _request("PUT", path, {**headers, **_described(body)}, body)


def _described(body: bytes) -> dict[str, str]:
    return {"Content-Type": "application/fhir+json", "Content-Length": str(len(body))}


def _request(method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


def _with_asyncio(port: int, requests: Path, connections: int, seconds: int, once: bool) -> dict[str, Any]:
    order = {"port": port, "requests": str(requests), "connections": connections, "seconds": seconds, "once": once}
    command = [sys.executable, "-m", "benchmarks.client"]
    output = subprocess.run(command, input=orjson.dumps(order), stdout=subprocess.PIPE, check=True).stdout
    figures: dict[str, Any] = orjson.loads(output)
    statuses = figures.pop("statuses")
    return {**figures, "failed": sum(count for status, count in statuses.items() if not status.startswith("2"))}


def _with_wrk(tool: str, port: int, requests: Path, connections: int, seconds: int) -> dict[str, Any]:
    script = str(Path(__file__).with_name("wrk.lua"))
    target = f"http://127.0.0.1:{port}"
    command = [tool, "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script, target, "--", str(requests)]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    figures: dict[str, Any] = orjson.loads(output.strip().rpartition(b"\n")[2])
    return figures


def _own_cpu() -> float:
    """Of this process and of the clients it has waited for."""
    parts = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in parts)
