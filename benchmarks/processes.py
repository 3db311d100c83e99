"""The servers under test, each a process of its own, and what the kernel says of them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Final

# What the console script `fhir-server` runs.
COMMAND: Final = (sys.executable, "-c", "from fhir_server.cli import main; main()")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_START_LIMIT: Final = 60.0
# A few callers ask as much as thousands would.
_UNLIMITED: Final = {
    f"FHIR_SERVER_{name}": "0"
    for name in ("RATE_SUBJECT", "RATE_CLIENT", "RATE_ADDRESS", "RATE_LOOKUP", "NEW_PATIENTS")
}


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers. `started`: seconds from its launch until it said that it is ready."""

    pid: int
    port: int
    started: float

    def cpu(self) -> float:
        """CPU seconds that the process tree has used so far."""
        return sum(_cpu(pid) for pid in _tree(self.pid))

    def resident(self) -> float:
        """Resident memory of the process tree, MB."""
        return sum(_resident(pid) for pid in _tree(self.pid)) / 1e6


@contextmanager
def calibration(http: str = "httptools") -> Iterator[Server]:
    """The raw ASGI server. `http`: the parser of HTTP that it has, the server's or "h11", in Python."""
    port = free_port()
    with _running([sys.executable, "-m", "benchmarks.calibration", str(port), http], port, "/", {}) as server:
        yield server


@contextmanager
def fhir_server(store: Path, *, open: bool = False, log: Path | None = None, port: int = 0) -> Iterator[Server]:
    """`fhir-server serve` on that SQLite file. `log`: where its standard error goes."""
    port = port or free_port()
    command = [*COMMAND, "serve", *(["--open"] if open else [])]
    environment = {"FHIR_SERVER_STORE": f"sqlite:{store}", "FHIR_SERVER_PORT": str(port), **_UNLIMITED}
    with _running(command, port, "/health/ready", environment, log) as server:
        yield server


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def busy() -> float:
    """CPU seconds that the whole machine has worked so far, time taken by its host (steal) included."""
    fields = Path("/proc/stat").read_text("ascii").split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, irq, softirq, steal = (int(each) for each in fields[:8])
    return (user + nice + system + irq + softirq + steal) / _TICKS


def sync_time(folder: Path) -> float:
    """Milliseconds to append 4 KB to a file there and have them on the disk: the median of 50."""
    times = []
    with (folder / "sync").open("wb") as file:
        for _ in range(50):
            begun = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begun)
    return 1000 * median(times)


@contextmanager
def _running(
    command: list[str], port: int, path: str, environment: Mapping[str, str], log: Path | None = None
) -> Iterator[Server]:
    begun = time.perf_counter()
    with open(log or os.devnull, "ab") as errors:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=errors, stderr=errors)
    try:
        while not _answers(port, path):
            if process.poll() is not None or time.perf_counter() - begun > _START_LIMIT:
                raise RuntimeError(f"{' '.join(command)} did not start (exit code {process.poll()})")
            time.sleep(0.005)
        yield Server(process.pid, port, time.perf_counter() - begun)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port: int, path: str) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status in (200, 204)
    except OSError:
        return False
    finally:
        connection.close()


def _tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        return [pid, *(each for child in children.read_text("ascii").split() for each in _tree(int(child)))]
    except OSError:
        return [pid]


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _resident(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS")), 0)
